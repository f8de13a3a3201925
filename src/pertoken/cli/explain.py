"""``pertoken explain``: why a token costs what it does, as a tree, a difference, a chart, or references."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pertoken.cli.options import complete, complete_what_if, knob_options, read_cases
from pertoken.errors import PertokenError
from pertoken.report.place import place

if TYPE_CHECKING:
    from pertoken.cost import Cost

CHARTS = ("roofline", "receipt")
FORMS = (".txt", ".md", ".html", ".json", ".bib", ".png", ".svg")
PICTURES = (".png", ".svg")


@click.command(short_help="Why tokens cost what they do.")
@click.argument("model", nargs=-1, shell_complete=complete("models"))
@knob_options
@click.option("--scenario", metavar="FILE.toml", help="Read knobs from a file; options given here come first.")
@click.option(
    "--depth", type=click.IntRange(1, 5), help="How deep the tree is shown (default: 3, with --json all of it)."
)
@click.option(
    "--what-if", "what_if", multiple=True, metavar="NAME", help="Explain what one counterfactual changes.",
    shell_complete=complete_what_if,
)  # fmt: skip
@click.option("--cite", is_flag=True, help="Print the references behind the result as BibTeX.")
@click.option("--chart", type=click.Choice(CHARTS), help="Chart that -o FILE.png or .svg draws (default: roofline).")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, the whole tree.")
@click.option("-o", "--output-file", "target", metavar="FILE", help="Also write .txt .md .html .json .bib .png .svg.")
def explain(
    model: tuple[str, ...], scenario: str | None, depth: int | None, what_if: tuple[str, ...], cite: bool, chart: str | None,
    as_json: bool, target: str | None, **given: tuple[str, ...],
) -> None:  # fmt: skip
    """Why tokens cost what they do: money, seconds, steps, operations, FLOP and bytes, each with its source.

    Any option given twice shows the difference of the two cases, branch by branch: + only after, - only before, ~ changed.

    \b
    pertoken explain llama-3.1-70b --on 8xh100-sxm --dtype fp8
    pertoken explain llama-3.1-70b --on 8xh100-sxm --on 8xh200-sxm --dtype fp8 --concurrency 64
    pertoken explain deepseek-v3 --on 8xh200-sxm --cite -o refs.bib
    pertoken explain llama-3.1-8b --on h100-sxm --chart receipt -o receipt.svg
    """
    path = Path(target).expanduser() if target else None
    _check(path, cite, chart)
    cases = read_cases(model, scenario, given, "pertoken explain llama-3.1-8b")
    if len(cases) > 2 and not (path and path.suffix.lower() in PICTURES):
        raise PertokenError(
            f"{len(cases)} cases were given; explain shows one, or the difference of two: leave some out"
        )
    if len(cases) > 1 and what_if:
        raise PertokenError("two cases and --what-if make three; leave one out")
    from pertoken.scenario import price

    why = _Why([price(**case) for case in cases], what_if, depth)
    drawn = path is not None and path.suffix.lower() in PICTURES
    shown = _references(why, as_json) if cite else why.json() if as_json else "" if drawn else why.text()
    if path:
        _write(path, why, shown if cite else "", chart or CHARTS[0])
        click.echo(f"wrote {path}", err=True)
    click.echo(shown, nl=False)


class _Why:
    """What is to be explained: one case, or two and their difference."""

    def __init__(self, costs: list[Cost], what_if: tuple[str, ...], depth: int | None) -> None:
        from pertoken.report.text import case_name

        self.costs, self.depth = costs, depth
        self.names = [case_name(costs, cost) for cost in costs]
        self.asked: tuple[str, ...] = ()
        if what_if:
            self._add(what_if)

    def _add(self, what_if: tuple[str, ...]) -> None:
        from pertoken.whatif.ask import ask

        outcomes = ask(self.costs[0], what_if)
        if len(outcomes) > 1:
            raise PertokenError(
                "--what-if is explained one at a time; pertoken price --what-if all makes a table of them"
            )
        found = outcomes[0]
        if found.after is None:
            raise PertokenError(f"--what-if {found.name} does not apply: {found.refused}")
        self.costs = [*self.costs, found.after.cost]
        self.names = ["as it is", "; ".join((found.sentence, *found.after.assumed))]
        self.asked = (found.name.partition(":")[0],)

    def text(self) -> str:
        """The tree, or the difference."""
        from pertoken.report import explaining

        if len(self.costs) == 2:
            return explaining.difference_text(
                self.costs[0], self.costs[1], (self.names[0], self.names[1]), self.depth or explaining.DEPTH
            )
        return explaining.tree_text(self.costs[0], self.depth or explaining.DEPTH)

    def json(self) -> str:
        """The same as data, whole unless a depth was given."""
        from pertoken.report import explaining

        if len(self.costs) == 2:
            return explaining.difference_json(self.costs[0], self.costs[1], (self.names[0], self.names[1]), self.depth)
        return explaining.tree_json(self.costs[0], self.depth)


def _check(path: Path | None, cite: bool, chart: str | None) -> None:
    """Refuse what cannot be written, before the work is done."""
    suffix = path.suffix.lower() if path else ""
    if path:
        place(path, FORMS)
    if cite and path and suffix not in (".bib", ".txt", ".json"):
        raise PertokenError(f"--cite writes references, and -o {path.name[:60]!r} is no place for them; end it in .bib")
    if chart and suffix not in PICTURES:
        raise PertokenError(f"--chart {chart} needs a picture to draw to; give -o FILE.png or -o FILE.svg")


def _references(why: _Why, as_json: bool = False) -> str:
    from pertoken.explain.references import bibtex, used

    found = list({r.key: r for cost in why.costs for r in used(cost, why.asked)}.values())
    if as_json:
        return json.dumps([{"key": r.key, "type": r.kind, **dict(r.fields)} for r in found], indent=2) + "\n"
    return bibtex(found)


def _write(path: Path, why: _Why, references: str, chart: str) -> None:
    """The file that was asked for, by its suffix."""
    from pertoken.report import export, pictures

    suffix = path.suffix.lower()
    if suffix in PICTURES:
        drawing = pictures.roofline(why.costs) if chart == "roofline" else pictures.receipt(why.costs, why.names)
        pictures.save(drawing, path)
        return
    title = "Why a token costs what it does"
    forms: dict[str, Callable[[], str]] = {
        ".bib": lambda: _references(why),
        ".json": lambda: _references(why, as_json=True) if references else why.json(),
        ".txt": lambda: references or why.text(),
        ".md": lambda: export.as_markdown(why.text(), title),
        ".html": lambda: export.as_html(why.text(), title),
    }
    export.write_whole(path, forms[suffix]())
