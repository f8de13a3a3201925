"""What the n-th input or output token costs: a view added up over operations, reader or occupant paying for reads.

The batch around the token is that of the operating point and its efficiencies stay; only the token's own position varies.
So the positions of a request sum to what the fair share charges a request, wherever cost is linear in position: exactly
where one thing binds attention throughout and others' reads do not move the token's own rate, else to the curvature of the
maximum and of the ramp between the positions (`docs/attribution.md`).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from pertoken.attribution.batch import PARTS, Batch, Parts, add
from pertoken.attribution.marginal import Marginal
from pertoken.attribution.occupant import Span, kept, moved
from pertoken.attribution.residency import LongRun
from pertoken.attribution.views import Alone, Fair, View
from pertoken.errors import PertokenError
from pertoken.serving.operating import Operating

Number = Any
VIEWS = ("fair", "alone", "marginal", "long-run")
WHO = ("reader", "occupant")


def check_choice(name: str, value: str, known: tuple[str, ...]) -> None:
    """Raise a sentence when a choice is unknown."""
    if value not in known:
        raise PertokenError(f"--{name} is {str(value)[:40]!r}; use one of {', '.join(known)}")


class Positions:
    """Seconds of one lane for tokens at given positions, by part.

    Parameters
    ----------
    batch : Batch
        The batch around them.
    bound : str
        What binds the operating point.
    view : str
        One of ``VIEWS``.
    who : str
        One of ``WHO``.
    """

    def __init__(self, batch: Batch, bound: str, view: str = "fair", who: str = "reader") -> None:
        check_choice("view", view, VIEWS)
        check_choice("who", who, WHO)
        self.batch, self.who = batch, who
        made: dict[str, type[View]] = {"fair": Fair, "alone": Alone, "marginal": Marginal}
        self.view: View = LongRun(batch, bound) if view == "long-run" else made[view](batch)
        m = batch.moments
        self.mean_input, self.mean_output = max(1, round(float(m.input))), max(1, round(float(m.output)))

    def input(self, n: Number) -> Parts:
        """The n-th input token [s]."""
        view, ops = self.view, self.batch.attention
        if self.who == "reader":
            reads = [*(view.read_input(op, n) for op in ops), view.held_input(n)]
        else:
            end_input = np.maximum(n, self.mean_input)
            reads = self._occupied(n, end_input, end_input + self.mean_output - 1)
            reads += [kept(view.read_input(op, n)) for op in ops] + [kept(view.held_input(n))]
        return self._whole(n, view.finish(add(view.flat_input(), *reads)))

    def output(self, n: Number, inputs: Number) -> Parts:
        """The n-th output token after ``inputs`` input tokens; decode step n - 1 makes it, at context inputs + n - 2 [s]."""
        view, ops = self.view, self.batch.attention
        n, inputs = np.broadcast_arrays(np.asarray(n, dtype=float), np.asarray(inputs, dtype=float))
        first = view.finish(view.first_output())
        if np.all(n == 1):
            return self._whole(n, first)
        context = np.maximum(inputs + n - 2.0, 0.0)
        if self.who == "reader":
            reads = [*(view.read_output(op, context) for op in ops), view.held_output(context)]
        else:
            reads = self._occupied(np.maximum(inputs + n - 1, 1), inputs, inputs + np.maximum(n, self.mean_output) - 1)
            reads += [kept(view.read_output(op, context)) for op in ops] + [kept(view.held_output(context))]
        later = view.finish(add(view.flat_output(), *reads))
        both = {part: np.where(n == 1, first.get(part, 0.0), later.get(part, 0.0)) for part in {*first, *later}}
        return self._whole(n, both)

    def _occupied(self, j: Number, end_input: Number, end: Number) -> list[Parts]:
        """What positions are charged for being read and held."""
        view, shape = self.view, np.shape(j)
        at, last_input, last = (
            np.atleast_1d(np.round(x)).astype(int).ravel() for x in np.broadcast_arrays(j, end_input, end)
        )
        decodes = bool(np.any(last > last_input))
        prefix = round(float(self.batch.moments.cached))

        def charged(op: Any, inputs: Any, outputs: Any) -> Parts:
            table = moved(Span(op), inputs, outputs if decodes else None, at, last_input, last, prefix)
            return {part: amount.reshape(shape) for part, amount in table.items()}

        found = [charged(None, view.held_input, lambda p: view.held_output(p - 1.0))]
        for op in self.batch.attention:
            if Span(op).own:  # a state's work stays with its own token
                found.append(self._stays(op, j, end_input))
            else:
                found.append(
                    charged(op, lambda p, op=op: view.read_input(op, p), lambda p, op=op: view.read_output(op, p - 1.0))
                )
        return found

    def _stays(self, op: Any, j: Number, end_input: Number) -> Parts:
        inputs, outputs = self.view.read_input(op, j), {}
        if np.any(j > end_input):
            outputs = self.view.read_output(op, j - 1.0)
        return {part: np.where(j > end_input, outputs.get(part, 0.0), inputs[part]) for part in ("kv", "attention")}

    def _whole(self, n: Number, parts: Parts) -> Parts:
        """All parts, in order, as arrays like the positions."""
        zero = 0.0 * np.asarray(n, dtype=float)
        return {part: parts[part] + zero for part in PARTS if part in parts and np.any(parts[part])}


def positions(deployment: Any, operating: Operating, view: str = "fair", who: str = "reader") -> Positions:
    """Positions around an operating point; see `Positions`."""
    return Positions(Batch(deployment, operating.state, operating.moments), operating.bound, view, who)
