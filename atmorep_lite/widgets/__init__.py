"""Explorers: one Python class (anywidget) and one JavaScript module each.

The same module runs in JupyterLab, in a book's static pages with no kernel, and in a stand-alone file.
"""

from atmorep_lite.widgets.attention_explorer import AttentionExplorer
from atmorep_lite.widgets.toy_attention import ToyAttention

__all__ = ["AttentionExplorer", "ToyAttention"]
