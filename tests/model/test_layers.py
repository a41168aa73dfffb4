"""Encoder and decoder layers inside the whole model, recomputed head by head from explicit weights."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from atmorep_lite.attention import attend, attention_weights
from atmorep_lite.convert import config_to_published
from atmorep_lite.errors import UserError
from atmorep_lite.model import AtmoRep
from atmorep_lite.model.layers import MLP, DecoderLayer, Dropout, EncoderLayer
from atmorep_lite.model.nearness import Nearness
from atmorep_lite.tokens import token_positions
from tests.tiny import HEAT, WIND, coupled_fields, random_tokens, tiny_field, tiny_model

NAMES = (WIND, HEAT, "specific_humidity")
CLOSE = {"atol": 1e-6, "rtol": 1e-5}


def norm(x: Tensor) -> Tensor:
    return (x - x.mean(-1, keepdim=True)) / (x.var(-1, keepdim=True, unbiased=False) + 1e-5).sqrt()


def affine(x: Tensor, layer: nn.Module) -> Tensor:
    return norm(x) * layer.weight + layer.bias


def softmax_mean(q: Tensor, k: Tensor, v: Tensor, penalty: Tensor | float) -> Tensor:
    """[b, q, d], [b, k, d], [b, k, d], penalty [b, q, k] -> [b, q, d]"""
    scores = torch.einsum("bqd,bkd->bqk", q, k) / math.sqrt(q.shape[-1]) - penalty
    weights = (scores - scores.amax(-1, keepdim=True)).exp()
    return torch.einsum("bqk,bkd->bqd", weights / weights.sum(-1, keepdim=True), v)


def mlp_by_hand(mlp: MLP, x: Tensor, published: bool) -> Tensor:
    def gelu(y: Tensor) -> Tensor:
        return 0.5 * y * (1 + torch.erf(y / math.sqrt(2)))

    first, second = mlp.layers
    y = gelu(norm(x) @ first.weight.T + first.bias) @ second.weight.T + second.bias
    return x + (gelu(y) if published else y)


def encoder_by_hand(
    layer: EncoderLayer, x: Tensor, others: dict[str, Tensor], distance: dict[str, Tensor], config: Any
) -> Tensor:
    heads, d = config.heads, x.shape[-1] // config.heads
    maybe = norm if config.qk_norm else (lambda y: y)
    out = []
    for h in range(heads):
        q, k, v = (norm(x) @ w.T for w in layer.qkv.weight[h * 3 * d : (h + 1) * 3 * d].split(d))
        slope = config.locality * 2.0 ** (-4.0 * h / heads)
        out.append(softmax_mean(maybe(q), maybe(k), v, slope * distance["self"]))
    for j, other in enumerate(layer.coupled_to):
        for h in range(config.coupling_heads):
            row = (j * config.coupling_heads + h) * d
            q = norm(x) @ layer.coupling_q.weight[row : row + d].T
            rows = layer.coupling_kv[other].weight.split(d)  # keys of all heads, then values of all heads
            k, v = (norm(others[other]) @ rows[i].T for i in (h, config.coupling_heads + h))
            q = q if config.published == "2024" else maybe(q)
            slope = config.locality * 2.0 ** (-4.0 * h / config.coupling_heads)
            out.append(softmax_mean(q, maybe(k), v, slope * distance[other]))
    x = x + torch.cat(out, -1) @ layer.out.weight.T
    return mlp_by_hand(layer.mlp, x, config.published is not None)


def decoder_by_hand(layer: DecoderLayer, x: Tensor, encoded: Tensor, distance: Tensor, config: Any) -> Tensor:
    d = x.shape[-1] // config.heads
    cross = int(config.heads * config.cross_fraction)
    out = []
    normed = affine if config.qk_norm or config.published == "2024" else (lambda y, _: y)
    for h in range(config.heads - cross):
        q, k, v = (norm(x) @ w.T for w in layer.qkv.weight[h * 3 * d : (h + 1) * 3 * d].split(d))
        slope = config.locality * 2.0 ** (-4.0 * h / (config.heads - cross))
        out.append(softmax_mean(normed(q, layer.norm_q), normed(k, layer.norm_k), v, slope * distance))
    for h in range(cross):
        q = norm(x) @ layer.cross_q.weight[h * d : (h + 1) * d].T
        k, v = (norm(encoded) @ w.T for w in layer.cross_kv.weight[h * 2 * d : (h + 1) * 2 * d].split(d))
        slope = config.locality * 2.0 ** (-4.0 * h / cross)
        out.append(softmax_mean(normed(q, layer.norm_q), normed(k, layer.norm_k), v, slope * distance))
    x = x + torch.cat(out, -1) @ layer.out.weight.T
    return mlp_by_hand(layer.mlp, x, config.published is not None)


@pytest.fixture(params=["plain", "local", "published", "older", "raw", "two", "three"])
def model(request: pytest.FixtureRequest) -> AtmoRep:
    changes: dict[str, Any] = {
        "plain": {},
        "local": {"locality": 0.7},
        "published": {"published": "2024", "predict": "field"},
        "older": {"published": "2023", "predict": "field"},
        "raw": {"qk_norm": False, "locality": 0.3, "cross_fraction": 0.25},
        "two": {"coupling_heads": 2, "locality": 0.5},
        "three": {"coupling_heads": 3, "published": "2024", "predict": "field"},
    }[request.param]
    torch.manual_seed(0)
    model = AtmoRep(tiny_model(*coupled_fields(), decoder_layers=2, **changes)).eval()
    for name, parameter in model.named_parameters():  # so that learnt scales and biases matter
        if "norm_" in name:
            nn.init.normal_(parameter, 1.0, 0.3)
    return model


@torch.no_grad()
def test_every_layer_is_its_formula(model: AtmoRep) -> None:
    config = model.config
    tokens = random_tokens(config)
    if config.published:
        for t in tokens.values():
            t.info.fill_(0.1)
    position = {n: token_positions(t.info).flatten(1, 4).double() for n, t in tokens.items()}

    def far(a: str, b: str) -> Tensor:
        return (position[a][:, :, None] - position[b][:, None]).norm(dim=-1).float()

    encoded = model.encode(tokens)
    for name in config.names:
        distance = {"self": far(name, name)} | {o: far(name, o) for o in config.field(name).coupled_to}
        for i, layer in enumerate(model.encoders[name]):
            before = {other: encoded[other][i] for other in config.names}
            expected = encoder_by_hand(layer, before[name], before, distance, config)
            torch.testing.assert_close(encoded[name][i + 1], expected, **CLOSE)
        x = encoded[name][-1]
        for i, block in enumerate(model.decoders[name]):
            x = decoder_by_hand(block, x, encoded[name][-1 - i], far(name, name), config)
        torch.testing.assert_close(model.decode(name, tokens[name], encoded[name]), x, **CLOSE)


@torch.no_grad()
def test_recorded_queries_and_keys_are_those_used(model: AtmoRep) -> None:
    """attend() and explicit weights agree on what the trace holds, with the model's own bias."""
    tokens = random_tokens(model.config)
    trace: dict = {}
    model(tokens, trace=trace)
    assert {key[:2] for key in trace} == {(s, i) for s in ("encoder", "decoder") for i in (0, 1)}
    near = Nearness(model.config, tokens)
    for (stage, _, name), record in trace.items():
        bias = near.encoder(name) if stage == "encoder" else near.decoder(name)
        expected = (
            {"self", "encoder"} if stage == "decoder" else {"self", *model.config.field(name).coupled_to}
        )
        assert set(record) == expected
        for origin, (q, k) in record.items():
            v = torch.randn(k.shape, generator=torch.Generator().manual_seed(0))
            weights = attention_weights(q, k, bias.get(origin))
            torch.testing.assert_close(weights.sum(-1), torch.ones(q.shape[:3]), atol=1e-6, rtol=0)
            torch.testing.assert_close(attend(q, k, v, bias.get(origin)), weights @ v, atol=2e-6, rtol=0)


