"""Plain functions that numba compiles where it is installed; the same source runs without it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import FunctionType
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])

try:
    import numba

    COMPILED = not numba.config.DISABLE_JIT
except ImportError:
    numba = None
    COMPILED = False


def _folder() -> str:
    """Where compiled code is kept: a folder for just these sources, as numba looks at one file's date alone; else empty."""
    found = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        found.update(path.read_bytes())
    home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    folder = Path(home) / "pertoken" / f"compiled-{found.hexdigest()[:16]}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return ""
    return str(folder) if os.access(folder, os.W_OK) else ""


FOLDER = _folder() if COMPILED else ""


def _jit(function: F, **more: Any) -> F:
    if not COMPILED:
        return function
    before, numba.config.CACHE_DIR = numba.config.CACHE_DIR, FOLDER or numba.config.CACHE_DIR
    try:
        # nothing in the loop makes an array, so reference counts, which would take most of its time, are left out
        return numba.njit(cache=bool(FOLDER), nogil=True, _nrt=False, error_model="numpy", **more)(function)  # type: ignore[no-any-return]
    finally:
        numba.config.CACHE_DIR = before


def compiled(function: F) -> F:
    """The function compiled and kept on disk, or as it is."""
    return _jit(function)


def inlined(function: F) -> F:
    """The same, and part of whatever calls it: for what is small and called in every step."""
    return _jit(function, forceinline=True)


def merged(function: F) -> F:
    """The same, written into its callers before they are compiled: for what is large and has few.

    numba optimises what a function calls once more with the function, which takes most of the time of compiling.
    """
    return _jit(function, inline="always")


def boxed(array: Any) -> Any:
    """An array for compiled code; lists of plain numbers, which the interpreter reads faster, for the rest."""
    return array if COMPILED else array.tolist()


@cache
def as_written(function: F) -> F:
    """The same source, and all that it calls, not compiled: for a run that calls what cannot be."""
    if not hasattr(function, "py_func"):
        return function
    spaces: dict[int, dict[str, Any]] = {}

    def copy(found: Any) -> Any:
        own = found.py_func
        home = own.__globals__
        if id(home) not in spaces:
            space = spaces[id(home)] = dict(home)
            for name, value in home.items():
                space[name] = copy(value) if hasattr(value, "py_func") else getattr(value, "plain", value)
        return FunctionType(own.__code__, spaces[id(home)], own.__name__, own.__defaults__)

    return copy(function)  # type: ignore[no-any-return]


def as_lists(arrays: Any) -> Any:
    """A tuple of arrays as `boxed` gives them without numba."""
    return arrays._make(x.tolist() if hasattr(x, "tolist") else x for x in arrays)
