"""Answers kept for a while: those used last, up to so many bytes."""

from __future__ import annotations

from collections import OrderedDict

from pertoken.web.jobs import Answer

MOST_BYTES = 8 * 2**20
OVERHEAD = 500  # of an entry [byte], about


class Kept:
    """Answers by key, least recently used out first.

    Parameters
    ----------
    most : int
        Bytes of all bodies and what is around them.
    """

    def __init__(self, most: int = MOST_BYTES) -> None:
        self.most, self.bytes = most, 0
        self._found: OrderedDict[bytes, Answer] = OrderedDict()

    def get(self, key: bytes) -> Answer | None:
        """The answer, if it is kept."""
        if key in self._found:
            self._found.move_to_end(key)
        return self._found.get(key)

    def put(self, key: bytes, answer: Answer) -> None:
        """Keep an answer, unless it is large against what is kept in all."""
        size = len(answer.body) + OVERHEAD
        if size > self.most // 8 or key in self._found:
            return
        self._found[key] = answer
        self.bytes += size
        while self.bytes > self.most:
            _, old = self._found.popitem(last=False)
            self.bytes -= len(old.body) + OVERHEAD
