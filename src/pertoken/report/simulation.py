"""A simulation as text, JSON, rows, files and a chart."""

from __future__ import annotations

import csv
import io
import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from pertoken.errors import PertokenError
from pertoken.report.document import safe_cell
from pertoken.report.drawings import altair
from pertoken.report.export import as_html, as_markdown, write_whole
from pertoken.report.svg import picture
from pertoken.report.text import bullets
from pertoken.serving.workload import Goals
from pertoken.simulate.bill import Billed
from pertoken.simulate.records import Records
from pertoken.units import format_money, format_seconds

FORMS = (".json", ".csv", ".parquet", ".html", ".md", ".txt", ".png", ".svg")
LATENCIES = ("ttft", "tpot", "e2e")


def clean(value: Any) -> Any:
    """NaN and infinity as null, through lists and tables."""
    if isinstance(value, dict):
        return {key: clean(v) for key, v in value.items()}
    if isinstance(value, list | tuple):
        return [clean(v) for v in value]
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None
    return int(value) if isinstance(value, np.integer) else value


class Simulation:
    """One run with all that is said of it.

    Parameters
    ----------
    billed : Billed
        The run and its bill.
    goals : Goals
        For goodput.
    assumed : list of str
        What was not given.
    scenario : mapping
        Knobs and options that give this run again.
    """

    def __init__(self, billed: Billed, goals: Goals, assumed: list[str], scenario: dict[str, Any]) -> None:
        self.billed, self.goals, self.assumed, self.scenario = billed, goals, assumed, scenario

    @property
    def records(self) -> Records:
        """The run."""
        return self.billed.records

    def document(self) -> dict[str, Any]:
        """All but single requests, SI units; latencies in seconds, money in dollars."""
        r, b = self.records, self.billed
        done = int(r.done.sum())
        tokens = r.tokens
        joules = np.nansum(b.joules, axis=0) if b.draw else np.full(2, np.nan)
        inputs = tokens["input"] + tokens["cached"]
        found = {
            "partial": r.partial,
            "requests": {"sent": r.traffic.size, "answered": done, "refused": r.refused},
            "seconds": r.end,
            "rate": {
                "answered_per_s": done / r.end if r.end else 0.0,
                "input_tok_per_s": inputs / r.end if r.end else 0.0,
                "output_tok_per_s": tokens["output"] / r.end if r.end else 0.0,
                "goodput_per_s": r.goodput(self.goals),
                "goals": {"ttft_s": self.goals.ttft, "tpot_s": self.goals.tpot},
            },
            **{f"{name}_s": r.percentiles(getattr(r, name)) for name in LATENCIES},
            "utilisation": r.utilisation,
            "batch": float(np.average(r.timeline.batch)) if r.timeline.batch.size else 0.0,
            "kv_occupancy": float(np.average(r.timeline.kv)) if r.timeline.kv.size else 0.0,
            "counts": r.counts,
            "tokens": tokens,
            "per_million": b.per_million,
            "bill": {
                "usd": b.bill, "input_usd": float(b.usd[:, 0].sum()), "cached_usd": float(b.usd[:, 1].sum()),
                "output_usd": float(b.usd[:, 2].sum()), "idle_usd": b.idle_usd, "residual": b.residual,
                "accelerator_s": r.paid_accelerator_s, "idle_share": b.idle_share,
            },
            "accelerator_s": r.accelerator_s,
            "energy": {"input_j": float(joules[0]), "output_j": float(joules[1]), "idle_j": b.idle_joules},
            "timeline": {
                "seconds": r.timeline.width,
                **{name: [round(float(x), 6) for x in getattr(r.timeline, name)] for name in ("busy", "batch", "kv", "output")},
            },
            "traffic": r.traffic.origin,
            "assumed": self.assumed,
            "scenario": self.scenario,
        }  # fmt: skip
        return clean(found)  # type: ignore[no-any-return]

    def text(self) -> str:
        """For a terminal."""
        d = self.document()
        dep, r = self.records.deployment, self.records
        lines = [
            f"{dep.model.name}, weights in {dep.precision.weights}, on "
            f"{dep.accelerators} x {dep.accelerator.name} ({dep.split}),"
            f" replicas: {r.lanes // dep.split.lanes}, {dep.profile.title}",
            f"traffic: {r.traffic.origin}",
            "",
        ]
        if r.partial:
            lines.insert(0, "PARTIAL: the run was ended early; figures are of what was answered until then")
        lines += [f"{'':12}{'mean':>10}{'p50':>10}{'p90':>10}{'p95':>10}{'p99':>10}"]
        for name in LATENCIES:
            row = d[f"{name}_s"]
            lines.append(
                f"{name.upper():12}"
                + "".join(f"{format_seconds(v) if v is not None else '-':>10}" for v in row.values())
            )
        rate = d["rate"]
        share = rate["goodput_per_s"] / rate["answered_per_s"] if rate["answered_per_s"] else 0.0
        lines += [
            "",
            f"answered     {d['requests']['answered']:,} of {d['requests']['sent']:,} requests in {r.end:,.0f} s, "
            f"{rate['answered_per_s']:.4g}/s; {rate['input_tok_per_s']:,.0f} input and {rate['output_tok_per_s']:,.0f}"
            " output tokens/s",
            f"goodput      {rate['goodput_per_s']:.4g}/s, {share:.1%} of requests within TTFT {_goal(self.goals.ttft)} and TPOT"
            f" {_goal(self.goals.tpot)}",
            f"utilisation  {r.utilisation:.1%} of paid time at work; {d['batch']:.1f} sequences decode and"
            f" {d['kv_occupancy']:.1%} of the KV memory is held on average; {r.counts['preempted']:,} preemptions",
        ]
        if r.refused:
            lines.append(f"refused      {r.refused:,} requests, larger than the KV memory of a lane")
        if d["tokens"]["cached"]:
            whole = d["tokens"]["cached"] + d["tokens"]["input"]
            lines.append(f"cached       {d['tokens']['cached'] / whole:.1%} of input tokens found in prefix caches")
        lines += ["", *self._money(d), ""]
        if self.assumed:
            lines += ["assumed (give it to change it)", *bullets(self.assumed)]
        return "\n".join(lines).rstrip() + "\n"

    def _money(self, d: dict[str, Any]) -> list[str]:
        bill, paid = d["bill"], d["accelerator_s"]
        if bill["usd"] is None:
            whole = sum(paid.values())
            return [f"{name:12}{seconds / whole:7.1%} of accelerator time" for name, seconds in paid.items()]
        rows = [f"{'':12}{'$/M tokens':>12}{'$':>12}{'share':>9}"]
        for name in ("input", "cached", "output"):
            each = d["per_million"][name]
            if each is not None:
                total = bill[f"{name}_usd"]
                rows.append(f"{name:12}{format_money(each):>12}{format_money(total):>12}{total / bill['usd']:9.1%}")
        rows.append(f"{'idle':12}{'':>12}{format_money(bill['idle_usd']):>12}{bill['idle_share']:9.1%}")
        rows.append(f"{'bill':12}{'':>12}{format_money(bill['usd']):>12}{'100.0%':>9}")
        return rows

    def row(self) -> dict[str, Any]:
        """One line of a comparison."""
        d = self.document()
        keys = {f"{name}_{at}_s": d[f"{name}_s"][at] for name in LATENCIES for at in ("mean", "p50", "p99")}
        return {
            "model": self.records.deployment.model.name, "traffic": d["traffic"], "requests": d["requests"]["answered"],
            "partial": d["partial"], "seconds": d["seconds"], "answered_per_s": d["rate"]["answered_per_s"],
            "goodput_per_s": d["rate"]["goodput_per_s"], **keys, "utilisation": d["utilisation"], "batch": d["batch"],
            "kv_occupancy": d["kv_occupancy"], "preempted": d["counts"]["preempted"],
            **{f"{name}_usd_per_million": value for name, value in d["per_million"].items()},
            "idle_share": d["bill"]["idle_share"], "usd": d["bill"]["usd"],
        }  # fmt: skip

    def columns(self) -> dict[str, Any]:
        """Records of single requests, one array a column."""
        r, b = self.records, self.billed
        return {
            "arrival_s": r.arrival, "first_token_s": r.first, "finish_s": r.last, "input": r.traffic.input,
            "cached": r.hit, "output": r.traffic.output, "preempted": r.again, "lane": r.where,
            "input_usd": b.usd[:, 0], "cached_usd": b.usd[:, 1], "output_usd": b.usd[:, 2],
            "joules": b.joules.sum(axis=1),
        }  # fmt: skip

    def chart(self) -> Any:
        """Course of the run: batch, KV memory, time at work and output."""
        alt, t = altair(), self.records.timeline
        names = {
            "batch": "sequences decoding", "kv": "KV memory held", "busy": "time at work", "output": "output tokens/s",
        }  # fmt: skip
        rows = [
            {"t": (k + 0.5) * t.width, "of": title, "v": float(v)}
            for key, title in names.items()
            for k, v in enumerate(getattr(t, key))
        ]
        one = alt.Chart(alt.Data(values=rows)).mark_area(line=True, opacity=0.4).encode(
            x=alt.X("t:Q", title="time [s]"), y=alt.Y("v:Q", title=None), color=alt.Color("of:N", legend=None),
        ).properties(width=640, height=110)  # fmt: skip
        d = self.records.deployment
        title = f"{d.model.name} on {d.accelerators} x {d.accelerator.name}"
        said = f"Course of a simulation of {self.records.traffic.origin}: {', '.join(names.values())} over time"
        return (
            one.facet(row=alt.Row("of:N", title=None, sort=list(names.values())))
            .resolve_scale(y="independent")
            .properties(
                title={"text": title, "subtitle": self.records.traffic.origin, "anchor": "start"}, description=said
            )
        )


