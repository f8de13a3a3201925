"""A validation as text, JSON, CSV, Markdown, or a chart of predicted against measured."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from pertoken.calibrate.predict import Prediction
from pertoken.calibrate.rows import COLUMNS, METRICS, UNITS
from pertoken.calibrate.validate import Group, Validation
from pertoken.errors import PertokenError
from pertoken.report.document import safe_cell
from pertoken.report.export import write_whole
from pertoken.report.place import place
from pertoken.report.svg import PICTURES, picture
from pertoken.report.text import plain, table, wrap

HEADS = ("source", "metric", "regime", "family", "rows", "median", "p90", "bias", "in 90%", "refused")
MOST_REASONS = 40
MOST_POINTS = 20_000


def _cells(group: Group) -> list[str]:
    def share(value: float, sign: str = "") -> str:
        return f"{value:{sign}.1%}" if math.isfinite(value) else ""

    return [
        group.source[:40], group.metric, group.regime, group.family, f"{group.rows:,}", share(group.median_ape),
        share(group.p90_ape), share(group.bias, "+"), f"{group.coverage90:.0%}" if group.rows else "", f"{group.refused:,}",
    ]  # fmt: skip


def tallies(found: Validation) -> Iterable[str]:
    """Rows read, predicted, refused and flagged, a sentence for each source."""
    for source, t in sorted(found.tallies.items()):
        predicted = sum(p.row.source == source for p in found.predictions)
        flagged = found.flagged(source)
        share = t.refused_stating / t.stating if t.stating else 0.0
        yield (
            f"{source}: {t.rows:,} rows, {predicted:,} predicted; {t.stating:,} state model, accelerator, count and lengths,"
            f" of which {t.refused_stating:,} refused ({share:.1%})"
            + (f"; {t.disaggregated:,} of disaggregated pools, not modelled" if t.disaggregated else "")
            + (f"; {flagged:,} flagged, shown with --csv and kept out of the figures above" if flagged else "")
        )


def reasons(found: Validation) -> list[dict[str, Any]]:
    """Why rows were refused, most frequent first."""
    return [
        {
            "reason": reason,
            "count": count,
            "source": source,
            "kind": kind,
            "example": found.examples[source, kind, reason],
        }
        for (source, kind, reason), count in found.reasons.most_common()
    ]


def as_text(found: Validation, notes: Sequence[str] = ()) -> str:
    """Groups by source, metric, regime and family, then what was refused and why."""
    lines = table([HEADS, *(_cells(group) for group in found.groups())], left=range(4))
    lines += ["", *(line for tally in tallies(found) for line in wrap(tally, "", "  "))]
    why = reasons(found)
    if why:
        lines += ["", "refused"]
        for item in why[:MOST_REASONS]:
            lines += wrap(f"{item['count']:,} x {item['source']}: {item['reason']} ({item['example']})")
        if len(why) > MOST_REASONS:
            lines.append(f"  and {len(why) - MOST_REASONS:,} other reasons; all with --json")
    flags = sorted({(p.row.source, p.row.flag) for p in found.predictions if p.row.flag})
    if flags:
        lines += ["", "flagged: predicted, not counted"]
        lines += [line for source, flag in flags for line in wrap(f"{source}: {flag}")]
    lines += [line for note in notes for line in wrap(note, "", "  ")]
    return plain("\n".join(lines) + "\n")


def as_dict(found: Validation, rows: bool = False) -> dict[str, Any]:
    """Groups, refusals, counts by source, and every row if asked for."""
    answer: dict[str, Any] = {
        "groups": [group.as_dict() for group in found.groups()],
        "refused": reasons(found),
        "sources": {
            source: {**vars(tally), "flagged": found.flagged(source)} for source, tally in sorted(found.tallies.items())
        },
    }
    if rows:
        answer["rows"] = [_row(p) for p in found.predictions]
    return answer


def as_json(found: Validation, rows: bool = False) -> str:
    """The same as a text; unknown figures are null."""
    return json.dumps(as_dict(found, rows), indent=2, allow_nan=False, default=str) + "\n"


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _row(p: Prediction) -> dict[str, Any]:
    keys = ("source", "date", "engine", "engine_version", "model", "gpu", "n_gpus", "weight_dtype", "isl", "osl")
    return {
        "line": p.row.line, **{key: p.row.cells[key] for key in keys}, "load": p.row.load, "amount": p.row.amount,
        "regime": p.row.regime, "family": p.family, "flag": p.row.flag, "assumed": list(p.assumed),
        "metrics": {
            m: {"measured": _finite(p.measured[m]), "predicted": _finite(p.predicted[m].value),
                "low": _finite(p.predicted[m].low), "high": _finite(p.predicted[m].high), "unit": UNITS[m],
                "error": _finite(p.error(m))}
            for m in METRICS if m in p.measured and m in p.predicted
        },
        "refused": dict(p.refused),
    }  # fmt: skip


def as_csv(found: Validation) -> str:
    """One line for each predicted row: its own cells, then what was measured and predicted, in SI units."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    extra = [f"{what}_{m}" for m in METRICS for what in ("measured", "predicted", "low", "high", "error")]
    writer.writerow(["line", *COLUMNS, "load", "regime", "family", "flag", "assumed", *extra, "not_predicted"])
    for p in found.predictions:
        figures: list[Any] = []
        for m in METRICS:
            if m in p.measured and m in p.predicted:
                i = p.predicted[m]
                figures += [p.measured[m], i.value, i.low, i.high, p.error(m)]
            else:
                figures += [p.measured.get(m, ""), "", "", "", ""]
        own = [p.row.cells[key] for key in COLUMNS]
        missed = "; ".join(f"{m}: {why}" for m, why in p.refused.items())
        cells = [
            p.row.line,
            *own,
            p.row.load,
            p.row.regime,
            p.family,
            p.row.flag,
            "; ".join(p.assumed),
            *figures,
            missed,
        ]
        writer.writerow([safe_cell(cell) if cell != "" else "" for cell in cells])
    return out.getvalue()


