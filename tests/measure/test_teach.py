"""A probe of a machine with known shares teaches them, and a price then uses them."""

from __future__ import annotations

import json
import re
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pertoken.engine.factor import EngineFactor
from pertoken.measure import expected
from pertoken.measure.design import Design
from pertoken.measure.records import Answer, Probe, to_lines
from pertoken.scenario import price
from tests.cli.tool import run

MEMORY, COMPUTE = 0.7, 0.6
SETTING = ("--on", "1xl40s", "--engine", "vllm", "--rate", "rent:1")


def pretended(scale: EngineFactor) -> Probe:
    """What a machine whose shares are scaled would answer to the design, without any noise."""
    found = price(
        "llama-3.1-8b", on="1xl40s", engine="vllm", rate="rent:1", input=512, output=64, concurrency=1
    ).deployment
    machine = replace(found, chooser=replace(found.chooser, assumed=[], scale=scale))
    answers, now = [], 0.0
    for group, cell in enumerate(Design(4096, 32, (1, 4, 16), 2).cells()):
        cached = cell.prefix if cell.kind in ("chunk", "decode") else 0
        fresh = cell.input - cached
        first = now + expected.first_token(machine, fresh, cached)
        context = cell.input + cell.output / 2.0
        step = expected.decode_step(machine, cell.batch, context)
        decode = {"step_s": step, "context": context} if cell.kind == "decode" else {}
        last = first + step * (cell.output - 1)
        batch = 1 if cell.kind == "prefix" else cell.batch
        one = Answer(cell.kind, group, batch, now, first, last, cell.input, cell.output, cached, **decode)
        answers += [one] * cell.batch
        now = last + 0.1
    return Probe(tuple(answers), {"model": "llama-3.1-8b"})


@pytest.fixture(scope="module")
def probed(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    """What is reported of that machine, and the calibration that it teaches."""
    folder = tmp_path_factory.mktemp("teach")
    path, own = folder / "probe.jsonl", folder / "own.toml"
    path.write_text(to_lines(pretended(EngineFactor(1.0 / MEMORY, 1.0 / COMPUTE))), encoding="utf-8")
    found = run("measure", str(path), *SETTING, "--json", "-o", str(own))
    assert found.code == 0, found.err
    return found.json(), own


def test_known_shares_are_found_and_used(probed: tuple[dict[str, Any], Path]) -> None:
    _, own = probed
    made = tomllib.loads(own.read_text(encoding="utf-8"))
    assert made["memory"]["value"] == pytest.approx(MEMORY, rel=0.05)
    assert made["compute"]["value"] == pytest.approx(COMPUTE, rel=0.08)
    assert (made["accelerator"], made["engine"]) == ("l40s", "vllm")
    job = ("price", "llama-3.1-8b", *SETTING, "--input", "512", "--output", "64", "--concurrency", "4", "--json")
    before, after = (json.loads(run(*job, *more).out) for more in ((), ("--efficiency", str(own))))
    for kind, share in (("input", COMPUTE), ("output", MEMORY)):
        ratio = before["per_million"][kind]["value"] / after["per_million"][kind]["value"]
        assert share * 0.85 < ratio < 1.0
    assert any("pertoken measure" in note for note in after["assumed"])


def test_what_disagrees_is_named_with_what_explains_it(probed: tuple[dict[str, Any], Path]) -> None:
    named = {d["part"]: d for d in probed[0]["disagreements"]}
    assert named["token"]["term"] == "compute" and named["token"]["factor"] == pytest.approx(1.0 / COMPUTE, rel=0.1)
    assert named["step"]["term"] == "memory" and named["step"]["factor"] == pytest.approx(1.0 / MEMORY, rel=0.1)


def test_the_model_itself_has_nothing_to_disagree_with(tmp_path: Path) -> None:
    path = tmp_path / "probe.jsonl"
    path.write_text(to_lines(pretended(EngineFactor())), encoding="utf-8")
    text = run("measure", str(path), *SETTING)
    assert text.code == 0 and "where the model disagrees" not in text.out and "calibration: memory x 1" in text.out
    assert set(re.findall(r"[+-][0-9.]+%  ", text.out)) <= {"+0.0%  ", "-0.0%  "}
