"""A line on stderr with the time left, on a terminal alone."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import click


@dataclass(frozen=True)
class Listener:
    """Who hears how far a run is, in place of a terminal; the command's ``obj``."""

    tell: Callable[[Mapping[str, Any]], None]


class Progress:
    """A line with a bar and the time left, rewritten a few times a second; nothing where stderr is no terminal.

    Parameters
    ----------
    what : str
        What is under way.
    """

    def __init__(self, what: str) -> None:
        self.what, self.start, self.shown = what, time.monotonic(), 0.0
        self.on = sys.stderr.isatty()
        self.listener = click.get_current_context().find_object(Listener)

    def __call__(self, share: float) -> None:
        """Show that this share is done."""
        now = time.monotonic()
        if not (self.on or self.listener) or now - self.shown < 0.2:
            return
        left = (now - self.start) * (1.0 - share) / share if share > 0.01 else None
        if self.listener:
            self.shown = now
            self.listener.tell({"progress": share, "left_s": left})
            return
        self._show(f"{self.what} [{'#' * int(30 * share):30}] {share:4.0%}{_left(left)}")

    def cells(self, done: int, left: int) -> None:
        """Show that so many cases are done and so many left."""
        if self.on:
            took = (time.monotonic() - self.start) * left / done if done else None
            share = done / (done + left) if done + left else 1.0
            self._show(f"{self.what} [{'#' * int(30 * share):30}] {done:,} done, {left:,} to go{_left(took)}")

    def tell(self, text: str) -> None:
        """A line that stays, and the bar anew below it."""
        self.close()
        self.start = time.monotonic()
        click.echo(text, err=True)

    def _show(self, line: str) -> None:
        self.shown = time.monotonic()
        click.echo(f"\r{line[:78]:78}", err=True, nl=False)

    def close(self) -> None:
        """Clear the line."""
        if self.on and self.shown:
            click.echo("\r" + " " * 78 + "\r", err=True, nl=False)
            self.shown = 0.0


def _left(seconds: float | None) -> str:
    if seconds is None:
        return ""
    if seconds < 100:
        return f", {seconds:.0f} s left"
    return f", {seconds / 60:.0f} min left" if seconds < 6000 else f", {seconds / 3600:.1f} h left"


def first_use() -> None:
    """Say that the loop is being compiled, which takes half a minute once; nothing where it is not, or no one looks."""
    from pathlib import Path

    from pertoken.simulate.compiled import COMPILED, FOLDER

    if COMPILED and sys.stderr.isatty() and not (FOLDER and any(Path(FOLDER).rglob("*.nbi"))):
        click.echo("compiling the simulator, which takes about half a minute the first time", err=True)
