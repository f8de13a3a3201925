"""Write tests/calibrate/ceilings.toml: today's median errors by source, metric and regime, plus 15%.

Run it when errors fell, so that they cannot rise again unnoticed; when they rose on purpose, say why in the commit.
"""

import math
import sys
from pathlib import Path

from pertoken.cli.validate import validation

TARGET = Path(__file__).resolve().parent.parent / "tests" / "calibrate" / "ceilings.toml"
SLACK = 1.15


def main() -> None:
    """Predict the shipped rows and write their ceilings."""
    found, _ = validation([])
    lines = [
        "# Highest median absolute error allowed, as a share of the measured; written by scripts/make_ceilings.py."
    ]
    for group in found.groups(("source", "metric", "regime")):
        if group.rows:
            ceiling = math.ceil(group.median_ape * SLACK * 1000) / 1000
            lines += ["", "[[ceilings]]", f'source = "{group.source}"', f'metric = "{group.metric}"']
            lines += [f'regime = "{group.regime}"', f"rows = {group.rows}", f"median = {ceiling}"]
    TARGET.write_text("\n".join(lines) + "\n", encoding="utf-8")
    sys.stderr.write(f"wrote {TARGET.name}\n")


if __name__ == "__main__":
    main()
