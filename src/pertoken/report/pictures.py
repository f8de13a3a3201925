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

from pertoken.attribution.ledger import TOKENS, by_token
from pertoken.cost import Cost
from pertoken.errors import PertokenError
from pertoken.explain.tree import kind_name
from pertoken.report.drawings import Datasets, Drawing, Options, Rows, altair, held, number, texts
from pertoken.report.export import write_whole
from pertoken.report.svg import picture
from pertoken.report.text import case_name, headline
from pertoken.units import MILLION, TERA, format_money

ROOFS = ("bf16", "fp16", "fp8", "int8", "nvfp4", "mxfp4", "fp4", "int4")
COLOURS = {"input": "#4c78a8", "cached": "#72b7b2", "output": "#f58518", "idle": "#bab0ac"}
LABELLED = 0.01  # share of a step's time from which an operation is named
MOST_BARS = 40
MOST_PANELS = 8
WIDTH, HEIGHT, NARROW = 720, 420, 500  # pixel
GREY = "#808080"  # of lines behind the data, on light and dark alike
LETTER, LINE = 5.5, 10.0  # room of a letter and of a line of a label [pixel]


def save(chart: Any, path: Path) -> None:
    """Write a chart as .png or .svg.

    Raises
    ------
    PertokenError
        When vl-convert is not installed, or the place cannot be written.
    """
    write_whole(path, picture(chart, path.suffix.lower()))


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


def _place(dots: Rows, names: Rows, across: tuple[float, float], up: tuple[float, float], width: float) -> None:
    """Name dots where there is room, those with most time first: ``above`` or ``below`` their right, or ``before`` them."""

    def pixel(value: float, ends: tuple[float, float], size: float) -> float:
        return size * math.log(value / ends[0]) / math.log(ends[1] / ends[0])

    taken = [
        (width - 1.2 * LETTER * len(name["roof"]), width, pixel(name["flops"], up, HEIGHT) + 8) for name in names
    ]  # from left to right at a height [pixel]
    for dot in sorted(dots, key=lambda d: -float(d["share"])):
        label = dot["operation"].partition(": ")[2]
        x, y = pixel(dot["intensity"], across, width), pixel(dot["flops"], up, HEIGHT)
        dot |= {"above": "", "below": "", "before": ""}
        long = LETTER * len(label)
        for where, left, height in (("above", x, y + 5), ("below", x, y - 8), ("before", x - long - 14, y)):
            end = left + long
            free = all(end < start or stop < left or abs(height - at) > LINE for start, stop, at in taken)
            if free and left > 0 and end < width + LINE and dot["share"] >= LABELLED:
                dot[where] = label
                taken.append((left, end, height))
                break


def _ends(dots: Rows, lines: Rows) -> tuple[tuple[float, float], tuple[float, float]]:
    """Ends of both axes."""
    floor = 10 ** math.floor(math.log10(min(each["flops"] for each in (*dots, *lines))))
    top = 10 ** math.ceil(math.log10(max(line["flops"] for line in lines)))
    across = [line["intensity"] for line in lines]
    return (min(across), max(across)), (floor, top)


def _panel_rows(cost: Cost, width: float) -> tuple[Rows, Rows, Rows]:
    """Dots, roofs, and the names at the right ends of roofs."""
    dots = points(cost)
    if not dots:
        raise PertokenError("there is nothing to draw: no operation has arithmetic")
    a = cost.deployment.accelerator
    ridge = max(p.value for p in a.flops.values()) / a.bandwidth.value
    low = min(p["intensity"] for p in dots) / 2
    lines = roofs(cost, low, max(*(p["intensity"] for p in dots), ridge) * 4)
    across, up = _ends(dots, lines)
    names = [line for line in lines if line["intensity"] == across[1]]
    _place(dots, names, across, up, width)
    return dots, lines, names


def _roofline_rows(costs: Sequence[Cost], options: Options) -> Datasets:
    if len(costs) > MOST_PANELS:
        raise PertokenError(f"{len(costs)} rooflines were asked for; draw at most {MOST_PANELS} at once")
    width = number(options, "width", WIDTH, 100, 4000)
    found: Datasets = {}
    for i, cost in enumerate(costs):
        after = f"_{i + 1}" if i else ""
        for name, held_rows in zip(("dots", "roofs", "roof_names"), _panel_rows(cost, width), strict=True):
            found[name + after] = held_rows
    return found


