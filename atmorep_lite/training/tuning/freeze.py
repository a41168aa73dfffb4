"""Which parameters do not learn: those that a pattern names and, with low-rank corrections, all others."""

from __future__ import annotations

from torch import nn

from atmorep_lite.config import TrainingConfig
from atmorep_lite.errors import UserError
from atmorep_lite.training.tuning.lora import is_correction, plain_name
from atmorep_lite.training.tuning.names import matching, of_field


def held(model: nn.Module, training: TrainingConfig) -> set[str]:
    """Names of the parameters that learn in no stage, as :meth:`~torch.nn.Module.named_parameters` has them.

    Held are those whose names match a pattern of ``training.freeze``, with their low-rank corrections; and if
    there are such corrections, every parameter but these and those of fields that begin at random.

    Raises
    ------
    UserError
        If a pattern matches no parameter, or nothing is left to learn.
    """
    names = {name: plain_name(name) for name, _ in model.named_parameters()}
    frozen = matching(training.freeze, names.values(), key="training.freeze", what="parameter")
    new = () if training.start is None else training.start.new_fields
    out = set()
    for name, plain in names.items():
        corrected = training.lora is None or is_correction(name) or of_field(plain, new)
        if plain in frozen or not corrected:
            out.add(name)
    if all(name in out or name.startswith("departure_scale") for name in names):
        raise UserError(
            "training.freeze holds every parameter, so nothing would be learnt; take a pattern out"
        )
    return out
