"""A probe as text, JSON and CSV: tokens, parts of a step, what they cost, and where the model disagrees."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pertoken.calibrate.own import Own
from pertoken.measure.expected import TERMS, Compared
from pertoken.measure.fit import DECODE, MEANING, PREFILL, Steps
from pertoken.measure.records import Probe
from pertoken.measure.regress import Line
from pertoken.money.rate import Rate
from pertoken.report.measure import LABELS, finite, shown
from pertoken.report.text import plain, table, wrap
from pertoken.units import MILLION, format_money, format_seconds

UNLIKE = 0.25  # error from which a part is said to disagree


@dataclass(frozen=True)
class Probed:
    """A probe with all that was made of it.

    Parameters
    ----------
    probe : Probe
        What was measured.
    steps : Steps
        The parts of its steps.
    compared : sequence of Compared
        Each measurement beside the model; empty where there is none.
    expected : Steps or None
        The model's own steps, taken apart in the same way.
    deciding : dict of str to str
        Term of the roofline behind each part.
    own : Own or None
        The calibration that it teaches.
    rate : Rate or None
        Of one accelerator.
    accelerators : int
        How many served.
    notes : tuple of str
        What a reader must know.
    """

    probe: Probe
    steps: Steps
    compared: Sequence[Compared] = ()
    expected: Steps | None = None
    deciding: dict[str, str] | None = None
    own: Own | None = None
    rate: Rate | None = None
    accelerators: int = 0
    notes: tuple[str, ...] = ()

    def lines(self) -> list[tuple[Line, Line | None]]:
        """The fits that there are, each beside the model's."""
        found = [(self.steps.prefill, self.expected and self.expected.prefill),
                 (self.steps.decode, self.expected and self.expected.decode)]  # fmt: skip
        return [(line, other or None) for line, other in found if line is not None]

    def tokens(self) -> list[tuple[str, str, tuple[float, float, float]]]:
        """Kind of token, its place, and its seconds with a 90% interval: what the prices are of."""
        found = []
        steps = self.steps
        if steps.prefill is not None:
            longest = max(p.fresh + p.cached for p in steps.prompts)
            found += [
                ("input", f"at position {n:,.0f}", steps.input_token(n))
                for n in dict.fromkeys((1.0, longest / 2, longest))
            ]
            if any(p.cached for p in steps.prompts) and steps.prefill.told[PREFILL.index("cached")]:
                found.append(("cached", "each", steps.cached_token()))
        if steps.decode is not None:
            context = float(sorted(b.context for b in steps.batches)[len(steps.batches) // 2])
            for batch in sorted({b.batch for b in steps.batches}):
                found.append(("output", f"batch {batch:,.0f} at {context:,.0f}", steps.output_token(batch, context)))
        return found

    @property
    def usd_per_second(self) -> float:
        """Of all accelerators; NaN without a rate [$/s]."""
        return self.rate.usd_per_second * self.accelerators if self.rate else math.nan


def as_text(p: Probed) -> str:
    """The whole as one screen of text."""
    lines = _head(p.probe)
    if p.lines():
        lines += ["", *_parts(p), "", *_tokens(p)]
    if p.compared:
        lines += ["", *_compared(p.compared)]
    lines += _disagrees(p) + _taught(p)
    notes = list(dict.fromkeys((*p.probe.notes, *p.steps.notes, *p.notes)))
    if notes:
        lines += ["", "note", *(line for note in notes for line in wrap(note))]
    return plain("\n".join(lines) + "\n")


def _head(probe: Probe) -> list[str]:
    n, settings = probe.tokens, probe.settings
    where = " ".join(str(settings[k])[:80] for k in ("model", "url") if settings.get(k))
    lines = [
        f"{where or 'a probe'}: {len(probe.answers):,} answers in {format_seconds(probe.seconds)}",
        f"  tokens by usage  {n['input']:,} input, {n['cached']:,} cached, {n['output']:,} output",
    ]
    if math.isfinite(probe.joules):
        lines.append(f"  energy           {probe.joules:,.4g} J in all: {probe.energy}")
    elif probe.energy:
        lines += wrap(probe.energy, "  ", "    ")
    if probe.stopped:
        lines.append(f"  stopped early    {probe.stopped}; what was measured is kept")
    if probe.failures:
        lines += ["  failed requests", *(f"    {count:,} x {kind}" for kind, count in sorted(probe.failures.items()))]
    return lines


def _figure(value: float) -> str:
    return format_seconds(value) if value >= 0 else f"-{format_seconds(-value)}"


def _parts(p: Probed) -> list[str]:
    rows = [
        ["parts of a step, fitted", "measured", "standard error", *(["model", "model's error"] if p.expected else [])]
    ]
    for line, other in p.lines():
        for name in line.names:
            what = MEANING[name][0]
            error = line.error(name)
            told = math.isfinite(error)
            none = told and line[name] < 0.0 and -line[name] < 2.0 * error
            cells = [
                ("about 0" if none else _figure(line[name])) if told else "not told",
                format_seconds(error) if told else "",
            ]
            if p.expected:
                known = other is not None and told
                ratio = other[name] / line[name] - 1.0 if known and other and line[name] > 2.0 * error else math.nan
                cells += [
                    _figure(other[name]) if known and other else "",
                    f"{ratio:+.0%}" if math.isfinite(ratio) else "",
                ]
            rows.append([what, *cells])
    noise = " and ".join(f"{line.sigma:.1%}" for line, _ in p.lines())
    return [*table(rows), f"a measurement scatters by {noise} about its fit"]


def _tokens(p: Probed) -> list[str]:
    money, power = p.rate is not None, math.isfinite(p.probe.watts)
    heads = ["$ per million", "90% interval"] * money + ["J"] * power
    rows = [["a token takes", "", "seconds", "90% interval", *heads]]
    for kind, place, (value, low, high) in p.tokens():
        none = low <= 0.0 <= high
        cells = [kind, place, "about 0" if none else _figure(value), f"{_figure(low)} to {_figure(high)}"]
        if money:
            cells += ["about 0" if none else format_money(MILLION * p.usd_per_second * value)]
            cells += [" to ".join(format_money(MILLION * p.usd_per_second * max(0.0, v)) for v in (low, high))]
        if power:
            cells += ["about 0" if none else f"{p.probe.watts * value:.3g}"]
        rows.append(cells)
    lines = table(rows, left=(0, 1))
    if p.rate is not None:
        lines += wrap(f"{p.rate.origin}, {p.accelerators} of them, never idle", "  ", "  ")
    if power:
        lines += wrap(f"joules at {p.probe.watts:,.3g} W, the mean power of the probe", "  ", "  ")
    return lines


def _compared(compared: Sequence[Compared]) -> list[str]:
    rows = [["", "", "measured", "model", "error", "repeats"]]
    for c in compared:
        rows.append([c.what, LABELS.get(c.metric, "step"), shown(c.metric, c.measured), shown(c.metric, c.expected),
                     f"{c.error:+.1%}", f"{c.repeats}"])  # fmt: skip
    return table(rows, left=(0, 1))


def disagreements(p: Probed) -> list[dict[str, Any]]:
    """Parts of a step that the model has wrong by more than a quarter and more than the noise, with what explains them."""
    found = []
    for line, other in p.lines():
        for i, name in enumerate(line.names):
            error = line.error(name)
            clear = other is not None and math.isfinite(error) and line[name] > 2.0 * error and bool(line.told[i])
            if not clear or other is None or not other[name] > 0:
                continue
            factor = line[name] / other[name]
            if abs(math.log(factor)) > math.log1p(UNLIKE):
                found.append({"part": name, "factor": factor, "term": (p.deciding or {}).get(name, "")})
    return found


def _disagrees(p: Probed) -> list[str]:
    lines = []
    for d in disagreements(p):
        more = f"{d['factor']:.2g} times as long as the model says"
        cause = f": {TERMS[d['term']]} decides it there" if d["term"] in TERMS else ""
        lines += wrap(f"{MEANING[d['part']][0]} takes {more}{cause}")
    return ["", "where the model disagrees", *lines] if lines else []


def _taught(p: Probed) -> list[str]:
    own = p.own
    if own is None:
        return []
    if own.refused:
        return ["", *wrap(f"no calibration: {own.refused}", "", "  ")]
    words = ", ".join(
        f"{'host time a step' if q.name == 'host_step' else q.name} "
        + (format_seconds(q.value) if q.name == "host_step" else f"x {q.value:.3g} of what ships")
        for q in own.parameters
        if math.isfinite(q.error)
    )
    before, after = (
        _median([e for m in ("ttft", "tpot") for e in own.errors(m, found, True)]) for found in (own.before, own.after)
    )
    return [
        "",
        *wrap(
            f"calibration: {words}; median error {before:.0%} before, {after:.0%} after; keep it with -o FILE.toml",
            "",
            "  ",
        ),
    ]


def _median(errors: Sequence[float]) -> float:
    ordered = sorted(abs(e) for e in errors)
    return ordered[len(ordered) // 2] if ordered else math.nan


def as_dict(p: Probed) -> dict[str, Any]:
    """For JSON, SI units; unknown is None."""
    probe = p.probe
    return {
        "kind": "probe", "settings": dict(probe.settings), "answers": len(probe.answers), "seconds": probe.seconds,
        "tokens": probe.tokens, "joules": finite(probe.joules), "energy": probe.energy, "failures": dict(probe.failures),
        "stopped": probe.stopped, "notes": [*probe.notes, *p.steps.notes, *p.notes],
        "parts": {
            name: {"value": line[name], "error": finite(line.error(name)), "unit": MEANING[name][1],
                   "model": finite(other[name]) if other is not None else None}
            for line, other in p.lines() for name in line.names
        },
        "scatter": {key: line.sigma for key, line in (("prefill", p.steps.prefill), ("decode", p.steps.decode)) if line},
        "token_seconds": [
            {"token": kind, "at": place, "value": s[0], "low": s[1], "high": s[2], "joules": finite(p.probe.watts * s[0]),
             "usd_per_million": {
                 k: finite(MILLION * p.usd_per_second * v) for k, v in zip(("value", "low", "high"), s, strict=True)
             }}
            for kind, place, s in p.tokens()
        ],
        "compared": [vars(c) | {"error": c.error} for c in p.compared],
        "disagreements": disagreements(p),
        "calibration": _own_dict(p.own),
    }  # fmt: skip


def _own_dict(own: Own | None) -> dict[str, Any] | None:
    if own is None:
        return None
    values = {q.name: {"value": q.value, "error": finite(q.error)} for q in own.parameters}
    return {"accelerator": own.accelerator, "engine": own.engine, "refused": own.refused, "parameters": values}


def as_csv(p: Probed) -> str:
    """A line for each part and each thing that was compared."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["kind", "what", "measured", "error", "model", "unit"])
    for line, other in p.lines():
        for name in line.names:
            error = finite(line.error(name))
            writer.writerow(
                [
                    "part",
                    name,
                    line[name],
                    "" if error is None else error,
                    other[name] if other else "",
                    MEANING[name][1],
                ]
            )
    for c in p.compared:
        writer.writerow([c.metric, c.what, c.measured, "", c.expected, "s"])
    return out.getvalue()


def steps_toml(p: Probed) -> str:
    """The parts of a step as a table that rides along in a calibration file."""
    lines = [
        "",
        "[steps]  # parts of a step as measured, with standard errors; for reading, `memory` and so on are what is used",
    ]
    for line, _ in p.lines():
        for name in line.names:
            error = line.error(name)
            if math.isfinite(error):
                note = f"{MEANING[name][0]}, +- {error:.2g}"
                value, unit = float(f"{line[name]:.5g}"), MEANING[name][1]
                lines.append(f'{name} = {{ value = {value!r}, unit = "{unit}", source = "rows", note = "{note}" }}')
    return "\n".join(lines) + "\n"


assert set(MEANING) == {*PREFILL, *DECODE}
