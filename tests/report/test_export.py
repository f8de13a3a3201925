"""Files asked for with -o: every form, whole or not at all, and scenarios that give the same answer again."""

from __future__ import annotations

import csv
import html
import io
import json
import os
import tomllib
from pathlib import Path

import pytest

from pertoken.errors import PertokenError
from pertoken.report import document, export
from tests.cli.tool import refused, run

ONE = ("price", "llama-3.1-8b", "--on", "1xh100-sxm", "--input", "999", "--output", "99")
TWO = (*ONE, "--concurrency", "4", "--concurrency", "64")
SUFFIXES = (".json", ".csv", ".md", ".html", ".txt", ".toml")


def test_all_forms_are_tested() -> None:
    assert set(export.FORMS) == set(SUFFIXES)


@pytest.mark.parametrize("arguments", [ONE, TWO], ids=["one", "two"])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_each_form_holds_the_answer(tmp_path: Path, suffix: str, arguments: tuple[str, ...]) -> None:
    path = tmp_path / f"answer{suffix}"
    result = run(*arguments, "-o", str(path))
    assert (result.code, result.err) == (0, f"wrote {path}\n")
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    content = path.read_text(encoding="utf-8")
    if suffix == ".json":
        assert content == run(*arguments, "--json").out
    elif suffix == ".csv":
        assert content == run(*arguments, "--csv").out
    elif suffix == ".toml":
        assert "llama-3.1-8b" in json.dumps(tomllib.loads(content))
    else:
        assert result.out in html.unescape(content)
        assert (suffix == ".html") == content.startswith("<!doctype html>")


@pytest.mark.parametrize("arguments", [
    ONE,
    TWO,
    ("price", "llama-3.1-8b"),
    ("price", "llama-3.1-8b", "llama-3.1-70b"),  # machines that differ and are not a grid with the models
    ("price", "llama-3.1-70b", "--on", "8xh100-sxm", "--dtype", "fp8", "--kv-dtype", "fp8", "--cached", "0.3", "--load", "0.25"),
    ("price", "llama-3.1-70b", "--on", "8xb200-sxm", "--tp", "2", "--pp", "2", "--dp", "2", "--network", "100GB/s"),
    ("price", "llama-3.1-70b", "--on", "h200-sxm", "--engine", "sglang", "--token-budget", "4k", "--max-sequences", "64"),
    ("price", "mixtral-8x7b", "--on", "4xh100-sxm", "--ep", "4", "--rps", "2", "--ttft", "3s", "--basis", "allocation"),
    ("price", "gemma-3-1b", "--on", "l4", "--trace", "azure-2023-code", "--rate", "power:0.3", "--utilisation", "0.123456789"),
    ("price", "gemma-3-1b", "--on", "1xl4", "--input", "p50=1020,p90=2734", "--output", "uniform:8-90", "--on", "1xt4"),
], ids=lambda arguments: "_".join(arguments[1:4]))  # fmt: skip
def test_a_scenario_read_back_gives_the_same_figures(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    path = tmp_path / "again.toml"
    first = run(*arguments, "--json", "-o", str(path))
    again = run("price", "--scenario", str(path), "--json")
    assert (first.code, again.code) == (0, 0), first.err + again.err
    pairs = [result.json().get("cases", [result.json()]) for result in (first, again)]
    assert len(pairs[0]) == len(pairs[1])
    for one, two in zip(*pairs, strict=True):
        for found in (one, two):  # a machine that was chosen is a given one on the way back
            found["assumed"] = [
                s for s in found["assumed"] if not s.startswith("machine ") and "the fewest that serve" not in s
            ]
        assert one == two


def test_options_come_before_a_scenario(tmp_path: Path) -> None:
    path = tmp_path / "again.toml"
    run(*TWO, "-o", str(path))
    found = run("price", "--scenario", str(path), "--dtype", "fp8", "--json").json()["cases"]
    assert [case["model"]["weights"] for case in found] == ["fp8", "fp8"]
    assert [case["serving"]["concurrency"] for case in found] == [4, 64]


def test_a_users_own_files_come_back(tmp_path: Path) -> None:
    folder = tmp_path / 'a "quoted" \\ folder é'
    folder.mkdir()
    trace = folder / "trace.csv"
    trace.write_text("input,output\n500,60\n", encoding="utf-8")
    path = tmp_path / "again.toml"
    first = run("price", "llama-3.1-8b", "--on", "1xh100", "--trace", str(trace), "--json", "-o", str(path))
    assert run("price", "--scenario", str(path), "--json").json()["per_million"] == first.json()["per_million"]


def test_unknown_suffix_is_refused_before_any_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_work(**knobs: object) -> None:
        raise AssertionError("priced first")

    monkeypatch.setattr("pertoken.scenario.price", no_work)
    for name in ("x.pdf", "x", ".json", "x.json.gz", "none/x.json"):
        refused(*ONE, "-o", str(tmp_path / name))
    assert list(tmp_path.iterdir()) == []


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "answer.json"
    path.write_text("old", encoding="utf-8")

    def full(source: object, target: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(PertokenError, match="No space left on device"):
        export.write_whole(path, "new")
    assert [(file.name, file.read_text(encoding="utf-8")) for file in tmp_path.iterdir()] == [("answer.json", "old")]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_leave_to_write(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    result = run(*ONE, "-o", str(tmp_path / "x.json"))
    tmp_path.chmod(0o700)
    assert result.code == 2 and list(tmp_path.iterdir()) == []


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "x.json").mkdir()
    refused(*ONE, "-o", str(tmp_path / "x.json"))
    assert list((tmp_path / "x.json").iterdir()) == []


def test_an_existing_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "answer.json"
    path.write_text("x" * 1_000_000, encoding="utf-8")
    assert run(*ONE, "-o", str(path)).code == 0
    assert json.loads(path.read_text(encoding="utf-8"))["bill"]["usd"] > 0


@pytest.mark.parametrize("value", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"])
def test_no_cell_is_a_formula(value: str) -> None:
    assert document.safe_cell(value) == "'" + value


def test_figures_are_no_text_in_csv() -> None:
    assert document.safe_cell(-1.5) == "-1.5"
    assert document.safe_cell(float("nan")) == document.safe_cell(float("inf")) == ""


def test_a_models_name_cannot_be_a_formula_or_break_a_row(tmp_path: Path) -> None:
    name = '=cmd|" ,calc'
    (tmp_path / f"{name}.json").write_text(json.dumps({
        "model_type": "llama", "hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 8, "vocab_size": 32000,
        "num_attention_heads": 8, "num_key_value_heads": 8, "max_position_embeddings": 32768, "torch_dtype": "bfloat16",
    }), encoding="utf-8")  # fmt: skip
    result = run("price", str(tmp_path / f"{name}.json"), "--on", "1xh100-sxm", "--csv")
    assert [row["model"] for row in csv.DictReader(io.StringIO(result.out))] == ["'" + name]


@pytest.mark.parametrize("value", ["plain", 'a "b" \\ c', "tab\tnew\nline\x7f\x00", "é模", 3, 2.5, 1e-9, 1e22])
def test_toml_values_read_back(value: object) -> None:
    assert tomllib.loads(f"x = {export.toml_value(value)}")["x"] == value
