"""Answers as text, JSON, Markdown and HTML, and as files."""

from __future__ import annotations

import html
import json
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pertoken.answers.base import PARAGRAPH, Answer, Row
from pertoken.cost import Cost
from pertoken.errors import PertokenError
from pertoken.report.document import clean
from pertoken.report.export import write_whole
from pertoken.report.place import place
from pertoken.report.svg import PICTURES, picture
from pertoken.report.text import bullets, headline, plain, table, wrap

TITLE = "Nine questions about the price of a token"
WIDE = 130  # columns of Markdown
FORMS = (".json", ".md", ".html", ".txt", *PICTURES)


def _about(cost: Cost) -> str:
    """What the answers are of."""
    d = cost.deployment
    size = float(cost.operating.state.batch) * d.split.lanes
    batch = f"batch {size:,.1f}, " if size > 0 else ""
    return f"lengths: {cost.workload.lengths.origin}; {batch}bound by {cost.operating.bound}"


def _lines(answer: Answer) -> list[str]:
    found = wrap(f"{answer.number}. {answer.question}", "", "   ")
    for paragraph in answer.text.split(PARAGRAPH):
        found += ["", *wrap(paragraph, "  ", "  ")]
    if answer.table:
        found += ["", *("  " + line for line in table(answer.table))]
    return [*found, "", f"  $ {answer.command}", f"  $ {answer.deeper}"]


def as_text(cost: Cost, answers: Sequence[Answer]) -> str:
    """About a screen for each question."""
    lines = [headline(cost), *wrap(_about(cost), "  ", "  ")]
    for answer in answers:
        lines += ["", "", *_lines(answer)]
    if cost.rate is None:
        lines += ["", "", *wrap(f"In accelerator-seconds, in tables s: {cost.rate_missing}", "", "  ")]
    lines += ["", "", "assumed (give it to change it)", *bullets(cost.assumed)] if cost.assumed else []
    return plain("\n".join(lines) + "\n")


def document(cost: Cost, answers: Sequence[Answer]) -> dict[str, Any]:
    """Plain data; every number of a text is among its figures."""
    found: dict[str, Any] = clean(
        {
            "model": cost.deployment.model.name,
            "case": headline(cost),
            "answers": [
                {
                    "number": a.number, "question": a.question, "text": a.text,
                    "figures": {name: vars(figure) for name, figure in a.figures.items()}, "table": a.table,
                    "command": a.command, "deeper": a.deeper,
                }
                for a in answers
            ],
            "usd_missing": None if cost.rate else cost.rate_missing,
            "assumed": cost.assumed,
            "scenario": dict(cost.scenario),
        }
    )  # fmt: skip
    return found


def to_json(cost: Cost, answers: Sequence[Answer]) -> str:
    """The document as JSON."""
    return json.dumps(document(cost, answers), indent=2, allow_nan=False) + "\n"


def _cells(row: Row) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |"


def _filled(paragraph: str) -> str:
    """A paragraph in lines that a difference of two versions can show."""
    return textwrap.fill(paragraph, WIDE, break_on_hyphens=False, break_long_words=False)


def _section(answer: Answer) -> str:
    """One answer as a section of Markdown."""
    parts = [f"## {answer.number}. {answer.question}", *map(_filled, answer.text.split(PARAGRAPH))]
    if answer.table:
        head, *rows = answer.table
        rule = "|" + "|".join("---" if i == 0 else "---:" for i in range(len(head))) + "|"
        parts.append("\n".join([_cells(head), rule, *map(_cells, rows)]))
    parts.append(f"    {answer.command}\n    {answer.deeper}")
    return PARAGRAPH.join(parts) + "\n"


def body(cost: Cost, answers: Sequence[Answer]) -> str:
    """All answers as sections of Markdown, what they are of before them and what was assumed behind."""
    said = _filled(f"*{headline(cost)}; {_about(cost)}*") + PARAGRAPH
    assumed = "\n".join(_filled(f"- {sentence}") for sentence in cost.assumed)
    end = f"\n## Assumed in the answers\n\n{assumed}\n" if assumed else ""
    sections = "\n".join(map(_section, answers))
    return plain(f"{said}{sections}{end}")


def as_markdown(cost: Cost, answers: Sequence[Answer]) -> str:
    """A page of Markdown."""
    return f"# {TITLE}\n\n{body(cost, answers)}"


def _drawn(answer: Answer) -> str:
    """Its chart as SVG; nothing where it has none, or the libraries that draw are missing."""
    if answer.chart is None:
        return ""
    try:
        return str(picture(answer.chart(), ".svg"))
    except PertokenError:
        return ""


def _article(answer: Answer) -> str:
    parts = [f"<h2>{answer.number}. {html.escape(answer.question)}</h2>"]
    parts += [f"<p>{html.escape(paragraph)}</p>" for paragraph in answer.text.split(PARAGRAPH)]
    if answer.table:
        head, *rows = ("".join(f"<td>{html.escape(cell)}</td>" for cell in row) for row in answer.table)
        body = "".join(f"<tr>{row}</tr>" for row in rows)
        parts.append(f"<table><thead><tr>{head.replace('td>', 'th>')}</tr></thead><tbody>{body}</tbody></table>")
    commands = html.escape(f"$ {answer.command}\n$ {answer.deeper}")
    return f"<article>{''.join(parts)}{_drawn(answer)}<pre>{commands}</pre></article>"


def as_html(cost: Cost, answers: Sequence[Answer]) -> str:
    """A page that needs nothing else, charts included."""
    assumed = "".join(f"<li>{html.escape(sentence)}</li>" for sentence in cost.assumed)
    return plain(
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{TITLE}</title>'
        '<meta name="viewport" content="width=device-width"><style>body{max-width:80ch;margin:2rem auto;padding:0 1rem;'
        "font:1rem/1.6"
        " system-ui}pre{overflow:auto;font-size:.85rem}svg{max-width:100%;height:auto}table{border-collapse:collapse;"
        "font-size:.9rem}td,th{padding:.15rem .6rem;text-align:right;border-bottom:1px solid #ddd}"
        "td:first-child,th:first-child{text-align:left}</style></head><body>"
        f"<h1>{TITLE}</h1><p>{html.escape(headline(cost))}; {html.escape(_about(cost))}</p>"
        f"{''.join(map(_article, answers))}<h2>Assumed</h2><ul>{assumed}</ul></body></html>\n"
    )


def check_file(path: Path, questions: Sequence[int]) -> None:
    """Refuse a file that cannot be made, before the work is done."""
    suffix = place(path, FORMS).suffix.lower()
    if suffix in PICTURES and len(questions) != 1:
        raise PertokenError(
            f"-o {path.name[:60]!r} is one picture and {len(questions)} questions were asked; add --question 4 or"
            " the like,"
            " or write .html, which holds all charts"
        )


def export(cost: Cost, answers: Sequence[Answer], path: Path) -> None:
    """Write answers to a file; its suffix decides the form.

    Raises
    ------
    PertokenError
        When a picture is asked of an answer that has none.
    """
    suffix = path.suffix.lower()
    if suffix in PICTURES:
        chart = answers[0].chart
        if chart is None:
            raise PertokenError(
                f"the answer to question {answers[0].number} has no chart here; write .md or .html, or ask another"
                " question"
            )
        write_whole(path, picture(chart(), suffix))
        return
    forms = {".json": to_json, ".md": as_markdown, ".html": as_html, ".txt": as_text}
    write_whole(path, forms[suffix](cost, answers))
