"""Policies of the user's own: a file of plain functions, which is run."""

from __future__ import annotations

from functools import lru_cache

from pertoken.catalog.files import is_closed, own, read_text, shown
from pertoken.errors import PertokenError
from pertoken.simulate.own import Own, read_policy


def load_policy(name: str) -> Own:
    """The functions of a file.

    Raises
    ------
    PertokenError
        Where names may open no file, when it cannot be read, and as `read_policy`.
    """
    path = None if is_closed() else own(name)
    if path is None:
        raise PertokenError("a policy is code, and the page runs none; use the command")
    return _policy(read_text(path), shown(path))


_policy = lru_cache(maxsize=64)(read_policy)  # the cases of a sweep share what is compiled
