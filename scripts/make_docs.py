"""Rewrite the examples in README.md and docs: what stands under each ``$ pertoken`` line becomes what the command prints.

Also writes docs/knobs.md from the table of knobs, and the errors in docs/validation.md and docs/energy.md from measured rows.
``tests/test_docs.py`` checks that the examples and the knobs have not drifted; the errors have ceilings of their own.
"""

import contextlib
import io
import re
import runpy
import shlex
import statistics
import sys
from pathlib import Path

from pertoken.catalog import files
from pertoken.knobs import KNOBS

ROOT = Path(__file__).parent.parent
BLOCK = re.compile(r"```console\n\$ (?P<command>(?:pertoken|python benchmarks/)[^\n]*)\n(?P<output>.*?)```", re.DOTALL)
COUNTERFACTUALS = re.compile(r"(<!-- counterfactuals -->\n).*?(<!-- end of counterfactuals -->)", re.DOTALL)
TABLE = re.compile(r"(<!-- errors -->\n).*?(<!-- end of errors -->)", re.DOTALL)
CROSS = re.compile(r"(<!-- cross -->\n).*?(<!-- end of cross -->)", re.DOTALL)
ENERGY = re.compile(r"(<!-- energy -->\n).*?(<!-- end of energy -->)", re.DOTALL)
PAGES = ("README.md", *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md"))))


def run(command: str) -> str:
    """What a command prints on stdout."""
    from pertoken.cli.main import cli

    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        if command.startswith("python"):
            runpy.run_path(str(ROOT / command.split()[1]), run_name="__main__")
            return out.getvalue()
        cli.main(shlex.split(command)[1:], prog_name="pertoken", standalone_mode=False)
    return out.getvalue()


def renewed(page: str) -> str:
    """A page with all its examples run again, and its tables of counterfactuals and of cross-validation."""
    page = COUNTERFACTUALS.sub(lambda m: f"{m[1]}{counterfactuals()}{m[2]}", page)
    page = CROSS.sub(lambda m: f"{m[1]}{cross()}{m[2]}", page)
    return BLOCK.sub(lambda m: f"```console\n$ {m['command']}\n{run(m['command'])}```", page)


def counterfactuals() -> str:
    """A line of a table for each counterfactual."""
    from pertoken.whatif.ask import COUNTERFACTUALS as KNOWN
    from pertoken.whatif.ask import spelled

    head = "| name | what would be otherwise |\n|---|---|\n"
    return head + "".join(f"| `{spelled(c)}` | {c.sentence(c.amount or 0.0)} |\n" for c in KNOWN.values())


def cross() -> str:
    """Errors of what the fit of the engines' waits was not told: medians over cells, then the cells."""
    table = files.read_toml(files.ROOT / "measured" / "cross.toml")
    cells = table["cells"]
    kinds = {"all": (True, False), "dense": (False,), "experts": (True,)}
    lines = [
        f"Fitted {table['fitted']}. Medians over cells of the median absolute error in a cell.",
        "",
        "| left out | models | cells | TPOT | TTFT |",
        "|---|---|---:|---:|---:|",
    ]
    for out in ("accelerator", "model"):
        for kind, moe in kinds.items():
            mine = [c for c in cells if c["out"] == out and c["moe"] in moe]
            tpot, ttft = (statistics.median(c[key] for c in mine) for key in ("tpot", "ttft"))
            lines.append(f"| {out} | {kind} | {len(mine)} | {tpot:.1%} | {ttft:.1%} |")
    lines += [
        "",
        "| engine | accelerator | model | rows | bursts | TPOT, accelerator out | model out | TTFT, accelerator out | model out |",
        "|---|---|---|---:|---:|---:|---:|---:|---:|",
    ]
    keys = dict.fromkeys((c["engine"], c["accelerator"], c["model"]) for c in cells)
    for key in keys:
        found = {c["out"]: c for c in cells if (c["engine"], c["accelerator"], c["model"]) == key}
        any_one = next(iter(found.values()))
        errors = " | ".join(
            f"{found[out][metric]:.1%}" if out in found else ""
            for metric in ("tpot", "ttft")
            for out in ("accelerator", "model")
        )
        lines.append(f"| {' | '.join(key)} | {any_one['rows']} | {any_one['bursts']} | {errors} |")
    return "\n".join(lines) + "\n"


def knob_page() -> str:
    """The page of knobs."""
    lines = [
        "# Knobs",
        "",
        "One table feeds flags, scenario files (`--scenario FILE.toml`) and this page. Any of them given twice compares.",
    ]
    for group in ("model", "machine", "traffic", "money"):
        lines += [
            "",
            f"## {group.capitalize()}",
            "",
            "| flag | in a scenario | kind | unit | range | |",
            "|---|---|---|---|---|---|",
        ]
        for knob in KNOBS.values():
            if knob.group == group:
                span = (
                    f"{knob.low:g} to {knob.high:g}" if knob.kind not in ("text", "choice") else ", ".join(knob.choices)
                )
                lines.append(f"| `{knob.flag}` | `{knob.name}` | {knob.kind} | {knob.unit} | {span} | {knob.doc} |")
    return "\n".join(lines) + "\n"


def validation_page(page: str) -> str:
    """The page on measurements, its table of errors made anew."""
    from pertoken.cli.validate import validation
    from pertoken.report.validation import markdown_table, tallies

    found, _ = validation([])
    heads = ("source", "metric", "regime", "rows", "median", "p90", "bias", "in 90%", "refused")
    counts = "\n".join(f"- {line}" for line in tallies(found))
    made = f"{markdown_table(found.groups(heads[:3]), heads)}\n{counts}\n"
    return TABLE.sub(lambda m: f"{m[1]}{made}{m[2]}", page)


def energy_page(page: str) -> str:
    """The page on energy, its cross-validation made anew."""
    fitter = runpy.run_path(str(ROOT / "scripts" / "fit_energy.py"), run_name="fit_energy")
    lines = [*fitter["HEAD"], *(line for gpu in fitter["NAMES"] for line in fitter["report"](gpu)[2])]
    return ENERGY.sub(lambda m: f"{m[1]}{chr(10).join(lines)}\n{m[2]}", page)


def pages() -> dict[Path, str]:
    """What every generated page should be."""
    found = {
        ROOT / name: renewed((ROOT / name).read_text(encoding="utf-8")) for name in PAGES if name != "docs/knobs.md"
    }
    measured, energy = ROOT / "docs" / "validation.md", ROOT / "docs" / "energy.md"
    made = {measured: validation_page(found[measured]), energy: energy_page(found[energy])}
    return found | {ROOT / "docs" / "knobs.md": knob_page()} | made


if __name__ == "__main__":
    changed = [path for path, text in pages().items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")
    sys.stderr.write(f"rewrote {', '.join(path.name for path in changed) or 'nothing'}\n")
