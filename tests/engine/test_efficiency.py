"""Efficiencies: limits, monotony, refusals, and that the shipped fits say nothing unphysical."""

from __future__ import annotations

import dataclasses
import tomllib
from importlib import resources

import numpy as np
import pytest

from pertoken.calibrate.eras import ERAS
from pertoken.engine.efficiency import (
    AttentionEfficiency,
    CollectiveEfficiency,
    Efficiency,
    LatentEfficiency,
    MatmulEfficiency,
    Residual,
    efficiency_from_dict,
)
from pertoken.engine.factor import EngineFactor
from pertoken.engine.transfer import Chooser
from pertoken.errors import PertokenError

MATMUL = MatmulEfficiency(0.8, 60.0, 40.0, 150.0, 0.82, 1e6, 4e-6)
EXPERTS = MatmulEfficiency(0.6, 40.0, 250.0, 1.0, 0.84, 1e5, 3e-5)
ATTENTION = AttentionEfficiency(0.9, 700.0, 50.0, 0.88, 1e6, 100.0, 1e-5)
LATENT = LatentEfficiency(0.6, 0.0, 10.0, 0.88, 1e3, 130.0, 1.4e-5)
REDUCE = CollectiveEfficiency(2.4e-6, 3e-7, 0.8, 1e6)
FILES = sorted(
    (p for p in (resources.files("pertoken") / "catalog" / "efficiency").iterdir() if p.name.endswith(".toml")),
    key=lambda p: p.name,
)


def shipped(file: object) -> Efficiency:
    return efficiency_from_dict(tomllib.loads(file.read_text(encoding="utf-8")))  # type: ignore[attr-defined]


def test_large_sizes_reach_the_peak_share() -> None:
    assert MATMUL.compute(1e9, 1e9, 1e9) == pytest.approx(0.8, rel=1e-5)
    assert MATMUL.memory(1e15) == pytest.approx(0.82, rel=1e-5)
    assert ATTENTION.compute(1.0, 1e9, 1e9) == pytest.approx(0.9, rel=1e-5)
    assert ATTENTION.memory(1e15) == pytest.approx(0.88, rel=1e-5)


def test_each_half_halves() -> None:
    assert MATMUL.compute(60.0, 1e12, 1e12) == pytest.approx(0.4)
    assert MATMUL.compute(1e12, 40.0, 1e12) == pytest.approx(0.4)
    assert MATMUL.compute(1e12, 1e12, 150.0) == pytest.approx(0.4)
    assert MATMUL.memory(1e6) == pytest.approx(0.41)
    assert ATTENTION.compute(-1.0, 700.0, 1e12) == pytest.approx(0.45)
    assert ATTENTION.memory(1e15, 100.0) == pytest.approx(0.44, rel=1e-5)
    assert LATENT.compute(1.0, 100.0, 10.0) == pytest.approx(0.3)
    assert REDUCE.link(1e6) == pytest.approx(0.4)


def test_context_counts_half_of_the_new_tokens() -> None:
    assert ATTENTION.compute(1001.0) == pytest.approx(ATTENTION.compute(1.0, 500.0))


@pytest.mark.parametrize("which", [0, 1, 2])
def test_compute_rises_with_each_size(which: int) -> None:
    sizes = [np.full(50, 512.0) for _ in range(3)]
    sizes[which] = np.geomspace(1, 1e6, 50)
    assert np.all(np.diff(MATMUL.compute(*sizes)) > 0)
    assert np.all(np.diff(EXPERTS.compute(*sizes)) > 0)


def test_seconds_rise_with_size_though_shares_rise_too() -> None:
    size = np.geomspace(1, 1e12, 200)
    assert np.all(np.diff(size / MATMUL.memory(size)) > 0)
    assert np.all(np.diff(size / ATTENTION.memory(size, 1000.0)) > 0)
    assert np.all(np.diff(REDUCE.seconds(size, 8, 450e9)) > 0)


def test_arrays_equal_loops() -> None:
    m = np.array([1.0, 7.0, 300.0])
    assert MATMUL.compute(m, 4096.0, 1024.0).tolist() == [MATMUL.compute(x, 4096.0, 1024.0) for x in m]
    assert REDUCE.seconds(m, 8, 4e11).tolist() == pytest.approx([REDUCE.seconds(x, 8, 4e11) for x in m])


