"""Names of the published AtmoRep code <-> ours: configuration and weights.

The published code has two generations of names.  That of 2024 fuses all heads of a layer into one matrix, as
ours does; that of 2023 has a matrix per head: :mod:`atmorep_lite.convert_2023` translates between the two.
Folders on disk are the business of :mod:`atmorep_lite.published`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from atmorep_lite.config import FieldConfig, ModelConfig, parse_model_config
from atmorep_lite.errors import UserError
from atmorep_lite.fields import canonical_name

State = dict[str, Tensor]

# Names of the published code where they are not ours (its JSON and folders).
PUBLISHED_FIELD_NAMES = {
    "u_component_of_wind": "velocity_u",
    "v_component_of_wind": "velocity_v",
    "vertical_velocity": "velocity_z",
    "total_precipitation": "total_precip",
    "2m_temperature": "t2m",
    "10m_u_component_of_wind": "u_10m",
    "10m_v_component_of_wind": "v_10m",
}
# What the published classes need besides; the values are those of its training scripts.
_FIXED = {
    "size_token_info": 8,
    "size_token_info_net": 16,
    "with_cls": False,
    "with_layernorm": True,
    "coupling_num_heads_per_field": 1,
    "encoder_att_type": "dense",
    "decoder_att_type": "dense",
    "decoder_self_att": False,
    "decoder_cross_att_rate": 1.0,
    "BERT_strategy": "BERT",
}


def config_from_published(published: Mapping[str, Any], *, year: str = "2024") -> ModelConfig:
    """Our model configuration for a published ``model_id*.json``.

    Raises
    ------
    UserError
        If an entry is missing or has a value that the published classes do not run with.
    """
    try:
        return _model_config(published, year)
    except KeyError as error:
        raise UserError(
            f"the published configuration lacks the entry {error}; it may be truncated or of another code"
        ) from error
    except (TypeError, ValueError) as error:
        raise UserError(f"the published configuration cannot be read: {error}") from error


def _model_config(published: Mapping[str, Any], year: str) -> ModelConfig:
    weights = dict(published["fields_prediction"])
    fields = []
    for entry in published["fields"]:
        name, (_, embed_dim, coupled, *_), levels, num_tokens, token_size = entry[:5]
        fields.append(
            {
                "name": canonical_name(name),
                "levels": levels or [0],
                "embed_dim": embed_dim,
                "num_tokens": num_tokens,
                "token_size": token_size,
                "coupled_to": [canonical_name(other) for other in coupled],
                "loss_weight": weights.get(name, 0.0),
            }
        )
    for name, value in _FIXED.items():
        if published.get(name, value) != value:
            raise UserError(
                f"the published configuration has {name} = {published[name]!r}, which the published classes "
                f"do not run with; only {value!r} can be converted"
            )
    if published["encoder_num_heads"] != published["decoder_num_heads"]:
        raise UserError("the published configuration has different numbers of heads in encoder and decoder")
    return parse_model_config(
        {
            "fields": fields,
            "encoder_layers": published["encoder_num_layers"],
            "decoder_layers": published["decoder_num_layers"],
            "heads": published["encoder_num_heads"],
            "cross_fraction": published["decoder_cross_att_ratio"],
            "members": published["net_tail_num_nets"],
            "tail_layers": published["net_tail_num_layers"],
            "mlp_layers": published["encoder_num_mlp_layers"],
            "dropout": published["dropout_rate"],
            "qk_norm": published["with_qk_lnorm"],
            "published": year,
        },
        "the published configuration",
    )


def config_to_published(config: ModelConfig) -> dict[str, Any]:
    """What the published classes read to build the same network: the way back of `config_from_published`.

    Raises
    ------
    UserError
        If the network has parts that the published code lacks or does not run with: for more than one
        coupling head, say, it never fixed an order of the rows.
    """
    cross_heads = int(config.heads * config.cross_fraction)
    foreign = [
        what
        for what, there in {
            f"predict: {config.predict}": config.predict != "field",
            f"locality: {config.locality}": bool(config.locality),
            "grid_skip": config.grid_skip is not None,
            f"coupling_heads: {config.coupling_heads}": config.coupling_heads > 1,
            "more decoder_layers than encoder_layers": config.decoder_layers > config.encoder_layers,
            "one kind of head in the decoder": not 0 < cross_heads < config.heads,
            'no "published" year': config.published is None,
        }.items()
        if there
    ]
    if foreign:
        raise UserError(
            f"the model has {', '.join(foreign)}, which the published code does not know; only a model with "
            "model.published set can be written in its format"
        )
    return {
        **_FIXED,
        "fields": [_published_field(f) for f in config.fields],
        "fields_prediction": [
            [_published_name(f.name), f.loss_weight] for f in config.fields if f.loss_weight > 0
        ],
        "encoder_num_layers": config.encoder_layers,
        "decoder_num_layers": config.decoder_layers,
        "encoder_num_heads": config.heads,
        "decoder_num_heads": config.heads,
        "decoder_cross_att_ratio": config.cross_fraction,
        "net_tail_num_nets": config.members,
        "net_tail_num_layers": config.tail_layers,
        "encoder_num_mlp_layers": config.mlp_layers,
        "decoder_num_mlp_layers": config.mlp_layers,
        "dropout_rate": config.dropout,
        "with_qk_lnorm": config.qk_norm,
    }


def _published_field(f: FieldConfig) -> list[Any]:
    coupled = [_published_name(other) for other in f.coupled_to]
    rates = [0.5, 0.9, 0.2, 0.05]
    return [
        _published_name(f.name),
        [1, f.embed_dim, coupled, 0],
        list(f.levels),
        list(f.num_tokens),
        list(f.token_size),
        rates,
    ]


def _published_name(name: str) -> str:
    return PUBLISHED_FIELD_NAMES.get(name, name)


def weights_from_published(config: ModelConfig, state: Mapping[str, Tensor]) -> State:
    """Our state dict for a published one (2024 names).

    Raises
    ------
    UserError
        If a weight is missing or has another shape than its configuration says.
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


def weights_to_published(config: ModelConfig, state: Mapping[str, Tensor]) -> State:
    """The published state dict (2024 names) for ours, with its second name for each value embedding."""
    out: State = {}
    for ours, theirs in published_names(config).items():
        parts = state[ours].unbind(0) if ours.startswith("tails.") else (state[ours],)
        out |= dict(zip(theirs, parts, strict=True))
    for i in range(len(config.fields)):
        for kind in ("weight", "bias"):
            out[f"embeds.{i}.{kind}"] = out[f"encoders.{i}.embed.{kind}"]
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
            if config.qk_norm or config.published == "2024":
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
