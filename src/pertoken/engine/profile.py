"""An engine's overheads and policies, as its catalog profile states them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pertoken.engine.ops import CHAIN
from pertoken.errors import PertokenError
from pertoken.hardware.accelerator import Accelerator
from pertoken.sources import Source, Sourced, read_number, read_sources

ONE_STEP, NO_STEPS = (Sourced(value, "step", Source("most engines")) for value in (1.0, 0.0))
# choosing, sorting, permuting, quantising, two products, an activation and the way back
ONE_BY_ONE = Sourced(CHAIN, "kernel", Source("assumed"))


@dataclass(frozen=True)
class Small:
    """Policies on smaller accelerators.

    Parameters
    ----------
    memory_below : float
        They hold below this much memory [byte].
    families : tuple of str
        And on these families whatever their memory.
    token_budget, max_sequences : float
        As in `Profile`.
    """

    memory_below: float
    families: tuple[str, ...]
    token_budget: float
    max_sequences: float


@dataclass(frozen=True)
class Profile:
    """What an engine adds to its kernels.

    Parameters
    ----------
    name, title, versions : str
        Catalog name, full name, and the versions that the profile describes.
    host_step : Sourced
        Host seconds that a step waits for [s].
    host_sequence : Sourced
        Host seconds for each sequence of a step [s].
    rank_skew : Sourced
        Seconds that a collective waits for its slowest rank, for each rank past the first [s].
    memory_fraction : Sourced
        Share of an accelerator's memory that the engine uses, or, with ``of_free``, that caches take of what weights and
        workspace leave free [1].
    token_budget : Sourced
        Most tokens of one step (chunked prefill) [token].
    max_sequences : Sourced
        Most sequences of one step [sequence].
    prompt_launch : Sourced
        Host seconds to launch an operation where no captured graph replays it: in steps that hold prompts, and beyond
        ``graph_sequences``. A step waits for what its kernels do not hide [s].
    launch_share : Sourced
        Part of the kernels' own launch times that a step pays: engines overlap the end of one kernel with the start of the
        next, and fuse small ones into large ones [1].
    graph_sequences : Sourced
        Most decoding sequences of a step that a captured graph replays [sequence].
    look_steps, wait_steps : Sourced
        Steps between looks for new requests, 1 in most engines, and steps for which prompts wait for others [step].
    balance_steps : Sourced
        Steps for which prompts wait until all data-parallel lanes that share experts have one [step].
    expert_kernels : Sourced
        Kernels that the host launches for the routed experts of a layer; fewer where one call fuses them [kernel].
    request_delay : Sourced
        Seconds of a request outside the engine before its first token: HTTP, tokens, queues [s].
    mixed : bool
        Whether prompts are prefilled beside decoding sequences; else the latter wait for steps of prompts only.
    chunked : bool
        Whether a prompt may be cut where a step's budget ends; else it waits for a step that holds it whole.
    reserves : bool
        Whether a request is admitted only when the cache of its whole answer is set aside; else the cache grows with it.
    of_free : bool
        What ``memory_fraction`` is a share of.
    prompt_graphs : bool
        Whether captured graphs replay steps with prompts too; see `Deployment.prompt_launches_s` for where.
    small : Small or None
        Policies on smaller accelerators, where they differ.
    interval : mapping of str to (float, float)
        Measured over predicted at 5 and 95%, for ``ttft`` and ``tpot``, of what the fit was not told [1].
    extends : str
        The engine whose older versions these are; empty where the profile describes today's.
    """

    name: str
    title: str
    versions: str
    host_step: Sourced
    host_sequence: Sourced
    rank_skew: Sourced
    memory_fraction: Sourced
    token_budget: Sourced
    max_sequences: Sourced
    prompt_launch: Sourced
    launch_share: Sourced
    graph_sequences: Sourced
    request_delay: Sourced
    look_steps: Sourced = ONE_STEP
    wait_steps: Sourced = NO_STEPS
    balance_steps: Sourced = NO_STEPS
    expert_kernels: Sourced = ONE_BY_ONE
    mixed: bool = True
    chunked: bool = True
    reserves: bool = False
    of_free: bool = False
    prompt_graphs: bool = False
    small: Small | None = None
    interval: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    extends: str = ""

    @property
    def kernels(self) -> tuple[str, ...]:
        """Whose kernels it runs, its own first, then today's where those of its versions were not measured."""
        return (self.name, self.extends) if self.extends else (self.name,)

    def on(self, accelerator: Accelerator) -> Profile:
        """The profile with the policies that the engine has on one accelerator."""
        small = self.small
        if small is None or not (accelerator.memory.value < small.memory_below or accelerator.family in small.families):
            return self
        note = "the engine's default on smaller accelerators"
        return replace(
            self,
            token_budget=replace(self.token_budget, value=small.token_budget, note=note),
            max_sequences=replace(self.max_sequences, value=small.max_sequences, note=note),
        )


