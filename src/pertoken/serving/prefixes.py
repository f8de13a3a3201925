"""How much of each prompt a prefix cache has, from hashes of its blocks: least recently used blocks go first."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence

from pertoken.errors import PertokenError

BLOCK = 512  # tokens of a block in Mooncake's traces [token]


class PrefixCache:
    """A cache of prompt blocks.

    Parameters
    ----------
    tokens : float, optional
        What it keeps; everything if None [token].
    block : int
        Tokens of a block [token].
    """

    def __init__(self, tokens: float | None = None, block: int = BLOCK) -> None:
        self.most = None if tokens is None else int(tokens // block)
        self.block = block
        self._kept: OrderedDict[int, None] = OrderedDict()

    def find(self, blocks: Sequence[int], length: float) -> float:
        """Tokens of a prompt that are there, and from now on the prompt itself [token].

        Parameters
        ----------
        blocks : sequence of int
            Hashes of the prompt's blocks, each of the whole prompt up to its end.
        length : float
            Tokens of the prompt; the last block may be part filled, and one token is always computed [token].
        """
        hits = 0
        for block in blocks:
            if block not in self._kept:
                break
            hits += 1
        for block in reversed(blocks):  # a prefix outlives what hangs on it
            self._kept[block] = None
            self._kept.move_to_end(block)
        while self.most is not None and len(self._kept) > self.most:
            self._kept.popitem(last=False)
        return min(hits * float(self.block), length - 1.0)


def ranges(blocks: Iterable[int]) -> str:
    """Hashes as text: ``0 3-7`` for 0, 3, 4, 5, 6, 7."""
    found: list[list[int]] = []
    for block in blocks:
        if found and block == found[-1][1] + 1:
            found[-1][1] = block
        else:
            found.append([block, block])
    return " ".join(f"{a}-{b}" if b > a else f"{a}" for a, b in found)


def from_ranges(text: str, most: int) -> list[int]:
    """Hashes from `ranges`.

    Raises
    ------
    PertokenError
        When it is no such text, or has more than ``most`` hashes.
    """
    found: list[int] = []
    for first, last in _ends(text):
        if last < first or last - first + len(found) >= most:
            raise PertokenError(f"blocks {text[:40]!r} are more than the input has, or run backwards; mend them")
        found.extend(range(first, last + 1))
    return found


def _ends(text: str) -> Iterator[tuple[int, int]]:
    for word in text.split():
        first, dash, last = word.partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()) or len(word) > 40:
            raise PertokenError(f"blocks {text[:40]!r} are no hashes; write whole numbers and ranges, such as 0 3-7")
        yield int(first), int(last or first)
