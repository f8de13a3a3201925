"""DeepSeek-V3 as DeepSeek serves it, predicted against what DeepSeek published of February 2025.

Measured figures: the overview of the V3/R1 inference system (open-infra-index, day 6, 24 hours of 27 and 28 February 2025) and
the profiles of prefill and decode (profile-data), as quoted by LMSYS, 2025-05-05. Read 2026-11-22.

The inputs are the model, the accelerator, the expert-parallel sizes, lengths, speed per user and the cache share; no throughput.
"""

from collections.abc import Iterator

from pertoken.engine.deployment import Deployment
from pertoken.engine.roofline import total_seconds
from pertoken.engine.step import Decode, Prefill, Step
from pertoken.scenario import price

NODE = 8  # accelerators
RENT = 2.0  # $/accelerator-hour, DeepSeek's own assumption
CONTEXT = 4989.0  # mean KV length of an output token
CACHED = 342 / 608  # share of input found on disk
TOKENS = 16_384.0  # prompt tokens of a step on each accelerator
PROFILES = {"prefill": 62_713.0, "decode": 18_598.0}  # tok/s and node
PRODUCTION = {"input": 73_700.0, "output": 14_800.0}  # tok/s and node, cache hits and idle time included
USERS = (20, 21, 22)  # output tok/s and user


def deployment(ranks: int, overlap: str = "micro-batches", **more: object) -> Deployment:
    """DeepSeek-V3 with data-parallel attention and experts over ``ranks`` H800, under the host times fitted to SGLang."""
    sizes = {"tp": 1, "dp": ranks, "ep": ranks, "concurrency": float(ranks)}
    knobs = sizes | {"on": f"{ranks}xh800", "engine": "sglang", "overlap": overlap, "input": 4096, "output": 2}
    return price("deepseek-v3", **knobs, **more).deployment


def prefill(d: Deployment, length: float, context: float = 0.0) -> float:
    """Computed prompt tokens per second of a node, in steps of `TOKENS` of each accelerator."""
    prompts = TOKENS / length
    return NODE * TOKENS / float(total_seconds(d.run(Step((), Prefill(prompts, length, context, context), prompts))))


def step_s(d: Deployment, batch: float, context: float) -> float:
    """A decode step [s]."""
    return float(total_seconds(d.run(Step((Decode(batch, context),)))))


def batch_at(d: Deployment, speed: float, context: float) -> float:
    """Sequences of an accelerator at which each gets ``speed`` tokens per second."""
    low, high = 1.0, 4096.0
    for _ in range(50):
        middle = (low + high) / 2.0
        low, high = (middle, high) if step_s(d, middle, context) <= 1.0 / speed else (low, middle)
    return low


def rows() -> Iterator[tuple[str, float, float, float]]:
    """What, measured, predicted with overlap, predicted without [tok/s and node]."""
    both = ("micro-batches", "none")
    yield "prefill profile, EP32", PROFILES["prefill"], *(prefill(deployment(32, o), 4096.0) for o in both)
    decodes = (NODE * 128.0 / step_s(deployment(128, o), 128.0, 4096.0) for o in both)
    yield "decode profile, EP128", PROFILES["decode"], *decodes
    for speed in USERS:
        rates = (NODE * speed * batch_at(deployment(144, o), speed, CONTEXT) for o in both)
        yield f"production decode, EP144, {speed} tok/s/user", PRODUCTION["output"], *rates


def utilisation() -> tuple[float, float]:
    """Computed input tokens per second of a busy prefill node, and the share of its time that production needs."""
    fresh = CONTEXT * (1.0 - CACHED)
    able = prefill(deployment(32), fresh, CONTEXT - fresh)
    return able, PRODUCTION["input"] * (1.0 - CACHED) / able


def main() -> None:
    """Print measured against predicted, and the utilisation that production implies."""
    print(f"{'tok/s of a node of 8 H800':<42} measured  predicted   error  no overlap")
    for what, measured, with_overlap, without in rows():
        print(
            f"{what:<42} {measured:>8,.0f}  {with_overlap:>9,.0f}  {with_overlap / measured - 1:+6.1%}  {without:>10,.0f}"
        )
    free = prefill(deployment(32, network="10TB/s"), 4096.0)
    print()
    print(
        f"with a network that takes no time the prefill profile would be {free:,.0f}: what all-to-all leaves visible is the rest"
    )
    able, share = utilisation()
    computed = PRODUCTION["input"] * (1.0 - CACHED)
    print(
        f"production prefill: {PRODUCTION['input']:,.0f} input tok/s, of which {computed:,.0f} computed; a busy node computes"
    )
    print(f"{able:,.0f} by prediction, so its prefill nodes work {share:.0%} of the time")
    output = NODE * USERS[1] * batch_at(deployment(144), USERS[1], CONTEXT)
    usd = RENT * NODE / 3600 * 1e6
    paid = (usd / PRODUCTION["input"], usd / computed, usd / PRODUCTION["output"])
    print(
        f"at ${RENT:.2f} per accelerator-hour production pays ${paid[0]:.3f} per million input, ${paid[1]:.3f} uncached, and"
    )
    print(
        f"${paid[2]:.3f} output; busy nodes would cost ${usd / able:.3f} uncached input and ${usd / output:.3f} output"
    )


if __name__ == "__main__":
    main()
