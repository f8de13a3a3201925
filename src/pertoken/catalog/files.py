"""Finding and reading catalog entries: by name, alias or path, with a suggestion where a name is not known."""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from typing import Any

from pertoken.errors import PertokenError

ROOT = Path(__file__).parent
MOST_BYTES = 8 * 2**20  # no config or scenario is larger; keeps hostile files from filling memory
_ALIASES = re.compile(r"^aliases\s*=\s*\[(.*?)\]", re.MULTILINE | re.DOTALL)
_QUOTED = re.compile(r'"([^"]*)"')


def names(kind: str) -> list[str]:
    """Names of all entries of a kind: models, accelerators, engines or efficiency."""
    return sorted(path.stem for path in (ROOT / kind).glob("*.toml"))


@cache
def aliases(kind: str) -> dict[str, str]:
    """Alias to name, for all entries of a kind; read as text, which is quicker than parsing every file."""
    found: dict[str, str] = {}
    for path in sorted((ROOT / kind).glob("*.toml")):
        match = _ALIASES.search(path.read_text(encoding="utf-8"))
        for alias in _QUOTED.findall(match[1]) if match else ():
            found.setdefault(alias.lower(), path.stem)
    return found


def find_name(kind: str, text: str) -> str | None:
    """The entry that a name or alias means, or None."""
    key = text.strip().lower()
    if re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,100}", key) and (ROOT / kind / f"{key}.toml").is_file():
        return key
    return aliases(kind).get(key)


def unknown(kind: str, text: str, hint: str = "") -> PertokenError:
    """The error for a name that is not in the catalog, with the nearest ones."""
    known = [*names(kind), *aliases(kind)]
    near = difflib.get_close_matches(text.strip().lower(), known, n=6, cutoff=0.5)
    entries = list(dict.fromkeys(aliases(kind).get(name, name) for name in near))[:3]
    guess = f"did you mean {' or '.join(entries)}? " if entries else ""
    return PertokenError(
        f"{kind.rstrip('s')} {text[:60]!r} is not in the catalog; {guess}see: pertoken list {kind}{hint}"
    )


# folder of uploads where names come from strangers; None where they are a user's own, who may name any file
_UPLOADS: ContextVar[Path | None] = ContextVar("uploads", default=None)
UPLOAD = re.compile(r"upload:([0-9a-f]{32})")


@contextmanager
def closed(uploads: Path) -> Iterator[None]:
    """Within it names mean entries of the catalog or ``upload:ID``, and no path that someone names is looked at."""
    token = _UPLOADS.set(uploads)
    try:
        yield
    finally:
        _UPLOADS.reset(token)


def is_closed() -> bool:
    """Whether names may open no file, see `closed`."""
    return _UPLOADS.get() is not None


def own(text: str) -> Path | None:
    """The file that a user's text names; None where it may name none, see `closed`.

    Raises
    ------
    PertokenError
        When an upload is there no more.
    """
    uploads = _UPLOADS.get()
    if uploads is None:
        return Path(text).expanduser()
    found = UPLOAD.fullmatch(text.strip())
    if not found:
        return None
    path = next(iter(sorted((uploads / found[1]).glob("*"))), None)
    if path is None:
        raise PertokenError(f"{text[:60]!r} is kept no more; upload the file again")
    return path


def shown(path: Path) -> str:
    """A file in an error: an upload by its name alone."""
    return path.name if _UPLOADS.get() else str(path)[-120:]


def read_text(path: Path) -> str:
    """A user's text file, at most 8 MiB of UTF-8.

    Raises
    ------
    PertokenError
        When it cannot be read as such.
    """
    where = shown(path)
    try:
        if not path.is_file():
            raise PertokenError(f"{where!r} is not a file; check the path")
        if path.stat().st_size > MOST_BYTES:
            size = path.stat().st_size
            raise PertokenError(f"{where!r} has {size:,} bytes; at most {MOST_BYTES:,} are read: give a smaller file")
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise PertokenError(f"{where!r} is not UTF-8 text (byte {error.start}); give a text file") from error
    except OSError as error:
        raise PertokenError(f"{where!r} cannot be read: {error.strerror}; give a file that can") from error


def read_toml(path: Path) -> dict[str, Any]:
    """A TOML file as a dictionary."""
    try:
        return tomllib.loads(read_text(path))
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise PertokenError(f"{shown(path)!r} is not TOML: {str(error)[:120]}; mend it there") from error


def read_json(path: Path) -> dict[str, Any]:
    """A JSON file that holds an object."""
    where, text = shown(path), read_text(path)
    try:
        found = json.loads(text)
    except json.JSONDecodeError as error:
        raise PertokenError(f"{where!r} is not JSON: {error.msg} at line {error.lineno}; mend it there") from error
    except (RecursionError, ValueError) as error:
        raise PertokenError(f"{where!r} is not readable JSON: {str(error)[:80]}; give a config.json") from error
    if not isinstance(found, dict):
        raise PertokenError(f"{where!r} holds a JSON {type(found).__name__}; a config.json holds an object")
    return found


def entry(kind: str, name: str) -> dict[str, Any]:
    """The content of a catalog entry."""
    return read_toml(ROOT / kind / f"{name}.toml")


def entries(kind: str) -> Iterator[dict[str, Any]]:
    """The content of all entries of a kind, by name."""
    return (entry(kind, name) for name in names(kind))
