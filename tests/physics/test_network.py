"""Collectives that leave a link domain, against what others expect and measured."""

from __future__ import annotations

import pytest

from pertoken.engine.collectives import NETWORK_LATENCY_S, CollectiveOp
from pertoken.scenario import price

SMALL = 8192.0  # byte


def small_sum(on: str, tp: int) -> float:
    """Seconds of a small all-reduce between the ranks of a replica."""
    plan = price("deepseek-v3", on=on, tp=tp, concurrency=1, input=128, output=128).deployment.plan
    op = next(op for op in plan if isinstance(op, CollectiveOp) and op.kind == "all_reduce")
    _, link_s, latency = op._seconds(SMALL)
    return float(link_s) + latency


def test_a_small_sum_over_two_hosts_takes_what_nccl_expects() -> None:
    """25.2 us over two hosts of eight H100 (github.com/NVIDIA/nccl/issues/1453)."""
    assert small_sum("16xh100-sxm", 16) == pytest.approx(25.2e-6, rel=0.15)


def test_it_passes_the_network_twice_for_each_doubling_of_hosts() -> None:
    two, four = small_sum("16xh100-sxm", 16), small_sum("32xh100-sxm", 32)
    assert four - two == pytest.approx(2.0 * NETWORK_LATENCY_S, rel=0.05)
