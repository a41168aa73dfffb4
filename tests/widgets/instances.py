"""One small instance of every explorer, for the tests that all of them must pass.

A new explorer adds one line to `INSTANCES`, under the name of its class (a second one with a word after a
comma); `test_every_explorer.py` then tests it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.widgets.synthetic import make_capture

if TYPE_CHECKING:
    from atmorep_lite.widgets.explorer import Explorer


@dataclass(frozen=True)
class Instance:
    """How the tests make an explorer and where they touch it.

    Parameters
    ----------
    make
        Makes a small one that shows its picture.
    touch
        CSS selector of what a finger can move or choose; the first that is found is touched.
    drag
        By how many CSS pixels (right, down) the finger moves; None: a tap.
    at
        Where the finger begins, as parts of that element's width and height.
    kilobytes
        What its stand-alone page may weigh.
    """

    make: Callable[[], Explorer]
    touch: str
    kilobytes: int
    drag: tuple[float, float] | None = None
    at: tuple[float, float] = (0.5, 0.5)


def attention() -> Explorer:
    from atmorep_lite.widgets import AttentionExplorer

    words = {"title": "What does one token look at?", "caption": "Made by formula."}
    return AttentionExplorer(make_capture(), layers=[0], heads=[0, 1], precision="int8", **words)


def evidence() -> Explorer:
    from atmorep_lite.widgets import AttentionExplorer
    from tests.widgets.synthetic_evidence import make_evidence

    capture = make_capture()
    return AttentionExplorer(
        capture, evidence=make_evidence(capture), precision="int8", title="With evidence"
    )


def live_vortices() -> Explorer:
    from atmorep_lite.widgets import LiveVortices

    return LiveVortices(title="A network that runs in this page", caption="Made by formula.")


def zonal_mean() -> Explorer:
    from atmorep_lite import open_sample
    from atmorep_lite.widgets.examples.zonal_mean import ZonalMean

    return ZonalMean(open_sample().u_component_of_wind, title="Mean wind", caption="Simulated atmosphere.")


def toy() -> Explorer:
    from atmorep_lite.widgets import ToyAttention

    return ToyAttention(title="Attention in the plane", caption="Drag the points.")


def ensemble() -> Explorer:
    from atmorep_lite.widgets import EnsembleExplorer

    return EnsembleExplorer(8, title="What does a loss ask of an ensemble?", caption="Drag the members.")


def rollouts() -> Explorer:
    from tests.widgets.test_rollout_explorer import waves

    return waves(title="Waves that drift", caption="Made by formula.")


def tokens() -> Explorer:
    from atmorep_lite.widgets import TokenExplorer

    return TokenExplorer(title="What is a token?", caption="Simulated atmosphere.")


def masking() -> Explorer:
    from atmorep_lite.widgets import MaskingExplorer

    words = {"title": "What is hidden from the model?", "caption": "Simulated atmosphere."}
    return MaskingExplorer(field=["temperature", "vorticity"], levels=[500], steps=12, **words)


def monitor() -> Explorer:
    from tests.widgets.test_training_monitor_browser import watched

    return watched()


INSTANCES = {
    "AttentionExplorer": Instance(attention, ".arl-map", kilobytes=1600, at=(0.3, 0.4)),
    "AttentionExplorer, with evidence": Instance(evidence, ".arl-ev-board button", kilobytes=8000),
    "EnsembleExplorer": Instance(ensemble, "[data-arl-member='2']", kilobytes=130, drag=(30, 0)),
    "LiveVortices": Instance(live_vortices, "[data-arl-map=network] .arl-square-map", kilobytes=7500),
    "MaskingExplorer": Instance(masking, ".arl-mask-map canvas", kilobytes=1000, at=(0.5, 0.4)),
    "RolloutExplorer": Instance(rollouts, ".arl-roll-errors", kilobytes=130, at=(0.3, 0.5)),
    "TokenExplorer": Instance(tokens, ".arl-token-map canvas", kilobytes=1000, at=(0.3, 0.4)),
    "ToyAttention": Instance(toy, "[data-arl-handle=query0]", kilobytes=60, drag=(-40, 30)),
    "ZonalMean": Instance(zonal_mean, ".arl-button:last-child", kilobytes=120),
    "TrainingMonitor": Instance(monitor, ".arl-tm-name", kilobytes=80),
}
