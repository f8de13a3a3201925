"""Predicted against measured TPOT: Llama 3.1 70B in fp8 on H100 SXM under vLLM, lengths uniform in [0.8, 1.0] x 1024.

Measured figures: InferenceX results as collected in the wheel aiconfigurator-core 0.12.0 (Apache-2.0), read 2026-11-22.
"""

from pertoken.scenario import price

LENGTHS = "uniform:819-1024"
MEASURED = {(4, 16): 13.19e-3, (4, 64): 19.51e-3, (8, 16): 11.39e-3, (8, 64): 15.45e-3}  # s


def main() -> None:
    """Print a line for each measurement."""
    print("accelerators  in flight  measured  predicted  error")
    for (count, concurrency), measured in MEASURED.items():
        cost = price(
            "llama-3.1-70b", on=f"{count}xh100-sxm", dtype="fp8", input=LENGTHS, output=LENGTHS, concurrency=concurrency
        )
        predicted = float(cost.operating.state.tpot_s)
        error = predicted / measured - 1.0
        print(f"{count:>12}  {concurrency:>9}  {measured * 1e3:>5.2f} ms  {predicted * 1e3:>6.2f} ms  {error:+6.1%}")


if __name__ == "__main__":
    main()
