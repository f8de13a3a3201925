"""A model's shapes and formats from a Hugging Face config.json (already parsed; nothing is read from disk here)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pertoken.errors import PertokenError
from pertoken.model.fields import Fields, shorten
from pertoken.model.model import Checkpoint, Model
from pertoken.model.quantisation import read_precision
from pertoken.model.readers_classic import read_bloom, read_falcon, read_gptj, read_opt
from pertoken.model.readers_dense import HABITS, LLAMA, dense_reader, read_deci, read_searched
from pertoken.model.readers_hybrid import read_nemotron_h, read_qwen_hybrid
from pertoken.model.readers_latent import read_deepseek, read_deepseek_v4
from pertoken.model.readers_moe import (
    read_gpt_oss,
    read_llama4,
    read_minimax,
    read_mixtral,
    read_qwen2_moe,
    read_qwen3_moe,
)
from pertoken.model.shapes import Shapes, grouped, tied

Reader = Callable[[Fields], Shapes]
Published = tuple[float | None, float | None, bool]

READERS: dict[str, Reader] = {
    **{name: dense_reader(habits) for name, habits in HABITS.items()},
    "qwen3_vl_text": dense_reader(HABITS["qwen3"]),
    "qwen2_5_vl_text": dense_reader(HABITS["qwen2"]),
    "qwen2_vl_text": dense_reader(HABITS["qwen2"]),
    "gemma3_text": dense_reader(HABITS["gemma3"]),
    "deci": read_deci,
    "nemotron-nas": read_searched,
    "bloom": read_bloom,
    "gptj": read_gptj,
    "opt": read_opt,
    "falcon": read_falcon,
    "RefinedWeb": read_falcon,
    "RefinedWebModel": read_falcon,
    "mixtral": read_mixtral,
    "qwen2_moe": read_qwen2_moe,
    "qwen3_moe": read_qwen3_moe,
    "qwen3_vl_moe_text": read_qwen3_moe,
    "gpt_oss": read_gpt_oss,
    "llama4_text": read_llama4,
    "minimax_m2": read_minimax,
    "deepseek_v2": read_deepseek,
    "deepseek_v3": read_deepseek,
    "deepseek_v32": read_deepseek,
    "kimi_k2": read_deepseek,
    "glm_moe_dsa": read_deepseek,
    "deepseek_v4": read_deepseek_v4,
    "qwen3_next": read_qwen_hybrid,
    "qwen3_5_text": read_qwen_hybrid,
    "qwen3_5_moe_text": read_qwen_hybrid,
    "nemotron_h": read_nemotron_h,
}
# architectures say what the reader is when model_type is one that a single project made up
ARCHITECTURES: dict[str, str] = {
    "LlamaForCausalLM": "llama",
    "MistralForCausalLM": "mistral",
    "Qwen2ForCausalLM": "qwen2",
    "Qwen3ForCausalLM": "qwen3",
    "Qwen3MoeForCausalLM": "qwen3_moe",
    "DeepseekV3ForCausalLM": "deepseek_v3",
    "DeepseekV32ForCausalLM": "deepseek_v32",
    "DeepseekV4ForCausalLM": "deepseek_v4",
    "GptOssForCausalLM": "gpt_oss",
    "MixtralForCausalLM": "mixtral",
    "NemotronHForCausalLM": "nemotron_h",
}
FAMILIES = {"kimi_k2": "kimi", "glm_moe_dsa": "glm"}
TEXT_PARTS = ("text_config", "llm_config", "language_config")
# fields of the whole that also count for its text part
SHARED = ("tie_word_embeddings", "torch_dtype", "dtype", "quantization_config")


def _text_part(f: Fields) -> Fields:
    """The part of the config that is about text: the config itself, or the part nested in it."""
    for name in TEXT_PARTS:
        part = f.part(name)
        if part is not None:
            outer = {key: f.table[key] for key in SHARED if f.has(key) and not part.has(key)}
            if f.text("model_type", "") == "kimi_k25":  # its text part goes by the name of either parent
                outer["model_type"] = "kimi_k2"
            f.assume(f"only the text part of the model is counted ({name}); encoders of images or sound are left out")
            return Fields({**part.table, **outer}, f.owner, f.assumed)
    if f.has("vision_config"):
        f.assume("only the text part of the model is counted; encoders of images or sound are left out")
    return f


def _architecture(f: Fields) -> str | None:
    names = f.rows("architectures", most=100) or []
    return next((ARCHITECTURES[n] for n in names if isinstance(n, str) and n in ARCHITECTURES), None)


def _as_standard(f: Fields, kind: str) -> Shapes:
    """Read an unknown kind as a standard decoder, or refuse with the field that stands in the way."""
    for name in ("hidden_size", "num_attention_heads", "num_key_value_heads", "intermediate_size", "vocab_size"):
        f.whole(name)
    if f.text("hidden_act") not in ("silu", "swish"):
        raise f.fail(
            "hidden_act", f"model_type {shorten(kind)} is not known here, and only silu marks a standard decoder"
        )
    tied(f, None)
    shapes = dense_reader(LLAMA)(f)
    unknown = f.unread_structure()
    if unknown:
        raise f.fail(unknown[0], f"model_type {shorten(kind)} is not known here, and this field changes its shapes")
    f.assume(
        f"model_type {shorten(kind)} is not known here: read as a standard decoder, gated feed-forward, no head norms"
    )
    return Shapes(**{**vars(shapes), "family": kind[:40]})


def _read_shapes(f: Fields) -> Shapes:
    kind = f.text("model_type", "")
    # nemotron-nas also goes by DeciLM's name, and is told by its list of layers
    if kind in ("deci", "nemotron-nas"):
        kind = "nemotron-nas" if f.has("block_configs") else "deci"
    chosen = kind if kind in READERS else _architecture(f)
    if chosen is None:
        if not kind:
            raise f.fail("model_type", "add it: it says how the other fields are to be read")
        return _as_standard(f, kind)
    shapes = READERS[chosen](f)
    ignored = f.unread_structure()
    if ignored:
        f.assume(f"config fields that {chosen} has no use for were left aside: {', '.join(ignored)[:200]}")
    family = FAMILIES.get(kind, shapes.family)
    return Shapes(**{**vars(shapes), "family": family})


def _model(name: str, shapes: Shapes) -> Model:
    return Model(
        name=name,
        hidden=shapes.hidden,
        vocab=shapes.vocab,
        blocks=grouped(shapes.layers),
        context_limit=shapes.context_limit,
        tied=shapes.tied,
        mtp=grouped(shapes.mtp),
        extra=shapes.extra,
        family=shapes.family,
    )


def checkpoint_from_config(
    config: Mapping[str, object],
    *,
    name: str,
    quant: Mapping[str, object] | None = None,
    origin: str = "",
    published: Published | None = None,
) -> Checkpoint:
    """Read a model.

    Parameters
    ----------
    config : mapping
        Content of config.json.
    name : str
        Catalog name, or what the file is called; formats are never taken from it, except those of GGUF files.
    quant : mapping or None
        Content of hf_quant_config.json beside it.
    origin : str
        What was read, for reports.
    published : tuple or None
        Published total and active parameters and whether they are exact, kept for comparison.

    Returns
    -------
    Checkpoint
        With ``precision`` None and a sentence in ``unstated`` when the files do not state the formats.

    Raises
    ------
    PertokenError
        When a field has the wrong type or range, or is of a structure not known here.
    """
    label = str(name)[:100]
    if not isinstance(config, Mapping) or not config:
        raise PertokenError(f"{label}: a config must be a table with fields, not {shorten(config)}; give a config.json")
    f = _text_part(Fields(config, label))
    shapes = _read_shapes(f)
    precision, unstated = read_precision(f, shapes, quant, label)
    return Checkpoint(_model(label, shapes), precision, str(origin), unstated, published, tuple(f.assumed))
