"""Kernel factors of older engine versions: the tables of one version against the fit over all engines of today.

What an old version ran is what it served, so no table is left out for being slow; one that runs another form of the
operation (`engines.OTHER`), or that times its host (`MOST_LAUNCH`), is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pertoken.calibrate import engines, fit, operators
from pertoken.calibrate.operators import Samples, Table
from pertoken.engine.factor import EngineFactor

# profile of the era in the catalog: its framework, and the versions whose tables teach it, the nearest first
ERAS = {
    "vllm-0.12": ("vllm", ("0.12.0",)),
    "sglang-0.5.6": ("sglang", ("0.5.6.post2", "0.5.5.post3")),
    "trtllm-1.0": ("trtllm", ("1.0.0rc3", "1.0.0rc6", "1.0.0")),
    "trtllm-1.2": ("trtllm", ("1.2.0rc5",)),
}
# not what is served: vLLM 0.12's fp8 products were timed with a scale for every token, and checkpoints have static ones;
# TensorRT-LLM's fp4 experts were timed as CUTLASS's, and recipes choose its own
OTHERS = {("vllm-0.12", "matmul.fp8"): "a scale for every token", ("trtllm-1.2", "experts.nvfp4"): "CUTLASS's experts"}
SKEWED = "power_law_1.01"  # the only routing that most of these tables have
FORMS_DIFFER = ("experts", "latent_prefill", "latent_decode")  # a product is a product, however slow
LIBRARIES = ("nccl", "oneccl")
MOST_LAUNCH = np.log(5.0)  # log factor of the launch past which a table times its host


def tables_of(found: Sequence[Table], system: str, era: str) -> list[Table]:
    """Tables in text of one era on one system, and those of the libraries of collectives."""
    framework, versions = ERAS[era]
    mine = [t for t in found if t.system == system and t.text]
    version = next((v for v in versions if any((t.framework, t.version) == (framework, v) for t in mine)), None)
    if version is None:
        return []
    libraries = [t for t in found if t.system == system and t.framework in LIBRARIES]
    return [t for t in mine if (t.framework, t.version) == (framework, version)] + libraries


def factor(
    found: Sequence[Table], system: str, era: str, name: str, record: Any, at: tuple[float, float]
) -> engines.Found:
    """Factor of one era for ``name`` = ``group.key`` on one system; 1 where the fit of today holds.

    Parameters
    ----------
    found : sequence of Table
        All tables.
    record : efficiency
        The fit over all engines of today.
    at : tuple of float
        Arithmetic peak [FLOP/s] and memory or link rate [byte/s] of that fit.
    """
    group, key = name.split(".")
    own = tables_of(found, system, era)
    make = engines.maker(group, key, system)
    samples, beside, even = make(own), {}, True
    label = _label(samples, era)
    if group == "experts" and (samples is None or len(samples.seconds) < engines.ROWS):
        # routed unevenly only: held against the tables of today routed so too
        dtype = next((dtype for dtype, form in operators.FORMS.items() if form.key == key), "")
        samples = operators.experts(own, system, dtype, SKEWED)
        today = operators.experts([t for t in found if not t.text], system, dtype, SKEWED)
        label, even = _label(samples, era), False
        if today is None:
            return engines.Found(None, ())
        beside = engines.logs(_fair(fit.usable(today, *at, even)[0], at, even), record, at)
    if samples is None or not label:
        return engines.Found(None, ())
    if other := OTHERS.get((era, name)):
        return engines.Found(None, (f"{label}, {name}: factor of {era} left out, {other}",))
    if (group, key) == ("matmul", "fp8") and ERAS[era][0] == "trtllm":
        samples, _ = engines.static(samples, found, label)
    samples = _fair(samples, at, even)
    logs = {n: v - beside.get(n, 0.0) for n, v in engines.logs(samples, record, at).items()}
    if not logs:
        return engines.Found(None, ())
    where = f"{label}, {name}: factor of {era}"
    if group in FORMS_DIFFER and engines.worst(samples, record, at) > engines.OTHER:
        return engines.Found(None, (f"{where} left out, another form of the operation",))
    if logs.get("launch", 0.0) > MOST_LAUNCH:
        return engines.Found(None, (f"{where} left out, it times the host",))
    return engines.Found(engines.rounded(logs) or EngineFactor(), (f"{where}, {len(samples.seconds)} rows",))


def _fair(samples: Samples, at: tuple[float, float], even: bool = True) -> Samples:
    """Rows of serving size that read what their columns say, or less where they are not routed evenly."""
    rows = engines.served(samples)
    return samples.take(np.flatnonzero(fit.readable(samples, *at)[0] & rows if even else rows))


def _label(samples: Samples | None, era: str) -> str:
    """Label of the engine's own table among those of the samples."""
    return next((text for text in (samples.labels if samples else ()) if f" {ERAS[era][0]} " in text), "")
