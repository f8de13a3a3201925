"""Formats of checkpoints: what is stated is read, what is not stated is asked for."""

from __future__ import annotations

from typing import Any

import pytest

from pertoken.errors import PertokenError
from pertoken.model.huggingface import checkpoint_from_config
from pertoken.model.model import Checkpoint
from pertoken.model.precision import Precision
from tests.model.configs import config
from tests.model.test_checksums import ENTRIES

ROLES = ("attention", "feedforward", "experts", "router", "head", "embedding")


def read(family: str, quant: dict[str, Any] | None = None, name: str = "made-up", **changes: Any) -> Checkpoint:
    return checkpoint_from_config(config(family, **changes), name=name, quant=quant)


def formats(checkpoint: Checkpoint) -> dict[str, str]:
    precision = checkpoint.precision
    assert isinstance(precision, Precision), checkpoint.unstated
    return {**{role: precision.of(role).name for role in ROLES}, "kv": precision.kv}


def entry(name: str) -> dict[str, str]:
    table = ENTRIES[name]
    return formats(checkpoint_from_config(table["config"], name=name, quant=table.get("quant")))


def expect(found: dict[str, str], **wanted: str) -> None:
    assert {key: found[key] for key in wanted} == wanted


def test_half_precision_is_read_from_either_field() -> None:
    expect(formats(read("llama")), attention="bf16", head="bf16", kv="bf16")
    expect(formats(read("llama", torch_dtype=..., dtype="float16")), feedforward="fp16", kv="fp16")


def test_no_dtype_is_asked_for_never_assumed() -> None:
    found = read("llama", torch_dtype=...)
    assert found.precision is None
    assert "torch_dtype" in found.unstated and "--dtype" in found.unstated


@pytest.mark.parametrize("name", ["llama-fp8", "llama-NVFP4", "llama-awq-int4", "llama_w8a8", "llama-4bit", "x.gguf"])
def test_a_format_in_the_name_alone_is_asked_for(name: str) -> None:
    found = read("llama", name=name)
    assert found.precision is None
    assert "name says" in found.unstated


@pytest.mark.parametrize("name", ["llama-3.1-8b", "nemotron-bf16", "phi-4", "gpt-oss-20b"])
def test_ordinary_names_claim_nothing(name: str) -> None:
    assert read("llama", name=name).precision is not None


def test_gguf_is_read_from_the_suffix_and_said() -> None:
    found = read("llama", name="llama-3.1-8b-q4_k_m")
    expect(formats(found), attention="q4_k_m", embedding="q4_k_m", kv="fp16")
    assert any("q4_k_m" in sentence for sentence in found.assumed)


def test_llama_fp8_beside_the_config() -> None:
    expect(entry("llama-3.1-70b-fp8"), attention="fp8", feedforward="fp8", head="bf16", embedding="bf16", kv="fp8")


def test_gpt_oss_experts_alone_are_mxfp4() -> None:
    for name in ("gpt-oss-20b", "gpt-oss-120b"):
        expect(entry(name), experts="mxfp4", attention="bf16", router="bf16", head="bf16", embedding="bf16", kv="bf16")


def test_deepseek_fp8() -> None:
    expect(entry("deepseek-v3"), attention="fp8", feedforward="fp8", experts="fp8", kv="bf16")
    expect(entry("deepseek-v3"), head="bf16", embedding="bf16", router="bf16")


def test_deepseek_nvfp4_says_that_attention_is_mixed() -> None:
    table = ENTRIES["deepseek-v3.1-nvfp4"]
    found = checkpoint_from_config(table["config"], name="x", quant=table["quant"])
    expect(formats(found), experts="nvfp4", attention="bf16", router="bf16", head="bf16", kv="fp8")
    assert any(s.startswith("attention weights are in several formats") for s in found.assumed)


def test_nvfp4_that_leaves_attention_and_shared_experts() -> None:
    for name in ("glm-5.2-nvfp4", "kimi-k2.6-nvfp4"):
        expect(entry(name), experts="nvfp4", attention="bf16", feedforward="bf16", router="bf16", head="bf16", kv="fp8")


def test_int4_experts_of_kimi() -> None:
    expect(entry("kimi-k2.5"), experts="int4_g32", attention="bf16", feedforward="bf16", router="bf16", head="bf16")


