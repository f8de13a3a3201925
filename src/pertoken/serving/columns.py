"""Which columns of a table are input, cached, written and output tokens; cached tokens are part of the input, counted once.

Vendors report in two ways: most count cached tokens inside the input (OpenAI, Google, DeepSeek, Mistral), some count them beside
it (Anthropic, Amazon Bedrock), so that the input is the sum of three fields.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pertoken.errors import PertokenError

INPUT = (
    "input", "contexttokens", "input_tokens", "prompt_tokens", "input_length", "num_prefill_tokens", "isl", "prompttokencount",
)  # fmt: skip
OUTPUT = (
    "output", "generatedtokens", "output_tokens", "completion_tokens", "output_length", "num_decode_tokens", "osl",
    "candidatestokencount", "outputtokens",
)  # fmt: skip
CACHED = (
    "cached", "cached_tokens", "cached_input_tokens", "num_cached_tokens", "cachedcontenttokencount", "prompt_cache_hit_tokens",
    "cache_read_tokens", "cache_read_input_tokens",
)  # fmt: skip
WRITTEN = ("written", "cache_write_tokens", "cache_creation_tokens", "cache_creation_input_tokens")
# vendors whose input leaves out what was read from and written to a cache: fresh, read, written
BESIDE = (
    ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens"),
    ("inputtokens", "cachereadinputtokens", "cachewriteinputtokens"),
    ("inputtokens", "cachereadtokens", "cachewritetokens"),
    ("prompt_cache_miss_tokens", "prompt_cache_hit_tokens", ""),
)
THOUGHTS = "thoughtstokencount"  # beside the output of Google's reports


@dataclass(frozen=True)
class Columns:
    """Places of the columns in a row; several of a kind are added up.

    Parameters
    ----------
    input : tuple of int
        All input, cached or not.
    cached, written : tuple of int
        Parts of it that were found in a prefix cache, and that were written to one; empty where the table does not say.
    output : tuple of int
        Output.
    """

    input: tuple[int, ...]
    cached: tuple[int, ...]
    written: tuple[int, ...]
    output: tuple[int, ...]

    @property
    def last(self) -> int:
        """The furthest place that is needed."""
        return max((*self.input, *self.cached, *self.written, *self.output))


def pick(header: Sequence[str], where: str) -> Columns:
    """The columns of a header, by the names that vendors, servers and traces use.

    Raises
    ------
    PertokenError
        When input or output is missing, naming the accepted spellings.
    """
    names = [name.strip().strip('"').lower() for name in header]

    def places(*wanted: str) -> tuple[int, ...]:
        return tuple(names.index(name) for name in wanted if name in names)

    output = places(*OUTPUT)[:1]
    for fresh, read, written in BESIDE:
        if fresh in names and (read in names or (written and written in names)) and not places("prompt_tokens"):
            return Columns(
                places(fresh, read, written),
                places(read),
                places(written),
                _found(output, "output", OUTPUT, names, where),
            )
    inputs = _found(places(*INPUT)[:1], "input", INPUT, names, where)
    output = _found(output, "output", OUTPUT, names, where)
    return Columns(inputs, places(*CACHED)[:1], places(*WRITTEN)[:1], (*output, *places(THOUGHTS)))


def _found(
    at: tuple[int, ...], label: str, accepted: Sequence[str], names: Sequence[str], where: str
) -> tuple[int, ...]:
    if not at:
        shown = ", ".join(names)[:80]
        raise PertokenError(f"{where} has no {label} column (it has: {shown}); name one of {', '.join(accepted)}")
    return at


def added(
    row: Sequence[str], places: Sequence[int], label: str, line: int, where: str, ends: tuple[float, float]
) -> float:
    """The sum of some cells of a row; an empty cell of several is none.

    Raises
    ------
    PertokenError
        With the line, when a cell is no number or the sum is out of range.
    """
    total = 0.0
    for at in places:
        cell = row[at].strip()
        try:
            total += float(cell) if cell or len(places) == 1 else 0.0
        except ValueError:
            total = float("nan")
    if not ends[0] <= total <= ends[1]:
        shown = ", ".join(row[at].strip() for at in places)
        raise PertokenError(
            f"{where} line {line}: {label} is {shown[:40]!r}; it must be a number from {ends[0]:g} to {ends[1]:,.0f}"
        )
    return total
