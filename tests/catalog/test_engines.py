"""Profiles of engines by version and date, and what older versions take from newer ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from pertoken.catalog import files, machines
from pertoken.errors import PertokenError


@pytest.mark.parametrize(
    ("engine", "version", "date", "name"),
    [
        ("vllm", "", "", "vllm"),
        ("vllm", "0.24.0", "2025-01-01", "vllm"),
        ("vllm", "0.12.0", "", "vllm-0.12"),
        ("vllm", "v0.11.1rc2", "", "vllm-0.12"),
        ("vllm", "0.7.3", "", "vllm-0.12"),
        ("vllm", "", "2025-10-29", "vllm-0.12"),
        ("vllm", "", "2026-10-01", "vllm"),
        ("vllm", "nightly", "2024", "vllm-0.12"),
        ("sglang", "0.5.6.post2", "", "sglang-0.5.6"),
        ("sglang", "0.5.9", "2025-11-02", "sglang-0.5.9"),
        ("sglang", "0.5.10", "2025-11-02", "sglang"),
        ("sglang", "", "2026-03-25", "sglang-0.5.9"),
        ("trtllm", "1.0.0rc3", "", "trtllm-1.0"),
        ("trtllm", "0.17", "", "trtllm-1.0"),
        ("trtllm", "1.1.0rc2.post2", "", "trtllm-1.2"),
        ("trtllm", "1.2.0rc6.post3", "", "trtllm-1.2"),
        ("trtllm", "1.3.0rc1", "", "trtllm"),
        ("trtllm", "", "2025-10-29", "trtllm-1.2"),
        ("llamacpp", "b4567", "2024-01-01", "llamacpp"),
    ],
)
def test_a_measurement_runs_under_the_profile_of_its_version_or_else_of_its_day(
    engine: str, version: str, date: str, name: str
) -> None:
    assert machines.profile_of(engine, version, date).name == name


def test_versions_older_than_any_described_have_wider_intervals() -> None:
    known, older = machines.profile_of("vllm", "0.12.0", ""), machines.profile_of("vllm", "0.6.4", "")
    for metric, (low, high) in known.interval.items():
        assert older.interval[metric] == pytest.approx((low**machines.OLDER, high**machines.OLDER))
    assert (
        machines.profile_of("trtllm", "", "2024").interval["tpot"][1]
        > machines.load_profile("trtllm").interval["tpot"][1]
    )


def test_an_older_version_says_only_what_differs() -> None:
    old, now = machines.load_profile("vllm-0.12"), machines.load_profile("vllm")
    assert old.kernels == ("vllm-0.12", "vllm")
    assert now.kernels == ("vllm",)
    assert old.host_step.value > now.host_step.value == 0.0
    assert old.token_budget == now.token_budget
    assert old.small == now.small


def test_kernels_of_an_older_version_come_before_todays_where_they_were_measured() -> None:
    h200, b200 = (machines.load_accelerator(name) for name in ("h200-sxm", "b200-sxm"))
    old, now = machines.load_profile("vllm-0.12"), machines.load_profile("vllm")

    def kernel(accelerator: object, profile: object) -> object:
        return machines.chooser(accelerator, profile).kernel("matmul", "fp8_block", "fp8")

    assert kernel(h200, old).launch_s > 3.0 * kernel(h200, now).launch_s
    assert kernel(b200, old) == kernel(b200, now)


def test_every_era_names_a_profile_and_its_versions() -> None:
    for engine in ("vllm", "sglang", "trtllm"):
        found = machines.eras(engine)
        assert found
        assert [before for before, _, _ in found] == sorted(before for before, _, _ in found)
        assert [until for _, until, _ in found] == sorted(until for _, until, _ in found)
        for _, _, name in found:
            assert machines.load_profile(name).extends == engine


def test_a_profile_of_ones_own_may_extend_one_of_the_catalog(tmp_path: Path) -> None:
    mine = tmp_path / "mine.toml"
    mine.write_text(
        'name = "mine"\nextends = "sglang"\n[host_step]\nvalue = 0.004\nunit = "s"\nnote = "measured"\n',
        encoding="utf-8",
    )
    found = machines.load_profile(str(mine))
    assert found.host_step.value == 0.004
    assert found.mixed is False
    assert found.kernels == ("mine", "sglang")
    mine.write_text('name = "mine"\nextends = "sglong"\n', encoding="utf-8")
    with pytest.raises(PertokenError, match="did you mean sglang"):
        machines.load_profile(str(mine))


def test_eras_of_the_operator_tables_are_profiles() -> None:
    from pertoken.calibrate.eras import ERAS

    assert set(ERAS) <= set(files.names("engines"))
    assert {machines.load_profile(name).extends for name in ERAS} == {engine for engine, _ in ERAS.values()}
