"""Charts by name over HTTP: those of answers, and those of views that know the market or a trace's tariffs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

from pertoken.report import drawings, market_charts, market_list_charts, tariff_charts

if TYPE_CHECKING:
    from pertoken.report.drawings import Datasets
    from pertoken.report.market_charts import Picture
    from pertoken.web.asked import Asked

# pictures of views, and what makes the view of a request
PICTURES: Mapping[str, tuple[Picture, str]] = {
    **{name: (found, "market") for name, found in market_charts.PICTURES.items()},
    **{name: (found, "market") for name, found in market_list_charts.PICTURES.items()},
    **{name: (found, "tariff") for name, found in tariff_charts.PICTURES.items()},
}
ANSWERS = ("transfers", "mixes")  # of questions 5 and 9
NAMES = (*drawings.MODULES, *ANSWERS, *PICTURES)


def _made(name: str, asked: Asked) -> tuple[Picture, Any]:
    """A picture, and the view that it is of."""
    found, view = PICTURES[name]
    of: Callable[[Asked, str], Any] = import_module(f"pertoken.web.views.{view}").drawn
    return found, of(asked, name)


def _drawing(name: str) -> drawings.Drawing:
    if name not in ANSWERS:
        return drawings.drawing(name)
    found: drawings.Drawing = import_module("pertoken.answers.pictures").DRAWINGS[name]
    return found


def rows(name: str, asked: Asked) -> Datasets:
    """What a chart holds, by the name of its datasets."""
    if name in PICTURES:
        found, view = _made(name, asked)
        return found.rows(view)
    return _drawing(name).rows(asked.costs, asked.options)


def spec(name: str, asked: Asked) -> dict[str, Any]:
    """A chart as a Vega-Lite specification, its rows in ``datasets``, itself in words in ``description``."""
    if name in PICTURES:
        found, view = _made(name, asked)
        return found.spec(view)
    return _drawing(name).spec(asked.costs, asked.options)
