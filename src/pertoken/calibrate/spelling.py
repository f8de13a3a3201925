"""Spellings of models, accelerators and formats brought to the catalog's names, by rules that the catalog keeps as data.

Names are compared as keys. An accelerator's key is the set of its words without those that say nothing (vendor, brand, kind
of memory); a number of gigabytes must agree with the capacity. A model's key is its name in one kind of separator, and words
at its end that change no shape (``-Instruct``, ``-FP8``) may go, one at a time. No part of a name is guessed: ``H100 PCIe`` is
not ``H100``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from pertoken.units import GIBI, GIGA

MOST = 300  # characters of a name that are looked at
NEAR = 0.08  # how far a stated memory may be off the capacity, for units and rounding
_MEMORY = re.compile(r"(\d+(?:\.\d+)?)g(?:b|ib)?")
COUNTED = frozenset(("counts", "refuse", "latency"))  # a metric is one of these
_PARALLEL = re.compile(r"Parallelism Type=([^;]*)")
_SIZED = re.compile(r"(TP|PP|EP|Tensor|Pipeline)\s*[=(]\s*([0-9]+)")
_WORD = re.compile(r"[^a-z0-9.+]+")


@dataclass(frozen=True)
class Spelling:
    """Rules, and the names they lead to.

    Parameters
    ----------
    accelerator_rules, model_rules : sequence of (str, str)
        Patterns and what replaces them, in order, on lower-case text.
    accelerator_noise : collection of str
        Words that do not tell accelerators apart.
    model_prefixes, model_suffixes : collection of str
        Words that may stand before or after a model's name.
    formats_in_names : sequence of (str, str)
        Patterns in a model's name that tell the format of its weights, and the format.
    models, accelerators : mapping of str to str
        All names and aliases, to catalog names.
    memory : mapping of str to float
        Memory of each accelerator [byte].
    slots : collection of str
        Accelerators that are cards in PCIe slots.
    """

    accelerator_rules: Sequence[Sequence[str]] = ()
    accelerator_noise: Sequence[str] = ()
    model_rules: Sequence[Sequence[str]] = ()
    model_prefixes: Sequence[str] = ()
    model_suffixes: Sequence[str] = ()
    formats_in_names: Sequence[Sequence[str]] = ()
    models: Mapping[str, str] = field(default_factory=dict)
    accelerators: Mapping[str, str] = field(default_factory=dict)
    memory: Mapping[str, float] = field(default_factory=dict)
    slots: frozenset[str] = frozenset()

    @cached_property
    def _models(self) -> Mapping[str, str]:
        return _unambiguous((self.model_key(alias), name) for alias, name in self.models.items())

    @cached_property
    def _accelerators(self) -> Mapping[str, frozenset[tuple[str, str]]]:
        """Key to the (memory, name) pairs that have it."""
        found: dict[str, set[tuple[str, str]]] = {}
        for alias, name in self.accelerators.items():
            key, memory = self.accelerator_key(alias)
            found.setdefault(key, set()).add((memory, name))
        return {key: frozenset(pairs) for key, pairs in found.items()}

    def model_key(self, text: str) -> str:
        """A model's name without organisation or folder, its words joined by ``-``."""
        return _replaced(_last(text), self.model_rules).strip("-")

    def accelerator_key(self, text: str) -> tuple[str, str]:
        """An accelerator's telling words, sorted, and its memory as stated in GB (empty when it is not)."""
        words = [w for w in _WORD.split(_replaced(text[:MOST].lower(), self.accelerator_rules)) if w]
        memory = next((m[1] for w in words if (m := _MEMORY.fullmatch(w))), "")
        kept = {w for w in words if w not in self.accelerator_noise and not _MEMORY.fullmatch(w)}
        return " ".join(sorted(kept)), memory

    def model(self, text: str) -> str | None:
        """The catalog name of a model, or None."""
        exact = self.models.get(text.strip().lower())
        if exact:
            return exact
        words = self.model_key(text).split("-")
        while words:
            found = self._models.get("-".join(words))
            if found:
                return found
            if words[-1] in self.model_suffixes:
                words.pop()
            elif words[0] in self.model_prefixes:
                words.pop(0)
            else:
                return None
        return None

    def accelerator(self, text: str) -> str | None:
        """The catalog name of an accelerator, or None."""
        exact = self.accelerators.get(text.strip().lower())
        if exact:
            return exact
        key, memory = self.accelerator_key(text)
        found = self._with_memory(key, memory)
        if found or "pcie" not in key.split():
            return found
        bare = self._with_memory(" ".join(w for w in key.split() if w != "pcie"), memory)
        return bare if bare in self.slots else None

    def _with_memory(self, key: str, memory: str) -> str | None:
        """The one accelerator of a key whose memory is what was stated."""
        pairs = self._accelerators.get(key, frozenset())
        exact = {name for stated, name in pairs if stated == memory}
        if len(exact) == 1:
            return exact.pop()
        if not memory:
            return None
        size = float(memory)
        fits = {name for _, name in pairs if _near(size, self.memory.get(name, 0.0))}
        return fits.pop() if len(fits) == 1 else None

    def format_in(self, text: str) -> str:
        """The format of weights that a model's name tells; empty when it tells none."""
        name = _last(text)
        return next((form for pattern, form in self.formats_in_names if re.search(pattern, name)), "")


