"""Exact text and JSON of what people see first; ``PERTOKEN_GOLDEN=write`` makes the files anew."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from tests.cli.tool import run

HERE = Path(__file__).parent
JOB = ("price", "llama-3.1-70b", "--on", "8xh100-sxm", "--dtype", "fp8")
EIGHT = ("llama-3.1-8b", "--on", "h100-sxm", "--input", "8192", "--output", "512", "--concurrency", "32")
SAMPLE = str(HERE.parents[1] / "docs" / "samples" / "vllm-bench.json")
MEASURED = ("--on", "1xh100-sxm", "--dtype", "bf16", "--rate", "rent:2.50")
HOME = (
    "price", "llama-3.1-8b", "--on", "1xrtx-4090", "--dtype", "q4_k_m", "--engine", "llamacpp", "--concurrency", "1",
    "--input", "1000", "--output", "300",
)  # fmt: skip
GROQ = ("--offer", "groq/llama-3.3-70b-versatile")
CASES: dict[str, tuple[str, ...]] = {
    "price-70b.txt": JOB,
    "price-70b.json": (*JOB, "--json"),
    "price-70b.csv": (*JOB, "--csv"),
    "price-8b.txt": ("price", "llama-3.1-8b"),
    "compare.txt": ("price", "llama-3.1-70b", "--on", "8xh100-sxm", "--on", "8xmi300x"),
    "curve-70b.txt": ("curve", *JOB[1:]),
    "curve-70b.json": ("curve", *JOB[1:], "--positions", "1,11,10001", "--json"),
    "curve-views.txt": (
        "curve",
        *JOB[1:],
        "--view",
        "fair",
        "--view",
        "long-run",
        "--who",
        "reader",
        "--who",
        "occupant",
    ),
    "load.txt": (*JOB, "--load", "0.3", "--cached", "0.5", "--basis", "allocation"),
    "no-rent.txt": ("price", "llama-3.1-8b", "--on", "1xgh200-96gb"),
    "does-not-fit.txt": ("price", "llama-3.1-405b", "--on", "8xh100-sxm"),
    "rates.txt": (*JOB, "--rate", "rent", "--rate", "own", "--rate", "power:0.12", "--utilisation", "0.3"),
    "home.txt": (*HOME, "--rate", "own:1600,life=4y,power=0.30"),
    "home.json": (*HOME, "--rate", "own:1600,life=4y,power=0.30", "--json"),
    "uncertainty.txt": (*JOB, "--rate", "rent:neocloud", "--utilisation", "0.5", "--uncertainty"),
    "list-rates.txt": ("list", "rates"),
    "list-rates-h100.txt": ("list", "rates", "h100-sxm"),
    "list-engines.txt": ("list", "engines"),
    "list-traces.txt": ("list", "traces"),
    "show-model.txt": ("show", "model", "llama-3.1-8b"),
    "show-accelerator.txt": ("show", "accelerator", "h100"),
    "help.txt": ("--help",),
    "help-price.txt": ("price", "--help"),
    "help-explain.txt": ("explain", "--help"),
    "help-simulate.txt": ("simulate", "--help"),
    "help-measure.txt": ("measure", "--help"),
    "measure-file.txt": ("measure", SAMPLE, *MEASURED),
    "measure-file.json": ("measure", SAMPLE, *MEASURED, "--json"),
    "explain-70b.txt": ("explain", *JOB[1:]),
    "explain-8b-depth-5.txt": ("explain", "llama-3.1-8b", "--on", "h100-sxm", "--concurrency", "16", "--depth", "5"),
    "explain-8b.json": ("explain", "llama-3.1-8b", "--on", "h100-sxm", "--concurrency", "16", "--depth", "2", "--json"),
    "explain-difference.txt": ("explain", *JOB[1:], "--on", "8xh200-sxm", "--concurrency", "64"),
    "explain-what-if.txt": ("explain", *JOB[1:], "--what-if", "speculative:2.5", "--depth", "4"),
    "what-if-8b.json": ("price", *EIGHT, "--what-if", "no-kv-cache", "--what-if", "no-gqa", "--json"),
    "what-if-8b.csv": ("price", *EIGHT, "--what-if", "all", "--csv"),
    "what-if-latent.txt": ("price", "deepseek-v3", "--on", "8xh200-sxm", "--concurrency", "64", "--what-if", "all"),
    "cite.bib": ("explain", "deepseek-v3", "--on", "8xh200-sxm", "--concurrency", "64", "--cite"),
    "help-curve.txt": ("curve", "--help"),
    "help-answers.txt": ("answers", "--help"),
    "answers-70b.txt": ("answers",),
    "answers-70b.json": ("answers", "--json"),
    "answers-8b-batch-1.txt": ("answers", "llama-3.1-8b", "--on", "1xh100-sxm", "--concurrency", "1"),
    "market-70b.txt": ("market", "llama-3.3-70b", *JOB[2:]),
    "market-cases.txt": (
        "market",
        "llama-3.3-70b",
        *JOB[2:],
        "--rate",
        "rent",
        "--rate",
        "own",
        "--utilisation",
        "0.5",
    ),
    "market-120b.json": ("market", "gpt-oss-120b", "--on", "2xh100-sxm", "--json"),
    "market-offer.txt": ("market", "llama-3.3-70b", *JOB[2:], *GROQ, "--spend", "4000/month", "--utilisation", "0.4"),
    "market-offer.json": ("market", "llama-3.3-70b", *JOB[2:], *GROQ, "--spend", "4000/month", "--json"),
    "market-tiers.txt": (
        "market",
        "llama-4-maverick",
        "--on",
        "8xh200-sxm",
        "--dtype",
        "fp8",
        "--offer",
        "anthropic/claude-sonnet-4-5",
    ),
    "market-chat.txt": ("market", *JOB[1:], "--trace", "azure-2023-conversation"),
    "market-agents.txt": (
        "market",
        *JOB[1:],
        "--trace",
        "mooncake-conversation",
        "--offer",
        "anthropic/claude-sonnet-4-5",
    ),
    "market-ratios.txt": ("market", "--ratios"),
    "market-history.txt": ("market", "gpt-oss-120b", "--history"),
    "market-closed.txt": ("market", "claude-sonnet-4-5"),
    "help-market.txt": ("market", "--help"),
}
HEAD = {"list-rates.txt": 12, "show-accelerator.txt": 24}  # lines kept of what grows with the catalog
NOISE = 1e-9  # a figure this small beside the others is rounding of the machine at hand


def rounded(value: Any) -> Any:
    """JSON data with floats of nine significant digits."""
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [rounded(item) for item in value]
    if isinstance(value, float):
        return 0.0 if abs(value) < NOISE else float(f"{value:.9g}")
    return value


def shown(name: str) -> str:
    """What the command of a golden file prints now, on both streams."""
    result = run(*CASES[name])
    assert result.code == (3 if name == "does-not-fit.txt" else 0), result.err
    text = result.out + result.err
    if name.endswith(".json"):
        return json.dumps(rounded(json.loads(text)), indent=1) + "\n"
    if name.endswith(".csv"):
        rows = [line.split(",") for line in text.splitlines()]
        return "".join(",".join(_digits(cell) for cell in row) + "\n" for row in rows)
    lines = text.splitlines(keepends=True)
    return "".join(lines[: HEAD.get(name, len(lines))])


def _digits(cell: str) -> str:
    try:
        return f"{float(cell):.9g}"
    except ValueError:
        return cell


@pytest.mark.parametrize("name", CASES)
def test_output_is_as_kept(name: str) -> None:
    path = HERE / name
    found = shown(name)
    if os.environ.get("PERTOKEN_GOLDEN") == "write":
        path.write_text(found, encoding="utf-8")
    kept = path.read_text(encoding="utf-8")
    assert found == kept, f"{name} changed; if that is meant, run with PERTOKEN_GOLDEN=write and read the difference"


@pytest.mark.parametrize("name", CASES)
def test_text_is_readable(name: str) -> None:
    text = shown(name).replace("Raanan", "")  # an author, and a number's name
    for wrong in ("nan", "inf ", "None", "NaN", "Traceback", "$-", "{'", "\t"):
        assert wrong not in text, wrong
    assert not re.search(r"-0\.0+(?![0-9])", text), "a zero below zero"
    if name.startswith(
        (
            "price-70b.t",
            "price-8b",
            "curve-70b.t",
            "curve-v",
            "load",
            "no-rent",
            "help",
            "explain",
            "what-if-latent",
            "answers",
        )
    ) and name.endswith(".txt"):
        widest = max(text.splitlines(), key=len)
        assert len(widest) <= 120, widest
    assert not any(line != line.rstrip() for line in text.splitlines())


def test_no_golden_file_is_left_over() -> None:
    assert {path.name for path in HERE.glob("*.*")} - {"__init__.py", "test_golden.py"} == set(CASES)