def test_published_mlp_can_hardly_lower_a_value() -> None:
    torch.manual_seed(0)
    x = 5 * torch.randn(50, 16)
    change = {p: (MLP(16, 3, 0.0, published=p)(x) - x).min() for p in (True, False)}
    assert change[True] >= -0.17 > change[False]


@pytest.mark.parametrize("published", [None, "2023", "2024"])
@pytest.mark.parametrize("fraction", [0.0, 0.1, 0.5, 1.0])
@pytest.mark.parametrize(("encoder", "decoder"), [(1, 1), (2, 1), (1, 3), (2, 5)])
def test_every_corner_runs(published: Any, fraction: float, encoder: int, decoder: int) -> None:
    torch.manual_seed(0)
    model = AtmoRep(
        tiny_model(
            *coupled_fields(),
            encoder_layers=encoder,
            decoder_layers=decoder,
            cross_fraction=fraction,
            published=published,
            predict="field" if published else "departure",
        )
    )
    trace: dict = {}
    tokens = random_tokens(model.config)
    model(tokens, trace=trace)[HEAT].members.square().sum().backward()
    kinds = {"self"} if fraction < 0.25 else {"encoder"} if fraction == 1 else {"self", "encoder"}
    assert all(set(trace["decoder", layer, HEAT]) == kinds for layer in range(decoder))
    assert sum(p.numel() == 0 for p in model.parameters()) == 0
    silent = ("norm_k.bias", "departure_scale", *(f"{part}.{WIND}" for part in ("decoders", "tails")))
    for name, parameter in model.named_parameters():
        if not any(part in name for part in silent) and f"encoders.{WIND}.{encoder - 1}." not in name:
            assert parameter.grad is not None and parameter.grad.isfinite().all(), name
            assert parameter.grad.abs().max() > 0, name


