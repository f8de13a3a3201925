"""Files of simulations: single requests, all figures, text, or the course of the run, by suffix."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pertoken.errors import PertokenError
from pertoken.report import simulation_cases as cases
from pertoken.report.document import clean
from pertoken.report.export import as_html, as_markdown, toml_value, write_whole
from pertoken.report.simulation import Simulation
from pertoken.report.simulation_charts import course
from pertoken.report.svg import PICTURES, picture


def to_json(run: Simulation) -> str:
    """All figures."""
    return json.dumps(run.document, indent=2, allow_nan=False) + "\n"


def to_csv(run: Simulation) -> str:
    """All figures in a line, below their names."""
    return cases.to_csv([run.row()])


def _requests_jsonl(run: Simulation) -> str:
    return lines_of(run.columns())


def lines_of(columns: Mapping[str, Any]) -> str:
    """Requests as JSON lines."""
    lines = zip(*(values.tolist() for values in columns.values()), strict=True)
    return "".join(json.dumps(clean(dict(zip(columns, line, strict=True)))) + "\n" for line in lines)


def _scenario(run: Simulation) -> str:
    lines = ["# A scenario: read back with pertoken simulate --scenario FILE."]
    return "\n".join(lines + [f"{key} = {toml_value(value)}" for key, value in run.scenario.items()]) + "\n"


def _requests_csv(run: Simulation) -> str:
    columns = run.columns()
    return ",".join(columns) + "\n" + rows_of(columns)


def rows_of(columns: Mapping[str, Any]) -> str:
    """Requests as rows of CSV, without names."""
    cells = [[_cell(v) for v in values.tolist()] for values in columns.values()]
    return "".join(",".join(line) + "\n" for line in zip(*cells, strict=True))


def _cell(value: Any) -> str:
    return "" if value != value else repr(value)  # noqa: PLR0124 - NaN


def arrow() -> tuple[Any, Any]:
    """pyarrow and its Parquet, or a sentence."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise PertokenError(
            "Parquet files need pyarrow; install it with: pip install pyarrow, or write .csv"
        ) from error
    return pyarrow, parquet


def _requests_parquet(run: Simulation) -> bytes:
    pyarrow, parquet = arrow()
    out = io.BytesIO()
    table = pyarrow.table(run.columns()).replace_schema_metadata(
        {"partial": str(run.partial).lower(), "traffic": run.records.traffic.origin}
    )
    parquet.write_table(table, out)
    return out.getvalue()


def _picture(suffix: str) -> Callable[[Simulation], str | bytes]:
    return lambda run: picture(course(run), suffix)


def _page(form: Callable[[str, str], str]) -> Callable[[Simulation], str]:
    return lambda run: form(run.text(), "A simulation")


WRITERS: Mapping[str, Callable[[Simulation], str | bytes]] = {
    ".json": to_json, ".csv": _requests_csv, ".jsonl": _requests_jsonl, ".parquet": _requests_parquet, ".toml": _scenario,
    ".md": _page(as_markdown), ".html": _page(as_html), ".txt": Simulation.text,
    **{suffix: _picture(suffix) for suffix in PICTURES},
}  # fmt: skip


def write(run: Simulation, path: Path) -> None:
    """A file by its suffix: .csv, .jsonl and .parquet hold single requests, .png and .svg the course of the run.

    Raises
    ------
    PertokenError
        When the place cannot be written.
    """
    write_whole(path, WRITERS[path.suffix.lower()](run))
