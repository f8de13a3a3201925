"""Charts of simulations: the course of one run, and latency and cost of several against load.

Each is a Vega-Lite definition with named data, made by a ``..._spec`` function that the command and the page share, and the
rows of that data, made by a ``..._rows`` function. A notebook shows ``altair.Chart.from_dict(course(run))``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pertoken.errors import PertokenError
from pertoken.knobs import KNOBS
from pertoken.report.axes import COLOURS
from pertoken.report.drawings import altair
from pertoken.report.simulation_cases import LEVEL, Row, given, over_seeds, varied

if TYPE_CHECKING:
    from pertoken.report.simulation import Simulation

Spec = dict[str, Any]
AXES = {
    "load": "load, share of the closed form's highest rate", "rps": "requests arriving per second",
    "concurrency": "requests in flight",
}  # fmt: skip
LINES = [COLOURS[k] for k in (1, 2, 5, 6, 3, 0, 8, 7)]  # of cases: those that are told apart on white first
STATISTICS = ("mean", "p50", "p99")
KINDS = ("input", "cached", "output")
TITLES = {"statistic": "of requests", "kind": "tokens"}
MOST_LINES = len(LINES)
WIDTH, HEIGHT = 380, 200


def course_rows(run: Simulation) -> list[Row]:
    """A row for each stretch of time, in each pool where there are two."""
    r, pools = run.records, run.pools
    each = [("", r)] if not pools or not pools.decode else [("prefill", pools.prefill), ("decode", pools.decode)]
    return [
        {"t": (k + 0.5) * records.timeline.width, "pool": pool}
        | {name: float(getattr(records.timeline, name)[k]) for name in ("busy", "batch", "kv", "output")}
        for pool, records in each
        for k in range(records.timeline.busy.size)
    ]


def course_spec(title: str, subtitle: Sequence[str], pools: bool = False) -> Spec:
    """Time at work, sequences, KV memory and output over time; its data is named ``course``.

    Parameters
    ----------
    title : str
        What ran.
    subtitle : sequence of str
        On what.
    pools : bool
        Whether there is a line for each of two pools.
    """
    alt = altair()
    panels = (
        ("output", "output tokens/s", "~s", None), ("batch", "sequences decoding", "~s", None),
        ("kv", "KV memory held", "%", 1.0), ("busy", "time at work", "%", 1.0),
    )  # fmt: skip
    colour = alt.Color(
        "pool:N",
        title="pool",
        sort=["prefill", "decode"],
        scale=alt.Scale(domain=["prefill", "decode"], range=LINES[:2]),
    )
    charts = []
    for k, (field, name, form, most) in enumerate(panels):
        last = k == len(panels) - 1
        x = alt.X(
            "t:Q",
            title="time [s]" if last else None,
            scale=alt.Scale(nice=False),
            axis=alt.Axis(labels=last, format="~s" if last else ""),
        )
        scale = alt.Scale(domain=[0.0, most]) if most else alt.Undefined
        y = alt.Y(f"{field}:Q", title=name, scale=scale, axis=alt.Axis(format=form, tickCount=4, titleLimit=130))
        base = alt.Chart(alt.NamedData("course"))
        if pools:
            one = base.mark_line(strokeWidth=1.2).encode(x=x, y=y, color=colour)
        else:
            one = base.mark_area(line={"color": LINES[0], "strokeWidth": 1}, color=LINES[0], opacity=0.35).encode(
                x=x, y=y
            )
        charts.append(one.properties(width=2 * WIDTH, height=100))
    return _titled(
        alt.vconcat(*charts, spacing=14),
        title,
        subtitle,
        f"Course of a simulation: {', '.join(p[1] for p in panels)} over time",
    )


def course(run: Simulation) -> Spec:
    """The course of a run, with its data."""
    d = run.records.deployment
    title = f"{d.model.name} on {d.accelerators} x {d.accelerator.name}, replicas: {run.scenario['replicas']}"
    subtitle = [run.records.traffic.origin, *(["PARTIAL: the run was ended early"] if run.partial else [])]
    rows = course_rows(run)
    return course_spec(title, subtitle, bool(rows[0]["pool"])) | {"datasets": {"course": rows}}


def axis_of(cases: Sequence[Mapping[str, Any]]) -> str:
    """The knob in which cases differ and against which they are drawn.

    Raises
    ------
    PertokenError
        When they differ in none that has a scale, or in too much else.
    """
    found = [name for name in AXES if len({str(case[name]) for case in cases if name in case}) > 1]
    if not found:
        raise PertokenError(
            "a chart of several cases is against --load, --rps or --concurrency; give one more than once, or -o x.csv"
        )
    lines = {str(given(dict(case), [found[0], "seed"])) for case in cases}
    if len(lines) > MOST_LINES:
        raise PertokenError(
            f"{len(lines):,} lines cannot be told apart in a chart; draw at most {MOST_LINES}, or -o x.csv"
        )
    return found[0]


def _name(row: Row, names: Sequence[str]) -> str:
    """What sets a line apart: the value where it speaks for itself, else with its name."""
    plain = ("model", "on", "route", "engine", "dtype", "trace")
    return ", ".join(
        str(row[name]) if name in plain else f"{name.replace('_', ' ')} {row[name]}" for name in names if name in row
    )


def load_rows(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Data of the chart against load: ``latency``, ``cost`` and ``idle``, means over seeds with ends of their intervals.

    Parameters
    ----------
    rows : sequence of dict
        Rows of a sweep.
    """
    axis = axis_of(rows)
    names = varied(rows, [axis, "seed"])
    out: dict[str, list[Row]] = {"latency": [], "cost": [], "idle": []}
    for row in over_seeds(rows):
        at = {"x": KNOBS[axis].read(row[axis]), "line": _name(row, names)}
        for of in ("ttft", "tpot"):
            for statistic in STATISTICS:
                out["latency"] += _point(row, f"{of}_{statistic}_s", at | {"of": of, "statistic": statistic})
        for kind in KINDS:
            out["cost"] += _point(row, f"{kind}_usd_per_million", at | {"kind": kind})
        out["idle"] += _point(row, "idle_share", at)
    return {name: sorted(found, key=lambda row: row["x"]) for name, found in out.items()}


