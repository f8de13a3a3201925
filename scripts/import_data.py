"""Turn a folder of collected data into the files of the catalog: models and traces (rents: import_money.py).

Usage (a development tool, never run by the package)::

    python scripts/import_data.py SHARED_DIR      # writes src/pertoken/catalog/{models,traces}
    python scripts/import_data.py --check         # reads the catalog back and checks it

The same folder gives the same bytes. Of a model that is already in the catalog, only what comes from the folder
(``[source]``, ``[config]``, ``[quant]``) is written anew; what a person found out (names, aliases, date, published
counts) is kept, and so are models the folder does not have.
"""

from __future__ import annotations

import argparse
import csv
import datetime as dt
import fnmatch
import gzip
import io
import json
import math
import re
import sys
import tomllib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pertoken.serving.prefixes import ranges

CATALOG = Path(__file__).resolve().parent.parent / "src" / "pertoken" / "catalog"
READ = dt.date(2026, 11, 22)  # the day the folder was collected
WHEEL = "as bundled in the PyPI wheel aiconfigurator-core 0.12.0"
WIDTH = 118

# keys of a config.json that change neither shape nor precision
_DROPPED = """
    _name_or_path auto_map .*dropout(_prob)? .*_token_id video_placeholder ignore_index initializer_range
    output_router_logits partial_rotary_factor pretraining_tp rope_.* compress_rope_theta rotary_dim
    initial_context_length router_aux_loss_coef router_jitter_noise aux_loss_alpha seq_aux swiglu_limit time_step_.*
    transformers_version use_cache num_logits_to_keep rescale_prenorm_residual residual_in_fp32 rms_norm_eps norm_eps
    layer_norm_eps(ilon)? hc_eps hc_sinkhorn_iters use_mamba_kernels routed_scaling_factor norm_topk_prob
    indexer_rope_interleave use_unified_vision_chunk add_cross_attention bad_words_ids begin_suppress_tokens
    chunk_size_feed_forward cross_attention_hidden_size do_sample diversity_penalty early_stopping
    encoder_no_repeat_ngram_size exponential_decay_length_penalty finetuning_task is_decoder id2label label2id
    length_penalty max_length min_length no_repeat_ngram_size num_beam_groups num_beams num_return_sequences
    output_attentions output_hidden_states output_scores prefix problem_type pruned_heads remove_invalid_values
    repetition_penalty return_dict(_in_generate)? suppress_tokens task_specific_params temperature tf_legacy_loss
    tie_encoder_decoder tokenizer_class top_k top_p torchscript typical_p use_bfloat16
"""
DROPPED = re.compile("|".join(_DROPPED.split()))
FAMILIES = (
    "llama", "qwen", "mistral", "deepseek", "kimi", "glm", "gpt-oss", "minimax", "nemotron", "gemma", "phi", "yi",
    "bloom", "gptj", "opt", "falcon", "decilm", "mimo",
)  # fmt: skip
FAMILY_WORDS = {"mixtral": "mistral", "ministral": "mistral", "gpt-j": "gptj"}
ACCELERATORS = {
    "H100-SXM": "h100-sxm", "H100-PCIe": "h100-pcie", "H100-NVL": "h100-nvl", "H200": "h200-sxm", "B200": "b200-sxm",
    "B300": "b300-sxm", "A100-80GB-SXM": "a100-sxm-80gb", "A100-80GB-PCIe": "a100-pcie-80gb",
    "A100-40GB": "a100-sxm-40gb", "L40S": "l40s", "L4": "l4", "A10": "a10", "MI300X": "mi300x",
    "RTX-PRO-6000": "rtx-pro-6000", "RTX-5090": "rtx-5090", "RTX-4090": "rtx-4090", "RTX-3090": "rtx-3090",
}  # fmt: skip
RENT = ("accelerator", "provider", "segment", "region", "pricing", "median", "min", "max", "from", "checked", "source",
        "instance", "note")  # fmt: skip


# --- TOML, written the same way every time ---


