"""MaskingExplorer in Python: masks are those of training, kinds those of `distort`; what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr

from atmorep_lite import UserError, open_sample
from atmorep_lite.config import FieldConfig, MaskingConfig
from atmorep_lite.masking import STRATEGIES, Key, Purpose, Scene, distort, generator, hide_future
from atmorep_lite.widgets import MaskingExplorer
from atmorep_lite.widgets.mask_draws import KINDS, corruption_of, shape_of

SIZES = {"temperature": (4, 4, 8), "vorticity": (2, 8, 4)}


@pytest.fixture(scope="module")
def sample() -> xr.Dataset:
    return open_sample().isel(time=slice(0, 16)).load()


@pytest.fixture(scope="module")
def explorer(sample: xr.Dataset) -> MaskingExplorer:
    """Two fields with tokens of different sizes."""
    return MaskingExplorer(sample, tuple(SIZES), steps=16, token_size=SIZES, draws=3, seed=5)


def configs() -> list[FieldConfig]:
    return [
        FieldConfig(
            name=name,
            levels=(500, 700, 850),
            embed_dim=32,
            num_tokens=(16 // t, 32 // y, 64 // x),
            token_size=(t, y, x),
        )
        for name, (t, y, x) in SIZES.items()
    ]


def centres(sample: xr.Dataset) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    return {
        name: (sample.latitude.values[y // 2 :: y], sample.longitude.values[x // 2 :: x])
        for name, (_, y, x) in SIZES.items()
    }


@pytest.mark.parametrize("strategy", sorted(STRATEGIES))
def test_masks_are_those_of_the_strategy(
    explorer: MaskingExplorer, sample: xr.Dataset, strategy: str
) -> None:
    """Each strategy called by itself, with the generator that training gives to the sample."""
    scene = Scene(tuple(configs()), centres(sample))
    for setting, one in enumerate(explorer._known.settings[strategy]):
        rules = MaskingConfig(**one.changes)
        for draw in range(3):
            explorer.selected = {"strategy": strategy, "setting": setting, "draw": draw, "hand": []}
            rng = generator(Key(5, 0, draw), Purpose.MASK)
            rng.random()  # training draws the task first
            wanted = STRATEGIES[strategy](scene, rng, rules)
            masks = explorer.masks()
            assert set(masks) == set(SIZES)
            assert all(torch.equal(masks[name], wanted[name]) for name in SIZES), (setting, draw)


def test_forecasts_hide_the_last_slots(explorer: MaskingExplorer) -> None:
    explorer.selected = {"strategy": "forecast", "setting": 1, "draw": 2, "hand": []}
    masks = explorer.masks()
    assert torch.equal(masks["temperature"], hide_future((3, 4, 8, 8), 2))
    assert torch.equal(masks["vorticity"], hide_future((3, 8, 4, 16), 4)), "the same hours"


def test_tokens_turned_over_by_hand(explorer: MaskingExplorer) -> None:
    explorer.selected = {"strategy": "forecast", "setting": 0, "hand": []}
    before = explorer.masks()
    explorer.selected = {"hand": [["vorticity", 2, 7, 3, 15], ("temperature", np.int64(0), 0, 0, 1)]}
    after = explorer.masks()
    assert after["vorticity"][2, 7, 3, 15].item() is False and after["temperature"][0, 0, 0, 1].item() is True
    assert sum(int((before[name] ^ after[name]).sum()) for name in SIZES) == 2
    explorer.selected = {"strategy": "none", "hand": []}
    assert not any(mask.any() for mask in explorer.masks().values())


def test_kinds_are_what_distort_does(explorer: MaskingExplorer) -> None:
    """Real values, corrupted as training corrupts them, look as the kinds say."""
    rules = MaskingConfig(zero=0.5, noise=0.3, coarse=0.4, max_rate=1.0)
    draw = torch.Generator().manual_seed(0)
    keys = [Key(3, 0, n) for n in range(4)]
    masks = {f.name: torch.rand((4, *shape_of(f)), generator=draw) < 0.5 for f in configs()}
    masks["vorticity"][1] = True  # a whole field: nothing is shown in its place
    kinds = corruption_of(configs(), keys, masks, rules)
    rngs = [generator(key, Purpose.DISTORTION) for key in keys]
    for f in configs():
        selected = masks[f.name] & ~masks[f.name].flatten(1).all(1)[:, None, None, None, None]
        values = torch.randn((*selected.shape, f.token_values), generator=draw)
        out = distort(values, selected, f.token_size, rules, rngs)
        kind, before = kinds[f.name][selected], values[selected]
        assert (kinds[f.name][~selected] == -1).all()
        seen = {name: kind == i for i, name in enumerate(KINDS)}
        assert torch.equal(out[seen["kept"]], before[seen["kept"]])
        assert (out[seen["zero"]] == 0).all()
        noise = out[seen["noise"]]
        assert noise.abs().max() < 0.6 and (noise != 0).any(1).all()
        assert not (out[seen["mixed"]] == before[seen["mixed"]]).all(1).any()
        coarse, mean = out[seen["coarse"]], before[seen["coarse"]].mean(1)
        assert torch.allclose(coarse.mean(1), mean, atol=1e-5) and (coarse.std(1) < 1).all()
        assert all(int(one.sum()) > 20 for one in seen.values())


def test_kinds_come_as_often_as_set(explorer: MaskingExplorer) -> None:
    """90 % zero, 20 % noise, 5 % coarser, independently."""
    counts = np.zeros(len(KINDS))
    for setting in range(len(explorer._known.settings["random"])):
        for draw in range(3):
            explorer.selected = {"strategy": "random", "setting": setting, "draw": draw}
            for name, kind in explorer.corruption().items():
                assert torch.equal(kind >= 0, explorer._known.masks["random"][setting][name][draw])
                counts += np.bincount(kind[kind >= 0].numpy(), minlength=len(KINDS))
    expected = np.array([0.1 * 0.8 * 0.95, 0.9 * 0.8, 0.9 * 0.2, 0.1 * 0.2, 0.1 * 0.8 * 0.05])
    error = np.sqrt(expected * (1 - expected) / counts.sum())
    assert (np.abs(counts / counts.sum() - expected) < 5 * error).all()
    explorer.selected = {"strategy": "box"}
    with pytest.raises(UserError, match="choose the strategy random"):
        explorer.corruption()


def test_the_first_view_is_what_training_does(sample: xr.Dataset) -> None:
    rules = MaskingConfig(max_rate=0.4, swath_width=7.0)
    explorer = MaskingExplorer(sample, "temperature", steps=8, draws=1, masking=rules)
    settings = explorer._known.settings
    assert settings["random"][explorer.selected["setting"]].changes == {"max_rate": 0.4}
    assert {"swath_width": 7.0} in [one.changes for one in settings["swath"]]
    assert "field" not in settings, "one field cannot be hidden as a whole"
    assert "second one" in explorer._known.refused["field"]


def test_more_draws_begin_with_the_same(sample: xr.Dataset) -> None:
    few, many = (MaskingExplorer(sample, "temperature", steps=8, draws=n, seed=1) for n in (2, 4))
    for name, settings in few._known.masks.items():
        for one, other in zip(settings, many._known.masks[name], strict=True):
            assert torch.equal(one["temperature"], other["temperature"][: len(one["temperature"])])


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"strategies": ["guess"]}, "strategy 'guess' is unknown"),
        ({"strategies": ["field"], "field": "temperature"}, "second one"),
        ({"strategies": ["interpolation"], "steps": 8}, "visible ones before and after"),
        ({"draws": 0}, "1 to 100 draws"),
        ({"draws": 2.0}, "1 to 100 draws"),
        ({"seed": -1}, "seed"),
        ({"steps": 30}, "30 steps were asked for"),
        ({"token_size": {"temperature": (4, 4, 4)}}, "differ in vorticity"),
        ({"token_size": (3, 4, 4)}, "do not fill"),
        ({"field": "ozone"}, "ozone"),
        ({"token_size": (16, 32, 64), "field": "temperature", "levels": [500]}, "choose smaller tokens"),
    ],
)
def test_faults_are_told_in_the_widget(sample: xr.Dataset, options: dict[str, Any], told: str) -> None:
    usual = {"dataset": sample, "field": tuple(SIZES), "steps": 16, "draws": 1}
    explorer = MaskingExplorer(**{**usual, **options})
    assert explorer.fault is not None and told in explorer.fault
    assert "\n" not in explorer.fault
    with pytest.raises(UserError):
        explorer.masks()


@pytest.mark.parametrize(
    "wish",
    [
        {"strategy": "guess"},
        {"draw": 3},
        {"look": "x"},
        {"hand": [["temperature", 0, 0, 0, 8]]},
        {"hand": [["ozone", 0, 0, 0, 0]]},
        {"hand": [["temperature", 0, 0, 0]]},
        {"hand": 3},
        {"hand": [5]},
        {"paint": 1},
    ],
)
def test_views_that_do_not_exist(explorer: MaskingExplorer, wish: dict[str, Any]) -> None:
    before = dict(explorer.selected)
    with pytest.raises(UserError):
        explorer.selected = wish
    assert explorer.selected == before


def test_the_page_stays_small(tmp_path: Path) -> None:
    explorer = MaskingExplorer()
    assert explorer.fault is None and set(explorer._known.settings) == set(STRATEGIES)
    assert explorer.to_html(tmp_path / "masking.html").stat().st_size < 1_000_000


def test_wrong_settings_are_told() -> None:
    assert "a MaskingConfig was expected" in str(MaskingExplorer(masking={"rate": 0.5}).fault)  # type: ignore[arg-type]