def test_link_and_seconds_agree() -> None:
    size = 3e5
    shared = dataclasses.replace(REDUCE, contention=1.5)
    for one in (REDUCE, shared):
        assert one.seconds(size, 8, 32e9) == pytest.approx(one.latency(8) + size / (32e9 * one.link(size, 8)))
    assert shared.link(size, 8) == pytest.approx(REDUCE.link(size) / 10.0)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("peak", 0.0),
        ("peak", 1.01),
        ("m_half", -1.0),
        ("bandwidth", float("nan")),
        ("launch_s", 1.0),
        ("bytes_half", "x"),
    ],
)
def test_refuses_what_no_kernel_does(field: str, value: object) -> None:
    with pytest.raises(PertokenError, match=field):
        dataclasses.replace(MATMUL, **{field: value})


def test_refuses_residuals_that_fall() -> None:
    with pytest.raises(PertokenError, match="must not fall"):
        Residual(0.1, 0.0, 0.2, 10.0)


def test_nothing_measured_is_an_error_not_a_default() -> None:
    bare = Efficiency("thing", matmul={"bf16": MATMUL})
    assert bare.pick("matmul", "bf16") is MATMUL
    with pytest.raises(PertokenError, match=r"no measured matmul efficiency for 'fp8' \(it has bf16\)"):
        bare.pick("matmul", "fp8")


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ({}, "must name its accelerator"),
        ({"accelerator": "x", "matmull": {}}, "unknown key 'matmull'"),
        ({"accelerator": "x", "matmul": {"bf16": {"peak": 0.5}}}, "a key is missing"),
        ({"accelerator": "x", "matmul": {"bf16": {"peek": 0.5}}}, "keys must be among"),
        ({"accelerator": "x", "matmul": {"bf16": dataclasses.asdict(MATMUL) | {"peak": 2.0}}}, "matmul.bf16: .*peak"),
        ({"accelerator": "x", "elementwise": 2.0}, "elementwise is 2"),
    ],
)
def test_reading_says_what_is_wrong(table: dict[str, object], says: str) -> None:
    with pytest.raises(PertokenError, match=says):
        efficiency_from_dict(table)


def test_reading_gives_back_what_was_written() -> None:
    table = {"accelerator": "x", "matmul": {"bf16": dataclasses.asdict(MATMUL)}, "tables": ["a"], "elementwise": 0.9}
    assert efficiency_from_dict(table) == Efficiency("x", {"bf16": MATMUL}, tables=("a",), elementwise=0.9)


@pytest.mark.parametrize("file", FILES, ids=lambda p: p.name)
def test_shipped_files_read_and_name_their_sources(file: object) -> None:
    made = shipped(file)
    assert file.name == f"{made.accelerator}.toml"  # type: ignore[attr-defined]
    assert made.tables and made.peaks["memory"] > 0
    fitted = {f"{group}.{key}" for group in ("matmul", "experts", "prefill", "decode") for key in getattr(made, group)}
    assert fitted <= set(made.residuals)
    assert all(made.arithmetic[key] in made.peaks for key in made.matmul)


@pytest.mark.parametrize("file", FILES, ids=lambda p: p.name)
def test_shipped_fits_are_neither_free_nor_hopeless(file: object) -> None:
    made = shipped(file)
    for key, one in made.matmul.items():
        assert 0.1 < one.compute(8192.0, 8192.0, 8192.0) < 0.95, key
        assert 0.3 < one.memory(1e9) < 0.97, key
        assert 1e-7 < one.launch_s < 3e-5, key
    for key, read in made.decode.items():
        assert 0.4 < read.memory(1e9, 4096.0) < 0.98, key


@pytest.mark.parametrize("file", FILES, ids=lambda p: p.name)
def test_the_median_residual_is_small(file: object) -> None:
    for name, spread in shipped(file).residuals.items():
        assert abs(spread.q50) < 0.15, name


