"""The command ``simulate``: real arrivals, request by request."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from pertoken.cli.options import complete, knob_options, read_cases
from pertoken.errors import PertokenError
from pertoken.report.place import place

ROUTES = ("round-robin", "least-loaded", "prefix-aware")


@dataclass(frozen=True)
class Listener:
    """Who hears how far a run is, in place of a terminal; the command's ``obj``."""

    tell: Callable[[Mapping[str, Any]], None]


class Progress:
    """A line on stderr with the time left, rewritten a few times a second; nothing where stderr is no terminal."""

    def __init__(self, what: str) -> None:
        self.what, self.start, self.shown = what, time.monotonic(), 0.0
        self.on = sys.stderr.isatty()
        self.listener = click.get_current_context().find_object(Listener)

    def __call__(self, share: float) -> None:
        now = time.monotonic()
        if not (self.on or self.listener) or now - self.shown < 0.2:
            return
        self.shown = now
        left = (now - self.start) * (1.0 - share) / share if share > 0.01 else None
        if self.listener:
            self.listener.tell({"progress": share, "left_s": left})
            return
        bar = "#" * int(30 * share)
        tail = f", {left:,.0f} s left" if left is not None else ""
        click.echo(f"\r{self.what} [{bar:30}] {share:4.0%}{tail}   ", err=True, nl=False)

    def close(self) -> None:
        """Clear the line."""
        if self.on and self.shown:
            click.echo("\r" + " " * 78 + "\r", err=True, nl=False)


@click.command()
@click.argument("model", nargs=-1, shell_complete=complete("models"))
@knob_options
@click.option("--requests", type=int, help="Requests to draw (default: 20,000), or the first so many of a trace.")
@click.option(
    "--seed", type=int, default=0, show_default=True, help="Of all that is drawn; the same gives the same bytes."
)
@click.option(
    "--burst", type=float, default=1.0, show_default=True, metavar="CV", help="Coefficient of variation of gaps."
)
@click.option("--profile", default="", metavar="W,W,...", help="24 hourly weights by which the rate follows the day.")
@click.option(
    "--turns", type=float, default=1.0, show_default=True, help="Mean turns of conversations, each with the history."
)
@click.option(
    "--think", type=float, default=0.0, show_default=True, help="Seconds from an answer to the next turn or request."
)
@click.option("--replicas", type=int, default=1, show_default=True, help="Copies of the deployment.")
@click.option(
    "--route", default="round-robin", show_default=True, metavar="|".join(ROUTES), help="Which one serves a request."
)
@click.option(
    "--reuse-prefixes",
    "reuse_prefixes",
    is_flag=True,
    help="Keep blocks of prompts, oldest out first (hash_ids, --turns).",
)
@click.option(
    "--priorities", type=int, default=1, show_default=True, help="Levels of a trace's priority column, 0 first."
)
@click.option("--block", type=int, default=16, show_default=True, help="Tokens of a KV block.")
@click.option(
    "--crowd", type=int, default=0, show_default=True, help="Start a replica above so many requests each (0: all run)."
)
@click.option(
    "--start", "start_s", type=float, default=60.0, show_default=True, help="Seconds that a replica takes to start."
)
@click.option(
    "--patience", "patience_s", type=float, default=300.0, show_default=True, help="Idle seconds before it is stopped."
)
@click.option("--least", type=int, default=1, show_default=True, help="Replicas that always run, with --crowd.")
@click.option(
    "--max-rate", "search", is_flag=True, help="Find the highest rate at which 99% of requests meet the goals."
)
@click.option("--scenario", metavar="FILE.toml", help="Read knobs from a file; options given here come first.")
@click.option("--keep", metavar="FOLDER", help="Of several cases: keep finished ones there, and go on from them.")
@click.option("--workers", type=int, default=0, help="Processes for several cases (default: one a core).")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV, a line for each case.")
@click.option(
    "-o", "--output-file", "target", metavar="FILE",
    help="Also write .json .md .html .txt, single requests as .csv .parquet, or the course of the run as .png .svg.",
)  # fmt: skip
def simulate(
    model: tuple[str, ...], scenario: str | None, search: bool, keep: str | None, workers: int, as_json: bool, as_csv: bool,
    target: str | None, requests: int | None, seed: int, burst: float, profile: str, turns: float, think: float,
    replicas: int, route: str, reuse_prefixes: bool, priorities: int, block: int, crowd: int, start_s: float,
    patience_s: float, least: int, **given: tuple[str, ...],
) -> None:  # fmt: skip
    """Serve traffic request by request, and say what it costs.

    Traffic is a trace with arrivals (--trace), drawn at a rate (--rps or --load), or a closed loop (--concurrency).
    --ttft and --tpot are goals of single requests. Any knob given twice makes cases, which run on all cores.

    \b
    pertoken simulate llama-3.1-8b --on h100-sxm --load 0.7
    pertoken simulate llama-3.1-8b --on h100-sxm --trace azure-2023-conversation -o requests.parquet
    pertoken simulate llama-3.1-8b --on h100-sxm --replicas 8 --route prefix-aware --reuse-prefixes --turns 5 --rps 20
    pertoken simulate llama-3.1-8b --on h100-sxm --max-rate --ttft 500ms --tpot 30ms
    """
    from pertoken.report import simulation as report
    from pertoken.simulate.run import Cluster
    from pertoken.simulation import Options

    if as_json and as_csv:
        raise PertokenError("--json and --csv cannot both be given; leave one out, or write the other with -o")
    path = place(target, report.FORMS) if target is not None else None
    cluster = Cluster(replicas, route, reuse_prefixes, priorities, block, crowd, start_s, patience_s, least)
    options = Options(requests, seed, burst, profile, turns, think, cluster)
    cases = read_cases(model, scenario, given, "pertoken simulate llama-3.1-8b")
    if len(cases) > 1 or keep:
        _sweep(cases, options, search, keep, workers, as_json, path)
        return
    run = _one(cases[0], options, search)
    if path:
        report.write([run], path)
        click.echo(f"wrote {path}", err=True)
    click.echo(report.to_json([run]) if as_json else report.to_csv([run]) if as_csv else run.text(), nl=False)
    if run.records.partial:
        click.echo("pertoken: interrupted; the result is partial", err=True)
        sys.exit(130)


