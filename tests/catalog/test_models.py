"""Every model of the catalog loads, or is refused in a sentence; each that loads is priced."""

from __future__ import annotations

import datetime as dt
import json
import math

import pytest

import pertoken
from pertoken.catalog import files
from pertoken.catalog.models import load_checkpoint
from pertoken.errors import PertokenError

NAMES = files.names("models")


def loads(name: str) -> bool:
    try:
        load_checkpoint(name)
    except PertokenError:
        return False
    return True


LOADED = [name for name in NAMES if loads(name)]


def test_at_least_sixty_load() -> None:
    assert len(LOADED) >= 60
    assert len(LOADED) >= 0.9 * len(NAMES)


@pytest.mark.parametrize("name", sorted(set(NAMES) - set(LOADED)) or ["none is refused"])
def test_the_others_are_refused_in_a_sentence(name: str) -> None:
    with pytest.raises(PertokenError, match=r"\w+ .{30,}"):
        load_checkpoint(name)


@pytest.mark.parametrize("name", NAMES)
def test_each_entry_says_where_it_is_from(name: str) -> None:
    table = files.entry("models", name)
    assert table["name"] == name and table["title"]
    source = table["source"]
    assert len(source["title"]) > 8 and source["url"].startswith("https://")
    assert dt.date(2024, 1, 1) < source["read"] <= dt.date(2026, 11, 22)


@pytest.mark.parametrize("name", LOADED)
def test_each_is_priced_on_a_large_machine(name: str) -> None:
    checkpoint = load_checkpoint(name)
    dtype = None if checkpoint.precision else "bf16"
    cost = pertoken.price(name, on="16xb300-sxm", dtype=dtype, input=400, output=100, concurrency=64)
    assert abs(cost.bill.residual) < 1e-9
    for kind in ("input", "cached", "output", "input_blended"):
        figure = getattr(cost.per_million, kind)
        assert 0 <= figure.low <= figure.value <= figure.high < math.inf, kind
    assert cost.per_million.output.value > 0 and cost.per_million.input.value > 0
    state = cost.operating.state
    assert 0 < float(state.tpot_s) < 60 and 0 < float(state.ttft_s) < 600
    assert 0 < cost.mfu < 1
    assert cost.requests_per_s > 0
    assert checkpoint.model.active_parameters <= checkpoint.model.parameters


def test_without_a_machine_the_answer_is_one_that_serves() -> None:
    for name, more in (
        ("llama-3.1-8b", {}),
        ("llama-3.1-8b", {"input": 8192}),
        ("llama-3.1-405b", {}),
        ("mixtral-8x7b", {"rps": 0.5}),
    ):
        cost = pertoken.price(name, **more)
        state, goals = cost.operating.state, cost.workload.goals
        assert cost.rate is not None
        if "rps" not in more:
            assert float(state.ttft_s) <= goals.ttft * 1.01 and float(state.tpot_s) <= goals.tpot * 1.01
        assert cost.scenario["on"] == f"{cost.deployment.accelerators}x{cost.deployment.accelerator.name}"


def test_the_fewest_accelerators_that_fit_keep_the_split_asked_for() -> None:
    cost = pertoken.price("llama-3.1-8b", on="h100-sxm", tp=4, concurrency=4)
    assert (cost.deployment.accelerators, cost.deployment.split.tp) == (4, 4)
    cost = pertoken.price("llama-3.1-8b", on="h100-sxm", dp=3, concurrency=4)
    assert (cost.deployment.accelerators, cost.deployment.split.dp) == (3, 3)


def test_quantisation_beside_a_config_with_dots_in_its_name(tmp_path):
    config = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 64, "intermediate_size": 128,
        "num_attention_heads": 4, "num_key_value_heads": 2, "num_hidden_layers": 2, "vocab_size": 128,
        "max_position_embeddings": 512, "torch_dtype": "bfloat16", "hidden_act": "silu",
    }  # fmt: skip
    quant = {"quantization": {"quant_algo": "FP8", "kv_cache_quant_algo": "FP8", "exclude_modules": ["lm_head"]}}
    (tmp_path / "org--Model-5.1-X.json").write_text(json.dumps(config))
    (tmp_path / "org--Model-5.1-X.hf_quant_config.json").write_text(json.dumps(quant))
    found = load_checkpoint(str(tmp_path / "org--Model-5.1-X.json"))
    assert found.precision.weights == "fp8"
    assert found.precision.kv == "fp8"


def test_a_name_in_the_local_hugging_face_cache(tmp_path, monkeypatch):
    config = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 64, "intermediate_size": 128,
        "num_attention_heads": 4, "num_key_value_heads": 2, "num_hidden_layers": 2, "vocab_size": 128,
        "max_position_embeddings": 512, "torch_dtype": "bfloat16", "hidden_act": "silu",
    }  # fmt: skip
    folder = tmp_path / "models--some-org--some.model" / "snapshots" / "0123abcd"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    assert load_checkpoint("some-org/some.model").model.name == "some-org/some.model"
    with pytest.raises(PertokenError, match="not in the catalog"):
        load_checkpoint("some-org/other")
