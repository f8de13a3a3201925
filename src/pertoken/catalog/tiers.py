"""Context tiers of vendors' prices, as counted from a dated table."""

from __future__ import annotations

from functools import cache

from pertoken.answers.base import Tiers
from pertoken.catalog import files


@cache
def load_tiers() -> Tiers:
    """Where vendors raise their price for long requests."""
    found = files.read_toml(files.ROOT / "rates" / "tiers.toml")
    starts = {int(start): int(count) for start, count in found["starts"].items()}
    source = found["source"]
    return Tiers(starts, int(found["models"]), int(found["doubled"]), f"{source['title']}, read {source['read']}")
