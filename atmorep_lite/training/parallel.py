"""A model on several processes, compiled or not: the model's own code knows nothing of it."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from atmorep_lite.config import Config, StageConfig
from atmorep_lite.model import AtmoRep
from atmorep_lite.training.batch_loss import BatchLoss, PartLoss
from atmorep_lite.training.processes import Processes

if TYPE_CHECKING:
    from torch.distributed.tensor import DTensor


def parallelize(
    model: AtmoRep, config: Config, stage: StageConfig, processes: Processes
) -> tuple[BatchLoss, AtmoRep]:
    """The loss of whole batches, and the model whose parameters a stage's optimizers move.

    Which parameters learn must be known (``requires_grad``).  With ``ddp`` or alone the model that learns is
    ``model``.  With ``fsdp`` it is a copy, of which every process holds an equal share of each parameter;
    ``model`` goes to the CPU's memory, and :func:`gather` brings it up to date.
    """
    learning = model
    if config.training.parallel == "fsdp" and processes.count > 1:
        learning = copy.deepcopy(model.cpu())
    if config.training.compile:
        limits = torch._dynamo.config  # fields differ in their couplings: each form is compiled once
        limits.recompile_limit = max(limits.recompile_limit, 64)
        for block in blocks(learning):
            block.compile()
    plain = PartLoss(model, config, stage)
    if processes.count == 1:
        return BatchLoss(plain, plain, processes), model
    if learning is model:
        return BatchLoss(_distributed(plain), plain, processes), model
    return BatchLoss(_sharded(PartLoss(learning, config, stage), processes), plain, processes), learning


def blocks(model: AtmoRep) -> Iterator[nn.Module]:
    """The transformer's layers: what is compiled, and what is gathered at once."""
    for layers in (*model.encoders.values(), *model.decoders.values()):
        yield from layers.children()


def _distributed(loss: PartLoss) -> nn.Module:
    """DistributedDataParallel: gradients are added up while the backward pass still runs.

    A field's last layers have no gradient in steps that hide nothing of it, and none at all if the field is
    only read; such parameters must be looked for.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".broadcast_buffers. is deprecated")  # its successor is new
        return nn.parallel.DistributedDataParallel(loss, broadcast_buffers=False, find_unused_parameters=True)


def _sharded(loss: PartLoss, processes: Processes) -> nn.Module:
    """FSDP2: a layer's weights are gathered before it runs and dropped afterwards."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh(processes.device.type, (processes.count,))
    for block in blocks(loss.model):
        fully_shard(block, mesh=mesh)
    fully_shard(loss, mesh=mesh)
    return loss


@torch.no_grad()
def gather(learning: AtmoRep, model: AtmoRep) -> None:
    """Copy the weights that a stage has moved into ``model``, whole; to be called by all processes."""
    if learning is model:
        return
    ours = model.state_dict()
    for name, theirs in learning.state_dict().items():
        ours[name].copy_(full(theirs))


def full(tensor: Tensor | DTensor) -> Tensor:
    """The whole of a tensor that may be distributed."""
    whole = getattr(tensor, "full_tensor", None)
    return tensor if whole is None else whole()
