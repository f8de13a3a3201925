r"""Step times of a deployment as tables, from its own operations, so that a step costs O(1).

.. math:: T = \max(t_{layers}(m) + t_{head}(e) + t_{decode}(B, C) + \sum_i t_{chunk}(n_i, c_i) + host, launches)

for m tokens of which e pass the head, B sequences that decode at contexts that sum to C, and chunks of n tokens after c. With
speculative decoding a draft model adds to decoding what depends on B and C alone, and to prompts what depends on m.
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
from pertoken.engine.draft import Drafted, DraftOp
from pertoken.engine.ops import AttentionOp, HostOp, Operation
from pertoken.engine.roofline import Timed
from pertoken.engine.step import Decode, Prefill, Step
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
    width, grain : int
        Tokens of a decoding sequence in a step, and parts of a token in which contexts are counted.
    """

    slots: int
    tokens: int
    context: int
    width: int = 1
    grain: int = 1

    @property
    def heads(self) -> int:
        """Tokens that pass the head."""
        return (self.slots + 1) * self.width


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

    def plain(self, last_only: bool) -> list[Operation]:
        """What all tokens of a step pass, or those that emit an output."""
        return self.ops(
            lambda op: (
                not isinstance(op, AttentionOp | HostOp | DraftOp) and getattr(op, "last_only", False) == last_only
            )
        )

    def by_tokens(self, chosen: list[Operation], most: int, least: float, prompt: bool = False) -> Array:
        """Time and energy of operations at so many tokens of a step and at ``least`` some, of prompts or decoding [tick, J]."""
        rows = np.arange(min(most, FINE) + 1, dtype=float)
        if most > FINE:
            rows = np.concatenate((rows, np.arange(FINE + COARSE, most + 2 * COARSE, COARSE, dtype=float)))
        rows = np.maximum(rows, least)
        step = Step((), Prefill(1.0, rows, 0.0)) if prompt else Step((Decode(rows, 1.0),))
        timed = [t for op in chosen for t in op.at(step)]
        return np.stack((self.ticks(sum(t.seconds for t in timed), rows.shape), self.joules(timed, rows.shape)), axis=1)

    def decode(self, base: Array, base_j: Array) -> tuple[Array, Array]:
        """Knots of context, and by batch and segment what decoding takes and draws.

        That is for attention and the draft model a constant and a slope against the sum of contexts, then the constant of
        all that decodes, where that is ``base`` without them.
        """
        at, width, grain = knots(1, self.reach.context, WIDER), self.reach.width, self.reach.grain
        batch = np.arange(1, self.reach.slots + 1, dtype=float)[:, None]
        shape = (self.reach.slots, at.size)
        step = Step((Decode(batch, at[None, :].astype(float), float(width)),))
        timed = [t for op in self.ops(lambda op: isinstance(op, AttentionOp | DraftOp)) for t in op.at(step)]
        seconds = coarse(sum(t.seconds for t in timed), shape) / self.tick
        joules = self.joules(timed, shape)
        at *= grain
        gap = batch * np.diff(at)[None, :]
        slope = np.maximum(np.rint(np.diff(seconds, axis=1) / gap), 0.0)
        start = np.rint(seconds[:, :-1] - slope * batch * at[:-1])
        slope_j = np.diff(joules, axis=1) / gap
        start_j = joules[:, :-1] - slope_j * batch * at[:-1]
        at[0], at[-1] = 0, 1 << 40
        rest, rest_j = start + base[1:, None], start_j + base_j[1:, None]
        lines = np.stack((start, slope, rest, start_j, slope_j, rest_j), axis=2)
        return at, np.concatenate((np.zeros((1, at.size - 1, 6)), lines))

    def chunks(self) -> tuple[Array, Array, Array]:
        """Knots of a chunk's size and context, and at these time, energy and re-expansion of context per pair [tick, J, tick]."""
        n, c = knots(1, min(self.reach.tokens, self.reach.context), FINER), knots(16, self.reach.context, FINER)
        c = np.concatenate(([0], c))
        new, context = n[:, None].astype(float), c[None, :].astype(float)
        shape = (n.size, c.size)
        pairs = new * (context + (new + 1.0) / 2.0)
        timed, again = [], np.zeros(shape)
        for op in self.ops(lambda op: isinstance(op, AttentionOp) or isinstance(_inner(op), AttentionOp)):
            own = _inner(op)
            assert isinstance(own, AttentionOp)
            one = own.sequence("prefill", 0.0, new, context, context)
            timed.append(one)
            again = again + own.count * phases(one.fixed_s, one.moved_s, one.compute_s).computed * one.cached_share
        seconds = coarse(sum(t.seconds for t in timed), shape)
        joules = self.joules(timed, shape)
        found: Array = np.stack([x / pairs for x in (seconds / self.tick, joules, again / self.tick)], axis=2)
        return n, c, found

    def once(self, seconds: float) -> int:
        """Seconds as whole ticks."""
        return round(seconds / self.tick)

    def costs(self) -> Costs:
        """All tables."""
        d, draw, reach = self.deployment, self.draw, self.reach
        host = [op for op in self.deployment.plan if isinstance(op, HostOp)]
        step, sequence = (self.once(sum(x)) for x in zip(*((op.step_s, op.sequence_s) for op in host), strict=True))
        layers = self.by_tokens(self.plain(False), reach.tokens, 1.0)
        head = self.by_tokens(self.plain(True), reach.heads, 0.0)
        drafted = isinstance(d, Drafted)
        once = self.ops(lambda op: not isinstance(_inner(op), AttentionOp) and isinstance(op, DraftOp))
        draft = self.by_tokens(once, reach.tokens, 1.0, True) if drafted else np.zeros(2)
        launch = sum(
            _inner(op).count * _inner(op).prefill.launch_s for op in d.plan if isinstance(_inner(op), AttentionOp)
        )
        batch = np.arange(reach.slots + 1)
        base = layers[entries(batch * reach.width)] + head[batch * reach.width]
        at, lines = self.decode(base[:, 0] + step + sequence * batch, base[:, 1])
        n, c, chunk = self.chunks()
        near = min(FINE, reach.context)
        one_by = 1.0 / np.maximum(np.arange(reach.heads + 1), 1.0)
        w = (at, n, c)
        v = (layers, head, draft, lines, chunk, places(n, near), places(c, near), one_by)
        starts = [int(x) for group in (w, v) for x in np.cumsum([0, *(x.size for x in group[:-1])])]
        return Costs(  # type: ignore[call-arg]
            boxed(np.concatenate(w)),
            boxed(np.concatenate([x.ravel() for x in v])),
            *starts,
            at.size - 1,
            n.size,
            c.size,
            near,
            int(drafted),
            step,
            sequence,
            self.once(d.prompt_launches_s),
            self.once(d.launches_s),
            self.once(launch),
            int(d.profile.graph_sequences.value),
            draw.active.value * self.tick if draw else 0.0,
            draw.cap.value * self.tick if draw else 0.0,
        )


def _inner(op: Operation) -> Any:
    """The operation itself, or of a draft's the one in its model."""
    return op.inner if isinstance(op, DraftOp) else op


def places(at: Array, most: int) -> Array:
    """For whole numbers up to ``most`` the knot at or below, but never the last, and how far they are towards the next."""
    values = np.arange(most + 1)
    k = np.clip(np.searchsorted(at, values, "right") - 1, 0, at.size - 2)
    return np.stack((k, (values - at[k]) / (at[k + 1] - at[k])), axis=1)


def entries(tokens: Array) -> Array:
    """`entry_of` of an array."""
    return np.where(tokens <= FINE, tokens, FINE + (tokens - FINE) // COARSE)
