"""How uneven routing of experts shows in the tables: fewer experts touched, and a busiest rank."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from pertoken.calibrate import fit, operators
from pertoken.calibrate.operators import FORMS, Array, Table, floats, newest
from pertoken.engine.efficiency import ExpertsEfficiency

UNEVEN = "power_law_1.01"  # the milder of the two uneven routings measured
_SKEWS = np.linspace(0.0, 1.0, 21)


def fitted(
    record: ExpertsEfficiency, found: Sequence[Table], system: str, key: str, peaks: tuple[float, float]
) -> ExpertsEfficiency:
    """The record with ``skew`` and ``busiest`` from the rows of uneven routing, 0 where there are none.

    ``peaks`` are those of the fit [FLOP/s, byte/s].
    """
    dtype = next(name for name, form in FORMS.items() if form.key == key)
    return replace(
        record,
        skew=_skew(record, found, system, dtype, peaks),
        busiest=_busiest(found, system, dtype),
    )


def _skew(
    record: ExpertsEfficiency, found: Sequence[Table], system: str, dtype: str, peaks: tuple[float, float]
) -> float:
    """The exponent with the least median |log error| over memory-bound rows that leave some experts untouched."""
    samples = operators.experts(found, system, dtype, UNEVEN)
    if samples is None:
        return 0.0
    flops, rate = peaks
    samples, _ = fit.usable(samples, flops, rate)
    shape = samples.shape
    even = shape["experts"] * (1.0 - (1.0 - shape["active"] / shape["experts"]) ** shape["tokens"])
    bound = (shape["bytes"] / rate > shape["flop"] / flops) & (even < 0.98 * shape["experts"]) & (shape["tokens"] > 1)
    if bound.sum() < 20:
        return 0.0
    weight = even * 3.0 * shape["k"] * shape["n"] * FORMS[dtype].weight
    moved = np.maximum(shape["bytes"] - weight, 0.0)

    def off(skew: float) -> float:
        share = replace(record, skew=skew).touched(shape["experts"], shape["active"], shape["tokens"]) / even
        changed = shape | {"bytes": weight * share + moved, "m": shape["m"] / share}
        times = fit.seconds(record, changed, flops, rate)
        return float(np.median(np.abs(np.log(samples.seconds / times))[bound]))

    return float(_SKEWS[int(np.argmin([off(float(s)) for s in _SKEWS]))])


def _busiest(found: Sequence[Table], system: str, dtype: str) -> float:
    """From TensorRT-LLM's rows, which hand a rank only its own tokens: uneven over even seconds at 4,096 tokens up."""
    extra: list[Array] = []
    for table in newest(found, system, "moe", "moe_perf"):
        if table.framework != "trtllm":
            continue
        c = table.read()
        keep = (c["moe_dtype"] == dtype) & (c["num_tokens"] >= 4096) & (c["moe_ep_size"] > 1)
        keep &= (c["num_experts"] >= 4 * c["moe_ep_size"]) & np.isin(c["distribution"], ("balanced", UNEVEN))
        names = ("num_tokens", "hidden_size", "inter_size", "topk", "num_experts", "moe_tp_size", "moe_ep_size")
        *shape, seconds = floats(c, keep, *names, "latency")
        even = c["distribution"][keep] == "balanced"
        of = dict(zip(zip(*(v[even] for v in shape), strict=True), seconds[even], strict=True))
        for at, slow in zip(zip(*(v[~even] for v in shape), strict=True), seconds[~even], strict=True):
            if at in of:
                extra.append(np.array([(slow / of[at] - 1.0) / (at[-1] ** 0.5 - 1.0)]))
    return max(0.0, float(np.median(np.concatenate(extra)))) if extra else 0.0
