"""Files that a user asked for: the form follows the suffix, and a file appears whole or not at all."""

from __future__ import annotations

import html
import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pertoken.cost import Cost
from pertoken.errors import PertokenError
from pertoken.report import document, text
from pertoken.report.place import place


def write_whole(path: Path, content: str | bytes) -> None:
    """Write to a temporary name beside ``path``, then rename.

    Raises
    ------
    PertokenError
        When the folder cannot be written to; nothing is left behind.
    """
    try:
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name[:80]}.", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content.encode() if isinstance(content, str) else content)
            Path(temporary).chmod(0o644)
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise PertokenError(f"{str(path)[-120:]!r} cannot be written: {error.strerror}; give another place") from error


def _text(costs: Sequence[Cost]) -> str:
    return text.answer(costs[0]) if len(costs) == 1 else text.comparison(costs)


def as_markdown(shown: str, title: str = "What a token costs") -> str:
    """Plain text as a page of Markdown."""
    return f"# {title}\n\n```text\n{shown}```\n"


def as_html(shown: str, title: str = "What a token costs") -> str:
    """Plain text as a page of HTML."""
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        '<meta name="viewport" content="width=device-width"><style>body{max-width:100ch;margin:2rem auto;padding:0 1rem;'
        "font:1rem/1.5 system-ui}pre{overflow:auto;font-size:.85rem}</style></head>"
        f"<body><h1>{title}</h1><pre>{html.escape(shown)}</pre></body></html>\n"
    )


def toml_value(value: Any) -> str:
    """A number or text as TOML."""
    if isinstance(value, int | float):
        return repr(value)
    plain = str(value)
    escaped = "".join(
        {'"': '\\"', "\\": "\\\\"}.get(c, c) if c >= " " and c != "\x7f" else f"\\u{ord(c):04x}" for c in plain
    )
    return f'"{escaped}"'


def _scenario(costs: Sequence[Cost]) -> str:
    lines = ["# A scenario: read back with pertoken price --scenario FILE. Each [[cases]] is one of a comparison."]
    for cost in costs:
        lines += ["", "[[cases]]"] if len(costs) > 1 else []
        lines += [f"{key} = {toml_value(value)}" for key, value in cost.scenario.items()]
    return "\n".join(lines) + "\n"


FORMS: dict[str, Callable[[Sequence[Cost]], str]] = {
    ".json": document.to_json,
    ".csv": document.to_csv,
    ".md": lambda costs: as_markdown(_text(costs)),
    ".html": lambda costs: as_html(_text(costs)),
    ".txt": _text,
    ".toml": _scenario,
}


def form_for(path: Path) -> Callable[[Sequence[Cost]], str]:
    """The writer for a suffix, or a sentence listing the suffixes; refuses a place that is plainly no file's."""
    place(path, FORMS)
    return FORMS[path.suffix.lower()]
