"""The view Why: the roofline, the receipt by operation, the tree, and what would change it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pertoken.attribution.ledger import TOKENS
from pertoken.errors import PertokenError
from pertoken.report import branches, counterfactuals, text
from pertoken.units import format_money

if TYPE_CHECKING:
    from pertoken.cost import Cost
    from pertoken.money.figures import Leaf
    from pertoken.web.asked import Asked
    from pertoken.whatif.base import Outcome

PARTS = ("summary", "tree", "what-if")
SHOWN = 14  # operations of the table; what is left is one line
_HEADS = ("what if", "input $/M", "change", "output $/M", "change", "$/request", "change", "what binds moves")


def view(asked: Asked) -> dict[str, Any]:
    """What the view shows: the summary at once; the tree and what-ifs when they are opened (option ``part``)."""
    part = asked.options.get("part", PARTS[0])
    if part not in PARTS:
        raise PertokenError(f"the option part is {str(part)[:40]!r}; use one of {', '.join(PARTS)}")
    made = {"summary": summary, "tree": tree, "what-if": what_if}[part]
    return {"title": "Why", **made(asked.cost)}


def summary(cost: Cost) -> dict[str, Any]:
    """Sentences, the receipt by operation, and which charts go with them."""
    return {
        "sentences": [f"{said[0].upper()}{said[1:]}." for said in text.reasons(cost)],
        "charts": ["roofline"],
        "tables": [operations(cost)],
    }


def operations(cost: Cost) -> dict[str, Any]:
    """The receipt of an hour by operation: who pays it, its seconds, and what binds it."""
    leaves: dict[str, list[Leaf]] = {}
    for leaf in cost.receipt:
        token, _, rest = leaf.path.partition("/")
        name = rest.partition("/")[2].replace("/", ": ") or token  # idle has no operation
        leaves.setdefault(name, []).append(leaf)
    kinds = [token for token in TOKENS if cost.tokens_per_request[token] > 0]
    idle = leaves.pop("idle")
    names = sorted(leaves, key=lambda name: -sum(leaf.usd_share for leaf in leaves[name]))
    rows = [_row(name, leaves[name], kinds) for name in names[:SHOWN]]
    if smaller := names[SHOWN:]:
        rows.append(_row(f"{len(smaller)} smaller", [leaf for name in smaller for leaf in leaves[name]], kinds))
    if idle[0].usd_share > 0:
        rows.append(_row("idle", idle, kinds))
    rows.append([*_row("paid", cost.receipt, kinds)[:-1], ""])
    whole = format_money(cost.bill.usd) if cost.rate else f"{cost.bill.accelerator_s:,.0f} accelerator-seconds"
    return {
        "title": "Receipt of one hour by operation",
        "head": ["operation", *kinds, "all", "accelerator-s", "bound by"],
        "rows": rows,
        "note": f"Shares of the hour's bill, {whole}; seconds of its {cost.bill.accelerator_s:,.0f} accelerator-seconds.",
    }


def _row(title: str, leaves: Sequence[Leaf], kinds: Sequence[str]) -> list[str]:
    """One line: shares by kind of token, seconds, and the resource that takes most of them."""
    by: dict[str, float] = {}
    for leaf in leaves:
        by[leaf.bound] = by.get(leaf.bound, 0.0) + leaf.seconds
    whole, first = sum(by.values()), max(by, key=lambda key: by[key])
    bound = "" if first == "idle" else first if by[first] >= 0.995 * whole else f"{first} ({by[first] / whole:.0%})"
    shares = [sum(leaf.usd_share for leaf in leaves if leaf.path.startswith(f"{kind}/")) for kind in kinds]
    every = sum(leaf.usd_share for leaf in leaves)
    return [title, *(f"{share:.1%}" if share else "" for share in shares), f"{every:.1%}", f"{whole:,.0f}", bound]


def tree(cost: Cost) -> dict[str, Any]:
    """The whole tree."""
    t = cost.tokens_per_request
    said = (
        f"A million requests, each {t['input'] + t['cached']:,.0f} input and {t['output']:,.0f} output tokens. Every branch is"
        " the sum of its own branches; quantities beside it say where its seconds come from."
    )
    return {"sentences": [said], "tree": branches.tree(cost)}


def what_if(cost: Cost) -> dict[str, Any]:
    """What each counterfactual changes, and those that do not apply."""
    from pertoken.whatif.ask import ask

    outcomes = ask(cost, ["all"])
    _, now, *rows = counterfactuals.rows(outcomes)
    made = [o for o in outcomes if o.after is not None]
    lines = [
        [f"{o.sentence} ({o.name})", *map(_change, row[1:-1]), _moves(row[-1])]
        for o, row in zip(made, rows, strict=True)
    ]
    heads = _HEADS if cost.rate else tuple(head.replace("$", "s") for head in _HEADS)
    note = "Input is all of it, cached or not. Each row changes one thing, all else the same."
    table = {
        "title": "",
        "head": list(heads),
        "rows": [["as it is", *now[1:]], *lines],
        "note": note if cost.rate else f"{note} s: accelerator-seconds.",
    }
    return {
        "sentences": [],
        "tables": [table],
        "notes": [{"name": o.name, "text": _note(o)} for o in outcomes],
    }


def _note(outcome: Outcome) -> str:
    """What a counterfactual takes for given, or why it does not apply."""
    if outcome.after is None:
        return f"does not apply; {outcome.refused}"
    return "; ".join(outcome.after.assumed) or "nothing else is assumed"


def _change(text: str) -> str:
    """As a column of numbers has it."""
    return "0%" if text == "same" else f"{text[2:]} x" if text.startswith("x ") else text


def _moves(text: str) -> str:
    """``out memory>compute`` in whole words."""
    return text.replace("out ", "output: ").replace("in ", "input: ").replace(">", " to ")
