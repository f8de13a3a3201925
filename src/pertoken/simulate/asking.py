"""Where the loop asks a user's policy: compiled code by the address of a function, plain code by the function itself."""

from __future__ import annotations

from typing import Any

from pertoken.simulate.compiled import COMPILED, compiled
from pertoken.simulate.state import AGAIN, ARRIVAL, FAULT, INPUT, LEVEL, OUTPUT, SAID, Lane, Policy, Requests

ORDER, ADMIT, VICTIM = range(3)
NAMES = ("order", "admit", "victim")
REQUEST = ("arrival_s", "input", "output", "level", "emitted", "preempted")
ROOM = ("free_blocks", "needed_blocks", "running", "waiting", "input", "output")
FACTS = {"order": REQUEST, "admit": ROOM, "victim": REQUEST}


def call_plain(function: Any, values: tuple[float, ...]) -> float:
    """What a function says of six numbers."""
    return function(*values)  # type: ignore[no-any-return]


if COMPILED:
    from llvmlite import ir  # type: ignore[import-untyped]
    from numba import types
    from numba.extending import intrinsic

    @intrinsic  # type: ignore[untyped-decorator]
    def call(typing: Any, function: Any, values: Any) -> Any:  # noqa: ARG001
        """The same of a function by its address, so that the loop is compiled once for all policies."""

        def emit(context: Any, builder: Any, signature: Any, given: Any) -> Any:  # noqa: ARG001
            double = ir.DoubleType()
            kind = ir.FunctionType(double, [double] * len(REQUEST))
            at = builder.inttoptr(given[0], kind.as_pointer())
            return builder.call(at, [builder.extract_value(given[1], k) for k in range(len(REQUEST))])

        return types.float64(function, values), emit

    call.plain = call_plain
else:
    call = call_plain


@compiled
def ask(lane: Lane, which: int, function: Any, values: tuple[float, ...]) -> float:
    """What a user's function says; where that is no number, it is noted with what was asked, and the run will be ended."""
    value = call(function, values)
    if value == value:  # noqa: PLR0124 - not NaN
        return value  # type: ignore[no-any-return]
    if lane.z[FAULT] == 0:
        lane.z[FAULT] = which + 1
        for k in range(6):
            lane.g[SAID + k] = values[k]
    return 1.0


@compiled
def ask_of(q: Requests, lane: Lane, p: Policy, which: int, i: int, emitted: int) -> float:
    """What a user's function says of a request that has emitted so many tokens."""
    n = q.n[i]
    values = (
        n[ARRIVAL] * p.tick,
        float(n[INPUT]),
        float(n[OUTPUT]),
        float(n[LEVEL]),
        float(emitted),
        float(n[AGAIN]),
    )
    return ask(lane, which, p.order if which == ORDER else p.victim, values)


@compiled
def allowed(q: Requests, lane: Lane, p: Policy, i: int, free: int, blocks: int, running: int, waiting: int) -> bool:
    """Whether a user's policy admits the request whose turn it is."""
    n = q.n[i]
    values = (float(free), float(blocks), float(running), float(waiting), float(n[INPUT]), float(n[OUTPUT]))
    return ask(lane, ADMIT, p.admit, values) != 0.0
