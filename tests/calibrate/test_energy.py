"""The error of predicted joules on model families left out of the fit stays under its ceiling; what ships is that fit."""

from __future__ import annotations

import importlib.util
import sys
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).parent.parent.parent
CEILINGS = {"H100": 0.14, "B200": 0.18}


def _fitter() -> Any:
    spec = importlib.util.spec_from_file_location("fit_energy", ROOT / "scripts" / "fit_energy.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look up what their annotations name
    spec.loader.exec_module(module)
    return module


FITTER = _fitter()


@pytest.fixture(scope="module", params=CEILINGS)
def measured(request: pytest.FixtureRequest) -> tuple[str, list[Any]]:
    return request.param, FITTER.load(request.param, FITTER.INPUTS)


def test_families_left_out_are_predicted(measured: tuple[str, list[Any]]) -> None:
    gpu, rows = measured
    assert len(rows) > 150
    errors = FITTER.crossed(rows, gpu)
    assert FITTER.median(errors) <= CEILINGS[gpu]
    assert abs(np.median(errors)) < 0.1
    assert FITTER.median(FITTER.board_only(rows, gpu)) > FITTER.median(errors) + 0.05, (
        "negative control: board power x time"
    )


def test_what_ships_is_the_fit_and_physical(measured: tuple[str, list[Any]]) -> None:
    gpu, rows = measured
    table = tomllib.loads((ROOT / "src/pertoken/catalog/power" / f"{FITTER.NAMES[gpu]}.toml").read_text("utf-8"))
    shipped = np.array(
        [table["power"][k]["value"] for k in ("active", "byte", "flop")] + [table["wait"]["vllm"]["value"]]
    )
    fitted = FITTER.fit(rows, gpu)
    errors = [np.log(FITTER.predict(p, np.stack([m.kinds for m in rows]), FITTER.CAP[gpu])) for p in (shipped, fitted)]
    assert float(np.median(np.abs(errors[0] - errors[1]))) < 0.05, "make energy"
    assert 0.3 * FITTER.CAP[gpu] < shipped[0] < 0.9 * FITTER.CAP[gpu]
    assert 10e-12 < shipped[1] < 150e-12
    assert 0.05e-12 < shipped[2] < 1e-12
    low, high = table["interval"]
    assert 0.5 < low < 1.0 < high < 2.0


def test_the_ledger_is_the_formula_that_was_fitted() -> None:
    from pertoken.money.energy import joules_by_token, ledger_joules
    from pertoken.scenario import price

    row = next(r for r in FITTER.rows() if r["gpu_model"] == "H100" and "70B" in r["model_id"])
    given = FITTER.knobs(row, 224)
    cost = price(**given)
    assert cost.draw
    v = cost.draw.values()
    p = np.array([v["active"], v["byte"], v["flop"], v["wait"]])
    predicted = float(FITTER.predict(p, FITTER.features(given), v["cap"]))
    total = sum(joules_by_token(ledger_joules(cost.deployment, cost.operating.state, cost.draw)).values())
    state = cost.operating.state
    outputs = float(state.finished * cost.operating.moments.output)
    assert total * cost.deployment.split.tp / outputs == pytest.approx(predicted, rel=1e-9)
