"""Accelerators, engines and measured efficiencies by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from pertoken.catalog import files
from pertoken.engine.efficiency import Efficiency, efficiency_from_dict
from pertoken.engine.profile import Profile, profile_from_dict
from pertoken.engine.transfer import Chooser
from pertoken.hardware.accelerator import Accelerator, accelerator_from_dict

Entry = TypeVar("Entry")
SLOTS = "l40s"  # measured over PCIe slots of one host
REFERENCE = "h100-sxm"  # measured most thoroughly, so it stands in for what the others lack
# the measured accelerator whose kernels resemble most those of a family nobody measured
_NEAREST = {
    "volta": "a100-sxm-80gb", "turing": "a100-sxm-80gb", "ampere": "a100-sxm-80gb", "ada": "l40s", "hopper": REFERENCE,
    "blackwell": "b200-sxm", "blackwell-consumer": "rtx-pro-6000-server", "cdna2": "a100-sxm-80gb",
}  # fmt: skip


def _load(kind: str, text: str, read: Callable[[Mapping[str, Any], str], Entry], hint: str = "") -> Entry:
    """An entry by catalog name or alias, or from a TOML file of the user's own."""
    if text.endswith(".toml"):
        path = Path(text).expanduser()
        return read(files.read_toml(path), path.name)
    name = files.find_name(kind, text)
    if name is None:
        raise files.unknown(kind, text, hint)
    return read(_entry(kind, name), name)


@cache
def _entry(kind: str, name: str) -> Mapping[str, Any]:
    return files.entry(kind, name)


def load_accelerator(text: str) -> Accelerator:
    """An accelerator by catalog name or alias, or from a TOML file of the user's own."""
    return _load("accelerators", text, accelerator_from_dict, "; a TOML file of your own works too")


def load_profile(text: str) -> Profile:
    """An engine's profile by name, or from a TOML file of the user's own."""
    return _load("engines", text, profile_from_dict)


@cache
def load_efficiency(name: str) -> Efficiency:
    """The measured efficiency of one accelerator."""
    return efficiency_from_dict(files.entry("efficiency", name))


def chooser(accelerator: Accelerator, engine: str = "") -> Chooser:
    """Efficiencies for an accelerator under an engine: its own, or those of the measured one nearest to it."""
    measured = files.names("efficiency")
    own = accelerator.name if accelerator.name in measured else _NEAREST.get(accelerator.family, REFERENCE)
    own = own if own in measured else REFERENCE
    notes = [] if own == accelerator.name else [f"kernel efficiencies of {accelerator.name}: those measured on {own}"]
    # what tells one engine's kernels from another's was measured on NVIDIA's and holds for no one else's
    engine = engine if accelerator.vendor.lower() == "nvidia" else ""
    fallback = None if own == REFERENCE else load_efficiency(REFERENCE)
    links = load_efficiency(SLOTS) if accelerator.in_slots and own not in (accelerator.name, SLOTS) else None
    return Chooser(load_efficiency(own), fallback, notes, engine, accelerator, links)
