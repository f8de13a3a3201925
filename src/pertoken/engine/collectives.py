"""What ranks say to each other: collectives over the link of a domain and the network between domains.

References
----------
.. [1] Thakur, Rabenseifner and Gropp 2005, doi:10.1177/1094342005051521 (bytes that each collective moves).
.. [2] github.com/NVIDIA/nccl/issues/1453 (2024): NCCL expects 25.2 us of a small all-reduce over two hosts of eight H100.
   github.com/NVIDIA/dgx-spark-playbooks/pull/103 (2026): 31 to 35 us measured over two hosts of one GB10. Read 2026-11-25.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from pertoken.engine.efficiency import CollectiveEfficiency
from pertoken.engine.ops import Operation
from pertoken.engine.roofline import Timed
from pertoken.engine.step import Step
from pertoken.engine.work import Work

Number = Any
NETWORK_LATENCY_S = 10e-6  # one message through a data-centre switch and both network cards, assumed; agrees with [2]_


@dataclass(frozen=True)
class Fabric:
    """Links that join the accelerators of a deployment.

    Parameters
    ----------
    link : float
        Bandwidth inside a domain, one direction, per accelerator [byte/s].
    domain : int
        Accelerators in a domain.
    network : float
        Bandwidth between domains, one direction, per accelerator [byte/s].
    """

    link: float
    domain: int
    network: float


def passes(kind: str, ranks: int) -> float:
    """Bytes that a rank sends per byte of payload [1]_: 2 (p-1)/p for an all-reduce, (p-1)/p for the others."""
    once = (ranks - 1) / ranks
    return {"all_reduce": 2.0 * once, "send": 1.0}.get(kind, once)


@dataclass(frozen=True)
class CollectiveOp(Operation):
    """A collective, or the hand-over to the next pipeline stage.

    Parameters
    ----------
    kind : str
        ``all_reduce``, ``all_gather``, ``all_to_all`` or ``send``.
    ranks : int
        Ranks that take part; of a hand-over, those of all stages, which cross domains if they do not fit one.
    token_bytes : float
        Payload for each token of the step on one rank [byte].
    fabric : Fabric
        Links.
    efficiency : CollectiveEfficiency
        Latency and the share of the link's bandwidth reached.
    skew_s : float
        Wait for the slowest rank [s].
    last_only : bool
        Only tokens that emit an output count (logits).
    """

    kind: str
    ranks: int
    token_bytes: float
    fabric: Fabric
    efficiency: CollectiveEfficiency
    skew_s: float = 0.0
    last_only: bool = False

    def at(self, step: Step) -> list[Timed]:
        rows = step.emitted if self.last_only else step.tokens
        sent, link_s, latency = self._seconds(rows * self.token_bytes)
        return [
            Timed(
                self.name,
                self.group,
                self.count,
                Work(link_bytes=sent),
                link_s=link_s,
                overhead_s=latency + self.skew_s,
                input_tokens=0.0 if self.last_only else step.input_tokens,
                output_tokens=rows if self.last_only else step.decode_tokens,
            )
        ]

    def _near(self, sent: Number, ranks: int) -> Number:
        """Seconds for ``sent`` bytes on the link of a domain."""
        return self.efficiency.transfer(sent, ranks, self.fabric.link)

    def _seconds(self, payload: Number) -> tuple[Number, Number, float]:
        """Bytes sent by a rank, seconds on the link, and latency."""
        fabric, inside = self.fabric, min(self.ranks, self.fabric.domain)
        if self.kind == "send":
            slow = payload / fabric.network if self.ranks > fabric.domain else self._near(payload, 2)
            return payload, slow, self.efficiency.latency(2)
        if inside == self.ranks:
            sent = passes(self.kind, self.ranks) * payload
            return sent, self._near(sent, self.ranks), self.efficiency.latency(self.ranks)
        outer = -(-self.ranks // inside)
        trips = 2.0 if self.kind == "all_reduce" else 1.0  # sums go up a tree of domains and come back
        latency = self.efficiency.latency(inside) + trips * NETWORK_LATENCY_S * math.log2(outer)
        if self.kind == "all_to_all":  # each rank talks to all others directly; link and network work at once
            near, far = (inside - 1) / self.ranks * payload, (self.ranks - inside) / self.ranks * payload
            return near + far, np.maximum(self._near(near, inside), far / fabric.network), latency
        near, far = passes(self.kind, inside) * payload, passes(self.kind, outer) * payload / inside
        return near + far, self._near(near, inside) + far / fabric.network, latency
