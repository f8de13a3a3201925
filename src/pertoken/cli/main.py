"""The command: parse, call, render. Data goes to stdout, talk to stderr; exit 2 is bad input, 3 does not fit."""

from __future__ import annotations

import difflib
import json
import sys
from pathlib import Path
from typing import Any

import click

from pertoken import __version__
from pertoken.cli.calibrate import calibrate
from pertoken.cli.validate import validate
from pertoken.errors import PertokenError
from pertoken.knobs import KNOBS

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


def _complete(kind: str) -> Any:
    def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:  # noqa: ARG001
        from pertoken.catalog import files

        count, times, start = incomplete.rpartition("x") if kind == "accelerators" else ("", "", incomplete)
        if not count.isdigit():
            count, times, start = "", "", incomplete
        return [f"{count}{times}{name}" for name in files.names(kind) if name.startswith(start)]

    return complete


def _knob_options(command: Any) -> Any:
    """One option for each knob; each may be given more than once, which compares."""
    completions = {"on": _complete("accelerators"), "engine": _complete("engines")}
    for knob in reversed([k for k in KNOBS.values() if k.name != "model"]):
        unit = f" [{knob.unit}]" if knob.unit else ""
        command = click.option(
            knob.flag,
            knob.name,
            multiple=True,
            metavar="|".join(knob.choices) or knob.kind.upper(),
            help=knob.doc + unit,
            shell_complete=completions.get(knob.name),
        )(command)
    return command


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="pertoken")
def cli() -> None:
    """What one input token, one cached token and one output token of a language model cost, and why.

    Start with: pertoken price llama-3.1-8b
    """


@cli.command()
@click.argument("model", nargs=-1, shell_complete=_complete("models"))
@_knob_options
@click.option("--scenario", metavar="FILE.toml", help="Read knobs from a file; options given here come first.")
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
    """
    from pertoken.cli import money
    from pertoken.report import document, export, text
    from pertoken.scenario import MOST_CASES, combinations

    if as_json and as_csv:
        raise PertokenError("--json and --csv cannot both be given; leave one out, or write the other with -o")
    path = Path(target).expanduser() if target else None
    if path:
        export.form_for(path)
    typed = {name: list(values) for name, values in (("model", model), *given.items()) if values}
    tables = [table | typed for table in (_read_scenario(scenario) if scenario else [{}])]
    if any("model" not in table for table in tables):
        raise PertokenError("no model was given; name one, such as: pertoken price llama-3.1-8b (pertoken list models)")
    cases = [case for table in tables[: MOST_CASES + 1] for case in combinations(table)]
    if len(cases) > MOST_CASES:
        raise PertokenError(f"more than {MOST_CASES} cases were asked for; compare fewer at once")
    day = money.parse_day(today)
    costs = money.priced(cases)
    for sentence in money.warnings(costs, day):
        _complain(f"warning: {sentence}")
    tornados = [money.uncertainty(cost, spans) for cost in costs] if uncertain or spans else []
    if as_json:
        shown = document.to_json(costs, tornados)
    elif as_csv:
        shown = document.to_csv(costs)
    else:
        shown = text.answer(costs[0]) if len(costs) == 1 else text.comparison(costs)
        shown += text.uncertainty(costs, tornados)
    if path:  # first, so that a reader who closes the pipe early does not lose the file
        export.export(costs, path, tornados)
        click.echo(f"wrote {path}", err=True)
    click.echo(shown, nl=False)


def _read_scenario(name: str) -> list[dict[str, list[Any]]]:
    """Knobs of a scenario file, each as a list: one table, or one for each of its ``[[cases]]``."""
    from pertoken.catalog import files

    found = files.read_toml(Path(name).expanduser())
    tables = found.get("cases", [found])
    if not isinstance(tables, list) or not tables or not all(isinstance(table, dict) for table in tables):
        raise PertokenError("cases of a scenario must be tables; write [[cases]] above the knobs of each")
    if "cases" in found and len(found) > 1:
        raise PertokenError("a scenario holds either knobs or [[cases]]; move the knobs into the cases")
    return [{key: value if isinstance(value, list) else [value] for key, value in _known(t).items()} for t in tables]


def _known(table: dict[str, Any]) -> dict[str, Any]:
    """The table, if all its keys are knobs."""
    for key in table:
        if key.replace("-", "_") not in KNOBS:
            raise PertokenError(f"{key[:60]!r} is no knob; use one of {', '.join(KNOBS)}")
    return {key.replace("-", "_"): value for key, value in table.items()}


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


@cli.command()
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


cli.add_command(validate)
cli.add_command(calibrate)


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
