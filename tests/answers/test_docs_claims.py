"""What docs/answers.md says beside its figures holds for them."""

from __future__ import annotations

import pertoken as pt
from pertoken.report.curve import Curve


def _over(model: str, on: str, **knobs: str) -> dict[str, int | None]:
    return Curve(pt.price(model, on=on, **knobs)).overtakes


def test_in_a_shorter_format_attention_overtakes_earlier_in_time_and_not_in_flop() -> None:
    for model, on in (("llama-3.1-8b", "1xh100-sxm"), ("llama-3.1-70b", "8xh100-sxm")):
        long, short = _over(model, on), _over(model, on, dtype="fp8")
        assert short["input_time"] < long["input_time"]
        assert short["input_flop"] == long["input_flop"]


def test_with_experts_attention_overtakes_in_flop_before_it_does_in_time() -> None:
    for model, on in (
        ("deepseek-v3", "8xh200-sxm"),
        ("qwen3-235b-a22b-fp8", "8xh100-sxm"),
        ("qwen3.5-35b-a3b", "2xh100-sxm"),
    ):
        over = _over(model, on)
        assert over["input_flop"] and (over["input_time"] is None or over["input_time"] > over["input_flop"])
