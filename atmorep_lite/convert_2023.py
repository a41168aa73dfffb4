"""Weights of the AtmoRep code of 2023 <-> of 2024: a matrix per head <-> one matrix for all heads."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from atmorep_lite.config import ModelConfig
from atmorep_lite.errors import UserError

State = dict[str, Tensor]


def is_2023(state: Mapping[str, Tensor]) -> bool:
    """Whether the names are those of 2023."""
    return any(".heads_self." in name for name in state)


def parts_of_2023(config: ModelConfig) -> dict[str, list[str]]:
    """For each fused matrix (2024 name) the matrices of 2023 whose rows it stacks, in their order."""
    parts: dict[str, list[str]] = {}
    cross = int(config.heads * config.cross_fraction)
    for i, f in enumerate(config.fields):
        for layer in range(config.encoder_layers):
            heads = f"encoders.{i}.heads.{layer}"
            parts[f"{heads}.proj_heads.weight"] = _stacked(f"{heads}.heads_self", config.heads, "qkv")
            if not f.coupled_to:
                continue
            coupled = f"{heads}.heads_coupling"
            parts[f"{heads}.proj_heads_other.0.weight"] = _stacked(coupled, len(f.coupled_to), "q")
            for j in range(len(f.coupled_to)):
                parts[f"{heads}.proj_heads_other.{j + 1}.weight"] = [
                    f"{coupled}.{j}.proj_{kind}s.weight" for kind in "kv"
                ]
    predicted = [f for f in config.fields if f.loss_weight > 0]
    for p in range(len(predicted)):
        for layer in range(config.decoder_layers):
            block = f"decoders.{p}.blocks.{2 * layer}"
            parts[f"{block}.proj_heads.weight"] = _stacked(f"{block}.heads", config.heads - cross, "qkv")
            parts[f"{block}.proj_heads_o_q.weight"] = _stacked(f"{block}.heads_other", cross, "q")
            parts[f"{block}.proj_heads_o_kv.weight"] = _stacked(f"{block}.heads_other", cross, "kv")
    return parts


def to_2024_names(config: ModelConfig, state: Mapping[str, Tensor]) -> State:
    """Fuse the heads.  Norms without parameters, as the decoder of 2023 has them, become 1 and 0.

    Raises
    ------
    UserError
        If a head is missing.
    """
    out = dict(state)
    for fused, parts in parts_of_2023(config).items():
        lacking = [name for name in parts if name not in state]
        if lacking:
            raise UserError(
                f"the published checkpoint lacks the weight {lacking[0]}; "
                "it may be truncated or of another form"
            )
        if parts:
            out[fused] = torch.cat([out.pop(name) for name in parts])
    for name, (width, like) in _decoder_norms(config, out).items():
        ones = torch.ones(width, dtype=like.dtype)
        out |= {f"{name}.weight": ones, f"{name}.bias": torch.zeros_like(ones)}
    return out


def to_2023_names(config: ModelConfig, state: Mapping[str, Tensor]) -> State:
    """Split the heads again, and leave out the decoder's norms.

    Raises
    ------
    UserError
        If these norms have learnt something: the code of 2023 cannot hold it.
    """
    out = dict(state)
    for name in _decoder_norms(config, state):
        weight, bias = out.pop(f"{name}.weight"), out.pop(f"{name}.bias")
        if (weight != 1).any() or (bias != 0).any():
            raise UserError(f"{name} is not 1 and 0, which the code of 2023 has no place for")
    for fused, parts in parts_of_2023(config).items():
        if parts:
            out |= dict(zip(parts, out.pop(fused).chunk(len(parts)), strict=True))
    return out


def _decoder_norms(config: ModelConfig, state: Mapping[str, Tensor]) -> dict[str, tuple[int, Tensor]]:
    """Names of the decoder's norms of queries and keys, with their width; none without ``qk_norm``."""
    if not config.qk_norm:
        return {}
    norms = {}
    for p, f in enumerate(f for f in config.fields if f.loss_weight > 0):
        for layer in range(config.decoder_layers):
            block = f"decoders.{p}.blocks.{2 * layer}"
            for kind in "qk":
                norms[f"{block}.ln_{kind}"] = (f.embed_dim // config.heads, state[f"{block}.proj_out.weight"])
    return norms


def _stacked(prefix: str, heads: int, kinds: str) -> list[str]:
    return [f"{prefix}.{h}.proj_{kind}s.weight" for h in range(heads) for kind in kinds]
