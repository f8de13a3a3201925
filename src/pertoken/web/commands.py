"""Commands over HTTP: the same code, so that the API says exactly what the command prints."""

from __future__ import annotations

import contextlib
import io
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from pertoken.cli.main import cli
from pertoken.cli.progress import Listener
from pertoken.errors import PertokenError
from pertoken.report.export import toml_value
from pertoken.web.asked import Asked
from pertoken.web.jobs import Tell

# what each command takes beyond knobs; none of them is a path
OPTIONS: Mapping[str, Sequence[str]] = {
    "price": ("what_if", "uncertainty", "range", "today"),
    "explain": ("depth", "what_if", "cite", "chart"),
    "curve": ("positions", "view", "who", "chart"),
    "answers": ("question",),
    "market": (
        "offer", "spend", "requests", "usage", "redundancy", "written", "tariff", "ratios", "history", "today",
    ),
    "simulate": (
        "requests", "seed", "burst", "profile", "turns", "think", "replicas", "route", "reuse_prefixes", "priorities", "block",
        "crowd", "start", "patience", "least", "max_rate",
    ),
}  # fmt: skip
MOST_REQUESTS = 200_000  # of one simulation that a page asks for
MOST_VALUES = 50


def flags(command: str, options: Mapping[str, Any]) -> list[str]:
    """Options as the command takes them; a value never becomes an option of its own.

    Raises
    ------
    PertokenError
        When one is not known here, or no text, number or yes and no.
    """
    found = []
    for name, value in options.items():
        if name not in OPTIONS[command]:
            raise PertokenError(
                f"{str(name)[:60]!r} is no option here; use one of {', '.join(OPTIONS[command])}, or knobs"
            )
        values = value if isinstance(value, list) else [value]
        if len(values) > MOST_VALUES:
            raise PertokenError(f"{name} has {len(values):,} values; at most {MOST_VALUES} are taken")
        found += [flag for each in values for flag in _flag(name, each)]
    return found


def check_simulation(asked: Asked) -> None:
    """Refuse more than one run of a bounded length: a worker does one job.

    Raises
    ------
    PertokenError
        When there are several cases, or too many requests.
    """
    several = [name for name, value in asked.options.items() if isinstance(value, list)]
    if several or len(asked.cases) > 1:
        what = f"{several[0]} has several values" if several else f"{len(asked.cases):,} cases were sent"
        raise PertokenError(f"{what}; the page simulates one case at a time, the command many")
    try:
        count = float(asked.options.get("requests") or 0)
    except (TypeError, ValueError):
        return  # the command says what is wrong
    if count > MOST_REQUESTS:
        raise PertokenError(f"requests is {count:g}; the page simulates at most {MOST_REQUESTS:,}, the command more")


def _flag(name: str, value: Any) -> list[str]:
    spelled = "--" + name.replace("_", "-")
    if isinstance(value, bool) or value is None:
        return [spelled] if value else []
    if not isinstance(value, str | int | float) or len(str(value)) > 4096 or not str(value).isprintable():
        raise PertokenError(f"{name} must be a text, a number, or true or false")
    return [f"{spelled}={value}"]


def scenario(cases: Sequence[Mapping[str, Any]]) -> str:
    """Cases as a scenario file."""
    lines = [line for case in cases for line in ("[[cases]]", *(f"{k} = {toml_value(v)}" for k, v in case.items()))]
    return "\n".join(lines) + "\n"


def run(command: str, asked: Asked, tell: Tell, given: Sequence[str] = ("--json",)) -> str:
    """What a command prints for what was asked."""
    if command == "simulate":
        check_simulation(asked)
    extra = flags(command, asked.options)
    with tempfile.TemporaryDirectory(prefix="pertoken-") as folder:
        file = Path(folder) / "scenario.toml"
        file.write_text(scenario(asked.cases), encoding="utf-8")
        return call([command, f"--scenario={file}", *extra, *given], tell)


def call(words: Sequence[str], tell: Tell) -> str:
    """What a command prints; in a worker of its own, since standard output is one."""
    out, said = io.StringIO(), io.StringIO()
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(said):
            cli.main(list(words), prog_name="pertoken", standalone_mode=False, obj=Listener(tell))
    except click.ClickException as error:
        raise PertokenError(error.format_message().rstrip(".")) from error
    except SystemExit as error:
        raise PertokenError(" ".join(said.getvalue().split()) or "nothing was answered") from error
    return out.getvalue()
