"""Module names as they stand in quantisation files, matched with the weights of a model.

A quantisation file lists modules such as ``model.layers.3.self_attn.q_proj`` or patterns such as ``*.mlp.gate``; here
each weight of each layer is a `Part`, and a name selects the parts it means.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from pertoken.model.feedforward import Experts
from pertoken.model.model import Block
from pertoken.model.shapes import Shapes

Test = Callable[["Part"], bool]


@dataclass(frozen=True)
class Part:
    """One weight matrix (all routed experts of a layer together), its role and its elements; layer -1 is outside."""

    layer: int
    name: str
    role: str
    size: int


def _layer_parts(index: int, block: Block) -> list[Part]:
    found = [
        Part(index, m.name, m.role, m.parameters) for m in (block.attention.projections() if block.attention else ())
    ]
    ffn = block.feedforward
    if ffn is not None:
        found += [Part(index, m.name, m.role, m.parameters) for m in ffn.projections()]
    if isinstance(ffn, Experts):
        found += [Part(index, m.name, m.role, m.parameters * ffn.experts) for m in ffn.expert_matmuls]
    return found


def parts_of(shapes: Shapes) -> list[Part]:
    """All weight matrices of a model, without multi-token-prediction layers."""
    ends = [Part(-1, "embedding", "embedding", shapes.vocab * shapes.hidden)]
    if not shapes.tied:
        ends.append(Part(-1, "head", "head", shapes.vocab * shapes.hidden))
    kinds: dict[Block, list[Part]] = {block: _layer_parts(0, block) for block in set(shapes.layers)}
    layers = [
        Part(i, part.name, part.role, part.size) for i, block in enumerate(shapes.layers) for part in kinds[block]
    ]
    return ends + layers


def _named(*names: str) -> Test:
    return lambda part: part.name in names


def _role(*roles: str) -> Test:
    return lambda part: part.role in roles


def _shared(part: Part) -> bool:
    return part.name.startswith("shared_")


def _nothing(part: Part) -> bool:  # noqa: ARG001 - a test like the others
    return False


def _dense(part: Part) -> bool:
    return part.role == "feedforward" and not _shared(part) and not part.name.startswith("latent_")


_UP, _DOWN = r"(gate|up|gate_up|w1|w3|fc1)(_proj)?\b", r"(down|w2|fc2)(_proj)?\b"
# the first row whose pattern is found decides; order matters (shared experts before experts, experts before mlp)
_RULES: tuple[tuple[re.Pattern[str], Test], ...] = tuple(
    (re.compile(pattern), test)
    for pattern, test in (
        (r"norm|conv1d|bias|scale|A_log|expert_gate", _nothing),
        (r"embed|wte", _role("embedding")),
        (r"lm_head|^head\b|output_layer|shared_head", _role("head")),
        (r"shared_expert.*" + _DOWN, _named("shared_down")),
        (r"shared_expert.*" + _UP, lambda p: _shared(p) and p.name != "shared_down"),
        (r"shared_expert", _shared),
        (r"experts.*" + _DOWN, _named("expert_down")),
        (r"experts.*" + _UP, _named("expert_up")),
        (r"experts", _role("experts")),
        (r"fc1_latent", _named("latent_down")),
        (r"fc2_latent", _named("latent_up")),
        (r"(^|\.)(gate|router)(\.|$|\*)", _role("router")),
        (r"indexers_proj|weights_proj", _nothing),  # one number a head
        (r"indexer.*\bwq", _named("indexer_query")),
        (r"indexer.*\bwk", _named("indexer_key")),
        (r"indexer", lambda p: p.name.startswith("indexer_")),
        (r"compressor", _named("compressor")),
        (r"kv_b_proj", _named("kv_up")),
        (r"\bw?q_b(_proj)?\b", _named("q_up")),
        (r"q_a_proj|kv_a_proj|\bwq_a\b|\bwkv\b", _named("qkv_down")),
        (r"\bwo_a\b", _named("attention_out_down")),
        (r"in_proj_(a|b|ba)\b", _nothing),  # two numbers a head
        (r"in_proj", _named("state_in")),
        (r"out_proj|o_proj|\bwo(_b)?\b|attention\.dense", _named("state_out", "attention_out")),
        (r"\bq_proj|\bqkv|query_key_value", _named("qkv", "qkv_down")),
        (r"\b[kv]_proj", _nothing),  # the smaller ones of a matrix that the query's name stands for
        (r"attn|attention", _role("attention")),
        (r"\b" + _DOWN, lambda p: _dense(p) and p.name == "down"),
        (r"\b" + _UP, lambda p: _dense(p) and p.name != "down"),
        (r"mlp|ffn|feed_?forward|moe", _role("feedforward", "experts", "router")),
        (r"mixer", lambda p: p.layer >= 0),
    )
)
# encoders of images and sound and multi-token-prediction layers are not among the parts
_OUTSIDE = re.compile(r"vis(ual|ion)|mm_proj|multi_modal|audio|(^|\.)mtp\b")
_LAYER = re.compile(r"(?:layers|blocks|\bh)\.(\d+)(\*?)(.*)$")


def _clean(name: str) -> str:
    """A name without the marks of regular expressions."""
    if not name.startswith("re:"):
        return name
    text = name[3:].replace("\\.", ".").replace(".*", "*").strip("^$")
    if "(" in text:  # mlp.(gate|up|gate_up|down)_proj means all of the block's matrices
        text = re.sub(r"\.?\([^()]*\)\w*", "", text)
    return text


def selector(name: str) -> tuple[str, bool, Test]:
    """What a module name or pattern means: digits its layer starts with, whether it may go on, and a test of parts."""
    text = _clean(name)
    digits, open_ended, rest = "", True, text
    if _OUTSIDE.search(text):
        return digits, open_ended, _nothing
    inside = _LAYER.search(text)
    if inside:
        digits, open_ended, rest = inside[1], bool(inside[2]), inside[3]
        if not rest.strip(".*"):
            return digits, open_ended, lambda part: part.layer >= 0
    test = next((test for pattern, test in _RULES if pattern.search(rest)), _nothing)
    if name.startswith("re:") and "(" in name and re.search("gate|up|down", name) and "experts" not in name:
        test = _dense
    return digits, open_ended, test


def understood(name: str) -> bool:
    """Whether a name that selects no part is known to mean something else, such as a norm or another model's part."""
    text = _clean(name)
    return bool(_OUTSIDE.search(text) or _LAYER.search(text) or any(pattern.search(text) for pattern, _ in _RULES))


def select(names: Iterable[str], parts: Sequence[Part]) -> list[tuple[str, list[Part]]]:
    """The parts that each name means."""
    by_layer: dict[int, list[Part]] = {}
    for part in parts:
        by_layer.setdefault(part.layer, []).append(part)
    found = []
    for name in names:
        digits, open_ended, test = selector(name)
        if not digits:
            pool: Sequence[Part] = parts
        elif open_ended:
            pool = [p for number, group in by_layer.items() if str(number).startswith(digits) for p in group]
        else:
            pool = by_layer.get(int(digits), []) if len(digits) < 9 else []
        found.append((name, [part for part in pool if test(part)]))
    return found
