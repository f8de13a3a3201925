"""Write catalog/market/hosts.toml: which offers of the packaged price list serve which open weights, by exact model id.

Usage (a development tool, never run by the package)::

    python scripts/import_offers.py

An id counts when, its owner and punctuation left out, it is a catalog model's name with nothing more than words that name the
same weights (instruct, turbo, fp8, a version of the service). Dates and words of other weights (distill, vision, flash) do not.
The difference in version control is the review: an id that is there by accident goes into ``EXCEPT``.
"""

from __future__ import annotations

import datetime as dt
import re
import sys
from pathlib import Path

import genai_prices
from genai_prices import data

CATALOG = Path(__file__).resolve().parent.parent / "src" / "pertoken" / "catalog"
READ = dt.date(2026, 11, 25)
# words behind a name that leave the weights what they are: tuning stage, format, speed, version of the service
SAME = re.compile(
    r"(instruct|chat|hf|it|turbo|lite|basic|fp8|bf16|fp16|awq|int4|nvfp4|fast|highspeed|versatile|instant|specdec|us|maas|"
    r"17b|16e|128e|8192|4096|32768|v10|v1|0)*"
)
OWNERS = re.compile(r"^(meta|openai|qwen|deepseek|mistral|google|nvidia|minimax|moonshot|zai)\.")
QUANTISED = re.compile(r"-(fp8|nvfp4|fp8-static-pertensor)$")
# other spellings of names, and weights that a catalog entry stands for besides those of its own name
SPELLED = {
    "deepseek-v3": ("deepseek_v3", "deepseek-v3-0324"), "deepseek-r1": ("deepseek-r1-0528",),
    "deepseek-v3.1": ("deepseek-chat-v3.1",), "qwen3-235b-a22b-2507": ("qwen3-235b-a22b-instruct-2507",),
    "qwen3-30b-a3b-2507": ("qwen3-30b-a3b-instruct-2507",), "qwen3-4b-2507": ("qwen3-4b-instruct-2507",),
    "llama-3-8b": ("meta-llama-3-8b",), "llama-3-70b": ("meta-llama-3-70b",), "llama-3.1-8b": ("meta-llama-3.1-8b",),
    "llama-3.1-70b": ("meta-llama-3.1-70b",), "llama-3.1-405b": ("meta-llama-3.1-405b",),
    "llama-3.3-70b": ("meta-llama-3.3-70b",), "deepseek-v3.2": ("deepseek-v3p2",), "glm-5.1": ("glm-5p1",),
    "glm-5.2": ("glm-5p2",), "glm-5.3": ("glm-5p3",), "kimi-k2.5": ("kimi-k2p5",), "llama-4-maverick": ("llama4-maverick",),
    "minimax-m2.5": ("minimax-m2p5",), "minimax-m2.7": ("minimax-m2p7",), "mistral-7b-v0.3": ("mistral-7b-instruct-v0.3",),
    "phi-3-mini": ("phi-3-mini-128k-instruct",), "phi-3-medium": ("phi-3-medium-128k-instruct",),
    "phi-3.5-mini": ("phi-3.5-mini-128k-instruct",), "mistral-small-24b": ("mistral-small-24b-instruct-2501",),
    "mixtral-8x7b": ("mixtral-8x7b-instruct-v0.1", "mixtral-8x7b-instruct-v0:1"),
    "mixtral-8x22b": ("mixtral-8x22b-instruct-v0.1",),
}  # fmt: skip
EXCEPT = {"mistral/mistral-7b", "novita/mistralai/mistral-7b-instruct", "openrouter/mistralai/mistral-7b-instruct",
          "openrouter/mistral-7b-instruct",  # which of three versions is not said
          "openrouter/z-ai/glm-5-turbo", "zhipuai/GLM-5-Turbo"}  # fmt: skip  # a model of its own


def plain(text: str) -> str:
    """Letters and digits alone."""
    return re.sub(r"[^a-z0-9]", "", text)


def bare(model_id: str) -> str:
    """An id without its owner and without an end that only counts versions of a service."""
    found = OWNERS.sub("", model_id.lower().split("/")[-1])
    return re.sub(r"-v1:0$|-1:0$|:0$", "", found)


def weights() -> dict[str, list[str]]:
    """Catalog models by the weights they are: quantised copies under the name of the original."""
    names = sorted(path.stem for path in (CATALOG / "models").glob("*.toml"))
    found: dict[str, list[str]] = {}
    for name in names:
        base = QUANTISED.sub("", name)
        found.setdefault(base if base in names else name, []).append(name)
    return found


def serving(names: list[str]) -> list[str]:
    """Offers of the price list that serve the weights of these names."""
    keys = {plain(s) for name in names for s in (name, *SPELLED.get(name, ()))}
    found = []
    for provider in data.providers:
        for model in provider.models:
            text, full = bare(model.id), f"{provider.id}/{model.id}"
            tails = [plain(text)[len(key):] for key in keys if plain(text).startswith(key)]  # fmt: skip
            free = any(end in model.id for end in (":free", ":batch", ":extended", "~"))
            if full not in EXCEPT and not free and any(SAME.fullmatch(tail) for tail in tails):
                found.append(full)
    return sorted(found)


def main() -> int:
    lines = [
        "# Offers by the open weights they serve: PROVIDER/MODEL of the price list, exact ids (scripts/import_offers.py).",
        "",
        "[source]",
        f'title = "genai-prices {genai_prices.__version__} (MIT)"',
        'url = "https://github.com/pydantic/genai-prices"',
        f"read = {READ}",
    ]
    for name, models in weights().items():
        if offers := serving([name]):
            lines += ["", f'[weights."{name}"]', f"models = {models}".replace("'", '"'), "offers = ["]
            lines += [*(f'    "{offer}",' for offer in offers), "]"]
    target = CATALOG / "market" / "hosts.toml"
    target.parent.mkdir(exist_ok=True)
    target.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