MAY_BE_ZERO = ("host_step", "host_sequence", "rank_skew", "prompt_launch", "graph_sequences", "request_delay")
_UNITS = {
    "host_step": ("s", 1.0),
    "host_sequence": ("s", 0.1),
    "rank_skew": ("s", 1e-3),
    "memory_fraction": ("1", 1.0),
    "token_budget": ("token", 1e7),
    "max_sequences": ("sequence", 1e6),
    "prompt_launch": ("s", 0.1),
    "launch_share": ("1", 2.0),
    "graph_sequences": ("sequence", 1e6),
    "request_delay": ("s", 60.0),
}
_FLAGS = {"mixed": True, "chunked": True, "reserves": False, "of_free": False, "prompt_graphs": False}


def profile_from_dict(table: Mapping[str, Any], where: str) -> Profile:
    """Read a profile from the content of its TOML file.

    Raises
    ------
    PertokenError
        Naming the key that is missing or out of range.
    """
    names = {"name", "title", "versions"}
    for key in names:
        if not isinstance(table.get(key), str):
            raise PertokenError(f"{where}: {key} is {str(table.get(key))[:60]!r}; it must be a text")
    sources = read_sources(table.get("sources", {}))
    numbers: dict[str, Any] = {
        key: read_number(table.get(key), unit, sources, f"{where}: {key}", high, zero=key in MAY_BE_ZERO)
        for key, (unit, high) in _UNITS.items()
    } | {
        key: read_number(table[key], "step", sources, f"{where}: {key}", 1e6, zero=key != "look_steps")
        for key in ("look_steps", "wait_steps", "balance_steps")
        if key in table
    }
    flags = {key: table.get(key, default) for key, default in _FLAGS.items()}
    for key, value in flags.items():
        if not isinstance(value, bool):
            raise PertokenError(f"{where}: {key} is {str(value)[:60]!r}; it must be true or false")
    return Profile(
        **{key: table[key] for key in names},
        **numbers,
        **flags,
        small=_small(table.get("small"), where),
        interval=_interval(table.get("interval", {}), where),
        extends=str(table.get("extends", "")),
    )


def _interval(table: object, where: str) -> dict[str, tuple[float, float]]:
    if not isinstance(table, Mapping):
        raise PertokenError(f"{where}: [interval] must be a table with ttft and tpot")
    found = {}
    for name in table:
        ends = table[name] if isinstance(table[name], list) and len(table[name]) == 2 else [None, None]
        low, high = (read_number(end, "1", {}, f"{where}: interval.{name}", 1e3).value for end in ends)
        if name not in ("ttft", "tpot") or not low <= 1.0 <= high:
            raise PertokenError(
                f"{where}: interval.{str(name)[:40]} is {low:g} to {high:g}; ttft and tpot have two ends around 1"
            )
        found[name] = (low, high)
    return found


def _small(table: object, where: str) -> Small | None:
    if table is None:
        return None
    if not isinstance(table, Mapping) or not isinstance(table.get("families", []), list):
        raise PertokenError(
            f"{where}: [small] must be a table with memory_below, families, token_budget and max_sequences"
        )
    values = [
        read_number(table.get(key), unit, {}, f"{where}: small.{key}", high).value
        for key, unit, high in (
            ("memory_below", "byte", 1e15),
            ("token_budget", "token", 1e7),
            ("max_sequences", "sequence", 1e6),
        )
    ]
    return Small(values[0], tuple(str(name) for name in table.get("families", [])), *values[1:])
