"""A user's policy: plain functions of numbers, compiled where numba can, else called as they are."""

from __future__ import annotations

import inspect
import math
import re
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import FrameType, FunctionType
from typing import Any

import numpy as np

from pertoken.errors import PertokenError
from pertoken.simulate.asking import FACTS, NAMES
from pertoken.simulate.compiled import COMPILED

MOST_STEPS = 300_000  # of a user's code in one call, when it is tried before a run
Asked = Callable[..., float]


@dataclass(frozen=True)
class Own:
    """Functions of one file.

    Parameters
    ----------
    file : str
        Its name.
    functions : mapping
        By name, of six numbers, those of ``FACTS``; NaN where the user's function fails or says no number.
    compiled : mapping
        The same as C functions, kept as long as this lives; empty where one of them cannot be compiled.
    why : str
        Why not, or empty.
    users : mapping
        The user's functions, and which numbers each takes.
    """

    file: str
    functions: Mapping[str, Asked]
    compiled: Mapping[str, Any]
    why: str
    users: Mapping[str, tuple[Callable[..., Any], Sequence[int]]] = field(repr=False)

    @property
    def said(self) -> str:
        """How it runs, for a reader."""
        names = ", ".join(self.functions)
        how = f"runs step by step: {self.why}" if self.why else "runs compiled"
        return f"policy {self.file} ({names}) {how}"

    @property
    def bare(self) -> Own:
        """What a reader is told of it, which can go to another process."""
        return replace(self, functions=dict.fromkeys(self.functions, _nothing), compiled={}, users={})

    @property
    def loop(self) -> list[Any]:
        """What the loop calls, in the order of order, admit and victim; 0 where the engine's own rule stays."""
        if self.why:
            return [self.functions.get(name, 0) for name in NAMES]
        return [self.compiled[name].address if name in self.compiled else 0 for name in NAMES]

    def fault(self, name: str, values: Sequence[float]) -> PertokenError:
        """What is wrong with a function's answer."""
        function, taken = self.users[name]
        given = [values[k] for k in taken]
        try:
            found = f"gave {function(*given)!r:.60}"
        except (Exception, SystemExit) as error:
            found = f"raised {_first_line(error)}"
        asked = ", ".join(f"{FACTS[name][k]}={values[k]:g}" for k in taken)
        return PertokenError(f"{name}({asked}) of {self.file} {found}; it must return a number")

    def none_admitted(self, count: int) -> PertokenError:
        """So many requests wait for nothing."""
        return PertokenError(
            f"admit of {self.file} admits none of {count:,} that wait, with nothing running and nothing to come; let it admit"
            " when running is 0"
        )

    def attempt(self, name: str, values: Sequence[float]) -> None:
        """Call a function once, and for no more than ``MOST_STEPS`` of the interpreter's.

        Raises
        ------
        PertokenError
            When it says no number, or does not end.
        """
        left, code, before = MOST_STEPS, self.users[name][0].__code__, sys.gettrace()

        def look(frame: FrameType, event: str, _: Any) -> Any:
            nonlocal left
            if frame.f_code.co_filename != code.co_filename:
                return None
            frame.f_trace_opcodes = True  # a loop of one line has no events of lines
            left -= event == "opcode"
            if left < 0:
                raise _Endless
            return look

        sys.settrace(look)
        try:
            value = self.functions[name](*values)
        except _Endless:
            raise PertokenError(f"{name} of {self.file} does not end; make it return a number") from None
        finally:
            sys.settrace(before)
        if math.isnan(value):
            raise self.fault(name, values)


def _nothing(*_: float) -> float:
    return math.nan


class _Endless(BaseException):
    """A function took too long."""


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:120]}" if lines else type(error).__name__


def read_policy(text: str, file: str) -> Own:
    """Functions of a file's text, which is run.

    Raises
    ------
    PertokenError
        When it cannot be run, or has none of the functions of ``FACTS``, or one that takes other than their numbers.
    """
    space: dict[str, Any] = {"__name__": "policy", "__file__": file}
    try:
        exec(compile(text, f"policy {file}", "exec", dont_inherit=True), space)
    except (Exception, SystemExit) as error:
        line = getattr(error, "lineno", None)
        where = f" (line {line})" if isinstance(line, int) else ""
        raise PertokenError(f"policy {file} cannot be run: {_first_line(error)}{where}; mend the file") from error
    users = {
        name: (_function(space[name], name, file), _taken(space[name], name, file)) for name in NAMES if name in space
    }
    if not users:
        raise PertokenError(
            f"policy {file} has no function that is asked; define {', '.join(NAMES[:-1])} or {NAMES[-1]}"
        )
    functions = {name: _plain(*found) for name, found in users.items()}
    compiled, why = _compile(users, space)
    return Own(file, functions, compiled, why, users)


def _function(found: Any, name: str, file: str) -> Callable[..., Any]:
    function = getattr(found, "py_func", found)
    if not isinstance(function, FunctionType):
        raise PertokenError(f"{name} of policy {file} is a {type(found).__name__}; make it a plain function")
    return function


def _taken(found: Any, name: str, file: str) -> list[int]:
    """Which of the numbers a function takes, by its parameters' names."""
    facts = FACTS[name]
    wanted = inspect.signature(getattr(found, "py_func", found)).parameters.values()
    for each in wanted:
        if each.name not in facts or each.kind is not each.POSITIONAL_OR_KEYWORD:
            raise PertokenError(f"{name} of policy {file} takes {str(each)[:40]!r}; use some of {', '.join(facts)}")
    return [facts.index(each.name) for each in wanted]


def _plain(function: Callable[..., Any], taken: Sequence[int]) -> Asked:
    def asked(*values: float) -> float:
        try:
            value = function(*[values[k] for k in taken])
            number = isinstance(value, bool | int | float | np.bool_ | np.integer | np.floating)
            return float(value) if number else math.nan
        except (Exception, SystemExit):
            return math.nan

    return asked


def _compile(users: Mapping[str, tuple[Any, Sequence[int]]], space: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """C functions, or why there are none; what they call of the same file is compiled too."""
    if not COMPILED:
        return {}, "numba, which compiles it, is not there (pip install 'pertoken[fast]')"
    import numba

    jitted: dict[str, Any] = {}
    for key, value in space.items():
        own = isinstance(value, FunctionType) and value.__globals__ is space
        jitted[key] = numba.njit(_moved(value, jitted)) if own else value
    done: dict[str, Any] = {}
    for name, (_, taken) in users.items():
        facts = FACTS[name]
        # a compiled function has no way to raise in the loop
        source = (
            f"def asked({', '.join(facts)}):\n    try:\n        return {name}({', '.join(facts[k] for k in taken)}) + 0.0\n"
            "    except Exception:\n        return nan\n"
        )
        home = {name: jitted[name], "nan": math.nan}
        exec(source, home)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                double = numba.float64
                done[name] = numba.cfunc(double(*[double] * len(facts)))(home["asked"])
        except Exception as error:
            return {}, f"numba cannot compile {name} ({_reason(error)})"
    return done, ""


def _moved(function: FunctionType, space: dict[str, Any]) -> FunctionType:
    return FunctionType(function.__code__, space, function.__name__, function.__defaults__, function.__closure__)


def _reason(error: Exception) -> str:
    """The first line of numba's that says something."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", str(error))
    lines = [line.strip() for line in plain.splitlines()]
    told = [line for line in lines if line and not line.startswith(("Failed in", "- Resolution", "File ", "Overload"))]
    return (told[0] if told else type(error).__name__)[:160]
