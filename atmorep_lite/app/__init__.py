"""The lecturer's live app: a model in front of a class, on this machine alone.

What is asked and what comes back is plain Python (:mod:`~atmorep_lite.app.hiding`,
:mod:`~atmorep_lite.app.compute`, :mod:`~atmorep_lite.app.scenes`, :mod:`~atmorep_lite.app.session`); only
:mod:`~atmorep_lite.app.view` knows Panel.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from atmorep_lite.app.view import app

__all__ = ["app"]


def __getattr__(name: str) -> Any:
    if name == "app":  # imports Panel, which is an extra
        from atmorep_lite.app.view import app

        return app
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
