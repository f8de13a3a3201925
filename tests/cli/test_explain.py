"""``pertoken explain`` and ``--what-if`` as users meet them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.tool import refused, run

SMALL = ("llama-3.1-8b", "--on", "1xh100-sxm", "--input", "512", "--output", "64", "--concurrency", "4")


def test_json_adds_up_and_depth_cuts_it() -> None:
    found = run("explain", *SMALL, "--json").json()

    def check(node: dict) -> int:
        below = node.get("children", [])
        if below:
            assert sum(c["value"] for c in below) == pytest.approx(node["value"], rel=1e-9)
            assert sum(c["usd"] for c in below) == pytest.approx(node["usd"], rel=1e-9)
        else:
            assert node["formula"] and node["source"] and node["unit"] == "accelerator-s"
        return 1 + max((check(c) for c in below), default=0)

    assert check(found["tree"]) == 5
    cut = run("explain", *SMALL, "--json", "--depth", "1").json()["tree"]
    assert cut["value"] == found["tree"]["value"]
    assert all("children" not in child for child in cut["children"])


def test_what_if_in_json_has_bounds_before_and_after() -> None:
    found = run("price", *SMALL, "--what-if", "all", "--json").json()["what_if"]
    assert len(found) == 15
    for item in found:
        assert item["applies"] == ("reason" not in item)
        if item["applies"]:
            assert (
                {"before", "after"}
                == set(item["limit"])
                == set(item["binds"]["input"])
                == set(item["per_million_and_request"])
            )
    both = run("price", *SMALL, "--on", "1xl40s", "--what-if", "kv-fp8", "--json").json()["cases"]
    assert [case["what_if"][0]["name"] for case in both] == ["kv-fp8", "kv-fp8"]
    assert "what_if" not in run("price", *SMALL, "--json").json()


def test_files_by_suffix(tmp_path: Path) -> None:
    for suffix, holds in (
        (".txt", "request"),
        (".md", "```text"),
        (".html", "<pre>"),
        (".json", '"tree"'),
        (".bib", "@article{"),
    ):
        path = tmp_path / f"why{suffix}"
        result = run("explain", *SMALL, "-o", str(path))
        assert (result.code, result.err) == (0, f"wrote {path}\n")
        assert holds in path.read_text(encoding="utf-8")
    path = tmp_path / "what.html"
    assert run("price", *SMALL, "--what-if", "no-gqa", "-o", str(path)).code == 0
    assert "no-gqa" in path.read_text(encoding="utf-8")
    path = tmp_path / "refs.bib"
    printed = run("explain", *SMALL, "--cite", "-o", str(path))
    assert printed.out == path.read_text(encoding="utf-8")
    assert {r["key"] for r in json.loads(run("explain", *SMALL, "--cite", "--json").out)} >= {"williams2009"}


def test_pictures(tmp_path: Path) -> None:
    pytest.importorskip("altair")
    pytest.importorskip("vl_convert")
    for chart in ("roofline", "receipt"):
        path = tmp_path / f"{chart}.svg"
        result = run("explain", *SMALL, "--on", "1xl40s", "--on", "1xh200-sxm", "--chart", chart, "-o", str(path))
        assert (result.code, result.out) == (0, ""), result.err
        assert "1xl40s" in path.read_text() or "l40s" in path.read_text()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--what-if", "no-cache"), "did you mean no-kv-cache"),
        (("--what-if", "all"), "one at a time"),
        (("--what-if", "no-gqa", "--on", "1xl40s"), "leave one out"),
        (("--what-if", "prefix-cache:0"), "as it is"),
        (("--on", "1xl40s", "--on", "1xl4"), "explain shows one, or the difference of two"),
        (("--depth", "9"), "--depth"),
        (("--chart", "receipt"), "-o FILE.png"),
        (("--chart", "pie", "-o", "x.png"), "--chart"),
        (("-o", "why.xlsx"), "no known form"),
        (("-o", "/nowhere/why.txt"), "cannot be written"),
        (("--cite", "-o", "refs.png"), ".bib"),
        (("--overlap", "micro-batches"), "--ep"),
        (("--overlap", "yes"), "micro-batches"),
    ],
)
def test_bad_input_is_a_sentence(arguments: tuple[str, ...], says: str) -> None:
    assert says in refused("explain", *SMALL, *arguments)


def test_price_refuses_unknown_counterfactuals_before_the_work() -> None:
    assert "did you mean speculative" in refused("price", *SMALL, "--what-if", "speculativ")
    assert "no model was given" in refused("explain")
