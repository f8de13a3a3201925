"""Checked reading of a parsed config: a field has the right type and range, or a sentence says which has not."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence

from pertoken.errors import PertokenError

LARGEST = 999_999_999
MOST_LAYERS = 10_000
_STRUCTURAL = re.compile(
    r"expert|moe|window|latent|lora|state|ssm|mamba|conv|compress|indexer|index_|block_config|recurr"
)
# names that match the pattern above and change no shape: training, tokens, kernels, arithmetic of the router
_HARMLESS = re.compile(
    r"token|aux_loss|router_|_act|_dtype|norm_topk|jitter|dropout|initial_context|cross_attention|chunk_size|kernels|output_"
    r"|quant|overlap|rope|_cache|limit|time_step|_freq$|offset|pattern|iteration|hidden_states|capacity|z_loss|interleave"
)


def shorten(value: object) -> str:
    """``repr`` of a value, cut to 60 characters."""
    try:
        text = repr(value)
    except (RecursionError, ValueError):  # nested too deep; an integer too long to print
        text = f"a {type(value).__name__} too large to print"
    return text if len(text) <= 60 else text[:57] + "..."


def is_whole(value: object, low: int = 0, high: int = LARGEST) -> bool:
    """Whether ``value`` is an integer (and no truth value) from ``low`` to ``high``."""
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


class Fields:
    """Fields of one config, the part about text when it has several parts.

    Parameters
    ----------
    table : mapping
        The parsed config.
    owner : str
        Model name for the sentences.
    assumed : list of str
        Sentences on what had to be assumed; shared with whoever reads on.
    """

    def __init__(self, table: Mapping[str, object], owner: str, assumed: list[str] | None = None) -> None:
        self.table = table
        self.owner = owner
        self.assumed: list[str] = [] if assumed is None else assumed
        self._read: set[str] = set()

    def fail(self, name: str, why: str) -> PertokenError:
        """The error for one field."""
        shown = shorten(self.table.get(name)) if name in self.table else "missing"
        return PertokenError(f"{self.owner}: config field {name} is {shown}; {why}")

    def assume(self, sentence: str) -> None:
        """Keep a sentence for `Checkpoint.assumed`, once."""
        if sentence not in self.assumed:
            self.assumed.append(sentence)

    def has(self, name: str) -> bool:
        """Whether a field is there and not null."""
        return self.table.get(name) is not None

    def _first(self, names: Iterable[str]) -> str:
        names = tuple(names)
        found = next((name for name in names if self.has(name)), names[0])
        self._read.update(names)
        return found

    def whole(self, *names: str, low: int = 1, high: int = LARGEST) -> int:
        """The first of ``names`` that is there: a whole number from ``low`` to ``high``.

        Raises
        ------
        PertokenError
            When none is there, or it is no such number.
        """
        name = self._first(names)
        value = self.table.get(name)
        if not isinstance(value, int) or not is_whole(value, low, high):
            also = f" (or {', '.join(names[1:])})" if len(names) > 1 and not self.has(name) else ""
            raise self.fail(name, f"it{also} must be a whole number from {low:,} to {high:,}: correct the config")
        return value

    def maybe(self, *names: str, low: int = 1, high: int = LARGEST) -> int | None:
        """As `whole`, and None when no name is there."""
        self._read.update(names)
        return self.whole(*names, low=low, high=high) if any(self.has(name) for name in names) else None

    def whole_or(self, default: int, why: str, *names: str, low: int = 1, high: int = LARGEST) -> int:
        """As `whole`; when no name is there the documented ``default``, which goes to `assumed` with the reason."""
        value = self.maybe(*names, low=low, high=high)
        if value is None:
            self.assume(f"{names[0]} is not in the config: taken as {default:,} ({why})")
            return default
        return value

    def flag(self, name: str, default: bool = False) -> bool:
        """A truth value; absent or null gives the default of the model class."""
        self._read.add(name)
        value = self.table.get(name)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise self.fail(name, "it must be true or false: correct the config")
        return value

    def text(self, name: str, default: str | None = None) -> str:
        """A text; absent or null gives ``default``, and an error without one."""
        self._read.add(name)
        value = self.table.get(name)
        if value is None and default is not None:
            return default
        if not isinstance(value, str):
            raise self.fail(name, "it must be a text: correct the config")
        return value

    def number(self, name: str, low: float, high: float) -> float:
        """A finite number from ``low`` to ``high``."""
        self._read.add(name)
        value = self.table.get(name)
        good = isinstance(value, int | float) and not isinstance(value, bool)
        if not isinstance(value, int | float) or not good or not low <= value <= high or not math.isfinite(value):
            raise self.fail(name, f"it must be a number from {low:g} to {high:g}: correct the config")
        return float(value)

    def rows(self, name: str, length: int | None = None, most: int = MOST_LAYERS) -> list[object] | None:
        """A list, of ``length`` when that is given; None when absent."""
        self._read.add(name)
        value = self.table.get(name)
        if value is None:
            return None
        if isinstance(value, str) or not isinstance(value, Sequence) or len(value) > most:
            raise self.fail(name, f"it must be a list of at most {most:,} items: correct the config")
        if length is not None and len(value) != length:
            raise self.fail(name, f"it has {len(value):,} items and must have one for each of {length:,} layers")
        return list(value)

    def wholes(self, name: str, length: int | None = None, low: int = 0, high: int = LARGEST) -> list[int] | None:
        """A list of whole numbers from ``low`` to ``high``."""
        found: list[int] = []
        rows = self.rows(name, length)
        for value in rows or ():
            if not isinstance(value, int) or not is_whole(value, low, high):
                raise self.fail(name, f"{shorten(value)} in it must be a whole number from {low:,} to {high:,}")
            found.append(value)
        return None if rows is None else found

    def kinds(self, name: str, length: int | None, known: Iterable[str]) -> list[str] | None:
        """A list of texts, each one of ``known``."""
        known = tuple(known)
        found: list[str] = []
        rows = self.rows(name, length)
        for value in rows or ():
            if not isinstance(value, str) or value not in known:
                raise self.fail(name, f"{shorten(value)} in it is no layer kind known here; known: {', '.join(known)}")
            found.append(value)
        return None if rows is None else found

    def part(self, name: str) -> Fields | None:
        """A table inside this one; None when absent or null."""
        self._read.add(name)
        value = self.table.get(name)
        if value is None:
            return None
        if not isinstance(value, Mapping):
            raise self.fail(name, "it must be a table: correct the config")
        return Fields(value, self.owner, self.assumed)

    def unread_structure(self) -> list[str]:
        """Fields that sound like structure, hold something, and were not read."""
        found = []
        for name, value in self.table.items():
            if (
                not isinstance(name, str)
                or name in self._read
                or _HARMLESS.search(name)
                or not _STRUCTURAL.search(name)
            ):
                continue
            if value is None or value is False or value in (0, 0.0, [], {}, ""):
                continue
            found.append(name)
        return sorted(found)
