"""Runs the command in this process, as its entry point does, and keeps what it prints."""

from __future__ import annotations

import contextlib
import io
import json
import sys
from dataclasses import dataclass
from typing import Any
from unittest import mock

from pertoken.cli import main


@dataclass(frozen=True)
class Result:
    """Exit code and both streams."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        """What was printed as JSON, with NaN and infinity refused."""
        return json.loads(self.out, parse_constant=refuse)


def refuse(name: str) -> None:
    """For ``json.loads``: JSON knows no NaN."""
    raise AssertionError(f"{name} in JSON")


def run(*arguments: str) -> Result:
    """``pertoken`` with these arguments."""
    out, err = io.StringIO(), io.StringIO()
    with (
        mock.patch.object(sys, "argv", ["pertoken", *arguments]),
        mock.patch.dict("os.environ", {"COLUMNS": "100", "PERTOKEN_TODAY": "2026-11-22"}),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            main.run()
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else 0 if stop.code is None else 1
    return Result(code, out.getvalue(), err.getvalue())


def refused(*arguments: str, code: int = 2) -> str:
    """The one line on stderr of a command that must be refused, checked for its form."""
    result = run(*arguments)
    assert (result.code, result.out) == (code, ""), result
    assert result.err.startswith("pertoken: ") and result.err.endswith("\n"), result.err
    line = result.err.removesuffix("\n")
    assert line.isprintable(), result.err
    assert "Traceback" not in line and 30 < len(line) < 900, line
    return line
