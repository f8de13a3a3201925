"""Measured rows that ship, the spellings that sources use, and the deployment that a row was measured on."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from pertoken.calibrate.cells import Refused
from pertoken.calibrate.names import Names
from pertoken.calibrate.predict import Resolved
from pertoken.calibrate.rows import Row
from pertoken.calibrate.spelling import Spelling
from pertoken.catalog import files, machines, tables
from pertoken.catalog.power import load_draw
from pertoken.engine.calibration import Calibration
from pertoken.engine.deployment import Deployment
from pertoken.engine.parallel import Split, default_split
from pertoken.engine.profile import Profile
from pertoken.errors import DoesNotFit, PertokenError
from pertoken.hardware.accelerator import Accelerator
from pertoken.model.model import Checkpoint
from pertoken.model.precision import Precision, number_format
from pertoken.sources import Source

FOLDER = files.ROOT / "measured"
GENEROUS = 0.97  # share of memory an engine was given that runs where its defaults leave too little
ROOM = 0.3  # share of memory for caches with which an offline replica is taken to run
OFFLINE_SEQUENCES = 4096.0  # TensorRT-LLM's benchmark of offline throughput
UNPACKED = {"fp8": "w8a16", "int8": "w8a16", "mxfp8": "w8a16", "nvfp4": "nvfp4_w4a16"}
SLOTS = 64.0  # sequences that llama.cpp is given room for where a row states more than its default
_RAN = Source("it ran, so the engine's settings left room")


class Format(NamedTuple):
    """What the product would assume of a model's formats."""

    checkpoint: Checkpoint
    precision: Precision


def shipped() -> list[Path]:
    """Files of measured rows in the catalog."""
    return sorted(FOLDER.glob("*.csv.gz"))


@cache
def load_names() -> Names:
    """Spellings, lengths of data sets, and flags."""
    table = files.read_toml(FOLDER / "aliases.toml")
    lengths = files.read_toml(FOLDER / "lengths.toml")
    settings = files.read_toml(FOLDER / "settings.toml")
    kinds = [
        field.name for field in fields(Names) if field.name not in ("datasets", "flags", "runs", "settings", "spelling")
    ]
    return Names(
        **{kind: table[kind] for kind in kinds},
        spelling=_spelling(table),
        datasets=lengths["datasets"],
        runs=lengths["runs"],
        settings=settings["settings"],
        flags=files.read_toml(FOLDER / "flags.toml")["flags"],
    )  # fmt: skip


@cache
def load_regimes() -> Mapping[str, Mapping[str, tuple[float, float]]]:
    """Measured over predicted, 5 and 95%, by load and metric, where a regime errs in its own way."""
    table = files.read_toml(FOLDER / "regimes.toml")
    return {
        load: {metric: (float(low), float(high)) for metric, (low, high) in table[load].items()}
        for load in ("busy", "static")
    }


def read_rows(path: Path, said: Callable[[str], None]) -> tables.Rows:
    """Stream the rows of a table with their line numbers, see `pertoken.catalog.tables.read_rows`."""
    return tables.read_rows(path, said, files.read_toml(FOLDER / "columns.toml"))


def _spelling(table: Mapping[str, Any]) -> Spelling:
    """The catalog's names and aliases with the rules for others."""
    known = {k: {n: n for n in files.names(k)} | files.aliases(k) | table[k] for k in ("models", "accelerators")}
    cards = {name: machines.load_accelerator(name) for name in files.names("accelerators")}
    return Spelling(
        **table["spelling"], **known,
        memory={name: card.memory.value for name, card in cards.items()},
        slots=frozenset(name for name, card in cards.items() if card.in_slots),
    )  # fmt: skip