def _last(text: str) -> str:
    """The last part of a path or of ``org/name``, lower case."""
    return text[:MOST].strip().lower().rstrip("/\\").replace("\\", "/").rsplit("/", 1)[-1].rsplit("--", 1)[-1]


def _replaced(text: str, rules: Iterable[Sequence[str]]) -> str:
    for pattern, new in rules:
        text = re.sub(pattern, new, text)
    return text


def _near(size: float, capacity: float) -> bool:
    """Whether so many GB, or GiB, are an accelerator's memory [byte]."""
    return any(abs(size * unit / capacity - 1.0) <= NEAR for unit in (GIGA, GIBI)) if capacity else False


def _unambiguous(pairs: Iterable[tuple[str, str]]) -> Mapping[str, str]:
    """Keys that mean one thing only."""
    found: dict[str, set[str]] = {}
    for key, name in pairs:
        found.setdefault(key, set()).add(name)
    return {key: names.pop() for key, names in found.items() if len(names) == 1}


def words_of(text: str) -> str:
    """A format, metric or engine in lower case, its words joined by ``_``."""
    return re.sub(r"[^a-z0-9]+", "_", text[:MOST].lower()).strip("_")


def metric_of(
    text: str, known: Mapping[str, Mapping[str, Any]], rules: Sequence[Mapping[str, Any]]
) -> Mapping[str, Any]:
    """What a metric counts: a known spelling, or what the first rules to match say of it, key by key."""
    exact = known.get(text.lower())
    if exact is not None:
        return exact
    found: dict[str, Any] = {}
    for rule in rules:
        if re.search(rule["pattern"], words_of(text)):
            for key, value in rule.items():
                if key != "pattern" and not (key in COUNTED and COUNTED & found.keys()):
                    found.setdefault(key, value)
    return found


def engine_of(text: str, engines: Mapping[str, str]) -> str | None:
    """The profile whose spelling stands in a cell; one of up to three letters must be a word of its own."""
    for spelling, name in engines.items():
        if re.search(rf"(?<![a-z]){re.escape(spelling)}(?![a-z])" if len(spelling) <= 3 else re.escape(spelling), text):
            return name
    return None


def split_of(notes: str, count: int) -> dict[str, int]:
    """Sizes that notes give in words, such as ``Pipeline Parallelism`` or ``Hybrid TP = 2 and PP = 2``."""
    found = _PARALLEL.search(notes)
    if not found:
        return {}
    sizes = {kind[:1].lower() + "p": int(size) for kind, size in _SIZED.findall(found[1])}
    if "ep" in sizes:  # the tensor-parallel ranks hold the experts between them
        return {"tp": count, "ep": sizes["ep"]}
    if sizes:
        return sizes
    kind = found[1].strip().lower()[:1]
    return {"t": {"tp": count}, "p": {"tp": 1, "pp": count}, "e": {"tp": count, "ep": count}}.get(kind, {})
