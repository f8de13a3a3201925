"""The tree adds up at every node, its facts reproduce its seconds, and every leaf says where it comes from."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from pertoken.attribution.ledger import PARTS
from pertoken.cost import Cost, price_deployment
from pertoken.explain.tree import Node, explain
from pertoken.money.rate import rent
from pertoken.scenario import price
from pertoken.serving.workload import Workload
from tests import maker
from tests.test_cost import scenario

TOKENS = ("input", "cached", "output")


def check(node: Node) -> None:
    """Every node is the sum of its branches, and none is negative."""
    for _, n in node.walk():
        assert math.isfinite(n.seconds) and n.seconds >= 0.0, n.name
        if n.children:
            assert sum(c.seconds for c in n.children) == pytest.approx(n.seconds, rel=1e-9), n.name
            assert len({c.name for c in n.children}) == len(n.children), n.name


def check_cost(cost: Cost) -> None:
    """The tree of a cost, against its bill and its prices per token."""
    tree = cost.explain()
    check(tree.root)
    paid = cost.bill.accelerator_s / (cost.requests_per_s * cost.bill.period_s)
    assert tree.root.seconds == pytest.approx(paid, rel=1e-9)
    for token in TOKENS:
        count = cost.tokens_per_request[token]
        node = tree.root.find(token)
        owed = getattr(cost.accelerator_s, token).value * count if count > 0 else 0.0
        assert (node.seconds if node else 0.0) == pytest.approx(owed, rel=1e-9, abs=1e-30), token
    idle = tree.root.find("idle")
    usd = cost.rate.usd_per_second  # type: ignore[union-attr]
    assert (idle.seconds if idle else 0.0) == pytest.approx(
        cost.bill.idle_usd / usd / (cost.requests_per_s * cost.bill.period_s), rel=1e-6, abs=1e-12 * paid
    )


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow])
@given(st.integers(0, 10_000))
def test_the_tree_of_any_cost_adds_up(seed: int) -> None:
    cost = scenario(seed)
    assume(cost is not None)
    check_cost(cost)  # type: ignore[arg-type]


def test_a_branch_counted_twice_is_noticed() -> None:
    """Negative control."""
    root = explain(price_deployment(maker.deploy(), Workload(1000, 100, concurrency=8.0), rent(2.0))).root
    twice = replace(root, children=(*root.children, replace(root.children[0], name="again")))
    with pytest.raises(AssertionError):
        check(twice)


@pytest.mark.parametrize("name", sorted(maker.KINDS))
def test_tokens_together_pay_for_the_whole_operation(name: str) -> None:
    """What all kinds of token owe of an operation in a kind of step is its time in that step."""
    cost = price_deployment(
        maker.deploy(maker.KINDS[name]()), Workload(3000, 50, concurrency=8.0, cached=0.3), rent(2.0)
    )
    owed: dict[tuple[str, str], float] = defaultdict(float)
    times: dict[tuple[str, str], float] = {}
    shares: dict[str, float] = {}
    for token in cost.explain().root.children:
        for step in token.children:
            shares[step.name] = next(f.value for f in step.facts if f.name == "share of steps")
            for op in step.children:
                owed[step.name, op.name] += op.seconds
                times[step.name, op.name] = next(f.value for f in op.facts if f.name == "seconds of a step")
    each = cost.deployment.split.tp / float(cost.operating.state.finished)
    for (step, op), seconds in owed.items():
        assert seconds == pytest.approx(times[step, op] * shares[step] * each, rel=1e-9), (step, op)


def test_facts_reproduce_the_roofline() -> None:
    """Seconds follow from FLOP, bytes, peaks and shares as the formulas say."""
    cost = price("llama-3.1-70b", on="8xh100-sxm", dtype="fp8", concurrency=32)
    seen = 0
    for depth, op in cost.explain().root.walk():
        if depth != 3 or not op.facts:
            continue
        f = {fact.name: fact.value for fact in op.facts}
        if "peak P" in f:
            assert f["FLOP"] / (f["peak P"] * f["share e_c"]) == pytest.approx(f["compute seconds"], rel=1e-9)
            assert 0.0 < f["share e_c"] <= 1.0
        moved = sum(f.get(f"{what} bytes", 0.0) for what in ("weight", "KV", "activation"))
        if "share e_m" in f:
            assert moved / (f["bandwidth W"] * f["share e_m"]) == pytest.approx(f["memory seconds"], rel=1e-9)
        longest = max(f.get("compute seconds", 0.0), f.get("memory seconds", 0.0)) + f.get("link seconds", 0.0)
        assert longest <= f["seconds of a step"] * (1 + 1e-9), op.name
        seen += 1
    assert seen > 20


@pytest.mark.parametrize("name", ["llama-3.1-8b", "deepseek-v3", "gpt-oss-120b", "qwen3.5-35b-a3b", "gemma-3-27b"])
def test_every_leaf_has_formula_value_unit_and_source(name: str) -> None:
    cost = price(name, on="8xh200-sxm", concurrency=16, utilisation=0.5)
    leaves = 0
    for _, node in cost.explain().root.walk():
        for fact in node.facts:
            assert fact.unit and math.isfinite(fact.value) and (fact.formula or fact.source), (node.name, fact)
        if not node.children:
            assert node.formula and node.source, node.name
            assert node.name in (*PARTS, "idle")
            leaves += 1
    assert leaves > 40


def test_the_datasheet_and_its_date_are_at_the_leaf() -> None:
    cost = price("llama-3.1-8b", on="h100-sxm", concurrency=16)
    leaf = cost.explain().root.find("output", "decode steps", "feedforward/gate_up", "weights")
    assert leaf is not None
    assert "read 2026-" in leaf.source and "measured rows" in leaf.source
    rate = next(f for f in cost.explain().root.facts if f.name == "rate")
    assert "listed" in rate.source


def test_without_a_rate_there_are_seconds_and_no_dollars() -> None:
    cost = price("llama-3.1-8b", on="1xgh200-96gb", concurrency=4)
    assert cost.rate is None
    found = cost.explain().as_dict(depth=1)
    assert found["usd"] is None and found["value"] > 0
    assert all("children" not in child for child in found["children"])
