"""Kubernetes inference-perf: ``summary_`` and ``stage_N_lifecycle_metrics.json``, and ``per_request_lifecycle_metrics.json``.

Times are seconds (docs/reports.md, read 2026-11-25). ``prompt_len`` and ``output_len`` are older names of ``prompt_tokens`` and
``output_tokens``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from pertoken.measure.runs import UNSTATED, Run, at, count, first, in_flight, mean, number

TOOL = "inference-perf"
KEPT = 0.9  # of the requested rate that must be served for arrivals to be as requested


def match(data: Any) -> bool:
    """Whether an object is one of its summaries."""
    return isinstance(data, dict) and isinstance(at(data, "successes", "latency"), dict)


def match_lines(rows: Sequence[Any]) -> bool:
    """Whether a list holds its requests."""
    return bool(rows) and isinstance(rows[0], dict) and {"start_time", "end_time", "info"} <= rows[0].keys()


def read(data: Any, name: str) -> list[Run]:
    """Its one run or stage."""
    good = data["successes"]
    served = number(good, "throughput", "requests_per_sec")
    asked = first(number(data, "load_summary", "requested_rate"), number(data, "load_summary", "send_rate"))
    together = number(data, "load_summary", "concurrency")
    assumed: tuple[str, ...] = ()
    if math.isnan(together) and not (asked > 0 and served >= KEPT * asked):
        together, assumed = in_flight(served, number(good, "latency", "request_latency", "mean"))
    return [
        Run(
            tool=TOOL, name=name, input=_tokens(good, "prompt"), output=_tokens(good, "output"),
            cached=number(good, "prompt_tokens", "cached") / max(number(good, "count"), 1.0),
            concurrency=together, rate=asked if math.isnan(together) else UNSTATED,
            ttft=number(good, "latency", "time_to_first_token", "mean"),
            tpot=first(
                number(good, "latency", "time_per_output_token", "mean"),
                number(good, "latency", "inter_token_latency", "mean"),
            ),
            throughput=number(good, "throughput", "output_tokens_per_sec"), requests=count(number(good, "count")),
            failed=count(number(data, "failures", "count")), assumed=assumed,
        )
    ]  # fmt: skip


def _tokens(good: Any, side: str) -> float:
    """Mean tokens of a request."""
    total = number(good, f"{side}_tokens", "total") / max(number(good, "count"), 1.0)
    return first(number(good, f"{side}_tokens", "mean"), number(good, f"{side}_len", "mean"), total)


def read_lines(rows: Sequence[Any], name: str) -> list[Run]:
    """All requests of a file as one run."""
    good = [r for r in rows if isinstance(r, dict) and not r.get("error") and isinstance(r.get("info"), dict)]
    inputs = [number(r, "info", "input_tokens") for r in good]
    outputs = [number(r, "info", "output_tokens") for r in good]
    began, ended = ([number(r, key) for r in good] for key in ("start_time", "end_time"))
    ttfts, tpots = [], []
    for start, output, request in zip(began, outputs, good, strict=True):
        ticks = [t for t in at(request, "info", "output_token_times") or [] if isinstance(t, int | float)]
        if ticks and ticks[0] >= start:
            ttfts.append(ticks[0] - start)
            if output > 1 and ticks[-1] > ticks[0]:
                tpots.append((ticks[-1] - ticks[0]) / (output - 1))
    span = max(ended) - min(began) if good else UNSTATED
    took = math.fsum(e - b for b, e in zip(began, ended, strict=True))
    together, assumed = in_flight(1.0 / span, took) if span > 0 else (UNSTATED, ())
    return [
        Run(
            tool=TOOL, name=name, input=mean(inputs), output=mean(outputs), concurrency=together, ttft=mean(ttfts),
            tpot=mean(tpots), throughput=math.fsum(outputs) / span if span > 0 else UNSTATED, requests=len(good),
            failed=len(rows) - len(good), assumed=assumed,
        )
    ]  # fmt: skip
