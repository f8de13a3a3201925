"""What each path of the API answers, as plain functions of what was asked; run by workers, see `pertoken.web.work`."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from pertoken.errors import PertokenError
from pertoken.report.document import clean
from pertoken.web.asked import Asked

VIEWS = ("why", "position", "load", "market", "tariff", "compare", "answers")


def price(asked: Asked) -> str:
    """What ``pertoken price --json`` prints."""
    from pertoken.report.document import to_json

    return to_json(asked.costs)


def page(asked: Asked) -> dict[str, Any]:
    """The first screen and the rows of visible charts: all that a slider's move waits for."""
    from pertoken.web.screen import screen

    return screen(asked.cost, asked.knobs, asked.words("charts"))


def chart(asked: Asked) -> dict[str, Any]:
    """A Vega-Lite specification with its rows."""
    from pertoken.report import drawings

    return dict(drawings.spec(asked.word("chart"), asked.costs))


def view(name: str, asked: Asked) -> dict[str, Any]:
    """What a view shows beyond charts."""
    if name not in VIEWS:
        raise PertokenError(f"{name[:60]!r} is no view; use one of {', '.join(VIEWS)}")
    return dict(import_module(f"pertoken.web.views.{name}").view(asked))


LIGHT: Mapping[str, Callable[[Asked], Any]] = {"price": price, "page": page, "chart": chart}


def as_bytes(found: Any) -> bytes:
    """An answer as JSON."""
    if isinstance(found, str):
        return found.encode()
    return json.dumps(clean(found), allow_nan=False, separators=(",", ":")).encode()
