"""Trees as the page opens them: the same sums and facts as the tree itself, sources with their addresses apart."""

from __future__ import annotations

from typing import Any

import pytest

from pertoken.report import branches
from pertoken.scenario import price

COST = price("llama-3.1-8b", on="h100-sxm", input=2048, output=256, concurrency=16)


def walk(node: dict[str, Any]) -> list[dict[str, Any]]:
    return [node, *(found for child in node["children"] for found in walk(child))]


def test_every_node_of_the_tree_is_there() -> None:
    found, tree = walk(branches.tree(COST)), [node for _, node in COST.explain().root.walk()]
    assert len(found) == len(tree)
    assert sum(len(node["facts"]) for node in found) == sum(len(node.facts) for node in tree)
    assert found[0]["share"] == "100.0%"


def test_leaves_have_a_formula_and_a_source() -> None:
    for node in walk(branches.tree(COST)):
        if not node["children"]:
            assert node["formula"] and node["sources"]


def test_an_address_is_apart_from_its_text() -> None:
    (one, two) = branches.sources("P: H100, https://example.org/a_b, read 2026-11-22, half; e_c: fit to 5 rows")
    assert one == {"of": "P", "text": "H100, read 2026-11-22, half", "url": "https://example.org/a_b"}
    assert two == {"of": "e_c", "text": "fit to 5 rows", "url": ""}
    assert (
        branches.sources("Williams 2009, doi:10.1145/1498765.1498785")[0]["url"]
        == "https://doi.org/10.1145/1498765.1498785"
    )
    assert branches.sources("") == []


@pytest.mark.parametrize("text", ["javascript:alert(1)", "see data:text/html,x", "file:///etc/passwd"])
def test_only_addresses_of_the_web_become_links(text: str) -> None:
    assert branches.sources(text)[0]["url"] == ""


def test_the_difference_has_its_marks_and_changes() -> None:
    other = price("llama-3.1-8b", on="h100-sxm", input=2048, output=256, concurrency=64)
    found, root = branches.branches(COST, other)
    assert found["mark"] == "~" and found["change"].startswith("-")
    assert {node["mark"] for node in walk(found)} <= {"+", "-", "~", "="}
    same, _ = branches.branches(COST, COST)
    assert {node["mark"] for node in walk(same)} == {"="} and same["change"] == ""
    assert root.before == pytest.approx(COST.per_request.value)


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [(1.0, 1.0, "same"), (1.0, 1.5, "+50.0%"), (1.0, 20.0, "x 20"), (1.0, 0.01, "x 0.01"), (0.0, 1.0, ""),
     (1.0, float("nan"), "")],
)  # fmt: skip
def test_ratios_are_said(before: float, after: float, said: str) -> None:
    assert branches.ratio(before, after) == said
