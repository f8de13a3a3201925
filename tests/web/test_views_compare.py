"""The view Compare over HTTP: two cases, what differs, and why."""

from __future__ import annotations

from typing import Any

import pytest

from pertoken.explain.difference import difference
from pertoken.scenario import price

A = {"model": "llama-3.1-8b", "on": "h100-sxm", "input": "2048", "output": "256", "concurrency": "16"}
B = {**A, "on": "h200-sxm", "concurrency": "64"}


def ask(client: Any, a: dict[str, Any], b: dict[str, Any]) -> dict[str, Any]:
    answer = client.post("/api/view/compare", json={"cases": [a, b]})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_only_knobs_that_differ_are_told(client: Any) -> None:
    found = ask(client, A, B)
    assert {knob["name"]: (knob["a"], knob["b"]) for knob in found["knobs"]} == {
        "on": ("h100-sxm", "h200-sxm"), "concurrency": ("16", "64"),
    }  # fmt: skip
    assert ask(client, A, {**A, "dtype": "fp8"})["knobs"][0] | {"label": ""} == {
        "name": "dtype", "label": "", "a": "auto", "b": "fp8",
    }  # fmt: skip


def test_the_tree_is_the_difference_of_the_command(client: Any) -> None:
    root, _ = difference(price(**A).explain(), price(**B).explain())
    tree = ask(client, A, B)["tree"]
    assert tree["mark"] == root.mark and [c["name"] for c in tree["children"]] == [c.name for c in root.children]
    assert [c["mark"] for c in tree["children"][0]["children"]] == [c.mark for c in root.children[0].children]


def test_figures_stand_side_by_side_with_their_ratio(client: Any) -> None:
    rows = {row[0]: row for row in ask(client, A, B)["tables"][0]["rows"]}
    one, two = price(**A).per_million.output.value, price(**B).per_million.output.value
    row = next(row for name, row in rows.items() if "output" in name.lower())
    assert row[4] == f"{two / one - 1:+.1%}" and row[3].startswith("-" if two < one else "+")


def test_causes_are_said(client: Any) -> None:
    said = ask(client, A, B)["sentences"]
    assert any("accelerator-hour costs $" in text for text in said) and any("Most of it is in" in text for text in said)


def test_the_same_twice_says_so(client: Any) -> None:
    found = ask(client, A, A)
    assert found["knobs"] == [] and found["tree"]["mark"] == "="
    assert found["sentences"][-1].startswith("B is the same as A")
    assert {row[4] for row in found["tables"][0]["rows"]} <= {"0%", ""}


def test_dollars_and_seconds_share_no_bar(client: Any) -> None:
    found = ask(client, A, {**A, "on": "1xgh200-96gb"})
    assert found["charts"] == [] and found["tables"][0]["rows"]


@pytest.mark.parametrize("body", [{"knobs": A}, {"cases": [A]}, {"cases": [A, A, A]}])
def test_other_than_two_cases_are_refused(client: Any, body: dict[str, Any]) -> None:
    answer = client.post("/api/view/compare", json=body)
    assert answer.status_code == 400 and "two, A and B" in answer.json()["error"]
