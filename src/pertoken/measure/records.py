"""Own records: one line for each answered request of a probe, after a line that says what was probed."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

from pertoken.errors import PertokenError

KIND = "pertoken probe"
LAYOUT = 1


@dataclass(frozen=True)
class Answer:
    """One answered request. Times are of the client, from the start of the run.

    Parameters
    ----------
    cell : str
        Which part of the design: ``warm``, ``prompt``, ``prefix``, ``chunk`` or ``decode``.
    group : int
        Requests of a group were sent at once.
    batch : int
        How many.
    sent, first, last : float
        When it was sent, and when its first and last token came [s].
    input, output : int
        Tokens by the server's ``usage`` [token].
    cached : int or None
        Of the input, found in the prefix cache; None where ``usage`` does not tell [token].
    step_s : float
        Seconds between tokens while the whole group decoded; NaN where it never did [s].
    context : float
        Mean tokens attended in that time [token].
    """

    cell: str
    group: int
    batch: int
    sent: float
    first: float
    last: float
    input: int
    output: int
    cached: int | None = None
    step_s: float = math.nan
    context: float = math.nan

    @property
    def ttft(self) -> float:
        """Time to first token [s]."""
        return self.first - self.sent

    @property
    def tpot(self) -> float:
        """Mean time of its later tokens; NaN where it has none [s]."""
        return (self.last - self.first) / (self.output - 1) if self.output > 1 else math.nan


@dataclass(frozen=True)
class Probe:
    """What a probe found.

    Parameters
    ----------
    answers : sequence of Answer
        In order of the design.
    settings : mapping
        What was probed and how; never a key.
    failures : mapping of str to int
        Requests that failed, by reason.
    notes : sequence of str
        What the server did that a reader must know.
    stopped : str
        Why the design was not finished; empty when it was.
    joules : float
        Energy of the accelerators over the run, NaN where it was not measured [J].
    watts : float
        Their mean power over the run [W].
    energy : str
        How that was measured, or why not.
    """

    answers: Sequence[Answer]
    settings: Mapping[str, Any] = field(default_factory=dict)
    failures: Mapping[str, int] = field(default_factory=dict)
    notes: Sequence[str] = ()
    stopped: str = ""
    joules: float = math.nan
    watts: float = math.nan
    energy: str = ""

    @property
    def seconds(self) -> float:
        """From the first request to the last token [s]."""
        sent = [a.sent for a in self.answers]
        return max(a.last for a in self.answers) - min(sent) if sent else 0.0

    @property
    def tokens(self) -> dict[str, int]:
        """Tokens by kind; cached ones are part of the input and stand apart here, once."""
        cached = sum(a.cached or 0 for a in self.answers)
        total = sum(a.input for a in self.answers)
        return {"input": total - cached, "cached": cached, "output": sum(a.output for a in self.answers)}


def to_lines(probe: Probe) -> str:
    """A probe as JSON lines."""
    head = {
        "kind": KIND, "layout": LAYOUT, "settings": dict(probe.settings), "failures": dict(probe.failures),
        "notes": list(probe.notes), "stopped": probe.stopped,
        "joules": _finite(probe.joules),
        "watts": _finite(probe.watts), "energy": probe.energy,
    }  # fmt: skip
    rows = [{f.name: _finite(getattr(a, f.name)) for f in fields(a)} for a in probe.answers]
    return "".join(json.dumps(row, allow_nan=False) + "\n" for row in (head, *rows))


def _finite(value: Any) -> Any:
    if not isinstance(value, float):
        return value
    return round(value, 9) if math.isfinite(value) else None


def match(documents: Sequence[Any]) -> bool:
    """Whether a file's JSON values are own records."""
    return bool(documents) and isinstance(documents[0], dict) and documents[0].get("kind") == KIND


def from_documents(documents: Sequence[Any], name: str) -> Probe:
    """Read own records back.

    Raises
    ------
    PertokenError
        Naming the line that is damaged.
    """
    head = documents[0]
    if head.get("layout") != LAYOUT:
        raise PertokenError(f"{name[-80:]!r} has layout {str(head.get('layout'))[:20]}; this version reads {LAYOUT}")
    answers = []
    for place, row in enumerate(documents[1:], 2):
        try:
            answers.append(_answer(row))
        except (TypeError, ValueError, KeyError, AttributeError, OverflowError) as error:
            raise PertokenError(f"{name[-80:]!r}, line {place} is no record of a request: {str(error)[:80]}") from error
    joules, watts = (
        float(v) if isinstance(v := head.get(key), int | float) else math.nan for key in ("joules", "watts")
    )
    settings, failures = ({str(k): v for k, v in _table(head, key).items()} for key in ("settings", "failures"))
    return Probe(
        tuple(answers), settings, failures, tuple(map(str, head.get("notes") or ())), str(head.get("stopped") or ""),
        joules, watts, str(head.get("energy") or ""),
    )  # fmt: skip


def _table(head: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = head.get(key)
    return found if isinstance(found, Mapping) else {}


def _answer(row: Mapping[str, Any]) -> Answer:
    whole: dict[str, Any] = {key: int(row[key]) for key in ("group", "batch", "input", "output")}
    times: dict[str, Any] = {key: float(row[key]) for key in ("sent", "first", "last")}
    rest: dict[str, Any] = {key: math.nan if row.get(key) is None else float(row[key]) for key in ("step_s", "context")}
    cached = None if row.get("cached") is None else int(row["cached"])
    if not 0.0 <= times["sent"] <= times["first"] <= times["last"] < math.inf:
        raise ValueError("its times are not in order")
    if min(whole["input"], whole["output"], whole["batch"]) < 1 or not 0 <= (cached or 0) <= whole["input"]:
        raise ValueError("its counts are out of range")
    return Answer(cell=str(row["cell"])[:20], cached=cached, **whole, **times, **rest)


def with_steps(group: Sequence[tuple[Answer, Sequence[float]]], least: float = 4.0) -> list[Answer]:
    """A group's answers with the seconds of a decode step, taken while all of them decoded.

    Parameters
    ----------
    group : sequence of (Answer, times)
        Each with the times at which its tokens came; several tokens may come at once, so ``usage`` says how many there were.
    least : float
        Tokens of each that the common time must hold.
    """
    answers = [a for a, _ in group]
    decoding = [(a, times) for a, times in group if a.output > 1 and len(times) > 1]
    if len(decoding) < len(answers) or not decoding or len(decoding) < decoding[0][0].batch:
        return answers
    begin, end = max(t[0] for _, t in decoding), min(t[-1] for _, t in decoding)
    if end <= begin:
        return answers
    spans = [(_emitted(a, t, begin), _emitted(a, t, end)) for a, t in decoding]
    tokens = sum(b - a for a, b in spans) / len(spans)
    if tokens < least:
        return answers
    context = sum(a.input + (low + high) / 2.0 for (a, _), (low, high) in zip(decoding, spans, strict=True)) / len(
        spans
    )
    return [replace(a, step_s=(end - begin) / tokens, context=context) for a in answers]


def _emitted(answer: Answer, times: Sequence[float], when: float) -> float:
    """Tokens after its first that an answer had emitted at a time, between events in proportion."""
    each = (answer.output - 1) / (len(times) - 1)
    later = next((i for i, t in enumerate(times) if t >= when), len(times) - 1)
    if later == 0:
        return 0.0
    gap = times[later] - times[later - 1]
    return each * (later - 1 + ((when - times[later - 1]) / gap if gap > 0 else 1.0))
