"""Explorers: one Python class (anywidget) and one JavaScript module each.

The same module runs in JupyterLab, in a book's static pages with no kernel, and in a stand-alone file.
"""

from typing import TYPE_CHECKING, Any

from atmorep_lite.widgets.attention_explorer import AttentionExplorer
from atmorep_lite.widgets.toy_attention import ToyAttention

if TYPE_CHECKING:
    from atmorep_lite.widgets.training_monitor import TrainingMonitor

__all__ = ["AttentionExplorer", "ToyAttention", "TrainingMonitor"]


def __getattr__(name: str) -> Any:
    if name == "TrainingMonitor":  # imports PyTorch, which the others do without
        from atmorep_lite.widgets.training_monitor import TrainingMonitor

        return TrainingMonitor
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
