"""From the parts of a widget's JavaScript to one module, and from a widget to a page of its own."""

from __future__ import annotations

import base64
import html
import json
import os
import re
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
_IMPORT = re.compile(r'^import \{[^}]*\} from "\./(?:parts/)?(\w+)\.js";\n', re.MULTILINE)
_COMMENT = re.compile(r"^ *//.*\n", re.MULTILINE)
_EXPORT = re.compile(r"^export (?!default)", re.MULTILINE)

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; script-src 'unsafe-inline'; \
style-src 'unsafe-inline'; img-src data:">
<link rel="icon" href="data:,">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; }}
body {{
  margin: 0; background: #fff;
  font-family: system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
}}
@media (prefers-color-scheme: dark) {{ body {{ background: #0f1318; }} }}
main {{ max-width: 1480px; margin: 0 auto; padding: clamp(8px, 1.6vw, 24px); }}
{style}
</style>
</head>
<body>
<main id="arl-host"><noscript>This page draws with JavaScript, which is switched off here.</noscript></main>
<script type="application/json" id="arl-state">{state}</script>
<script type="text/plain" id="arl-data">{data}</script>
<script type="module">
{module}
const state = JSON.parse(document.getElementById("arl-state").textContent);
const text = atob(document.getElementById("arl-data").textContent);
const bytes = new Uint8Array(text.length);
for (let i = 0; i < text.length; i += 1) bytes[i] = text.charCodeAt(i);
state.data = new DataView(bytes.buffer);
const model = {{
  get: (name) => state[name],
  set: (name, value) => {{ state[name] = value; }},
  save_changes() {{}},
  on() {{}},
  off() {{}},
}};
render({{ model, el: document.getElementById("arl-host") }});
</script>
</body>
</html>
"""


def module_source(name: str) -> str:
    """JavaScript module ``name`` with the parts it imports written into it: one file, nothing to load.

    Parts are files of ``parts/`` with named exports; an import is one line, and names are unique among parts.
    Lines of comment stay behind.
    """
    order: list[str] = []

    def visit(path: Path) -> None:
        for part in _IMPORT.findall(path.read_text(encoding="utf-8")):
            visit(HERE / "parts" / f"{part}.js")
        if path.stem not in order and path.parent.name == "parts":
            order.append(path.stem)

    entry = HERE / f"{name}.js"
    visit(entry)
    parts = [(HERE / "parts" / f"{part}.js").read_text(encoding="utf-8") for part in order]
    stripped = [_EXPORT.sub("", _IMPORT.sub("", part)) for part in parts]
    return _COMMENT.sub("", "\n".join([*stripped, _IMPORT.sub("", entry.read_text(encoding="utf-8"))]))


def style_source(name: str) -> str:
    """Style sheet of widget ``name``: what all have in common (``parts/base.css``), then its own."""
    sheets = (HERE / "parts" / "base.css", HERE / f"{name}.css")
    return "\n".join(sheet.read_text(encoding="utf-8") for sheet in sheets if sheet.exists())


def write_page(
    path: str | os.PathLike[str], *, title: str, module: str, style: str, state: dict[str, Any], data: bytes
) -> Path:
    """Write a page that shows one widget and asks nobody for anything; returns its path.

    Parameters
    ----------
    path
        File to write; its folder is made. Written under another name first, then renamed.
    title
        Of the page.
    module, style
        JavaScript that defines ``render``, and its style sheet.
    state
        Traits that JSON can hold.
    data
        The trait ``data``; stored as base64.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    page = _PAGE.format(
        title=html.escape(title),
        style=style,
        state=json.dumps(state, ensure_ascii=False, separators=(",", ":")).replace("</", "<\\/"),
        data=base64.b64encode(data).decode("ascii"),
        module=module,
    )
    temporary = target.with_name(f"{target.name}.{os.getpid()}.unfinished")
    try:
        temporary.write_text(page, encoding="utf-8")
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)
    return target
