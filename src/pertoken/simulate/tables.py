r"""Step times of a deployment as tables, from its own operations, so that a step costs O(1).

.. math:: T = \max(t_{layers}(m) + t_{head}(e) + t_{decode}(B, C) + \sum_i t_{chunk}(n_i, c_i) + host, launches)

for m tokens of which e pass the head, B sequences that decode at contexts that sum to C, and chunks of n tokens after c.
Operations that all tokens pass are evaluated at every m. Decode attention is piecewise linear in C at every B, with knots
half as far again apart as the one before; attention of a chunk is interpolated in time per pair of tokens. Contexts of a
batch enter by their mean, which is exact where attention is linear in context.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pertoken.attribution.shares import phases
from pertoken.engine.deployment import Deployment
from pertoken.engine.ops import AttentionOp, HostOp, Operation
from pertoken.engine.roofline import Timed
from pertoken.engine.step import Decode, Step
from pertoken.errors import PertokenError
from pertoken.money.energy import Draw, relative_peaks
from pertoken.simulate.compiled import boxed
from pertoken.simulate.spend import COARSE, FINE
from pertoken.simulate.state import Costs

Array = NDArray[Any]
WIDER = 1.5  # ratio of neighbouring knots of decode attention
FINER = 1.22  # and of chunks


@dataclass(frozen=True)
class Reach:
    """The largest figures that a table must know.

    Parameters
    ----------
    slots : int
        Sequences of a step.
    tokens : int
        Tokens of a step.
    context : int
        Tokens of a request, input and output together.
    """

    slots: int
    tokens: int
    context: int


def knots(first: int, last: int, ratio: float) -> Array:
    """Whole numbers from ``first`` to beyond ``last``, each about ``ratio`` times the one before."""
    found = [first]
    while found[-1] < last or len(found) < 2:
        found.append(max(found[-1] + 1, round(found[-1] * ratio)))
    return np.array(found, dtype=np.int64)


def coarse(seconds: Any, shape: tuple[int, ...]) -> Array:
    """Figures to 24 bits, so that the last bits, which differ with how arrays lie in memory, reach no whole tick."""
    share, power = np.frexp(np.broadcast_to(np.asarray(seconds, dtype=float), shape))
    found: Array = np.ldexp(np.rint(share * 2.0**24), power - 24)
    return found


class Tabulated:
    """Tables for one deployment.

    Parameters
    ----------
    deployment : Deployment
        What serves.
    reach : Reach
        How far they go.
    tick : float
        Length of a tick [s].
    draw : Draw or None
        What an accelerator draws; None leaves energy out.

    Raises
    ------
    PertokenError
        When the deployment overlaps micro-batches, whose times are no sum over operations.
    """

    def __init__(self, deployment: Deployment, reach: Reach, tick: float, draw: Draw | None) -> None:
        if deployment.overlap != "none":
            raise PertokenError(
                f"the simulator has no --overlap {deployment.overlap}: steps of two halves are no sum over operations; leave"
                " --overlap out"
            )
        self.deployment, self.reach, self.tick, self.draw = deployment, reach, tick, draw
        self.relative = relative_peaks(deployment)

    def ops(self, wanted: Callable[[Operation], bool]) -> list[Operation]:
        """Operations of a forward pass that are ``wanted``."""
        return [op for op in self.deployment.plan if wanted(op)]

    def ticks(self, seconds: Any, shape: tuple[int, ...]) -> Array:
        """Seconds as whole ticks."""
        return np.rint(coarse(seconds, shape) / self.tick).astype(np.int64)

    def joules(self, timed: Iterable[Timed], shape: tuple[int, ...]) -> Array:
        """Energy of memory traffic and arithmetic [J]."""
        found = np.zeros(shape)
        if self.draw:
            for t in timed:
                w = t.work
                moved = (w.weight_bytes + w.kv_bytes + w.activation_bytes) * self.draw.byte.value
                found = found + t.count * (moved + w.flop * self.draw.flop.value * self.relative.get(t.name, 1.0))
        return found

    def by_tokens(self, last_only: bool, most: int) -> tuple[Array, Array]:
        """Time and energy of what all tokens of a step pass, or those that emit an output [tick, J]."""
        rows = np.arange(min(most, FINE) + 1, dtype=float)
        if most > FINE:
            rows = np.concatenate((rows, np.arange(FINE + COARSE, most + 2 * COARSE, COARSE, dtype=float)))
        rows = rows if last_only else np.maximum(rows, 1.0)
        chosen = self.ops(
            lambda op: not isinstance(op, AttentionOp | HostOp) and getattr(op, "last_only", False) == last_only
        )
        timed = [t for op in chosen for t in op.at(Step((Decode(rows, 1.0),)))]
        return self.ticks(sum(t.seconds for t in timed), rows.shape), self.joules(timed, rows.shape)

    def decode(self) -> tuple[Array, Array, Array, Array, Array]:
        """Knots of context, and by batch and segment the line of time and of energy against the sum of contexts."""
        at = knots(1, self.reach.context, WIDER)
        batch = np.arange(1, self.reach.slots + 1, dtype=float)[:, None]
        shape = (self.reach.slots, at.size)
        step = Step((Decode(batch, at[None, :].astype(float)),))
        timed = [t for op in self.ops(lambda op: isinstance(op, AttentionOp)) for t in op.at(step)]
        seconds = coarse(sum(t.seconds for t in timed), shape) / self.tick
        joules = self.joules(timed, shape)
        gap = batch * np.diff(at)[None, :]
        slope = np.maximum(np.rint(np.diff(seconds, axis=1) / gap), 0.0)
        start = np.rint(seconds[:, :-1] - slope * batch * at[:-1])
        slope_j = np.diff(joules, axis=1) / gap
        start_j = joules[:, :-1] - slope_j * batch * at[:-1]
        none = np.zeros((1, at.size - 1))
        lines = [np.concatenate((none, x)).ravel() for x in (start, slope, start_j, slope_j)]
        at[0], at[-1] = 0, 1 << 40
        return at, lines[0].astype(np.int64), lines[1].astype(np.int64), lines[2], lines[3]

    def chunks(self) -> tuple[Array, Array, Array, Array, Array]:
        """Knots of a chunk's size and context, and at these time, energy and re-expansion of context per pair."""
        n, c = knots(1, min(self.reach.tokens, self.reach.context), FINER), knots(16, self.reach.context, FINER)
        c = np.concatenate(([0], c))
        new, context = n[:, None].astype(float), c[None, :].astype(float)
        shape = (n.size, c.size)
        pairs = new * (context + (new + 1.0) / 2.0)
        attention = self.ops(lambda op: isinstance(op, AttentionOp))
        timed, again = [], np.zeros(shape)
        for op in attention:
            assert isinstance(op, AttentionOp)
            one = op.sequence("prefill", 0.0, new, context, context)
            timed.append(one)
            again = again + op.count * phases(one.fixed_s, one.moved_s, one.compute_s).computed * one.cached_share
        seconds = coarse(sum(t.seconds for t in timed), shape)
        joules = self.joules(timed, shape)
        return n, c, *((x / pairs).ravel() for x in (seconds / self.tick, joules, again / self.tick))  # type: ignore[return-value]

    def once(self, seconds: float) -> int:
        """Seconds as whole ticks."""
        return round(seconds / self.tick)

    def costs(self) -> Costs:
        """All tables."""
        d, draw = self.deployment, self.draw
        layers, layers_j = self.by_tokens(False, self.reach.tokens)
        head, head_j = self.by_tokens(True, self.reach.slots + 1)
        host = self.ops(lambda op: isinstance(op, HostOp))
        launch = sum(op.count * op.prefill.launch_s for op in d.plan if isinstance(op, AttentionOp))
        at, a, b, ja, jb = self.decode()
        n, c, per_pair, per_pair_j, again = self.chunks()
        w, v = (layers, head, at, a, b, n, c), (layers_j, head_j, ja, jb, per_pair, per_pair_j, again)
        starts = [int(x) for group in (w, v) for x in np.cumsum([0, *(x.size for x in group[:-1])])]
        return Costs(  # type: ignore[call-arg]
            boxed(np.concatenate(w)),
            boxed(np.concatenate(v)),
            *starts,
            at.size - 1,
            n.size,
            c.size,
            self.once(sum(op.step_s for op in host if isinstance(op, HostOp))),
            self.once(sum(op.sequence_s for op in host if isinstance(op, HostOp))),
            self.once(d._launches_s),
            self.once(launch),
            int(d.profile.graph_sequences.value),
            draw.active.value * self.tick if draw else 0.0,
            draw.cap.value * self.tick if draw else 0.0,
        )
