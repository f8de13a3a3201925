"""Plain functions that numba compiles where it is installed; the same source runs without it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])

try:
    import numba

    COMPILED = not numba.config.DISABLE_JIT
except ImportError:
    numba = None
    COMPILED = False


# nothing in the loop makes an array, so reference counts, which would take most of its time, are left out
OPTIONS = {"cache": True, "nogil": True, "_nrt": False}


def compiled(function: F) -> F:
    """The function compiled and kept on disk, or as it is."""
    return numba.njit(**OPTIONS)(function) if COMPILED else function


def inlined(function: F) -> F:
    """The same, and part of whatever calls it: for what is small and called in every step."""
    return numba.njit(inline="always", **OPTIONS)(function) if COMPILED else function


def boxed(array: Any) -> Any:
    """An array for compiled code; lists of plain numbers, which the interpreter reads faster, for the rest."""
    return array if COMPILED else array.tolist()
