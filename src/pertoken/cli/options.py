"""Options that commands share: one for each knob, and the cases that they come to."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from pertoken.errors import PertokenError
from pertoken.knobs import KNOBS


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
    completions = {"on": complete("accelerators"), "engine": complete("engines")}
    for knob in reversed([k for k in KNOBS.values() if k.name != "model"]):
        unit = f" [{knob.unit}]" if knob.unit else ""
        command = click.option(
            knob.flag,
            knob.name,
            multiple=True,
            metavar="|".join(knob.choices) or knob.kind.upper(),
            help=knob.doc + unit,
            shell_complete=completions.get(knob.name),
        )(command)
    return command


def complete_what_if(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:  # noqa: ARG001
    """Counterfactuals as they are written."""
    from pertoken.whatif.ask import ALL, COUNTERFACTUALS, spelled

    return [name for name in (ALL, *map(spelled, COUNTERFACTUALS.values())) if name.startswith(incomplete)]


WHAT_IF = "no-kv-cache, kv-fp8, window:4096, speculative:2.5 and so on, or all: what that changes."


def read_cases(
    model: tuple[str, ...], scenario: str | None, given: Mapping[str, tuple[str, ...]], example: str
) -> list[dict[str, Any]]:
    """The cases that knobs and a scenario file come to: every combination of what was given more than once.

    Raises
    ------
    PertokenError
        When no model is among them, or they are too many.
    """
    from pertoken.scenario import MOST_CASES, combinations

    typed = {name: list(values) for name, values in (("model", model), *given.items()) if values}
    tables = [table | typed for table in (_read_scenario(scenario) if scenario else [{}])]
    if any("model" not in table for table in tables):
        raise PertokenError(f"no model was given; name one, such as: {example} (pertoken list models)")
    cases = [case for table in tables[: MOST_CASES + 1] for case in combinations(table)]
    if len(cases) > MOST_CASES:
        raise PertokenError(f"more than {MOST_CASES} cases were asked for; compare fewer at once")
    return cases


def _read_scenario(name: str) -> list[dict[str, list[Any]]]:
    """Knobs of a scenario file, each as a list: one table, or one for each of its ``[[cases]]``."""
    from pertoken.catalog import files

    found = files.read_toml(Path(name).expanduser())
    tables = found.get("cases", [found])
    if not isinstance(tables, list) or not tables or not all(isinstance(table, dict) for table in tables):
        raise PertokenError("cases of a scenario must be tables; write [[cases]] above the knobs of each")
    if "cases" in found and len(found) > 1:
        raise PertokenError("a scenario holds either knobs or [[cases]]; move the knobs into the cases")
    return [{key: value if isinstance(value, list) else [value] for key, value in _known(t).items()} for t in tables]


def _known(table: dict[str, Any]) -> dict[str, Any]:
    """The table, if all its keys are knobs."""
    for key in table:
        if key.replace("-", "_") not in KNOBS:
            raise PertokenError(f"{key[:60]!r} is no knob; use one of {', '.join(KNOBS)}")
    return {key.replace("-", "_"): value for key, value in table.items()}
