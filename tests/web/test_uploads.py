"""Uploads are streamed, limited, read as what they are, and kept for a while under a name that is no path."""

from __future__ import annotations

import asyncio
import json
import re

import pytest

from pertoken.catalog import files
from pertoken.web import uploads
from pertoken.web.guard import MOST_UPLOAD
from pertoken.web.uploads import MOST_FILES, Shelf, safe_name

CSV = {"content-type": "text/csv"}
JSON = {"content-type": "application/json"}
LINES = {"content-type": "application/x-ndjson"}
CONFIG = files.entry("models", "llama-3.1-8b")["config"]


def put(client, content, headers=CSV, name=""):
    return client.post("/api/upload", params={"name": name} if name else {}, content=content, headers=headers)


def test_a_trace_is_priced(client, knobs):
    found = put(client, "input,output\n1000,100\n3000,300\n", name="mine.csv").json()
    assert re.fullmatch(r"upload:[0-9a-f]{32}", found["upload"]) and (found["kind"], found["rows"]) == ("trace", 2)
    case = {"model": knobs["model"], "on": knobs["on"], "trace": found["upload"]}
    answer = client.post("/api/price", json={"knobs": case}).json()
    assert answer["lengths"] == "trace mine.csv, 2 requests" and answer["scenario"]["trace"] == found["upload"]
    same = client.post("/api/price", json={"knobs": {**knobs, "input": 2000, "output": 200}}).json()
    assert answer["per_million"]["input"]["value"] == pytest.approx(same["per_million"]["input"]["value"], rel=0.2)


def test_lines_of_json_are_a_trace(client):
    found = put(client, '{"input": 10, "output": 3}\n{"input": 20, "output": 4}\n', LINES).json()
    assert (found["kind"], found["rows"]) == ("trace", 2)


def test_tokens_by_day_are_usage(client, knobs):
    found = put(client, "date,input,output\n2026-11-01,1000000,0\n2026-11-02,2000000,400000\n", name="days.csv").json()
    assert (found["kind"], found["rows"]) == ("usage", 2)
    asked = {"knobs": knobs, "options": {"usage": found["upload"], "offer": "together/openai/gpt-oss-120b"}}
    assert client.post("/api/market", json=asked).status_code in (200, 400)


def test_a_model_is_priced_as_the_catalog_s_with_the_same_shapes(client, knobs):
    found = put(client, json.dumps(CONFIG), JSON, "my model.json").json()
    assert found["kind"] == "model" and found["name"] == "my-model" and "8,030,261,248" in found["summary"]
    mine = client.post("/api/price", json={"knobs": {**knobs, "model": found["upload"]}}).json()
    known = client.post("/api/price", json={"knobs": knobs}).json()
    assert mine["per_million"] == known["per_million"] and mine["model"]["name"] == "my-model"
    assert str(uploads.Path.home()) not in json.dumps(mine) and "/tmp" not in json.dumps(mine)


@pytest.mark.parametrize("path", ["simulate", "curve", "explain", "answers", "export"])
def test_uploads_go_everywhere(client, knobs, path):
    config = put(client, json.dumps(CONFIG), JSON).json()["upload"]
    body = {"knobs": {**knobs, "model": config}}
    if path == "simulate":
        body["options"] = {"requests": 50}
    if path == "export":
        body |= {"what": "price", "form": "toml"}
    found = client.post(f"/api/{path}", json=body)
    assert found.status_code == 200 and '"error"' not in found.text


def nested(depth):
    return '{"a":' * depth + "1" + "}" * depth


