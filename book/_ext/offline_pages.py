"""A Sphinx extension: built pages hold all that they load, and load nothing that they do not use.

- The browser half of anywidget comes from the installed Python package, so the two always match.
- The widget manager looks for its icon fonts in two folders; both get them.
- The script of `sphinx_thebe`, which the theme adds to each page, is left out: no cell runs on a server.
"""

from __future__ import annotations

import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx


def complete_vendor_folder(app: Sphinx, exception: Exception | None) -> None:
    """Put anywidget and the fonts where the pages of this build look for them."""
    if exception is not None or app.builder.format != "html":
        return
    vendor = Path(app.outdir) / "_static" / "vendor"
    package = find_spec("anywidget")
    if package is None or package.origin is None:
        raise RuntimeError("anywidget is not installed, and widgets of the book need it; run: make book")
    shutil.copyfile(Path(package.origin).parent / "nbextension" / "index.js", vendor / "anywidget.js")
    for folder in ("@jupyter-widgets", "@jupyter-widgets/html-manager/dist"):
        (vendor / folder).mkdir(parents=True, exist_ok=True)
        for font in vendor.glob("*.woff2"):
            shutil.copyfile(font, vendor / folder / font.name)


def leave_out_thebe(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: object) -> None:
    """Drop the scripts of thebe from a page."""
    context["script_files"] = [
        script
        for script in context.get("script_files", [])
        if "thebe" not in str(getattr(script, "filename", script) or "")
        and "THEBE_JS_URL" not in str(getattr(script, "attributes", {}).get("body", ""))
    ]


def setup(app: Sphinx) -> dict[str, bool]:
    """Register with Sphinx."""
    app.connect("html-page-context", leave_out_thebe, priority=900)
    app.connect("build-finished", complete_vendor_folder)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
