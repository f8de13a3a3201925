"""The benchmarks run, and what they show holds: as ratios within one run, so that any machine will do."""

from __future__ import annotations

import importlib.util
import re
import time
from pathlib import Path
from statistics import median
from types import ModuleType

import numpy as np
import pytest

from pertoken.money.rate import rent
from pertoken.scenario import price
from pertoken.sweep import sweep

FOLDER = Path(__file__).parents[1] / "benchmarks"


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"benchmark_{name}", FOLDER / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_predictions_are_near_what_was_measured(capsys: pytest.CaptureFixture[str]) -> None:
    truth = load("truth")
    truth.main()
    errors = [float(found) for found in re.findall(r"([+-][0-9.]+)%", capsys.readouterr().out)]
    assert len(errors) == len(truth.MEASURED) == 4
    assert max(abs(error) for error in errors) < 20
    assert median(abs(error) for error in errors) < 8


def test_a_production_service_is_predicted_within_a_quarter() -> None:
    deepseek = load("deepseek")
    rows = list(deepseek.rows())
    assert len(rows) == 5
    for what, measured, predicted, without in rows:
        assert abs(predicted / measured - 1) < 0.25, what
        assert without < predicted, what
    able, share = deepseek.utilisation()
    assert 0.3 < share < 1.0
    assert able > deepseek.PRODUCTION["input"] * (1 - deepseek.CACHED)


def test_a_sweep_is_far_quicker_than_one_by_one() -> None:
    cost = price("llama-3.1-70b", on="8xh100-sxm", dtype="fp8", input=1024, output=256, concurrency=32)
    random = np.random.default_rng(2)
    inputs, outputs = random.integers(64, 16_384, 2048), random.integers(8, 2_048, 2048)
    concurrency = random.integers(1, 192, 2048)

    def seconds(many: slice, rounds: int) -> float:
        times = []
        for _ in range(rounds):
            start = time.perf_counter()
            sweep(cost.deployment, inputs[many], outputs[many], concurrency[many], rent(2.5))
            times.append(time.perf_counter() - start)
        return median(times)

    alone, together = seconds(slice(0, 1), 9), seconds(slice(None), 5) / 2048
    assert alone / together > 40


def test_a_sweep_agrees_with_single_prices() -> None:
    base = {"on": "8xh100-sxm", "dtype": "fp8", "rate": "rent:2.5"}
    cost = price("llama-3.1-70b", input=1024, output=256, concurrency=32, **base)
    inputs, outputs, concurrency = np.array([200, 5000]), np.array([300, 50]), np.array([8, 90])
    swept = sweep(cost.deployment, inputs, outputs, concurrency, rent(2.5))
    for i in range(2):
        one = price(
            "llama-3.1-70b", input=int(inputs[i]), output=int(outputs[i]), concurrency=int(concurrency[i]), **base
        )
        assert float(swept.per_million["output"][i]) == pytest.approx(one.per_million.output.value, rel=1e-6)
        assert float(swept.per_million["input"][i]) == pytest.approx(one.per_million.input.value, rel=1e-6)


def test_the_command_starts_quickly(capsys: pytest.CaptureFixture[str]) -> None:
    """A whole answer, against an empty Python in the same run; the target is a few tenths of a second."""
    cold = load("cold_start")
    cold.seconds(cold.COMMAND)
    answer = min(cold.seconds(cold.COMMAND) for _ in range(3))
    empty = min(cold.seconds(cold.EMPTY) for _ in range(3))
    assert answer / empty < 80


def test_many_positions_are_far_quicker_than_one_by_one(capsys: pytest.CaptureFixture[str]) -> None:
    ratios = load("positions").main(many=100_000, rounds=3, singles=20)
    assert min(ratios.values()) > 200
    assert "positions/s" in capsys.readouterr().out


def test_a_trace_is_priced_far_quicker_than_request_by_request(capsys: pytest.CaptureFixture[str]) -> None:
    assert load("market").main(many=100_000, rounds=3, singles=10) > 100
    assert "requests/s" in capsys.readouterr().out
