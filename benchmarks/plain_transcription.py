"""The published network of 2024, module by module, as its code lays it out: the yardstick of ``speed.py``.

It computes what :class:`atmorep_lite.model.AtmoRep` computes with ``published="2024"`` from the same weights
(``tests/test_plain_transcription.py``), the plain way: states keep their five axes and are reshaped around
every attention; self-attention, and attention to each coupled field, run one after the other; every tail is a
module of its own; and with ``checkpointing`` every block is recomputed in the backward pass, and within it
every operation of a perceptron once more, as the published training scripts have it.  Modules are named so
that the published state dict loads.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from atmorep_lite.config import FieldConfig, ModelConfig
from atmorep_lite.convert import weights_to_published
from atmorep_lite.model import AtmoRep
from atmorep_lite.model.positions import harmonic_positions
from atmorep_lite.tokens import FieldTokens


class Block(nn.Module):
    """A module that can run another one inside a checkpoint."""

    checkpointing = False

    def run(self, function: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
        """``function(*inputs)``, recomputed in the backward pass where the published code does so."""
        if self.checkpointing and self.training:
            return cast(Tensor, checkpoint(function, *inputs, use_reentrant=False))
        return function(*inputs)


def bare_norm(width: int) -> nn.LayerNorm:
    """Layer normalisation without parameters."""
    return nn.LayerNorm(width, elementwise_affine=False)


def to_heads(x: Tensor, heads: int) -> Tensor:
    """``[b, level, time, place, heads*c]`` -> ``[b, heads, token, c]``."""
    return x.reshape(*x.shape[:-1], heads, -1).flatten(1, 3).transpose(1, 2)


def from_heads(x: Tensor, like: Tensor) -> Tensor:
    """``[b, heads, token, d]`` -> ``[b, level, time, place, heads*d]``."""
    return x.transpose(1, 2).flatten(2).reshape(*like.shape[:-1], -1)


class Perceptron(Block):
    """Residual perceptron; GELU after the last layer too."""

    def __init__(self, width: int, layers: int, dropout: float) -> None:
        super().__init__()
        self.norm = bare_norm(width)
        blocks: list[nn.Module] = [nn.Linear(width, 2 * width), nn.GELU(), nn.Dropout(dropout)]
        for _ in range(layers - 2):
            blocks += [nn.Linear(2 * width, 2 * width), nn.GELU(), nn.Dropout(dropout)]
        self.blocks = nn.ModuleList([*blocks, nn.Linear(2 * width, width), nn.GELU()])

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(x)
        for block in self.blocks:
            y = self.run(block, y)
        return x + y


class EncoderHeads(Block):
    """Self-attention, then attention to one coupled field after the other."""

    def __init__(self, field: FieldConfig, model: ModelConfig) -> None:
        super().__init__()
        e, self.heads = field.embed_dim, model.heads
        d = e // self.heads
        others = [model.field(other).embed_dim for other in field.coupled_to]
        self.norms = nn.ModuleList(bare_norm(width) for width in (e, *others))
        self.norm_q = bare_norm(d) if model.qk_norm else nn.Identity()
        self.norm_k = bare_norm(d) if model.qk_norm else nn.Identity()
        self.proj_out = nn.Linear(e + d * len(others), e, bias=False)
        self.proj_heads = nn.Linear(e, 3 * e, bias=False)
        self.proj_heads_other = nn.ModuleList()
        if others:
            self.proj_heads_other.append(nn.Linear(e, d * len(others), bias=False))
            self.proj_heads_other.extend(nn.Linear(width, 2 * d, bias=False) for width in others)
        self.dropout = nn.Dropout(model.dropout)

    def forward(self, x: Tensor, *others: Tensor) -> Tensor:
        normed = self.norms[0](x)
        q, k, v = to_heads(self.proj_heads(normed), self.heads).tensor_split(3, -1)
        heard = [from_heads(F.scaled_dot_product_attention(self.norm_q(q), self.norm_k(k), v), x)]
        if others:
            queries = to_heads(self.proj_heads_other[0](normed), len(others))
            for j, other in enumerate(others):
                keys_values = self.proj_heads_other[j + 1](self.norms[j + 1](other))
                k, v = to_heads(keys_values, 1).tensor_split(2, -1)
                mixed = F.scaled_dot_product_attention(queries[:, j : j + 1], self.norm_k(k), v)
                heard.append(from_heads(mixed, x))
        return x + self.dropout(self.proj_out(torch.cat(heard, -1)))


class DecoderHeads(Block):
    """Half of the heads attend to the decoder itself, half to an encoder layer."""

    def __init__(self, field: FieldConfig, model: ModelConfig) -> None:
        super().__init__()
        e, d = field.embed_dim, field.embed_dim // model.heads
        self.cross = int(model.heads * model.cross_fraction)
        self.own = model.heads - self.cross
        self.norm, self.norm_other = bare_norm(e), bare_norm(e)
        self.proj_heads = nn.Linear(e, 3 * self.own * d, bias=False)
        self.proj_heads_o_q = nn.Linear(e, self.cross * d, bias=False)
        self.proj_heads_o_kv = nn.Linear(e, 2 * self.cross * d, bias=False)
        self.ln_q, self.ln_k = nn.LayerNorm(d), nn.LayerNorm(d)
        self.proj_out = nn.Linear(e, e, bias=False)
        self.dropout = nn.Dropout(model.dropout)

    def forward(self, x: Tensor, other: Tensor) -> Tensor:
        normed, normed_other = self.norm(x), self.norm_other(other)
        q, k, v = to_heads(self.proj_heads(normed), self.own).tensor_split(3, -1)
        own = F.scaled_dot_product_attention(self.ln_q(q), self.ln_k(k), v)
        q = to_heads(self.proj_heads_o_q(normed), self.cross)
        k, v = to_heads(self.proj_heads_o_kv(normed_other), self.cross).tensor_split(2, -1)
        cross = F.scaled_dot_product_attention(self.ln_q(q), self.ln_k(k), v)
        heard = torch.cat((from_heads(own, x), from_heads(cross, x)), -1)
        return x + self.dropout(self.run(self.proj_out, heard))


class FieldEncoder(nn.Module):
    """Embedding of the values, and the layers, of one field."""

    def __init__(self, field: FieldConfig, model: ModelConfig) -> None:
        super().__init__()
        self.embed = nn.Linear(field.token_values, field.embed_dim - 16)
        layers = range(model.encoder_layers)
        self.heads = nn.ModuleList(EncoderHeads(field, model) for _ in layers)
        self.mlps = nn.ModuleList(
            Perceptron(field.embed_dim, model.mlp_layers, model.dropout) for _ in layers
        )


class FieldDecoder(Block):
    """Heads and perceptrons in turn; the layer's heads attend to the encoder's layers, last first."""

    def __init__(self, field: FieldConfig, model: ModelConfig) -> None:
        super().__init__()
        self.blocks = nn.ModuleList()
        for _ in range(model.decoder_layers):
            self.blocks.append(DecoderHeads(field, model))
            self.blocks.append(Perceptron(field.embed_dim, model.mlp_layers, model.dropout))

    def forward(self, encoded: list[Tensor]) -> Tensor:
        x = encoded[-1]
        for layer in range(len(self.blocks) // 2):
            x = self.run(self.blocks[2 * layer], x, encoded[-1 - layer])
            x = self.run(self.blocks[2 * layer + 1], x)
        return x


class Tails(Block):
    """One net per member: ``[n, e]`` -> ``[n, member, values]``."""

    def __init__(self, field: FieldConfig, model: ModelConfig) -> None:
        super().__init__()
        e = field.embed_dim
        self.tail_nets = nn.ModuleList()
        for _ in range(model.members):
            hidden = [layer for _ in range(model.tail_layers) for layer in (nn.Linear(e, e), nn.GELU())]
            self.tail_nets.append(nn.Sequential(nn.LayerNorm(e), *hidden, nn.Linear(e, field.token_values)))

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([self.run(net, x) for net in self.tail_nets], 1)


class Transcription(Block):
    """The published network for the weights of ``model``, which must have ``published="2024"``."""

    def __init__(self, model: AtmoRep, *, checkpointing: bool) -> None:
        super().__init__()
        config = self.config = model.config
        self.predicted = [i for i, f in enumerate(config.fields) if f.loss_weight > 0]
        self.embeds_token_info = nn.ModuleList(nn.Linear(8, 16) for _ in config.fields)
        self.encoders = nn.ModuleList(FieldEncoder(f, config) for f in config.fields)
        self.embeds = nn.ModuleList(cast(FieldEncoder, encoder).embed for encoder in self.encoders)
        self.decoders = nn.ModuleList(FieldDecoder(config.fields[i], config) for i in self.predicted)
        self.tails = nn.ModuleList(Tails(config.fields[i], config) for i in self.predicted)
        for i, f in enumerate(config.fields):
            code = harmonic_positions(len(f.levels), *f.num_tokens, f.embed_dim, published=True)
            self.register_buffer(f"position_{i}", code.flatten(2, 3), persistent=False)
        self.load_state_dict(weights_to_published(config, model.state_dict()))
        for module in self.modules():
            if isinstance(module, Block):
                module.checkpointing = checkpointing

    def forward(
        self, tokens: Mapping[str, FieldTokens], chosen: Mapping[str, list[Tensor]]
    ) -> dict[str, Tensor]:
        """Members ``[n, member, values]`` of the chosen tokens, in their order (:func:`chosen_tokens`)."""
        names = self.config.names
        states = [self._embed(i, tokens[name]) for i, name in enumerate(names)]
        outputs = [[state] for state in states]
        for layer in range(self.config.encoder_layers):
            before = list(states)
            for i, f in enumerate(self.config.fields):
                encoder = cast(FieldEncoder, self.encoders[i])
                others = [before[names.index(other)] for other in f.coupled_to]
                x = self.run(encoder.heads[layer], before[i], *others)
                states[i] = self.run(encoder.mlps[layer], x)
                outputs[i].append(states[i])
        members = {}
        for p, i in enumerate(self.predicted):
            x = self.decoders[p](outputs[i])
            picked = [x[:, level].flatten(0, 2)[index] for level, index in enumerate(chosen[names[i]])]
            members[names[i]] = self.tails[p](torch.cat(picked))
        return members

    def _embed(self, i: int, tokens: FieldTokens) -> Tensor:
        values, info = tokens.values.flatten(3, 4), tokens.info.flatten(3, 4)
        x = torch.cat(
            (cast(FieldEncoder, self.encoders[i]).embed(values), self.embeds_token_info[i](info)), -1
        )
        return x + cast(Tensor, getattr(self, f"position_{i}"))


def chosen_tokens(mask: Tensor) -> list[Tensor]:
    """The hidden tokens of each level as flat indices over (batch, time, place), as the published sampler
    gives them."""
    return [mask[:, level].flatten().nonzero().flatten() for level in range(mask.shape[1])]


def in_order_of(mask: Tensor, chosen: list[Tensor]) -> Tensor:
    """Which rows of the chosen tokens, in their order, give that of ``values[mask]``: an index ``[n]``."""
    number = torch.full(mask.shape, -1)
    count = 0
    for level, index in enumerate(chosen):
        numbers = number[:, level].flatten()
        numbers[index] = torch.arange(count, count + len(index))
        number[:, level] = numbers.view_as(number[:, level])
        count += len(index)
    return number[mask]
