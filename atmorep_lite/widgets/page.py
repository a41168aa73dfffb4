"""From the parts of a widget's JavaScript to one module, and from a widget to a page of its own."""

from __future__ import annotations

import base64
import html
import json
import os
import re
from pathlib import Path
from typing import Any

from atmorep_lite.errors import UserError
from atmorep_lite.widgets.compact import compact

HERE = Path(__file__).parent
_IMPORT = re.compile(r'^import \{[^}]*\} from "\./(?:parts/)?(\w+)\.js";\n', re.MULTILINE)
_KIND = re.compile(r'\bexplorer\(\{\s*kind: "(\w+)"')
_EXPORT = re.compile(r"^export (?!default)", re.MULTILINE)

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; script-src {scripts}; \
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


def module_source(name: str | Path) -> str:
    """JavaScript module ``name`` with the parts it imports written into it: one file, nothing to load.

    Parts are files of ``parts/`` with named exports; an import is one line, and names are unique among parts.
    Comments and spare white space stay behind.  A module outside of this folder is given by its path and
    imports the same parts.
    """
    entry = _entry(name)
    parts = [(HERE / "parts" / f"{part}.js").read_text(encoding="utf-8") for part in _parts(entry)]
    stripped = [_EXPORT.sub("", _IMPORT.sub("", part)) for part in parts]
    return compact("\n".join([*stripped, _IMPORT.sub("", entry.read_text(encoding="utf-8"))]))


def style_source(name: str | Path) -> str:
    """Style sheet of widget ``name``: what all have in common (``parts/base.css``), its parts', its own.

    On a page with several kinds of widgets each brings its sheet, and the last one would win over the others'
    own rules; so ``.arl-widget`` becomes the class of the kind.
    """
    entry = _entry(name)
    parts = (HERE / "parts" / f"{part}.css" for part in ("base", *_parts(entry)))
    sheets = (*parts, entry.with_suffix(".css"))
    style = "\n".join(sheet.read_text(encoding="utf-8") for sheet in sheets if sheet.exists())
    kind = _KIND.search(entry.read_text(encoding="utf-8"))
    return re.sub(r"\.arl-widget\b", f".arl-{kind[1]}", style) if kind else style


def _entry(name: str | Path) -> Path:
    return name if isinstance(name, Path) else HERE / f"{name}.js"


def _parts(entry: Path) -> list[str]:
    """Names of the parts that a module imports, directly or not; each after those that it imports itself."""
    order: list[str] = []
    for part in _IMPORT.findall(entry.read_text(encoding="utf-8")):
        order += [*_parts(HERE / "parts" / f"{part}.js"), part]
    return list(dict.fromkeys(order))


def page_text(
    *, title: str, module: str, style: str, state: dict[str, Any], data: bytes, wasm: bool = False
) -> str:
    """A page that shows one widget and asks nobody for anything.

    Parameters
    ----------
    title
        Of the page.
    module, style
        JavaScript that defines ``render``, and its style sheet.
    state
        Traits that JSON can hold.
    data
        The trait ``data``; stored as base64.
    wasm
        Whether the page may run WebAssembly and workers that it makes itself.
    """
    return _PAGE.format(
        title=html.escape(title),
        scripts="'unsafe-inline'" + (" 'wasm-unsafe-eval' blob:; worker-src blob:" if wasm else ""),
        style=style,
        state=_json(state),
        data=base64.b64encode(data).decode("ascii"),
        module=module,
    )


def _json(state: dict[str, Any]) -> str:
    """JSON that a script element holds: without ``<``, neither its end nor a comment begins there."""
    text = json.dumps(state, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c")


def write_page(path: str | os.PathLike[str], text: str) -> Path:
    """Write a page under another name first, then rename it; makes its folder, returns its path.

    Raises
    ------
    UserError
        Where no file can be written there.
    """
    if not isinstance(path, str | os.PathLike):
        raise UserError(f"The path is {path!r}, where that of a file was expected: try 'page.html'.")
    target = Path(path)
    if target.is_dir():
        raise UserError(f"The path {target} is a folder: name a file in it, such as page.html.")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f"{target.name}.{os.getpid()}.unfinished")
        try:
            temporary.write_text(text, encoding="utf-8")
            os.replace(temporary, target)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(
            f"The page cannot be written to {target} ({error.strerror}): choose another path."
        ) from error
    return target
