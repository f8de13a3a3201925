"""The view Answers over HTTP: nine answers, each the command's, every figure with value and unit."""

from __future__ import annotations

import re
from typing import Any

import pytest

from pertoken.web import charts
from pertoken.web.views.answers import parts

CASES = (
    {"model": "llama-3.1-70b", "on": "8xh100-sxm", "dtype": "fp8"},
    {"model": "llama-3.1-8b", "on": "h100-sxm", "concurrency": "1", "input": "500", "output": "1"},
    {"model": "deepseek-v3", "on": "8xh200-sxm", "utilisation": "0.4", "cached": 0.5},
    {"model": "llama-3.1-8b", "on": "1xgh200-96gb"},  # no rent is known
)


def ask(client: Any, knobs: dict[str, Any], **options: Any) -> dict[str, Any]:
    answer = client.post("/api/view/answers", json={"knobs": knobs, "options": options})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def text(answer: dict[str, Any]) -> str:
    return "\n\n".join(
        "".join(p if isinstance(p, str) else p["shown"] for p in parts) for parts in answer["paragraphs"]
    )


@pytest.mark.parametrize("knobs", CASES, ids=range(len(CASES)))
def test_nine_answers_are_the_command_s(client: Any, knobs: dict[str, Any]) -> None:
    found = ask(client, knobs)["answers"]
    told = client.post("/api/answers", json={"knobs": knobs, "options": {}}).json()["answers"]
    assert [a["number"] for a in found] == list(range(1, 10))
    for mine, theirs in zip(found, told, strict=True):
        assert text(mine) == theirs["text"] and mine["commands"] == [theirs["command"], theirs["deeper"]]
        assert [row[:2] for row in mine["figures"]] == [
            [name.replace("_", " "), f["shown"]] for name, f in theirs["figures"].items()
        ]
        for row, figure in zip(mine["figures"], theirs["figures"].values(), strict=True):
            assert float(row[2]) == pytest.approx(figure["value"], rel=1e-5) and row[3] == figure["unit"]
        table = [mine["table"]["head"], *mine["table"]["rows"]] if mine["table"] else []
        assert table == theirs["table"]


@pytest.mark.parametrize("knobs", CASES, ids=range(len(CASES)))
def test_every_figure_of_a_text_keeps_value_and_unit(client: Any, knobs: dict[str, Any]) -> None:
    told = client.post("/api/answers", json={"knobs": knobs, "options": {}}).json()["answers"]
    for mine, theirs in zip(ask(client, knobs)["answers"], told, strict=True):
        figures = {name.replace("_", " "): f for name, f in theirs["figures"].items()}
        marked = [p for parts in mine["paragraphs"] for p in parts if not isinstance(p, str)]
        for each in marked:
            known = figures[each["name"]]
            assert (each["shown"], each["value"], each["unit"]) == (known["shown"], known["value"], known["unit"])
        said = text(mine)
        standing = {
            f["shown"] for f in figures.values() if re.search(rf"(?<![\w.,]){re.escape(f['shown'])}(?!\w|[.,]\d)", said)
        }
        assert standing == {each["shown"] for each in marked}


def test_marks_are_of_whole_numbers_and_never_of_quotes() -> None:
    from pertoken.answers.base import Figure

    figures = [["a", Figure(10.0, "token", "10")], ["b", Figure(10.2, "$", "10")], ["c", Figure(1.0, "s", "1 s")]]
    found = list(parts("10,001 and 10 or 10, see --input 10 in 1 s", figures, ("--input 10",)))
    assert [p["name"] for p in found if isinstance(p, dict)] == ["a", "b", "c"]
    assert (
        "".join(p if isinstance(p, str) else p["shown"] for p in found) == "10,001 and 10 or 10, see --input 10 in 1 s"
    )


@pytest.mark.parametrize("knobs", CASES[:2], ids=(0, 1))
def test_charts_of_answers_are_drawn(client: Any, knobs: dict[str, Any]) -> None:
    pytest.importorskip("altair")
    drawn = 0
    for answer in ask(client, knobs)["answers"]:
        for chart in answer["charts"]:
            assert chart["name"] in charts.NAMES
            found = client.post(
                "/api/chart", json={"knobs": knobs, "chart": chart["name"], "options": chart["options"]}
            )
            assert found.status_code == 200, (chart, found.text)
            drawn += 1
    assert drawn >= 4


def test_one_question_alone(client: Any) -> None:
    (found,) = ask(client, CASES[0], question=4)["answers"]
    assert found["number"] == 4 and found == ask(client, CASES[0])["answers"][3]
    assert any(re.search(r"pertoken answers .*--question 4", line) for line in found["commands"])


@pytest.mark.parametrize("question", [0, 10, "4", True, 2.5, [4], "x" * 400])
def test_another_question_is_refused(client: Any, question: Any) -> None:
    answer = client.post("/api/view/answers", json={"knobs": CASES[0], "options": {"question": question}})
    assert answer.status_code == 400 and "from 1 to 9" in answer.json()["error"]
