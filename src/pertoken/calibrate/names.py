"""Spellings that sources of measurements use; the catalog keeps them as data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pertoken.calibrate.spelling import Spelling


@dataclass(frozen=True)
class Names:
    """Spellings that sources use, and lengths that their data sets document; see the catalog's tables.

    Parameters
    ----------
    engines, models, accelerators, dtypes : mapping of str to str
        What a spelling (lower case) means. An engine's spelling may be part of a cell.
    checkpoints : mapping of str to str
        ``model/dtype`` to the published checkpoint of that kind.
    metrics : mapping of str to mapping
        What the metric column says, and what it counts (``counts``: output, total or requests; ``per``: accelerator).
    notes : sequence of mapping
        Words in notes (``has``) that tell the kind of load.
    datasets : sequence of mapping
        Lengths by words in notes, source or model.
    flags : sequence of mapping
        Rows that are shown but kept out of statistics, and why.
    settings : sequence of mapping
        Settings of an engine that follow from a source's own documents: ``kv``, and figures of `Profile` by their names.
    instead : sequence of mapping
        Models that a source served in another form than its name says.
    runs : sequence of mapping
        Requests of one offline run.
    stand_ins : mapping of str to str
        Engines without a profile of their own, and the profile that they are modelled as.
    formats : sequence of mapping
        What a format means on some accelerators or for some models.
    caches : mapping of str to str
        Cache formats that are timed as another of the same size.
    metric_words : sequence of mapping
        Patterns in metrics that have no spelling of their own, and what they count.
    spelling : Spelling
        Rules for the names of models and accelerators.
    """

    engines: Mapping[str, str] = field(default_factory=dict)
    models: Mapping[str, str] = field(default_factory=dict)
    accelerators: Mapping[str, str] = field(default_factory=dict)
    dtypes: Mapping[str, str] = field(default_factory=dict)
    checkpoints: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    notes: Sequence[Mapping[str, Any]] = ()
    datasets: Sequence[Mapping[str, Any]] = ()
    flags: Sequence[Mapping[str, Any]] = ()
    settings: Sequence[Mapping[str, Any]] = ()
    instead: Sequence[Mapping[str, Any]] = ()
    runs: Sequence[Mapping[str, Any]] = ()
    stand_ins: Mapping[str, str] = field(default_factory=dict)
    formats: Sequence[Mapping[str, Any]] = ()
    caches: Mapping[str, str] = field(default_factory=dict)
    metric_words: Sequence[Mapping[str, Any]] = ()
    spelling: Spelling = field(default_factory=Spelling)
