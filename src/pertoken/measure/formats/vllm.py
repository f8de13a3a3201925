"""``vllm bench serve --save-result`` (vLLM 0.6 to 0.1x, `vllm/benchmarks/serve.py`, read 2026-11-25).

Times are milliseconds. ``request_rate`` is ``"inf"`` where all requests are sent at once, and ``max_concurrency`` null where
none was set. ``--append-result`` writes one object a line.
"""

from __future__ import annotations

import math
from typing import Any

from pertoken.measure.runs import UNSTATED, Run, at, count, number, text

TOOL = "vllm bench serve"


def match(data: Any) -> bool:
    """Whether an object is one of its results."""
    return isinstance(data, dict) and {"total_input_tokens", "completed", "duration"} <= data.keys()


def read(data: Any, name: str) -> list[Run]:
    """Its one run."""
    completed = number(data, "completed")
    each = completed if completed > 0 else UNSTATED
    rate = at(data, "request_rate")
    concurrency = number(data, "max_concurrency")
    at_once = isinstance(rate, str) or rate is None
    together = number(data, "num_prompts") if at_once and math.isnan(concurrency) else UNSTATED
    arrivals = number(data, "request_rate") if not at_once and math.isnan(concurrency) else UNSTATED
    return [
        Run(
            tool=TOOL, name=name, model=text(data, "model_id"), date=_day(text(data, "date")),
            input=number(data, "total_input_tokens") / each, output=number(data, "total_output_tokens") / each,
            concurrency=concurrency, rate=arrivals, together=together, ttft=number(data, "mean_ttft_ms") * 1e-3,
            tpot=number(data, "mean_tpot_ms") * 1e-3, throughput=number(data, "output_throughput"),
            requests=count(completed), failed=count(number(data, "failed")),
        )
    ]  # fmt: skip


def _day(stamp: str) -> str:
    """``20251029-101500`` as ``2025-10-29``."""
    return f"{stamp[:4]}-{stamp[4:6]}-{stamp[6:8]}" if stamp[:8].isdigit() and len(stamp) >= 8 else ""
