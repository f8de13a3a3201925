"""Formats of a checkpoint's weights, from ``quantization_config`` or the hf_quant_config.json beside the config.

A role whose weights are in several formats is given the one that holds most of its bytes, and that is said.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from pertoken.errors import PertokenError
from pertoken.model.fields import Fields, shorten
from pertoken.model.modules import Part, parts_of, select, understood
from pertoken.model.precision import FORMATS, Precision, number_format
from pertoken.model.shapes import Shapes

DTYPES = {
    "bfloat16": "bf16", "torch.bfloat16": "bf16", "float16": "fp16", "torch.float16": "fp16", "half": "fp16",
    "float32": "fp32", "torch.float32": "fp32", "float": "fp32", "float8_e4m3fn": "fp8",
}  # fmt: skip
ALGORITHMS = {
    "FP8": "fp8", "FP8_PB_WO": "fp8", "FP8_PER_CHANNEL_PER_TOKEN": "fp8", "FP8_BLOCK_SCALES": "fp8", "NVFP4": "nvfp4",
    "W4A16_NVFP4": "nvfp4_w4a16", "MXFP4": "mxfp4", "W4A16_MXFP4": "mxfp4", "MXFP8": "mxfp8", "INT8_SQ": "int8",
    "W8A8_SQ_PER_CHANNEL": "int8", "INT4_AWQ": "int4", "W4A16_AWQ": "int4", "W4A16": "int4", "W8A16": "w8a16",
}  # fmt: skip
MOST_NAMES = 200_000
_CLAIM = re.compile(
    r"(?<![a-z0-9])(fp8|nvfp4|mxfp[48]|fp4|nf4|bnb|int[248]|awq|gptq|w[48]a\d+|[348][-_]?bits?|gguf)(?![a-z0-9])"
)
_GGUF = re.compile(r"(?<![a-z0-9])(q8_0|q6_k|q5_k_m|q4_k_m|q4_0)(\.gguf)?$")


class UnknownSchemeError(Exception):
    """The scheme has no format here; its text goes into the question for --dtype."""


@dataclass
class Plan:
    """Formats to be: ``kept`` where nothing else is said, ``formats`` part by part, ``kv`` if stated; scales by block or not."""

    parts: list[Part]
    kept: str
    formats: dict[Part, str] = field(default_factory=dict)
    kv: str | None = None
    blocks: bool = False
    unknown: list[str] = field(default_factory=list)

    def put(self, form: str, roles: Iterable[str]) -> None:
        """Give all parts of some roles a format."""
        wanted = set(roles)
        self.formats.update({part: form for part in self.parts if part.role in wanted})

    def name(self, form: str, names: Iterable[str]) -> None:
        """Give the parts that module names mean a format."""
        for name, found in select(names, self.parts):
            self.formats.update(dict.fromkeys(found, form))
            if not found and not understood(name):
                self.unknown.append(name)


LINEAR = ("attention", "feedforward", "experts")


def _names(f: Fields, *fields: str) -> list[str] | None:
    """A list of module names from the first of ``fields`` that is there."""
    for name in fields:
        rows = f.rows(name, most=MOST_NAMES)
        if rows is not None:
            return [row for row in rows if isinstance(row, str) and len(row) < 500]
    return None


def _stated_dtype(f: Fields) -> str | None:
    for name in ("torch_dtype", "dtype"):
        if f.has(name):
            text = f.text(name)
            if text in DTYPES:
                return DTYPES[text]
            if text != "auto":
                raise f.fail(name, f"it must be one of {', '.join(DTYPES)}")
    return None


def _algorithm(text: object) -> str:
    form = ALGORITHMS.get(str(text).upper())
    if form is None:
        raise UnknownSchemeError(f"quantisation algorithm {shorten(text)}")
    return form


def _weights(group: Fields) -> str:
    """Format of one group of compressed-tensors: bits and type of the weights, and whether inputs are quantised too."""
    weights, inputs = group.part("weights"), group.part("input_activations")
    if weights is None:
        raise group.fail("weights", "add the number of bits and the type: correct the config")
    bits, kind = weights.whole("num_bits", high=64), weights.text("type", "int")
    size = weights.maybe("group_size", low=-1) or 0
    if kind == "float" and bits == 4:
        return ("nvfp4" if inputs else "nvfp4_w4a16") if size in (0, 16) else "mxfp4"
    if kind == "float" and bits == 8:
        return "mxfp8" if size == 32 else "fp8"
    if kind == "int" and bits == 8:
        return "int8" if inputs else "w8a16"
    if kind == "int" and bits == 4 and not inputs:
        return "int4_g32" if size == 32 else "int4"
    raise UnknownSchemeError(f"{kind} weights of {bits} bits")


def _kv_format(f: Fields) -> str | None:
    """Format of the KV cache when one of the usual fields states it."""
    stated = f.table.get("kv_cache_quant_algo") or f.table.get("kv_cache_scheme")
    if stated is None:
        return None
    if isinstance(stated, Mapping):
        scheme = Fields(stated, f.owner)
        bits, kind = scheme.whole("num_bits", high=64), scheme.text("type", "float")
        stated = {("float", 8): "FP8", ("int", 8): "INT8", ("float", 4): "NVFP4"}.get((kind, bits), "?")
    form = {"FP8": "fp8", "INT8": "int8", "NVFP4": "nvfp4"}.get(str(stated).upper())
    if form is None:
        raise f.fail(
            "kv_cache_quant_algo" if f.has("kv_cache_quant_algo") else "kv_cache_scheme", "FP8 or NVFP4 is known"
        )
    return form


def _per_layer(f: Fields, plan: Plan) -> bool:
    """Formats that are stated module by module."""
    table = f.part("quantized_layers")
    if table is None or not table.table:
        return False
    if len(table.table) > MOST_NAMES:
        raise f.fail("quantized_layers", f"at most {MOST_NAMES:,} modules can be listed")
    by_form: dict[str, list[str]] = {}
    for name, stated in table.table.items():
        algorithm = stated.get("quant_algo") if isinstance(stated, Mapping) else None
        by_form.setdefault(_algorithm(algorithm), []).append(str(name))
    for form, names in by_form.items():
        plan.name(form, names)
    return True


def _modelopt(f: Fields, plan: Plan) -> None:
    """NVIDIA ModelOpt: one algorithm for all linear layers but those excluded, or one for each module."""
    algorithm = f.table.get("quant_algo")
    if str(algorithm).upper() in ("MIXED_PRECISION", "MIXED"):
        if not _per_layer(f, plan):
            raise UnknownSchemeError("mixed precision without quantized_layers")
        return
    if algorithm is None:
        raise UnknownSchemeError("a quantisation without quant_algo")
    excluded = _names(f, "exclude_modules", "ignore")
    plan.put(_algorithm(algorithm), LINEAR)
    if excluded is None:
        f.assume(
            f"modules left out of quantisation are not listed: head, embedding and router are taken as {plan.kept}"
        )
        return
    plan.put(_algorithm(algorithm), ("head",))  # routers are no linear layers to it, and stay
    plan.name(plan.kept, excluded)


def _compressed_tensors(f: Fields, plan: Plan) -> None:
    groups = f.part("config_groups")
    ignored = _names(f, "ignore") or []
    if groups is None or not groups.table:
        raise UnknownSchemeError("compressed-tensors without config_groups")
    for name in list(groups.table)[:100]:
        group = groups.part(str(name)) if isinstance(name, str) else None
        if group is None:
            raise f.fail("config_groups", "each group must be a table: correct the config")
        form, targets = _weights(group), _names(group, "targets") or ["Linear"]
        if any(target in ("Linear", "re:.*") for target in targets):
            plan.put(form, (*LINEAR, "head"))
        else:
            plan.name(form, targets)
    plan.name(plan.kept, ignored)


def _fp8(f: Fields, plan: Plan) -> None:
    """Block-scaled fp8: all linear layers of the body; heads and routers stay."""
    plan.put("fp8", LINEAR)
    plan.blocks = f.has("weight_block_size")
    plan.name(plan.kept, _names(f, "modules_to_not_convert", "ignored_layers") or [])
    _per_layer(f, plan)


def _bits(f: Fields, plan: Plan) -> None:
    bits, size = f.whole("bits", "w_bit", high=64), f.maybe("group_size", "q_group_size", low=-1)
    if bits not in (4, 8):
        raise UnknownSchemeError(f"weights of {bits} bits")
    plan.put("w8a16" if bits == 8 else "int4_g32" if size == 32 else "int4", LINEAR)
    plan.name(plan.kept, _names(f, "modules_to_not_convert") or [])


def _bitsandbytes(f: Fields, plan: Plan) -> None:
    four, eight = f.flag("load_in_4bit"), f.flag("load_in_8bit")
    if four == eight:
        raise UnknownSchemeError("bitsandbytes with neither or both of load_in_4bit and load_in_8bit")
    plan.put("int4" if four else "w8a16", LINEAR)
    f.assume(
        f"bitsandbytes weights are counted as {'int4' if four else 'w8a16'}: unpacked to half precision on the way"
    )


def _mxfp4(f: Fields, plan: Plan) -> None:
    plan.put("mxfp4", LINEAR)
    plan.name(plan.kept, _names(f, "modules_to_not_convert") or [])


def _apply(f: Fields, plan: Plan) -> None:
    method = f.text("quant_method", "modelopt" if f.has("quant_algo") else "")
    methods = {
        "fp8": _fp8, "fbgemm_fp8": _fp8, "mxfp4": _mxfp4, "compressed-tensors": _compressed_tensors,
        "modelopt": _modelopt, "modelopt_fp4": _modelopt, "awq": _bits, "gptq": _bits, "bitsandbytes": _bitsandbytes,
    }  # fmt: skip
    if method not in methods:
        raise UnknownSchemeError(f"quant_method {shorten(method)}")
    methods[method](f, plan)
    plan.kv = _kv_format(f)


def _summary(f: Fields, plan: Plan) -> Precision:
    """One format for each role, that with most bytes."""
    totals: dict[str, dict[str, float]] = {}
    for part in plan.parts:
        form = plan.formats.get(part, plan.kept)
        by_form = totals.setdefault(part.role, {})
        by_form[form] = by_form.get(form, 0.0) + part.size * number_format(form).bytes
    chosen = {role: max(sorted(forms), key=forms.__getitem__) for role, forms in totals.items()}
    for role, forms in totals.items():
        if len(forms) > 1:
            whole = sum(forms.values())
            split = ", ".join(f"{form} {100 * size / whole:.0f}%" for form, size in sorted(forms.items()))
            f.assume(f"{role} weights are in several formats ({split} of their bytes): taken as {chosen[role]}")
    body = {role: sum(forms.values()) for role, forms in totals.items() if role in LINEAR}
    weights = chosen[max(body, key=lambda role: body[role])] if body else plan.kept
    chosen.setdefault("head", chosen["embedding"])
    roles = {role: form for role, form in sorted(chosen.items()) if form != weights}
    kv = plan.kv or (plan.kept if FORMATS[plan.kept].cache else "bf16")
    return Precision(weights, roles, kv, plan.blocks)


def _special(f: Fields, plan: Plan) -> None:
    """What DeepSeek-V4's config and reference code add."""
    if f.has("expert_dtype") and not any(form == "nvfp4" for form in plan.formats.values()):
        stated = f.text("expert_dtype")
        if stated not in ("fp4", "fp8"):
            raise f.fail("expert_dtype", "it must be fp4 or fp8")
        plan.put("mxfp4" if stated == "fp4" else "fp8", ("experts",))
    if plan.kv is None and f.has("compress_ratios"):
        plan.kv = "fp8"
        f.assume("the KV cache is taken as fp8, rotated parts in half precision, as in DeepSeek-V4's reference code")


