"""GuideLLM's ``benchmarks.json``: a ``benchmarks`` list, schema 1 (source read 2026-11-25) and later by the same names.

Each distribution has ``successful``, ``incomplete`` and ``errored``; times end in ``_ms``, ``request_latency`` is in seconds.
"""

from __future__ import annotations

import math
from typing import Any

from pertoken.measure.runs import UNSTATED, Run, at, count, find, first, in_flight, number, text

TOOL = "guidellm"


def match(data: Any) -> bool:
    """Whether an object is one of its reports."""
    runs = at(data, "benchmarks")
    return isinstance(runs, list) and bool(runs) and isinstance(at(runs[0], "metrics"), dict)


def _good(run: Any, *path: str) -> float:
    """Mean of a distribution over successful requests."""
    return number(run, "metrics", *path, "successful", "mean")


def _tokens(run: Any, general: str, side: str) -> float:
    """Mean tokens of a request; later reports keep them under ``text`` only."""
    return first(_good(run, general), _good(run, "text", "tokens", side))


def read(data: Any, name: str) -> list[Run]:
    """One run for each benchmark of the report."""
    settings = data.get("args") or {}
    model = find(settings, "model")
    return [
        _run(run, f"{name} [{i}]", model[:200] if isinstance(model, str) else "", settings)
        for i, run in enumerate(data["benchmarks"], 1)
        if isinstance(run, dict)
    ]


def _run(run: Any, name: str, model: str, settings: Any) -> Run:
    strategy = at(run, "config", "strategy") or find(run, "strategy") or {}
    kind = text(strategy, "type_") or (strategy if isinstance(strategy, str) else "")
    concurrency, arrivals, assumed = _arrivals(kind, strategy, run)
    return Run(
        tool=TOOL, name=f"{name} {kind}".strip(), model=model, engine=_engine(settings),
        input=_tokens(run, "prompt_token_count", "input"), output=_tokens(run, "output_token_count", "output"),
        concurrency=concurrency, rate=arrivals, ttft=_good(run, "time_to_first_token_ms") * 1e-3,
        tpot=_good(run, "inter_token_latency_ms") * 1e-3, throughput=_good(run, "output_tokens_per_second"),
        requests=count(number(run, "metrics", "request_totals", "successful")),
        failed=count(number(run, "metrics", "request_totals", "errored")), assumed=assumed,
    )  # fmt: skip


def _engine(settings: Any) -> str:
    """Its backend names the protocol, not the engine, so only what is plainly an engine counts."""
    found = find(settings, "backend_type") or ""
    return found if isinstance(found, str) and found in ("vllm", "sglang") else ""


def _arrivals(kind: str, strategy: Any, run: Any) -> tuple[float, float, tuple[str, ...]]:
    """Requests in flight, requests/s, and what was derived."""
    if kind == "synchronous":
        return 1.0, UNSTATED, ()
    streams = first(number(strategy, "streams"), number(strategy, "max_concurrency"))
    if kind in ("concurrent", "throughput") and not math.isnan(streams):
        return streams, UNSTATED, ()
    if kind in ("constant", "poisson") and not math.isnan(rate := number(strategy, "rate")):
        return UNSTATED, rate, ()
    seen = _good(run, "request_concurrency")
    if not math.isnan(seen):
        return max(1.0, seen), UNSTATED, (f"{seen:.3g} requests in flight, the mean that it measured",)
    found, assumed = in_flight(_good(run, "requests_per_second"), _good(run, "request_latency"))
    return found, UNSTATED, assumed
