"""Files to save: what a command would write, and charts with their rows."""

from __future__ import annotations

import csv
import io
import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from pertoken.answers import page
from pertoken.cli import curve, explain
from pertoken.errors import PertokenError
from pertoken.report.document import clean, safe_cell
from pertoken.report.export import FORMS as PRICED
from pertoken.report.simulation_files import WRITERS
from pertoken.web.asked import Asked
from pertoken.web.commands import run
from pertoken.web.jobs import Answer, Tell

KINDS = {
    "json": "application/json", "csv": "text/csv; charset=utf-8", "md": "text/markdown; charset=utf-8",
    "html": "text/html; charset=utf-8", "txt": "text/plain; charset=utf-8", "toml": "application/toml",
    "bib": "application/x-bibtex", "svg": "image/svg+xml", "png": "image/png",
}  # fmt: skip


def _forms(suffixes: Sequence[str]) -> tuple[str, ...]:
    return tuple(form for suffix in suffixes if (form := suffix.removeprefix(".")) in KINDS)


# what can be saved, in which forms
FORMS: Mapping[str, tuple[str, ...]] = {
    "price": _forms(tuple(PRICED)),
    "explain": _forms(explain.FORMS),
    "curve": _forms(curve.FORMS),
    "market": _forms(curve.FORMS),
    "tariff": _forms(curve.FORMS),
    "answers": _forms(page.FORMS),
    "simulate": _forms(tuple(WRITERS)),
    "chart": ("json", "csv", "svg", "png"),
}
COMMAND = {"tariff": "market"}


def export(asked: Asked, tell: Tell) -> Answer:
    """A file.

    Raises
    ------
    PertokenError
        When there is no such file, or its making is refused.
    """
    what, form = asked.word("what"), asked.word("form")
    if what not in FORMS:
        raise PertokenError(f"what is {what[:60]!r}; use one of {', '.join(FORMS)}")
    if form not in FORMS[what]:
        raise PertokenError(f"form is {form[:60]!r}; {what} is saved as {', '.join(FORMS[what])}")
    name = f"pertoken-{what}.{form}"
    if what == "chart":
        name = f"pertoken-{asked.word('chart')}.{form}"
        return Answer(_chart(asked, form), KINDS[form], name=name)
    with tempfile.TemporaryDirectory(prefix="pertoken-") as folder:
        path = Path(folder) / name
        run(COMMAND.get(what, what), asked, tell, (f"--output-file={path}",))
        return Answer(path.read_bytes(), KINDS[form], name=name)


def _chart(asked: Asked, form: str) -> bytes:
    """A chart's picture, specification or rows."""
    from pertoken.report.svg import picture
    from pertoken.web import charts

    name = asked.word("chart")
    if form == "csv":
        return _csv(charts.rows(name, asked)).encode()
    spec = clean(charts.spec(name, asked))
    if form == "json":
        return json.dumps(spec, allow_nan=False).encode()
    made = picture(spec, f".{form}")
    return made.encode() if isinstance(made, str) else made


def _csv(rows: Mapping[str, Sequence[Mapping[str, object]]]) -> str:
    """Rows of all datasets in one table."""
    heads = list(dict.fromkeys(key for found in rows.values() for row in found for key in row))
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["dataset", *map(safe_cell, heads)])
    for name, found in rows.items():
        writer.writerows([name, *(safe_cell("" if row.get(k) is None else row[k]) for k in heads)] for row in found)
    return out.getvalue()
