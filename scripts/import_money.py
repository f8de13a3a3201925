"""Turn collected prices, grid intensities and energy measurements into the catalog's tables of money and power.

Usage (a development tool, never run by the package)::

    python scripts/import_money.py SHARED_DIR

Rents are dated and never overwritten: a row that is in the catalog stays as it is, and rows with a new date are added.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import io
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from import_data import ACCELERATORS, CATALOG, READ, RENT, doubts, write

SAME = ("accelerator", "provider", "region", "pricing", "from", "instance")  # what makes a rent the same rent
GRID = ("iso3", "country", "year", "g_co2e_per_kwh")
ENERGY = ("model_id", "weight_precision", "task", "gpu_model", "num_gpus", "expert_parallel", "data_parallel", "avg_batch_size",
          "avg_output_len", "energy_per_token_joules", "output_throughput_tokens_per_sec")  # fmt: skip
SPOT = "spot index of {date}: median over providers, not a listing of one; the source does not say how many"


def read(path: Path) -> list[dict[str, str]]:
    """Rows of a CSV; none where there is no file."""
    return list(csv.DictReader(path.read_text("utf-8").splitlines())) if path.exists() else []


def table(heads: Iterable[str], rows: Iterable[Mapping[str, str]]) -> str:
    """Rows as CSV."""
    out, heads = io.StringIO(), list(heads)
    writer = csv.DictWriter(out, heads, lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def listed(row: Mapping[str, str]) -> dict[str, str]:
    """A provider's list rent under the catalog's names."""
    name = ACCELERATORS[row["gpu"]]
    if "pcie" in row["instance"].lower():
        name = name.replace("-sxm", "-pcie")
    if "Blackwell Server" in row["instance"]:
        name += "-server"
    prices = {k: f"{float(row[f'usd_per_gpu_hour_{k}']):g}" for k in ("median", "min", "max")}
    return {"accelerator": name, "provider": row["cloud"], "segment": row["segment"], "region": row["region"],
            "pricing": row["pricing"], **prices, "from": row["date"], "checked": READ.isoformat(),
            "source": row["source"], "instance": row["instance"], "note": doubts(row)}  # fmt: skip


def spot(row: Mapping[str, str]) -> dict[str, str]:
    """The spot figure of an index; its other columns are medians of what the rents list one by one."""
    price = f"{float(row['spot']):g}"
    return {"accelerator": ACCELERATORS[row["gpu"]], "provider": "index", "segment": "spot", "region": "global",
            "pricing": "spot", "median": price, "min": price, "max": price, "from": row["date"],
            "checked": READ.isoformat(), "source": row["source"].split(";")[0], "instance": "",
            "note": SPOT.format(date=row["date"])}  # fmt: skip


def import_rents(prices: Path, target: Path) -> int:
    """Add rents [USD per accelerator-hour] that the table does not have; returns how many."""
    kept = read(target)
    known = {tuple(row[k] for k in SAME) for row in kept}
    found = [listed(row) for row in read(prices / "gpu_hour_prices.csv")]
    found += [spot(row) for row in read(prices / "gpu_hour_index.csv") if row["spot"]]
    new = [row for row in found if tuple(row[k] for k in SAME) not in known]
    write(target, table(RENT, [*kept, *new]))
    return len(new)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, help="folder of collected data")
    folder = parser.parse_args().folder
    added = import_rents(folder / "prices", CATALOG / "rates" / "rents.csv")
    grid = read(folder / "energy" / "grid_carbon.csv")
    write(CATALOG / "rates" / "grid.csv", table(GRID, grid))
    rows = read(folder / "energy" / "mlenergy.csv")
    write(CATALOG / "power" / "mlenergy.csv.gz", gzip.compress(table(ENERGY, rows).encode(), 9, mtime=0))
    print(f"{added} rents added, {len(grid)} grids, {len(rows)} energies", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
