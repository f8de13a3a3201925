"""The command ``answers``: nine questions, answered for a model, a machine and a traffic."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pertoken.cli.options import complete, knob_options, read_cases
from pertoken.errors import PertokenError
from pertoken.units import JOULES_PER_KWH

if TYPE_CHECKING:
    from pertoken.answers.base import Asked
    from pertoken.cost import Cost
    from pertoken.money.rate import Rate

DEFAULT = {"model": "llama-3.1-70b", "on": "8xh100-sxm", "dtype": "fp8"}


@click.command(short_help="Nine questions about token prices.")
@click.argument("model", nargs=-1, shell_complete=complete("models"))
@knob_options
@click.option("--question", "questions", multiple=True, metavar="N,N,...", help="Which, from 1 to 9 (default: all).")
@click.option("--scenario", metavar="FILE.toml", help="Read knobs from a file; options given here come first.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option(
    "-o", "--output-file", "target", metavar="FILE",
    help="Also write .json .md .html .txt, or one question's chart .png .svg.",
)  # fmt: skip
def answers(
    model: tuple[str, ...],
    questions: tuple[str, ...],
    scenario: str | None,
    as_json: bool,
    target: str | None,
    **given: tuple[str, ...],
) -> None:
    """Nine questions about token prices, answered with figures of one case.

    \b
    1 why is input cheaper though prefill is quadratic    6 what does a token cost from rent
    2 is output about memory                              7 and from power
    3 each is processed once, so why is output dearer     8 and at 10% utilisation
    4 the 11th token against the 10,001st                 9 what does more input change
    5 who subsidises whom under a flat price

    Without MODEL: llama-3.1-70b in fp8 on 8xh100-sxm. Answers are of one case; to compare cases, use pertoken price or explain.

    \b
    pertoken answers
    pertoken answers llama-3.1-8b --concurrency 1
    pertoken answers deepseek-v3 --on 8xh200-sxm --question 4 -o position.svg
    """
    from pertoken.answers import page
    from pertoken.answers.ask import answer, read_questions
    from pertoken.scenario import price

    wanted = read_questions(questions)
    path = Path(target).expanduser() if target else None
    if path:
        page.check_file(path, wanted)
    cost = price(**_case(model, scenario, given))
    found = answer(asked_of(cost), wanted)
    if path:  # first, so that a reader who closes the pipe early does not lose the file
        page.export(cost, found, path)
        click.echo(f"wrote {path}", err=True)
    click.echo((page.to_json if as_json else page.as_text)(cost, found), nl=False)


def _case(model: tuple[str, ...], scenario: str | None, given: Mapping[str, tuple[str, ...]]) -> dict[str, Any]:
    """The one case; the usual one where no model is named."""
    if not model and not scenario:
        model = (DEFAULT["model"],)
        given = {**given, **{k: (v,) for k, v in DEFAULT.items() if k != "model" and not given.get(k)}}
    cases = read_cases(model, scenario, given, "pertoken answers llama-3.1-8b")
    if len(cases) > 1:
        raise PertokenError(
            f"{len(cases)} cases were asked for, and answers are of one; give each option once, or compare with pertoken price"
        )
    return cases[0]


def asked_of(cost: Cost) -> Asked:
    """A cost with what the catalog knows around it: rent, ownership and electricity of its accelerator, vendors' tiers."""
    from pertoken.answers.base import Asked
    from pertoken.catalog.rates import parse_rate
    from pertoken.catalog.site import electricity
    from pertoken.catalog.tiers import load_tiers

    a, rate = cost.deployment.accelerator, cost.rate
    missing: dict[str, str] = {}
    rates: dict[str, Rate] = {}
    price, title = electricity(a.name)
    if rate and rate.usd_per_joule:  # of an owner, or electricity alone
        price = rate.usd_per_joule * JOULES_PER_KWH
        title = title if "power" not in str(cost.scenario.get("rate")) else "as given"
    for kind, text in (("rent", "rent"), ("own", "own"), ("power", f"power:{price:g}")):
        if rate and rate.kind == kind:
            rates[kind] = rate
            continue
        try:
            rates[kind] = parse_rate(text, a, cost.scenario.get("watts"))
        except PertokenError as error:
            missing[kind] = str(error)
    return Asked(cost, rates, missing, load_tiers(), title)
