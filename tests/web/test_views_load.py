"""The view Load over HTTP: where you are, round loads, and what is to be simulated."""

from __future__ import annotations

from typing import Any

import pytest

from pertoken.scenario import price
from pertoken.simulation import Case, Options
from pertoken.web.views import load

KNOBS = {"model": "llama-3.1-8b", "on": "h100-sxm", "input": "2048", "output": "256"}


def point(document: dict[str, Any]) -> dict[str, float]:
    """As the page takes it from a simulation: costs with the idle time of that load in them, and mean latencies."""
    worked = 1.0 - document["bill"]["idle_share"]
    paid = {name: document["per_million"][name] / worked for name in ("input", "output")}
    return {**paid, "ttft": document["ttft_s"]["mean"], "tpot": document["tpot_s"]["mean"]}


def ask(client: Any, against: str = "concurrency", **knobs: Any) -> dict[str, Any]:
    answer = client.post("/api/view/load", json={"knobs": {**KNOBS, **knobs}, "options": {"against": against}})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


@pytest.mark.parametrize("against", ["concurrency", "rate"])
def test_where_you_are_is_in_the_table_with_the_prices_of_the_first_screen(client: Any, against: str) -> None:
    found = ask(client, against, concurrency="16")
    cost = price(**KNOBS, concurrency="16")
    assert found["here"]["output"] == pytest.approx(cost.per_million.output.value, rel=1e-9)
    assert found["here"]["ttft"] == cost.operating.ttft_s
    (mine,) = [row for row in found["tables"][0]["rows"] if "where you are" in row[0]]
    from pertoken.units import format_money, format_seconds

    assert mine[1:] == [
        format_money(cost.per_million.input.value), format_money(cost.per_million.output.value),
        format_seconds(cost.operating.ttft_s), format_seconds(cost.operating.tpot_s),
    ]  # fmt: skip


@pytest.mark.parametrize("against", ["concurrency", "rate"])
def test_runs_are_few_and_bounded_and_nearest_first(client: Any, against: str) -> None:
    found = ask(client, against, concurrency="16", basis="allocation", utilisation="0.5")
    runs = found["runs"]
    assert 4 <= len(runs) <= load.SIMULATED
    assert all(load.LEAST <= run["options"]["requests"] <= load.MOST for run in runs)
    near = found["here"]["x"]
    away = [abs(run["x"] / near - 1) if run["x"] > near else near / run["x"] - 1 for run in runs]
    assert away == sorted(away) and away[0] < 0.01
    for run in runs:  # knobs that a simulation takes
        case = Case(run["knobs"], Options(**run["options"]))
        assert (case.knobs.get("concurrency") or case.knobs["rps"]) == run["x"]


def test_a_simulated_point_is_near_the_closed_form(client: Any) -> None:
    found = ask(client, "concurrency", concurrency="16")
    (run,) = [run for run in found["runs"] if run["x"] == 16]
    document = Case(run["knobs"], Options(**run["options"])).run().document
    found_point = point(document)
    assert found_point["output"] == pytest.approx(found["here"]["output"], rel=0.25)
    assert found_point["tpot"] == pytest.approx(found["here"]["tpot"], rel=0.25)
    paid = document["bill"]["usd"]
    tokens = document["tokens"]
    back = (found_point["input"] * tokens["input"] + found_point["output"] * tokens["output"]) / 1e6
    assert back == pytest.approx(paid, rel=1e-6), "idle time is in the points"


@pytest.mark.parametrize(
    ("knobs", "against", "why"),
    [
        ({"cached": "0.5"}, "concurrency", "a share of cached input"),
        ({"cached": "0.5"}, "rate", "a share of cached input"),
    ],
)
def test_what_a_simulation_does_not_take_is_said(client: Any, knobs: dict[str, Any], against: str, why: str) -> None:
    found = ask(client, against, **knobs)
    assert found["runs"] == [] and why in found["no_runs"]


def test_a_trace_comes_at_its_own_pace(client: Any) -> None:
    knobs = {"model": "llama-3.1-8b", "on": "h100-sxm", "trace": "azure-2023-conversation"}
    answer = client.post("/api/view/load", json={"knobs": knobs, "options": {"against": "concurrency"}}).json()
    assert answer["runs"] == [] and "own arrivals" in answer["no_runs"]
    answer = client.post("/api/view/load", json={"knobs": knobs, "options": {"against": "rate"}}).json()
    assert answer["runs"]


@pytest.mark.parametrize("against", ["nonsense", 5, None, "x" * 1000])
def test_an_unknown_axis_is_refused(client: Any, against: Any) -> None:
    answer = client.post("/api/view/load", json={"knobs": KNOBS, "options": {"against": against}})
    assert answer.status_code == 400 and "concurrency" in answer.json()["error"]
