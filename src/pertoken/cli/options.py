"""Options that commands share: one for each knob, and the cases that they come to."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from pertoken.errors import PertokenError
from pertoken.knobs import KNOBS, Knob


def complete(kind: str) -> Any:
    def found(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:  # noqa: ARG001
        from pertoken.catalog import files

        count, times, start = incomplete.rpartition("x") if kind == "accelerators" else ("", "", incomplete)
        if not count.isdigit():
            count, times, start = "", "", incomplete
        return [f"{count}{times}{name}" for name in files.names(kind) if name.startswith(start)]

    return found


def knob_options(command: Any) -> Any:
    """One option for each knob; each may be given more than once, which compares."""
    return table_options([k for k in KNOBS.values() if k.name != "model"])(command)


def table_options(table: Sequence[Knob]) -> Callable[[Any], Any]:
    """One option for each entry of a table."""

    def add(command: Any) -> Any:
        for knob in reversed(table):
            command = _option(knob)(command)
        return command

    return add


def _option(knob: Knob) -> Any:
    completions = {"on": complete("accelerators"), "engine": complete("engines")}
    unit = f" [{knob.unit}]" if knob.unit else ""
    return click.option(
        knob.flag,
        knob.name,
        multiple=True,
        metavar="|".join(knob.choices) or knob.kind.upper(),
        help=knob.doc + unit,
        shell_complete=completions.get(knob.name),
    )


def complete_what_if(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:  # noqa: ARG001
    """Counterfactuals as they are written."""
    from pertoken.whatif.ask import ALL, COUNTERFACTUALS, spelled

    return [name for name in (ALL, *map(spelled, COUNTERFACTUALS.values())) if name.startswith(incomplete)]


WHAT_IF = "no-kv-cache, kv-fp8, window:4096, speculative:2.5 and so on, or all: what that changes."


def read_cases(
    model: tuple[str, ...],
    scenario: str | None,
    given: Mapping[str, tuple[str, ...]],
    example: str,
    more: Collection[str] = (),
    most: int = 0,
) -> list[dict[str, Any]]:
    """The cases that knobs and a scenario file come to: every combination of what was given more than once.

    A command may take ``more`` names than knobs, and other than ``MOST_CASES`` cases at ``most``.

    Raises
    ------
    PertokenError
        When no model is among them, or they are too many.
    """
    from pertoken.scenario import MOST_CASES, combinations

    most = most or MOST_CASES
    typed = {name: list(values) for name, values in (("model", model), *given.items()) if values}
    tables = [table | typed for table in (_read_scenario(scenario, more) if scenario else [{}])]
    if any("model" not in table for table in tables):
        raise PertokenError(f"no model was given; name one, such as: {example} (pertoken list models)")
    cases = [case for table in tables[: most + 1] for case in combinations(table, most)]
    if len(cases) > most:
        raise PertokenError(f"more than {most:,} cases were asked for; compare fewer at once")
    return cases


def _read_scenario(name: str, more: Collection[str]) -> list[dict[str, list[Any]]]:
    """Knobs of a scenario file, each as a list: one table, or one for each of its ``[[cases]]``."""
    from pertoken.catalog import files

    found = files.read_toml(Path(name).expanduser())
    tables = found.get("cases", [found])
    if not isinstance(tables, list) or not tables or not all(isinstance(table, dict) for table in tables):
        raise PertokenError("cases of a scenario must be tables; write [[cases]] above the knobs of each")
    if "cases" in found and len(found) > 1:
        raise PertokenError("a scenario holds either knobs or [[cases]]; move the knobs into the cases")
    return [
        {key: value if isinstance(value, list) else [value] for key, value in _known(t, more).items()} for t in tables
    ]


def _known(table: dict[str, Any], more: Collection[str]) -> dict[str, Any]:
    """The table, if all its keys are knobs, or ``more``."""
    known = [*KNOBS, *more]
    for key in table:
        if key.replace("-", "_") not in known:
            raise PertokenError(f"{key[:60]!r} is no knob; use one of {', '.join(known)}")
    return {key.replace("-", "_"): value for key, value in table.items()}
