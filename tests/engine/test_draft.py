"""Decode steps of several tokens a sequence, and the draft model beside them."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest

from pertoken.engine.deployment import Deployment
from pertoken.engine.draft import Drafted, draft_model
from pertoken.engine.roofline import total_seconds
from pertoken.engine.step import Decode, Prefill, Step
from pertoken.model.model import Block
from tests import maker

KINDS = sorted(maker.KINDS)


def flop(d: Deployment, step: Step) -> float:
    return sum(float(op.count * op.work.flop) for op in d.run(step))


@pytest.mark.parametrize("name", KINDS)
def test_one_token_wide_is_a_plain_step(name: str) -> None:
    d = maker.deploy(maker.KINDS[name]())
    plain, wide = Step((Decode(8.0, 900.0),)), Step((Decode(8.0, 900.0, 1.0),))
    assert total_seconds(d.run(plain)) == total_seconds(d.run(wide))


def test_a_wide_step_counts_as_the_tokens_it_holds() -> None:
    """FLOP of 1 + 3 tokens after one another are those of four steps; weights are read once instead of four times."""
    d = maker.deploy(maker.dense())
    wide = Step((Decode(8.0, 900.0, 4.0),))
    apart = [Step((Decode(8.0, 900.0 + i),)) for i in range(4)]
    assert flop(d, wide) == pytest.approx(sum(flop(d, s) for s in apart), rel=1e-9)
    read = sum(float(op.count * op.work.weight_bytes) for op in d.run(wide))
    assert read == pytest.approx(sum(float(op.count * op.work.weight_bytes) for op in d.run(apart[0])), rel=1e-9)
    assert (wide.tokens, wide.sequences, wide.emitted) == (32.0, 8.0, 32.0)
    assert total_seconds(d.run(wide)) < sum(total_seconds(d.run(s)) for s in apart)


def drafted(d: Deployment, drafts: int) -> Drafted:
    return Drafted(**{f.name: getattr(d, f.name) for f in fields(Deployment)}, drafts=drafts)


def test_drafts_cost_in_proportion_and_hold_memory() -> None:
    d = maker.deploy(maker.dense())
    step = Step((Decode(8.0, 900.0),), Prefill(1.0, 512.0, 0.0), 1.0)
    bare = float(total_seconds(d.run(step)))
    one, two, three = (float(total_seconds(drafted(d, n).run(step))) for n in (1, 2, 3))
    assert bare < one < two < three
    assert three - two == pytest.approx(two - one, rel=1e-9)
    assert drafted(d, 1).weight_bytes > d.weight_bytes
    assert drafted(d, 1).sequence_bytes(100.0) > d.sequence_bytes(100.0)
    assert drafted(d, 3).weight_bytes == drafted(d, 1).weight_bytes


def test_the_models_own_next_token_layer_is_the_draft() -> None:
    model = maker.dense()
    block = model.blocks[0]
    own = replace(model, mtp=(Block(1, block.attention, block.feedforward, 5, 100),))
    assert "own" in draft_model(own)[1]
    assert draft_model(own)[0].blocks[0].extra == 100
    assert draft_model(model)[0].layers == 1
