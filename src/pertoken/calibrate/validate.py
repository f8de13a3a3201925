"""Errors of predictions against measurements, in groups that are never pooled across sources."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from pertoken.calibrate.cells import Refused, clean
from pertoken.calibrate.names import Names
from pertoken.calibrate.predict import Prediction, Predictor
from pertoken.calibrate.rows import METRICS, REGIMES, read_row, states_enough

# what a repeated measurement shares; formats and splits may be stated in one copy only
SAME = ("source", "engine", "engine_version", "model", "gpu", "n_gpus", "isl", "osl", "concurrency_or_max_batch",
        "request_rate", "metric", "throughput", "ttft_ms", "tpot_ms")  # fmt: skip
MOST_NAMES = 2000  # characters of names that are not known, by reason
REPEATED = "published before with the same figures"


@dataclass(frozen=True)
class Group:
    """Errors of one source, metric, regime and model family.

    Parameters
    ----------
    source, metric, regime, family : str
        What is grouped; ``all`` where a level is summed over.
    rows : int
        Predicted.
    median_ape, p90_ape, bias : float
        Median and 90th percentile of the absolute error, and median signed error, as shares of the measured [1].
    coverage90 : float
        Share of rows whose measurement lies in the prediction's 90% interval.
    refused : int
        Figures of the group that were not predicted.
    """

    source: str
    metric: str
    regime: str
    family: str
    rows: int
    median_ape: float
    p90_ape: float
    bias: float
    coverage90: float
    refused: int = 0

    def as_dict(self) -> dict[str, Any]:
        """For JSON: unknown figures are None."""
        return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in vars(self).items()}


@dataclass
class Tally:
    """Refusals of one source.

    Parameters
    ----------
    rows : int
        Rows read.
    stating : int
        Rows that state model, accelerator, count and lengths, disaggregated ones apart.
    refused_stating : int
        Of those, refused.
    disaggregated : int
        Rows of disaggregated pools.
    """

    rows: int = 0
    stating: int = 0
    refused_stating: int = 0
    disaggregated: int = 0


@dataclass
class Validation:
    """Everything that a run found.

    Parameters
    ----------
    predictions : list of Prediction
        Rows that were predicted, those kept out of statistics included.
    reasons : Counter
        Refusals by (source, kind, reason).
    examples : dict
        One refused row in words, by the same key.
    tallies : dict of str to Tally
        Counts by source.
    """

    predictions: list[Prediction] = field(default_factory=list)
    reasons: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    examples: dict[tuple[str, str, str], str] = field(default_factory=dict)
    tallies: dict[str, Tally] = field(default_factory=dict)
    _seen: dict[int, int] = field(default_factory=dict, repr=False)

    def add(self, p: Prediction) -> None:
        """Keep a prediction; of measurements published twice with the same figures, the copy that states more counts."""
        key = hash(tuple(p.row.cells[name] for name in SAME))
        first = self._seen.get(key)
        if p.row.flag:
            pass
        elif first is None:
            self._seen[key] = len(self.predictions)
        elif "energy" in p.measured and "energy" not in self.predictions[first].measured:  # in one copy only
            p = replace(p, measured={"energy": p.measured["energy"]})
        elif _states(p) > _states(self.predictions[first]):
            old = self.predictions[first]
            self.predictions[first] = replace(old, row=replace(old.row, flag=REPEATED))
            self._seen[key] = len(self.predictions)
        else:
            p = replace(p, row=replace(p.row, flag=REPEATED))
        self.predictions.append(p)

    def flagged(self, source: str) -> int:
        """Rows of a source that are kept out of statistics."""
        return sum(p.row.source == source and bool(p.row.flag) for p in self.predictions)

    def refuse(self, source: str, error: Refused, where: str) -> None:
        """Note a row that could not be predicted."""
        key = (source, error.kind, str(error))
        self.reasons[key] += 1
        known = self.examples.setdefault(key, f"{where}{f': {error.detail}' if error.detail else ''}"[:300])
        if error.kind == "unknown" and error.detail not in known and len(known) < MOST_NAMES:
            self.examples[key] = f"{known}; {error.detail}"  # each name that is not known, once

    def groups(self, by: Sequence[str] = ("source", "metric", "regime", "family")) -> list[Group]:
        """Errors by group, sorted; levels that ``by`` leaves out are ``all``."""
        errors: dict[tuple[str, ...], list[tuple[float, bool]]] = {}
        missed: Counter[tuple[str, ...]] = Counter()
        for p in self.predictions:
            if p.row.flag:
                continue
            for metric, value in p.measured.items():
                full = {"source": p.row.source, "metric": metric, "regime": p.row.regime, "family": p.family}
                key = tuple(full[k] if k in by else "all" for k in full)
                if metric in p.refused:
                    missed[key] += 1
                    continue
                interval = p.predicted[metric]
                errors.setdefault(key, []).append((p.error(metric), interval.low <= value <= interval.high))
        return [_group(key, errors.get(key, []), missed[key]) for key in sorted({*errors, *missed}, key=_order)]


def _order(key: tuple[str, ...]) -> tuple[Any, ...]:
    places = [names.index(k) if k in names else -1 for k, names in ((key[1], METRICS), (key[2], REGIMES))]
    return (key[0].lower(), *places, key[3])


def _group(key: tuple[str, ...], found: Sequence[tuple[float, bool]], missed: int) -> Group:
    source, metric, regime, family = key
    if not found:
        return Group(source, metric, regime, family, 0, math.nan, math.nan, math.nan, math.nan, missed)
    errors = np.array([error for error, _ in found])
    size = np.abs(errors)
    return Group(
        source, metric, regime, family, len(found), float(np.median(size)), float(np.quantile(size, 0.9)),
        float(np.median(errors)), float(np.mean([inside for _, inside in found])), missed,
    )  # fmt: skip


def where(cells: Mapping[str, Any], line: int) -> str:
    """A row in a few words, for reports."""
    words = (clean(cells.get(key)) for key in ("source", "model", "n_gpus", "gpu", "weight_dtype"))
    return f"line {line}: {' '.join(word[:60] for word in words if word)}"


def validate(rows: Iterable[tuple[int, Mapping[str, Any]]], names: Names, predict: Predictor) -> Validation:
    """Predict every row of a table, or note why not.

    Parameters
    ----------
    rows : iterable of (line, cells)
        As read, see `pertoken.calibrate.rows.COLUMNS`.
    names : Names
        Spellings.
    predict : Predictor
        The model.
    """
    found = Validation()
    for _ in run(rows, names, predict, found):
        pass
    return found


def _states(p: Prediction) -> int:
    """How much a row says of how it was measured."""
    return len(p.row.split) + bool(p.row.weights) + bool(p.row.kv)


def run(
    rows: Iterable[tuple[int, Mapping[str, Any]]], names: Names, predict: Predictor, found: Validation
) -> Iterator[int]:
    """The same, yielding after every row how many were read."""
    for count, (line, cells) in enumerate(rows, 1):
        source = clean(cells.get("source")) or "unnamed"
        tally = found.tallies.setdefault(source, Tally())
        tally.rows += 1
        apart = "mode=disagg" in str(cells.get("notes"))
        stating = not apart and states_enough({k: clean(v) for k, v in cells.items() if isinstance(k, str)}, names)
        tally.stating += stating
        tally.disaggregated += apart
        try:
            prediction = predict(read_row(line, cells, names))
        except Refused as error:
            tally.refused_stating += stating
            found.refuse(source, error, where(cells, line))
        else:
            found.add(prediction)
        yield count