def _panel(cost: Cost, rows: Datasets, after: str, width: float) -> Any:
    """One roofline; a narrow one has no room for the legend of sizes."""
    alt = altair()
    sizes = alt.Legend(format="%") if width >= NARROW else None
    across, up = _ends(rows["dots" + after], rows["roofs" + after])
    x = alt.X(
        "intensity:Q", title="FLOP / byte of memory traffic", axis=alt.Axis(format="~s", gridOpacity=0.4, labelSeparation=8),
        scale=alt.Scale(type="log", nice=False, domain=across),
    )  # fmt: skip
    y = alt.Y(
        "flops:Q", title="FLOP/s of one accelerator", axis=alt.Axis(format="~s", gridOpacity=0.4, labelSeparation=8),
        scale=alt.Scale(type="log", domain=up, clamp=True),
    )  # fmt: skip
    roof = alt.Chart(held("roofs" + after)).mark_line(color=GREY, strokeWidth=1.2)
    names = alt.Chart(held("roof_names" + after)).mark_text(align="right", dy=-6)
    dots = alt.Chart(held("dots" + after))
    mark = dots.mark_point(filled=True, opacity=0.8).encode(
        x=x, y=y,
        color=alt.Color("steps:N", title="operation of", scale=alt.Scale(range=["#f58518", "#4c78a8", "#54a24b"])),
        shape=alt.Shape("steps:N", title="operation of"),
        size=alt.Size("share:Q", title="share of the step's time", legend=sizes),
        tooltip=[
            alt.Tooltip("operation:N"), alt.Tooltip("intensity:Q", title="FLOP/byte", format=".3~s"),
            alt.Tooltip("flops:Q", title="FLOP/s", format=".3~s"), alt.Tooltip("share:Q", title="of its steps", format=".1%"),
        ],
    )  # fmt: skip
    words = [
        dots.mark_text(align=align, dx=dx, dy=dy, fontSize=9).encode(x=x, y=y, text=f"{where}:N")
        for where, align, dx, dy in (("above", "left", 9, -5), ("below", "left", 9, 8), ("before", "right", -9, 0))
    ]
    rate = cost.deployment.accelerator.bandwidth.value / TERA
    subtitle = f"sloped: {rate:.3g} TB/s of memory; flat: dense peaks; dots: what operations reach, launches included"
    title = alt.TitleParams("Roofline of one accelerator", subtitle=[headline(cost), subtitle], anchor="start")
    lines = roof.encode(x=x, y=y, detail="roof:N"), names.encode(x=x, y=y, text="roof:N")
    return alt.layer(*lines, mark, *words).properties(width=WIDTH, height=HEIGHT, title=title)


def _roofline(costs: Sequence[Cost], options: Options, rows: Datasets) -> Any:
    width = number(options, "width", WIDTH, 100, 4000)
    panels = [_panel(cost, rows, f"_{i + 1}" if i else "", width) for i, cost in enumerate(costs)]
    return panels[0] if len(panels) == 1 else altair().vconcat(*panels)


def _roofline_said(costs: Sequence[Cost], options: Options, rows: Datasets) -> str:  # noqa: ARG001
    longest: dict[str, dict[str, Any]] = {}
    for dot in rows["dots"]:
        longest.setdefault(dot["steps"], dot)
    said = "; ".join(
        f"in {steps} most time goes to {dot['operation']} ({dot['share']:.0%}), at {dot['intensity']:,.3g} FLOP/byte"
        for steps, dot in longest.items()
    )
    return f"Roofline of {headline(costs[0])}: {said}."


def roofline(costs: Sequence[Cost]) -> Any:
    """The operations of prefill and decode steps over the accelerator's roofs [1]_, one panel a case.

    Parameters
    ----------
    costs : sequence of Cost
        One case, or several.
    """
    return DRAWINGS["roofline"].chart(costs)


