"""The command ``measure``: result files, a server, its live counters, or this machine, against the prediction."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from pertoken.cli.options import complete
from pertoken.errors import PertokenError
from pertoken.knobs import KNOBS
from pertoken.report.place import place

KEY = "PERTOKEN_API_KEY"
HERE = "here"
MACHINE = (
    "on",
    "dtype",
    "kv_dtype",
    "engine",
    "tp",
    "pp",
    "ep",
    "dp",
    "token_budget",
    "max_sequences",
    "efficiency",
    "rate",
)
WRITES = "Also write .json .csv .md .html .txt, .jsonl (a probe's records), .toml (for --efficiency; of here for --on)."
FORMS = (".json", ".csv", ".md", ".html", ".txt", ".toml", ".jsonl")


def machine_options(command: Any) -> Any:
    """The knobs that say what serves and what it costs, each once."""
    completions = {"on": complete("accelerators"), "engine": complete("engines")}
    for name in reversed(MACHINE):
        knob = KNOBS[name]
        metavar = "|".join(knob.choices) or knob.kind.upper()
        command = click.option(knob.flag, name, metavar=metavar, help=knob.doc, shell_complete=completions.get(name))(
            command
        )
    return command


@click.command()
@click.argument("targets", nargs=-1, metavar="FILE...|URL|here")
@click.option(
    "--model", "served", metavar="NAME", default="", help="The model's name on the server, or in place of a file's."
)
@click.option(
    "--as", "model", metavar="MODEL", default="", help="Catalog name or config.json to predict with, if NAME is none."
)
@machine_options
@click.option(
    "--max-requests", type=int, default=400, show_default=True, help="Most requests to send, failed ones included."
)
@click.option("--max-seconds", type=float, default=None, help="Longest time: 300 for a server, 10 for here.")
@click.option(
    "--max-usd", type=float, default=math.inf, help="Most dollars to spend; needs --price, or --rate and --on."
)
@click.option(
    "--price", "tariff", metavar="IN:OUT", default="", help="What the server charges, dollars per million tokens."
)
@click.option("--max-input", type=int, default=2048, show_default=True, help="Longest prompt to send [token].")
@click.option(
    "--max-output", type=int, default=48, show_default=True, help="Tokens to decode in each request of a batch [token]."
)
@click.option("--at-once", default="1,2,4,8,16", show_default=True, help="Batches to send.")
@click.option("--rounds", type=int, default=3, show_default=True, help="How often everything is repeated.")
@click.option("--chat", is_flag=True, help="Ask by chat messages of words; else by completions of random token ids.")
@click.option("--text", "words", is_flag=True, help="Completions of words instead of token ids.")
@click.option("--timeout", type=float, default=60.0, show_default=True, help="Longest silence of the server [s].")
@click.option(
    "--key-env", metavar="NAME", default=KEY, show_default=True, help="Variable of the environment that holds the key."
)
@click.option(
    "--energy", "energy", metavar="auto|nvml|rapl|none", default="auto", help="What measures energy, on this machine."
)
@click.option(
    "--watts", type=float, default=None, help="Power of all accelerators together, where nothing measures it [W]."
)
@click.option("--watch", is_flag=True, help="Follow a server's Prometheus counters instead of sending requests.")
@click.option("--every", type=float, default=5.0, show_default=True, help="Seconds between lines of --watch.")
@click.option(
    "--exporter",
    type=int,
    default=None,
    metavar="PORT",
    help="With --watch: serve the figures to Prometheus, here only.",
)
@click.option("--name", default="this-machine", show_default=True, help="With here: name of the accelerator.")
@click.option("--seed", type=int, default=0, help="Of the random prompts.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, SI units.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV, SI units.")
@click.option("-o", "--output-file", "files", multiple=True, metavar="FILE", help=WRITES)
def measure(targets: tuple[str, ...], as_json: bool, as_csv: bool, files: tuple[str, ...], **given: Any) -> None:
    """Hold the prediction against a real engine.

    FILE is a result of vllm bench serve, AIPerf, GuideLLM, inference-perf or llama-bench, or own records. URL is a server to send
    requests to, within limits, and no other address is asked. here is this machine.

    \b
    pertoken measure result.json --on 8xh100-sxm --dtype fp8
    pertoken measure http://127.0.0.1:8000 --model llama-3.1-8b --on 1xl40s -o mine.toml
    pertoken measure http://127.0.0.1:8000/metrics --watch --as llama-3.1-8b --on 1xl40s
    pertoken measure here -o here.toml
    """
    if as_json and as_csv:
        raise PertokenError("--json and --csv cannot both be given; leave one out, or write the other with -o")
    paths = [place(name, FORMS) for name in files]
    urls = [t for t in targets if "://" in t]
    if not targets:
        raise PertokenError(
            "nothing to measure was given; name a result file, a server such as http://127.0.0.1:8000, or here"
        )
    if (urls or HERE in targets) and len(targets) > 1:
        raise PertokenError("a server, or here, is measured alone; give one URL, or here, or only files")
    from pertoken.cli import probing

    if given["watch"]:
        if not urls:
            raise PertokenError("--watch follows a server; give its address, such as http://127.0.0.1:8000/metrics")
        probing.watch(urls[0], given, as_json)
        return
    if targets == (HERE,):
        answer = probing.here(given)
    elif urls:
        answer = probing.probe(urls[0], given)
    else:
        answer = probing.read([Path(t).expanduser() for t in targets], given)
    shown = answer.json() if as_json else answer.csv() if as_csv else answer.text()
    refused = _write(answer, paths)
    click.echo(shown, nl=False)
    if refused:
        raise PertokenError("; ".join(refused))
    if answer.interrupted:
        raise KeyboardInterrupt


def _write(answer: Any, paths: Sequence[Path]) -> list[str]:
    """Write what can be written, so that what was measured is kept; why the rest was not."""
    from pertoken.report.export import as_html, as_markdown, write_whole

    refused = []
    for path in paths:
        kind = path.suffix.lower()
        make = {
            ".json": answer.json,
            ".csv": answer.csv,
            ".txt": answer.text,
            ".toml": answer.toml,
            ".jsonl": answer.records,
            ".md": lambda: as_markdown(answer.text(), "Measured"),
            ".html": lambda: as_html(answer.text(), "Measured"),
        }[kind]
        try:
            write_whole(path, make())
        except PertokenError as error:
            refused.append(f"{path.name[-60:]} was not written: {error}")
            continue
        click.echo(f"wrote {path}", err=True)
    return refused


def knobs_of(given: Mapping[str, Any]) -> dict[str, Any]:
    """The machine's knobs among the options."""
    return {name: given[name] for name in MACHINE if given.get(name) is not None}


def key_of(given: Mapping[str, Any]) -> str:
    """The key, from the environment only."""
    name = given["key_env"]
    found = os.environ.get(name, "")
    if not found and name != KEY:
        raise PertokenError(
            f"--key-env names {name[:60]!r}, which the environment does not have; set it, or leave --key-env out"
        )
    return found


def dump(data: Any) -> str:
    """As JSON."""
    return json.dumps(data, indent=2, allow_nan=False) + "\n"


def progress(done: int, total: int, seconds: float, failed: int) -> None:
    """One line on a terminal, which the next overwrites."""
    if sys.stderr.isatty():
        width = 24
        bar = "#" * (width * done // max(1, total))
        lost = f", {failed} failed" if failed else ""
        click.echo(f"\r[{bar:<{width}}] {done}/{total} answers, {seconds:.0f} s{lost}\033[K", nl=False, err=True)
        if done >= total:
            click.echo("", err=True)
