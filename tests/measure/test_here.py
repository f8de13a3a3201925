"""This machine as an accelerator, and energy where something measures it."""

from __future__ import annotations

import math
import sys
import types
from pathlib import Path

import pytest

from pertoken.errors import PertokenError
from pertoken.measure import here
from pertoken.measure.energy import Meter, Nvml, Rapl, Watts, find_meter
from tests.cli.tool import refused, run


def test_here_writes_an_accelerator_that_a_price_can_use(tmp_path: Path) -> None:
    target = tmp_path / "here.toml"
    found = run("measure", "here", "--max-seconds", "0.6", "--watts", "65", "-o", str(target), "--json")
    assert found.code == 0, found.err
    data = found.json()
    assert 1e8 < data["bandwidth"]["value"] < 1e13 and 1e8 < data["fp32"]["value"] < 1e15
    for figure in (data["bandwidth"], data["fp32"]):
        assert figure["low"] <= figure["value"] <= figure["high"] and figure["repeats"] >= here.LEAST_REPEATS
    shown = run("show", "accelerator", str(target))
    assert shown.code == 0 and "this-machine" in shown.out
    price = run("price", "qwen2.5-0.5b", "--on", f"1x{target}", "--engine", "llamacpp", "--rate", "power:0.30", "--input", "100",
                "--output", "100", "--concurrency", "1", "--json")  # fmt: skip
    assert price.code == 0, price.err
    assert price.json()["per_million"]["output"]["value"] > 0


def test_here_refuses_what_makes_no_sense(tmp_path: Path) -> None:
    for more in (
        ("--max-seconds", "0.1"),
        ("--max-seconds", "1e9"),
        ("--name", ""),
        ("--csv", "--max-seconds", "0.5"),
        ("--watts", "0"),
    ):
        refused("measure", "here", *more)


def test_a_spread_is_of_the_repeats() -> None:
    spread = here.spread_of([1.0, 2.0, 3.0, 4.0, 5.0])
    assert (spread.value, spread.repeats) == (3.0, 5) and spread.low < 3.0 < spread.high


def test_the_processor_has_a_name(tmp_path: Path) -> None:
    info = tmp_path / "cpuinfo"
    info.write_text("processor : 0\nmodel name : A Fine Processor\n", encoding="utf-8")
    assert here.processor_name(info) == "A Fine Processor"
    assert here.processor_name(tmp_path / "gone") == "this machine's processor"


def zone(folder: Path, name: str, energy: int, most: int = 1_000_000) -> Path:
    path = folder / name
    path.mkdir(exist_ok=True)
    (path / "energy_uj").write_text(str(energy), encoding="utf-8")
    (path / "max_energy_range_uj").write_text(str(most), encoding="utf-8")
    return path


def test_rapl_carries_a_counter_on_that_started_again(tmp_path: Path) -> None:
    zone(tmp_path, "intel-rapl:0", 900_000)
    zone(tmp_path, "intel-rapl:1", 100)
    zone(tmp_path, "intel-rapl:0:0", 5)  # a part of the first, not to be counted again
    meter = Rapl(folder=tmp_path)
    before = meter.joules()
    zone(tmp_path, "intel-rapl:0", 200_000)
    zone(tmp_path, "intel-rapl:1", 100_100)
    assert meter.joules() - before == pytest.approx(0.3 + 0.1)
    assert "2 sockets" in meter.sentence


def test_rapl_that_is_not_there_or_not_readable(tmp_path: Path) -> None:
    with pytest.raises(PertokenError, match="not offered"):
        Rapl(folder=tmp_path)
    (tmp_path / "intel-rapl:0").mkdir()
    with pytest.raises(PertokenError, match="cannot be read"):
        Rapl(folder=tmp_path)


def nvml(counts: list[float], broken: bool = False) -> types.ModuleType:
    """NVML's Python binding, made up."""
    module = types.ModuleType("pynvml")

    class NVMLError(Exception):
        pass

    def energy(handle: int) -> float:
        if broken:
            raise NVMLError("Not Supported")
        return counts[handle]

    module.NVMLError = NVMLError  # type: ignore[attr-defined]
    module.nvmlInit = lambda: None  # type: ignore[attr-defined]
    module.nvmlDeviceGetCount = lambda: len(counts)  # type: ignore[attr-defined]
    module.nvmlDeviceGetHandleByIndex = lambda i: i  # type: ignore[attr-defined]
    module.nvmlDeviceGetTotalEnergyConsumption = energy  # type: ignore[attr-defined]
    return module


def test_nvml_counts_all_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = [1000.0, 2000.0]
    monkeypatch.setitem(sys.modules, "pynvml", nvml(counts))
    meter = find_meter("auto", None, local=True)
    before = meter.joules()
    counts[0], counts[1] = 6000.0, 2500.0
    assert isinstance(meter, Nvml) and meter.joules() - before == pytest.approx(5.5)
    monkeypatch.setitem(sys.modules, "pynvml", nvml([1.0], broken=True))
    with pytest.raises(PertokenError, match="no energy counter"):
        find_meter("nvml", None, local=True)


def test_energy_is_never_guessed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    monkeypatch.setattr(Rapl, "folder", tmp_path)
    away = find_meter("auto", None, local=False)
    assert math.isnan(away.joules()) and "not on this machine" in away.sentence
    nothing = find_meter("none", None, local=True)
    assert type(nothing) is Meter and math.isnan(nothing.joules())
    stated = find_meter("auto", 300.0, local=False)
    assert isinstance(stated, Watts) and "300 W" in stated.sentence
    with pytest.raises(PertokenError):
        find_meter("auto", -1.0, local=True)
    with pytest.raises(PertokenError):
        find_meter("sun", None, local=True)
