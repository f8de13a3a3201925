"""Write catalog/rates/tiers.toml: where vendors raise their price for long requests, counted from the package genai-prices.

    python -m pip install genai-prices==0.2.3 && python scripts/import_tiers.py 2026-11-25

Counted are models that a vendor of its own models lists with a price of input and of output; a tier is the lowest length of
the prompt from which on the price of input is another.
"""

import importlib.metadata
import sys
from collections import Counter
from pathlib import Path

TARGET = Path(__file__).parent.parent / "src" / "pertoken" / "catalog" / "rates" / "tiers.toml"
VENDORS = (
    "anthropic", "arcee", "cohere", "deepseek", "google", "meta", "minimax", "mistral", "moonshotai", "openai", "perplexity",
    "x-ai", "zai", "zhipuai",
)  # fmt: skip
ROUND = {199_999: 200_000}  # written as the last token of the tier below


def counted() -> tuple[int, Counter[int], int]:
    """Models looked at, how many have a tier from each length, and how many double there."""
    from genai_prices.data_snapshot import get_snapshot
    from genai_prices.types import TieredPrices

    models, starts, doubled = 0, Counter(), 0
    for provider in get_snapshot().providers:
        for model in provider.models if provider.id in VENDORS else ():
            prices = model.prices[-1].prices if isinstance(model.prices, list) else model.prices
            price = prices.input_mtok
            if price is None or prices.output_mtok is None:
                continue
            models += 1
            if isinstance(price, TieredPrices):
                start = min(price.tiers, key=lambda tier: tier.start)
                starts[ROUND.get(start.start, start.start)] += 1
                doubled += start.price == 2 * price.base
    return models, starts, doubled


def main(read: str) -> None:
    """Write the file, read on a day."""
    models, starts, doubled = counted()
    version = importlib.metadata.version("genai-prices")
    lines = [
        "# Context tiers of vendors that price their own models, counted by scripts/import_tiers.py",
        "",
        f"vendors = [{', '.join(f'{v!r}' for v in VENDORS)}]".replace("'", '"'),
        f"models = {models}  # with a price of input and of output, deprecated ones included",
        f"doubled = {doubled}  # whose input price doubles at the lowest tier",
        "",
        "[starts]  # tokens of the prompt from which on a model is dearer, and how many models have their lowest tier there",
        *(f"{start} = {count}" for start, count in sorted(starts.items())),
        "",
        "[source]",
        f'title = "genai-prices {version} (MIT)"',
        'url = "https://github.com/pydantic/genai-prices"',
        f"read = {read}",
    ]
    TARGET.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
