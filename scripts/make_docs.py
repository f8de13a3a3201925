"""Rewrite the examples in README.md and docs: what stands under each ``$ pertoken`` line becomes what the command prints.

Also writes the answers in docs/answers.md, docs/knobs.md from the table of knobs, and the errors in docs/validation.md and
docs/energy.md from measured rows. ``tests/test_docs.py`` checks that examples, answers and knobs have not drifted; the errors
have ceilings of their own.
"""

import contextlib
import io
import math
import re
import runpy
import shlex
import statistics
import sys
import textwrap
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from pertoken.calibrate.validate import Validation
from pertoken.catalog import files
from pertoken.knobs import KNOBS

ROOT = Path(__file__).parent.parent
BLOCK = re.compile(r"```console\n\$ (?P<command>(?:pertoken|python benchmarks/)[^\n]*)\n(?P<output>.*?)```", re.DOTALL)
COUNTERFACTUALS = re.compile(r"(<!-- counterfactuals -->\n).*?(<!-- end of counterfactuals -->)", re.DOTALL)
TABLE = re.compile(r"(<!-- errors -->\n).*?(<!-- end of errors -->)", re.DOTALL)
CROSS = re.compile(r"(<!-- cross -->\n).*?(<!-- end of cross -->)", re.DOTALL)
ENERGY = re.compile(r"(<!-- energy -->\n).*?(<!-- end of energy -->)", re.DOTALL)
ANSWERS = re.compile(r"(<!-- answers -->\n).*?(<!-- end of answers -->)", re.DOTALL)
TRAFFIC = re.compile(r"(<!-- traffic -->\n).*?(<!-- end of traffic -->)", re.DOTALL)
KERNELS = re.compile(r"(<!-- kernels -->\n).*?(<!-- end of kernels -->)", re.DOTALL)
SPREADS = re.compile(r"(<!-- spreads -->\n).*?(<!-- end of spreads -->)", re.DOTALL)
POSITIONS = re.compile(r"(<!-- positions -->\n).*?(<!-- end of positions -->)", re.DOTALL)
# model, machine and format of the weights, as far as its checkpoint has another
LONG = (
    ("llama-3.1-8b", "1xh100-sxm", None), ("llama-3.1-8b", "1xh100-sxm", "fp8"), ("llama-3.1-70b", "8xh100-sxm", None),
    ("llama-3.1-70b", "8xh100-sxm", "fp8"), ("qwen3-235b-a22b-fp8", "8xh100-sxm", None), ("deepseek-v3", "8xh200-sxm", None),
    ("gpt-oss-120b", "2xh100-sxm", None), ("gemma-3-27b", "2xh100-sxm", None), ("qwen3.5-35b-a3b", "2xh100-sxm", None),
    ("nemotron-h-56b", "4xh100-sxm", None),
)  # fmt: skip
# a model that takes the longest prompts of all traces
TARIFFS = {"model": "qwen3.5-35b-a3b", "on": "2xh100-sxm"}
TRACES = {
    "chat": "azure-2023-conversation", "chat with long prompts": "mooncake-conversation", "code": "azure-2023-code",
    "the shape of agents": "mooncake-synthetic",
}  # fmt: skip
# accelerators whose efficiencies docs/calibration.md shows, and the engines' factors that differ most
MEASURED = {"A100": "a100-sxm-80gb", "H100": "h100-sxm", "H200": "h200-sxm", "B200": "b200-sxm", "L40S": "l40s"}
FACTORS = (
    ("decode.fp8", "memory"), ("prefill.bf16", "compute"), ("prefill.fp8", "compute"), ("matmul.fp8", "compute"),
    ("matmul.nvfp4", "launch"), ("experts.fp8_block", "compute"), ("experts.fp8_block", "launch"),
    ("experts.fp8_block", "memory"), ("collective.all_reduce", "launch"),
)  # fmt: skip
OPERATIONS = (
    "matmul.bf16", "matmul.fp8", "matmul.fp8_block", "matmul.nvfp4", "experts.bf16", "experts.fp8_block", "prefill.bf16",
    "decode.bf16", "decode.fp8", "latent_decode.bf16", "collective.all_reduce",
)  # fmt: skip
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
    """A page with all its examples run again, and its tables and answers made anew."""
    for region, made in (
        (COUNTERFACTUALS, counterfactuals),
        (ANSWERS, answers),
        (POSITIONS, positions),
        (TRAFFIC, traffic),
        (CROSS, cross),
        (KERNELS, kernels),
        (SPREADS, spreads),
    ):
        page = region.sub(lambda m, made=made: f"{m[1]}{made()}{m[2]}", page)
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
        "| engine | accelerator | model | rows | bursts | TPOT, accelerator out | model out | TTFT, accelerator | model |",
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


@cache
def efficiency(name: str) -> dict[str, Any]:
    """What ships of one accelerator's kernels."""
    return files.read_toml(files.ROOT / "efficiency" / f"{name}.toml")


