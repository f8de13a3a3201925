"""Result files as load generators write them, made up: field names are the tools' own, figures are invented."""

from __future__ import annotations

from typing import Any


def vllm(**more: Any) -> dict[str, Any]:
    """``vllm bench serve --save-result``."""
    return {
        "date": "20261101-101500", "endpoint_type": "vllm", "backend": "vllm", "label": None,
        "model_id": "meta-llama/Llama-3.1-8B-Instruct", "tokenizer_id": "meta-llama/Llama-3.1-8B-Instruct", "num_prompts": 80,
        "request_rate": "inf", "burstiness": 1.0, "max_concurrency": 8, "duration": 40.0, "completed": 80, "failed": 0,
        "total_input_tokens": 81920, "total_output_tokens": 20480, "request_throughput": 2.0, "request_goodput": None,
        "output_throughput": 512.0, "total_token_throughput": 2560.0, "mean_ttft_ms": 110.0, "median_ttft_ms": 90.0,
        "p99_ttft_ms": 400.0, "mean_tpot_ms": 14.0, "median_tpot_ms": 14.0, "mean_itl_ms": 14.0,
    } | more  # fmt: skip


def stats(unit: str, avg: float, **more: Any) -> dict[str, Any]:
    """A metric of AIPerf's summary."""
    return {"unit": unit, "avg": avg, "min": avg, "max": avg, "p50": avg, "p99": avg, "std": 0.0} | more


def aiperf(**more: Any) -> dict[str, Any]:
    """AIPerf's ``profile_export_aiperf.json``."""
    return {
        "schema_version": "1.5", "aiperf_version": "0.13.0", "start_time": "2026-11-02T08:00:00",
        "request_latency": stats("ms", 3680.0, count=80, sum=294400.0), "time_to_first_token": stats("ms", 110.0),
        "inter_token_latency": stats("ms", 14.0), "input_sequence_length": stats("tokens", 1024.0),
        "output_sequence_length": stats("tokens", 256.0), "output_token_throughput": {"unit": "tokens/sec", "avg": 512.0},
        "request_throughput": {"unit": "requests/sec", "avg": 2.0}, "request_count": {"unit": "requests", "avg": 80.0},
        "input_config": {"endpoint": {"model_names": ["llama-3.1-8b"]}, "loadgen": {"concurrency": 8}},
        "telemetry_data": {"endpoints": {"localhost:9400": {"gpus": {
            "gpu_0": {"gpu_name": "NVIDIA H100", "metrics": {"nvidia_power_usage": {"unit": "W", "avg": 512.0}}}}}}},
    } | more  # fmt: skip


def aiperf_record(start_s: float, **more: Any) -> dict[str, Any]:
    """A line of AIPerf's ``profile_export.jsonl``."""
    return {
        "metadata": {
            "session_num": 0, "request_start_ns": int(start_s * 1e9), "request_end_ns": int((start_s + 3.68) * 1e9),
            "benchmark_phase": "profiling", "was_cancelled": False,
        },
        "metrics": {
            "input_sequence_length": {"value": 1024, "unit": "tokens"},
            "output_sequence_length": {"value": 256, "unit": "tokens"},
            "time_to_first_token": {"value": 110.0, "unit": "ms"}, "inter_token_latency": {"value": 14_000.0, "unit": "us"},
            "request_latency": {"value": 3.68, "unit": "s"},
        },
        "error": None,
    } | more  # fmt: skip


def good(mean: float) -> dict[str, Any]:
    """A distribution of GuideLLM."""
    return {"successful": {"mean": mean, "median": mean, "percentiles": {"p50": mean}}, "errored": {"mean": 0.0}}


def guidellm(version: int = 1) -> dict[str, Any]:
    """GuideLLM's ``benchmarks.json``."""

    def run(strategy: dict[str, Any], rate: float, concurrency: float) -> dict[str, Any]:
        metrics = {
            "request_totals": {"successful": 80, "incomplete": 0, "errored": 2, "total": 82},
            "requests_per_second": good(rate), "request_concurrency": good(concurrency), "request_latency": good(3.68),
            "time_to_first_token_ms": good(110.0), "inter_token_latency_ms": good(14.0),
            "output_tokens_per_second": good(256 * rate),
        }  # fmt: skip
        lengths = {"input": good(1024.0), "output": good(256.0)}
        if version == 1:
            metrics |= {"prompt_token_count": lengths["input"], "output_token_count": lengths["output"]}
        else:
            metrics |= {"text": {"tokens": lengths}}
        return {"type_": "generative_benchmark", "config": {"strategy": strategy}, "metrics": metrics, "duration": 40.0}

    return {
        "metadata": {"version": version, "guidellm_version": "0.6.0"}, "args": {"target": "x", "model": "llama-3.1-8b"},
        "benchmarks": [
            run({"type_": "synchronous"}, 0.27, 1.0), run({"type_": "concurrent", "streams": 8}, 2.0, 8.0),
            run({"type_": "constant", "rate": 1.5}, 1.5, 5.0), run({"type_": "throughput"}, 6.0, 24.0),
        ],
    }  # fmt: skip


def inference_perf(**more: Any) -> dict[str, Any]:
    """inference-perf's ``stage_0_lifecycle_metrics.json``."""
    return {
        "load_summary": {"count": 80, "requested_rate": 2.0, "achieved_rate": 2.0},
        "successes": {
            "count": 80, "prompt_tokens": {"mean": 1024.0, "total": 81920.0, "cached": 0.0}, "output_len": {"mean": 256.0},
            "latency": {
                "request_latency": {"mean": 3.68}, "time_to_first_token": {"mean": 0.11},
                "time_per_output_token": {"mean": 0.014},
            },
            "throughput": {"requests_per_sec": 2.0, "output_tokens_per_sec": 512.0, "total_tokens_per_sec": 2560.0},
        },
        "failures": {"count": 3},
    } | more  # fmt: skip


def inference_perf_request(start: float) -> dict[str, Any]:
    """An item of inference-perf's ``per_request_lifecycle_metrics.json``."""
    ticks = [start + 0.11 + 0.014 * i for i in range(256)]
    return {"start_time": start, "end_time": ticks[-1], "request": "", "response": "", "error": None,
            "info": {"input_tokens": 1024, "output_tokens": 256, "output_token_times": ticks}}  # fmt: skip


def llama_bench(prompt: int, made: int, depth: int, seconds: float) -> dict[str, Any]:
    """A test of llama-bench."""
    return {
        "build_commit": "8cf427ff", "build_number": 5163, "model_filename": "models/Llama-3.1-8B-Instruct-Q4_K_M.gguf",
        "model_type": "llama 8B Q4_K - Medium", "n_prompt": prompt, "n_gen": made, "n_depth": depth,
        "test_time": "2026-11-03T11:58:50Z", "avg_ns": int(seconds * 1e9), "stddev_ns": 1000, "avg_ts": 1.0,
        "samples_ns": [int(seconds * 1e9)] * 5,
    }  # fmt: skip