HOSTILE = [
    (json.dumps({**CONFIG, "hidden_size": 10**300}), JSON),
    (json.dumps({**CONFIG, "num_hidden_layers": -1}), JSON),
    (json.dumps({**CONFIG, "num_hidden_layers": 10**9}), JSON),
    (json.dumps({**CONFIG, "num_attention_heads": 0}), JSON),
    (json.dumps({**CONFIG, "vocab_size": "\u202e\x00<script>"}), JSON),
    (json.dumps({**CONFIG, "model_type": ["llama"], "architectures": {"x": 1}}), JSON),
    (json.dumps(CONFIG).replace("4096", "NaN"), JSON),
    (json.dumps(CONFIG).replace("4096", "1e999"), JSON),
    (json.dumps(CONFIG).replace("4096", "9" * 5000), JSON),
    (nested(100_000), JSON), ("[" * 1_000_000, JSON), ("[1, 2]", JSON), ("", JSON), ("nul", JSON), ("\x00" * 100, JSON),
    (b"\xff\xfe\x00", JSON),
    ("", CSV), ("input,output\n", CSV), ("a,b\n1,2\n", CSV), ("input,output\n1\n", CSV), ("input,output\n-5,1\n", CSV),
    ("input,output\nnan,inf\n", CSV), ("input,output\n=1+1,@SUM(A1)\n", CSV), ("input,output\n1e300,1\n", CSV),
    ("input,output\n" + "9" * 200_000 + ",1\n", CSV), ('input,output\n"1,2\n', CSV), ("\x00" * 1000, CSV),
    (b"\xff\xfe\x00\x01", CSV), ("<script>alert(1)</script>,output\n1,1\n", CSV),
    ("input,output\n" + "1,1\n" * 10 + "x,y\n", CSV),
    (nested(100_000) + "\n", LINES), ("[]\n", LINES), ('{"input": 1}\n', LINES), ('{"input": 1e999, "output": 1}\n', LINES),
    ('{"input": 5, "output": 5, "hash_ids": [1e9, "x"]}\n', LINES),
]  # fmt: skip


@pytest.mark.parametrize(("content", "headers"), HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_content_is_a_sentence(client, content, headers):
    found = put(client, content, headers, "../../<b>x</b>.csv")
    assert found.status_code in (400, 422), found.text[:300]
    sentence = found.json()["error"]
    assert 10 < len(sentence) < 1000 and sentence.isprintable() and "Traceback" not in sentence
    assert not re.search(r"/tmp|pertoken-page", sentence)


def test_what_was_refused_is_not_kept(client):
    desk = client.app.app.state.desk
    before = set(desk.folder.iterdir())
    put(client, "a,b\n1,2\n")
    assert set(desk.folder.iterdir()) == before


def test_a_long_upload_is_refused_while_it_comes(client):
    taken = []

    def pieces():
        for _ in range(1000):
            taken.append(1)
            yield b"1,1\n" * 25_000

    assert put(client, pieces()).status_code == 413
    desk = client.app.app.state.desk
    assert not [p for place in desk.folder.iterdir() for p in place.iterdir() if p.stat().st_size > MOST_UPLOAD]
    found = client.post("/api/upload", content=b"x", headers={**CSV, "content-length": str(MOST_UPLOAD + 1)})
    assert found.status_code == 413


def test_a_large_trace_is_read(client):
    found = put(client, b"input,output\n" + b"1200,150\n" * 500_000).json()
    assert found["rows"] == 500_000


@pytest.mark.parametrize(
    ("said", "kept"),
    [("mine.csv", "mine"), ("../../etc/passwd", "etc-passwd"), ("<img src=x>.json", "img-src-x"), ("", "uploaded"),
     ("config.json", "uploaded"), ("=1+1.csv", "1-1"), ("a" * 500, "a" * 60), ("\x00\n", "uploaded"), (".ssh", "ssh")],
)  # fmt: skip
def test_names_of_files_are_letters_and_digits(said, kept):
    assert safe_name(said) == kept


def test_the_oldest_goes_when_there_are_many(tmp_path):
    shelf = Shelf(tmp_path)

    async def body():
        yield b"x"

    keys = [asyncio.run(shelf.keep(body(), "text/csv", "")) for _ in range(MOST_FILES + 3)]
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(keys[3:])
    shelf.since[keys[-1]] -= uploads.LIFE_S + 1
    shelf.tidy()
    assert not (tmp_path / keys[-1]).exists() and len(shelf.since) == MOST_FILES - 1


def test_one_that_breaks_off_leaves_nothing(tmp_path):
    async def body():
        yield b"input,"
        raise ConnectionError

    with pytest.raises(ConnectionError):
        asyncio.run(Shelf(tmp_path).keep(body(), "text/csv", ""))
    assert list(tmp_path.iterdir()) == []


def test_one_that_is_gone_says_so(client, knobs):
    found = client.post("/api/price", json={"knobs": {**knobs, "model": "upload:" + "ab" * 16}})
    assert found.status_code == 400 and "upload the file again" in found.json()["error"]


def test_an_upload_is_of_its_kind(client, knobs):
    config = put(client, json.dumps(CONFIG), JSON).json()["upload"]
    trace = put(client, "input,output\n10,10\n").json()["upload"]
    for knob, value in (("trace", config), ("model", trace), ("on", config), ("engine", trace), ("efficiency", trace)):
        case = {"model": knobs["model"], "on": knobs["on"], knob: value}
        found = client.post("/api/price", json={"knobs": case})
        assert found.status_code == 400 and found.json()["error"].isprintable(), knob
