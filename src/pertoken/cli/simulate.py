"""The command ``simulate``: real arrivals, request by request."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from pertoken.cli.options import complete, knob_options, read_cases, table_options
from pertoken.errors import PertokenError
from pertoken.report.place import place
from pertoken.simulate.options import OPTIONS

if TYPE_CHECKING:
    from pathlib import Path

    from pertoken.cli.progress import Progress
    from pertoken.report.simulation import Simulation

MOST_CASES = 10_000


@click.command()
@click.argument("model", nargs=-1, shell_complete=complete("models"))
@knob_options
@table_options([option for option in OPTIONS.values() if option.name != "reuse_prefixes"])
@click.option("--reuse-prefixes", is_flag=True, help=OPTIONS["reuse_prefixes"].doc)
@click.option("--no-reuse-prefixes", is_flag=True, help="Keep none (default); with --reuse-prefixes both are cases.")
@click.option(
    "--max-rate", "search", is_flag=True, help="Find the highest rate at which 99% of requests meet the goals."
)
@click.option(
    "--stream",
    is_flag=True,
    help="Keep no single requests in memory: write them (-o .csv .jsonl .parquet) as the run goes.",
)
@click.option(
    "--scenario", metavar="FILE.toml", help="Read knobs and options from a file; those given here come first."
)
@click.option("--keep", metavar="FOLDER", help="Of several cases: keep finished ones there, and go on from them.")
@click.option("--workers", type=int, default=0, help="Processes for several cases (default: one a core).")
@click.option(
    "--on-ray", metavar="ADDRESS", help="Run cases on a Ray cluster: local, auto, HOST:PORT or ray://HOST:PORT."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV, a line for each case.")
@click.option(
    "-o", "--output-file", "target", metavar="FILE",
    help="Also write all figures as .json, text as .md .html .txt, the scenario as .toml, single requests as .csv .jsonl"
    " .parquet, or the course of the run as .png .svg. Of several cases: .json .csv .md .html .txt, or latency and cost"
    " against load as .png .svg.",
)  # fmt: skip
def simulate(
    model: tuple[str, ...], search: bool, stream: bool, scenario: str | None, keep: str | None, workers: int, on_ray: str | None,
    as_json: bool, as_csv: bool, target: str | None, reuse_prefixes: bool, no_reuse_prefixes: bool, **given: tuple[str, ...],
) -> None:  # fmt: skip
    """Serve traffic request by request, and say what it costs.

    Traffic is a trace with arrivals (--trace), drawn at a rate (--rps or --load), or a closed loop (--concurrency).
    --ttft and --tpot are goals of single requests. Any knob or option given twice makes cases, which run on all cores;
    those that differ only by --seed are shown as a mean with its confidence interval.

    \b
    pertoken simulate llama-3.1-8b --on h100-sxm --load 0.7
    pertoken simulate llama-3.1-8b --on h100-sxm --trace azure-2023-conversation -o requests.parquet
    pertoken simulate llama-3.1-8b --on h100-sxm --replicas 8 --route prefix-aware --reuse-prefixes --turns 5 --rps 20
    pertoken simulate llama-3.1-8b --on h100-sxm --max-rate --ttft 500ms --tpot 30ms
    pertoken simulate llama-3.1-8b --on h100-sxm --replicas 6 --replicas 4:2 --load={0.3,0.5,0.7,0.9} -o load.svg
    pertoken simulate llama-3.1-8b --on h100-sxm --load 0.9 --seed={0..9} --keep done
    pertoken simulate llama-3.1-8b --on h100-sxm --requests 20000000 --stream -o requests.parquet
    """
    if as_json and as_csv:
        raise PertokenError("--json and --csv cannot both be given; leave one out, or write the other with -o")
    if reuse_prefixes or no_reuse_prefixes:
        given["reuse_prefixes"] = ("no",) * no_reuse_prefixes + ("yes",) * reuse_prefixes
    cases = read_cases(model, scenario, given, "pertoken simulate llama-3.1-8b", OPTIONS, MOST_CASES)
    if stream:
        if len(cases) > 1 or keep or on_ray or search:
            raise PertokenError("--stream is of one run: leave out --max-rate, --keep, --on-ray and values given twice")
        _streamed(cases[0], as_json, as_csv, target)
        return
    if len(cases) > 1 or keep or on_ray:
        from pertoken.cli.sweeping import sweep

        sweep(cases, search, keep, workers, on_ray, as_json, as_csv, target)
        return
    _one(cases[0], search, as_json, as_csv, target)


def _one(given: dict[str, Any], search: bool, as_json: bool, as_csv: bool, target: str | None) -> None:
    """One case, with a progress line."""
    from pertoken.cli.progress import Progress, first_use
    from pertoken.report import simulation_files as files
    from pertoken.simulation import Case

    path = place(target, files.WRITERS) if target is not None else None
    case, line = None if "policy" in given else Case.of(given), Progress("simulating")
    first_use()
    line(0.0)
    try:
        if case is None:
            run = _apart(given, line, search=search)
        elif search:
            run = case.search(line, line.tell)
        else:
            run = case.run(line)
    finally:
        line.close()
    _wrote(run, path, False)
    _show(run, as_json, as_csv)


def _streamed(given: dict[str, Any], as_json: bool, as_csv: bool, target: str | None) -> None:
    """One case whose requests are written as it goes. Ctrl-C is heard between slices, when the file is whole."""
    from pertoken.cli.progress import Progress, first_use
    from pertoken.report import simulation_files as files
    from pertoken.report.simulation_stream import FORMS
    from pertoken.simulation import Case

    path = place(target, files.WRITERS) if target is not None else None
    single = path if path and path.suffix.lower() in FORMS else None
    case, line = None if "policy" in given else Case.of(given), Progress("simulating")
    first_use()
    try:
        if case is None:
            run = _apart(given, line, stream=True, path=single)
        else:
            with between_slices(line) as progress:
                run = case.write(single, progress)
    finally:
        line.close()
    _wrote(run, path, single is not None)
    _show(run, as_json, as_csv)


def _wrote(run: Simulation, path: Path | None, already: bool) -> None:
    """Write a file, unless it was written meanwhile, and say so."""
    from pertoken.report import simulation_files as files

    if path and not already:
        files.write(run, path)
    if path:
        click.echo(f"wrote {path}", err=True)


def _apart(given: dict[str, Any], line: Progress, **how: Any) -> Simulation:
    """A case with a policy, in a process that can be ended."""
    from pertoken.report.text import plain
    from pertoken.sweeping.apart import Job, run_apart

    return run_apart(Job(given, **how), line, line.tell, lambda said: click.echo(f"pertoken: {plain(said)}", err=True))


@contextmanager
def between_slices(line: Callable[[float], None]) -> Iterator[Callable[[float], None]]:
    """Progress that raises ``KeyboardInterrupt`` when Ctrl-C was pressed since the last; elsewhere it raises nothing."""
    pressed: list[int] = []

    def progress(share: float) -> None:
        line(share)
        if pressed:
            raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield progress
        return
    before = signal.signal(signal.SIGINT, lambda number, _: pressed.append(number))
    try:
        yield progress
    finally:
        signal.signal(signal.SIGINT, before)


def _show(run: Simulation, as_json: bool, as_csv: bool) -> None:
    """Print a run, and end as one that was interrupted does where it was."""
    from pertoken.report import simulation_files as files

    click.echo(files.to_json(run) if as_json else files.to_csv(run) if as_csv else run.text(), nl=False)
    if run.partial:
        click.echo("pertoken: interrupted; the result is partial", err=True)
        sys.exit(130)
