"""Explorers: one Python class (anywidget) and one JavaScript module each.

The same module runs in JupyterLab, in a book's static pages with no kernel, and in a stand-alone file.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from atmorep_lite.widgets.attention_explorer import AttentionExplorer
from atmorep_lite.widgets.toy_attention import ToyAttention

if TYPE_CHECKING:
    from atmorep_lite.widgets.ensemble_explorer import EnsembleExplorer
    from atmorep_lite.widgets.live_vortices import LiveVortices
    from atmorep_lite.widgets.masking_explorer import MaskingExplorer
    from atmorep_lite.widgets.rollout_explorer import RolloutExplorer
    from atmorep_lite.widgets.token_explorer import TokenExplorer
    from atmorep_lite.widgets.training_monitor import TrainingMonitor

# Explorers whose modules are imported when they are asked for: they import PyTorch, or much else.
_LATER = {
    "EnsembleExplorer": "ensemble_explorer",
    "LiveVortices": "live_vortices",
    "MaskingExplorer": "masking_explorer",
    "RolloutExplorer": "rollout_explorer",
    "TokenExplorer": "token_explorer",
    "TrainingMonitor": "training_monitor",
}

__all__ = [
    "AttentionExplorer",
    "EnsembleExplorer",
    "LiveVortices",
    "MaskingExplorer",
    "RolloutExplorer",
    "TokenExplorer",
    "ToyAttention",
    "TrainingMonitor",
]


def __getattr__(name: str) -> Any:
    if name in _LATER:
        return getattr(import_module(f"{__name__}.{_LATER[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
