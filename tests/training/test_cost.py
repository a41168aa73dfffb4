"""Counted operations, against the count that PyTorch keeps while it computes."""

from __future__ import annotations

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from atmorep_lite.config import Config, load_config
from atmorep_lite.model import AtmoRep
from atmorep_lite.training.planning.cost import flops_per_sample, forward_flops, hidden_share
from atmorep_lite.training.planning.memory import blank_tokens

SINGLE_FIELD = [
    "model.fields=[{name: u_component_of_wind, levels: [96, 105, 114, 123, 137], embed_dim: 1024,"
    " num_tokens: [12, 3, 6], token_size: [3, 18, 18]}]",
    "masking.forecast_slots=1",
]


def counted(config: Config, part: str, hidden: float) -> float:
    """Operations of one sample by PyTorch's counter: forward and backward, attention written out."""
    torch.manual_seed(0)
    model = AtmoRep(config.model).train()
    for name, parameter in model.named_parameters():
        learns = part == "all" or name.startswith("grid_skip") == (part == "grid_skip")
        parameter.requires_grad_(learns and not name.startswith("departure_scale"))
    tokens, static = blank_tokens(config.model, 1, hidden=hidden)
    counter = FlopCounterMode(display=False)
    with sdpa_kernel(SDPBackend.MATH), counter:
        if part == "grid_skip":
            model.first_guess_on_grid(tokens, static).values.sum().backward()
        else:
            sum(out.members.sum() for out in model.predict_hidden(tokens, static).values()).backward()
    return float(counter.get_total_flops())


@pytest.mark.parametrize("part", ["all", "grid_skip", "transformer"])
@pytest.mark.parametrize("name", ["demo", "talk", "era5_t2m_uk"])
def test_operations_are_those_that_are_computed(name: str, part: str) -> None:
    config = load_config(name)
    if part == "grid_skip" and config.model.grid_skip is None:
        pytest.skip("no grid-scale skip")
    assert flops_per_sample(config.model, part=part, hidden=0.5) == pytest.approx(
        counted(config, part, 0.5), rel=0.02
    )


def test_the_published_single_field_model_costs_what_planners_reckon_with() -> None:
    """0.83 TFLOP a training sample: six operations for each weight and token, and those of attention."""
    model = load_config("paper", SINGLE_FIELD).model
    weights, tokens, width, layers = 117_656_192, 1080, 1024, 12
    rule = 6 * weights * tokens + 12 * layers * tokens**2 * width
    assert flops_per_sample(model, hidden=1.0) == pytest.approx(rule, rel=0.01)
    assert flops_per_sample(model) == pytest.approx(0.83e12, rel=0.03)


def test_coupling_and_context_cost_more() -> None:
    coupled = load_config("demo").model
    alone = coupled.model_copy(
        update={"fields": tuple(f.model_copy(update={"coupled_to": ()}) for f in coupled.fields)}
    )
    assert forward_flops(alone)["coupling"] == 0 < forward_flops(coupled)["coupling"]
    talk = load_config("talk").model
    narrow = talk.model_copy(
        update={"fields": tuple(f.model_copy(update={"context": None}) for f in talk.fields)}
    )
    assert forward_flops(narrow)["encoder"] < forward_flops(talk)["encoder"]


def test_hidden_share_is_that_of_the_masks() -> None:
    """A third of the slots in forecasts; U(0, 0.5) else, at least one token a level."""
    config = load_config("demo", ["masking.forecast=1.0", "masking.forecast_slots=1"])
    assert hidden_share(config, config.training.stages[1]) == pytest.approx(1 / 3)
    random = load_config("paper")
    assert hidden_share(random, random.training.stages[0]) == pytest.approx(0.25, abs=0.02)
