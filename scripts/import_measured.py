"""Compress the measured rows whose licences let them ship into the catalog.

Usage (a development tool, never run by the package)::

    python scripts/import_measured.py SHARED_DIR      # writes src/pertoken/catalog/measured/*.csv.gz

The same folder gives the same bytes; no row is changed.
"""

import csv
import gzip
import io
import sys
from pathlib import Path

INTO = Path(__file__).resolve().parent.parent / "src" / "pertoken" / "catalog" / "measured"
NAMES = (
    "aiconfigurator_silicon_sample",
    "trtllm_perf_overview",
    "llm_inference_bench_argonne",
    "accelmark",
    "splitwise_perf_model",
)


def main(folder: Path) -> None:
    """Write every file, and say how many rows it has."""
    for name in NAMES:
        content = (folder / "measured" / f"{name}.csv").read_bytes()
        packed = io.BytesIO()
        with gzip.GzipFile(fileobj=packed, mode="wb", mtime=0, compresslevel=9, filename="") as file:
            file.write(content)
        target = INTO / f"{name.replace('_', '-')}.csv.gz"
        target.write_bytes(packed.getvalue())
        rows = sum(1 for _ in csv.DictReader(io.StringIO(content.decode("utf-8"))))
        print(f"{target.name}: {rows:,} rows", file=sys.stderr)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