class Resolver:
    """Finds a row's deployment.

    Parameters
    ----------
    formats : callable
        ``(model, dtype or None, kv dtype or None)`` to `Format`: what the product assumes, so that rows and users meet the
        same rules.
    own : Calibration, optional
        A user's, for rows of its accelerator and engine.
    """

    def __init__(
        self, formats: Callable[[str, str | None, str | None], Format], own: Calibration | None = None
    ) -> None:
        self._own = own
        self._formats = cache(formats)
        self._families: dict[str, str] = {}

    def __call__(self, row: Row) -> Resolved:
        """The deployment, or a reason why there is none."""
        assumed: list[str] = []
        try:
            accelerator = machines.load_accelerator(row.accelerator)
        except PertokenError as error:
            raise _unknown("accelerator", row.accelerator, error) from error
        model, precision = self._precision(row, accelerator, assumed)
        split = self._split(row, model, accelerator)
        profile = _profile(row, accelerator)
        own = self._own
        own = own if own and (own.accelerator, own.engine) == (accelerator.name, profile.name) else None
        profile = own.profile(profile) if own else profile
        chooser = machines.chooser(accelerator, profile, own)
        deployment = Deployment(model.model, _cache(precision, accelerator), accelerator, split, profile, chooser)
        if row.load == "saturated" and row.count > 1 and not row.split:
            deployment = _replicated(deployment)
        if row.count > 1 and "tp" not in row.split:
            assumed.append(f"split {deployment.split}")
        deployment = _made_to_fit(deployment, assumed)
        # a batch served at once has no steady state to read the power of
        draw = None if row.load in ("static", "burst") else load_draw(accelerator, profile.kernels[-1])
        return Resolved(deployment, self._family(row.model), tuple(assumed), draw, load_regimes())

    def _family(self, name: str) -> str:
        if name not in self._families:
            key = files.find_name("models", name)
            self._families[name] = str(files.entry("models", key).get("family", "other")) if key else "other"
        return self._families[name]

    def _precision(self, row: Row, accelerator: Accelerator, assumed: list[str]) -> tuple[Checkpoint, Precision]:
        if files.find_name("models", row.model) is None:
            raise _unknown("model", row.model, files.unknown("models", row.model))
        blocks = row.weights == "fp8_block"
        weights = "fp8" if blocks else row.weights
        unstated = None if _states(self._formats, row.model) else "bf16"
        stated = self._formats(row.model, unstated, None)
        if weights:
            try:
                weights = number_format(weights).name
            except PertokenError as error:
                raise Refused("weight_dtype is no known format", "unknown", weights[:40]) from error
        else:
            assumed.append(f"weights in {stated.precision.weights}, the checkpoint's")
        # a checkpoint of the stated format knows which of its layers keep more bits
        own = not weights or weights == stated.precision.weights
        try:
            found = self._formats(row.model, unstated if own else weights, row.kv or None)
        except PertokenError:
            assumed.append(f"kv_dtype {row.kv[:40]!r} is no known format")
            found = self._formats(row.model, unstated if own else weights, None)
        if found.precision.kv != row.kv:
            assumed.append(f"KV cache in {found.precision.kv}")
        precision = _runnable(found.precision, accelerator, assumed)
        if blocks and not precision.blocks and precision.weights == "fp8":
            precision = replace(precision, blocks=True)
        return found.checkpoint, precision

    def _split(self, row: Row, model: Checkpoint, accelerator: Accelerator) -> Split:
        domain = int(accelerator.link.domain.value) if accelerator.link else 1
        given = dict(row.split)
        if given.get("ep", 1) > 1 and not any(
            b.feedforward and hasattr(b.feedforward, "experts") for b in model.model.blocks
        ):
            del given["ep"]
        try:
            split = default_split(
                model.model, row.count, max(domain, 1), *(given.get(k) for k in ("tp", "pp", "ep", "dp"))
            )
        except PertokenError as error:
            raise Refused("tp, pp, ep and dp do not fit the accelerators or the model", "misfit", str(error)) from error
        return split


