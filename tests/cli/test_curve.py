"""``pertoken curve``: text, JSON, CSV and files agree, comparisons compare, and bad positions get a sentence."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest

import pertoken as pt
from tests.cli.tool import refused, run

JOB = ("curve", "llama-3.1-8b", "--on", "1xh100-sxm", "--input", "2000", "--output", "300", "--rate", "rent:2.50")
KNOBS = {"on": "1xh100-sxm", "input": 2000, "output": 300, "rate": "rent:2.50"}


def test_the_usual_positions_end_at_the_limit() -> None:
    found = run(*JOB, "--json").json()
    assert [row["position"] for row in found["input"]] == [1, 11, 100, 1000, 10_001, 100_000, 131_072]
    assert found["output"][-1]["position"] == 131_072 - 2000
    assert found["context_limit"] == 131_072 and found["output_after"] == 2000


def test_figures_are_those_of_cost_at() -> None:
    cost = pt.price("llama-3.1-8b", **KNOBS)
    found = run(*JOB, "--positions", "11,10001", "--json").json()
    for token, more in (("input", {}), ("output", {"input": 2000})):
        for row in found[token]:
            at = cost.at(**{token: row["position"]}, **more).per_million
            assert row["value"] == pytest.approx(at.value, rel=1e-12)
            assert sum(row["parts"].values()) == pytest.approx(row["value"], rel=1e-12)
            assert row["low"] < row["value"] < row["high"]
    assert found["flat"]["input"] == pytest.approx(cost.per_million.input.value)


def test_means_and_flat_price_are_what_they_say() -> None:
    cost = pt.price("llama-3.1-8b", **KNOBS)
    found = run(*JOB, "--positions", "1,1000,30k", "--json").json()
    values = cost.at(input=range(1, 30_001)).per_million.value
    for row in found["input"]:
        assert row["mean"] == pytest.approx(values[: row["position"]].mean(), rel=1e-6)
        assert row["over_flat"] == pytest.approx(row["mean"] / found["flat"]["input"] - 1.0)
    off = found["off_flat"]["input"]
    long = cost.at(input=range(1, off["above_from"] + 1)).per_million.value.mean()
    assert long / found["flat"]["input"] == pytest.approx(1.1, rel=0.01)


def test_attention_overtakes_where_it_says() -> None:
    cost = pt.price("llama-3.1-8b", **KNOBS)
    over = run(*JOB, "--json").json()["overtakes"]
    n = over["input_attention_over_rest"]
    for position, larger in ((n - 1, False), (n, True)):
        parts = cost.at(input=position).parts
        attention = parts["attention"] + parts["kv"]
        assert (attention >= sum(parts.values()) - attention) == larger
    c = over["output_kv_over_weights"]
    for context, larger in ((c - 1, False), (c, True)):
        parts = cost.at(output=2, input=context).parts
        assert (parts["kv"] >= parts["weights"]) == larger
    assert over["input_flop"] == pytest.approx(27e3, rel=0.02)  # an 8B, by its shapes


def test_csv_has_a_line_a_position() -> None:
    rows = list(
        csv.DictReader(
            io.StringIO(run(*JOB, "--positions", "1,500", "--view", "fair", "--view", "marginal", "--csv").out)
        )
    )
    assert [(row["case"], row["token"], row["position"]) for row in rows] == [
        (f"view {view}", token, position)
        for view in ("fair", "marginal") for token in ("input", "output") for position in ("1", "500")
    ]  # fmt: skip
    parts = list(rows[0])[list(rows[0]).index("weights") :]
    for row in rows:
        assert sum(float(row[part]) for part in parts) == pytest.approx(float(row["value"]), rel=1e-12)


def test_any_option_given_twice_compares() -> None:
    found = run(*JOB, "--view", "fair", "--view", "long-run", "--who", "reader", "--who", "occupant", "--concurrency", "8",
                "--concurrency", "64", "--json").json()["cases"]  # fmt: skip
    assert len(found) == 8
    assert {(c["view"], c["who"], c["scenario"]["concurrency"]) for c in found} == {
        (v, w, n) for v in ("fair", "long-run") for w in ("reader", "occupant") for n in (8, 64)
    }
    text = run(*JOB, "--view", "fair", "--view", "alone").out
    assert "A: view fair" in text and "B: view alone" in text


@pytest.mark.parametrize("suffix", [".json", ".csv", ".txt", ".md", ".html", ".png", ".svg"])
def test_each_form_holds_the_answer(tmp_path: Path, suffix: str) -> None:
    if suffix in (".png", ".svg", ".html"):
        pytest.importorskip("vl_convert")
    path = tmp_path / f"curve{suffix}"
    result = run(*JOB, "-o", str(path))
    assert (result.code, result.err) == (0, f"wrote {path}\n")
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    content = path.read_bytes()
    if suffix == ".png":
        assert content.startswith(b"\x89PNG")
    elif suffix in (".svg", ".html"):
        assert b"<svg" in content and b"position of the input token" in content
    elif suffix in (".json", ".csv"):
        assert content.decode() == run(*JOB, f"--{suffix[1:]}").out
    else:
        assert result.out in content.decode()


@pytest.mark.parametrize("chart", ["batch", "load", "ratio"])
def test_the_other_charts_are_drawn_for_one_case_and_for_two(tmp_path: Path, chart: str) -> None:
    pytest.importorskip("vl_convert")
    for more in ((), ("--on", "1xa100-sxm-80gb")):
        path = tmp_path / "chart.svg"
        assert run(*JOB, *more, "--chart", chart, "-o", str(path)).code == 0
        assert b"<svg" in path.read_bytes()


def test_a_scenario_is_read(tmp_path: Path) -> None:
    path = tmp_path / "case.toml"
    run("price", *JOB[1:], "-o", str(path))
    assert run("curve", "--scenario", str(path), "--json").json()["input"] == run(*JOB, "--json").json()["input"]


@pytest.mark.parametrize(
    "positions", ["0", "-1", "nan", "inf", "1.5", "x", "", "1,,2", "131073", "9" * 400, "1e400", "1;2"]
)
def test_positions_that_are_none_are_refused(positions: str) -> None:
    line = refused(*JOB, "--positions", positions)
    assert "--positions" in line and "whole number" in line


@pytest.mark.parametrize("wrong", [
    ("--view", "x"), ("--who", "x"), ("--chart", "x"), ("--json", "--csv"), ("-o", "x.pdf"), ("-o", "none/x.png"),
    ("--view", "long-run", "--load", "0.5"), ("--on", "1xgh200-96gb", "--rate", "rent"),
])  # fmt: skip
def test_bad_input_is_refused(wrong: tuple[str, ...]) -> None:
    refused(*JOB[:-2] if "--rate" in wrong else JOB, *wrong)


def test_no_model_is_refused() -> None:
    assert "no model was given" in refused("curve")


def test_seconds_where_there_is_no_rent() -> None:
    job = ("curve", "llama-3.1-8b", "--on", "1xgh200-96gb", "--input", "2000", "--output", "300")
    found = run(*job, "--json").json()
    assert found["unit"] == "accelerator-s per million tokens" and found["usd_missing"]
    text = run(*job).out
    assert "$" not in text.split("assumed")[0] and "accelerator-seconds" in text


def test_traffic_of_one_output_token_has_no_later_ones() -> None:
    result = run("curve", "llama-3.1-8b", "--on", "1xh100-sxm", "--input", "500", "--output", "1", "--json")
    assert [row["position"] for row in result.json()["output"]] == [1]
    assert run("curve", "llama-3.1-8b", "--on", "1xh100-sxm", "--input", "500", "--output", "1").code == 0
