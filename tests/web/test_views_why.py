"""The view Why over HTTP: shares sum, the tree is the command's, what-ifs are the command's."""

from __future__ import annotations

from typing import Any

import pytest

from pertoken.scenario import price

KNOBS = {"model": "llama-3.1-8b", "on": "h100-sxm", "input": "2048", "output": "256", "concurrency": "16"}


def ask(client: Any, **options: Any) -> dict[str, Any]:
    answer = client.post("/api/view/why", json={"knobs": KNOBS, "options": options})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def per_cent(text: str) -> float:
    return float(text.rstrip("%")) if text else 0.0


@pytest.mark.parametrize(
    "more", [{}, {"utilisation": "0.4"}, {"utilisation": "0.4", "basis": "allocation"}, {"cached": 0.5}]
)
def test_operations_sum_to_the_hour(client: Any, more: dict[str, Any]) -> None:
    answer = client.post("/api/view/why", json={"knobs": {**KNOBS, **more}})
    (table,) = answer.json()["tables"]
    *rows, paid = table["rows"]
    every = table["head"].index("all")
    assert paid[0] == "paid" and paid[every] == "100.0%"
    assert sum(per_cent(row[every]) for row in rows) == pytest.approx(100.0, abs=0.06 * len(rows))
    for row in rows:
        if row[0] != "idle":
            assert sum(per_cent(cell) for cell in row[1:every]) == pytest.approx(per_cent(row[every]), abs=0.16)
    seconds = [float(row[every + 1].replace(",", "")) for row in rows]
    assert sum(seconds) == pytest.approx(float(paid[every + 1].replace(",", "")), abs=len(rows))
    assert ("idle" in [row[0] for row in rows]) == (more.get("utilisation") is not None and "basis" not in more)
    assert ("cached" in table["head"]) == ("cached" in more)


def test_bounds_are_those_of_the_receipt(client: Any) -> None:
    cost = price(**KNOBS)
    table = ask(client)["tables"][0]
    names = {leaf.bound for leaf in cost.receipt}
    assert {row[-1].split(" (")[0] for row in table["rows"][:-1]} <= names


def test_the_tree_comes_when_it_is_asked_for(client: Any) -> None:
    assert "tree" not in ask(client)
    tree = ask(client, part="tree")["tree"]
    root = price(**KNOBS).explain().root
    assert [child["name"] for child in tree["children"]] == [child.name for child in root.children]

    def leaves(node: dict[str, Any]) -> list[dict[str, Any]]:
        return [leaf for child in node["children"] for leaf in leaves(child)] if node["children"] else [node]

    urls = {source["url"] for leaf in leaves(tree) for source in leaf["sources"]}
    assert any(url.startswith("https://") for url in urls)


def test_what_ifs_are_all_there_with_the_figures_of_the_command(client: Any) -> None:
    from pertoken.report.counterfactuals import rows
    from pertoken.whatif.ask import COUNTERFACTUALS
    from pertoken.whatif.ask import ask as outcomes

    found = ask(client, part="what-if")
    shown = found["tables"][0]["rows"]
    expected = rows(outcomes(price(**KNOBS), ["all"]))[1:]
    said = {"same": "0%", **{cell: f"{cell[2:]} x" for row in expected for cell in row if cell.startswith("x ")}}
    assert [row[1:7] for row in shown] == [[said.get(cell, cell) for cell in row[1:7]] for row in expected]
    assert len(found["notes"]) == len(COUNTERFACTUALS) and all(note["text"] for note in found["notes"])
    refused = [note for note in found["notes"] if note["text"].startswith("does not apply; ")]
    assert len(shown) - 1 + len(refused) == len(COUNTERFACTUALS)


def test_without_a_rate_it_counts_seconds(client: Any) -> None:
    answer = client.post(
        "/api/view/why", json={"knobs": {**KNOBS, "on": "1xgh200-96gb"}, "options": {"part": "what-if"}}
    )
    assert "s/M" in answer.json()["tables"][0]["head"][1]


@pytest.mark.parametrize("part", ["nonsense", 5, None, ["tree"], "x" * 500])
def test_an_unknown_part_is_refused_with_a_sentence(client: Any, part: Any) -> None:
    answer = client.post("/api/view/why", json={"knobs": KNOBS, "options": {"part": part}})
    assert answer.status_code == 400 and "use one of summary, tree, what-if" in answer.json()["error"]
