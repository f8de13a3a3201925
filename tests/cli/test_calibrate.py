"""``calibrate``: own rows in, a calibration out that the other commands use."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from tests.cli.tool import run

HEAD = ["engine", "model", "gpu", "n_gpus", "tp", "weight_dtype", "isl", "osl", "concurrency_or_max_batch"]
LOADS = [(64, 256, 1), (64, 256, 8), (64, 256, 64), (2048, 128, 1), (4096, 128, 1), (512, 256, 16)]
KNOWN = """accelerator = "l40s"
engine = "vllm"
rows = 6
memory = { value = 0.8, unit = "1", note = "made up" }
compute = { value = 0.7, unit = "1", note = "made up" }
"""


def rows_of(figures: list[tuple[str, str]], gpu: str = "l40s") -> str:
    """A file of rows, with TTFT and TPOT [ms] of each load."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow([*HEAD, "ttft_ms", "tpot_ms"])
    for (first, second, many), figure in zip(LOADS, figures, strict=True):
        writer.writerow(["vllm", "llama-3.1-8b", gpu, 1, 1, "bf16", first, second, many, *figure])
    return out.getvalue()


@pytest.fixture
def known(tmp_path: Path) -> Path:
    """Rows that an accelerator with known shares would measure."""
    calibration, rows = tmp_path / "known.toml", tmp_path / "rows.csv"
    calibration.write_text(KNOWN, encoding="utf-8")
    rows.write_text(rows_of([("100", "30")] * len(LOADS)), encoding="utf-8")
    found = run("validate", str(rows), "--efficiency", str(calibration), "--csv")
    assert found.code == 0, found.err
    figures = [
        (str(1e3 * float(row["predicted_ttft"])), str(1e3 * float(row["predicted_tpot"])))
        for row in csv.DictReader(io.StringIO(found.out))
    ]
    rows.write_text(rows_of(figures), encoding="utf-8")
    return rows


def test_known_shares_are_recovered_and_used(known: Path, tmp_path: Path) -> None:
    target = tmp_path / "own.toml"
    found = run("calibrate", "--from", str(known), "-o", str(target))
    assert found.code == 0, found.err
    assert "l40s under vllm: 6 rows" in found.out
    import tomllib

    made = tomllib.loads(target.read_text(encoding="utf-8"))
    assert made["memory"]["value"] == pytest.approx(0.8, rel=0.03)
    assert made["compute"]["value"] == pytest.approx(0.7, rel=0.05)
    assert made["errors"]["tpot"]["after"] < 0.25 * made["errors"]["tpot"]["before"]
    asked = ("price", "llama-3.1-8b", "--on", "1xl40s", "--rate", "rent:1", "--concurrency", "8", "--json")
    before, after = (json.loads(run(*asked, *more).out) for more in ((), ("--efficiency", str(target))))
    for kind in ("input", "output"):
        assert after["per_million"][kind]["value"] > before["per_million"][kind]["value"]


def test_one_row_moves_less_than_six(known: Path, tmp_path: Path) -> None:
    few = tmp_path / "few.csv"
    few.write_text("\n".join(known.read_text(encoding="utf-8").splitlines()[:2]) + "\n", encoding="utf-8")
    found = run("calibrate", "--from", str(few))
    assert found.code == 0, found.err
    assert "1 row" in found.out


@pytest.mark.parametrize(
    "text",
    [
        "model,gpu\nx,y\n",
        "",
        "a,b\n1,2\n",
        rows_of([("100000000", "0.0000001")] * len(LOADS)),
        rows_of([("5", "5")] * 6, "nowhere"),
    ],
)
def test_what_cannot_teach_is_a_sentence(text: str, tmp_path: Path) -> None:
    file, target = tmp_path / "bad.csv", tmp_path / "own.toml"
    file.write_text(text, encoding="utf-8")
    found = run("calibrate", "--from", str(file), "-o", str(target))
    assert found.code == 2
    assert "Traceback" not in found.err
    assert found.err.strip()
    assert not target.exists()


def test_a_calibration_of_another_accelerator_is_refused_or_said(tmp_path: Path) -> None:
    file = tmp_path / "known.toml"
    file.write_text(KNOWN, encoding="utf-8")
    found = run("price", "llama-3.1-8b", "--on", "1xh100-sxm", "--efficiency", str(file))
    assert found.code == 2
    assert "l40s" in found.err


@pytest.mark.parametrize(
    "text", ["", "memory = 3", 'accelerator = "l40s"', KNOWN.replace("0.8", "-1"), KNOWN.replace("0.8", "nan")]
)
def test_a_broken_calibration_is_a_sentence(text: str, tmp_path: Path) -> None:
    file = tmp_path / "broken.toml"
    file.write_text(text, encoding="utf-8")
    found = run("price", "llama-3.1-8b", "--on", "1xl40s", "--efficiency", str(file))
    assert found.code == 2
    assert "Traceback" not in found.err
