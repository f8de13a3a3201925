"""What a probe teaches: its prompts and batches as measured rows, which `pertoken.calibrate.own` fits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pertoken.calibrate import own
from pertoken.calibrate.own import Own
from pertoken.calibrate.predict import Prediction, Resolved, predict
from pertoken.calibrate.rows import Row
from pertoken.calibrate.validate import Validation
from pertoken.engine.deployment import Deployment
from pertoken.errors import PertokenError
from pertoken.measure.expected import Compared


def rows_of(found: Sequence[Compared], deployment: Deployment) -> list[Row]:
    """A row for each prompt that was alone and had nothing cached, and for each batch that decoded together."""
    place = Row(
        line=0, cells={}, engine=deployment.profile.name, model=deployment.model.name, accelerator=deployment.accelerator.name,
        count=deployment.accelerators, split={}, weights="", kv="", input="1", output="1", load="alone", amount=1.0, measured={},
    )  # fmt: skip
    rows = []
    for line, c in enumerate(found, 1):
        if c.metric == "ttft" and not c.second:
            rows.append(replace(place, line=line, input=f"{c.first:.0f}", measured={"ttft": c.measured}))
        elif c.metric == "step":
            # a row states the input and two output tokens: one step at just that context
            rows.append(
                replace(place, line=line, input=f"{max(1.0, c.second):.0f}", output="2", load="static", amount=c.first,
                        measured={"tpot": c.measured})
            )  # fmt: skip
    return rows


def taught(found: Sequence[Compared], deployment: Deployment, date: str) -> Own:
    """The calibration that a probe teaches.

    Raises
    ------
    PertokenError
        When nothing that it measured can teach.
    """
    resolved = Resolved(deployment, "other")
    known = Validation()
    for row in rows_of(found, deployment):
        try:
            predicted = predict(row, deployment)
        except PertokenError:
            continue
        stated = replace(row, cells={"source": "pertoken measure", "model": row.model, "date": date})
        known.predictions.append(Prediction(stated, "other", row.measured, predicted))
    chosen = own.chosen(known, deployment.accelerator.name, deployment.profile.name, lambda _: resolved)
    return own.calibrate(chosen)
