"""Models by catalog name, config.json, folder, or a name in the local Hugging Face cache."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from pertoken.catalog import files
from pertoken.errors import PertokenError
from pertoken.model.huggingface import checkpoint_from_config
from pertoken.model.model import Checkpoint

_CLOSED = re.compile(r"^(?:[a-z]+/)?(gpt-(?!oss|j|neo|2)|chatgpt|o[134](-|$)|claude|gemini|grok-[3-9]|nova-|command-a)")


def from_entry(table: Mapping[str, Any]) -> Checkpoint:
    """A checkpoint from the content of a catalog file."""
    source, stated = table["source"], table.get("published", {})
    origin = f"{source['title']} (read {source.get('read', 'on an unknown day')}), {source.get('url', '')}".rstrip(", ")
    known = (stated.get("parameters"), stated.get("active_parameters"), bool(stated.get("exact")))
    return checkpoint_from_config(
        table["config"],
        name=table["name"],
        quant=table.get("quant"),
        origin=origin,
        published=known if stated else None,
    )


@lru_cache(64)
def _entry(name: str) -> Checkpoint:
    return from_entry(files.entry("models", name))


def _from_files(config: Path, name: str = "") -> Checkpoint:
    beside = [
        config.parent / "hf_quant_config.json",
        config.parent / f"{config.name.removesuffix('.json')}.hf_quant_config.json",
    ]
    found = next((path for path in beside if path.is_file()), None)
    quant = files.read_json(found) if found else None
    name = name or (config.parent.resolve().name if config.name == "config.json" else config.stem)
    return checkpoint_from_config(files.read_json(config), name=name[:100], quant=quant, origin=str(config))


def _in_local_cache(name: str) -> Path | None:
    """The newest config.json of ``org/name`` in the local Hugging Face cache, without asking the network."""
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", name) or ".." in name:
        return None
    home = os.environ.get("HF_HOME") or str(Path.home() / ".cache" / "huggingface")
    hub = Path(os.environ.get("HF_HUB_CACHE") or Path(home) / "hub")
    configs = list((hub / f"models--{name.replace('/', '--')}").glob("snapshots/*/config.json"))
    return max(configs, key=lambda path: path.stat().st_mtime, default=None)


def _of_user(text: str) -> Checkpoint | None:
    """A model from a file of the user's, if the text names one."""
    path = files.own(text)
    if path is None:
        return None
    try:
        if path.is_dir():
            return _from_files(path / "config.json")
        if path.is_file() or path.suffix == ".json":
            return _from_files(path)
    except OSError as error:
        raise PertokenError(f"model path {text[:60]!r} cannot be read: {error.strerror}; give another") from error
    local = _in_local_cache(text)
    return _from_files(local, text) if local else None


def is_closed(text: str) -> bool:
    """Whether a name is that of a model whose weights nobody published."""
    return bool(_CLOSED.match(text.strip().lower()))


def load_checkpoint(text: str) -> Checkpoint:
    """Find a model.

    Parameters
    ----------
    text : str
        Catalog name or alias, path of a config.json or of a folder with one, or ``org/name`` in the local cache.

    Raises
    ------
    PertokenError
        When it is not found, or its config cannot be read.
    """
    if not text.strip() or len(text) > 4096 or "\0" in text:
        raise PertokenError(f"model {text[:60]!r} is no name or path; see: pertoken list models")
    name = files.find_name("models", text)
    if name:
        return _entry(name)
    found = _of_user(text)
    if found:
        return found
    if is_closed(text):
        raise PertokenError(
            f"{text[:60]!r}: weights unpublished, so its cost cannot be computed from shapes; see its offers with pertoken market"
            f" {text[:60].strip()}, or compare an open model with a vendor's price"
        )
    raise files.unknown("models", text, "; a config.json or its folder works too")
