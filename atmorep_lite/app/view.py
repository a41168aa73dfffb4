"""The live app as a Panel object: served on this machine, in JupyterLab, or by ``panel serve``."""

from __future__ import annotations

import os
import socket
import sys
import webbrowser
from collections.abc import Callable
from functools import cache
from typing import Any

import traitlets

from atmorep_lite.app.scenes import SHIPPED, Scene, load_scenes
from atmorep_lite.app.session import Session
from atmorep_lite.errors import UserError
from atmorep_lite.widgets.explorer import Explorer

try:
    import panel as pn
    import param
except ImportError as error:
    raise UserError("the live app needs Panel; install it with pip install 'atmorep-lite[app]'") from error

HOST = "127.0.0.1"
TITLE = "AtmoRep-lite"
#: Environment variable that names a file of scenes where no argument can (``panel serve``, Binder).
VARIABLE = "ATMOREP_LITE_SCENES"
_PAGE_STYLE = """
html, body { margin: 0; padding: 0; height: 100%; overflow-x: hidden; background: #ffffff; }
body { font-family: system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
html[data-theme="dark"], html[data-theme="dark"] body { background: #11161c; color-scheme: dark; }
@media (prefers-color-scheme: dark) {
  html:not([data-theme="light"]), html:not([data-theme="light"]) body { background: #11161c; }
}
"""
_PARAMETERS = {traitlets.Dict: param.Dict, traitlets.Bytes: param.Bytes}


def app(scenes: str | os.PathLike[str] | list[Scene] | None = None, *, fills: bool = False) -> Any:
    """The live app, to be displayed in a notebook or marked ``servable()``.

    Parameters
    ----------
    scenes
        A YAML file of scenes, or scenes that were loaded; those that come with the package if left out.
    fills
        Let it fill the browser's window. In a notebook it is as wide as the cell.

    Returns
    -------
    A Panel object with a session of its own.

    Raises
    ------
    UserError
        With one sentence for every mistake in the file, or if Panel is not installed.
    """
    loaded = scenes if isinstance(scenes, list) else load_scenes(scenes or SHIPPED)
    if not fills:
        pn.extension(inline=True)
    return hosted(Session(loaded, fills=fills).stage_map)


def served_app() -> Any:
    """The live app for ``panel serve``; the environment variable ATMOREP_LITE_SCENES may name the scenes."""
    pn.extension(raw_css=[_PAGE_STYLE])
    return app(_loaded(os.environ.get(VARIABLE) or str(SHIPPED)), fills=True)


def serve(
    scenes: str | os.PathLike[str] = SHIPPED,
    *,
    port: int = 5006,
    open_browser: bool = True,
    report: Callable[[str], None] = print,
) -> None:
    """Serve the live app on this machine, and on no other, until Ctrl-C.

    Everything is imported, loaded and asked once before the address is told, so that the first page is quick.

    Raises
    ------
    UserError
        If the port is taken, or with one sentence for every mistake in the scenes.
    """
    check_port(port)
    report("Checking every scene ...")
    loaded = load_scenes(scenes)
    hosted(Session(loaded, fills=True).stage_map)
    address = f"http://{HOST}:{port}/"

    def page() -> Any:
        pn.extension(raw_css=[_PAGE_STYLE])
        return app(loaded, fills=True)

    server = pn.serve(
        page,
        address=HOST,
        port=port,
        websocket_origin=[f"{HOST}:{port}", f"localhost:{port}"],
        title=TITLE,
        show=False,
        start=False,
        verbose=False,
    )
    server.start()
    report(f"{len(loaded)} scenes are ready at {address} (Ctrl-C ends it).")
    if open_browser and _has_screen():
        webbrowser.open(address)
    try:
        server.io_loop.start()
    except KeyboardInterrupt:
        report("Ended.")
    finally:
        server.stop()


def check_port(port: int) -> None:
    """Raise `UserError` where something else listens on a port of this machine."""
    if not 1 <= port <= 65535:
        raise UserError(f"there is no port {port}; choose one from 1024 to 65535")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise UserError(
                f"the port {port} is taken or not allowed; choose another, such as --port {port + 1}"
            ) from error


def hosted(explorer: Explorer) -> Any:
    """An explorer as a Panel component: the same module and style, traits and parameters linked."""
    component = _component_of(explorer)(
        **{name: getattr(explorer, name) for name in _shared(type(explorer))}, sizing_mode="stretch_width"
    )
    explorer.close()  # the page hears of it through Panel alone

    def to_page(change: dict[str, Any]) -> None:
        # what it is now: another observer may have changed it since
        component.param.update(**{change["name"]: getattr(explorer, change["name"])})

    def to_explorer(event: Any) -> None:
        explorer.selected = event.new

    explorer.observe(to_page, list(_shared(type(explorer))))
    component.param.watch(to_explorer, "selected")
    component._explorer = explorer  # lives as long as what shows it
    return component


_made: dict[type[Explorer], Any] = {}


def _component_of(explorer: Explorer) -> Any:
    """A Panel component class with the explorer's module, style and shared traits."""
    kind = type(explorer)
    if kind not in _made:
        body = {"_esm": str(explorer._esm), "_stylesheets": [str(explorer._css)], "_explorer": None}
        body |= {name: _PARAMETERS[type(trait)]() for name, trait in _shared(kind).items()}
        _made[kind] = type(f"{kind.__name__}Component", (pn.custom.AnyWidgetComponent,), body)
    return _made[kind]


def _shared(kind: type[Explorer]) -> dict[str, Any]:
    """Traits that the page shares: those that an explorer adds to a plain widget."""
    return {
        name: trait
        for name, trait in kind.class_traits(sync=True).items()
        if type(trait) in _PARAMETERS and not name.startswith("_")
    }


@cache
def _loaded(path: str) -> list[Scene]:
    return load_scenes(path)


def _has_screen() -> bool:
    """Whether a browser with windows can open here."""
    return sys.platform in ("darwin", "win32") or bool(
        os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    )
