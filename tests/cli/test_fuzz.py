"""Any knobs and any words: only sentences come out, never a traceback."""

from __future__ import annotations

import math
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import pertoken
from pertoken.attribution.position import VIEWS, WHO
from pertoken.knobs import KNOBS
from tests.cli.tool import run

SANE: dict[str, list[Any]] = {
    "model": ["llama-3.1-8b", "llama-3.2-1b", "mixtral-8x7b", "gemma-3-1b", "gpt-oss-20b", "deepseek-v2-lite"],
    "dtype": ["bf16", "fp8", "int4", "q4_k_m", "nvfp4"],
    "kv_dtype": ["bf16", "fp8", "int8"],
    "on": ["1xh100-sxm", "8xh100-sxm", "l40s", "2xt4", "16xb200-sxm", "xeon-8480", "3xmi300x", "m2-ultra", "100000xh100"],
    "tp": [1, 2, "4", 8], "pp": [1, 2, 3], "ep": [1, 2, 8], "dp": [1, 2, 5],
    "network": ["50GB/s", 1e6, 1e13], "overlap": ["none", "micro-batches"], "engine": ["vllm", "sglang", "trtllm"],
    "efficiency": ["nowhere.toml", "", "."],
    "token_budget": [16, "8k", 1e7], "max_sequences": [1, 256, 1_000_000],
    "input": [1, 1000, "uniform:5-900", "p50=1020,p90=2734", 100_000], "output": [1, 2, 500, "uniform:1-2"],
    "cached": [0, 0.5, 1], "trace": ["azure-2023-code", "mooncake-conversation"], "prefix_cache": [512, "1M"],
    "concurrency": [1, 17.5, 1e6], "rps": [1e-9, 1, 40], "load": [1e-9, 0.5, 1],
    "ttft": ["2s", 1e-6, 1e6], "tpot": ["50ms", 1e6, 0.004],
    "rate": ["rent", "rent:2.5", "power:0.1", "rent:1e-9", "rent:10000", "own", "own:1600,life=4y,power=0.30", "rent:spot"],
    "watts": [1, 450.5, 1e5], "host": [1, 1.5, 10], "pue": [1, 1.2, 10], "country": ["FRA", "germany"], "water": [0, 1.8, 100],
    "embodied": ["cited", 0, "318"], "currency": ["EUR=0.92", "jpy=150"],
    "utilisation": [1e-6, 0.3, 1, ",".join(["0.5"] * 24)], "basis": ["usage", "allocation"],
}  # fmt: skip
INSANE: list[Any] = [
    0, -1, math.nan, math.inf, -math.inf, 1e308, 10**400, "", " ", "nan", "-5", "1e999", "x", "\0", "\x1b[0m", True, [], {},
    b"8", 1j, object(), 2.5, "9" * 5000, "0x", "uniform:", "p50=,p90=", "rent:", "power:0", "\u0663", "\uff11",
]  # fmt: skip
ARGUMENTS = st.lists(
    st.one_of(
        st.sampled_from([
            "price", "explain", "curve", "market", "--ratios", "--history", "--offer", "groq/llama-3.1-8b-instant", "--spend",
            "9/day", "--requests", "--usage", "--written", "--redundancy", "--tariff", "gpt-5", "--trace", "azure-2023-code",
            "--what-if", "all", "kv-fp8", "--depth", "--cite", "--chart", "receipt", "list",
            "show", "model", "models", "accelerator", "engine", "llama-3.1-8b", "gemma-3-1b", "h100-sxm", "--json", "--csv",
            "--positions", "--view", "--who", "1,11", "long-run", "occupant", "-h", "--version", "--", "-", "8xh100-sxm",
            "1e5", "-1", "nan", "fp8",
        ]),
        st.sampled_from([knob.flag for knob in KNOBS.values() if knob.name != "model"]),
        st.text(st.characters(exclude_characters="/"), max_size=8),  # no slash: no paths, hence no files written
    ),
    max_size=8,
)  # fmt: skip


def test_every_knob_is_in_the_pool() -> None:
    assert set(SANE) == set(KNOBS)


@st.composite
def knobs(draw: st.DrawFn) -> dict[str, Any]:
    names = draw(st.lists(st.sampled_from([name for name in SANE if name != "model"]), max_size=5, unique=True))
    found = {name: draw(st.sampled_from(SANE[name])) for name in ("model", *names)}
    if draw(st.booleans()):
        found[draw(st.sampled_from(list(found)))] = draw(st.sampled_from(INSANE))
    return found


@settings(max_examples=250, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(knobs())
def test_random_knobs_are_priced_or_refused(given: dict[str, Any]) -> None:
    model = given.pop("model")
    try:
        cost = pertoken.price(model, **given)
    except pertoken.PertokenError as error:
        assert 30 < len(str(error)) < 1000, error
        return
    figures = cost.accelerator_s
    for figure in (figures.input, figures.cached, figures.output, figures.input_blended):
        assert 0 <= figure.low <= figure.value <= figure.high < math.inf
    assert figures.input.value > 0
    if cost.rate:
        assert abs(cost.bill.residual) <= 1e-9 * cost.bill.usd
    assert abs(sum(leaf.usd_share for leaf in cost.receipt) - 1) < 1e-9


@settings(max_examples=80, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(knobs(), st.sampled_from(VIEWS), st.sampled_from(WHO), st.integers(1, 4000), st.integers(1, 400))
def test_random_knobs_have_a_cost_by_position_or_a_sentence(
    given: dict[str, Any], view: str, who: str, first: int, second: int
) -> None:
    model = given.pop("model")
    try:
        cost = pertoken.price(model, **given)
        found = [
            cost.at(input=[1, first], view=view, who=who),
            cost.at(output=[1, second], input=first, view=view, who=who),
        ]
    except pertoken.PertokenError as error:
        assert 30 < len(str(error)) < 1000, error
        return
    for at in found:
        for i in range(2):
            assert 0 < at.low[i] <= at.value[i] <= at.high[i] < math.inf
            parts = [part[i] for part in at.parts.values()]
            assert min(parts) >= 0 and math.isclose(sum(parts), at.value[i], rel_tol=1e-9)


@settings(max_examples=200, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(ARGUMENTS)
def test_random_words_never_end_in_a_traceback(arguments: list[str]) -> None:
    result = run(*arguments)
    assert result.code in (0, 2, 3), result
    assert (result.code == 0) == (not result.err.startswith("pertoken: ")), result
    if result.code:
        assert result.out == "" and result.err.count("\n") == 1, result
