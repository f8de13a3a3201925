"""The registry of charts: every chart's rows and specification name the same datasets, and hostile options are refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pertoken.errors import PertokenError
from pertoken.report import drawings
from pertoken.scenario import price

pytest.importorskip("altair")
MINE = ("roofline", "receipt", "position", "position-input", "position-output", "batch", "load", "ratio", "load-cost",
        "load-latency")  # fmt: skip
COST = price("llama-3.1-8b", on="h100-sxm", input=2048, output=256, concurrency=16)


def found(spec: Any, key: str) -> list[Any]:
    """All values of a key, however deep, data left out."""
    if isinstance(spec, dict):
        own = [spec[key]] if key in spec else []
        return [*own, *(v for name, item in spec.items() if name != "datasets" for v in found(item, key))]
    return [v for item in spec for v in found(item, key)] if isinstance(spec, list) else []


@pytest.mark.parametrize("name", MINE)
def test_a_specification_reads_exactly_the_rows_that_are_sent_after_it(name: str) -> None:
    options = {"n": [11, 10_001]}
    spec, rows = drawings.spec(name, [COST], options), drawings.rows(name, [COST], options)
    assert {data["name"] for data in found(spec, "data")} == set(rows) == set(spec["datasets"])
    assert spec["datasets"] == rows and any(rows.values())
    fields = {field for field in found(spec, "field") if isinstance(field, str)}
    kept = {key for dataset in rows.values() for row in dataset for key in row}
    assert fields <= kept, fields - kept
    json.dumps(spec, allow_nan=False)


@pytest.mark.parametrize("name", MINE)
def test_a_chart_is_told_in_words_and_leaves_black_and_white_to_its_page(name: str) -> None:
    spec = drawings.spec(name, [COST])
    assert spec["description"].endswith(".") and any(letter.isdigit() for letter in spec["description"])
    assert spec["title"]["text"]
    colours = {str(c).lower() for key in ("color", "stroke", "fill") for c in found(spec, key) if isinstance(c, str)}
    assert not colours & {"black", "white", "#000", "#fff", "#000000", "#ffffff", "#555"}


@pytest.mark.parametrize("name", MINE)
def test_rows_need_no_library_that_draws(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "altair", None)
    assert drawings.rows(name, [COST])
    with pytest.raises(PertokenError, match="charts need altair"):
        drawings.spec(name, [COST])


def test_a_chart_compiles_with_its_datasets_by_name() -> None:
    vl_convert = pytest.importorskip("vl_convert")
    for name in MINE:
        made = vl_convert.vegalite_to_vega(drawings.spec(name, [COST]))
        assert set(drawings.rows(name, [COST])) <= {data["name"] for data in made["data"]}, name


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("nonsense", {}), ("../pictures", {}), ("roofline", {"width": "wide"}), ("roofline", {"width": float("nan")}),
        ("roofline", {"width": True}), ("receipt", {"names": "A"}), ("receipt", {"names": [1]}),
        ("receipt", {"names": ["a", "b"]}), ("position", {"points": 1e9}), ("position", {"view": "x" * 500}),
        ("position", {"who": ["reader"]}), ("load-cost", {"against": "../../etc"}), ("load-cost", {"against": 5}),
    ],
)  # fmt: skip
def test_hostile_options_are_answered_with_a_sentence(name: str, options: dict[str, Any]) -> None:
    with pytest.raises(PertokenError):
        drawings.rows(name, [COST], options)


def test_curves_cannot_be_handed_over_in_json() -> None:
    spec = drawings.rows("position-input", [COST], {"curves": ["x"], "points": 20})
    assert len({row["n"] for row in spec["input_parts"]}) <= 40
