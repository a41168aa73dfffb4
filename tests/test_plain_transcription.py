"""The yardstick of the speed benchmark computes what our model computes from the same weights."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from atmorep_lite.convert import published_names
from atmorep_lite.model import AtmoRep
from tests.tiny import WIND, coupled_fields, random_tokens, tiny_field, tiny_model

PATH = Path(__file__).parents[1] / "benchmarks" / "plain_transcription.py"
spec = importlib.util.spec_from_file_location("plain_transcription", PATH)
assert spec is not None and spec.loader is not None
plain = importlib.util.module_from_spec(spec)
sys.modules[spec.name] = plain
spec.loader.exec_module(plain)


@pytest.mark.parametrize(
    ("fields", "changes"),
    [
        ((tiny_field(levels=(300, 500, 850)),), {"decoder_layers": 2}),
        (coupled_fields(), {"qk_norm": False, "tail_layers": 1, "mlp_layers": 3}),
        (
            (*coupled_fields(), tiny_field("vorticity", coupled_to=("temperature", WIND), loss_weight=0.0)),
            {"cross_fraction": 0.25},
        ),
    ],
)
def test_same_outputs_and_gradients_from_the_same_weights(fields: Any, changes: dict) -> None:
    torch.manual_seed(0)
    model = AtmoRep(tiny_model(*fields, published="2024", predict="field", **changes))
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.1)  # so that token information and all biases matter
    tokens = random_tokens(model.config)
    for field in tokens.values():
        field.info.mul_(0.01)
    chosen = {name: plain.chosen_tokens(field.mask) for name, field in tokens.items()}
    ours = model.predict_hidden(tokens)
    for checkpointing in (False, True):
        theirs = plain.Transcription(model, checkpointing=checkpointing).train()
        outputs = theirs(tokens, chosen)
        for name in model.predicted:
            order = plain.in_order_of(tokens[name].mask, chosen[name])
            torch.testing.assert_close(outputs[name][order], ours[name].members, atol=1e-5, rtol=1e-5)
        sum(members.square().mean() for members in outputs.values()).backward()
        model.zero_grad()
        sum(e.members.square().mean() for e in model.predict_hidden(tokens).values()).backward()
        gradients = {n: p.grad for n, p in theirs.named_parameters(remove_duplicate=False)}
        their_names = published_names(model.config)
        for name, parameter in model.named_parameters():
            expected = [gradients[their] for their in their_names[name]]
            if parameter.grad is None:
                assert expected == [None], name
                continue
            found = parameter.grad if name.startswith("tails.") else parameter.grad[None]
            torch.testing.assert_close(found, torch.stack(expected), atol=1e-6, rtol=1e-4, msg=name)