def _one(knobs: dict[str, Any], options: Any, search: bool) -> Any:
    """One case, with a progress line."""
    from pertoken.simulation import Case

    case, line = Case(knobs, options), Progress("simulating")
    tell: Callable[[str], None] = lambda text: click.echo(text, err=True)  # noqa: E731
    try:
        if not search:
            return case.run(line)
        rate, run = case.search(line, tell)
        run.assumed.insert(
            0, f"{rate:.4g} requests/s is the highest rate at which 99% of requests meet the goals, to 1%"
        )
        return run
    finally:
        line.close()


def _sweep(
    cases: list[dict[str, Any]],
    options: Any,
    search: bool,
    keep: str | None,
    workers: int,
    as_json: bool,
    path: Path | None,
) -> None:
    """Several cases on all cores: one row each; those that fail are told and the others kept."""
    import json

    from pertoken.report.export import write_whole
    from pertoken.sweeping import Cell, failed, run_cells, table

    if search:
        raise PertokenError("--max-rate takes one case; give each knob once")
    if path and path.suffix.lower() not in (".json", ".csv"):
        raise PertokenError(f"several cases are written as .json or .csv, not {path.suffix}; give another -o")
    folder = Path(keep).expanduser() if keep else None
    line = Progress(f"simulating {len(cases)} cases")
    found = run_cells([Cell(case, options) for case in cases], folder, workers, line)
    line.close()
    for row in failed(found):
        click.echo(f"pertoken: case {row['case']}: {row['error']}", err=True)
    whole = json.dumps({"cases": found}, indent=2, allow_nan=False) + "\n"
    shown = table(found)
    if path:
        write_whole(path, whole if path.suffix.lower() == ".json" else shown)
        click.echo(f"wrote {path}", err=True)
    click.echo(whole if as_json else shown, nl=False)
    if len(failed(found)) == len(found):
        sys.exit(2)
