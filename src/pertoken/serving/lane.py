r"""One lane at y requests per step: what its steps hold, and what a request sees of them.

I' and O - 1 are a request's fresh input tokens and decode steps. A share f of steps is mixed (`mixing`) and holds y I' / f
prompt tokens, so the mean step takes (1 - f) T_0 + f T_1 [1]_. Smooth mixing (a few tokens in every step) would hide
prefill under the weight read. Where an engine does not mix, decodes wait for steps of prompts. T_1 is the time at the mean
of a mixed step's tokens, but for the launches of its operations: short prompts wait for these and long ones hide them.

A request never waits for its own prefill while it decodes: of the others' share of the load, g, mixed steps carry
B_1 = g B_0 decoding sequences where pure ones carry B_0. For a lone request g = 0: it decodes in pure steps only. In a
closed loop of n requests g = 1 - 1/n. Of requests that come at random times each sees what time sees: g is the share of
it in which the lane works, and who decodes sees one sequence more than there are on average [2]_.

References
----------
.. [1] Agrawal et al. 2024, arXiv:2403.02310 (chunked prefill).
.. [2] Kleinrock 1975, Queueing Systems I (residual life; Pollaczek and Khinchine; M/G/infinity).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pertoken.engine.deployment import Deployment
from pertoken.engine.roofline import Timed, total_seconds
from pertoken.engine.step import Step
from pertoken.serving.lengths import Moments
from pertoken.serving.mixing import (
    EVEN,
    TINY,
    WAIT,
    Exposure,
    Pace,
    at_least,
    busy_share,
    decodes,
    kernels,
    longer,
    mixed_share,
    prompts,
    work_spread,
)

Number = Any


@dataclass(frozen=True)
class StepKind:
    """One of the two kinds of step: pure decode, or mixed with prompt chunks.

    Parameters
    ----------
    share : float or ndarray
        Share of steps that are of this kind.
    ops : list of Timed
        Its operations.
    seconds : float or ndarray
        Its time [s].
    """

    share: Number
    step: Step
    ops: list[Timed]
    seconds: Number


class Lane:
    """Steps of a lane and latencies of its requests.

    Parameters
    ----------
    deployment : Deployment
        What serves.
    moments : Moments
        Averages of the lengths.
    finished : float or ndarray
        Requests finished per step, y.
    pace : Pace
        How requests come.
    busy : float or ndarray, optional
        Share of time in which the lane works, where it is known.
    """

    def __init__(
        self, deployment: Deployment, moments: Moments, finished: Number, pace: Pace, busy: Number | None = None
    ) -> None:
        self.deployment, self.moments, self.y, self.pace = deployment, moments, finished, pace
        profile = deployment.profile
        self.apart, self.launches = not profile.mixed, deployment.prompt_launches_s
        self.decoding = finished * moments.decoded  # sequences that decode in the mean step
        beside = 0.0 if self.apart else self.decoding * moments.width
        self.budget = np.maximum(profile.token_budget.value - beside, 1.0)
        self.parts = np.maximum(1.0, moments.fresh / self.budget)
        self.full = finished * moments.fresh / self.budget  # share of mixed steps were all full
        self.least = np.minimum(np.maximum(self.full, 1.0 - self.decoding), 1.0)  # pure ones have a sequence at least
        self.alone = np.minimum(finished * self.parts, 1.0)  # share of mixed steps if no two prompts shared one
        gathered = -np.expm1(-finished * self.parts)  # and if they shared them by chance
        self.served = finished * self.parts + self.decoding
        if self.apart:  # who decodes is there in steps of others' prompts too
            waiting = self.decoding * gathered / np.maximum(1.0 - gathered, TINY)
            both = self.served + waiting
            self.served = (both + np.sqrt(np.maximum(both * both - 4.0 * waiting, 0.0))) / 2.0
        self.others = busy_share(self.served) if pace.open else np.maximum(1.0 - 1.0 / self.served, 0.0)
        self.mixed = self._blend(gathered)
        self.batch, self.pure = self._pure()
        self.rest = 0.0 if self.apart else self.pure.seconds  # of a pure step, what is in a mixed one too
        self.both = self._both()
        self.step_s = self.pure.share * self.pure.seconds + self.mixed * self.both.seconds
        self.busy = self._busy() if busy is None else busy

    def _blend(self, crowd: Number) -> Number:
        """Share of mixed steps, from what it is in a crowd and what it is for a lone request."""
        found = self.others * crowd + (1.0 - self.others) * self.alone
        if self.apart:  # no more sequences wait than there are
            found = np.minimum(found, 1.0 - self.decoding / np.maximum(self.served, 1.0))
        return np.minimum(np.maximum(found, self.least), 1.0)

    def _pure(self) -> tuple[Number, StepKind]:
        """Sequences of pure steps, and these."""
        left = 1.0 - self.mixed
        if self.apart:
            batch = self.decoding / np.maximum(left, TINY)
        elif self.pace.open:  # an arrival sees what time sees, idle time too
            batch = self.decoding * np.maximum(1.0 - self.mixed * self.others, TINY) / np.maximum(left, TINY)
            batch = np.minimum(batch, 1.0 + self.served)
        else:
            batch = self.decoding / np.maximum(left + self.mixed * self.others, TINY)
        step = Step(decodes(self.moments, batch))
        ops = self.deployment.run(step)
        return batch, StepKind(left, step, ops, total_seconds(ops))

    def _both(self) -> StepKind:
        """Mixed steps; the share of pure ones is set by them."""
        m, y, pace = self.moments, self.y, self.pace
        # beside prompts, whose kernels hide the weight read, decoding sequences add their attention and the host its time
        fixed = total_seconds(
            [op for op in self.pure.ops if op.group == "host" or (op.name.startswith("decode") and not self.apart)]
        )
        crowd, bunching = mixed_share(
            pace, m.spread, pace.token_s * m.fresh, fixed, self.launches, self.pure.seconds, self.rest, y, self.parts,
            self.least, self.full,
        )  # fmt: skip
        self.mixed = self._blend(crowd)
        if self.apart:
            self.batch, self.pure = self._pure()
            side = np.zeros_like(self.mixed)
        else:
            self.mixed = np.maximum(self.mixed, 1.0 - self.decoding / np.maximum(self.batch, TINY))
            self.pure = replace(self.pure, share=1.0 - self.mixed)
            side = np.maximum(self.decoding - self.pure.share * self.batch, 0.0) / self.mixed
        self.chunk = y * m.fresh / self.mixed
        step = Step(decodes(m, side), prompts(m, self.chunk, np.minimum(m.fresh, self.chunk)), y / self.mixed)
        ops = self.deployment.run(step)
        seconds = kernels(ops)
        self.slope = np.minimum(pace.token_s, seconds / self.chunk)
        self.fixed = seconds - self.slope * self.chunk
        self.uncut = work_spread(m.spread, y, self.mixed, self.others * bunching)
        self.spread = np.maximum(np.minimum(self.uncut, self.budget / self.chunk - 1.0), EVEN)
        self.longer = self._longer(self.spread)
        if self.launches:
            idle = np.maximum(self.longer[0] + self.rest - seconds, 0.0)
            ops = [replace(op, overhead_s=idle) if op.name == WAIT else op for op in ops]
            seconds = seconds + idle
        return StepKind(self.mixed, step, ops, seconds)

    def _longer(self, spread: Number) -> tuple[Number, Number]:
        """By how much mixed steps are longer than pure ones [s], and the squared coefficient of variation of that."""
        return longer(self.fixed - self.rest, self.slope * self.chunk, spread, self.launches - self.fixed)

    def _filling(self, tokens: Number, spread: Number) -> Number:
        """A mixed step that holds so many tokens of prompts [s]."""
        sums = self.slope * tokens
        return self.fixed + (at_least(self.launches - self.fixed, sums, spread)[0] if self.launches else sums)

    def _busy(self) -> Number:
        """Share of time in which the lane works; of a closed loop that is not known here."""
        if not self.pace.open:
            return 1.0
        prompt, decode = self.mixed * self.both.seconds, self.decoding * self.pure.seconds
        decodes = self.decoding > 0  # without, requests in a step are all that there are
        crowd = np.where(decodes, (prompt + decode) / self.step_s, self.served)
        return busy_share(crowd, np.where(decodes, prompt / self.step_s, 0.0))

    def first(self) -> tuple[Number, Number, Number]:
        """Wait before the first token and prefill of a lone request, whose sum is TTFT, and the own steps of prefill [s]."""
        m, profile = self.moments, self.deployment.profile
        open_ = self.pace.open
        seen = self.busy if open_ else self.others
        share = self.mixed if open_ else seen * self.mixed
        work = self._longer(self.uncut) if open_ else self.longer  # a full budget cuts steps, not the work ahead
        e = Exposure.of(share, self.pure.seconds, self.rest, *work, self.pace.hold + (self.pure.seconds - self.rest))
        gate = 1.0 + seen * self.y * e.bunching  # prompts that come through the same gate, the own one included
        steps = np.maximum(1.0, m.fresh * gate / self.budget)
        self.own = self._filling(m.fresh * gate / steps, self.spread / gate)  # a step of the own prefill
        prefill = steps * self.own
        alone = self.parts * np.maximum(self.fixed + self.slope * m.fresh / self.parts, self.launches)
        residual = seen * e.residual if self.pace.hold > 0.0 else 0.0  # what follows an answer at once meets no step
        wait = residual + prefill - alone
        wait = wait + self._queue(prefill + residual, seen)
        held = (profile.look_steps.value - 1.0) / 2.0 + profile.wait_steps.value
        return wait + self.others * held * self.pure.seconds, alone, prefill

    def _queue(self, wait: Number, seen: Number) -> Number:
        """What full steps add to a wait [s].

        Work ahead of z budgets takes as many more fixed parts, and more work comes in these: where W is the wait and the
        work is exponential, W = W_0 + a / (e^(1/z) - 1) / (1 - rho) with z = rho W / full.
        """
        work, full = self.slope * self.moments.fresh, self.slope * self.budget
        fixed = np.maximum(self.fixed, 0.0)
        if not self.pace.open:
            return self._behind_long(work, full, full + fixed) * seen
        rho = np.minimum(seen * self.y * work / self.step_s, 1.0 - 1e-9)
        more = fixed * rho / (full * (1.0 - rho))  # waits for each wait, were all steps full
        found = wait
        for _ in range(3):
            ahead = np.maximum(rho * found / full, 0.02)
            found = wait / np.maximum(1.0 - more / (ahead * np.expm1(1.0 / ahead)), 0.001)
        return found - wait

    def _behind_long(self, work: Number, full: Number, taken: Number) -> Number:
        """Wait of M/G/1, in full steps, where what is left of a prompt and the own do not fit one of them [s]."""
        half = 0.5 * work * self.moments.spread
        crowded = np.exp(-np.maximum(full - work, 0.0) / half)
        room = np.maximum(1.0 - self.full, TINY)
        return crowded * half * (taken / full) * self.full * (taken / self.step_s) / room

    def later(self) -> Number:
        """A decode step as a request sees it, others' prompts included; after `first` [s]."""
        if not self.pace.open:
            weight = self.pure.share + (0.0 if self.apart else self.mixed * self.others)
            seen = self.pure.share * self.pure.seconds + self.mixed * self.others * self.both.seconds
            found = seen / np.maximum(weight, TINY)
        else:
            found = self._later_open()
        return np.where(self.moments.decoded > 0, found, 0.0)  # where nothing decodes there is no time to ask for

    def _later_open(self) -> Number:
        """The same where requests come at random times.

        The own sequence is one more in the batch, and slows others, which stay longer: 1 / (1 - share of the step that
        grows with the batch). Steps that follow the own prefill hold what came while that lasted, an excess that falls by
        rho each step; for answers of geometric length rho / (D (1 - rho) + rho) of it falls on each of D steps.
        """
        pure, decode = self.pure.seconds, self.moments.decoded
        each = np.maximum(pure - self.pace.alone_s, 0.0) / np.maximum(self.batch - 1.0, 1.0)
        own = each * np.maximum(1.0 - self.served * (1.0 - self.others), 0.0)
        pure = pure + own * pure / np.maximum(pure - each * self.batch, 0.1 * pure)
        rho = np.minimum(self.busy * self.mixed * (self.both.seconds - self.rest) / self.step_s, 1.0 - 1e-9)
        level = pure / (1.0 - rho)
        return level + np.maximum(self.own - level, 0.0) * rho / (np.maximum(decode, 1.0) * (1.0 - rho) + rho)
