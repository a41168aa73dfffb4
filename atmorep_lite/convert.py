"""Names of the published AtmoRep code <-> ours: configuration and weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from atmorep_lite.config import FieldConfig, ModelConfig
from atmorep_lite.errors import UserError
from atmorep_lite.fields import canonical_name


def config_from_published(published: Mapping[str, Any]) -> ModelConfig:
    """Our model configuration for a published ``model_id*.json`` (the 2024 form)."""
    weights = dict(published["fields_prediction"])
    fields = []
    for entry in published["fields"]:
        name, (_, embed_dim, coupled, *_), levels, num_tokens, token_size = entry[:5]
        fields.append(
            FieldConfig(
                name=canonical_name(name),
                levels=tuple(levels),
                embed_dim=embed_dim,
                num_tokens=tuple(num_tokens),
                token_size=tuple(token_size),
                coupled_to=tuple(canonical_name(other) for other in coupled),
                loss_weight=weights.get(name, 0.0),
            )
        )
    if published["encoder_num_heads"] != published["decoder_num_heads"]:
        raise UserError("the published configuration has different numbers of heads in encoder and decoder")
    return ModelConfig(
        fields=tuple(fields),
        encoder_layers=published["encoder_num_layers"],
        decoder_layers=published["decoder_num_layers"],
        heads=published["encoder_num_heads"],
        cross_fraction=published["decoder_cross_att_ratio"],
        members=published["net_tail_num_nets"],
        tail_layers=published["net_tail_num_layers"],
        mlp_layers=published["encoder_num_mlp_layers"],
        dropout=published["dropout_rate"],
        qk_norm=published["with_qk_lnorm"],
        published=True,
    )


def weights_from_published(config: ModelConfig, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Our state dict for a published one (2024 names).

    Raises
    ------
    UserError
        If a weight is missing.
    """

    def take(name: str) -> Tensor:
        if name not in state:
            raise UserError(
                f"the published checkpoint lacks the weight {name}; it may be truncated or of another form"
            )
        return state[name]

    out = {}
    for ours, theirs in published_names(config).items():
        tensors = [take(name) for name in theirs]
        out[ours] = torch.stack(tensors) if ours.startswith("tails.") else tensors[0]
    return out


def published_names(config: ModelConfig) -> dict[str, list[str]]:
    """For each of our weights the published one that it equals (for tails: the list, one per member)."""
    names: dict[str, list[str]] = {}
    predicted = [f for f in config.fields if f.loss_weight > 0]
    for i, f in enumerate(config.fields):
        for kind in ("weight", "bias"):
            names[f"embeddings.{f.name}.value.{kind}"] = [f"encoders.{i}.embed.{kind}"]
            names[f"embeddings.{f.name}.info.{kind}"] = [f"embeds_token_info.{i}.{kind}"]
        for layer in range(config.encoder_layers):
            ours, heads = f"encoders.{f.name}.{layer}", f"encoders.{i}.heads.{layer}"
            names[f"{ours}.qkv.weight"] = [f"{heads}.proj_heads.weight"]
            names[f"{ours}.out.weight"] = [f"{heads}.proj_out.weight"]
            if f.coupled_to:
                names[f"{ours}.coupling_q.weight"] = [f"{heads}.proj_heads_other.0.weight"]
            for j, other in enumerate(f.coupled_to):
                names[f"{ours}.coupling_kv.{other}.weight"] = [f"{heads}.proj_heads_other.{j + 1}.weight"]
            names |= _mlp_names(f"{ours}.mlp", f"encoders.{i}.mlps.{layer}", config.mlp_layers)
    for p, f in enumerate(predicted):
        for layer in range(config.decoder_layers):
            ours, block = f"decoders.{f.name}.{layer}", f"decoders.{p}.blocks.{2 * layer}"
            names[f"{ours}.qkv.weight"] = [f"{block}.proj_heads.weight"]
            names[f"{ours}.cross_q.weight"] = [f"{block}.proj_heads_o_q.weight"]
            names[f"{ours}.cross_kv.weight"] = [f"{block}.proj_heads_o_kv.weight"]
            names[f"{ours}.out.weight"] = [f"{block}.proj_out.weight"]
            for kind in ("weight", "bias"):
                names[f"{ours}.norm_q.{kind}"] = [f"{block}.ln_q.{kind}"]
                names[f"{ours}.norm_k.{kind}"] = [f"{block}.ln_k.{kind}"]
            names |= _mlp_names(f"{ours}.mlp", f"decoders.{p}.blocks.{2 * layer + 1}", config.mlp_layers)
        nets = [f"tails.{p}.tail_nets.{m}" for m in range(config.members)]
        names[f"tails.{f.name}.norm_weight"] = [f"{net}.0.weight" for net in nets]
        names[f"tails.{f.name}.norm_bias"] = [f"{net}.0.bias" for net in nets]
        for k in range(config.tail_layers + 1):
            names[f"tails.{f.name}.weights.{k}"] = [f"{net}.{1 + 2 * k}.weight" for net in nets]
            names[f"tails.{f.name}.biases.{k}"] = [f"{net}.{1 + 2 * k}.bias" for net in nets]
    return names


def _mlp_names(ours: str, theirs: str, layers: int) -> dict[str, list[str]]:
    return {
        f"{ours}.layers.{k}.{kind}": [f"{theirs}.blocks.{3 * k}.{kind}"]
        for k in range(layers)
        for kind in ("weight", "bias")
    }
