"""What each path of the API answers, as plain functions of what was asked; run by workers, see `pertoken.web.jobs`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from pertoken.errors import PertokenError
from pertoken.web.asked import Asked
from pertoken.web.jobs import Answer, Tell

VIEWS = ("why", "position", "load", "market", "tariff", "compare", "answers")
COMMANDS = ("price", "explain", "curve", "market", "answers")


def page(asked: Asked) -> dict[str, Any]:
    """The first screen and the rows of visible charts: all that a slider's move waits for."""
    from pertoken.web.screen import screen

    return screen(asked.cost, asked.words("charts"), asked.options)


def chart(asked: Asked) -> dict[str, Any]:
    """A Vega-Lite specification with its rows."""
    from pertoken.web import charts

    return charts.spec(asked.word("chart"), asked)


def view(asked: Asked, name: str) -> dict[str, Any]:
    """What a view shows beyond charts."""
    if name not in VIEWS:
        raise PertokenError(f"{name[:60]!r} is no view; use one of {', '.join(VIEWS)}")
    return dict(import_module(f"pertoken.web.views.{name}").view(asked))


def _command(name: str) -> Callable[[Any, Tell], Any]:
    """What a command prints with ``--json``."""

    def job(body: Any, tell: Tell) -> str:
        from pertoken.web.commands import run

        return run(name, Asked(body), tell)

    return job


def _export(body: Any, tell: Tell) -> Any:
    from pertoken.web.exports import export

    return export(Asked(body), tell)


def _read(body: Any, tell: Tell) -> Any:  # noqa: ARG001
    from pertoken.web.uploads import read

    return read(body)


def bundle(body: Any, tell: Tell) -> Any:  # noqa: ARG001
    """The charts' script; made apart from the server, whose memory it would stay in."""
    from pertoken.web.bundle import bundle as made

    return Answer(made(), "text/javascript")


def catalog(body: Any, tell: Tell) -> Any:  # noqa: ARG001
    """Names of the catalog."""
    from pertoken.web.catalog import catalog as found

    return found()


JOBS: Mapping[str, Callable[[Any, Tell], Any]] = {
    "page": lambda body, tell: page(Asked(body)),  # noqa: ARG005
    "chart": lambda body, tell: chart(Asked(body)),  # noqa: ARG005
    **{f"view/{name}": lambda body, tell, name=name: view(Asked(body), name) for name in VIEWS},  # type: ignore[misc]  # noqa: ARG005
    **{name: _command(name) for name in (*COMMANDS, "simulate")},
    "export": _export,
    "upload": _read,
    "catalog": catalog,
    "bundle": bundle,
}
