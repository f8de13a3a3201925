"""Prefill and decode on pools of their own: the first pool's answers are the second's traffic, once their KV has moved."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from pertoken.engine.deployment import Deployment
from pertoken.errors import PertokenError
from pertoken.money.energy import Draw
from pertoken.simulate.records import Records
from pertoken.simulate.run import Cluster, simulate
from pertoken.simulate.traffic import Traffic


@dataclass(frozen=True)
class Pools:
    """Records of both pools, each with its own bill, and of requests from arrival to last token.

    Parameters
    ----------
    prefill, decode : Records
        Of each pool; requests of one output token never reach the second.
    decoded : ndarray
        Number of the request for each of the second pool's.
    moved_bytes : float
        KV moved between the pools [byte].
    transfer_s : float
        Mean time that took a request [s].
    """

    prefill: Records
    decode: Records | None
    decoded: np.ndarray
    moved_bytes: float
    transfer_s: float

    @property
    def last(self) -> np.ndarray:
        """Last output token of each request [s]."""
        found = self.prefill.last.copy()
        if self.decode is not None:
            found[self.decoded] = self.decode.last
        return found

    @property
    def paid_accelerator_s(self) -> float:
        """Accelerator-seconds of both pools [s]."""
        return self.prefill.paid_accelerator_s + (self.decode.paid_accelerator_s if self.decode else 0.0)

    @property
    def accelerator_s(self) -> dict[str, float]:
        """Accelerator-seconds by who owes them, both pools; with ``idle`` they are all that is paid for [s]."""
        found = dict(self.prefill.accelerator_s)
        if self.decode:
            for name, seconds in self.decode.accelerator_s.items():
                found[name] += seconds
        return found


def simulate_pools(
    deployment: Deployment,
    traffic: Traffic,
    prefill: Cluster,
    decode: Cluster,
    draw: Draw | None = None,
    progress: Callable[[float], None] | None = None,
) -> Pools:
    """Serve traffic on two pools.

    The decode pool never holds the prefill pool up, which frees a prompt's KV as soon as its first token is out. KV moves
    over the network of all accelerators of a lane at once, each its own part.

    Raises
    ------
    PertokenError
        For requests that follow others, whose arrivals the second pool would decide.
    """
    if traffic.closed:
        raise PertokenError("separate pools have no closed loop or conversations; give arrivals, such as --rps")
    single = replace(traffic, output=np.ones_like(traffic.output))
    first = simulate(deployment, single, prefill, draw, progress)
    each = np.asarray(deployment.sequence_bytes(traffic.input.astype(float)), dtype=float) * deployment.split.pp
    seconds = each / deployment.fabric.network
    go = np.flatnonzero((traffic.output > 1) & first.done)
    ready = first.last[go] + seconds[go]
    order = np.argsort(ready, kind="stable")
    go = go[order]
    first = replace(first, traffic=replace(traffic, output=np.ones_like(traffic.output)))
    if not go.size:
        return Pools(first, None, go, 0.0, 0.0)
    later = Traffic(ready[order], traffic.input[go], traffic.output[go], traffic.origin)
    second = simulate(deployment, later, decode, draw, progress, ready=True)
    moved = float(each[go].sum()) * deployment.split.tp
    return Pools(first, second, go, moved, float(seconds[go].mean()))
