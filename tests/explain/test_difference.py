"""The difference of two trees: additive, antisymmetric, and nothing where nothing changed."""

from __future__ import annotations

import pytest

from pertoken.explain.difference import Branch, difference
from pertoken.scenario import price

FIRST = {"on": "h100-sxm", "input": 1024, "output": 128, "concurrency": 8, "rate": "rent:2"}


def walk(branch: Branch) -> list[Branch]:
    return [branch, *(b for child in branch.children for b in walk(child))]


def test_changes_add_up_at_every_branch_and_turn_round() -> None:
    one, two = price("llama-3.1-8b", **FIRST), price("llama-3.1-8b", **(FIRST | {"on": "2xh100-sxm"}))
    forth, unit = difference(one.explain(), two.explain())
    back, _ = difference(two.explain(), one.explain())
    assert unit == "usd"
    for branch in walk(forth):
        if branch.children:
            assert sum(c.change for c in branch.children) == pytest.approx(branch.change, rel=1e-9, abs=1e-18)
    assert forth.change == pytest.approx(-back.change)
    assert {b.name for b in walk(forth) if b.mark == "+"} == {b.name for b in walk(back) if b.mark == "-"}
    assert any(b.mark == "+" and b.name.startswith("links/") for b in walk(forth)), (
        "two accelerators talk, one does not"
    )
    assert forth.mark == "~"


def test_a_case_against_itself_is_the_same() -> None:
    cost = price("llama-3.1-8b", **FIRST)
    root, _ = difference(cost.explain(), cost.explain())
    assert {b.mark for b in walk(root)} == {"="}
    assert all(not b.facts and b.change == 0 for b in walk(root))


def test_a_rate_alone_changes_dollars_and_no_seconds() -> None:
    one, two = price("llama-3.1-8b", **FIRST), price("llama-3.1-8b", **(FIRST | {"rate": "rent:4"}))
    root, _ = difference(one.explain(), two.explain())
    assert root.after == pytest.approx(2 * root.before)
    assert {name for name, *_ in root.facts} == {"rate", "cost"}


def test_without_a_rate_on_one_side_the_unit_is_seconds() -> None:
    one = price("llama-3.1-8b", **FIRST)
    two = price("llama-3.1-8b", on="1xgh200-96gb", input=1024, output=128, concurrency=8)
    root, unit = difference(one.explain(), two.explain())
    assert unit == "accelerator_s"
    assert root.before == pytest.approx(one.explain().root.seconds)