def inline(value: Any) -> str:
    """A value on one line."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dt.date):
        return value.isoformat()
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return repr(value) if math.isfinite(value) else ("-inf" if value < 0 else "inf")
    if isinstance(value, list):
        return "[" + ", ".join(inline(v) for v in value) + "]"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{bare(k)} = {inline(v)}" for k, v in value.items()) + "}"
    raise TypeError(f"no TOML form for {value!r}")


def bare(key: str) -> str:
    """A key, quoted only where it must be."""
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else json.dumps(key, ensure_ascii=False)


def assignment(key: str, value: Any) -> str:
    """``key = value``; a list too long for a line is wrapped."""
    line = f"{bare(key)} = {inline(value)}"
    if len(line) <= WIDTH or not isinstance(value, list):
        return line
    lines, current = [f"{bare(key)} = ["], ""
    for item in value:
        piece = inline(item) + ","
        if current and len(current) + len(piece) + 1 > WIDTH - 4:
            lines.append("    " + current)
            current = ""
        current = f"{current} {piece}" if current else piece
    return "\n".join([*lines, "    " + current, "]"])


def toml(table: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[str]:
    """Lines of a table: plain values first, then its subtables."""
    if path:
        yield ""
        yield "[" + ".".join(bare(p) for p in path) + "]"
    tables = {
        k: v for k, v in table.items() if isinstance(v, Mapping) and (not path or len(inline(v)) + len(k) > WIDTH - 5)
    }
    for key, value in table.items():
        if key not in tables:
            yield assignment(key, value)
    for key, value in tables.items():
        yield from toml(value, (*path, key))


# --- models ---


def pruned(config: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a config.json that shapes and precision need; TOML has no null, so a null key is left out."""
    kept: dict[str, Any] = {}
    for key, value in config.items():
        if key == "vision_config":  # only that there is one, and of which kind
            kept[key] = {"model_type": value.get("model_type", "")}
        elif value is not None and not DROPPED.fullmatch(key):
            kept[key] = pruned(value) if key == "text_config" else without_null(value)
    return kept


def without_null(value: Any) -> Any:
    """The same value without null entries in mappings."""
    if isinstance(value, Mapping):
        return {k: without_null(v) for k, v in value.items() if v is not None}
    return [without_null(v) for v in value] if isinstance(value, list) else value


def layer_kinds(config: Mapping[str, Any], mtp: bool) -> dict[str, set[int]]:
    """Layers by what they hold, as far as module names tell; ``mtp``: those of MTP are numbered after them."""
    text = config.get("text_config", config)
    count = int(text.get("num_hidden_layers") or len(text.get("layers_block_type", ())) or 1)
    extra = int(text.get("num_nextn_predict_layers") or 0) if mtp else 0
    every = set(range(count + extra))
    kinds = {"any": every, "moe": every - set(range(int(text.get("first_k_dense_replace") or 0)))}
    letters = {"M": "mamba", "*": "attention", "E": "moe", "-": "mlp"}
    blocks = text.get("layers_block_type") or [letters[c] for c in text.get("hybrid_override_pattern") or ""]
    if blocks:
        kinds = {"any": set(range(count)), "moe": set()}
    for index, kind in enumerate(blocks or text.get("layer_types") or ()):
        kinds.setdefault(kind, set()).add(index)
    if types := text.get("indexer_types"):
        kinds["indexer"] = {i for i, kind in enumerate(types) if kind == "full"} | set(range(count, count + extra))
    return kinds


def holders(suffix: str, kinds: Mapping[str, set[int]]) -> set[int]:
    """Layers that have the module called ``suffix``."""
    if "mixer" in suffix:
        part = suffix.split(".")[2]
        mamba = part in ("in_proj", "out_proj", "conv1d")
        kind = "mamba" if mamba else "attention" if part.endswith("_proj") else "moe"
        return kinds.get(kind, kinds["any"])
    words = "linear_attn linear_attention, indexer indexer, mlp.gate_ any, mlp.gate moe, expert moe"
    for word, kind in map(str.split, words.split(",")):
        if word in suffix and kind in kinds:
            return kinds[kind]
    if "self_attn" in suffix and "linear_attention" in kinds:
        return kinds["full_attention"]
    return kinds["any"]


NUMBERS = re.compile(r"(?<=layers\.)\d+|(?<=experts\.)\d+(?=\.)")


def folded(names: Iterable[str], config: Mapping[str, Any]) -> list[str]:
    """Module names with a layer's (and an expert's) number replaced by ``*`` where that names no further module."""
    text = config.get("text_config", config)
    experts = int(text.get("n_routed_experts") or text.get("num_experts") or 0)
    original = list(dict.fromkeys(names))
    kinds = layer_kinds(config, mtp=any(n.startswith("model.layers.") for n in original))
    found: dict[str, set[tuple[int, ...]]] = defaultdict(set)
    for name in original:
        found[NUMBERS.sub("*", name)].add(tuple(int(n) for n in NUMBERS.findall(name)))
    wild = [n for n in original if "*" in n]
    safe = set()
    for pattern, listed in found.items():
        match = re.fullmatch(r"(.*?(?:model|backbone)\.|)layers\.\*(\..+)", pattern)
        if match is None or "mtp" in pattern or len(listed) < 3:
            continue
        suffix = match[2]
        wanted: set[tuple[int, ...]] = {(i,) for i in holders(suffix, kinds)}
        if "experts.*." in suffix:
            wanted = {(*i, e) for i in wanted for e in range(experts)}
        # a layer that is not listed may still be named as a whole
        spelt = (pattern.replace("layers.*", f"layers.{m[0]}", 1).rstrip("*") for m in wanted - listed)
        if all(any(fnmatch.fnmatchcase(s, w) for w in wild) for s in spelt):
            safe.add(pattern)
    star = (NUMBERS.sub("*", n) for n in original)
    return list(dict.fromkeys(s if s in safe else n for s, n in zip(star, original, strict=True)))


