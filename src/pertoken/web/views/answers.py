"""The view Answers: the nine questions, answered for the page's knobs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from pertoken.answers import ask
from pertoken.answers.base import PARAGRAPH, Answer, Figure
from pertoken.answers.page import TITLE
from pertoken.cli.answers import asked_of
from pertoken.errors import PertokenError
from pertoken.report.text import headline

if TYPE_CHECKING:
    from pertoken.web.asked import Asked

POINTS = 60  # of a line on the page
_POSITION = {"points": POINTS}
# charts of a question that has one: names and options
CHARTS: Mapping[int, tuple[tuple[str, dict[str, Any]], ...]] = {
    1: (("ratio", {}),),
    2: (("roofline", {}),),
    3: (("batch", {}),),
    4: (("position-input", _POSITION), ("position-output", _POSITION)),
    5: (("transfers", {}),),
    8: (("load", {}),),
    9: (("mixes", {}),),
}


def view(asked: Asked) -> dict[str, Any]:
    """What the view shows: every answer, or that of the option ``question``."""
    given = asked.options.get("question")
    if given is not None and (type(given) is not int or given not in ask.QUESTIONS):
        raise PertokenError(
            f"the option question is {str(given)[:40]!r}; it must be a whole number from 1 to {max(ask.QUESTIONS)}"
        )
    cost = asked.cost
    about = asked_of(cost)
    made = ask.answer(about, [given] if given is not None else ask.QUESTIONS)
    missing = [f"In accelerator-seconds: {cost.rate_missing}."] if cost.rate is None else []
    return {
        "title": TITLE,
        "sentences": [f"{headline(cost)}.", *missing],
        "answers": [answer(each, cost.operating.moments.later > 0) for each in made],
        "tables": [],
        "charts": [],
    }


def answer(found: Answer, decodes: bool) -> dict[str, Any]:
    """One answer: its text in parts, so that every figure keeps value and unit."""
    head, *rows = found.table or ((),)
    charts = CHARTS.get(found.number, ()) if found.chart else ()
    left = [[name, figure] for name, figure in found.figures.items()]
    return {
        "number": found.number,
        "question": found.question,
        "paragraphs": [list(parts(text, left, found.quotes)) for text in found.text.split(PARAGRAPH)],
        "figures": [
            [name.replace("_", " "), figure.shown, f"{figure.value:.6g}", figure.unit]
            for name, figure in found.figures.items()
        ],
        "table": {"title": "", "head": list(head), "rows": [list(row) for row in rows], "note": None}
        if found.table
        else None,
        "charts": [
            {"name": name, "options": options} for name, options in charts if decodes or name != "position-output"
        ],
        "commands": [found.command, found.deeper],
    }


def parts(text: str, left: list[Any], quotes: tuple[str, ...]) -> Iterator[Any]:
    """A text as strings and figures, in order; figures that are used are taken out of those left, first said first.

    Parameters
    ----------
    text : str
        A paragraph.
    left : list of (name, Figure)
        Not met in the text yet, in the order in which they were written.
    quotes : tuple of str
        Words from elsewhere, whose numbers are no figures.
    """
    shown = sorted({figure.shown for _, figure in left}, key=len, reverse=True)
    words = [*sorted(quotes, key=len, reverse=True), *shown]
    if not words:
        yield text
        return
    pattern = re.compile("|".join(rf"(?<![\w.,]){re.escape(word)}(?!\w|[.,]\d)" for word in words if word))
    at = 0
    for found in pattern.finditer(text):
        same = next((each for each in left if each[1].shown == found[0]), None)
        if found[0] in quotes or same is None:
            continue
        if len([each for each in left if each[1].shown == found[0]]) > 1:
            left.remove(same)  # the next one like it is another figure
        if found.start() > at:
            yield text[at : found.start()]
        yield _figure(*same)
        at = found.end()
    if at < len(text):
        yield text[at:]


def _figure(name: str, figure: Figure) -> dict[str, Any]:
    return {"name": name.replace("_", " "), "shown": figure.shown, "value": figure.value, "unit": figure.unit}
