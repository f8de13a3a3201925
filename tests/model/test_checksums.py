"""Parameters implied by catalog configs against published counts: a wrong shape cannot hide from an exact sum."""

from __future__ import annotations

import math
import tomllib
from importlib import resources
from typing import Any

import pytest

from pertoken.model.huggingface import checkpoint_from_config
from pertoken.model.model import Model

HUB = "safetensors.total of the Hub's API, as copied in a public table of models, read 2026-11-22"
TENSORS = "sum over the tensors of the published files, in a public audit of the checkpoint, read 2026-11-22"
# name, parameters of the main layers (or of these and the multi-token-prediction layers), source
EXACT: list[tuple[str, int, bool, str]] = [
    ("llama-2-7b", 6_738_417_664, False, f"{HUB} (2,048 of them rotary buffers)"),
    ("llama-2-13b", 13_015_866_880, False, f"{HUB} (with rotary buffers)"),
    ("llama-3.1-8b", 8_030_261_248, False, HUB),
    ("llama-3.1-70b", 70_553_706_496, False, HUB),
    ("llama-3.2-1b", 1_235_814_400, False, HUB),
    ("llama-3.2-3b", 3_212_749_824, False, HUB),
    ("mistral-7b", 7_241_732_096, False, HUB),
    ("mistral-nemo-12b", 12_247_782_400, False, HUB),
    ("qwen2.5-7b", 7_615_616_512, False, HUB),
    ("qwen2.5-72b", 72_706_203_648, False, HUB),
    ("qwen3-8b", 8_190_735_360, False, HUB),
    ("qwen3-32b", 32_762_123_264, False, HUB),
    ("phi-3-mini", 3_821_079_552, False, HUB),
    ("phi-4", 14_659_507_200, False, HUB),
    ("phi-4-mini", 3_836_021_760, False, HUB),
    ("gemma-2-9b", 9_241_705_984, False, HUB),
    ("gemma-2-27b", 27_227_128_320, False, HUB),
    ("mixtral-8x22b", 140_620_634_112, False, HUB),
    ("qwen3-30b-a3b", 30_532_122_624, False, HUB),
    ("qwen3-235b-a22b", 235_093_634_560, False, HUB),
    ("qwen3-coder-480b-a35b", 480_154_875_392, False, HUB),
    ("gpt-oss-20b", 20_914_757_184, False, HUB),
    ("gpt-oss-120b", 116_829_156_672, False, HUB),
    ("minimax-m2.7", 228_689_764_864, False, HUB),
    ("deepseek-v2-lite", 15_706_484_224, False, HUB),
    (
        "deepseek-r1",
        671_026_419_200,
        False,
        f"{HUB} (of its bf16 descendant MAI-DS-R1, which leaves the last layer out)",
    ),
    ("kimi-k2", 1_026_408_235_864, False, HUB),
    ("glm-5", 753_864_139_008, True, HUB),
    ("glm-5.2", 753_329_940_480, True, HUB),
    ("deepseek-v4-flash", 290_944_616_402, True, HUB),
    ("deepseek-v4-pro", 1_598_839_674_782, True, HUB),
    ("qwen3.5-397b-a17b", 396_346_350_336, False, TENSORS),
    ("qwen3.5-397b-a17b", 396_346_350_336 + 6_595_568_128, True, TENSORS),
    ("nemotron-nano-9b-v2", 8_888_227_328, False, HUB),
    ("nemotron-3-nano-30b-a3b", 31_577_937_344, False, HUB),
    ("nemotron-3-super-120b-a12b-fp8", 123_611_012_096, True, HUB),
]
# published totals that count an encoder of images, which is left out here: 108,641,793,536 in all [same source as HUB]
VISION = {"llama-4-scout": 871_932_416}
# names that are cut off rather than rounded: 49.87 billion are called 49
CUT_OFF = {"llama-3.3-nemotron-super-49b"}