@torch.no_grad()
@pytest.mark.parametrize(
    ("encoder", "decoder", "seen"),
    [(4, 2, [4, 3]), (3, 3, [3, 2, 1]), (2, 5, [2, 2, 2, 1, 1]), (1, 3, [1, 1, 1]), (3, 4, [3, 3, 2, 1])],
)
def test_which_encoder_layer_a_decoder_layer_sees(encoder: int, decoder: int, seen: list[int]) -> None:
    torch.manual_seed(0)
    model = AtmoRep(tiny_model(tiny_field(), encoder_layers=encoder, decoder_layers=decoder)).eval()
    tokens = random_tokens(model.config)
    encoded = model.encode(tokens)[HEAT]
    given: list[Tensor] = []
    for block in model.decoders[HEAT]:
        block.register_forward_pre_hook(lambda _, inputs: given.append(inputs[1]))
    model.decode(HEAT, tokens[HEAT], encoded)
    assert [next(i for i, z in enumerate(encoded) if z is one) for one in given] == seen


@torch.no_grad()
@pytest.mark.parametrize("coupling_heads", [1, 2])
def test_order_of_fields_does_not_matter(coupling_heads: int) -> None:
    """The same weights under another order of the fields, and of the coupled ones, say the same."""
    fields = [
        tiny_field(name, coupled_to=tuple(o for o in NAMES if o != name), levels=levels)
        for name, levels in zip(NAMES, [(500,), (500, 850), tuple(range(100, 1000, 100))], strict=True)
    ]
    turned = [f.model_copy(update={"coupled_to": f.coupled_to[::-1]}) for f in fields[::-1]]
    torch.manual_seed(0)
    settings = {"coupling_heads": coupling_heads, "locality": 0.5}
    model, other = (AtmoRep(tiny_model(*each, **settings)).eval() for each in (fields, turned))
    state = model.state_dict()
    d = 24 // 4
    for name in state:
        if "coupling_q" in name:  # rows, and columns of the projection, in the order of the coupled fields
            first, second = state[name].chunk(2)
            state[name] = torch.cat((second, first))
            out = name.replace("coupling_q", "out")
            own, first, second = state[out].split([24, d * coupling_heads, d * coupling_heads], 1)
            state[out] = torch.cat((own, second, first), 1)
    other.load_state_dict(state)
    tokens = random_tokens(model.config)
    expected, found = model(tokens), other({name: tokens[name] for name in reversed(NAMES)})
    for name in NAMES:
        torch.testing.assert_close(found[name].members, expected[name].members, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("rate", [0.05, 0.5])
def test_dropout_drops_its_rate_and_keeps_the_mean(rate: float) -> None:
    torch.manual_seed(0)
    x = torch.ones(1000, 401, requires_grad=True)
    y = Dropout(rate).train()(x)
    y.sum().backward()
    kept = y > 0
    deviation = math.sqrt(rate * (1 - rate) / x.numel())
    assert abs(float(1 - kept.float().mean()) - rate) < 5 * deviation + 2**-16
    assert torch.equal(x.grad, y) and torch.allclose(y[kept], torch.tensor(1 / (1 - rate)))
    along = (kept[:, 1:] == kept[:, :-1]).float().mean()  # neighbours, four of which share a random word
    assert abs(float(along) - (rate**2 + (1 - rate) ** 2)) < 5e-3
    assert torch.equal(Dropout(rate).eval()(x), x)


def test_dropout_acts_in_training_only() -> None:
    torch.manual_seed(0)
    model = AtmoRep(tiny_model(tiny_field(WIND), dropout=0.3))
    tokens = random_tokens(model.config)

    def run() -> Tensor:
        return model(tokens)[WIND].members

    model.train()
    assert not torch.equal(run(), run())
    model.eval()
    assert torch.equal(run(), run())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"coupling_heads": 2}, "coupling_heads: 2"),
        ({"decoder_layers": 3}, "more decoder_layers than encoder_layers"),
        ({"cross_fraction": 1.0}, "one kind of head"),
        ({"cross_fraction": 0.2}, "one kind of head"),
    ],
)
def test_what_the_published_code_never_ran_is_not_written_in_its_format(changes: dict, words: str) -> None:
    with pytest.raises(UserError, match=words):
        config_to_published(tiny_model(*coupled_fields(), published="2024", predict="field", **changes))