def kernels() -> str:
    """Factors of engines on their kernels, a line an operation and what binds it; 1 where the pooled fit holds."""
    shown = [MEASURED[gpu] for gpu in ("H100", "H200", "B200")]
    lines = ["| kernel | what | vLLM (H100 / H200 / B200) | SGLang | TensorRT-LLM |", "|---|---|---|---|---|"]
    for name, what in FACTORS:
        group, key = name.split(".")
        cells = []
        for engine in ("vllm", "sglang", "trtllm"):
            found = [efficiency(gpu) for gpu in shown]
            values = [t["engines"].get(engine, {}).get(name, {}).get(what, 1.0) for t in found]
            cells.append(" / ".join(f"{v:.2f}" if key in t[group] else "-" for v, t in zip(values, found, strict=True)))
        lines.append(f"| {name.replace('.', ', ')} | {what} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def spreads() -> str:
    """Between which shares of the fit 90% of measured rows lie, by operation and accelerator."""
    lines = [f"| operation | {' | '.join(MEASURED)} |", f"|---|{'---:|' * len(MEASURED)}"]
    for name in OPERATIONS:
        found = [efficiency(gpu)["residuals"].get(name) for gpu in MEASURED.values()]
        cells = [f"{math.exp(r['q05']):.2f} to {math.exp(r['q95']):.2f}" if r else "" for r in found]
        lines.append(f"| {name.replace('.', ', ')} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def answers() -> str:
    """The nine answers for the usual case, and what was assumed."""
    from pertoken.answers.ask import answer
    from pertoken.answers.page import body
    from pertoken.cli.answers import DEFAULT, asked_of
    from pertoken.scenario import price

    cost = price(**DEFAULT)
    return f"\n{body(cost, answer(asked_of(cost)))}\n"


def positions() -> str:
    """Where the quadratic term starts to matter: a line of a table for each model and format, and their order in words."""
    from pertoken.answers.position import doubles
    from pertoken.report.curve import Curve
    from pertoken.scenario import price

    head = "| model | weights | machine | equal in FLOP | equal in time | 10% dearer | twice | limit |\n"
    lines, names = [head, "|---|---|---|---:|---:|---:|---:|---:|\n"], []
    found: dict[str, list[int | None]] = {"FLOP": [], "time": []}
    for model, on, dtype in LONG:
        curve = Curve(price(model, on=on, dtype=dtype))
        flop, time = curve.overtakes["input_flop"], curve.overtakes["input_time"]
        row = (flop, time, curve.off("input")["above_from"], doubles(curve), curve.limit)
        weights = curve.cost.deployment.precision.weights
        lines.append(f"| {model} | {weights} | {on} | {' | '.join(f'{n:,}' if n else '-' for n in row)} |\n")
        names.append(model if f"-{weights}" in model else f"{model} in {weights}")
        found["FLOP"].append(flop)
        found["time"].append(time)
    said = " ".join(f"In {what}: {orders(names, where)}." for what, where in found.items())
    return f"{''.join(lines)}\n{textwrap.fill(said, 130, break_on_hyphens=False)}\n\n"


def traffic() -> str:
    """How far each form of tariff is from cost: a line of a table for each kind of traffic, and who pays for whom."""
    from pertoken.market.fairness import largest
    from pertoken.market.fit import FORMS
    from pertoken.report.market_tariffs import Tariffs
    from pertoken.scenario import price

    forms = ("one", "flat", "cached", "marginal")
    head = f"| traffic | input to output | cached | {' | '.join(FORMS[form] for form in forms)} |\n|---|{'---:|' * 6}\n"
    lines, said = [head], []
    for kind, trace in TRACES.items():
        view = Tariffs(price(trace=trace, **TARIFFS))
        r, moves = view.requests, {fit.form: f"{fit.moved:.2%}" for fit in view.fitted}
        moved = [moves.get(form, "-") for form in forms]
        ratio, cached = r.input.sum() / r.output.sum(), r.cached.sum() / r.input.sum()
        lines.append(f"| {kind} (`{trace}`) | {ratio:.1f} | {cached:.0%} | {' | '.join(moved)} |\n")
        takes, gives = largest(view.judged[FORMS["flat"]][1].groups("input"))
        over = (
            f"{g.low:,.0f} to {g.high:,.0f} input tokens {g.charge / g.cost - 1.0:+.1%} of their cost"
            for g in (gives, takes)
        )
        said.append(f"{kind}, requests of {', and those of '.join(over)}")
    words = f"Beyond (+) or below what they cost, under a price each of input and output, pay: of {'; of '.join(said)}."
    return f"{''.join(lines)}\n{textwrap.fill(words, 130, break_on_hyphens=False)}\n\n"


def orders(names: Sequence[str], where: Sequence[int | None]) -> str:
    """Which models have a point at thousands of tokens, which at tens of thousands, and which at none."""
    from pertoken.answers.position import magnitude

    groups: dict[str, list[str]] = {}
    for name, n in sorted(zip(names, where, strict=True), key=lambda pair: pair[1] or math.inf):
        groups.setdefault(magnitude(n) if n else "nowhere up to the limit", []).append(name)
    return "; ".join(f"{order} for {', '.join(models)}" for order, models in groups.items())


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


@cache
def shipped() -> Validation:
    """The predictions of all rows that ship."""
    from pertoken.cli.validate import validation

    return validation([])[0]


def validation_picture() -> bytes:
    """Predicted against measured, as a PNG of moderate size."""
    import vl_convert

    from pertoken.report.validation import chart

    return vl_convert.vegalite_to_png(chart(shipped()).to_dict(), scale=1)


def validation_page(page: str) -> str:
    """The page on measurements, its table of errors made anew."""
    from pertoken.report.validation import markdown_table, tallies

    found = shipped()
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
    (ROOT / "docs" / "validation.png").write_bytes(validation_picture())
    sys.stderr.write(f"rewrote {', '.join(path.name for path in changed) or 'nothing'}\n")
