"""Explorers: one Python class (anywidget) and one JavaScript module each.

The same module runs in JupyterLab, in a book's static pages with no kernel, and in a stand-alone file.
"""

from atmorep_lite.widgets.attention_explorer import AttentionExplorer

__all__ = ["AttentionExplorer"]
