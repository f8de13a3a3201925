"""Very different cases: dense and sparse, latent, windowed and linear attention, large batches and none, rent or none."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pertoken as pt
from pertoken.answers.ask import answer
from pertoken.answers.base import Answer, Asked
from pertoken.cli.answers import asked_of

CASES = {
    "70b": {"model": "llama-3.1-70b", "on": "8xh100-sxm", "dtype": "fp8"},
    "8b alone": {"model": "llama-3.1-8b", "on": "1xh100-sxm", "concurrency": 1},
    "latent experts": {"model": "deepseek-v3", "on": "8xh200-sxm"},
    "windows and experts": {"model": "gpt-oss-120b", "on": "2xh100-sxm"},
    "linear attention": {"model": "qwen3.5-35b-a3b", "on": "1xh100-sxm", "dtype": "fp8", "input": "32000", "output": "500"},
    "state space at a load": {"model": "nemotron-h-56b", "on": "4xh100-sxm", "load": 0.3},
    "one window": {
        "model": "mistral-7b", "on": "1xrtx-4090", "dtype": "fp8", "input": "20000", "output": "3000", "concurrency": 1,
    },
    "cpu without a rent": {"model": "llama-3.1-8b", "on": "1xxeon-8480", "concurrency": 1},
    "no rent": {"model": "llama-3.1-8b", "on": "1xgh200-96gb"},
    "one token out": {"model": "qwen2.5-0.5b", "on": "1xh100-sxm", "input": "500", "output": "1"},
    "power, cached, a rate": {
        "model": "llama-3.1-8b", "on": "1xh100-sxm", "rate": "power:0.12", "cached": 0.9, "rps": 3, "basis": "allocation",
    },
    "home": {
        "model": "llama-3.1-8b", "on": "1xrtx-4090", "dtype": "q4_k_m", "engine": "llamacpp", "concurrency": 1,
        "rate": "own:1600,life=4y,power=0.30", "utilisation": "0.3",
    },
    "input dearer": {"model": "llama-3.1-8b", "on": "8xh100-sxm", "input": "20", "output": "1", "ttft": "1000"},
    "all but alike": {"model": "llama-3.1-8b", "on": "8xb200-sxm", "input": "100", "output": "2000", "tpot": "10"},
    "two domains": {"model": "deepseek-v3", "on": "16xh200-sxm", "ep": 16, "dp": 16, "tp": 1, "concurrency": 256},
}  # fmt: skip
OWN = """name = "mine"
title = "A card of my own"
vendor = "nvidia"
family = "ada"

[flops]
bf16 = 100e12
fp8 = 200e12

[memory]
capacity = 40e9
bandwidth = 800e9
"""


@cache
def cost(name: str) -> pt.Cost:
    """The cost of a case."""
    return pt.price(**CASES[name])


@cache
def asked(name: str) -> Asked:
    """A case with what is known around it."""
    return asked_of(cost(name))


@cache
def answers(name: str) -> tuple[Answer, ...]:
    """All answers of a case."""
    return tuple(answer(asked(name)))


def own_accelerator(folder: Path) -> Path:
    """A file of an accelerator that nobody sells: no rent, no link, no power."""
    path = folder / "mine.toml"
    path.write_text(OWN, encoding="utf-8")
    return path
