"""What ``--json`` and ``--csv`` promise: keys, kinds, nulls, and money that adds up from the JSON alone."""

from __future__ import annotations

import csv
import io
import itertools
from numbers import Real
from typing import Any

import pytest

from tests.cli.tool import Result, run

TOKENS = ("input", "cached", "output")
KINDS = (*TOKENS, "input_blended")
TOP = {
    "per_million", "cached_increment", "per_request", "per_month", "accelerator_s_per_million", "ratio", "interval",
    "usd_missing", "serving", "receipt", "bill", "energy", "model", "machine", "rate", "lengths", "basis", "assumed",
    "scenario", "idle_share", "carbon", "water", "currency",
}  # fmt: skip
SERVING = {
    "ttft_s",
    "tpot_s",
    "input_tok_per_s",
    "output_tok_per_s",
    "batch",
    "utilisation",
    "load",
    "mfu",
    "kv_occupancy",
}
ON = ("--on", "8xh100-sxm")
CASES = {
    "saturated": ON,
    "cached": (*ON, "--cached", "0.6", "--input", "8192", "--output", "512"),
    "all cached": (*ON, "--cached", "1", "--input", "4000", "--output", "100"),
    "idle": (*ON, "--utilisation", "0.25", "--rate", "rent:2.50"),
    "idle spread": (*ON, "--utilisation", "0.25", "--basis", "allocation"),
    "trickle": (*ON, "--load", "0.05", "--cached", "0.3"),
    "rate": (*ON, "--rps", "1.5", "--basis", "allocation"),
    "few": (*ON, "--concurrency", "3", "--rate", "power:0.12"),
    "owned": (*ON, "--rate", "own", "--utilisation", "0.4"),
    "power": (*ON, "--rate", "power:0.12", "--rps", "2", "--basis", "allocation", "--cached", "0.3"),
    "power, idle apart": (*ON, "--rate", "power:0.12", "--load", "0.2"),
    "lanes": (*ON, "--tp", "2", "--pp", "2", "--dp", "2", "--concurrency", "70"),
    "one token": (*ON, "--input", "1", "--output", "1", "--cached", "0.5"),
}


def answer(*more: str) -> dict[str, Any]:
    result = run("price", "llama-3.1-70b", "--dtype", "fp8", *more, "--json")
    assert (result.code, result.err) == (0, ""), result.err
    return result.json()


