"""A fit from two positions against chunks at two others, on llama.cpp's own server with a model of random weights.

``python benchmarks/chunks.py`` measures chunks of 512 tokens after 0 and 3,584 cached ones, fits what they take, and predicts
those after 1,024 and 2,048. The claim is 15% on a quiet machine; what is seen is printed, with how much repeats scatter.
"""

import random
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.measure import local_engine

from pertoken.measure.client import Client, Prompt
from pertoken.measure.fit import Prefilled, fit_steps
from pertoken.measure.records import Answer

CHUNK, TAUGHT, ASKED, REPEATS = 512, (0, 3584), (1024, 2048), 5
CLAIM = 0.15
NEAR = 8  # tokens that happen to be what the cache holds


async def _measure(url: str) -> dict[int, list[float]]:
    """Seconds to the first token of a chunk after so many cached tokens, by position."""
    draw, found = random.Random(0), {position: list[float]() for position in sorted((*TAUGHT, *ASKED))}

    def fresh(count: int) -> list[int]:
        return [draw.randrange(100, local_engine.VOCAB) for _ in range(count)]

    async with Client(url, "random") as client:

        async def ask(prompt: list[int]) -> Answer:
            sent, heard = await client.ask(Prompt(prompt, 1), time.monotonic() + 60.0)
            told = heard.counts(len(prompt), 1, 0)
            return Answer("chunk", 0, 1, sent, heard.times[0], heard.times[-1], *told)

        await ask(fresh(CHUNK))
        for _ in range(REPEATS):
            base = fresh(max(found))
            for position, seconds in found.items():
                prefix = base[:position]
                if prefix:
                    await ask(prefix)
                answer = await ask([*prefix, *fresh(CHUNK)])
                assert answer.cached is not None and 0 <= answer.cached - position <= NEAR, (answer.cached, position)
                seconds.append(answer.ttft)
    return found


def measure() -> dict[int, list[float]]:
    """The same, on a server of its own."""
    import asyncio

    with tempfile.TemporaryDirectory() as folder:
        model = local_engine.make_model(Path(folder))
        with local_engine.serving(model, slots=1, context=4608) as url:
            return asyncio.run(_measure(url))


def _median(values: list[float]) -> float:
    return sorted(values)[len(values) // 2]


def main() -> None:
    """Print what was measured and predicted."""
    found = measure()
    steps = fit_steps([Prefilled(s, CHUNK, position) for position in TAUGHT for s in found[position]], [])
    print(f"chunks of {CHUNK} tokens, {REPEATS} of each; fitted at {' and '.join(f'{p:,}' for p in TAUGHT)}")
    print("position  measured [ms]  fitted [ms]   error  scatter")
    worst = 0.0
    for position, seconds in sorted(found.items()):
        middle, value = _median(seconds), steps.first_token(CHUNK, position)[0]
        error, scatter = value / middle - 1.0, (max(seconds) - min(seconds)) / middle
        print(f"{position:8,}  {1e3 * middle:13.1f}  {1e3 * value:11.1f}  {error:+6.1%}  {scatter:7.1%}")
        worst = max(worst, abs(error)) if position in ASKED else worst
    verdict = "holds" if worst <= CLAIM else "does not hold"
    print(f"worst error where nothing was fitted: {worst:.1%}; a claim of {CLAIM:.0%} {verdict}")


if __name__ == "__main__":
    main()
