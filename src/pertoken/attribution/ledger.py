"""Who pays: every operation's seconds, split by the token that owes them and by what bound the operation."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from pertoken.attribution.shares import phases
from pertoken.engine.roofline import Timed, bounds
from pertoken.serving.lane import StepKind
from pertoken.serving.steady import Steady

Number = Any
TOKENS = ("input", "cached", "output")
PARTS = ("weights", "kv", "activations", "compute", "padding", "links", "overhead")


class Entry(NamedTuple):
    """Seconds of one operation that one kind of token owes, for what bound it.

    Parameters
    ----------
    token, part : str
        One of ``TOKENS`` and of ``PARTS``.
    group, name : str
        The operation.
    seconds : float or ndarray
        In the mean step of one lane [s].
    """

    token: str
    part: str
    group: str
    name: str
    seconds: Number


def split(op: Timed, share: Number) -> Iterable[Entry]:
    """Entries of one operation in steps that are ``share`` of all steps.

    Tokens of one operation are alike (a sequence's cache read is its own operation), so they share each phase equally.
    """
    bound = phases(op.fixed_s, op.moved_s, op.compute_s, op.shape)
    everyone = np.maximum(op.input_tokens + op.output_tokens, 1e-30)
    again = op.cached_share * bound.computed
    parts = {
        op.fixed: bound.fixed,
        "activations": bound.moved,
        "compute": (bound.computed - again) * op.useful,
        "padding": 0.0 if _is(op.useful, 1.0) else (bound.computed - again) * (1.0 - op.useful),
        "links": op.link_s,
        "overhead": op.overhead_s,
    }
    each = op.count * share / everyone
    parts = {part: seconds for part, seconds in parts.items() if not _is(seconds, 0.0)}
    for token, tokens in (("input", op.input_tokens), ("output", op.output_tokens)):
        if not _is(tokens, 0.0):
            owed = each * tokens
            for part, seconds in parts.items():
                yield Entry(token, part, op.group, op.name, owed * seconds)
    if not _is(op.cached_share, 0.0):
        yield Entry("cached", "compute", op.group, op.name, op.count * share * again)


def _is(figure: Number, value: float) -> bool:
    """Whether a figure is one number, and this one; an array may hold it or not."""
    return isinstance(figure, float) and figure == value


def _stretch(kind: StepKind, case: str) -> Number:
    """Factor on a step's seconds in a case: the roofline, or its bounds of perfect and no overlap."""
    if case == "value":
        return 1.0
    low, high = bounds(kind.ops)
    return (low if case == "low" else high) / np.maximum(kind.seconds, 1e-30)


def ledger(state: Steady, case: str = "value") -> list[Entry]:
    """All entries of a steady state; they sum to the mean step's time.

    Parameters
    ----------
    state : Steady
        The state.
    case : str
        ``value``, or ``low`` and ``high`` for the roofline's bounds; a bound scales all entries of a kind of step alike.
    """
    if case == "value":
        return [entry for ops in by_operation(state) for entries in ops for entry in entries]
    return [
        entry
        for kind in state.kinds
        for factor in [kind.share * _stretch(kind, case)]
        for op in kind.ops
        for entry in split(op, factor)
    ]


def by_operation(state: Steady) -> list[list[list[Entry]]]:
    """Entries of each operation of each kind of step, worked out once: money and energy both follow from them."""
    kept: dict[str, Any] = vars(state)  # beside the fields, as a cached property's value
    if "by_operation" not in kept:
        kept["by_operation"] = [[list(split(op, kind.share)) for op in kind.ops] for kind in state.kinds]
    found: list[list[list[Entry]]] = kept["by_operation"]
    return found


def ledgers(state: Steady, ends: tuple[float, float] | None, token: str = "") -> dict[str, list[Entry]]:
    """Ledgers by case: low and high are measured over predicted seconds at the ends, or where none are known the bounds.

    Parameters
    ----------
    state : Steady
        The state.
    ends : tuple of (float, float) or None
        Factors on all seconds.
    token : str
        Entries of this kind of token alone; of all if empty.
    """

    def kept(entries: list[Entry]) -> list[Entry]:
        return [e for e in entries if e.token == token] if token else entries

    value = kept(ledger(state))
    if ends is None:
        return {"value": value, "low": kept(ledger(state, "low")), "high": kept(ledger(state, "high"))}
    low, high = ([Entry(e.token, e.part, e.group, e.name, e.seconds * end) for e in value] for end in ends)
    return {"value": value, "low": low, "high": high}


def by_token(entries: Iterable[Entry]) -> dict[str, Number]:
    """Seconds that each kind of token owes in the mean step [s]."""
    totals: dict[str, Number] = dict.fromkeys(TOKENS, 0.0)
    for entry in entries:
        totals[entry.token] = totals[entry.token] + entry.seconds
    return totals