def test_a_factor_changes_what_binds_and_no_share_passes_one() -> None:
    slow = EngineFactor(memory=1.25, compute=2.0, launch=1.5).of(MATMUL)
    assert slow.bandwidth == pytest.approx(0.82 / 1.25)
    assert slow.peak == pytest.approx(0.4)
    assert slow.launch_s == pytest.approx(6e-6)
    assert (slow.m_half, slow.bytes_half) == (MATMUL.m_half, MATMUL.bytes_half)
    fast = EngineFactor(memory=0.25, compute=0.25).of(MATMUL)
    assert (fast.peak, fast.bandwidth) == (1.0, 1.0)
    reduce = EngineFactor(launch=1.4).of(REDUCE)
    assert reduce.latency(8) == pytest.approx(1.4 * REDUCE.latency(8))
    assert reduce.bandwidth == REDUCE.bandwidth


def test_no_factor_changes_nothing() -> None:
    for one in (MATMUL, EXPERTS, ATTENTION, LATENT, REDUCE):
        assert EngineFactor().of(one) == one


@pytest.mark.parametrize("value", [0.0, -1.0, 11.0, float("nan"), "x"])
def test_refuses_factors_that_are_none(value: object) -> None:
    with pytest.raises(PertokenError, match="memory"):
        EngineFactor(memory=value)  # type: ignore[arg-type]


def test_a_chooser_applies_the_factor_of_its_engine_only() -> None:
    one = Efficiency("x", {"fp8": MATMUL, "bf16": MATMUL}, engines={"vllm": {"matmul.fp8": EngineFactor(memory=1.25)}})
    assert Chooser(one).kernel("matmul", "fp8", "fp8") is MATMUL
    assert Chooser(one, engines=("sglang",)).kernel("matmul", "fp8", "fp8") is MATMUL
    assert Chooser(one, None, [], ("vllm-0.12", "vllm")).kernel("matmul", "fp8", "fp8").bandwidth == pytest.approx(
        0.82 / 1.25
    )
    assert Chooser(one, None, [], ("vllm",)).kernel("matmul", "bf16", "bf16") is MATMUL


@pytest.mark.parametrize(
    ("engines", "says"),
    [
        ({"vllm": {"matmul.fp8": {"memmory": 1.0}}}, "engines.vllm.matmul.fp8: its keys must be among"),
        ({"vllm": {"matmul.fp8": {"memory": 40.0}}}, "engines.vllm.matmul.fp8: memory is 40.0"),
        ({"vllm": 1.2}, "a table of tables"),
    ],
)
def test_reading_factors_says_what_is_wrong(engines: dict[str, object], says: str) -> None:
    with pytest.raises(PertokenError, match=says):
        efficiency_from_dict({"accelerator": "x", "engines": engines})


@pytest.mark.parametrize("file", FILES, ids=lambda p: p.name)
def test_shipped_factors_are_of_known_kernels_and_moderate(file: object) -> None:
    made = shipped(file)
    assert set(made.engines) <= {"vllm", "sglang", "trtllm", *ERAS}
    for engine, factors in made.engines.items():
        for name, factor in factors.items():
            group, key = name.split(".")
            assert key in getattr(made, group), (engine, name)
            most = 2.5 if engine in ERAS and group == "matmul" else 2.1  # old products were slow, and were served
            assert 0.45 < factor.memory < most, (engine, name)
            assert 0.45 < factor.compute < most, (engine, name)


def test_an_all_reduce_takes_the_faster_of_both_algorithms_and_a_switch_that_adds_halves_the_bytes() -> None:
    rate, ranks = 450e9, 8
    both = dataclasses.replace(REDUCE, bytes_half=0.0, direct=0.5, sync_s=4e-6)
    passes = dataclasses.replace(both, direct=0.0)
    small, large = 1e3, 1e9
    assert both.transfer(small, ranks, rate) == pytest.approx(small * ranks / (2.0 * rate * both.direct))
    assert both.transfer(large, ranks, rate) == pytest.approx(both.sync_s + passes.transfer(large, ranks, rate))
    adding = dataclasses.replace(both, in_switch=True)
    ring, switch = 2.0 * (ranks - 1) / ranks, (ranks + 1) / ranks
    assert adding.transfer(large, ranks, rate) - both.sync_s == pytest.approx(
        (both.transfer(large, ranks, rate) - both.sync_s) * switch / ring
    )
    assert adding.transfer(large, 2, rate) == both.transfer(large, 2, rate)  # two ranks have nothing to gain
    sizes = np.geomspace(1, 1e10, 300)
    assert np.all(np.diff(adding.seconds(sizes, ranks, rate)) > 0)
