"""The view Position over HTTP: the command's figures, side by side."""

from __future__ import annotations

import json
from typing import Any

import pytest
from click.testing import CliRunner

from pertoken.cli.main import cli
from pertoken.web.views.position import ordinal

KNOBS = {"model": "llama-3.1-8b", "on": "h100-sxm", "input": "2048", "output": "256", "concurrency": "16"}
FLAGS = [word for name, value in KNOBS.items() if name != "model" for word in (f"--{name}", value)]


def ask(client: Any, **options: Any) -> dict[str, Any]:
    answer = client.post("/api/view/position", json={"knobs": KNOBS, "options": options})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


@pytest.mark.parametrize(
    ("view", "who"),
    [("fair", "reader"), ("fair", "occupant"), ("alone", "reader"), ("marginal", "reader"), ("long-run", "occupant")],
)
def test_figures_are_those_of_the_command(client: Any, view: str, who: str) -> None:
    found = ask(client, view=view, who=who, n=[11, 10_001])
    command = ["curve", KNOBS["model"], *FLAGS, "--positions", "11,10001", "--view", view, "--who", who, "--json"]
    run = CliRunner().invoke(cli, command)
    assert run.exit_code == 0, run.output
    expected = json.loads(run.stdout)
    given = expected.pop("scenario"), found["document"].pop("scenario")
    assert given[0].keys() == given[1].keys()
    assert found["document"] == expected
    cards = {(card["token"], card["n"]): card for card in found["cards"]}
    for token in ("input", "output"):
        for row in expected[token]:
            card = cards[token, row["position"]]
            assert (card["value"], card["low"], card["high"]) == (row["value"], row["low"], row["high"])
            assert sum(part["value"] for part in card["inputs"]) == pytest.approx(row["value"], rel=1e-9)


def test_the_page_opens_with_the_11th_and_the_10001st(client: Any) -> None:
    found = ask(client)
    assert [card["label"] for card in found["cards"]] == [
        "11th input token", "10,001st input token", "11th output token", "10,001st output token",
    ]  # fmt: skip
    assert found["sentences"][0].startswith("The 10,001st input token costs ")
    assert any("flat input price" in said for said in found["sentences"])


def test_a_marginal_says_no_flat_price(client: Any) -> None:
    assert not any("flat" in said for said in ask(client, view="marginal")["sentences"])


def test_a_position_beyond_the_limit_is_the_last(client: Any) -> None:
    found = ask(client, n=[11, 1_000_000_000])
    assert found["limit"]["input"] == 131_072
    assert "131,072nd" in found["tables"][0]["head"] and len(found["tables"][1]["head"]) == 2
    assert "Give two positions within" in found["sentences"][1]


@pytest.mark.parametrize("n", [0, [], [0], [-1], [1.5], ["11"], [True], [None], [10**30], list(range(1, 9)), {"a": 1}])
def test_what_is_no_position_is_refused_with_a_sentence(client: Any, n: Any) -> None:
    answer = client.post("/api/view/position", json={"knobs": KNOBS, "options": {"n": n}})
    assert answer.status_code == 400 and "position" in answer.json()["error"]


@pytest.mark.parametrize("options", [{"view": "fairest"}, {"view": 5}, {"who": []}, {"view": "x" * 1000}])
def test_unknown_choices_are_refused(client: Any, options: dict[str, Any]) -> None:
    assert client.post("/api/view/position", json={"knobs": KNOBS, "options": options}).status_code == 400


@pytest.mark.parametrize(
    ("n", "said"), [(1, "1st"), (2, "2nd"), (3, "3rd"), (4, "4th"), (11, "11th"), (12, "12th"), (13, "13th"), (21, "21st"),
                    (111, "111th"), (10_001, "10,001st"), (112_013, "112,013th")],
)  # fmt: skip
def test_ordinals(n: int, said: str) -> None:
    assert ordinal(n) == said
