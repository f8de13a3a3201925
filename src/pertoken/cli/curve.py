"""The command ``curve``: cost against position."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import click

from pertoken.cli.options import complete, knob_options, read_cases
from pertoken.errors import PertokenError
from pertoken.report.place import place
from pertoken.units import parse_count

CHARTS = ("position", "batch", "load", "ratio")
FORMS = (".json", ".csv", ".md", ".html", ".txt", ".png", ".svg")
MOST_SHOWN = 100_000  # positions in one table or file


def read_list(texts: Sequence[str]) -> tuple[int, ...]:
    """Positions from ``1,11,10k``; their range is checked against the model later."""
    words = [word.strip() for text in texts for word in text.split(",")]
    if len(words) > MOST_SHOWN:
        raise PertokenError(f"--positions lists {len(words):,}; give at most {MOST_SHOWN:,}, or use cost.at in Python")
    wanted = "whole numbers from 1 to the model's context limit, such as 1,11,10001"
    found = []
    for word in words:
        try:
            number = parse_count(word, "--positions")
        except PertokenError as error:
            raise PertokenError(f"--positions holds {word[:40]!r}; give {wanted}") from error
        if number < 1 or number != int(number):
            raise PertokenError(f"--positions holds {word[:40]}; give {wanted}")
        found.append(int(number))
    return tuple(found)


@click.command(short_help="Cost of the n-th token.")
@click.argument("model", nargs=-1, shell_complete=complete("models"))
@knob_options
@click.option(
    "--positions", multiple=True, metavar="N,N,...", help="Positions to show (default: 1, 11, ... the limit)."
)
@click.option(
    "--view", "views", multiple=True, metavar="fair|alone|marginal|long-run",
    help="Fair share, stand-alone, short-run or long-run marginal (default: fair).",
)  # fmt: skip
@click.option(
    "--who", multiple=True, metavar="reader|occupant", help="Who pays for reading old positions (default: reader)."
)
@click.option("--chart", default="position", metavar="|".join(CHARTS), help="Which chart -o draws (default: position).")
@click.option("--scenario", metavar="FILE.toml", help="Read knobs from a file; options given here come first.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV.")
@click.option(
    "-o", "--output-file", "target", metavar="FILE", help="Also write .json .csv .md .html .txt, or a chart .png .svg."
)
def curve(
    model: tuple[str, ...],
    positions: tuple[str, ...],
    views: tuple[str, ...],
    who: tuple[str, ...],
    chart: str,
    scenario: str | None,
    as_json: bool,
    as_csv: bool,
    target: str | None,
    **given: tuple[str, ...],
) -> None:
    """What the n-th input and output token costs, in its parts, up to the context limit.

    Shows where attention overtakes the rest, and from which length on one flat price is 10% off. The batch is that of the
    operating point. Any option given twice compares.

    \b
    pertoken curve llama-3.1-70b --on 8xh100-sxm --dtype fp8
    pertoken curve llama-3.1-8b --positions 1,11,10001 --view fair --view long-run
    pertoken curve llama-3.1-8b --who reader --who occupant -o curve.svg
    pertoken curve llama-3.1-8b --chart batch -o batch.png
    """
    from pertoken.attribution.position import VIEWS, WHO, check_choice
    from pertoken.report import charts
    from pertoken.report.curve import Curve
    from pertoken.report.curve_text import as_text, check_same, to_csv, to_json
    from pertoken.scenario import MOST_CASES, price

    if as_json and as_csv:
        raise PertokenError("--json and --csv cannot both be given; leave one out, or write the other with -o")
    check_choice("chart", chart, CHARTS)
    path, asked = place(target, FORMS) if target is not None else None, read_list(positions)
    for name, values, known in (("view", views, VIEWS), ("who", who, WHO)):
        for value in values:
            check_choice(name, value, known)
    cases = read_cases(model, scenario, given, "pertoken curve llama-3.1-8b")
    ways = list(product(dict.fromkeys(views or ("fair",)), dict.fromkeys(who or ("reader",))))
    if len(cases) * len(ways) > MOST_CASES:
        raise PertokenError(f"more than {MOST_CASES} cases were asked for; compare fewer at once")
    curves = [Curve(cost, view, payer, asked) for cost in (price(**case) for case in cases) for view, payer in ways]
    check_same(curves)
    shown = (to_json if as_json else to_csv if as_csv else as_text)(curves)
    if path:  # first, so that a reader who closes the pipe early does not lose the file
        charts.export(curves, chart, path)
        click.echo(f"wrote {path}", err=True)
    click.echo(shown, nl=False)