def entries() -> dict[str, dict[str, Any]]:
    """Content of all model files of the catalog."""
    folder = resources.files("pertoken.catalog") / "models"
    files = sorted((f for f in folder.iterdir() if f.name.endswith(".toml")), key=lambda f: f.name)
    tables = [tomllib.loads(f.read_text(encoding="utf-8")) for f in files]
    return {table["name"]: table for table in tables}


ENTRIES = entries()


def model(name: str) -> Model:
    table = ENTRIES[name]
    return checkpoint_from_config(table["config"], name=name, quant=table.get("quant")).model


@pytest.mark.parametrize(("name", "published", "with_mtp", "source"), EXACT)
def test_exact_counts(name: str, published: int, with_mtp: bool, source: str) -> None:
    made = model(name)
    implied = made.parameters + (made.mtp_parameters if with_mtp else 0)
    assert implied == pytest.approx(published, rel=2e-6), source  # buffers and scales are a millionth


def test_most_counts_are_exact_to_the_last_parameter() -> None:
    found = [model(n).parameters + (model(n).mtp_parameters if mtp else 0) == p for n, p, mtp, _ in EXACT]
    assert sum(found) >= 0.8 * len(EXACT)


def test_a_wrong_shape_is_noticed() -> None:
    """Negative control: head_dim taken as hidden / heads misses Mistral Nemo's count."""
    config = dict(ENTRIES["mistral-nemo-12b"]["config"])
    config["head_dim"] = config["hidden_size"] // config["num_attention_heads"]
    assert abs(checkpoint_from_config(config, name="wrong").model.parameters / 12_247_782_400 - 1) > 0.01


@pytest.mark.parametrize("name", list(ENTRIES))
def test_every_catalog_entry_loads(name: str) -> None:
    table = ENTRIES[name]
    read = checkpoint_from_config(table["config"], name=name, quant=table.get("quant"))
    assert read.precision is not None or "--dtype" in read.unstated
    assert 0 < read.model.active_parameters <= read.model.parameters


def rounding(published: float, exact: bool) -> float:
    """Relative tolerance: 1%, or half a unit of the last digit that is not zero, at most 6%."""
    digits = len(str(int(published)).rstrip("0"))
    unit = 10.0 ** (math.floor(math.log10(published)) - digits + 1)
    return 0.01 if exact else max(0.01, min(0.06, 0.501 * unit / published))


PUBLISHED = [name for name, table in ENTRIES.items() if "published" in table and name not in CUT_OFF]


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_totals(name: str) -> None:
    published, made = ENTRIES[name]["published"], model(name)
    if "parameters" not in published:
        pytest.skip("no published total")
    whole = made.parameters + VISION.get(name, 0)
    allowed = rounding(published["parameters"], published.get("exact", False))
    nearest = min((whole, whole + made.mtp_parameters), key=lambda n: abs(n - published["parameters"]))
    assert nearest == pytest.approx(published["parameters"], rel=allowed), published["source"]


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_active(name: str) -> None:
    """Vendors count the embedding and the head, one of them or neither."""
    published, made = ENTRIES[name]["published"], model(name)
    if "active_parameters" not in published:
        pytest.skip("no published active count")
    stated, active = published["active_parameters"], made.active_parameters
    counted = [active - n * made.embedding_parameters for n in (0, 1, 2)]
    nearest = min(counted, key=lambda n: abs(n - stated))
    assert nearest == pytest.approx(stated, rel=rounding(stated, published.get("exact", False)))


def test_active_counts_of_model_cards() -> None:
    """gpt-oss: 5.13 and 3.61 billion with the head alone; Nemotron 3 Nano: 3.2 billion, 3.6 with embeddings."""
    big, small, nano = model("gpt-oss-120b"), model("gpt-oss-20b"), model("nemotron-3-nano-30b-a3b")
    assert big.matmul_parameters == pytest.approx(5.13e9, rel=0.002)
    assert small.matmul_parameters == pytest.approx(3.61e9, rel=0.002)
    assert nano.matmul_parameters == pytest.approx(3.2e9, abs=0.05e9)
    assert nano.active_parameters == pytest.approx(3.6e9, abs=0.05e9)
