"""The command: parse, call, render. Data goes to stdout, talk to stderr; exit 2 is bad input, 3 does not fit."""

from __future__ import annotations

import difflib
import json
import sys
from pathlib import Path

import click

from pertoken import __version__
from pertoken.cli.answers import answers
from pertoken.cli.calibrate import calibrate
from pertoken.cli.curve import curve
from pertoken.cli.explain import explain
from pertoken.cli.market import market
from pertoken.cli.measure import measure
from pertoken.cli.options import WHAT_IF, complete, complete_what_if, knob_options, read_cases
from pertoken.cli.serve import serve
from pertoken.cli.simulate import simulate
from pertoken.cli.validate import validate
from pertoken.errors import PertokenError

KINDS = ("models", "accelerators", "engines", "rates", "traces")
SHOWN = ("model", "accelerator", "engine", "efficiency")


class Commands(click.Group):
    """A group that suggests the command that was meant."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and self.get_command(ctx, args[0]) is None and not args[0].startswith("-"):
            near = difflib.get_close_matches(args[0], self.list_commands(ctx), n=1, cutoff=0.5)
            guess = f"did you mean {near[0]}? " if near else ""
            raise PertokenError(
                f"{args[0][:60]!r} is no command; {guess}commands: {', '.join(self.list_commands(ctx))}"
            )
        return super().resolve_command(ctx, args)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="pertoken")
def cli() -> None:
    """What one input token, one cached token and one output token of a language model cost, and why.

    Start with: pertoken price llama-3.1-8b
    """


@cli.command(short_help="Dollars per million tokens, and why.")
@click.argument("model", nargs=-1, shell_complete=complete("models"))
@knob_options
@click.option("--scenario", metavar="FILE.toml", help="Read knobs from a file; options given here come first.")
@click.option("--what-if", "what_if", multiple=True, metavar="NAME", help=WHAT_IF, shell_complete=complete_what_if)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV.")
@click.option(
    "-o",
    "--output-file",
    "target",
    metavar="FILE",
    help="Also write .json .csv .md .html .txt, or .toml (the scenario).",
)
@click.option("--uncertainty", "uncertain", is_flag=True, help="Show which input moves the answer most.")
@click.option(
    "--range",
    "spans",
    multiple=True,
    metavar="NAME=LOW:HIGH",
    help="Ends of an input for --uncertainty: utilisation, rate [$/h], input, step time, energy, pue or grid.",
)
@click.option("--today", envvar="PERTOKEN_TODAY", metavar="DATE", help="Day against which the age of prices is held.")
def price(
    model: tuple[str, ...],
    scenario: str | None,
    what_if: tuple[str, ...],
    as_json: bool,
    as_csv: bool,
    target: str | None,
    uncertain: bool,
    spans: tuple[str, ...],
    today: str | None,
    **given: tuple[str, ...],
) -> None:
    """Dollars per million input, cached and output tokens, with the reason and the receipt.

    MODEL is a catalog name, a config.json, a folder, or org/name in the local Hugging Face cache. Any option given twice
    compares, and so do two models.

    \b
    pertoken price llama-3.1-8b
    pertoken price llama-3.1-70b --on 8xh100-sxm --dtype fp8 --input 8192 --output 512 --rate rent:2.50
    pertoken price llama-3.1-70b --on 8xh100-sxm --on 8xmi300x --concurrency 64
    pertoken price llama-3.1-70b --on 8xh100-sxm --what-if all
    """
    from pertoken.cli import money, pricing
    from pertoken.report import export

    if as_json and as_csv:
        raise PertokenError("--json and --csv cannot both be given; leave one out, or write the other with -o")
    path = Path(target).expanduser() if target else None
    if path:
        export.form_for(path)
    pricing.check(what_if)
    day = money.parse_day(today)
    costs = money.priced(read_cases(model, scenario, given, "pertoken price llama-3.1-8b"))
    for sentence in money.warnings(costs, day):
        _complain(f"warning: {sentence}")
    tornados = [money.uncertainty(cost, spans) for cost in costs] if uncertain or spans else []
    shown = pricing.Answers(costs, what_if, tornados)
    if path:  # first, so that a reader who closes the pipe early does not lose the file
        export.write_whole(path, shown.file(path))
        click.echo(f"wrote {path}", err=True)
    click.echo(shown.json() if as_json else shown.csv() if as_csv else shown.text(), nl=False)


def _kind(text: str, known: tuple[str, ...]) -> str:
    if text not in known:
        near = difflib.get_close_matches(text, known, n=1, cutoff=0.5)
        guess = f"did you mean {near[0]}? " if near else ""
        raise PertokenError(f"{text[:60]!r} is no kind of entry; {guess}kinds: {', '.join(known)}")
    return text


@cli.command("list")
@click.argument("kind", metavar="KIND")
@click.argument("words", nargs=-1, metavar="[WORD]...")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--today", envvar="PERTOKEN_TODAY", metavar="DATE", help="Day against which the age of rents is held.")
def list_(kind: str, words: tuple[str, ...], as_json: bool, today: str | None) -> None:
    """List the catalog. KIND is models, accelerators, engines, rates or traces; each WORD narrows it.

    \b
    pertoken list rates h100-sxm neocloud
    """
    from pertoken.cli import catalog, money
    from pertoken.report import text

    rows = catalog.narrowed(catalog.rows(_kind(kind, KINDS)), kind, words)
    if kind == "rates":
        for sentence in catalog.old(rows, money.parse_day(today)):
            _complain(f"warning: {sentence}")
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    heads = list(rows[0])
    click.echo(text.listing([heads, *([str(row[key]) for key in heads] for row in rows)]), nl=False)


@cli.command(short_help="One catalog entry with its sources.")
@click.argument("kind", metavar="KIND")
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def show(kind: str, name: str, as_json: bool) -> None:
    """Show one catalog entry with its figures and sources.

    KIND is model, accelerator, engine or efficiency; NAME is as in the list, or a file: a config.json or its folder, or a
    TOML file of your own. An efficiency is an accelerator's that was measured, or a file of pertoken calibrate.
    """
    from pertoken.cli import catalog

    found = catalog.entry(_kind(kind, SHOWN), name)
    if as_json:
        click.echo(json.dumps(found, indent=2, allow_nan=False))
        return
    click.echo(catalog.as_text(found), nl=False)


def _complain(sentence: str) -> None:
    """One line on stderr; what a user typed or a file holds cannot break it or reach the terminal as controls."""
    line = " ".join(sentence.split())
    click.echo("pertoken: " + "".join(c if c.isprintable() else repr(c)[1:-1] for c in line), err=True)


cli.add_command(answers)
cli.add_command(explain)
cli.add_command(validate)
cli.add_command(calibrate)
cli.add_command(curve)
cli.add_command(market)
cli.add_command(measure)
cli.add_command(simulate)
cli.add_command(serve)


def run() -> None:
    """Entry point: every error is one sentence on stderr."""
    try:
        sys.exit(cli.main(prog_name="pertoken", standalone_mode=False))
    except PertokenError as error:
        _complain(str(error))
        sys.exit(error.exit_code)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.ctx.get_help() if error.ctx else "see pertoken --help")
        sys.exit(0)
    except click.ClickException as error:
        _complain(f"{error.format_message().rstrip('.')}; see pertoken --help")
        sys.exit(2)
    except (click.Abort, KeyboardInterrupt):
        click.echo("pertoken: interrupted", err=True)
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)
