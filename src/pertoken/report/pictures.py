"""Charts of a cost: the roofline with the model's operations on it, and the receipt as a bar.

One definition (a Vega-Lite specification made with Altair) serves files, notebooks and the page.

References
----------
.. [1] Williams, Waterman and Patterson 2009, doi:10.1145/1498765.1498785 (roofline).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pertoken.attribution.ledger import TOKENS
from pertoken.cost import Cost
from pertoken.errors import PertokenError
from pertoken.explain.tree import kind_name
from pertoken.report.export import write_whole
from pertoken.report.text import headline
from pertoken.units import MILLION, TERA

ROOFS = ("bf16", "fp16", "fp8", "int8", "nvfp4", "mxfp4", "fp4", "int4")
COLOURS = {"input": "#4c78a8", "cached": "#72b7b2", "output": "#f58518", "idle": "#bab0ac"}
LABELLED = 0.01  # share of a step's time from which an operation is named
MOST_BARS = 40
MOST_PANELS = 8
WIDTH, HEIGHT = 720, 420
LETTER, LINE = 5.5, 10.0  # room of a letter and of a line of a label [pixel]


def _altair() -> Any:
    try:
        import altair  # type: ignore[import-not-found,unused-ignore]
    except ImportError as error:
        raise PertokenError(
            "charts need altair and vl-convert-python; install them with: pip install 'pertoken[charts]'"
        ) from error
    return altair


def save(chart: Any, path: Path) -> None:
    """Write a chart as .png or .svg.

    Raises
    ------
    PertokenError
        When vl-convert is not installed, or the place cannot be written.
    """
    try:
        import vl_convert  # type: ignore[import-not-found,unused-ignore]
    except ImportError as error:
        raise PertokenError(
            "pictures need vl-convert-python; install it with: pip install 'pertoken[charts]'"
        ) from error
    spec = chart.to_dict()
    svg = path.suffix.lower() == ".svg"
    write_whole(path, vl_convert.vegalite_to_svg(spec) if svg else vl_convert.vegalite_to_png(spec, scale=2))


def points(cost: Cost) -> list[dict[str, Any]]:
    """Every operation with arithmetic, by kind of step: what it reaches on one accelerator.

    Returns
    -------
    list of dict
        ``steps``, ``operation``, ``intensity`` [FLOP/byte], ``flops`` reached, launch included [FLOP/s], and ``share`` of the
        time of its steps.
    """
    found = []
    for kind in cost.operating.state.kinds:
        if float(kind.share) <= 0:
            continue
        sums: dict[str, list[float]] = {}
        for op in kind.ops:
            into = sums.setdefault(f"{op.group}: {op.name}", [0.0, 0.0, 0.0])
            for i, value in enumerate((op.count * op.work.flop, op.count * op.work.memory_bytes, op.seconds)):
                into[i] += float(value)
        whole = float(kind.seconds)
        made = [
            {
                "steps": kind_name(kind), "operation": name, "intensity": flop / moved, "flops": flop / seconds,
                "share": seconds / whole,
            }
            for name, (flop, moved, seconds) in sums.items()
            if flop > 0 and moved > 0 and seconds > 0
        ]  # fmt: skip
        found += sorted(made, key=lambda point: -float(point["share"]))  # type: ignore[arg-type]
    return found


def roofs(cost: Cost, low: float, high: float) -> list[dict[str, Any]]:
    """The roof of each arithmetic between two intensities: memory up to its ridge, then flat."""
    a = cost.deployment.accelerator
    peaks: dict[float, list[str]] = {}
    for name in ROOFS:
        if name in a.flops:
            peaks.setdefault(a.flops[name].value, []).append(name)
    rate, found = a.bandwidth.value, []
    for peak, names in peaks.items():
        label = f"{' and '.join(names)}, {peak / TERA:,.0f} TFLOP/s"
        for x in sorted({low, min(max(peak / rate, low), high), high}):
            found.append({"roof": label, "intensity": x, "flops": min(x * rate, peak)})
    return found


def _place(dots: list[dict[str, Any]], across: tuple[float, float], up: tuple[float, float]) -> None:
    """Name dots where there is room, those with most time first: ``above`` or ``below`` their right."""
    taken: list[tuple[float, float, float]] = []

    def pixel(value: float, ends: tuple[float, float], size: float) -> float:
        return size * math.log(value / ends[0]) / math.log(ends[1] / ends[0])

    for dot in sorted(dots, key=lambda d: -float(d["share"])):
        label = dot["operation"].partition(": ")[2]
        x, y = pixel(dot["intensity"], across, WIDTH), pixel(dot["flops"], up, HEIGHT)
        dot |= {"above": "", "below": ""}
        for where, height in (("above", y + 5), ("below", y - 8)):
            end = x + LETTER * len(label)
            free = all(end < left or right < x or abs(height - at) > LINE for left, right, at in taken)
            if free and dot["share"] >= LABELLED:
                dot[where] = label
                taken.append((x, end, height))
                break


def _drawn(altair: Any, lines: list[dict[str, Any]], x: Any, y: Any) -> tuple[Any, Any]:
    """Roofs, and their names at the right end."""
    last = max(line["intensity"] for line in lines)
    roof = altair.Chart(altair.Data(values=lines)).mark_line(color="#555", strokeWidth=1.2)
    name = altair.Chart(altair.Data(values=[line for line in lines if line["intensity"] == last]))
    named = name.mark_text(align="right", dy=-6, color="#555").encode(x=x, y=y, text="roof:N")
    return roof.encode(x=x, y=y, detail="roof:N"), named


def _panel(altair: Any, cost: Cost) -> Any:
    """One roofline."""
    dots = points(cost)
    if not dots:
        raise PertokenError("there is nothing to draw: no operation has arithmetic")
    low = min(p["intensity"] for p in dots) / 2
    a = cost.deployment.accelerator
    ridge = max(p.value for p in a.flops.values()) / a.bandwidth.value
    lines = roofs(cost, low, max(*(p["intensity"] for p in dots), ridge) * 4)
    floor = 10 ** math.floor(math.log10(min(each["flops"] for each in (*dots, *lines))))
    top = 10 ** math.ceil(math.log10(max(line["flops"] for line in lines)))
    x = altair.X("intensity:Q", title="FLOP / byte of memory traffic", scale=altair.Scale(type="log", nice=False))
    y = altair.Y(
        "flops:Q", title="FLOP/s of one accelerator", axis=altair.Axis(format="~s"),
        scale=altair.Scale(type="log", domain=[floor, top], clamp=True),
    )  # fmt: skip
    _place(dots, (low, max(line["intensity"] for line in lines)), (floor, top))
    mark = altair.Chart(altair.Data(values=dots)).mark_point(filled=True, opacity=0.8)
    mark = mark.encode(
        x=x, y=y,
        color=altair.Color("steps:N", title="operation of", scale=altair.Scale(range=["#f58518", "#4c78a8", "#54a24b"])),
        shape=altair.Shape("steps:N", title="operation of"),
        size=altair.Size("share:Q", title="share of the step's time", legend=altair.Legend(format="%")),
        tooltip=["operation:N", "intensity:Q", "flops:Q", "share:Q"],
    )  # fmt: skip
    words = [
        altair.Chart(altair.Data(values=dots))
        .mark_text(align="left", dx=9, dy=dy, fontSize=9)
        .encode(x=x, y=y, text=f"{where}:N")
        for where, dy in (("above", -5), ("below", 8))
    ]
    rate = a.bandwidth.value / TERA
    subtitle = f"sloped: {rate:.3g} TB/s of memory; flat: dense peaks; dots: what operations reach, launches included"
    title = altair.TitleParams(headline(cost), subtitle=subtitle, anchor="start")
    return altair.layer(*_drawn(altair, lines, x, y), mark, *words).properties(width=WIDTH, height=HEIGHT, title=title)


def roofline(costs: Sequence[Cost]) -> Any:
    """The operations of prefill and decode steps over the accelerator's roofs [1]_, one panel a case.

    Parameters
    ----------
    costs : sequence of Cost
        One case, or several.
    """
    altair = _altair()
    if len(costs) > MOST_PANELS:
        raise PertokenError(f"{len(costs)} rooflines were asked for; draw at most {MOST_PANELS} at once")
    panels = [_panel(altair, cost) for cost in costs]
    return panels[0] if len(panels) == 1 else altair.vconcat(*panels)


def parts(cost: Cost) -> dict[str, float]:
    """What input, cached and output tokens and idle time of a mean request cost: $, or accelerator-seconds."""
    tree = cost.explain()
    unit = tree.usd_per_second or 1.0
    return {child.name: child.seconds * unit for child in tree.root.children}


def receipt(costs: Sequence[Cost], names: Sequence[str]) -> Any:
    """A bar for each answer, its parts by colour.

    Parameters
    ----------
    costs : sequence of Cost
        Answers.
    names : sequence of str
        What to call each.
    """
    altair = _altair()
    if len(costs) > MOST_BARS:
        raise PertokenError(f"{len(costs)} bars were asked for; draw at most {MOST_BARS} at once")
    if len({cost.rate is None for cost in costs}) > 1:
        raise PertokenError("one of the answers has a rate and another has none; give --rate so that bars share a unit")
    unit = "accelerator-seconds" if costs[0].rate is None else "$"
    order = {name: i for i, name in enumerate((*TOKENS, "idle"))}
    bars = [
        {"case": name[:80], "at": at, "part": part, "value": value * MILLION, "order": order[part]}
        for at, (cost, name) in enumerate(zip(costs, names, strict=True))
        for part, value in parts(cost).items()
    ]
    present = [part for part in order if any(bar["part"] == part for bar in bars)]
    scale = altair.Scale(domain=present, range=[COLOURS[part] for part in present])
    data = altair.Chart(altair.Data(values=bars))
    drawn = data.mark_bar(stroke="white").encode(
        x=altair.X("value:Q", title=f"{unit} of a million requests", stack="zero"),
        y=altair.Y(
            "case:N",
            title=None,
            sort=altair.EncodingSortField("at", order="ascending"),
            axis=altair.Axis(labelLimit=420),
        ),
        color=altair.Color("part:N", title=None, scale=scale, sort=present),
        order=altair.Order("order:Q"),
        tooltip=["case:N", "part:N", "value:Q"],
    )
    tokens = costs[0].tokens_per_request
    alike = all(cost.tokens_per_request == tokens for cost in costs)
    asked = f"{tokens['input'] + tokens['cached']:,.0f} input and {tokens['output']:,.0f} output tokens each"
    title = altair.TitleParams("What a request pays for", subtitle=asked if alike else "", anchor="start")
    return drawn.properties(width=WIDTH, height=altair.Step(36), title=title)