def shortened(quant: Any, config: Mapping[str, Any]) -> Any:
    """A quantisation table with its long lists of modules folded, meaning kept."""
    if isinstance(quant, list) and len(quant) > 8 and all(isinstance(v, str) for v in quant):
        return folded(quant, config)
    if not isinstance(quant, Mapping):
        return quant
    if len(quant) > 8 and all(isinstance(v, Mapping) for v in quant.values()):
        by_value: dict[str, list[str]] = defaultdict(list)
        for name, value in quant.items():
            by_value[json.dumps(value, sort_keys=True)].append(name)
        return {n: json.loads(v) for v, names in by_value.items() for n in folded(names, config)}
    return {k: shortened(v, config) for k, v in quant.items()}


def short_name(repo: str) -> str:
    """The field's usual name: no vendor, no 'instruct'; a quantised variant keeps its suffix."""
    name = repo.rsplit("/", maxsplit=1)[-1].lower().replace("_", ".")
    return re.sub(r"^(meta|nvidia)-|-instruct|-base(-8k)?$|-bf16$|-v0\.1$|-17b-\d+e|-v1$", "", name)


def family(name: str) -> str:
    """The family a name belongs to."""
    if "nemotron" in name:
        return "nemotron"
    words = {**FAMILY_WORDS, **{f: f for f in FAMILIES}}
    return next((words[w] for w in words if w in name), "")


def head(repo: str) -> dict[str, Any]:
    """What stands above the tables of a model new to the catalog."""
    name, last = short_name(repo), repo.rsplit("/", maxsplit=1)[-1]
    aliases = [repo.lower(), last.lower(), *([f"{name}-instruct"] if "instruct" in last.lower() else [])]
    return {
        "name": name,
        "aliases": sorted({a for a in aliases if a != name}),
        "title": re.sub(r"^(Meta|NVIDIA) ", "", last.replace("-", " ").replace("_", ".")),
        "family": family(name),
    }


def import_models(folder: Path, target: Path) -> int:
    """One TOML per config.json."""
    kept = {t["source"]["url"]: t for t in (tomllib.loads(p.read_text("utf-8")) for p in sorted(target.glob("*.toml")))}
    paths = [p for p in sorted(folder.glob("*.json")) if ".hf_quant_config" not in p.name]
    for path in paths:
        repo = path.stem.replace("--", "/")
        url = f"https://huggingface.co/{repo}/blob/main/config.json"
        old = kept.get(url)
        table = {k: v for k, v in old.items() if k not in ("config", "quant")} if old else head(repo)
        licence = {"licence": old["source"]["licence"]} if old and "licence" in old["source"] else {}
        table["source"] = {"title": f"config.json of {repo}, {WHEEL}", "url": url, **licence, "read": READ}
        config = pruned(json.loads(path.read_text("utf-8")))
        for part in (config, config.get("text_config", {})):
            if "quantization_config" in part:
                part["quantization_config"] = shortened(part["quantization_config"], config)
        table["config"] = config
        beside = path.with_name(f"{path.stem}.hf_quant_config.json")
        if beside.exists():
            table["quant"] = shortened(without_null(json.loads(beside.read_text("utf-8"))["quantization"]), config)
        write(target / f"{table['name']}.toml", "\n".join(toml(table)) + "\n")
    return len(paths)


# --- traces ---


def import_trace(source: Path, target: Path) -> int:
    """Arrival [s from the first], input and output [token] of every request, as a gzipped CSV."""
    rows = list(csv.DictReader(source.read_text("utf-8").splitlines()))
    stamps = [dt.datetime.fromisoformat(r["TIMESTAMP"][:26]) for r in rows]
    order = sorted(range(len(rows)), key=lambda i: stamps[i])
    out = io.StringIO()
    out.write("arrival_s,input,output\n")
    for i in order:
        arrival = (stamps[i] - stamps[order[0]]).total_seconds()
        out.write(f"{arrival:.3f},{int(rows[i]['ContextTokens'])},{int(rows[i]['GeneratedTokens'])}\n")
    write(target, gzip.compress(out.getvalue().encode(), 9, mtime=0))
    return len(rows)


