"""The dated rents: bands by segment, spot apart, old prices warned about, and the import that overwrites none."""

from __future__ import annotations

import csv
import datetime as dt
import importlib.util
import statistics
import sys
from pathlib import Path

import pytest

from pertoken.catalog.machines import load_accelerator
from pertoken.catalog.rates import FRESH_DAYS, SEGMENTS, counted, median_rent, offers, parse_rate, stale, warning
from pertoken.catalog.site import find_country, grids
from pertoken.errors import PertokenError
from tests.cli.tool import refused, run

ROOT = Path(__file__).parent.parent.parent
HOUR = 3600.0


def test_every_rent_is_dated_sourced_and_in_order() -> None:
    for offer in offers():
        assert 0 < offer.low <= offer.median <= offer.high, offer
        assert dt.date.fromisoformat(offer.since) <= dt.date.fromisoformat(offer.checked)
        assert offer.source
        assert offer.segment in SEGMENTS


@pytest.mark.parametrize("segment", SEGMENTS)
def test_a_segment_is_the_median_of_its_own(segment: str) -> None:
    rate = parse_rate(f"rent:{segment}", load_accelerator("h100-sxm"))
    found = counted("h100-sxm", segment)
    assert {o.segment for o in found} == {segment}
    assert rate.usd_per_second * HOUR == pytest.approx(statistics.median(o.median for o in found))
    assert rate.band
    assert rate.band[0] * HOUR == pytest.approx(min(o.low for o in found))
    assert rate.band[1] * HOUR == pytest.approx(max(o.high for o in found))
    assert segment in rate.origin


def test_spot_is_no_part_of_the_median_rent() -> None:
    assert all(o.segment != "spot" for o in counted("h100-sxm"))
    assert median_rent("h100-sxm", "spot").usd_per_second < median_rent("h100-sxm").usd_per_second


def test_hyperscalers_are_dearer_than_neoclouds() -> None:
    dear, cheap = (median_rent("h100-sxm", s).usd_per_second for s in ("hyperscaler", "neocloud"))
    assert dear > 1.5 * cheap


def test_a_segment_without_rents_says_which_there_are() -> None:
    with pytest.raises(PertokenError, match=r"no spot rent of l4 is in the dated table.*it has"):
        parse_rate("rent:spot", load_accelerator("l4"))


def test_prices_older_than_120_days_are_warned_about() -> None:
    rate = median_rent("h100-sxm", "neocloud")
    day = dt.date.fromisoformat(rate.since) + dt.timedelta(days=FRESH_DAYS)
    assert warning(rate, day) == ""
    assert "121 days ago" in warning(rate, day + dt.timedelta(days=1))
    assert stale("", day) == 0
    late = run("price", "llama-3.1-8b", "--on", "1xh100-sxm", "--concurrency", "4", "--today", "2027-06-01")
    assert late.code == 0
    assert late.err.startswith("pertoken: warning: ")
    given = run(
        "price", "llama-3.1-8b", "--on", "1xh100-sxm", "--concurrency", "4", "--rate", "rent:2", "--today", "2099-01-01"
    )
    assert given.err == ""
    listed = run("list", "rates", "h100-sxm", "--today", "2027-06-01")
    assert "older than 120 days" in listed.err
    assert "--today" in refused("list", "rates", "--today", "yesterday")


def test_lists_are_narrowed_by_words() -> None:
    lines = run("list", "rates", "H100-SXM", "hyperscaler").out.splitlines()
    assert len(lines) == 1 + sum((o.accelerator, o.segment) == ("h100-sxm", "hyperscaler") for o in offers())
    assert all("hyperscaler" in line for line in lines[1:])
    assert "no entry of rates" in refused("list", "rates", "abacus")


def test_countries_by_code_and_name() -> None:
    assert find_country("fra") == find_country("France") == "FRA"
    assert len(grids()) > 200
    assert all(grams >= 0 and 2000 < int(year) < 2030 for _, year, grams in grids().values())
    with pytest.raises(PertokenError, match="near it"):
        find_country("Francia")


@pytest.fixture
def importer(monkeypatch: pytest.MonkeyPatch) -> object:
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    spec = importlib.util.spec_from_file_location("import_money", ROOT / "scripts" / "import_money.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.modules.pop("import_data", None)
    return module


def test_an_import_keeps_old_prices_and_adds_new_dates(importer: object, tmp_path: Path) -> None:
    prices = ",".join(f"usd_per_gpu_hour_{k}" for k in ("median", "min", "max"))
    heads = f"cloud,segment,gpu,instance,region,pricing,{prices},date,source"
    row = "Acme,neocloud,H100-SXM,x,eu,on_demand,{},{},{},{},somewhere"
    target, file = tmp_path / "rents.csv", tmp_path / "gpu_hour_prices.csv"
    file.write_text("\n".join([heads, row.format(2.0, 1.5, 3.0, "2026-10-05")]) + "\n")
    assert importer.import_rents(tmp_path, target) == 1  # type: ignore[attr-defined]
    file.write_text(
        "\n".join([heads, row.format(9.0, 9.0, 9.0, "2026-10-05"), row.format(1.0, 1.0, 1.0, "2026-12-01")]) + "\n"
    )
    assert importer.import_rents(tmp_path, target) == 1  # type: ignore[attr-defined]
    found = list(csv.DictReader(target.read_text().splitlines()))
    assert [(r["from"], r["median"]) for r in found] == [("2026-10-05", "2"), ("2026-12-01", "1")]


def test_rates_are_compared_on_one_machine() -> None:
    found = run("price", "llama-3.1-8b", "--rate", "rent", "--rate", "own", "--rate", "power:0.12", "--json").json()
    assert len({case["scenario"]["on"] for case in found["cases"]}) == 1
    assert [case["rate"]["kind"] for case in found["cases"]] == ["rent", "own", "power"]
    assert any("known to all" in s for s in found["cases"][0]["assumed"])


def test_uncertainty_is_in_the_files_too(tmp_path: Path) -> None:
    for suffix in ("json", "txt"):
        path = tmp_path / f"a.{suffix}"
        run("price", "llama-3.1-8b", "--on", "1xh100-sxm", "--concurrency", "4", "--uncertainty", "-o", str(path))
        assert "uncertainty" in path.read_text()
