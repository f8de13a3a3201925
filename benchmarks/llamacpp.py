"""llama.cpp on consumer machines: predictions beside speeds that others published and that taught nothing.

``python benchmarks/llamacpp.py`` prints tokens a second of one sequence of Llama 3 8B: 512 tokens generated, and a prompt of 512.
Measured in May 2024 with llama-bench by https://github.com/XiongjieDai/GPU-Benchmarks-on-LLM-Inference (read 2026-11-25).
"""

from pertoken.scenario import price

MEASURED = {
    ("rtx-4090", "q4_k_m"): (130.58, 7138.99),
    ("rtx-4090", "fp16"): (54.84, 9382.00),
    ("rtx-3090", "q4_k_m"): (115.42, 4030.40),
    ("rtx-3090", "fp16"): (47.40, 4444.65),
    ("m2-ultra", "q4_k_m"): (78.81, 994.04),
    ("m2-ultra", "fp16"): (36.90, 1175.40),
}


def predicted(accelerator: str, dtype: str) -> tuple[float, float]:
    """Output tokens a second at 512 tokens of output, and input tokens a second of a prompt of 512."""
    job = {
        "on": f"1x{accelerator}",
        "dtype": dtype,
        "engine": "llamacpp",
        "concurrency": 1,
        "rate": "rent:1",
        "output": 512,
    }
    tpot = price("llama-3-8b", input=1, **job).operating.state.tpot_s
    ttft = price("llama-3-8b", input=512, **job).operating.ttft_s
    return 1.0 / float(tpot), 512.0 / float(ttft)


def main() -> None:
    """Print the table."""
    print("                  generated             prompt")
    print("                  measured predicted    measured predicted")
    for (accelerator, dtype), measured in MEASURED.items():
        cells = [
            f"{m:9,.0f} {p:6,.0f} {p / m - 1.0:+4.0%}"
            for m, p in zip(measured, predicted(accelerator, dtype), strict=True)
        ]
        print(f"{accelerator:9}{dtype:8}{'  '.join(cells)}")


if __name__ == "__main__":
    main()
