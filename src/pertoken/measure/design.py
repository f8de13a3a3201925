"""The design of a probe: few requests that tell the parts of a step apart.

Prompts of several lengths, alone, tell prefill per token from prefill per pair. Chunks after a cached prefix tell how the
cost grows with position. Batches that decode together at short and at long context tell the step's fixed time, each
sequence's and each context token's. Rounds repeat the whole, so that a probe that is cut short has seen every part.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from pertoken.errors import PertokenError
from pertoken.measure.client import Prompt

CONCURRENCY = (1, 2, 4, 8, 16)
LEAST_INPUT, MOST_INPUT = 64, 1_000_000
MOST_BATCH = 1024
SHORT = 16  # shortest prompt [token]
LONG_BATCH = 4  # largest batch that is measured at long context too
FIRST_ID, IDS = 100, 20_000  # token ids that every common tokenizer has
# each a token of its own in common tokenizers
# fmt: off
WORDS = (
    "time", "year", "people", "way", "day", "man", "thing", "woman", "life", "child", "world", "school", "state",
    "family", "student", "group", "country", "problem", "hand", "part", "place", "case", "week", "company", "system",
    "program", "question", "work", "number", "night", "point", "home", "water", "room", "mother", "area", "money",
    "story", "fact", "month", "lot", "right", "study", "book", "eye", "job", "word", "business", "issue", "side",
    "kind", "head", "house", "service", "friend", "father", "power", "hour", "game", "line",
)
# fmt: on


@dataclass(frozen=True)
class Cell:
    """Requests that are sent together.

    Parameters
    ----------
    kind : str
        ``warm``, ``prompt``, ``prefix``, ``chunk`` or ``decode``.
    batch : int
        How many.
    input, output : int
        Tokens of each [token].
    prefix : int
        Tokens that the cell before sent, and that this one sends again first [token].
    """

    kind: str
    batch: int
    input: int
    output: int
    prefix: int = 0


@dataclass(frozen=True)
class Design:
    """What to send.

    Parameters
    ----------
    longest : int
        Input of the longest prompt [token].
    output : int
        Tokens to decode in each request of a batch [token].
    concurrency : sequence of int
        Batches.
    rounds : int
        How often everything is repeated.
    """

    longest: int = 2048
    output: int = 48
    concurrency: Sequence[int] = CONCURRENCY
    rounds: int = 3

    def __post_init__(self) -> None:
        if not LEAST_INPUT <= self.longest <= MOST_INPUT:
            raise PertokenError(
                f"--max-input is {self.longest:,} tokens; it must be from {LEAST_INPUT} to {MOST_INPUT:,}"
            )
        if not 8 <= self.output <= 4096:
            raise PertokenError(f"--max-output is {self.output:,} tokens; it must be from 8 to 4,096")
        if not self.concurrency or any(not 1 <= b <= MOST_BATCH for b in self.concurrency):
            raise PertokenError(f"--at-once has a number out of 1 to {MOST_BATCH:,}; write such as 1,2,4,8")

    def cells(self) -> list[Cell]:
        """All cells in order: a round of everything, and again."""
        return [Cell("warm", 1, SHORT, 2), *(cell for _ in range(self.rounds) for cell in self._round())]

    def _round(self) -> list[Cell]:
        top, chunk = self.longest, max(SHORT, self.longest // 8)
        lengths = dict.fromkeys(max(SHORT, top // n) for n in (16, 4, 2, 1))
        found = [Cell("prompt", 1, n, 1) for n in lengths]
        found += [Cell("prompt", 1, chunk, 1), Cell("prefix", 1, top - chunk, 1), Cell("chunk", 1, top, 1, top - chunk)]
        for batch in self.concurrency:
            found.append(Cell("decode", batch, SHORT, self.output))
            if batch <= LONG_BATCH:
                deep = top // 2
                found += [Cell("prefix", batch, deep, 1), Cell("decode", batch, deep + SHORT, self.output, deep)]
        return found


class Writer:
    """Makes prompts that no cache has seen, but for the prefixes that are meant to be seen.

    Parameters
    ----------
    seed : int
        Same seed, same prompts.
    ids : bool
        Whether prompts are token ids; else they are words, of about a token each.
    vocab : int
        Ids are below it.
    """

    def __init__(self, seed: int, ids: bool, vocab: int = IDS) -> None:
        self._draw, self.ids = random.Random(seed), ids
        self._top = max(FIRST_ID + 1, min(vocab, IDS))
        self._last: list[list[int] | list[str]] = []

    def use_words(self) -> bool:
        """From now on write words; whether that is a change."""
        changed, self.ids = self.ids, False
        return changed

    def group(self, cell: Cell) -> list[Prompt]:
        """The prompts of a cell."""
        made: list[list[int] | list[str]] = []
        for place in range(cell.batch):
            known = self._last[place % len(self._last)] if cell.prefix and self._last else []
            made.append([*known[: cell.prefix], *self._fresh(cell.input - min(len(known), cell.prefix))])
        if cell.kind == "prefix":
            self._last = made
        return [Prompt(m if self.ids else " ".join(map(str, m)), cell.output) for m in made]  # type: ignore[arg-type]

    def _fresh(self, count: int) -> list[int] | list[str]:
        if self.ids:
            return [self._draw.randrange(FIRST_ID, self._top) for _ in range(count)]
        return [self._draw.choice(WORDS) for _ in range(count)]