def numbers(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [n for item in value.values() for n in numbers(item)]
    if isinstance(value, list):
        return [n for item in value for n in numbers(item)]
    return [value] if isinstance(value, Real) and not isinstance(value, bool) else []


@pytest.mark.parametrize("case", CASES)
def test_keys_and_kinds(case: str) -> None:
    found = answer(*CASES[case])
    assert set(found) == TOP
    assert set(found["serving"]) >= SERVING
    assert set(found["bill"]) == {"period_s", "accelerator_s", "usd", "idle_usd", "tokens", "residual"}
    for interval in [found["per_million"][kind] for kind in KINDS] + [found["per_request"]]:
        assert 0 <= interval["low"] <= interval["value"] <= interval["high"]
        assert {type(interval[key]) for key in ("low", "value", "high")} == {float}
    assert all(n > -1e-9 for n in numbers(found))
    assert all(isinstance(sentence, str) and len(sentence) > 5 for sentence in found["assumed"])
    assert found["usd_missing"] is None
    assert found["serving"]["utilisation"] <= 1 + 1e-12
    assert found["machine"]["accelerators"] == 8
    assert found["scenario"]["on"] == "8xh100-sxm"


@pytest.mark.parametrize("case", CASES)
def test_money_adds_up_from_the_json_alone(case: str) -> None:
    found = answer(*CASES[case])
    bill, dollars = found["bill"], found["per_million"]
    charged = sum(bill["tokens"][kind] * dollars[kind]["value"] / 1e6 for kind in TOKENS)
    assert charged + bill["idle_usd"] == pytest.approx(bill["usd"], rel=1e-9)
    assert abs(bill["residual"]) < 1e-9 * bill["usd"]
    assert bill["accelerator_s"] == pytest.approx(8 * bill["period_s"], rel=1e-12)
    hourly = found["rate"]["usd_per_accelerator_hour"]
    assert bill["usd"] == pytest.approx(hourly * bill["accelerator_s"] / 3600, rel=1e-9)
    blended = sum(bill["tokens"][kind] * dollars[kind]["value"] for kind in ("input", "cached"))
    whole = bill["tokens"]["input"] + bill["tokens"]["cached"]
    assert blended / whole == pytest.approx(dollars["input_blended"]["value"], rel=1e-9)


@pytest.mark.parametrize("case", CASES)
def test_receipt_is_the_whole_bill(case: str) -> None:
    found = answer(*CASES[case])
    receipt, bill = found["receipt"], found["bill"]
    assert sum(leaf["usd_share"] for leaf in receipt) == pytest.approx(1.0, rel=1e-9)
    assert sum(leaf["seconds"] for leaf in receipt) == pytest.approx(bill["accelerator_s"], rel=1e-9)
    for kind in TOKENS:
        owed = sum(leaf["usd_share"] for leaf in receipt if leaf["path"].split("/")[0] == kind)
        expected = bill["tokens"][kind] * found["per_million"][kind]["value"] / 1e6 / bill["usd"]
        assert owed == pytest.approx(expected, rel=1e-9, abs=1e-12)
    assert len({leaf["path"] for leaf in receipt}) == len(receipt)
    assert {leaf["bound"] for leaf in receipt} <= {"memory", "compute", "link", "overhead", "idle"}


@pytest.mark.parametrize("case", CASES)
def test_joules_and_grams_add_up_from_the_json_alone(case: str) -> None:
    found = answer(*CASES[case])
    energy, carbon, tokens = found["energy"], found["carbon"], found["bill"]["tokens"]
    charged = sum(tokens[kind] * energy["joules_per_token"][kind]["value"] for kind in TOKENS)
    hour = energy["joules_per_hour"]
    assert charged + hour["idle"] == pytest.approx(hour["total"], rel=1e-9)
    emitted = sum(tokens[kind] * carbon["grams_per_million"][kind]["value"] for kind in TOKENS) / 1e6
    whole = hour["total"] / 3.6e6 * carbon["grid"]["value"]
    assert emitted + carbon["idle_grams_per_hour"] == pytest.approx(whole, rel=1e-9)
    factor = energy["host"]["value"] * energy["pue"]["value"]
    for kind in TOKENS:
        bare = energy["accelerator_joules_per_token"][kind]["value"]
        assert energy["joules_per_token"][kind]["value"] == pytest.approx(bare * factor, rel=1e-12)


def test_idle_shows_under_usage_and_is_spread_under_allocation() -> None:
    usage, spread = answer(*CASES["idle"]), answer(*CASES["idle spread"], "--rate", "rent:2.50")
    assert usage["bill"]["idle_usd"] == pytest.approx(0.75 * usage["bill"]["usd"], rel=1e-9)
    assert spread["bill"]["idle_usd"] == 0.0
    for kind in ("input", "output"):
        both = [found["per_million"][kind]["value"] for found in (spread, usage)]
        assert both[0] == pytest.approx(4 * both[1], rel=1e-9)


def test_rates_of_tokens_follow_from_the_bill() -> None:
    found = answer(*CASES["cached"])
    tokens, seconds = found["bill"]["tokens"], found["bill"]["period_s"]
    assert found["serving"]["output_tok_per_s"] == pytest.approx(tokens["output"] / seconds, rel=1e-9)
    assert found["serving"]["input_tok_per_s"] == pytest.approx(
        (tokens["input"] + tokens["cached"]) / seconds, rel=1e-9
    )
    assert tokens["cached"] == pytest.approx(0.6 * (tokens["input"] + tokens["cached"]), rel=1e-9)


def test_without_a_rent_seconds_are_answered_and_dollars_refused() -> None:
    result = run("price", "llama-3.1-8b", "--on", "1xgh200-96gb", "--json")
    assert result.code == 0
    found = result.json()
    assert [found[key] for key in ("per_million", "per_request", "per_month", "rate", "cached_increment")] == [None] * 5
    assert [found["bill"][key] for key in ("usd", "idle_usd")] == [None, None]
    assert "gh200-96gb" in found["usd_missing"] and "--rate rent:PRICE" in found["usd_missing"]
    assert (
        found["accelerator_s_per_million"]["output"]["value"] > found["accelerator_s_per_million"]["input"]["value"] > 0
    )
    tokens = found["bill"]["tokens"]
    spent = sum(tokens[kind] * found["accelerator_s_per_million"][kind]["value"] / 1e6 for kind in TOKENS)
    assert spent == pytest.approx(found["bill"]["accelerator_s"], rel=1e-9)
    text = run("price", "llama-3.1-8b", "--on", "1xgh200-96gb").out
    assert "no rent of gh200-96gb" in text and "$" not in text.replace("$/", "")
    flat = next(csv.DictReader(io.StringIO(run("price", "llama-3.1-8b", "--on", "1xgh200-96gb", "--csv").out)))
    assert flat["output_usd_per_million"] == flat["usd_per_month"] == ""
    assert float(flat["ttft_s"]) > 0


def test_unknown_is_null_not_nan() -> None:
    slow = ("price", "llama-3.1-8b", "--on", "1xh100-sxm", "--concurrency", "4", "--tpot", "1us", "--json")
    found = run(*slow).json()
    assert found["serving"]["load"] is None
    assert found["serving"]["goals_met"] is False


def test_a_comparison_lists_cases_in_the_order_asked_for() -> None:
    result = run(
        "price", "llama-3.1-8b", "llama-3.2-3b", "--on", "1xh100-sxm", "--on", "1xl40s", "--input", "999", "--output", "99",
        "--json",
    )  # fmt: skip
    found = result.json()
    assert set(found) == {"cases"}
    machines = [(case["model"]["name"], case["machine"]["accelerator"]) for case in found["cases"]]
    assert machines == list(itertools.product(("llama-3.1-8b", "llama-3.2-3b"), ("h100-sxm", "l40s")))
    assert all(set(case) == TOP for case in found["cases"])


def test_csv_holds_the_figures_of_the_json() -> None:
    arguments = ("price", "llama-3.1-8b", "--on", "1xh100-sxm", "--on", "2xh100-sxm")
    rows = list(csv.DictReader(io.StringIO(run(*arguments, "--csv").out)))
    cases = run(*arguments, "--json").json()["cases"]
    assert len(rows) == len(cases) == 2
    for row, case in zip(rows, cases, strict=True):
        assert float(row["output_usd_per_million"]) == case["per_million"]["output"]["value"]
        assert float(row["input_low"]) == case["per_million"]["input"]["low"]
        assert row["on"] == case["scenario"]["on"]


@pytest.mark.parametrize(("name", "total", "active"), [
    ("llama-3.1-8b", 8_030_261_248, 8_030_261_248),
    ("llama-3.1-70b", 70_553_706_496, 70_553_706_496),
    ("mixtral-8x7b", 46_702_792_704, 12_879_925_248),
])  # fmt: skip
def test_show_model_counts(name: str, total: int, active: int) -> None:
    found = run("show", "model", name, "--json").json()
    assert (found["parameters"], found["active_parameters"]) == (total, active)
    assert sum(block["count"] for block in found["blocks"]) == found["layers"]


@pytest.mark.parametrize("kind", ["models", "accelerators", "engines", "rates", "traces"])
def test_list_in_both_forms(kind: str) -> None:
    rows = run("list", kind, "--json").json()
    lines = run("list", kind).out.splitlines()
    assert len(lines) == len(rows) + 1
    assert all(
        str(row["accelerator" if kind == "rates" else "name"]) in line
        for row, line in zip(rows, lines[1:], strict=True)
    )


def test_show_keeps_sources() -> None:
    found = run("show", "accelerator", "h100", "--json").json()
    sourced = [
        found["memory"],
        found["bandwidth"],
        found["board_power"],
        *found["flops"].values(),
        found["link"]["domain"],
    ]
    assert all(entry["source"]["title"] and entry["source"]["read"] and entry["unit"] for entry in sourced)
    engine: Result = run("show", "engine", "vllm", "--json")
    assert engine.json()["host_step"]["source"]["title"]
