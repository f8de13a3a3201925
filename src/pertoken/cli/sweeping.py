"""Several cases of ``simulate``: a line for each, a chart against load, and what failed."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Any

import click

from pertoken.cli.progress import Progress, first_use
from pertoken.errors import PertokenError
from pertoken.report import simulation_cases as report
from pertoken.report import simulation_charts as charts
from pertoken.report.export import as_html, as_markdown, write_whole
from pertoken.report.place import place
from pertoken.report.simulation_cases import Row
from pertoken.report.svg import PICTURES, picture
from pertoken.report.text import plain
from pertoken.simulation import check
from pertoken.sweeping.cells import Cell, make_folder, run_cells

FORMS = (".json", ".csv", ".md", ".html", ".txt", *PICTURES)


def sweep(
    cases: list[dict[str, Any]], search: bool, keep: str | None, workers: int, on_ray: str | None, as_json: bool,
    as_csv: bool, target: str | None,
) -> None:  # fmt: skip
    """Run all; those that fail are told and the others kept. Exit 1 where some failed, 2 where all did, 130 when interrupted."""
    path = place(target, FORMS) if target is not None else None
    kept: dict[str, dict[str, Any]] = {}
    for case in cases:
        kept.setdefault(repr(check(case)), case)  # what is given again adds nothing
    cases = list(kept.values())
    if path and path.suffix.lower() in PICTURES:
        charts.axis_of(cases)  # before any work is done
    folder = make_folder(keep) if keep else None
    cluster = None
    if on_ray is not None:
        from pertoken.sweeping.on_ray import Cluster

        if workers:
            raise PertokenError("--workers is of this machine, and --on-ray has its own; leave one out")
        cluster = partial(Cluster, on_ray)
    first_use()
    line = Progress(f"{len(cases):,} cases")
    try:
        rows, ended = run_cells([Cell(case, search) for case in cases], folder, workers, line.cells, cluster)
    finally:
        line.close()
    _tell(rows, as_json, as_csv, path, ended)


def _tell(rows: list[Row], as_json: bool, as_csv: bool, path: Path | None, ended: bool) -> None:
    """Write, print, and say by the exit code what became of it."""
    failed = [row for row in rows if row.get("error")]
    if as_json or as_csv:
        for line in report.failures(rows):
            click.echo(f"pertoken: {plain(line)}", err=True)
    if path and len(failed) < len(rows):
        write_whole(path, _file(rows, ended, path.suffix.lower()))
        click.echo(f"wrote {path}", err=True)
    shown = report.to_json(rows, ended) if as_json else report.to_csv(rows) if as_csv else report.text(rows)
    click.echo(shown, nl=False)
    if ended:
        click.echo("pertoken: interrupted; the result is partial", err=True)
        sys.exit(130)
    if failed:
        click.echo(f"pertoken: {len(failed):,} of {len(rows):,} cases have no result", err=True)
        sys.exit(2 if len(failed) == len(rows) else 1)


def _file(rows: list[Row], ended: bool, suffix: str) -> str | bytes:
    if suffix in PICTURES:
        return picture(charts.against_load(rows), suffix)
    if suffix == ".json":
        return report.to_json(rows, ended)
    if suffix == ".csv":
        return report.to_csv(rows)
    form = {".md": as_markdown, ".html": as_html}.get(suffix)
    shown = report.text(rows)
    return form(shown, "Simulations") if form else shown
