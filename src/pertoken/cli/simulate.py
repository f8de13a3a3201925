"""The command ``simulate``: real arrivals, request by request."""

from __future__ import annotations

import sys
from typing import Any

import click

from pertoken.cli.options import complete, knob_options, read_cases, table_options
from pertoken.errors import PertokenError
from pertoken.report.place import place
from pertoken.simulate.options import OPTIONS

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
    "--scenario", metavar="FILE.toml", help="Read knobs and options from a file; those given here come first."
)
@click.option("--keep", metavar="FOLDER", help="Of several cases: keep finished ones there, and go on from them.")
@click.option("--workers", type=int, default=0, help="Processes for several cases (default: one a core).")
@click.option("--on-ray", metavar="ADDRESS", help="Run cases on a Ray cluster: auto, HOST:PORT or ray://HOST:PORT.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV, a line for each case.")
@click.option(
    "-o", "--output-file", "target", metavar="FILE",
    help="Also write all figures as .json, text as .md .html .txt, the scenario as .toml, single requests as .csv .jsonl"
    " .parquet, or the course of the run as .png .svg. Of several cases: .json .csv .md .html .txt, or latency and cost"
    " against load as .png .svg.",
)  # fmt: skip
def simulate(
    model: tuple[str, ...], search: bool, scenario: str | None, keep: str | None, workers: int, on_ray: str | None,
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
    """
    if as_json and as_csv:
        raise PertokenError("--json and --csv cannot both be given; leave one out, or write the other with -o")
    if reuse_prefixes or no_reuse_prefixes:
        given["reuse_prefixes"] = ("no",) * no_reuse_prefixes + ("yes",) * reuse_prefixes
    cases = read_cases(model, scenario, given, "pertoken simulate llama-3.1-8b", OPTIONS, MOST_CASES)
    if len(cases) > 1 or keep or on_ray:
        from pertoken.cli.sweeping import sweep

        sweep(cases, search, keep, workers, on_ray, as_json, as_csv, target)
        return
    _one(cases[0], search, as_json, as_csv, target)


def _one(given: dict[str, Any], search: bool, as_json: bool, as_csv: bool, target: str | None) -> None:
    """One case, with a progress line."""
    from pertoken.cli.progress import Progress, first_use
    from pertoken.report import simulation_files as files
    from pertoken.report.text import plain
    from pertoken.simulation import Case

    path = place(target, files.WRITERS) if target is not None else None
    case, line = Case.of(given), Progress("simulating")
    if case.own and case.own.why:
        click.echo(f"pertoken: {plain(case.own.said)}", err=True)
    first_use()
    line(0.0)
    try:
        run = case.search(line, line.tell) if search else case.run(line)
    finally:
        line.close()
    if path:
        files.write(run, path)
        click.echo(f"wrote {path}", err=True)
    click.echo(files.to_json(run) if as_json else files.to_csv(run) if as_csv else run.text(), nl=False)
    if run.partial:
        click.echo("pertoken: interrupted; the result is partial", err=True)
        sys.exit(130)