def _question(label: str, why: str) -> str:
    return f"{label}: {why}; say --dtype, one of {', '.join(FORMATS)}"


def read_precision(
    f: Fields, shapes: Shapes, quant: Mapping[str, object] | None, label: str
) -> tuple[Precision | None, str]:
    """Formats of a checkpoint, or None and the sentence that asks for them.

    Raises
    ------
    PertokenError
        When a field about formats has the wrong type.
    """
    dtype, stated = _stated_dtype(f), f.part("quantization_config")
    beside: Fields | None = None
    if quant is not None:
        if not isinstance(quant, Mapping):
            raise PertokenError(f"{label}: hf_quant_config must be a table, not {shorten(quant)}; correct the file")
        whole = Fields(quant, label, f.assumed)
        beside = whole.part("quantization") or whole
    chosen = next((part for part in (stated, beside) if part is not None and part.table), None)
    if chosen is None:
        return _plain(f, dtype, label)
    kept = dtype if dtype in ("bf16", "fp16", "fp32") else "bf16"
    if dtype != kept:
        f.assume("torch_dtype is not in the config: weights left out of quantisation are taken as bf16")
    plan = Plan(parts_of(shapes), kept)
    try:
        _apply(chosen, plan)
    except UnknownSchemeError as error:
        return None, _question(label, f"{error} has no format here")
    if plan.kv is None and beside is not None:
        plan.kv = _kv_format(beside)
    if plan.unknown:
        first = shorten(plan.unknown[0])
        f.assume(f"{len(plan.unknown)} module names of the quantisation mean nothing here and were left aside: {first}")
    _special(f, plan)
    return _summary(f, plan), ""


def _plain(f: Fields, dtype: str | None, label: str) -> tuple[Precision | None, str]:
    low = label.lower()
    gguf = _GGUF.search(low)
    if gguf:
        f.assume(f"weights are taken as {gguf[1]}, as the name says, and the KV cache as fp16, llama.cpp's default")
        return Precision(gguf[1], {}, "fp16"), ""
    claim = _CLAIM.search(low)
    if claim:
        return None, _question(label, f"its name says {claim[1]}, but its config states no quantisation")
    if dtype is None:
        return None, _question(label, "its config states neither torch_dtype nor dtype nor a quantisation")
    return Precision(dtype, {}, dtype), ""
