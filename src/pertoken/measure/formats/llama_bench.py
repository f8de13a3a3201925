"""``llama-bench -o json`` and ``-o jsonl`` (llama.cpp, tools/llama-bench/README.md, read 2026-11-25).

A test is a prompt (``n_gen`` 0), generation (``n_prompt`` 0) or both, of one sequence, after ``n_depth`` tokens that are in the
cache; times are nanoseconds of the whole test.
"""

from __future__ import annotations

from typing import Any

from pertoken.measure.runs import UNSTATED, Run, first, number, text

TOOL = "llama-bench"


def match(data: Any) -> bool:
    """Whether an object is one of its tests."""
    return isinstance(data, dict) and {"n_prompt", "n_gen", "avg_ns"} <= data.keys()


def read(data: Any, name: str) -> list[Run]:
    """Its one test."""
    prompt, made, depth = (first(number(data, key), 0.0) for key in ("n_prompt", "n_gen", "n_depth"))
    seconds = number(data, "avg_ns") * 1e-9
    samples = data.get("samples_ns")
    label = " ".join(
        [f"pp{prompt:.0f}"] * (prompt > 0) + [f"tg{made:.0f}"] * (made > 0) + [f"@ d{depth:.0f}"] * (depth > 0)
    )
    alone = prompt > 0 and made == 0
    file = text(data, "model_filename").replace("\\", "/").rsplit("/", 1)[-1].removesuffix(".gguf")
    return [
        Run(
            tool=TOOL, name=f"{name} {label}", model=file, engine="llamacpp", version=f"b{number(data, 'build_number'):.0f}",
            date=text(data, "test_time")[:10], input=max(1.0, prompt + depth), output=max(1.0, made), cached=depth,
            concurrency=1.0, ttft=seconds if alone else UNSTATED,
            tpot=seconds / made if made > 0 and prompt == 0 else UNSTATED,
            throughput=made / seconds if made > 0 and prompt > 0 and seconds > 0 else UNSTATED,
            requests=len(samples) if isinstance(samples, list) else 1,
        )
    ]  # fmt: skip