def _unknown(kind: str, text: str, error: PertokenError) -> Refused:
    """Why a name is refused, with the nearest ones, or with the column it may belong to."""
    other = "an accelerator" if kind == "model" else "a model"
    hint = re.search(r"did you mean [^?]*\?", str(error))
    spelling = load_names().spelling
    if (spelling.accelerator if kind == "model" else spelling.model)(text):
        return Refused(f"{kind} is the name of {other}: are columns swapped?", "unknown", repr(text[:60]))
    return Refused(f"{kind} not in the catalog", "unknown", f"{text[:60]!r}{f', {hint[0]}' if hint else ''}")


def _states(formats: Callable[..., Format], model: str) -> bool:
    try:
        formats(model, None, None)
    except PertokenError:
        return False
    return True


def _runnable(precision: Precision, accelerator: Accelerator, assumed: list[str]) -> Precision:
    """The formats, weights unpacked to half precision where their arithmetic is missing, as engines do."""
    able, weights = set(accelerator.flops), precision.weights
    if weights in UNPACKED and not set(number_format(weights).compute) & able:
        assumed.append(f"{weights} weights unpacked to half precision: {accelerator.name} has no {weights} arithmetic")
        roles = {role: UNPACKED.get(form, form) for role, form in precision.roles.items()}
        return replace(precision, weights=UNPACKED[weights], roles=roles)
    return precision


def _cache(precision: Precision, accelerator: Accelerator) -> Precision:
    return precision if precision.kv != "bf16" or accelerator.half == "bf16" else replace(precision, kv="fp16")


def _profile(row: Row, accelerator: Accelerator) -> Profile:
    """The engine's profile as the row's source set it; offline throughput is measured with room for every request."""
    profile = machines.profile_of(row.engine, row.version, row.date).on(accelerator)
    for name, value in row.settings.items():
        now = getattr(profile, name)
        changed: dict[str, Any] = {name: bool(value) if isinstance(now, bool) else replace(now, value=value, note="")}
        profile = replace(profile, **changed)
    if row.load == "saturated" and row.engine == "trtllm":
        return replace(profile, max_sequences=replace(profile.max_sequences, value=OFFLINE_SEQUENCES, note="offline"))
    if row.engine == "llamacpp":
        return replace(profile, max_sequences=replace(profile.max_sequences, value=SLOTS, note="as many as asked for"))
    return profile


def _replicated(deployment: Deployment) -> Deployment:
    """The deployment as replicas of the fewest ranks that leave room for caches: what offline runs are submitted with."""
    count, domain = deployment.accelerators, deployment.fabric.domain
    for tp in (n for n in (1, 2, 4) if count % n == 0 and n < count):
        try:
            split = default_split(deployment.model, count, domain, tp, None, None, count // tp)
            found = replace(deployment, split=split)
        except PertokenError:
            continue
        if found.cache_capacity >= ROOM * found.usable_bytes:
            return found
    return deployment


def _made_to_fit(deployment: Deployment, assumed: list[str]) -> Deployment:
    """The deployment with the memory it must have had, since it ran."""
    least = float(deployment.sequence_bytes(2048.0))
    if deployment.cache_capacity >= least:
        return deployment
    profile = deployment.profile
    given = replace(profile.memory_fraction, value=max(GENEROUS, profile.memory_fraction.value), source=_RAN)
    for budget, sequences in ((profile.token_budget.value, 256.0), (2048.0, 64.0), (512.0, 8.0)):
        smaller = replace(
            profile,
            memory_fraction=given,
            token_budget=replace(profile.token_budget, value=min(budget, profile.token_budget.value), source=_RAN),
            max_sequences=replace(
                profile.max_sequences, value=min(sequences, profile.max_sequences.value), source=_RAN
            ),
        )
        found = replace(deployment, profile=smaller)
        if found.cache_capacity >= float(found.sequence_bytes(256.0)):
            assumed.append(
                f"{GENEROUS:.0%} of memory and {min(budget, profile.token_budget.value):,.0f} tokens a step: it ran"
            )
            return found
    raise DoesNotFit("the weights do not fit the accelerators' memory", -deployment.cache_capacity)
