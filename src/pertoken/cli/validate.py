"""The command ``validate``: predictions against measured rows."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pertoken.errors import PertokenError

if TYPE_CHECKING:
    from pertoken.calibrate.predict import Predictor
    from pertoken.calibrate.validate import Validation
    from pertoken.catalog.measured import Format


def formats(model: str, dtype: str | None, kv_dtype: str | None) -> Format:
    """What the product assumes of a model's formats when told so much."""
    from pertoken.catalog.measured import Format
    from pertoken.knobs import read_knobs
    from pertoken.scenario import Resolver
    from pertoken.serving.workload import Workload

    resolver = Resolver(
        read_knobs({"model": model, "dtype": dtype, "kv_dtype": kv_dtype}), Workload(input=1, output=1, concurrency=1)
    )
    return Format(resolver.checkpoint, resolver.precision())


def predictor(efficiency: str | None = None) -> Predictor:
    """The model, with the product's own rules for names and formats, and a user's calibration if there is one."""
    from pertoken.calibrate.predict import Predictor
    from pertoken.catalog import machines
    from pertoken.catalog.measured import Resolver

    return Predictor(Resolver(formats, machines.load_calibration(efficiency) if efficiency else None))


def validation(paths: list[Path], efficiency: str | None = None) -> tuple[Validation, list[str]]:
    """Predict the rows of files (those that ship, if there are none); what could not be read is said."""
    from pertoken.calibrate.validate import Validation, run
    from pertoken.catalog import measured

    found, notes, predict, names = Validation(), list[str](), predictor(efficiency), measured.load_names()
    watched = sys.stderr.isatty()
    for path in paths or measured.shipped():
        for count in run(measured.read_rows(path, notes.append), names, predict, found):
            if watched and count % 100 == 0:
                click.echo(f"\r{path.name}: {count:,} rows", nl=False, err=True)
        if watched:
            click.echo("\r\033[K", nl=False, err=True)
    return found, notes


@click.command(short_help="Predictions against measurements.")
@click.argument("files", nargs=-1, metavar="[FILE.csv]...")
@click.option("--efficiency", metavar="FILE.toml", help="Own calibration, for rows of its accelerator and engine.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON: groups, refused, sources.")
@click.option("--rows", is_flag=True, help="With --json: every row too.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV: every row with its prediction, SI units.")
@click.option(
    "-o", "--output-file", "target", metavar="FILE", help="Also write .json .csv .md .txt, or a chart .png .svg."
)
def validate(
    files: tuple[str, ...], efficiency: str | None, as_json: bool, rows: bool, as_csv: bool, target: str | None
) -> None:
    """Predictions against measurements, by source, metric, regime and model family.

    FILE holds measured rows (columns: docs/validation.md; blank cells are unknown); without one, the rows that ship are
    used. Every row is predicted, or counted as refused with the reason.

    \b
    pertoken validate
    pertoken validate mine.csv --csv
    pertoken validate mine.csv -o chart.svg
    pertoken validate mine.csv --efficiency mine.toml
    """
    from pertoken.report import validation as report
    from pertoken.report.text import plain

    if as_json and as_csv:
        raise PertokenError("--json and --csv cannot both be given; leave one out, or write the other with -o")
    if rows and not as_json:
        raise PertokenError("--rows adds rows to --json; give --json too, or --csv instead")
    path = Path(target).expanduser() if target else None
    if path:
        report.check_form(path)
    found, notes = validation([Path(name).expanduser() for name in files], efficiency)
    for note in notes:
        click.echo(f"pertoken: {plain(note)}", err=True)
    shown = report.as_json(found, rows) if as_json else report.as_csv(found) if as_csv else report.as_text(found)
    click.echo(shown, nl=False)
    if path:
        report.export(found, path)
        click.echo(f"wrote {path}", err=True)
