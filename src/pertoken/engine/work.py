"""Work: what an operation counts. It adds and scales; it knows no time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Number = Any  # float or numpy array


@dataclass  # as many as of `Timed`
class Work:
    """Counts of one operation on one accelerator.

    Parameters
    ----------
    flop : float or ndarray
        Arithmetic operations [FLOP].
    weight_bytes, kv_bytes, activation_bytes : float or ndarray
        Memory traffic by what is moved [byte].
    link_bytes : float or ndarray
        Bytes sent over the link in one direction [byte].
    """

    flop: Number = 0.0
    weight_bytes: Number = 0.0
    kv_bytes: Number = 0.0
    activation_bytes: Number = 0.0
    link_bytes: Number = 0.0

    def __add__(self, other: Work) -> Work:
        return Work(
            self.flop + other.flop,
            self.weight_bytes + other.weight_bytes,
            self.kv_bytes + other.kv_bytes,
            self.activation_bytes + other.activation_bytes,
            self.link_bytes + other.link_bytes,
        )

    def __mul__(self, factor: Number) -> Work:
        return Work(
            self.flop * factor,
            self.weight_bytes * factor,
            self.kv_bytes * factor,
            self.activation_bytes * factor,
            self.link_bytes * factor,
        )

    __rmul__ = __mul__

    @property
    def memory_bytes(self) -> Number:
        """All bytes moved to or from memory [byte]."""
        return self.weight_bytes + self.kv_bytes + self.activation_bytes
