"""The presets are valid, and the published one has the published size."""

from __future__ import annotations

import pytest
import torch

from atmorep_lite.config import PRESETS, load_config
from atmorep_lite.model import AtmoRep


@pytest.mark.parametrize("name", sorted(path.stem for path in PRESETS.glob("*.yaml")))
def test_preset_loads_and_builds(name: str) -> None:
    with torch.device("meta"):
        AtmoRep(load_config(name).model)


def test_paper_has_the_published_number_of_parameters() -> None:
    """The published log prints 741,136,272; 144 of them are in a net that is never used."""
    with torch.device("meta"):
        model = AtmoRep(load_config("paper").model)
    assert sum(p.numel() for p in model.parameters()) == 741_136_272 - 144
