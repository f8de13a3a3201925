"""What ``pertoken price`` prints: answers, and beside them what counterfactuals change."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from pertoken.cost import Cost
from pertoken.report import document, export, text, uncertainty
from pertoken.report.uncertainty import Tornado


def check(what_if: Sequence[str]) -> None:
    """Refuse unknown counterfactuals before the work is done."""
    if what_if:
        from pertoken.whatif.ask import ALL, read

        for name in what_if:
            if name.strip().lower() != ALL:
                read(name)


class Answers:
    """Answers in each form, with their counterfactuals if there are any.

    Parameters
    ----------
    costs : sequence of Cost
        One answer, or several to compare.
    what_if : sequence of str
        Counterfactuals to ask of each.
    tornados : sequence of Tornado
        What moves each most, where that was asked for.
    """

    def __init__(self, costs: Sequence[Cost], what_if: Sequence[str], tornados: Sequence[Tornado] = ()) -> None:
        self.costs, self.what_if, self.tornados = costs, what_if, tornados

    @cached_property
    def outcomes(self) -> list[list]:  # type: ignore[type-arg]
        """Of each answer."""
        from pertoken.whatif.ask import ask

        return [ask(cost, self.what_if) for cost in self.costs]

    def text(self) -> str:
        """Plain text."""
        costs = self.costs
        found = text.answer(costs[0]) if len(costs) == 1 else text.comparison(costs)
        if self.what_if:
            from pertoken.report import counterfactuals

            for cost, outcomes in zip(costs, self.outcomes, strict=True):
                head = "" if len(costs) == 1 else f"{text.case_name(costs, cost)}\n"
                found += f"\n{head}{counterfactuals.as_text(outcomes)}"
        return found + text.uncertainty(costs, self.tornados)

    def json(self) -> str:
        """JSON."""
        more: list[dict[str, Any]] = [{} for _ in self.costs]
        if self.what_if:
            from pertoken.report import counterfactuals

            for keys, outcomes in zip(more, self.outcomes, strict=True):
                keys["what_if"] = counterfactuals.as_list(outcomes)
        for keys, tornado in zip(more, self.tornados, strict=False):
            keys["uncertainty"] = uncertainty.document(tornado)
        return document.to_json(self.costs, more)

    def csv(self) -> str:
        """CSV: a line for each answer, and for each counterfactual that applies."""
        if not self.what_if:
            return document.to_csv(self.costs)
        rows = []
        for cost, outcomes in zip(self.costs, self.outcomes, strict=True):
            rows.append({"what_if": ""} | document.row(cost))
            rows += [{"what_if": o.name} | document.row(o.after.cost) for o in outcomes if o.after]
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(rows[0])
        writer.writerows([document.safe_cell(value) for value in row.values()] for row in rows)
        return out.getvalue()

    def file(self, path: Path) -> str:
        """The content of a file, by its suffix."""
        suffix = path.suffix.lower()
        if suffix == ".json":
            return self.json()
        if suffix == ".csv":
            return self.csv()
        if not (self.what_if or self.tornados) or suffix == ".toml":
            return export.form_for(path)(self.costs)
        shown = self.text()
        return {".md": export.as_markdown, ".html": export.as_html}.get(suffix, str)(shown)
