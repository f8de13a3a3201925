"""Every datasheet: complete sources, plausible figures, units kept apart; every accelerator can be priced."""

from __future__ import annotations

import datetime as dt
import math
import tomllib
from collections import Counter
from typing import Any

import pytest

import pertoken
from pertoken.catalog import files, machines
from pertoken.catalog.rates import offers, offers_of
from pertoken.errors import PertokenError

NAMES = files.names("accelerators")
TODAY = dt.date(2026, 11, 22)  # of the catalog; nothing in it can have been read later than it was written
RANGES = {
    "FLOP/s": (1e12, 25e15), "byte": (8e9, 2e12), "byte/s": (10e9, 40e12), "accelerator": (1, 10_000), "W": (50, 2500),
}  # fmt: skip


def raw(name: str) -> dict[str, Any]:
    return tomllib.loads((files.ROOT / "accelerators" / f"{name}.toml").read_text(encoding="utf-8"))


def figures(table: dict[str, Any]) -> list[dict[str, Any]]:
    parts = [table[key] for key in ("flops", "memory", "link", "power") if key in table]
    return [item for part in parts for item in part.values() if not isinstance(item, str)]


def test_there_are_at_least_thirty() -> None:
    assert len(NAMES) >= 30


@pytest.mark.parametrize("name", NAMES)
def test_each_number_has_a_unit_a_source_and_a_day(name: str) -> None:
    table = raw(name)
    assert table["name"] == name
    used = set()
    for figure in figures(table):
        assert isinstance(figure, dict), f"bare number {figure}"
        low, high = RANGES[figure["unit"]]
        if figure["unit"] == "byte/s" and figure is table.get("link", {}).get("bandwidth"):
            low, high = 1e9, 10e12
        assert low <= figure["value"] <= high, figure
        used.add(figure["source"])
    assert used <= set(table["sources"])
    for source in table["sources"].values():
        assert len(source["title"]) > 8
        assert source["url"].startswith(("https://", "http://"))
        assert dt.date(2024, 1, 1) < source["read"] <= TODAY
    a = machines.load_accelerator(name)
    assert all(n.source.read for n in (a.memory, a.bandwidth, *a.flops.values()))


@pytest.mark.parametrize("name", NAMES)
def test_capacity_is_what_was_sold(name: str) -> None:
    """Sold as 80 GB may be 80e9 bytes or 80 GiB (1.074 as many), less what is reserved; nothing else."""
    memory = raw(name)["memory"]
    number, _, unit = memory["sold_as"].partition(" GB")
    if not number.isdigit():  # a CPU's memory is what was put in
        assert "DDR" in memory["sold_as"] and raw(name)["kind"] == "cpu"
        return
    assert unit in ("", " unified")
    assert 0.9 <= memory["capacity"]["value"] / (float(number) * 1e9) <= 1.08


# arithmetic at most twice as fast at half the bits, but: consumer cards accumulate halves at half rate, and these
STEEP = {"trainium3": 4.0, "b300-sxm": 3.0, "gb300": 3.0}


@pytest.mark.parametrize("name", NAMES)
def test_peaks_are_dense(name: str) -> None:
    """A peak with sparsity among dense ones shows as one step too many between formats."""
    table = raw(name)
    flops = {key: figure["value"] for key, figure in table["flops"].items()}
    half = max(flops.get("bf16", 0), flops.get("fp16", 0)) or flops["fp32"]
    step = 4.0 if name in ("rtx-3090", "rtx-4090", "rtx-5090") else STEEP.get(name, 2.0)
    assert all(flops[key] / half <= step * 1.05 for key in ("fp8", "int8") if key in flops)
    assert all(flops[key] / half <= max(2.0 * step, 4.0) * 1.05 for key in ("nvfp4", "mxfp4", "int4") if key in flops)
    if "fp8" in flops:
        assert flops["fp8"] >= 0.99 * half
    if table["vendor"] == "NVIDIA" and {"fp16", "bf16"} <= set(flops):
        assert flops["fp16"] == flops["bf16"]


@pytest.mark.parametrize("kind", ["accelerators", "models", "engines"])
def test_aliases_are_unique_and_lower_case(kind: str) -> None:
    names = files.names(kind)
    found = [alias for name in names for alias in files.entry(kind, name).get("aliases", [])]
    assert [alias for alias, count in Counter(found).items() if count > 1] == []
    assert [alias for alias in found if alias != alias.lower().strip()] == []
    assert set(found).isdisjoint(names)
    for name in names:  # the quick reader of aliases finds what the whole parser finds
        for alias in files.entry(kind, name).get("aliases", []):
            assert files.find_name(kind, alias.upper()) == name


def test_known_datasheets() -> None:
    """Figures checked by hand against the makers' datasheets, which state links for both directions."""
    for name, half, bandwidth, link, watts in (
        ("h100-sxm", 989e12, 3.35e12, 450e9, 700), ("a100-sxm-80gb", 312e12, 2.039e12, 300e9, 400),
        ("l4", 121e12, 300e9, None, 72),
        ("mi300x", 1307e12, 5.3e12, 448e9, 750), ("b200-sxm", 2250e12, 7.7e12, 900e9, 1000), ("t4", 65e12, 320e9, None, 70),
    ):  # fmt: skip
        a = machines.load_accelerator(name)
        assert a.flops[a.half].value == pytest.approx(half, rel=0.01)
        assert a.bandwidth.value == pytest.approx(bandwidth, rel=0.02)
        assert a.board_power is not None and a.board_power.value == watts
        if link:
            assert a.link is not None and a.link.bandwidth.value == pytest.approx(link, rel=0.01)


@pytest.mark.parametrize("name", NAMES)
def test_a_small_model_is_priced_on_each(name: str) -> None:
    cost = pertoken.price("llama-3.2-1b", on=f"1x{name}", input=500, output=50, tpot=10, ttft=60)
    seconds = cost.accelerator_s
    for figure in (seconds.input, seconds.output, seconds.cached):
        assert 0 <= figure.low <= figure.value <= figure.high < math.inf
    assert seconds.output.value > 0 and seconds.input.value > 0
    assert math.isfinite(cost.mfu) and 0 < cost.mfu < 1
    assert (cost.rate is not None) == bool(offers_of(name))
    if cost.rate:
        assert abs(cost.bill.residual) < 1e-9
        assert cost.per_million.input.value > 0
    else:
        with pytest.raises(PertokenError, match="no dollars"):
            _ = cost.per_million


def test_efficiencies_and_engines_load() -> None:
    for name in files.names("efficiency"):
        assert name in NAMES
        found = machines.load_efficiency(name)
        assert found.accelerator == name
        assert {"bf16"} <= set(found.matmul) and found.prefill and found.decode
    for name in files.names("engines"):
        profile = machines.load_profile(name)
        assert profile.name == name
        for number in (profile.host_step, profile.host_sequence, profile.memory_fraction, profile.token_budget):
            assert number.source.title and number.source.read
    for name in NAMES:
        assert machines.chooser(machines.load_accelerator(name)).efficiency.accelerator in files.names("efficiency")


def test_rents() -> None:
    found = offers()
    assert len(found) > 50
    for offer in found:
        assert offer.accelerator in NAMES
        assert 0.05 <= offer.low <= offer.median <= offer.high <= 40, offer
        assert dt.date(2024, 1, 1) < dt.date.fromisoformat(offer.since) <= dt.date.fromisoformat(offer.checked) <= TODAY
        assert offer.provider and len(offer.source) > 8
    assert len({(o.accelerator, o.provider, o.region, o.since, o.median) for o in found}) == len(found)
