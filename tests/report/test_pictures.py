"""Charts: dots below their roofs, bars that sum to the bill, files that appear whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from pertoken.errors import PertokenError
from pertoken.report import pictures
from pertoken.scenario import price
from pertoken.whatif.ask import what_if

JOB = {"input": 2048, "output": 256, "concurrency": 16}


@pytest.mark.parametrize(
    ("name", "on"), [("llama-3.1-8b", "h100-sxm"), ("deepseek-v3", "8xh200-sxm"), ("gpt-oss-120b", "4xmi300x")]
)
def test_no_operation_is_above_its_roof(name: str, on: str) -> None:
    cost = price(name, on=on, **JOB)
    a = cost.deployment.accelerator
    top = max(p.value for p in a.flops.values())
    found = pictures.points(cost)
    assert len({p["operation"] for p in found}) >= 5
    for point in found:
        roof = min(top, point["intensity"] * a.bandwidth.value)
        assert 0 < point["flops"] <= roof * (1 + 1e-9), point
    for steps in {p["steps"] for p in found}:
        assert 0 < sum(p["share"] for p in found if p["steps"] == steps) <= 1 + 1e-9


def test_decoding_has_less_arithmetic_for_a_byte_than_a_prompt() -> None:
    found = {(p["steps"], p["operation"]): p for p in pictures.points(price("llama-3.1-8b", on="h100-sxm", **JOB))}
    decode, prompt = (found[kind, "feedforward: gate_up"] for kind in ("decode steps", "steps with a prompt"))
    assert decode["intensity"] < prompt["intensity"] / 10


def test_a_roof_is_memory_then_peak() -> None:
    cost = price("llama-3.1-8b", on="h100-sxm", **JOB)
    a = cost.deployment.accelerator
    lines = [line for line in pictures.roofs(cost, 1.0, 1e4) if "bf16" in line["roof"]]
    assert [line["flops"] for line in lines] == [a.bandwidth.value, a.flops["bf16"].value, a.flops["bf16"].value]


def test_bars_sum_to_the_bill() -> None:
    cost = price("llama-3.1-8b", on="h100-sxm", utilisation=0.4, cached=0.3, rate="rent:2", **JOB)
    paid = cost.bill.usd / (cost.requests_per_s * cost.bill.period_s)
    parts = pictures.parts(cost)
    assert set(parts) == {"input", "output", "idle"}
    assert sum(parts.values()) == pytest.approx(paid, rel=1e-9)


@pytest.mark.parametrize(("name", "on"), [("llama-3.1-8b", "h100-sxm"), ("deepseek-v3", "8xh200-sxm")])
def test_the_scale_holds_every_line_and_dot(name: str, on: str) -> None:
    """A clamped end would bend the roof."""
    pytest.importorskip("altair")
    spec = pictures.roofline([price(name, on=on, **JOB)]).to_dict()
    for layer in spec["layer"]:
        low, high = layer["encoding"]["y"]["scale"]["domain"]
        rows = spec["datasets"][layer["data"]["name"]]
        assert rows and all(low <= row["flops"] <= high for row in rows)


@pytest.mark.parametrize("suffix", [".svg", ".png"])
def test_charts_are_written(tmp_path: Path, suffix: str) -> None:
    pytest.importorskip("altair")
    pytest.importorskip("vl_convert")
    cost = price("llama-3.1-8b", on="h100-sxm", **JOB)
    other = what_if(cost, "no-gqa").after
    assert other is not None
    for name, drawing in (
        ("roofline", pictures.roofline([cost, other.cost])),
        ("receipt", pictures.receipt([cost, other.cost], ["as it is", "without"])),
    ):
        path = tmp_path / f"{name}{suffix}"
        pictures.save(drawing, path)
        content = path.read_bytes()
        assert content.startswith(b"\x89PNG" if suffix == ".png" else b"<svg")
        if suffix == ".svg":
            assert (b"gate_up" if name == "roofline" else b"as it is") in content
    assert len(list(tmp_path.iterdir())) == 2


def test_bars_of_different_units_are_refused() -> None:
    pytest.importorskip("altair")
    one, two = price("llama-3.1-8b", on="h100-sxm", **JOB), price("llama-3.1-8b", on="1xgh200-96gb", **JOB)
    with pytest.raises(PertokenError, match="--rate"):
        pictures.receipt([one, two], ["one", "two"])
