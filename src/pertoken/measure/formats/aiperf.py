"""NVIDIA AIPerf: ``profile_export_aiperf.json`` (schema 1.0 to 1.5) and ``profile_export.jsonl``, docs read 2026-11-25.

Every metric states its unit, which is kept to. ``inter_token_latency`` is a request's time after its first token over its
later tokens: TPOT.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from pertoken.errors import PertokenError
from pertoken.measure.runs import SECONDS, UNSTATED, Run, at, count, find, first, in_flight, mean, number, text

TOOL = "aiperf"


def match(data: Any) -> bool:
    """Whether an object is a summary of it."""
    return isinstance(data, dict) and isinstance(at(data, "request_latency", "unit"), str)


def match_lines(rows: Sequence[Any]) -> bool:
    """Whether lines are its records."""
    return bool(rows) and isinstance(rows[0], dict) and {"metadata", "metrics"} <= rows[0].keys()


def _seconds(table: Any, name: str, key: str = "avg") -> float:
    """A time in its own unit [s]."""
    value, unit = number(table, name, key), text(table, name, "unit").lower()
    if math.isnan(value):
        return UNSTATED
    if unit not in SECONDS:
        raise PertokenError(f"{name} is in {unit[:40]!r}; a unit of time is needed: {', '.join(SECONDS)}")
    return value * SECONDS[unit]


def read(data: Any, name: str) -> list[Run]:
    """Its one run."""
    settings = data.get("input_config") or {}
    concurrency, arrivals = (number({"x": find(settings, key)}, "x") for key in ("concurrency", "request_rate"))
    assumed: tuple[str, ...] = ()
    if math.isnan(concurrency) and math.isnan(arrivals):
        rate = number(data, "request_throughput", "avg")
        concurrency, assumed = in_flight(rate, _seconds(data, "request_latency"))
    models = find(settings, "model_names")
    model = models[0] if isinstance(models, list) and models else find(settings, "model_name")
    answered = first(number(data, "request_count", "avg"), number(data, "request_latency", "count"))
    return [
        Run(
            tool=TOOL, name=name, model=model[:200] if isinstance(model, str) else "", date=text(data, "start_time")[:10],
            input=number(data, "input_sequence_length", "avg"), output=number(data, "output_sequence_length", "avg"),
            cached=number(data, "usage_prompt_cache_read_tokens", "avg"),
            concurrency=concurrency, rate=arrivals if math.isnan(concurrency) else UNSTATED,
            ttft=_seconds(data, "time_to_first_token"), tpot=_seconds(data, "inter_token_latency"),
            throughput=number(data, "output_token_throughput", "avg"), requests=count(answered),
            failed=count(number(data, "error_request_count", "avg")), watts=_watts(data), assumed=assumed,
        )
    ]  # fmt: skip


def _watts(data: Any) -> float:
    """Mean power of all GPUs that were watched [W]."""
    found = []
    for endpoint in (at(data, "telemetry_data", "endpoints") or {}).values():
        for gpu in (at(endpoint, "gpus") or {}).values():
            metrics = at(gpu, "metrics") or {}
            power = next((metrics[k] for k in ("nvidia_power_usage", "gpu_power_usage") if k in metrics), None)
            if power is not None and text(power, "unit") == "W":
                found.append(number(power, "avg"))
    return math.fsum(found) if found else UNSTATED


def read_lines(rows: Sequence[Any], name: str) -> list[Run]:
    """All records of a file as one run; those of a warm-up do not count."""
    rows = [r for r in rows if isinstance(r, dict) and at(r, "metadata", "benchmark_phase") != "warmup"]
    good = [r for r in rows if not r.get("error") and at(r, "metadata", "was_cancelled") is not True]
    metrics = [r["metrics"] for r in good if isinstance(r.get("metrics"), dict)]

    def over(key: str, seconds: bool = False) -> list[float]:
        values = [_seconds(m, key, "value") if seconds else number(m, key, "value") for m in metrics]
        return [v for v in values if not math.isnan(v)]

    begin = [number(r, "metadata", "request_start_ns") for r in good]
    end = [number(r, "metadata", "request_end_ns") for r in good]
    span = (max(end) - min(begin)) * 1e-9 if good else UNSTATED
    took = math.fsum(e - b for b, e in zip(begin, end, strict=True)) * 1e-9
    outputs = over("output_sequence_length")
    concurrency, assumed = in_flight(1.0 / span, took) if span > 0 else (UNSTATED, ())
    return [
        Run(
            tool=TOOL, name=name, input=mean(over("input_sequence_length")), output=mean(outputs), concurrency=concurrency,
            ttft=mean(over("time_to_first_token", True)), tpot=mean(over("inter_token_latency", True)),
            throughput=math.fsum(outputs) / span if span > 0 else UNSTATED, requests=len(good), failed=len(rows) - len(good),
            assumed=assumed,
        )
    ]  # fmt: skip
