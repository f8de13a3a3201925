"""``pertoken answers``: one case, nine questions, and every form says the same."""

from __future__ import annotations

import json

import pytest

from pertoken.answers import page
from tests.cli.tool import refuse, refused, run

JOB = ("answers", "llama-3.1-8b", "--on", "1xh100-sxm", "--concurrency", "8", "--rate", "rent:2.50")


def test_without_a_model_it_is_the_usual_case() -> None:
    usual = run("answers", "--question", "6", "--json").json()
    named = run("answers", "llama-3.1-70b", "--on", "8xh100-sxm", "--dtype", "fp8", "--question", "6", "--json").json()
    assert usual == named
    other = run("answers", "--on", "8xh200-sxm", "--question", "6", "--json").json()
    assert (other["scenario"]["on"], other["scenario"]["dtype"]) == ("8xh200-sxm", "fp8")


def test_the_command_of_an_answer_gives_it_again() -> None:
    found = run(*JOB, "--question", "4", "--json").json()["answers"][0]
    again = run(*found["command"].split()[1:], "--json").json()["answers"][0]
    assert found == again
    assert run(*found["deeper"].split()[1:]).code == 0


@pytest.mark.parametrize("number", range(1, 10))
def test_the_deeper_command_runs(number: int, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    deeper = run(*JOB, "--question", str(number), "--json").json()["answers"][0]["deeper"]
    assert deeper.startswith("pertoken ") and run(*deeper.split()[1:]).code == 0, deeper


def test_all_nine_fit_a_terminal() -> None:
    lines = run(*JOB).out.splitlines()
    heads = [i for i, line in enumerate(lines) if line[:1].isdigit() and line[1:3] == ". "]
    assert [lines[i][0] for i in heads] == list("123456789")
    assert max(b - a for a, b in zip(heads, [*heads[1:], len(lines)], strict=True)) <= 50
    assert max(map(len, (line for line in lines if not line.startswith("  $ ")))) <= 100


@pytest.mark.parametrize("suffix", [".json", ".md", ".html", ".txt"])
def test_files_say_the_same(suffix: str, tmp_path) -> None:
    path = tmp_path / f"a{suffix}"
    found = run(*JOB, "--question", "1,5", "--json", "-o", str(path)).json()
    text = path.read_text(encoding="utf-8")
    if suffix == ".json":
        assert json.loads(text, parse_constant=refuse) == found
    for answer in found["answers"]:
        assert " ".join(answer["text"].split())[:40].split("'")[0] in " ".join(text.split())
    assert list(tmp_path.iterdir()) == [path], "nothing else is left behind"


@pytest.mark.parametrize("number", [1, 2, 3, 4, 5, 8, 9])
def test_a_chart_is_drawn_of_the_answers_that_have_one(number: int, tmp_path) -> None:
    path = tmp_path / "a.svg"
    assert run(*JOB, "--question", str(number), "-o", str(path)).code == 0
    assert path.read_text(encoding="utf-8").startswith("<svg")


def test_a_page_holds_charts() -> None:
    from tests.answers.cases import answers, cost

    assert page.as_html(cost("70b"), answers("70b")).count("<svg") == 7


@pytest.mark.parametrize(
    ("more", "wanted"),
    [
        (("--question", "12"), "--question is '12'"),
        (("--on", "2xh100-sxm"), "answers are of one"),
        (("--question", "6", "-o", "x.png"), "has no chart here"),
        (("-o", "x.png"), "9 questions were asked"),
        (("-o", "x.xls"), "no known form"),
        (("-o", "nowhere/x.md"), "no such folder"),
        (("--output", "0"), "--output"),
    ],
)
def test_what_cannot_be_is_refused_with_a_sentence(more: tuple[str, ...], wanted: str, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert wanted in refused(*JOB, *more)
    assert not list(tmp_path.iterdir())


def test_a_scenario_is_read(tmp_path) -> None:
    path = tmp_path / "case.toml"
    path.write_text(
        'model = "llama-3.1-8b"\non = "1xh100-sxm"\nconcurrency = 8\nrate = "rent:2.50"\n', encoding="utf-8"
    )
    assert run("answers", "--scenario", str(path), "--question", "9").out == run(*JOB, "--question", "9").out


def test_the_owners_own_price_of_electricity_is_used() -> None:
    knobs = ("--on", "1xrtx-4090", "--dtype", "q4_k_m", "--engine", "llamacpp", "--concurrency", "1")
    found = run("answers", "llama-3.1-8b", *knobs, "--rate", "own:1600,power=0.30", "--question", "7", "--json").json()
    assert found["answers"][0]["figures"]["electricity"]["value"] == pytest.approx(0.30)
    assert "(as given)" in found["answers"][0]["text"]