def import_blocks(source: Path, target: Path) -> int:
    """Arrival [s from the first], input and output [token] and hashes of blocks of 512 tokens, as a gzipped CSV."""
    rows = sorted(map(json.loads, source.read_text("utf-8").splitlines()), key=lambda row: row["timestamp"])
    out = io.StringIO()
    out.write("arrival_s,input,output,blocks\n")
    for row in rows:
        arrival = (row["timestamp"] - rows[0]["timestamp"]) / 1000
        out.write(f"{arrival:.3f},{row['input_length']},{row['output_length']},{ranges(row['hash_ids'])}\n")
    write(target, gzip.compress(out.getvalue().encode(), 9, mtime=0))
    return len(rows)


def doubts(row: Mapping[str, str]) -> str:
    """What a reader should know before trusting one rent."""
    found = []
    if "EUR conv" in row["instance"]:
        found.append("converted from EUR by the source at a rate it does not state")
    if row["gpu"] == "MI300X" and float(row["usd_per_gpu_hour_median"]) < 1:
        found.append("a quarter to a twelfth of every other MI300X offer: perhaps stale or a placeholder")
    if row["instance"].startswith("median-offer"):
        found.append("median of the marketplace's offers, their number in brackets")
    if row["gpu"] == "A100-40GB" and row["instance"].startswith("median-offer"):
        found.append("SXM or PCIe not stated")
    if row["instance"].endswith(" WS"):
        found.append("workstation edition")
    if float(row["usd_per_gpu_hour_max"]) > 1.5 * float(row["usd_per_gpu_hour_min"]):
        found.append("wide range within one offer; the source does not say over what")
    return "; ".join(found)


def write(path: Path, content: str | bytes) -> None:
    """Write a file, its folder too."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


# --- reading it back ---


def faults(path: Path, table: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with one model file."""
    if table.get("name") != path.stem:
        yield "its name is not the file's"
    for key in ("title", "family", "aliases", "source", "config"):
        if not table.get(key):
            yield f"it has no {key}"
    if table.get("family") not in FAMILIES:
        yield f"family {table.get('family')!r} is none of {', '.join(FAMILIES)}"
    if any(a != a.lower().strip() for a in table.get("aliases", ())):
        yield "an alias is not lower case"
    for part in ("source", "published"):
        if part in table and not str(table[part].get("url", "")).startswith("https://"):
            yield f"[{part}] has no url"
    if not isinstance(table.get("source", {}).get("read"), dt.date):
        yield "[source] does not say when it was read"
    if not {"architectures", "model_type"} & set(table.get("config", {})):
        yield "[config] names no architecture"


def check(catalog: Path) -> list[str]:
    """Every fault of the catalog's models and rents, as sentences."""
    found, owner, size = [], dict[str, str](), 0
    paths = sorted((catalog / "models").glob("*.toml"))
    for path in paths:
        size += path.stat().st_size
        table = tomllib.loads(path.read_text("utf-8"))
        found += [f"{path.name}: {fault}" for fault in faults(path, table)]
        for alias in (table["name"], *table["aliases"]):
            if alias in owner:
                found.append(f"{path.name}: {alias!r} also belongs to {owner[alias]}")
            owner[alias] = path.stem
    known = {p.stem for p in (catalog / "accelerators").glob("*.toml")}
    rented = csv.DictReader((catalog / "rates" / "rents.csv").read_text("utf-8").splitlines())
    found += [f"rents.csv: no accelerator {name!r}" for name in sorted({r["accelerator"] for r in rented} - known)]
    if len(paths) < 60 or size > 1.5e6:
        found.append(f"{len(paths)} models in {size} bytes; there should be at least 60 in at most 1.5e6")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", help="folder of collected data")
    parser.add_argument("--check", action="store_true", help="check the catalog's models")
    chosen = parser.parse_args()
    if chosen.folder:
        traces, mooncake = (chosen.folder / "traces" / name for name in ("azure_2023", "mooncake"))
        counts = {
            "models": import_models(chosen.folder / "model_configs", CATALOG / "models"),
            "conversation": import_trace(traces / "AzureLLMInferenceTrace_conv.csv",
                                         CATALOG / "traces" / "azure-2023-conversation.csv.gz"),
            "code": import_trace(traces / "AzureLLMInferenceTrace_code.csv",
                                 CATALOG / "traces" / "azure-2023-code.csv.gz"),
            "Mooncake conversation": import_blocks(mooncake / "conversation_trace.jsonl",
                                                   CATALOG / "traces" / "mooncake-conversation.csv.gz"),
            "Mooncake synthetic": import_blocks(mooncake / "synthetic_trace.jsonl",
                                                CATALOG / "traces" / "mooncake-synthetic.csv.gz"),
        }  # fmt: skip
        print(", ".join(f"{n} {what}" for what, n in counts.items()), file=sys.stderr)
    found = check(CATALOG) if chosen.check else []
    print("\n".join(found), end="\n" if found else "", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
