"""Factors of older engine versions, from tables in text made here, with the answer known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pertoken.calibrate import eras, fit, operators
from pertoken.engine.efficiency import MatmulEfficiency
from pertoken.errors import PertokenError

pytest.importorskip("pyarrow")

NOW = MatmulEfficiency(0.8, 50.0, 200.0, 100.0, 0.85, 1e6, 4e-6)
AT = (1979e12, 4.8e12)
M = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192)
SIDES = (1024, 2048, 4096, 8192, 16384)


def seconds(m: int, n: int, k: int, slow: tuple[float, float, float]) -> float:
    memory, compute, launch = slow
    size = n * k + m * k + 2.0 * m * n
    a, b, c = fit.parts(NOW, {"m": np.array([m]), "n": np.array([n]), "k": np.array([k]), "bytes": np.array([size]),
                              "flop": np.array([2.0 * m * n * k])}, *AT)  # fmt: skip
    return float(max(a[0] * compute, b[0] * memory) + c[0] * launch)


def folder(place: Path, slow: tuple[float, float, float], framework: str = "vllm", version: str = "0.12.0") -> Path:
    """A folder with one table in text."""
    path = place / "aiconfigurator" / "systems" / "data" / "h200_sxm" / framework / version / "gemm_perf.txt"
    path.parent.mkdir(parents=True)
    lines = ["framework,version,device,op_name,kernel_source,gemm_dtype,m,n,k,latency"]
    lines += [
        f"{framework},{version},H200,gemm,x,fp8_block,{m},{n},{k},{seconds(m, n, k, slow) * 1e3!r}"
        for m in M
        for n in SIDES
        for k in SIDES
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return place


@pytest.mark.parametrize("slow", [(1.0, 1.6, 4.0), (1.3, 1.3, 1.0), (1.0, 1.0, 1.0)])
def test_an_old_version_is_as_much_slower_as_its_table(tmp_path: Path, slow: tuple[float, float, float]) -> None:
    found = operators.tables([folder(tmp_path, slow)])
    made = eras.factor(found, "h200_sxm", "vllm-0.12", "matmul.fp8_block", NOW, AT)
    assert made.factor
    got = (made.factor.memory, made.factor.compute, made.factor.launch)
    assert got == pytest.approx(slow, rel=0.04)
    assert "factor of vllm-0.12" in made.notes[0]


def test_what_times_the_host_is_left_out_and_said(tmp_path: Path) -> None:
    found = operators.tables([folder(tmp_path, (1.0, 1.0, 8.0))])
    made = eras.factor(found, "h200_sxm", "vllm-0.12", "matmul.fp8_block", NOW, AT)
    assert made.factor is None
    assert "times the host" in made.notes[0]


def test_other_versions_and_systems_say_nothing(tmp_path: Path) -> None:
    found = operators.tables([folder(tmp_path, (1.0, 1.5, 1.0), "vllm", "0.9.0")])
    assert eras.factor(found, "h200_sxm", "vllm-0.12", "matmul.fp8_block", NOW, AT).notes == ()
    assert eras.factor(found, "h100_sxm", "vllm-0.12", "matmul.fp8_block", NOW, AT).notes == ()


def test_half_precision_is_one_format_in_old_tables(tmp_path: Path) -> None:
    place = folder(tmp_path, (1.0, 1.0, 1.0))
    path = next(place.rglob("*.txt"))
    path.write_text(path.read_text("utf-8").replace("fp8_block", "float16"), encoding="utf-8")
    table = operators.tables([place])[0]
    assert set(table.read()["gemm_dtype"]) == {"bfloat16"}
    assert table.text
    assert (table.op, table.name, table.framework) == ("gemm", "gemm_perf", "vllm")


def test_a_place_without_tables_is_refused(tmp_path: Path) -> None:
    (tmp_path / "aiconfigurator.txt").write_text("x", encoding="utf-8")
    with pytest.raises(PertokenError, match="no operator tables"):
        operators.tables([tmp_path])
