"""Files to save: in each form, with safe names, and with nothing in them that a program would run."""

from __future__ import annotations

import csv
import io
import json
import tomllib
from xml.etree import ElementTree

import pytest

from pertoken.catalog import files
from pertoken.report.svg import described
from pertoken.web.exports import FORMS, KINDS

HOSTILE = '=HYPERLINK("x") <script>alert(1)</script> & "\''


def save(client, what, form, knobs, **more):
    return client.post("/api/export", json={"knobs": knobs, "what": what, "form": form, **more})


def options(what, form):
    if what == "simulate":
        return {"options": {"requests": 200}}
    if what == "answers" and form in ("svg", "png"):
        return {"options": {"question": "4"}}
    return {"chart": "roofline"} if what == "chart" else {}


@pytest.mark.parametrize(("what", "form"), [(what, form) for what, forms in FORMS.items() for form in forms])
def test_every_file_is_what_its_name_says(client, knobs, what, form):
    if what == "tariff":
        knobs = {"model": knobs["model"], "on": knobs["on"], "trace": "azure-2023-code"}
    found = save(client, what, form, knobs, **options(what, form))
    assert found.status_code == 200, found.text[:300]
    assert found.headers["content-type"] == KINDS[form]
    name = "roofline" if what == "chart" else what
    assert found.headers["content-disposition"] == f'attachment; filename="pertoken-{name}.{form}"'
    if form == "json":
        json.loads(found.text)
    elif form == "csv":
        assert len({len(row) for row in csv.reader(io.StringIO(found.text))}) == 1
    elif form == "png":
        assert found.content.startswith(b"\x89PNG")
    elif form == "svg":
        ElementTree.fromstring(found.text)
    elif form == "toml":
        assert tomllib.loads(found.text)["model"] == knobs["model"]
    else:
        assert len(found.text) > 100


@pytest.mark.parametrize(
    ("what", "form", "said"), [("nope", "csv", "use one of"), ("price", "svg", "is saved as json"),
                                                   ("price", "../x", "is saved as"), ("chart", "exe", "is saved as")],
)  # fmt: skip
def test_other_files_are_refused(client, knobs, what, form, said):
    found = save(client, what, form, knobs, chart="roofline")
    assert found.status_code == 400 and said in found.json()["error"]


@pytest.mark.parametrize("chart", ["nope", "../../x", 'x"; filename="y', "", 3, None])
def test_a_chart_has_a_name_of_ours(client, knobs, chart):
    found = save(client, "chart", "csv", knobs, chart=chart)
    assert found.status_code == 400 and "content-disposition" not in found.headers


@pytest.mark.parametrize("what", ["explain", "curve", "answers", "chart", "market", "tariff", "simulate"])
def test_a_drawing_has_a_title_and_a_description(client, knobs, what):
    if what == "tariff":
        knobs = {"model": knobs["model"], "on": knobs["on"], "trace": "azure-2023-code"}
    root = ElementTree.fromstring(save(client, what, "svg", knobs, **options(what, "svg")).text)
    first = [child.tag.rpartition("}")[2] for child in root][:2]
    assert first == ["title", "desc"] and all(len(child.text) > 3 for child in root[:2])


def test_what_a_drawing_says_is_escaped():
    made = described("<svg a='1'><g/></svg>", {"title": {"text": HOSTILE}, "description": HOSTILE})
    root = ElementTree.fromstring(made)
    assert [child.text for child in root[:2]] == [HOSTILE, HOSTILE]


@pytest.fixture
def hostile(client):
    """A model whose file's name would be a formula and a script."""
    config = json.dumps(files.entry("models", "llama-3.1-8b")["config"])
    sent = {"content-type": "application/json"}
    return client.post("/api/upload", params={"name": HOSTILE}, content=config, headers=sent).json()["upload"]


@pytest.mark.parametrize("form", ["csv", "html", "md", "json", "txt"])
def test_a_hostile_name_does_nothing(client, knobs, hostile, form):
    found = save(client, "price", form, {**knobs, "model": hostile})
    assert found.status_code == 200 and "<script" not in found.text
    if form == "csv":
        for row in csv.reader(io.StringIO(found.text)):
            assert not [cell for cell in row if cell[:1] in "=@\t\r" or (cell[:1] in "+-" and not cell[1:2].isdigit())]


def test_a_hostile_text_is_escaped_in_a_page_and_in_cells(client, knobs):
    case = {**knobs, "input": "uniform:10-20<b>"}
    assert "<b>" in save(client, "price", "html", case).json()["error"], "as JSON, which no browser takes for a page"
    currency = save(client, "price", "html", {**knobs, "currency": "<B>=0.92"})
    assert currency.status_code == 400 and currency.headers["content-type"] == "application/json"


def test_cells_that_would_be_formulas_are_texts():
    from pertoken.report.document import safe_cell
    from pertoken.web.exports import _csv

    assert all(safe_cell(start + "1").startswith("'") for start in "=+-@\t\r")
    made = list(csv.reader(io.StringIO(_csv({"dots": [{"=head": "=1+1", "y": -1.5, "z": None}]}))))
    assert made == [["dataset", "'=head", "y", "z"], ["dots", "'=1+1", "-1.5", ""]]