def markdown_table(groups: Sequence[Group], heads: Sequence[str] = HEADS) -> str:
    """Groups as a Markdown table; columns that no group tells apart are left out."""
    rows = [_cells(group) for group in groups]
    kept = [i for i, head in enumerate(HEADS) if head in heads]
    lines = [
        [HEADS[i] for i in kept],
        ["---" if i < 4 else "---:" for i in kept],
        *([row[i] for i in kept] for row in rows),
    ]
    return "\n".join("| " + " | ".join(cell.replace("|", "/") for cell in line) + " |" for line in lines) + "\n"


def as_markdown(found: Validation) -> str:
    """Groups, counts and reasons as Markdown."""
    parts = [
        "# Predicted against measured",
        markdown_table(found.groups()),
        "\n".join(f"- {t}" for t in tallies(found)),
    ]
    why = [f"- {item['count']:,} x {item['source']}: {item['reason']}" for item in reasons(found)]
    return plain("\n\n".join([*parts, *(["## Refused", "\n".join(why)] if why else [])]) + "\n")


def chart(found: Validation) -> Any:
    """Predicted against measured on logarithmic scales, one panel a metric and one colour a source.

    Raises
    ------
    PertokenError
        When altair is not installed.
    """
    try:
        import altair  # type: ignore[import-not-found,unused-ignore]
    except ImportError as error:
        raise PertokenError(
            "charts need altair and vl-convert-python; install them with: pip install 'pertoken[charts]', or write .csv"
        ) from error
    points = _points(found)
    panels = [
        _panel(altair, metric, [point for point in points if point["metric"] == metric])
        for metric in dict.fromkeys(point["metric"] for point in points)
    ]
    return altair.concat(*panels, columns=2).properties(title="Predicted against measured")


def _points(found: Validation) -> list[dict[str, Any]]:
    """What a chart shows, thinned evenly where it would be too much."""
    points = [
        {
            "source": p.row.source,
            "metric": f"{m} [{UNITS[m]}]",
            "measured": p.measured[m],
            "predicted": p.predicted[m].value,
        }
        for p in found.predictions
        for m in METRICS
        if m in p.measured and m in p.predicted and not p.row.flag and p.measured[m] > 0 and p.predicted[m].value > 0
    ]
    if not points:
        raise PertokenError("there is nothing to draw: no row was predicted")
    return points[:: -(-len(points) // MOST_POINTS)]


def _panel(altair: Any, metric: str, points: Sequence[dict[str, Any]]) -> Any:
    """One metric: dots, and the line on which predictions are right."""
    both = [point[key] for point in points for key in ("measured", "predicted")]
    ends = [min(both), max(both)]
    scale = altair.Scale(type="log", domain=ends)
    line = altair.Chart(altair.Data(values=[{"x": end} for end in ends])).mark_line(color="black", strokeWidth=0.7)
    dots = altair.Chart(altair.Data(values=points)).mark_point(size=8, opacity=0.5, filled=True)
    return altair.layer(
        line.encode(x=altair.X("x:Q", scale=scale), y=altair.Y("x:Q", scale=scale)),
        dots.encode(
            x=altair.X("measured:Q", scale=scale, title=f"measured {metric}"),
            y=altair.Y("predicted:Q", scale=scale, title=f"predicted {metric}"),
            color=altair.Color("source:N", title="source"),
        ),
    ).properties(width=360, height=360)


FORMS: dict[str, Callable[[Validation], str]] = {
    ".json": lambda found: as_json(found, rows=True), ".csv": as_csv, ".md": as_markdown, ".txt": as_text,
}  # fmt: skip


def check_form(path: Path) -> None:
    """Refuse a file whose suffix or place cannot be written, before the work is done."""
    place(path, (*FORMS, *PICTURES))


def export(found: Validation, path: Path) -> None:
    """Write a validation in the form of the file's suffix."""
    suffix = path.suffix.lower()
    if suffix in FORMS:
        write_whole(path, FORMS[suffix](found))
        return
    write_whole(path, picture(chart(found), suffix))