def parts(cost: Cost) -> dict[str, float]:
    """What input, cached and output tokens and idle time of a mean request cost: $, or accelerator-seconds."""
    unit = cost.rate.usd_per_second if cost.rate else 1.0
    each = cost.deployment.split.tp / float(cost.operating.state.finished) * unit
    found = {name: float(value) * each for name, value in by_token(cost.entries["value"]).items() if float(value) > 0}
    busy = sum(found.values())
    idle = busy / cost.utilisation - busy
    if cost.basis == "allocation":
        return {name: value / cost.utilisation for name, value in found.items()}
    return {**found, "idle": idle} if idle > 0 else found


def _receipt_rows(costs: Sequence[Cost], options: Options) -> Datasets:
    if len(costs) > MOST_BARS:
        raise PertokenError(f"{len(costs)} bars were asked for; draw at most {MOST_BARS} at once")
    if len({cost.rate is None for cost in costs}) > 1:
        raise PertokenError("one of the answers has a rate and another has none; give --rate so that bars share a unit")
    names = texts(options, "names", len(costs)) or [
        case_name(costs, cost) if len(costs) > 1 else "a request" for cost in costs
    ]
    order = {name: i for i, name in enumerate((*TOKENS, "idle"))}
    bars = [
        {"case": name[:80], "at": at, "part": part, "value": value * MILLION, "order": order[part]}
        for at, (cost, name) in enumerate(zip(costs, names, strict=True))
        for part, value in parts(cost).items()
    ]
    return {"bars": bars}


def _receipt(costs: Sequence[Cost], options: Options, rows: Datasets) -> Any:  # noqa: ARG001
    alt = altair()
    unit = "accelerator-seconds" if costs[0].rate is None else "$"
    bars = rows["bars"]
    present = [part for part in (*TOKENS, "idle") if any(bar["part"] == part for bar in bars)]
    widest = max(sum(bar["value"] for bar in bars if bar["at"] == at) for at in range(len(costs)))
    scale = alt.Scale(domain=present, range=[COLOURS[part] for part in present])
    several = alt.Axis(labelLimit=420) if len(costs) > 1 else None
    drawn = alt.Chart(held("bars")).mark_bar(clip=True).encode(
        x=alt.X("value:Q", title=f"{unit} of a million requests", stack="zero", scale=alt.Scale(domain=[0, widest])),
        y=alt.Y("case:N", title=None, sort=alt.EncodingSortField("at", order="ascending"), axis=several),
        color=alt.Color("part:N", title=None, scale=scale, sort=present),
        order=alt.Order("order:Q"),
        tooltip=[
            alt.Tooltip("case:N"), alt.Tooltip("part:N"),
            alt.Tooltip("value:Q", title=f"{unit} a million requests", format=",.4~r"),
        ],
    )  # fmt: skip
    tokens = costs[0].tokens_per_request
    alike = all(cost.tokens_per_request == tokens for cost in costs)
    asked = f"{tokens['input'] + tokens['cached']:,.0f} input and {tokens['output']:,.0f} output tokens each"
    title = alt.TitleParams("What a request pays for", subtitle=asked if alike else "", anchor="start")
    return drawn.properties(width=WIDTH, height=alt.Step(36), title=title)


def _receipt_said(costs: Sequence[Cost], options: Options, rows: Datasets) -> str:  # noqa: ARG001
    def amount(value: float) -> str:
        return f"{value:,.4g} accelerator-seconds" if costs[0].rate is None else format_money(value)

    said = []
    for at in range(len(costs)):
        bars = [bar for bar in rows["bars"] if bar["at"] == at]
        whole = sum(bar["value"] for bar in bars)
        shares = ", ".join(f"{bar['part']} {bar['value'] / whole:.1%}" for bar in bars)
        said.append(f"{bars[0]['case']}: {amount(whole)} a million requests, of which {shares}")
    return "What a request pays for. " + "; ".join(said) + "."


def receipt(costs: Sequence[Cost], names: Sequence[str]) -> Any:
    """A bar for each answer, its parts by colour.

    Parameters
    ----------
    costs : sequence of Cost
        Answers.
    names : sequence of str
        What to call each.
    """
    return DRAWINGS["receipt"].chart(costs, {"names": names})


DRAWINGS = {
    "roofline": Drawing(_roofline_rows, _roofline, _roofline_said),
    "receipt": Drawing(_receipt_rows, _receipt, _receipt_said),
}
