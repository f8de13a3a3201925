"""The command ``calibrate``: own measured rows become a file that ``--efficiency`` reads."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pertoken import __version__
from pertoken.errors import PertokenError

if TYPE_CHECKING:
    from pertoken.calibrate.own import Own


MOST_ROWS = 2000  # each costs a few dozen predictions


def fitted(path: Path, accelerator: str, engine: str) -> Own:
    """The calibration that a file of rows teaches; what could not be read is said on stderr."""
    from pertoken.calibrate import own
    from pertoken.calibrate.validate import Validation, run
    from pertoken.catalog import machines, measured
    from pertoken.cli.validate import predictor
    from pertoken.report.text import plain

    notes: list[str] = []
    found, predict = Validation(), predictor()
    for count in run(measured.read_rows(path, notes.append), measured.load_names(), predict, found):
        if count > MOST_ROWS:
            raise PertokenError(
                f"{path.name[-80:]} has over {MOST_ROWS:,} rows; give those of one accelerator and engine"
            )
    for note in notes:
        click.echo(f"pertoken: {plain(note)}", err=True)
    on = machines.load_accelerator(accelerator).name if accelerator else ""
    under = machines.load_profile(engine).name if engine else ""
    return own.calibrate(own.chosen(found, on, under, predict.resolve))


@click.command(short_help="Fit to your own measurements.")
@click.option(
    "--from", "source", metavar="FILE.csv", required=True, help="Measured rows (columns: docs/validation.md)."
)
@click.option("--on", "accelerator", metavar="ACCELERATOR", default="", help="Whose rows, if the file has several.")
@click.option("--engine", metavar="ENGINE", default="", help="Under which engine, if the file has several.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, SI units.")
@click.option("-o", "--output-file", "target", metavar="FILE.toml", help="Write the calibration for --efficiency.")
def calibrate(source: str, accelerator: str, engine: str, as_json: bool, target: str | None) -> None:
    """Fit one accelerator and engine to your own measurements.

    A few rows of TTFT, TPOT or throughput teach the shares of the memory rate and of the arithmetic peak that your machine
    reaches and, where rows tell it, the host's time a step. The error of each row is shown as shipped, fitted, and under a
    fit that did not see it.

    \b
    pertoken calibrate --from results.csv
    pertoken calibrate --from results.csv --on h100-sxm --engine vllm -o mine.toml
    pertoken price llama-3.1-8b --efficiency mine.toml
    """
    from pertoken.report import calibration as report
    from pertoken.report.export import write_whole

    path = Path(target).expanduser() if target else None
    if path and (path.suffix.lower() != ".toml" or not path.parent.is_dir() or path.is_dir() or len(str(path)) > 4096):
        raise PertokenError(
            f"-o {str(path)[-120:]!r} cannot be written; give a name that ends in .toml, in a folder that is there"
        )
    own = fitted(Path(source).expanduser(), accelerator, engine)
    click.echo(report.as_json(own) if as_json else report.as_text(own), nl=False)
    if own.refused:
        raise PertokenError(f"nothing was fitted{' or written' if path else ''}: {own.refused}")
    if path:
        write_whole(path, report.as_toml(own, Path(source).name[-80:], dt.date.today(), __version__))
        click.echo(f"wrote {path}; use it: pertoken price MODEL --efficiency {path}", err=True)