def _point(row: Row, name: str, at: Row) -> list[Row]:
    value = row.get(name)
    if value is None:
        return []
    spread = row["spread"].get(name, 0.0)
    return [at | {"v": value, "low": max(value - spread, value / 100.0), "high": value + spread}]


class _Panels:
    """Panels against load: a colour for each of several lines, or for each kind of figure where there is one line."""

    def __init__(self, axis: str, lines: Sequence[str], bands: bool) -> None:
        self.alt, self.lines, self.bands = altair(), list(lines), bands
        scale = self.alt.Scale(zero=False, nice=False, padding=8)
        form = self.alt.Axis(format="%" if axis == "load" else "~s")
        self.x = self.alt.X("x:Q", title=AXES[axis], scale=scale, axis=form)

    def colour(self, by: str, order: Sequence[str]) -> dict[str, Any]:
        """Colour and dash of a panel whose figures differ in ``by``."""
        alt, stroke = self.alt, {"symbolType": "stroke", "symbolStrokeWidth": 2, "symbolOpacity": 1, "symbolSize": 300}
        kinds = {"title": TITLES[by] if by else None, "sort": list(order), "legend": alt.Legend(**stroke)}
        if len(self.lines) == 1:
            scale = alt.Scale(domain=list(order), range=LINES[: len(order)])
            return {"color": alt.Color(f"{by}:N", scale=scale, **kinds) if by else alt.value(COLOURS[-1])}
        legend = alt.Legend(orient="bottom", columns=3, labelLimit=360, **stroke)
        scale = alt.Scale(domain=self.lines, range=LINES[: len(self.lines)])
        colour = {"color": alt.Color("line:N", title=None, sort=self.lines, scale=scale, legend=legend)}
        if not by:
            return colour
        dashes = alt.Scale(domain=list(order), range=[[1, 0], [2, 2], [7, 3]][: len(order)])
        return colour | {"strokeDash": alt.StrokeDash(f"{by}:N", scale=dashes, **kinds)}

    def panel(self, base: Any, y: Any, by: str = "", order: Sequence[str] = ()) -> Any:
        """Lines, their points, and bands of their intervals."""
        shown = self.colour(by, order)
        plain = {"x": self.x, "color": shown["color"], "detail": [f"{by}:N"] if by else []}
        layers = [
            base.mark_line().encode(x=self.x, y=y, **shown),
            base.mark_point(filled=True, size=24, opacity=1).encode(y=y, **plain),
        ]
        if self.bands:
            low = y.copy()
            low.shorthand = "low:Q"
            layers.insert(0, base.mark_area(opacity=0.15).encode(y=low, y2="high:Q", **plain))
        return self.alt.layer(*layers).properties(width=WIDTH, height=HEIGHT)


