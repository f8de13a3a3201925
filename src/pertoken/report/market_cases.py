"""Offers of one model against several deployments: a line an offer, a column a case."""

from __future__ import annotations

from collections.abc import Sequence

from pertoken.market.compare import cost_per_request
from pertoken.report.market import OTHERS, Hosts, whole
from pertoken.report.text import bullets, headline, plain, table, wrap
from pertoken.units import MILLION, format_money


def comparable(views: Sequence[object]) -> bool:
    """Whether all are offers of one model that have a cost."""
    hosts = [view for view in views if isinstance(view, Hosts) and view.cost]
    return len(hosts) == len(views) > 1 and len({view.model for view in hosts}) == 1


def as_text(views: Sequence[Hosts]) -> str:
    """Price, margin and break-even of each offer in every case."""
    names = [chr(65 + i % 26) + (str(i // 26) if i >= 26 else "") for i in range(len(views))]
    lines = []
    for name, view in zip(names, views, strict=True):
        assert view.cost
        usd = cost_per_request(view.cost)
        varied = {
            k: v for k, v in view.cost.scenario.items() if any(v != o.cost.scenario.get(k) for o in views if o.cost)
        }
        told = "".join(f", {key} {value}" for key, value in varied.items() if key not in ("on", "dtype"))
        lines += wrap(
            f"{name}: {headline(view.cost)}{told}; a mean request costs {format_money(usd.value)} ({format_money(usd.low)} to"
            f" {format_money(usd.high)}), {view.hosting.spare if view.hosting else 0} spare", "", "   ",
        )  # fmt: skip
    lines += wrap(views[0].source, "", "  ")
    heads = ["offer", "all $/M", *(f"margin {name}" for name in names), *(f"break-even/day {name}" for name in names)]
    lines += ["", *("  " + line for line in table([heads, *_rows(views)])), "", *wrap(OTHERS, "", "  ")]
    shared = [s for s in views[0].assumed if all(s in view.assumed for view in views)]
    lines += ["", "assumed in all cases", *bullets(shared)] if shared else []
    for name, view in zip(names, views, strict=True):
        if own := [s for s in view.assumed if s not in shared]:
            lines += [f"{name}: also assumed", *bullets(own)]
    return plain("\n".join(lines) + "\n")


def _rows(views: Sequence[Hosts]) -> list[list[str]]:
    found = []
    for row in views[0].compared:
        same = [next(r for r in view.compared if r.offer.name == row.offer.name) for view in views]
        margins = [f"{r.margin.value:+.0%}" if r.margin else "" for r in same]
        evens = []
        for view, r in zip(views, same, strict=True):
            even = view.hosting.break_even(r.usd_per_request) if view.hosting and r.margin else None
            evens.append(whole(even.requests_per_day) if even else "API wins" if r.margin else "free")
        found.append([row.offer.name, format_money(row.usd_per_token * MILLION), *margins, *evens])
    return found