def test_mixed_precision_module_by_module() -> None:
    expect(entry("qwen3.6-35b-a3b-nvfp4"), experts="nvfp4_w4a16", attention="fp8", router="bf16", head="nvfp4_w4a16")
    expect(entry("qwen3.6-35b-a3b-nvfp4"), kv="fp8", embedding="bf16")
    expect(entry("nemotron-3.5-lightning-30b-a3b-nvfp4"), experts="nvfp4_w4a16", attention="fp8", kv="fp8")


def test_deepseek_v4_experts() -> None:
    expect(entry("deepseek-v4-pro"), experts="mxfp4", attention="fp8", feedforward="fp8", head="bf16", kv="fp8")
    expect(entry("deepseek-v4-pro-nvfp4"), experts="nvfp4", attention="fp8", feedforward="fp8")
    expect(entry("deepseek-v4-pro-fp8"), experts="fp8", attention="fp8")


def test_a_module_with_one_digit_is_not_those_with_two() -> None:
    quant = {"quantization": {"quant_algo": "NVFP4", "exclude_modules": ["model.layers.1.*", "lm_head"]}}
    found = read("llama", quant, num_hidden_layers=20)
    share = next(s for s in found.assumed if s.startswith("attention"))
    assert "bf16 16%" in share  # one layer of 20 at 16 bits, 19 at 4.5


def test_predicted_layers_are_not_the_first_ones() -> None:
    quant = {"quantization": {"quant_algo": "FP8", "exclude_modules": ["mtp.layers.0*", "lm_head"]}}
    assert not any("several formats" in s for s in read("llama", quant).assumed)


@pytest.mark.parametrize(
    ("stated", "form"),
    [
        ({"quant_method": "awq", "bits": 4, "group_size": 128}, "int4"),
        ({"quant_method": "gptq", "bits": 8, "group_size": 128}, "w8a16"),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, "int4"),
        ({"quant_method": "fbgemm_fp8"}, "fp8"),
        ({"quant_method": "modelopt", "quant_algo": "NVFP4", "exclude_modules": ["lm_head"]}, "nvfp4"),
    ],
)
def test_methods(stated: dict[str, Any], form: str) -> None:
    expect(formats(read("llama", quantization_config=stated)), attention=form, feedforward=form, head="bf16")


@pytest.mark.parametrize(
    ("bits", "kind", "inputs", "form"),
    [(8, "float", {}, "fp8"), (8, "int", {}, "int8"), (8, "int", None, "w8a16"), (4, "int", None, "int4")],
)
def test_compressed_tensors(bits: int, kind: str, inputs: object, form: str) -> None:
    group = {"weights": {"num_bits": bits, "type": kind}, "targets": ["Linear"], "input_activations": inputs}
    stated = {"quant_method": "compressed-tensors", "config_groups": {"group_0": group}, "ignore": ["lm_head"]}
    expect(formats(read("llama", quantization_config=stated)), attention=form, head="bf16")


@pytest.mark.parametrize(
    "stated",
    [
        {"quant_method": "awq", "bits": 3},
        {"quant_method": "quark"},
        {"quant_method": "modelopt", "quant_algo": "W1A1"},
        {"quant_method": "modelopt", "quant_algo": "MIXED_PRECISION"},
        {"quant_method": "compressed-tensors"},
    ],
)
def test_unknown_schemes_are_asked_about(stated: dict[str, Any]) -> None:
    found = read("llama", quantization_config=stated)
    assert found.precision is None
    assert "--dtype" in found.unstated


def test_a_wrong_type_is_an_error() -> None:
    with pytest.raises(PertokenError, match="quantization_config"):
        read("llama", quantization_config="fp8")
    with pytest.raises(PertokenError, match="hf_quant_config"):
        checkpoint_from_config(config("llama"), name="x", quant=[1])  # type: ignore[arg-type]


def test_names_that_mean_nothing_are_said() -> None:
    quant = {"quantization": {"quant_algo": "FP8", "exclude_modules": ["lm_head", "flux_capacitor", "model.norm"]}}
    said = [s for s in read("llama", quant).assumed if "mean nothing" in s]
    assert said == ["1 module names of the quantisation mean nothing here and were left aside: 'flux_capacitor'"]
