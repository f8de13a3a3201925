"""The answer as one screen of plain text."""

from __future__ import annotations

import math
import re
from collections.abc import Container, Iterable, Sequence
from itertools import groupby

from pertoken.attribution.ledger import PARTS
from pertoken.cost import Cost, Interval
from pertoken.money.currency import parse_currency
from pertoken.report import energy
from pertoken.report.document import interval_meaning, row
from pertoken.report.uncertainty import Tornado
from pertoken.units import MILLION, MONTH, format_money, format_number, format_rate, format_seconds

WIDTH = 100
LABELS = {
    "weights": "reading weights",
    "kv": "reading the KV cache",
    "activations": "moving activations",
    "compute": "arithmetic",
    "padding": "padding and quantising",
    "links": "links between accelerators",
    "overhead": "launches, latency, host",
}


def plain(text: str) -> str:
    """Text whose control characters show as escapes: a name from a user's file cannot steer the terminal."""
    return "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in text)


def table(rows: Sequence[Sequence[str]], left: Container[int] = (0,)) -> list[str]:
    """Lines of a table: columns in ``left`` flush left, the others right, two spaces between."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if i in left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in rows
    ]


def wrap(text: str, first: str = "  - ", rest: str = "    ") -> list[str]:
    """A bullet of at most `WIDTH` columns."""
    import textwrap

    return textwrap.wrap(text, WIDTH, initial_indent=first, subsequent_indent=rest, break_on_hyphens=False)


def bullets(sentences: Iterable[str]) -> list[str]:
    """Short sentences in running lines, a bullet before each."""
    kept = "  ".join(f"*\u00a0{sentence}" for sentence in sentences)  # a bullet stays with its first word
    return [line.replace("\u00a0", " ") for line in wrap(kept, "  ", "  ")]


def _range(figure: Interval) -> str:
    return f"({format_money(figure.low)} to {format_money(figure.high)})"


def headline(cost: Cost) -> str:
    """Model, machine and traffic in a line."""
    d, w = cost.deployment, cost.workload
    mode = {
        "saturated": "as much traffic as the goals allow",
        "concurrency": f"{w.amount:g} request{'s' * (w.amount != 1)} in flight",
    }
    traffic = mode.get(w.mode, f"{w.mode} {w.amount:g}")
    return f"{d.model.name}, weights in {d.precision.weights}, on {d.accelerators} x {d.accelerator.name} ({d.split}), {traffic}"


def _money(cost: Cost) -> list[str]:
    if cost.rate is None:
        lines = wrap(cost.rate_missing, "  ", "  ")
        seconds = cost.accelerator_s.scaled(MILLION)
        for name in ("input", "output"):
            figure = getattr(seconds, name)
            lines.append(f"  {name:<8}{format_number(figure.value, 4):>10} accelerator-seconds per million tokens")
        return lines
    dollars, tokens = cost.per_million, cost.tokens_per_request
    rows = [[name, format_money(figure.value), "per million tokens", _range(figure)]
            for name, figure in (("input", dollars.input), ("output", dollars.output))]  # fmt: skip
    note = "to load it; none in this traffic" if not tokens["cached"] else "to load it"
    rows.append(["cached", format_money(dollars.cached.value), "per million tokens", f"({note})"])
    lines = ["  " + line for line in table(rows)]
    lines[1] += f"   {cost.ratio:.1f} x input"
    if cost.cached_increment is not None:
        extra = format_money(cost.cached_increment * MILLION)
        lines.append(
            f"          being in the context, it costs the other tokens {extra} per million (in their price, not added)"
        )
    per_hour = cost.requests_per_s * cost.bill.period_s
    idle = f" + {format_money(cost.bill.idle_usd / per_hour)} idle" if cost.bill.idle_usd > 0 else ""
    if "currency" in cost.scenario:
        other = parse_currency(str(cost.scenario["currency"]))
        lines.append(
            f"          at {other.per_usd:g} {other.code} a dollar, as given: input {other.show(dollars.input.value)}, output"
            f" {other.show(dollars.output.value)} per million tokens; {other.show(cost.per_month)} a month"
        )
    lines += wrap(
        f"a request of {tokens['input'] + tokens['cached']:,.0f} input and {tokens['output']:,.0f} output tokens costs"
        f" {format_money(cost.per_request.value)}{idle}; the machine {format_money(cost.per_month)} a month of"
        f" {MONTH / cost.bill.period_s:g} hours",
        "  ", "    ",
    )  # fmt: skip
    return lines


def _shares(cost: Cost, token: str, phase: str | None = None) -> list[tuple[str, float]]:
    """Parts of what one kind of token owes, largest first, as shares."""
    totals = dict.fromkeys(PARTS, 0.0)
    for owing, part, _, name, seconds in cost.entries["value"]:
        if owing == token and (phase is None or name.startswith(phase)):
            totals[part] += float(seconds)
    whole = sum(totals.values()) or 1.0
    return sorted(((part, seconds / whole) for part, seconds in totals.items()), key=lambda item: -item[1])


def mostly(cost: Cost, token: str) -> str:
    """The largest parts of what one kind of token owes."""
    return ", ".join(f"{LABELS[part]} ({share:.0%})" for part, share in _shares(cost, token)[:3] if share > 0.02)


def reasons(cost: Cost) -> list[str]:
    """What binds prefill, what binds decode, and how busy the machine is, a sentence each."""
    state, d = cost.operating.state, cost.deployment
    tpot = cost.operating.tpot_s
    pace = "no output token after the first" if math.isnan(tpot) else f"TPOT {format_seconds(tpot)}"
    load = cost.requests_per_s / cost.operating.most_rate
    loaded = (
        f"at {load:.0%} of the highest rate within the goals (load)"
        if not math.isnan(load)
        else "no rate meets the goals (load)"
    )
    return [
        f"an input token is mostly {mostly(cost, 'input')}",
        f"an output token is mostly {mostly(cost, 'output')}",
        f"TTFT {format_seconds(cost.operating.ttft_s)}, {pace};"
        f" {cost.operating.concurrency:,.1f} requests in flight, {float(state.batch):,.1f} decoding per batch;"
        f" {format_rate(cost.requests_per_s, 'requests/s')},"
        f" {cost.requests_per_s * cost.tokens_per_request['output']:,.0f} output tokens/s",
        f"bound by {cost.operating.bound}; busy {cost.utilisation:.0%} of paid time (utilisation), {loaded}, with"
        f" {cost.mfu:.0%} of peak FLOP/s (MFU); KV cache {float(state.kv_occupancy):.0%} full of {d.kv_tokens:,.0f} tokens",
    ]


def why(cost: Cost) -> list[str]:
    """The reasons as lines."""
    return [line for sentence in reasons(cost) for line in wrap(sentence, "  ", "    ")]


def receipt(cost: Cost) -> list[str]:
    """What an hour pays for, by part and kind of token, in dollars (or accelerator-seconds) and per cent."""
    sums: dict[tuple[str, str], float] = {}
    for leaf in cost.receipt:
        token, _, rest = leaf.path.partition("/")
        key = (rest.split("/")[0], token)
        sums[key] = sums.get(key, 0.0) + leaf.usd_share
    whole = cost.bill.usd if cost.rate else cost.bill.accelerator_s
    paid, digits = 1.0, 2 if whole >= 10 else 4

    def money(share: float) -> str:
        return f"${share * whole:,.{digits}f}" if cost.rate else f"{share * whole:,.0f} s"

    rows = [["", "input", "output", "both", "share"]]
    for part in PARTS:
        first = sums.get((part, "input"), 0.0) + sums.get((part, "cached"), 0.0)
        second = sums.get((part, "output"), 0.0)
        if not first + second:
            continue
        rows.append(
            [LABELS[part], money(first), money(second), money(first + second), f"{(first + second) / paid:.1%}"]
        )
    idle = sums.get(("", "idle"), 0.0)
    rows.append(["idle", "", "", money(idle), f"{idle / paid:.1%}"])
    rows.append(["paid", "", "", money(paid), "100.0%"])
    return ["  " + line for line in table(rows)]


def assumptions(cost: Cost) -> list[str]:
    """What was not given."""
    return bullets(cost.assumed)


def answer(cost: Cost) -> str:
    """The whole answer."""
    parts = [
        [headline(cost), f"  lengths: {cost.workload.lengths.origin}"],
        ["", *_money(cost)],
        ["", "why", *why(cost)],
        [
            "",
            "energy at the facility's meter",
            *(line for said in energy.lines(cost) for line in wrap(said, "  ", "    ")),
        ],
        ["", f"receipt of one hour ({cost.basis} basis)", *receipt(cost)],
        ["", "assumed (give it to change it)", *assumptions(cost)] if cost.assumed else [],
        ["", *wrap(f"In brackets: {interval_meaning(cost)}.", "", "")],
    ]
    return plain("\n".join(line for part in parts for line in part) + "\n")


def varied(costs: Sequence[Cost]) -> list[str]:
    """Knobs that differ between cases."""
    keys = dict.fromkeys(key for cost in costs for key in cost.scenario)
    return [key for key in keys if len({str(cost.scenario.get(key)) for cost in costs}) > 1]


def case_name(costs: Sequence[Cost], cost: Cost) -> str:
    """What tells one case from the others."""
    names = ", ".join(f"{key} {cost.scenario.get(key, 'default')}" for key in varied(costs))
    return names or headline(cost)


def comparison(costs: Sequence[Cost]) -> str:
    """Several answers as one table, with what makes each differ from the first."""
    keys = varied(costs)
    heads = [*keys, "input $/M", "output $/M", "ratio", "idle", "J/out", "gCO2e/M", "TTFT", "TPOT", "in flight",
             "$/month"]  # fmt: skip
    rows = [heads]
    for cost in costs:
        flat = row(cost)
        rows.append(
            [
                *(str(cost.scenario.get(key, "default")) for key in keys),
                format_money(flat["input_usd_per_million"]),
                format_money(flat["output_usd_per_million"]),
                f"{cost.ratio:.1f}",
                f"{cost.idle_share:.0%}",
                format_number(flat["output_joules"]) if cost.meter else "",
                format_number(flat["output_g_co2e_per_million"]) if cost.grams else "",
                format_seconds(flat["ttft_s"]),
                format_seconds(flat["tpot_s"]),
                f"{flat['concurrency']:,.1f}",
                format_money(flat["usd_per_month"]),
            ]
        )
    lines = table(rows, left=range(len(keys)))
    for cost in costs[1:]:
        name = ", ".join(f"{key} {cost.scenario.get(key, 'default')}" for key in keys)
        lines += ["", *wrap(f"{name}: {difference(costs[0], cost)}", "", "  ")]
    shared = [s for s in costs[0].assumed if all(s in c.assumed for c in costs)]
    if shared:
        lines += ["", "assumed in all cases", *bullets(shared)]
    for cost in costs:  # rents and borrowed efficiencies differ by machine, and may be what decides
        if own := [s for s in cost.assumed if s not in shared]:
            name = ", ".join(f"{key} {cost.scenario.get(key, 'default')}" for key in keys) or "this case"
            lines += [f"{name}: also assumed", *bullets(own)]
    unpriced = dict.fromkeys(cost.deployment.accelerator.name for cost in costs if cost.rate is None)
    if unpriced:
        lines += [
            "",
            *wrap(
                f"no dollars for {', '.join(unpriced)}: no rent in the dated table; give --rate rent:PRICE", "", "  "
            ),
        ]
    return plain("\n".join(lines) + "\n")


def uncertainty(costs: Sequence[Cost], tornados: Sequence[Tornado]) -> str:
    """What moves each answer most; empty where it was not asked for."""
    from pertoken.report.uncertainty import lines

    return plain("".join("\n" + "\n".join(lines(*pair)) + "\n" for pair in zip(costs, tornados, strict=False)))


def difference(first: Cost, second: Cost) -> str:
    """Why one is dearer than the other, in a sentence."""
    changes = first.compare(second)
    clauses = []
    for token, group in groupby(changes, key=lambda c: c.token):
        found = list(group)
        before, after = sum(c.before for c in found), sum(c.after for c in found)
        if before <= 0:
            continue
        dollars = first.rate is not None and second.rate is not None
        top = sorted(found, key=lambda c: -abs(c.after - c.before))[:2]
        parts = ", ".join(f"{LABELS[c.part]} {_signed(c.after - c.before, dollars)}" for c in top)
        clauses.append(f"an {token} token costs {after / before:.2f} times the first case's ({parts} per million)")
    return "; ".join(clauses)


def _signed(change: float, dollars: bool) -> str:
    sign = "+" if change >= 0 else "-"
    return f"{sign}{format_money(abs(change))}" if dollars else f"{sign}{abs(change):.3g} accelerator-s"


_FIGURE = re.compile(r"[0-9][0-9,.]*(e[0-9]+)?( [^ ]+)?")


def listing(rows: Iterable[Sequence[str]]) -> str:
    """A table of catalog entries: columns of figures flush right."""
    found = list(rows)
    columns = list(zip(*found[1:], strict=True))
    left = [i for i, cells in enumerate(columns) if not all(_FIGURE.fullmatch(cell) for cell in cells if cell)]
    left += [i for i, cells in enumerate(columns) if not any(cells)]
    return plain("\n".join(table(found, left)) + "\n")