def load_spec(
    axis: str, lines: Sequence[str], title: str, subtitle: Sequence[str], kinds: Sequence[str] = KINDS, bands: bool = False
) -> Spec:  # fmt: skip
    """TTFT, TPOT, cost and idle share against load; its data is named as `load_rows` does.

    Parameters
    ----------
    axis : str
        A key of ``AXES``.
    lines : sequence of str
        Combinations of all else; one colour each where there are several.
    title : str
        What ran.
    subtitle : sequence of str
        On what.
    kinds : sequence of str
        Tokens that have a price; without any there is no panel of cost.
    bands : bool
        Whether intervals are drawn.
    """
    alt, panels = altair(), _Panels(axis, lines, bands)

    def up(name: str, form: str, scale: Any) -> Any:
        return alt.Y("v:Q", title=name, scale=scale, axis=alt.Axis(format=form, titleLimit=HEIGHT + 20, tickCount=6))

    logarithmic = alt.Scale(type="log", nice=False, padding=6)
    latency = [
        panels.panel(
            alt.Chart(alt.NamedData("latency")).transform_filter(alt.datum.of == of),
            up(f"{of.upper()} [s]", "~g", logarithmic), "statistic", STATISTICS,
        )
        for of in ("ttft", "tpot")
    ]  # fmt: skip
    money = up("$ per million tokens, without idle", "$~g", logarithmic)
    cost = [panels.panel(alt.Chart(alt.NamedData("cost")), money, "kind", kinds)] if kinds else []
    share = up("idle share of the bill", "%", alt.Scale(domain=[0.0, 1.0]))
    idle = panels.panel(alt.Chart(alt.NamedData("idle")), share)
    rows = [
        alt.hconcat(*found, spacing=30).resolve_scale(color="shared", strokeDash="shared")
        for found in (latency, [*cost, idle])
    ]
    whole = alt.vconcat(*rows, spacing=24)
    return _titled(
        whole.resolve_scale(color="shared" if len(lines) > 1 else "independent", strokeDash="independent"),
        title,
        subtitle,
        "Latency and cost per million tokens of simulations against load",
    )


def against_load(rows: Sequence[Row]) -> Spec:
    """Latency and cost of a sweep against load, with their data."""
    axis, data = axis_of(rows), load_rows(rows)
    names = varied(rows, [axis, "seed"])
    lines = list(dict.fromkeys(_name(row, names) for row in rows if not row.get("error")))
    same = given(rows[0], [*names, axis, "seed"])
    model = str(same.pop("model", "")) or "Simulations"
    on = f" on {same.pop('on')}" if "on" in same else ""
    subtitle = [", ".join(f"{name.replace('_', ' ')} {value}" for name, value in same.items())] if same else []
    seeds = max(row["seeds"] for row in over_seeds(rows))
    if seeds > 1:
        subtitle.append(f"means over {seeds} seeds; bands are {LEVEL:.0%} confidence intervals (Student's t)")
    failed = sum(bool(row.get("error")) for row in rows)
    if failed:
        subtitle.append(f"{failed:,} of {len(rows):,} cases have no result and are left out")
    free = [line for line in lines if line and line not in {row["line"] for row in data["cost"]}]
    subtitle += [f"without a price: {', '.join(free)}"] if free else []
    kinds = [kind for kind in KINDS if any(row["kind"] == kind for row in data["cost"])]
    title = f"{model}{on}: latency and cost against load"
    return load_spec(axis, lines, title, subtitle, kinds, seeds > 1) | {"datasets": data}


def _titled(chart: Any, title: str, subtitle: Sequence[str], said: str) -> Spec:
    shown = {"text": title, "subtitle": list(subtitle), "anchor": "start", "offset": 12}
    found: Spec = (
        chart.properties(title=shown, description=f"{said}. {title}").configure_axis(gridOpacity=0.5).to_dict()
    )
    return found
