"""The charts by name: what each holds as named rows, cheap enough to follow a slider, and the specification around them.

The page asks for a specification once and then only for rows; the command and notebooks draw from the same two functions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from pertoken.errors import PertokenError

if TYPE_CHECKING:
    from pertoken.cost import Cost

Rows = list[dict[str, Any]]
Datasets = dict[str, Rows]
Options = Mapping[str, Any]

# where each chart is defined; imported when it is asked for
MODULES: Mapping[str, str] = {
    **dict.fromkeys(("roofline", "receipt"), "pertoken.report.pictures"),
    **dict.fromkeys(("load-cost", "load-latency"), "pertoken.report.loads"),
    **dict.fromkeys(("position", "position-input", "position-output"), "pertoken.report.positions"),
    **dict.fromkeys(("batch", "load", "ratio"), "pertoken.report.charts"),
}


def altair() -> Any:
    """The library that draws, or a sentence on how to get it."""
    try:
        import altair as found  # type: ignore[import-not-found,unused-ignore]
    except ImportError as error:
        raise PertokenError(
            "charts need altair and vl-convert-python; install them with: pip install 'pertoken[charts]', or write .csv"
        ) from error
    return found


def held(name: str) -> Any:
    """Data of a chart, by the name of a dataset."""
    return altair().NamedData(name=name)


def number(options: Options, name: str, usual: float, low: float, high: float) -> float:
    """A number among options, which come from anywhere.

    Raises
    ------
    PertokenError
        When it is none, or out of range.
    """
    found = options.get(name, usual)
    if isinstance(found, bool) or not isinstance(found, int | float) or not low <= found <= high:
        raise PertokenError(f"the option {name} is {str(found)[:40]!r}; it must be a number from {low:,g} to {high:,g}")
    return float(found)


def texts(options: Options, name: str, count: int) -> Sequence[str] | None:
    """So many short texts among options; None when they are not there.

    Raises
    ------
    PertokenError
        When they are no texts, or not so many.
    """
    found = options.get(name)
    if found is None:
        return None
    if not isinstance(found, list | tuple) or len(found) != count or not all(isinstance(each, str) for each in found):
        raise PertokenError(f"the option {name} must be a list of {count} texts")
    return found


@dataclass(frozen=True)
class Drawing:
    """One chart.

    Parameters
    ----------
    rows : callable
        Takes answers and options, returns rows by the name of their dataset; draws nothing, so that it is cheap.
    drawn : callable
        Takes answers, options and these rows, returns the chart with data that are `held` by these names.
    said : callable
        Takes the same, returns the chart as a sentence, for those who do not see it.
    """

    rows: Callable[[Sequence[Cost], Options], Datasets]
    drawn: Callable[[Sequence[Cost], Options, Datasets], Any]
    said: Callable[[Sequence[Cost], Options, Datasets], str]

    def chart(self, costs: Sequence[Cost], options: Options | None = None) -> Any:
        """The chart with its rows, as a notebook shows and a file keeps it."""
        options = options or {}
        rows = self.rows(costs, options)
        return self.drawn(costs, options, rows).properties(datasets=rows, description=self.said(costs, options, rows))

    def spec(self, costs: Sequence[Cost], options: Options) -> dict[str, Any]:
        """The chart as a Vega-Lite specification, its rows in ``datasets``, itself in words in ``description``."""
        rows = self.rows(costs, options)
        bare: dict[str, Any] = self.drawn(costs, options, rows).to_dict()
        return {**bare, "datasets": rows, "description": self.said(costs, options, rows)}


def drawing(name: str) -> Drawing:
    """A chart by its name.

    Raises
    ------
    PertokenError
        When there is none of that name.
    """
    if name not in MODULES:
        raise PertokenError(f"{str(name)[:60]!r} is no chart; use one of {', '.join(MODULES)}")
    found: Drawing = import_module(MODULES[name]).DRAWINGS[name]
    return found


def rows(name: str, costs: Sequence[Cost], options: Options | None = None) -> Datasets:
    """What a chart holds, by the name of its datasets."""
    return drawing(name).rows(costs, options or {})


def spec(name: str, costs: Sequence[Cost], options: Options | None = None) -> dict[str, Any]:
    """A chart as a Vega-Lite specification, its rows in ``datasets``, itself in words in ``description``."""
    return drawing(name).spec(costs, options or {})
