"""Files that a page sends: streamed to a folder of the server's, few of them, for a while, gone at its exit."""

from __future__ import annotations

import re
import secrets
import shutil
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

from pertoken.errors import PertokenError

MOST_FILES = 16
LIFE_S = 4 * 3600.0
SUFFIXES = {"text/csv": ".csv", "application/json": ".json", "application/x-ndjson": ".jsonl"}


class Shelf:
    """Where uploads are.

    Parameters
    ----------
    folder : Path
        Each upload has a folder of its own in it, named by its ID.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.since: dict[str, float] = {}  # oldest first

    async def keep(self, pieces: AsyncIterator[bytes], kind: str, name: str) -> str:
        """Write a body as it comes and return its ID; nothing stays when it breaks off."""
        key = secrets.token_hex(16)
        place = self.folder / key
        place.mkdir()
        try:
            with (place / f"{safe_name(name)}{SUFFIXES[kind]}").open("wb") as file:
                async for piece in pieces:
                    file.write(piece)
        except BaseException:
            shutil.rmtree(place, ignore_errors=True)
            raise
        self.since[key] = time.monotonic()
        self.tidy()
        return key

    def drop(self, key: str) -> None:
        """Forget one."""
        self.since.pop(key, None)
        shutil.rmtree(self.folder / key, ignore_errors=True)

    def tidy(self) -> None:
        """Forget the oldest where there are too many, and all that were kept long enough."""
        now = time.monotonic()
        for key, since in list(self.since.items()):
            if len(self.since) > MOST_FILES or now - since > LIFE_S:
                self.drop(key)


def safe_name(text: str) -> str:
    """A file's name without its suffix, of letters and digits alone; ``uploaded`` where none is left."""
    stem = re.sub(r"\.(csv|json|jsonl|ndjson)$", "", text.strip(), flags=re.IGNORECASE)
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", stem).strip("-.")[:60]
    return plain if plain and plain != "config" else "uploaded"


def read(body: Mapping[str, str]) -> dict[str, Any]:
    """What an upload holds: a model's config, requests, or tokens by day.

    Raises
    ------
    PertokenError
        When it is none of them.
    """
    name, kind = f"upload:{body['id']}", body["kind"]
    if kind == "application/json":
        return {"upload": name, **_model(name)}
    try:
        return {"upload": name, **_trace(name)}
    except PertokenError as problem:
        try:
            return {"upload": name, **_usage(name)}
        except PertokenError:
            raise problem from None


def _model(name: str) -> dict[str, Any]:
    from pertoken.catalog.models import load_checkpoint

    found = load_checkpoint(name)
    m = found.model
    said = (
        f"{m.name}: {m.parameters:,} parameters, {m.active_parameters:,} active, context of {m.context_limit:,} tokens"
    )
    return {"kind": "model", "rows": 1, "name": m.name, "summary": said}


def _trace(name: str) -> dict[str, Any]:
    from pertoken.catalog.traces import load_lengths

    found = load_lengths(name)
    said = f"{found.input.size:,} requests, mean {found.input.mean():,.0f} input and {found.output.mean():,.0f} output tokens"
    return {"kind": "trace", "rows": int(found.input.size), "name": found.origin, "summary": said}


def _usage(name: str) -> dict[str, Any]:
    from pertoken.catalog.usage import read_usage

    found = read_usage(name)
    said = f"{found.days:,} days, {found.input.sum():,.0f} input and {found.output.sum():,.0f} output tokens"
    return {"kind": "usage", "rows": found.days, "name": found.name, "summary": said}
