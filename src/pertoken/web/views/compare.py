"""The view Compare: two cases side by side, what differs between them, and why one costs more, branch by branch."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from pertoken.errors import PertokenError
from pertoken.knobs import KNOBS
from pertoken.report import branches
from pertoken.report.text import headline
from pertoken.units import HOUR, format_money, format_number, format_seconds

if TYPE_CHECKING:
    from pertoken.cost import Cost
    from pertoken.explain.difference import Branch
    from pertoken.web.asked import Asked

NAMES = ("A", "B")
SPELLED = ("J", "g")  # units that neither label nor number says


def view(asked: Asked) -> dict[str, Any]:
    """What the view shows of two ``cases``, A and B."""
    if len(asked.cases) != 2:
        raise PertokenError(f"{len(asked.cases)} cases were given; compare takes two, A and B")
    a, b = asked.costs
    from pertoken.web.screen import effective

    tree, root = branches.branches(a, b)
    knobs = differing(asked.cases[0], asked.cases[1])
    said = [f"{name}: {headline(cost)}." for name, cost in zip(NAMES, (a, b), strict=True)]
    if not knobs:
        said.append("B is the same as A, which is the knobs above; change one of B's knobs.")
    else:
        said += [*causes(root), largest(tree)]
    return {
        "title": "Compare",
        "sentences": said,
        "knobs": knobs,
        "tables": [figures_table(a, b)],
        "tree": tree,
        "effective": [effective(cost) for cost in (a, b)],
        "charts": [{"name": "receipt", "options": {"names": list(NAMES)}}]
        if (a.rate is None) == (b.rate is None)
        else [],
    }


def causes(root: Branch) -> list[str]:
    """What of a whole request differs: its seconds, and what one costs."""
    found = {name: (before, after) for name, _, before, after in root.facts}
    said = []
    if "seconds" in found:
        said.append("Each request takes {:.4g} accelerator-seconds in A and {:.4g} in B.".format(*found["seconds"]))
    if "rate" in found:
        hourly = (format_money(rate * HOUR) for rate in found["rate"])
        said.append("An accelerator-hour costs {} in A and {} in B.".format(*hourly))
    return said


def differing(a: dict[str, Any], b: dict[str, Any]) -> list[dict[str, Any]]:
    """Knobs of which the cases have other values; auto where one has none."""
    names = [name for name in KNOBS if a.get(name) != b.get(name)]
    return [
        {
            "name": name,
            "label": KNOBS[name].label or name.replace("_", " "),
            "a": _given(a.get(name)),
            "b": _given(b.get(name)),
        }
        for name in names
    ]


def _given(value: Any) -> str:
    return "auto" if value is None else f"{value:.10g}" if isinstance(value, float) else str(value)


def largest(tree: dict[str, Any]) -> str:
    """The operation whose change is largest, in words."""
    names: list[str] = []
    node = tree
    while len(names) < 3 and node["children"]:
        node = node["children"][0]  # the largest change comes first
        names.append(node["name"])
    if not names or not node["change"]:
        return "Every branch costs the same."
    return (
        f"Most of it is in {', '.join(names)}: {node['before']} in A and {node['after']} in B, of a million requests."
    )


def figures_table(a: Cost, b: Cost) -> dict[str, Any]:
    """Figures side by side, with difference and ratio."""
    from pertoken.report.figures import figures

    one, two = figures(a), figures(b)
    rows = []
    for key in one:
        if key in two and one[key]["unit"] == two[key]["unit"]:
            x, y = one[key]["value"], two[key]["value"]
            label = one[key]["label"].partition(",")[0] + (", per million" if "/million" in one[key]["unit"] else "")
            rows.append([label, _shown(one[key]), _shown(two[key]), *_change(x, y, one[key]["unit"])])
    return {
        "title": "Figures side by side",
        "head": ["figure", *NAMES, "B less A", "B over A"],
        "rows": rows,
        "note": "Ranges of single figures are on the first screen of each.",
    }


def _shown(figure: dict[str, Any]) -> str:
    unit = figure["unit"]
    return f"{figure['shown']} {unit}" if unit in SPELLED else str(figure["shown"])


def _change(x: float | None, y: float | None, unit: str) -> list[str]:
    if x is None or y is None or not (math.isfinite(x) and math.isfinite(y)):
        return ["", ""]
    ratio = branches.ratio(x, y)
    if ratio == "same" or x == y:
        return ["", "0%"]
    return [f"{'+' if y > x else '-'}{amount(abs(y - x), unit)}", f"{ratio[2:]} x" if ratio.startswith("x ") else ratio]


def amount(value: float, unit: str) -> str:
    """A difference in the unit of its figures."""
    if unit.startswith("$"):
        return format_money(value)
    if unit == "s":
        return format_seconds(value)
    if unit == "%":
        return f"{100 * value:.3g} points"
    return format_number(value, 3) + (f" {unit}" if unit in SPELLED else "")
