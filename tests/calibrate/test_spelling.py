"""Spellings: many lead to the catalog's names, near misses lead nowhere, and formats, engines and metrics mean what they say."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pertoken.calibrate.cells import Refused
from pertoken.calibrate.rows import read_row
from pertoken.catalog.measured import load_names
from tests.calibrate.test_rows import GOOD

NAMES = load_names()
SPELL = NAMES.spelling

ACCELERATORS = {
    "h100-sxm": ["NVIDIA H100 80GB HBM3", "H100-SXM5-80GB", "h100", "h100_sxm", "NVIDIA H100 (SXM5, 80GB)", "8xH100", "H100 x8",
                 "DGX H100", "NVIDIA H100 Tensor Core GPU", "H100_80GB_HBM3", "nvidia/h100", "2 x H100 80G", "H100 80 GiB"],
    "h100-pcie": ["H100 PCIe", "NVIDIA H100 PCIe 80GB", "h100_pcie", "H100 PCI-E"],
    "h100-nvl": ["H100 NVL", "NVIDIA H100-NVL-94GB"],
    "h200-sxm": ["NVIDIA H200", "H200 141GB", "NVIDIA H200-SXM-141GB-CTS", "Virtualized NVIDIA H200-SXM-141GB"],
    "b200-sxm": ["B200", "B200-SXM-180GB", "B200 192GB", "B200-180GB x 8"],
    "gb200": ["GB200", "NVIDIA GB200 NVL72"],
    "a100-sxm-40gb": ["A100 40GB", "NVIDIA A100-SXM4-40GB"],
    "a100-sxm-80gb": ["A100", "NVIDIA A100-SXM4-80GB"],
    "a100-pcie-80gb": ["A100 80GB PCIe", "NVIDIA A100 PCIe 80GB"],
    "l40s": ["L40S", "NVIDIA L40S 48GB", "L40S PCIe"],
    "rtx-4090": ["RTX 4090", "RTX4090", "NVIDIA GeForce RTX 4090 24GB", "4090"],
    "rtx-pro-6000-server": ["NVIDIA RTX PRO 6000 Blackwell Server Edition"],
    "mi300x": ["AMD Instinct MI300X", "mi300x", "MI 300X", "AMD MI300X 192GB HBM3", "MI300X OAM"],
    "mi355x": ["MI355X", "AMD Instinct MI355X 288GB HBM3e"],
    "tpu-v6e": ["TPU v6e", "v6e", "TPUv6e", "v6e-8"],
    "tpu-v5e": ["v5e", "tpu v5 lite", "v5litepod-8"],
    "gaudi3": ["Gaudi3", "Intel® Gaudi® 3 AI Accelerator", "HL-325L"],
    "trainium2": ["AWS Trainium2", "trn2"],
    "m2-ultra": ["Apple M2 Ultra 76-Core GPU 192GB"],
}  # fmt: skip
NO_ACCELERATOR = [
    "H1000", "H100 94GB", "H100 96GB", "A800", "L40", "RTX 3090 Ti", "RTX 4090 D", "RTX 4090 Laptop GPU", "RTX A6000", "MI300A",
    "MI300", "GB200 NVL4", "H100 MIG 1g.10gb", "H20-3e", "200GB", "100", "NVIDIA", "GPU", "", "Jetson AGX Orin 64G", "Groq LPU",
    "RTX",
]  # fmt: skip
MODELS = {
    "llama-3.3-70b": ["meta-llama/Llama-3.3-70B-Instruct", "nvidia/Llama-3.3-70B-Instruct-FP8",
                      "amd/Llama-3.3-70B-Instruct-FP8-KV", "RedHatAI/Llama-3.3-70B-Instruct-FP8-dynamic",
                      "unsloth/Llama-3.3-70B-Instruct-bnb-4bit", "Llama 3.3 70B"],
    "llama-3.1-8b": ["Llama-3.1-8B", "llama3.1:8b", "Meta-Llama-3.1-8B-Instruct-Q4_K_M.gguf", "/models/Llama-3.1-8B-Instruct/",
                     "models--meta-llama--Llama-3.1-8B-Instruct", "RedHatAI/Meta-Llama-3.1-8B-Instruct-quantized.w8a8"],
    "llama-3.1-405b": ["llama3_1-405b", "nvidia/Llama-3.1-405B-Instruct-FP4"],
    "llama-3-70b": ["casperhansen/llama-3-70b-instruct-awq", "Meta-Llama-3-70B"],
    "llama-2-70b": ["TheBloke/Llama-2-70B-Chat-GPTQ", "llama2-70b-99.9"],
    "deepseek-r1": ["deepseek-ai/DeepSeek-R1-0528", "nvidia/DeepSeek-R1-0528-FP4-v2", "dsr1", "DeepSeek R1"],
    "gpt-oss-120b": ["openai/gpt-oss-120b", "gptoss120b", "GPT-OSS 120B"],
    "qwen3-30b-a3b-2507": ["Qwen/Qwen3-30B-A3B-Instruct-2507"],
    "qwen2.5-72b": ["Qwen/Qwen2.5-72B-Instruct-GPTQ-Int4", "qwen2-5-72b"],
    "qwen2.5-32b": ["deepseek-ai/DeepSeek-R1-Distill-Qwen-32B"],
    "mixtral-8x7b": ["mistralai/Mixtral-8x7B-Instruct-v0.1", "Mixtral 8x7B"],
    "mixtral-8x22b": ["Mixtral-8x22B-Instruct-v0.1"],
}  # fmt: skip
NO_MODEL = [
    "llama-3.1-80b", "Llama-3.1", "Llama", "70B", "Qwen3-31B", "DeepSeek-R2", "DeepSeek", "gpt-oss", "gpt-4o", "Mixtral",
    "llama-3.1-8b-lora",
    "zai-org/GLM-4.5", "Qwen/Qwen3-Next-80B-A3B-Instruct", "deepseek-v2", "", "-", "instruct", "fp8", "meta", "/", "nvidia/",
]  # fmt: skip


@pytest.mark.parametrize(("name", "text"), [(n, t) for n, texts in ACCELERATORS.items() for t in texts])
def test_accelerators_are_recognised(name, text):
    assert SPELL.accelerator(text) == name


@pytest.mark.parametrize(("name", "text"), [(n, t) for n, texts in MODELS.items() for t in texts])
def test_models_are_recognised(name, text):
    assert SPELL.model(text) == name


@pytest.mark.parametrize("text", NO_ACCELERATOR)
def test_near_misses_are_no_accelerator(text):
    assert SPELL.accelerator(text) is None


@pytest.mark.parametrize("text", NO_MODEL)
def test_near_misses_are_no_model(text):
    assert SPELL.model(text) is None


def test_every_catalog_name_and_alias_leads_home():
    for alias, name in SPELL.models.items():
        assert (
            SPELL.model(alias) == SPELL.model(f"some-org/{alias.rsplit('/', 1)[-1].upper()}") == name or "/r1" in alias
        )
    for alias, name in SPELL.accelerators.items():
        assert SPELL.accelerator(alias.upper()) == name
        assert SPELL.accelerator(alias.replace("-", " ").replace("_", " ")) in (name, None)


def test_no_two_accelerators_share_a_key():
    keys: dict[tuple[str, str], set[str]] = {}
    for alias, name in SPELL.accelerators.items():
        keys.setdefault(SPELL.accelerator_key(alias), set()).add(name)
    assert all(len(names) == 1 for names in keys.values())


@given(st.text(max_size=60))
def test_any_text_is_a_name_or_none(text):
    assert SPELL.accelerator(text) is None or SPELL.accelerator(text) in SPELL.memory
    assert SPELL.model(text) is None or SPELL.model(text) in SPELL.models


def row(**cells):
    return read_row(2, GOOD | cells, NAMES)


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("FP8", "fp8"), ("fp8_e4m3", "fp8"), ("float8", "fp8"), ("fp8-dynamic", "fp8"), ("W8A8 FP8", "fp8"),
        ("fp8_block", "fp8_block"),
        ("FP4", "nvfp4"), ("mxfp4", "mxfp4"), ("torch.bfloat16", "bf16"), ("half", "fp16"), ("AWQ-Marlin", "int4"),
        ("gptq_int8", "w8a16"),
        ("INT4 (AWQ)", "int4"), ("auto", ""), ("N/A", ""), ("Q4_K - Medium", "q4_k_m"),
    ],
)  # fmt: skip
def test_formats(text, form):
    assert row(weight_dtype=text).weights == form


def test_a_models_name_tells_its_format_where_the_cell_does_not():
    found = row(model="nvidia/Llama-3.1-8B-Instruct-FP8", weight_dtype="")
    assert found.weights == "fp8" and "weights in fp8, as the model's name says" in found.assumed
    assert row(model="nvidia/Llama-3.1-8B-Instruct-FP8", weight_dtype="auto").weights == "fp8"
    assert row(model="nvidia/Llama-3.1-8B-Instruct-FP8", weight_dtype="bf16").weights == "bf16"


def test_four_bits_mean_what_the_model_or_the_accelerator_has():
    assert row(model="openai/gpt-oss-120b", weight_dtype="fp4").weights == ""
    assert row(gpu="AMD Instinct MI355X", weight_dtype="FP4").weights == "mxfp4"
    assert row(gpu="B200", weight_dtype="FP4").weights == "nvfp4"


@pytest.mark.parametrize(
    ("text", "profile", "said"),
    [
        ("vllm-v1", "vllm", False), ("TRT-LLM", "trtllm", False), ("tensorrt_llm", "trtllm", False), ("SGLang", "sglang", False),
        ("llama.cpp", "llamacpp", False), ("Ollama", "llamacpp", False), ("LM Studio", "llamacpp", False),
        ("NIM 1.8", "trtllm", True),
        ("TGI", "vllm", True), ("lmdeploy", "vllm", True), ("ATOM", "vllm", True), ("minimal", "vllm", True), ("", "vllm", True),
    ],
)  # fmt: skip
def test_engines(text, profile, said):
    found = row(engine=text)
    assert found.engine == profile
    assert any(a.startswith("engine ") for a in found.assumed) == said


@pytest.mark.parametrize(
    ("text", "metric", "value"),
    [
        ("output throughput", "throughput", 1000), ("output_throughput", "throughput", 1000), ("tok/s/gpu", "throughput", 4000),
        ("Output Tokens/s per GPU", "throughput", 4000), ("total_token_throughput", "throughput", 1000),
        ("req/s", "throughput", 1000),
        ("tok/s/user", "tpot", 1e-3), ("J/token", "energy", 1000), ("", "throughput", 1000),
    ],
)  # fmt: skip
def test_metrics(text, metric, value):
    found = row(n_gpus="4", tp="4", metric=text, throughput="1000", tpot_ms="")
    assert found.measured[metric] == pytest.approx(value)


def test_what_throughput_counts():
    assert row(metric="total_token_throughput", throughput="1000").counts == "total"
    assert row(metric="requests/s", throughput="1000").counts == "requests"
    assert row(metric="Total Output Throughput (tok/s)", throughput="1000").counts == "output"
    assert "throughput counts output tokens" in row(metric="speed", throughput="1000").assumed


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        ({"metric": "TTFT", "throughput": "90", "ttft_ms": "", "tpot_ms": ""}, "use ttft_ms"),
        ({"metric": "input tok/s", "throughput": "9000", "ttft_ms": "", "tpot_ms": ""}, "input tokens alone"),
        ({"metric": "e2e latency", "throughput": "9", "ttft_ms": "", "tpot_ms": ""}, "whole request"),
        ({"ttft_ms": "0,06"}, "not a number"),
        ({"tpot_ms": "1e300"}, "another unit"),
        ({"throughput": "0.0000001"}, "another unit"),
    ],
)
def test_figures_in_the_wrong_place_or_unit(cells, words):
    with pytest.raises(Refused, match=words):
        row(**cells)


def test_a_figure_that_is_no_metric_leaves_the_others():
    assert row(metric="e2e latency", throughput="9").measured == pytest.approx({"ttft": 0.06, "tpot": 0.009})


def test_numbers_as_people_write_them():
    assert row(isl="1,024", n_gpus="8x").input == "1024"
    assert row(n_gpus="8 GPUs", tp="8").count == 8
    assert row(ttft_ms="NaN").measured == pytest.approx({"tpot": 0.009})


def test_a_load_that_nothing_tells_is_assumed_and_said():
    bare = {"concurrency_or_max_batch": "", "metric": ""}
    assert row(**bare).load == "alone" and row(**bare, throughput="90").load == "saturated"
    assert any(text.startswith("neither concurrency") for text in row(**bare).assumed)
