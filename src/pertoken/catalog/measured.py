"""Measured rows that ship, the spellings that sources use, and the deployment that a row was measured on."""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, replace
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from pertoken.calibrate.names import Names
from pertoken.calibrate.predict import Resolved
from pertoken.calibrate.rows import COLUMNS, Refused, Row
from pertoken.catalog import files, machines
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
MOST_LINE = 100_000  # characters
MOST_ROWS = 2_000_000
GENEROUS = 0.97  # share of memory an engine was given that runs where its defaults leave too little
OFFLINE_SEQUENCES = 4096.0  # TensorRT-LLM's benchmark of offline throughput
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
    kinds = [field.name for field in fields(Names) if field.name not in ("datasets", "flags", "runs")]
    return Names(
        **{kind: table[kind] for kind in kinds},
        datasets=lengths["datasets"],
        runs=lengths["runs"],
        flags=files.read_toml(FOLDER / "flags.toml")["flags"],
    )  # fmt: skip


def _lines(stream: io.TextIOBase, name: str) -> Iterator[str]:
    while line := stream.readline(MOST_LINE + 1):
        if len(line) > MOST_LINE:
            raise PertokenError(f"{name} has a line of over {MOST_LINE:,} characters; give a CSV of measured rows")
        yield line.replace("\0", "")


def missing_columns(header: list[str]) -> list[str]:
    """Columns of the schema that a header lacks."""
    return [name for name in COLUMNS if name not in header]


def read_rows(path: Path, said: Callable[[str], None]) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Stream the rows of a CSV (or .csv.gz) with their line numbers.

    Parameters
    ----------
    path : Path
        The file.
    said : callable
        Told, once, which columns are missing.

    Raises
    ------
    PertokenError
        When it is not such a file.
    """
    shown = str(path)[-120:]
    try:
        if not path.is_file():
            raise PertokenError(f"{shown!r} is not a file; give a CSV of measured rows")
        with path.open("rb") as raw:
            plain: Any = gzip.GzipFile(fileobj=raw) if path.suffix == ".gz" else raw
            with io.TextIOWrapper(plain, encoding="utf-8-sig", errors="replace", newline="") as stream:
                yield from _rows(stream, path.name[-80:], said)
    except (OSError, EOFError, zlib.error) as error:
        raise PertokenError(f"{shown!r} cannot be read: {str(error)[:80]}; give a CSV of measured rows") from error


def _rows(stream: io.TextIOBase, name: str, said: Callable[[str], None]) -> Iterator[tuple[int, Mapping[str, Any]]]:
    reader = csv.reader(_lines(stream, name))
    try:
        header = [cell.strip().lower() for cell in next(reader, [])]
        if not set(header) & set(COLUMNS):
            raise PertokenError(f"{name} has no column of the schema; it must have: {', '.join(COLUMNS)}")
        missing = missing_columns(header)
        if missing:
            strange = [cell[:30] for cell in header if cell and cell not in COLUMNS][:8]
            extra = f"; columns not of the schema, ignored: {', '.join(strange)}" if strange else ""
            said(f"{name}: missing columns count as unknown: {', '.join(missing)}{extra}")
        for count, cells in enumerate(reader):
            if count >= MOST_ROWS:
                raise PertokenError(f"{name} has over {MOST_ROWS:,} rows; give a sample of it")
            if any(cells):
                yield reader.line_num, dict(zip(header, cells, strict=False))
    except csv.Error as error:
        raise PertokenError(f"{name} line {reader.line_num}: {error}; give a CSV") from error


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
            raise Refused("accelerator not in the catalog", "unknown", row.accelerator[:60]) from error
        model, precision = self._precision(row, accelerator, assumed)
        split = self._split(row, model, accelerator, assumed)
        profile = _profile(row, accelerator)
        own = self._own
        own = own if own and (own.accelerator, own.engine) == (accelerator.name, profile.name) else None
        profile = own.profile(profile) if own else profile
        chooser = machines.chooser(accelerator, profile.name, own)
        deployment = Deployment(model.model, _cache(precision, accelerator), accelerator, split, profile, chooser)
        deployment = _made_to_fit(deployment, assumed)
        # a batch served at once has no steady state to read the power of
        draw = None if row.load in ("static", "burst") else load_draw(accelerator, profile.name)
        return Resolved(deployment, self._family(row.model), tuple(assumed), draw)

    def _family(self, name: str) -> str:
        if name not in self._families:
            key = files.find_name("models", name)
            self._families[name] = str(files.entry("models", key).get("family", "other")) if key else "other"
        return self._families[name]

    def _precision(self, row: Row, accelerator: Accelerator, assumed: list[str]) -> tuple[Checkpoint, Precision]:
        if files.find_name("models", row.model) is None:
            raise Refused("model not in the catalog", "unknown", row.model[:60])
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
        except PertokenError as error:
            raise Refused("kv_dtype is no known format", "unknown", row.kv[:40]) from error
        if not row.kv:
            assumed.append(f"KV cache in {found.precision.kv}")
        precision = _runnable(found.precision, accelerator, assumed)
        if blocks and not precision.blocks and precision.weights == "fp8":
            precision = replace(precision, blocks=True)
        return found.checkpoint, precision

    def _split(self, row: Row, model: Checkpoint, accelerator: Accelerator, assumed: list[str]) -> Split:
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
        if row.count > 1 and "tp" not in given:
            assumed.append(f"split {split}")
        return split


def _states(formats: Callable[..., Format], model: str) -> bool:
    try:
        formats(model, None, None)
    except PertokenError:
        return False
    return True


def _runnable(precision: Precision, accelerator: Accelerator, assumed: list[str]) -> Precision:
    """The formats, fp8 weights unpacked to half precision where there is no fp8 arithmetic, as engines do."""
    if precision.weights == "fp8" and not set(number_format("fp8").compute) & set(accelerator.flops):
        assumed.append(f"fp8 weights unpacked to half precision: {accelerator.name} has no fp8 arithmetic")
        return replace(precision, weights="w8a16")
    return precision


def _cache(precision: Precision, accelerator: Accelerator) -> Precision:
    return precision if precision.kv != "bf16" or accelerator.half == "bf16" else replace(precision, kv="fp16")


def _profile(row: Row, accelerator: Accelerator) -> Profile:
    """The engine's profile; offline throughput is measured with room for every request."""
    profile = machines.load_profile(row.engine).on(accelerator)
    if row.load == "saturated" and row.engine == "trtllm":
        return replace(profile, max_sequences=replace(profile.max_sequences, value=OFFLINE_SEQUENCES, note="offline"))
    return profile


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
