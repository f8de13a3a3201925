r"""How prompts fall into steps: what share of steps holds any, and how unlike such steps are.

What comes while one step runs is taken together by the next, up to the token budget: a gate [1]_. With T_0 a step that
only decodes, X the work of a prompt and A the prompts that came in step n,

.. math:: T_{n+1} = T_0 + \sum_{i \le A(T_n)} X_i, \qquad
    E[S^2] = y E[X^2] + y^2 E[X]^2 E[e^2] / E[e]^2

for y prompts a step on average and S their sum. A(T) is Poisson with mean proportional to the exposure e of a step. Of
requests that come whatever becomes of others, e = T: a long step gathers more, so long steps follow long ones. In a closed
loop answers end with a step and their successors arrive D later, so that a step cannot gather more than came to an end
in the last D: e = T_0 + min(S, D).

References
----------
.. [1] Borst and Boxma 2018, Polling: past, present, and perspective, TOP 26 (gated service). Kleinrock 1975, Queueing Systems I
   (residual life; Pollaczek and Khinchine).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from pertoken.engine.deployment import Deployment
from pertoken.engine.roofline import Timed, total_seconds
from pertoken.engine.step import Decode, Prefill, Step
from pertoken.serving.lengths import Moments

Number = Any
TINY = 1e-12
MOST_UNLIKE = 10.0
ROUNDS = 2  # for the share of mixed steps, which then stands to about 1%
EVEN = 0.01  # least squared coefficient of variation of the work in a step
WAIT = "launching"  # the operation that is what kernels do not hide of their launches


@dataclass(frozen=True)
class Pace:
    """What single steps take, and how soon another request follows an answer.

    Parameters
    ----------
    hold : float
        From an answer to the arrival of the request that follows it; infinite where requests come whatever becomes of
        others [s].
    read_s, token_s : float or ndarray
        Of a step full of prompts, what few tokens would take too (weights, launches), and what each token adds [s].
    alone_s : float or ndarray
        A step of one decoding sequence; 0 where arrivals follow answers, which do not need it [s].
    """

    hold: float
    read_s: Number
    token_s: Number
    alone_s: Number = 0.0

    @classmethod
    def of(cls, deployment: Deployment, moments: Moments, hold: float) -> Pace:
        """Run these steps."""
        budget = deployment.profile.token_budget.value
        new = np.minimum(moments.fresh, budget)
        full = deployment.run(Step((), prompts(moments, np.full_like(new, budget), new), budget / moments.fresh))
        read = sum(op.count * (op.fixed_s + op.overhead_s) for op in full if op.name != WAIT)
        one = total_seconds(deployment.run(Step(decodes(moments, np.ones_like(new))))) if hold == np.inf else 0.0
        return cls(hold, read, np.maximum(kernels(full) - read, 0.0) / budget, one)

    @property
    def open(self) -> bool:
        """Whether requests come whatever becomes of others."""
        return self.hold == np.inf


def decodes(moments: Moments, batch: Number) -> tuple[Decode, ...]:
    """So many sequences that decode, at the contexts of the traffic."""
    return tuple(Decode(batch / len(moments.contexts), context, moments.width) for context in moments.contexts)


def prompts(moments: Moments, tokens: Number, new: Number) -> Prefill:
    """So many tokens of prompts in chunks of ``new``, in the middle of prompts of mean length."""
    context = np.maximum(moments.prior + (moments.fresh - new) / 2.0, 0.0)
    return Prefill(tokens / new, new, context, np.minimum(moments.cached, context))


def kernels(ops: list[Timed]) -> Number:
    """Seconds of operations without the wait for launches [s]."""
    return total_seconds([op for op in ops if op.name != WAIT])


def at_least(level: Number, mean: Number, spread: Number) -> tuple[Number, Number]:
    """Mean and variance of max(level, S) for a lognormal S.

    Parameters
    ----------
    level, mean : float or ndarray
        The level, and the mean of S.
    spread : float or ndarray
        Its squared coefficient of variation.
    """
    level = np.maximum(level, TINY)
    sigma = np.sqrt(np.log1p(spread))
    d = np.log(level / mean) / sigma + 0.5 * sigma
    below, above, far = _normal(d), 1.0 - _normal(d - sigma), 1.0 - _normal(d - 2.0 * sigma)
    found = np.maximum(level * below + mean * above, np.maximum(level, mean))
    return found, level * level * below + mean * mean * (1.0 + spread) * far - found * found


def _normal(x: Number) -> Number:
    """Cumulative normal distribution, to 2e-4 (numpy has no error function)."""
    return 0.5 + 0.5 * np.tanh(0.7978845608 * (x + 0.044715 * x * x * x))


@dataclass(frozen=True)
class Exposure:
    """How steps that are unlike gather arrivals: moments of e over steps, and of e with T.

    Parameters
    ----------
    mean : float or ndarray
        E[e] [s].
    square, cross : float or ndarray
        E[e^2] and E[e T] [s^2].
    more, unlike : float or ndarray
        What a mixed step adds to the exposure of a pure one, on average [s], and its squared coefficient of variation.
    """

    mean: Number
    square: Number
    cross: Number
    more: Number
    unlike: Number

    @classmethod
    def of(cls, share: Number, pure_s: Number, rest: Number, work: Number, spread: Number, hold: Number) -> Exposure:
        """Exposure of steps of which ``share`` take ``rest`` + S and the others ``pure_s``.

        Moments of min(S, hold) are those of an exponential S, scaled by ``spread``, the squared coefficient of variation.
        """
        x = np.minimum(hold / np.maximum(work, TINY), 50.0)
        left = np.exp(-x)
        gone = np.maximum(1.0 - left, TINY)
        more = work * gone
        unlike = spread * np.maximum(2.0 * (1.0 - (1.0 + x) * left) / (gone * gone) - 1.0, 0.0)
        joint = spread * np.maximum((2.0 - (2.0 + x) * left) / gone - 1.0, 0.0)
        mean = (1.0 - share) * pure_s + share * (rest + more)
        pure2, rest2 = (1.0 - share) * pure_s * pure_s, rest * rest
        square = pure2 + share * (rest2 + 2.0 * rest * more + more * more * (1.0 + unlike))
        cross = pure2 + share * (rest2 + rest * (work + more) + work * more * (1.0 + joint))
        return cls(mean, square, cross, more, unlike)

    @property
    def bunching(self) -> Number:
        """E[e^2] / E[e]^2: arrivals that a newcomer finds in its own gate, over the mean of all gates."""
        return self.square / (self.mean * self.mean)

    @property
    def residual(self) -> Number:
        """From an arrival to the end of the step under way [s]."""
        return (self.cross - self.square / 2.0) / self.mean


def work_spread(lengths: Number, finished: Number, share: Number, bunching: Number) -> Number:
    """Squared coefficient of variation of the work of prompts in a mixed step, whatever its budget.

    Parameters
    ----------
    lengths : float or ndarray
        E[X^2] / E[X]^2.
    finished, share, bunching : float or ndarray
        Prompts of a step, share of steps that hold any, and E[e^2] / E[e]^2.
    """
    return np.maximum((lengths + finished * bunching) * share / finished - 1.0, EVEN)


def longer(fixed: Number, sums: Number, spread: Number, level: Number) -> tuple[Number, Number]:
    """By how much mixed steps are longer than pure ones [s], and the squared coefficient of variation of that.

    Parameters
    ----------
    fixed : float or ndarray
        Of kernels that are not of prompts; may be below 0, as prompts hide the weight read [s].
    sums, spread : float or ndarray
        Kernels of prompts, and their squared coefficient of variation.
    level : float or ndarray
        What ``sums`` has to reach to hide the launches; not above 0 where they need none [s].
    """
    mean, variance = at_least(level, sums, spread) if np.max(level, initial=0.0) > 0.0 else (sums, spread * sums * sums)
    found = np.maximum(fixed + mean, TINY)
    return found, np.minimum(np.maximum(variance / (found * found), EVEN), MOST_UNLIKE)


def mixed_share(
    pace: Pace, lengths: Number, work: Number, fixed: Number, launches: float, pure_s: Number, rest: Number,
    finished: Number, parts: Number, least: Number, full: Number,
) -> tuple[Number, Number]:  # fmt: skip
    """Share of steps that hold prompts where many requests are served, and the bunching of arrivals.

    A step is mixed if anything came in the one before: f = f p_1 + (1 - f) p_0 with p_0 and p_1 the chances of that in pure
    and mixed steps. The sum in a mixed step is taken as gamma.

    Parameters
    ----------
    pace : Pace
        Of single steps.
    lengths : float or ndarray
        E[X^2] / E[X]^2 of prompts.
    work, fixed : float or ndarray
        Kernels of a prompt and those of a mixed step beside them [s].
    launches : float
        What a mixed step takes at least [s].
    pure_s, rest : float or ndarray
        A pure step, and what of it is in a mixed one too [s].
    finished, parts : float or ndarray
        Prompts of a step, and steps of a prompt.
    least, full : float or ndarray
        The least share possible, and the share were all mixed steps full.
    """
    events = finished * parts
    share, bunching = np.maximum(-np.expm1(-events), least), 1.0
    hold = pace.hold + (pure_s - rest)
    tried: list[Number] = []
    for _ in range(ROUNDS):
        spread = work_spread(lengths, finished, share, bunching)
        spread = np.maximum(np.minimum(spread, share / full - 1.0), EVEN)
        sums = work * finished / share
        e = Exposure.of(share, pure_s, rest, *longer(fixed - rest, sums, spread, launches - fixed), hold)
        bunching, rate = e.bunching, events / e.mean
        unlike = np.maximum(e.unlike, 1e-3)
        after_pure = -np.expm1(-rate * pure_s)
        none_after_mixed = np.exp(-rate * rest - np.log1p(rate * e.more * unlike) / unlike)
        tried.append(share)
        share = np.minimum(np.maximum(after_pure / (none_after_mixed + after_pure), least), 1.0)
    # errors of such rounds fall by a nearly constant factor; what is left of their sum is added [2]_
    first, second = tried[-1] - tried[-2], share - tried[-1]
    left = np.minimum(np.maximum(second / (first + (first == 0.0)), -0.9), 0.9)
    share = np.minimum(np.maximum(share + second * left / (1.0 - left), least), 1.0)
    return share, bunching


def busy_share(crowd: Number, prompts: Number = 0.0) -> Number:
    r"""u with 1 - u = (1 - u \rho)^{a / \rho}: share of time in which a lane works.

    Idle time is that in which no prompt is prefilled, a share 1 - u rho, and nothing decodes. In the time without prompts,
    requests come out of prefill in groups, of geometric size if they came at random, and a group ends with the longest of
    its answers; so none of the groups is there with the chance (1 - u rho)^(D / X), D the decode steps of an answer
    in seconds and X its prompt's. With rho = 0 the number in the lane is Poisson [1]_.

    Parameters
    ----------
    crowd : float or ndarray
        a, requests in service in a working lane; 0 is returned up to 1.
    prompts : float or ndarray
        rho, those of them that are prefilled.
    """
    a = np.maximum(crowd, 1.0)
    rho = np.minimum(np.maximum(prompts, 1e-9), 1.0 - 1e-9)
    power = a / rho
    u = np.ones_like(a)
    for _ in range(80):  # Newton on a convex function from above its root: converges monotonically
        left = np.exp(power * np.log1p(-u * rho))
        value = u + left - 1.0
        slope = 1.0 - a * left / (1.0 - u * rho)
        before, u = u, np.minimum(np.maximum(u - value / (slope + (np.abs(slope) <= TINY)), 0.0), 1.0)
        if np.max(np.abs(u - before), initial=0.0) <= 1e-8:  # each step squares what is left
            break
    return np.where(a > 1.0, u, 0.0)
