"""What charts of cost share: colours, axes, lines and titles."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pertoken.cost import Cost
from pertoken.report.drawings import altair, held

# colours that the colour-blind tell apart (Okabe and Ito 2008), in the order of the parts
COLOURS = (
    "#56B4E9", "#0072B2", "#D55E00", "#E69F00", "#B0B0B0", "#009E73", "#CC79A7", "#F0E442", "#707070",
)  # fmt: skip


def per_million_unit(cost: Cost) -> str:
    """What an amount on an axis is in."""
    return "$ per million tokens" if cost.rate else "accelerator-s per million tokens"


def drawn_of(chart: Any, costs: Sequence[Cost], what: str, *more: str) -> Any:
    """A chart with its title, what it is of, and a grid that stays behind the lines."""
    subjects = dict.fromkeys(
        f"{d.model.name}, weights in {d.precision.weights}, on {d.accelerators} x {d.accelerator.name} ({d.split})"
        for d in (cost.deployment for cost in costs)
    )
    origins = dict.fromkeys(cost.workload.lengths.origin for cost in costs)
    lengths = f"lengths: {next(iter(origins))}" if len(origins) == 1 else "lengths differ"
    subtitle = [*list(subjects)[:4], *(["and others"] if len(subjects) > 4 else []), lengths, *more]
    title = {"text": what, "subtitle": subtitle, "anchor": "start"}
    return chart.properties(title=title).configure_axis(gridOpacity=0.5)


def line(name: str, x: Any, y: Any, colour: Any, dash: Any = None) -> Any:
    found = altair().Chart(held(name)).mark_line(clip=True).encode(x=x, y=y, color=colour)
    return found.encode(strokeDash=dash) if dash is not None else found


def log_axis(field: str, title: str, values: Sequence[float], form: str = "~s") -> Any:
    """A logarithmic x axis that ends where the values do."""
    alt = altair()
    scale = alt.Scale(type="log", domain=[min(values), max(values)], nice=False)
    return alt.X(f"{field}:Q", scale=scale, title=title, axis=alt.Axis(format=form))


def up_axis(field: str, title: str | None, values: Sequence[float], axis: Any = None) -> Any:
    """A logarithmic y axis with a little room above and below."""
    alt = altair()
    scale = alt.Scale(type="log", domain=[min(values) / 1.15, max(values) * 1.15], nice=False)
    return alt.Y(f"{field}:Q", scale=scale, title=title, **({"axis": axis} if axis else {}))