def _goal(seconds: float) -> str:
    return format_seconds(seconds) if math.isfinite(seconds) else "any"


def as_text(runs: list[Simulation]) -> str:
    """One run in full, or several one after another."""
    return "\n".join(run.text() for run in runs)


def to_json(runs: list[Simulation]) -> str:
    """One document, or ``cases`` of several."""
    found = [run.document() for run in runs]
    return json.dumps(found[0] if len(found) == 1 else {"cases": found}, indent=2, allow_nan=False) + "\n"


def to_csv(runs: list[Simulation]) -> str:
    """A line for each run."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    rows = [run.row() for run in runs]
    writer.writerow(rows[0])
    writer.writerows([safe_cell("" if v is None else v) for v in row.values()] for row in rows)
    return out.getvalue()


def _requests_csv(run: Simulation) -> str:
    columns = run.columns()
    out = io.StringIO()
    out.write(",".join(columns) + "\n")
    cells = [[_cell(v) for v in values.tolist()] for values in columns.values()]
    out.writelines(",".join(line) + "\n" for line in zip(*cells, strict=True))
    return out.getvalue()


def _cell(value: Any) -> str:
    return "" if value != value else repr(value)  # noqa: PLR0124 - NaN


def _requests_parquet(run: Simulation) -> bytes:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise PertokenError(
            "Parquet files need pyarrow; install it with: pip install pyarrow, or write .csv"
        ) from error
    out = io.BytesIO()
    table = pyarrow.table(run.columns()).replace_schema_metadata(
        {"partial": str(run.records.partial).lower(), "traffic": run.records.traffic.origin}
    )
    parquet.write_table(table, out)
    return out.getvalue()


def write(runs: list[Simulation], path: Path) -> None:
    """A file by its suffix: .csv and .parquet hold single requests, .png and .svg the course of the run.

    Raises
    ------
    PertokenError
        When the form takes one run and there are several, or the place cannot be written.
    """
    suffix = path.suffix.lower()
    if len(runs) > 1 and suffix in (".parquet", ".png", ".svg"):
        raise PertokenError(f"{suffix} holds one run, and there are {len(runs)}; write .json or .csv, or run one")
    if suffix == ".json":
        write_whole(path, to_json(runs))
    elif suffix == ".csv":
        write_whole(path, _requests_csv(runs[0]) if len(runs) == 1 else to_csv(runs))
    elif suffix == ".parquet":
        write_whole(path, _requests_parquet(runs[0]))
    elif suffix in (".png", ".svg"):
        write_whole(path, picture(runs[0].chart(), suffix))
    else:
        form = {".md": as_markdown, ".html": as_html}.get(suffix)
        shown = as_text(runs)
        write_whole(path, form(shown, "A simulation") if form else shown)
