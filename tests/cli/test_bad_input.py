"""Bad input ends in one sentence on stderr, nothing on stdout and exit code 2; never a traceback, never a hang."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from pertoken.catalog import files
from tests.cli.tool import refused, run

SMALL = ("price", "llama-3.1-8b", "--on", "1xh100-sxm")
LIMIT = 20  # s; a command that takes longer hangs


@pytest.mark.parametrize(("arguments", "says"), [
    (("--input", "0"), "from 1 to 1,000,000,000"),
    (("--input", "-5"), "--input"),
    (("--input", "nan"), "--input"),
    (("--input", "inf"), "--input"),
    (("--input", "1e300"), "from 1 to"),
    (("--input", "1e999"), "from 1 to 1,000,000,000"),
    (("--input", "200000"), "at most 131,072"),
    (("--input", "131072", "--output", "1"), "at most 131,072"),
    (("--input", "uniform:9-3"), "uniform:LOW-HIGH"),
    (("--input", "p50=10,p90=3"), "quantile"),
    (("--output", "0"), "--output"),
    (("--cached", "1.5"), "from 0 to 1"),
    (("--cached", "-0.1"), "from 0 to 1"),
    (("--concurrency", "0"), "from 1 to"),
    (("--concurrency", "nan"), "from 1 to"),
    (("--concurrency", "1e9"), "from 1 to"),
    (("--rps", "-1"), "--rps"),
    (("--rps", "1e9"), "requests/s is more than"),
    (("--load", "0"), "--load"),
    (("--load", "1.1"), "to 1"),
    (("--ttft", "0"), "--ttft"),
    (("--tpot", "1us"), "raise --ttft or --tpot"),
    (("--utilisation", "0"), "--utilisation"),
    (("--utilisation", "2"), "to 1"),
    (("--utilisation", "0.5", "--rps", "1"), "cannot both be given"),
    (("--concurrency", "4", "--rps", "1"), "cannot be given together"),
    (("--trace", "azure-2023-code", "--input", "5"), "cannot both be given"),
    (("--rate", "rent:0"), "above 0"),
    (("--rate", "rent:-3"), "above 0"),
    (("--rate", "rent:nan"), "above 0"),
    (("--rate", "rent:1e9"), "at most 10,000"),
    (("--rate", "gold:3"), "rent:2.50"),
    (("--rate", "rent:two"), "is no number"),
    (("--tp", "0"), "--tp"),
    (("--tp", "1.5"), "whole number"),
    (("--network", "fast"), "50GB"),
    (("--dtype", "fp9"), "number format"),
    (("--kv-dtype", "fp9"), "number format"),
    (("--basis", "both"), "usage, allocation"),
    (("--engine", "vlm"), "did you mean vllm or vllm-0.12?"),
    (("--imput", "5"), "--input"),
    (("--input",), "requires an argument"),
    (("--json", "--csv"), "cannot both be given"),
    (("-o", "x.pdf"), ".json, .csv, .md"),
    (("--scenario", "none.toml"), "is not a file"),
    (("--trace", "none.csv"), "azure-2023-code"),
])  # fmt: skip
def test_knobs_out_of_range(arguments: tuple[str, ...], says: str) -> None:
    assert says in refused(*SMALL, *arguments)


@pytest.mark.parametrize(("arguments", "says"), [
    ((), "pertoken list models"),
    (("lama-3.1-8b",), "did you mean llama-3.1-8b"),
    (("meta-llama/Llama-9-8B",), "is not in the catalog"),
    (("",), "MODEL"),
    (("llama-3.1-8b", "--on", "h10-sxm"), "did you mean h100-sxm"),
    (("llama-3.1-8b", "--on", "8xh1000"), "did you mean"),
    (("llama-3.1-8b", "--on", "0xh100"), "from 1 to 100,000"),
    (("llama-3.1-8b", "--on", "-2xh100"), "from 1 to 100,000"),
    (("llama-3.1-8b", "--on", "9" * 4000 + "xh100"), "from 1 to 100,000"),
    (("llama-3.1-8b", "--on", "6xh100", "--tp", "3"), "does not divide the attention heads"),
    (("llama-3.1-8b", "--on", "8xh100", "--tp", "3"), "does not divide 8"),
    (("llama-3.1-8b", "--on", "8xh100", "--tp", "2", "--pp", "2", "--dp", "1"), "uses 4 of 8"),
    (("llama-3.1-8b", "--on", "8xh100", "--tp", "16"), "does not divide 8"),
    (("llama-3.1-8b", "--on", "8xh100", "--ep", "8"), "dense"),
    (("llama-3.1-70b", "--on", "128xh100", "--pp", "128"), "80 layers"),
    (("llama-3.1-8b", "--on", "a100", "--dtype", "fp8"), "has no fp8 arithmetic"),
    # without --on, what is wrong is still what is said
    (("llama-3.1-8b", "--engine", "vlm"), "did you mean vllm or vllm-0.12?"),
    (("llama-3.1-8b", "--rate", "rent:0"), "above 0"),
    (("llama-3.1-8b", "--dtype", "fp9"), "number format"),
    (("llama-3.1-8b", "--tp", "3"), "does not divide the attention heads"),
    (("llama-3.1-8b", "--tpot", "1us"), "raise --ttft or --tpot"),
])  # fmt: skip
def test_names_and_splits(arguments: tuple[str, ...], says: str) -> None:
    assert says in refused("price", *arguments)


@pytest.mark.parametrize(("arguments", "says"), [
    (("prise", "llama-3.1-8b"), "did you mean price?"),
    (("list", "modles"), "did you mean models"),
    (("list",), "KIND"),
    (("show", "model"), "NAME"),
    (("show", "model", "nope"), "not in the catalog"),
    (("show", "accelerator", "h10-sxm"), "did you mean h100-sxm"),
    (("show", "engine", "vlm"), "did you mean vllm or vllm-0.12?"),
    (("show", "price", "x"), "kinds: model, accelerator, engine"),
    (("--bogus",), "--bogus"),
])  # fmt: skip
def test_commands(arguments: tuple[str, ...], says: str) -> None:
    assert says in refused(*arguments)


def test_the_bare_command_helps() -> None:
    result = run()
    assert (result.code, result.err) == (0, "")
    assert "pertoken price llama-3.1-8b" in result.out


@pytest.mark.parametrize("name", [
    "gpt-4o", "gpt-5", "openai/gpt-4o-mini", "o3-mini", "claude-3-5-sonnet", "anthropic/claude-opus-4", "gemini-1.5-pro",
])  # fmt: skip
def test_closed_models(name: str) -> None:
    assert "weights unpublished" in refused("price", name)


def test_open_models_of_the_same_houses_are_not_closed() -> None:
    for name in ("gpt-oss-20b", "gemma-3-1b"):
        assert run("show", "model", name).code == 0


@pytest.mark.parametrize("name", [
    "a\x1b[31mred", "two\nlines", "tab\there", "bell\x07", "x" * 10_000, "模型", "é" * 300, "\udcff\udcfe", "../../etc/passwd",
    "~", "a/b/c/d", "--", "%s%n", "{0}", "'; drop", "\u202ereversed", "a\0b",
])  # fmt: skip
@pytest.mark.parametrize("place", ["model", "on", "engine", "trace", "scenario", "rate", "dtype", "o"])
def test_names_of_any_kind(name: str, place: str) -> None:
    arguments = {
        "model": ("price", "--", name), "on": ("price", "llama-3.1-8b", "--on", name), "o": (*SMALL, "-o", name),
    }.get(place, (*SMALL, f"--{place}={name}"))  # fmt: skip
    refused(*arguments)


# config.json


def config(folder: Path, content: bytes) -> str:
    path = folder / "config.json"
    path.write_bytes(content)
    return str(path)


GOOD = {
    "model_type": "llama", "hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 8, "vocab_size": 32000,
    "num_attention_heads": 8, "num_key_value_heads": 8, "max_position_embeddings": 4096, "torch_dtype": "bfloat16",
}  # fmt: skip


def test_the_good_config_is_good(tmp_path: Path) -> None:
    path = config(tmp_path, json.dumps(GOOD).encode())
    assert run("price", path, "--on", "1xh100-sxm").code == 0
    assert run("price", str(tmp_path), "--on", "1xh100-sxm").code == 0


@pytest.mark.parametrize("content", [
    b"", b"   ", b"[]", b"null", b"3", b'"text"', b"{}", b"{", b"\x00\x01\x02", bytes(range(256)), b"\xff\xfe{\x00}\x00",
    b"[" * 100_000, b'{"a":' * 100_000, b'{"model_type": "llama"}', b'{"model_type": NaN}', b"1" * 5000,
], ids=lambda content: repr(content[:12]))  # fmt: skip
def test_files_that_are_no_config(tmp_path: Path, content: bytes) -> None:
    refused("price", config(tmp_path, content), "--on", "1xh100-sxm")


@pytest.mark.parametrize(
    "key", [key for key in GOOD if key not in ("torch_dtype", "num_key_value_heads", "max_position_embeddings")]
)
@pytest.mark.parametrize("value", [None, "x", [], {}, True, 0, -8, 1.5, 1e30, "nan"], ids=repr)
def test_fields_of_wrong_types(tmp_path: Path, key: str, value: object) -> None:
    refused("price", config(tmp_path, json.dumps(GOOD | {key: value}).encode()), "--on", "1xh100-sxm")


def test_paths_that_are_no_files(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "loop.json").symlink_to(tmp_path / "loop.json")
    (tmp_path / "gone.json").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "pipe.json")
    (tmp_path / "zero.json").symlink_to("/dev/zero")
    big = tmp_path / "big.json"
    with big.open("wb") as file:
        file.truncate(100 * 2**20)
    for name in (
        "folder",
        "loop.json",
        "gone.json",
        "pipe.json",
        "zero.json",
        "big.json",
        "none.json",
        "pipe.json/x.json",
    ):
        path = str(tmp_path / name)
        refused("price", path)
        refused("show", "model", path)
        refused(*SMALL, "--trace", path) if name != "big.json" else None
        refused(*SMALL, "--scenario", path)
        refused("price", "llama-3.1-8b", "--on", f"2x{path.removesuffix('.json')}.toml")
    assert "100" in refused("price", str(big)) or "104,857,600" in refused("price", str(big))


@pytest.mark.parametrize("path", ["/dev/zero", "/dev/stdin", "PIPE"])
@pytest.mark.parametrize("place", ["MODEL", "--trace", "--scenario", "--on"])
def test_endless_files_do_not_hang(tmp_path: Path, path: str, place: str) -> None:
    if path == "PIPE":
        path = str(tmp_path / "pipe.toml")
        os.mkfifo(path)
    arguments = ["price", path] if place == "MODEL" else ["price", "llama-3.1-8b", place, path]
    done = subprocess.run(
        [str(Path(sys.executable).with_name("pertoken")), *arguments],
        stdin=subprocess.DEVNULL, capture_output=True, timeout=LIMIT, check=False, text=True,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(r"pertoken: [^\n]+\n", done.stderr)


# traces


@pytest.mark.parametrize(("content", "says"), [
    (b"", "is empty"),
    (b"input,output\n", "no requests"),
    (b"input\n5\n", "no output column"),
    (b"a,b\n5,6\n", "no input column"),
    (b"5,6\n7,8\n", "no input column"),
    (b"input;output\n5;6\n", "no input column"),
    (b"input,output\n5,6\n-5,6\n", "line 3"),
    (b"input,output\n5,0\n", "line 2"),
    (b"input,output\n5,nan\n", "line 2"),
    (b"input,output\n5,inf\n", "line 2"),
    (b"input,output\n5,many\n", "line 2"),
    (b"input,output\n5,\n", "line 2"),
    (b"input,output\n5\n", "too few"),
    (b"input,output\n1\x002,6\n", "line 2"),
    (b"input,output\n5,\xff\n", "line 2"),
    (b"input,output\n" + b"5" * 300_000 + b",6\n", "characters"),
    (b"x" * 300_000, "characters"),
    (b"input,output\n5,1e10\n", "line 2"),
    (b"input,output\n200000,6\n", "at most 131,072"),
], ids=lambda value: repr(value[:30]))  # fmt: skip
def test_traces_that_are_wrong(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "trace.csv"
    path.write_bytes(content)
    assert says in refused(*SMALL, "--trace", str(path))


@pytest.mark.parametrize("content", [
    b"input,output\n500,60\n700,80\n",
    b"\xef\xbb\xbfinput,output\r\n500,60\r\n700,80\r\n",
    b'"input","output"\n"500","60"\n"700","80"\n',
    b"output,extra,input\n60,x,500\n80,,700\n",
    b"TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46,500,60\n2023-11-16 18:15:47,700,80\n",
    b"Prompt_Tokens, Completion_Tokens\n500,60\n\n700,80",
], ids=lambda content: repr(content[:24]))  # fmt: skip
def test_traces_in_many_spellings_are_the_same_requests(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "trace.csv"
    path.write_bytes(content)
    found = run(*SMALL, "--trace", str(path), "--json").json()
    tokens, served = found["bill"]["tokens"], found["serving"]["request_per_s"] * 3600
    assert tokens["input"] / served == pytest.approx(600)
    assert tokens["output"] / served == pytest.approx(70)


# scenario files


@pytest.mark.parametrize(("content", "says"), [
    ("", "no model was given"),
    ("model = 'llama-3.1-8b'\nbogus = 1", "is no knob"),
    ("model = 'llama-3.1-8b'\nworkload = 3", "is no knob"),
    ("model = 'llama-3.1-8b'\n[machine]\non = 'h100'", "is no knob"),
    ("[model]\na = 1", "MODEL"),
    ("model = []", "empty list"),
    ("model = 'llama-3.1-8b'\non = []", "empty list"),
    ("model = 'llama-3.1-8b'\non = [['h100']]", "--on"),
    ("model = 'llama-3.1-8b'\ninput = true", "--input"),
    ("model = 'llama-3.1-8b'\ninput = 2023-11-16", "--input"),
    ("model = 'llama-3.1-8b'\ncached = 'half'", "--cached"),
    ("model = 'llama-3.1-8b'\nconcurrency = nan", "--concurrency"),
    ("model = 'llama-3.1-8b'\nconcurrency = inf", "--concurrency"),
    ("model = 'llama-3.1-8b'\ntp = 1.5", "whole number"),
    ("model = 'llama-3.1-8b'\non = \"two\\nlines\"", "control characters"),
    ("model = 'llama-3.1-8b'\nmodel = 'llama-3.1-8b'", "is not TOML"),
    ("model = ", "is not TOML"),
    ("model = " + "[" * 100_000, "is not TOML"),
    ("cases = 3", "[[cases]]"),
    ("cases = []", "[[cases]]"),
    ("cases = [3]", "[[cases]]"),
    ("model = 'llama-3.1-8b'\n[[cases]]\non = 'h100'", "[[cases]]"),
    ("[[cases]]\non = 'h100'", "no model was given"),
    ("[[cases]]\nmodel = 'llama-3.1-8b'\n" * 300, "more than 200"),
    ("".join(f"{knob} = [{', '.join(['1'] * 100)}]\n" for knob in ("model", "tp", "pp", "dp", "ep", "rps")), "at most 200"),
], ids=lambda value: repr(value[:40]))  # fmt: skip
def test_scenarios_that_are_wrong(tmp_path: Path, content: str, says: str) -> None:
    path = tmp_path / "scenario.toml"
    path.write_text(content, encoding="utf-8")
    assert says in refused("price", "--scenario", str(path))


def test_accelerators_and_engines_of_the_users_own(tmp_path: Path) -> None:
    mine = tmp_path / "mine.toml"
    text = (files.ROOT / "accelerators" / "h100-sxm.toml").read_text(encoding="utf-8")
    mine.write_text(text.replace('name = "h100-sxm"', 'name = "mine\\u001b[31m"', 1), encoding="utf-8")
    result = run("price", "llama-3.1-8b", "--on", f"1x{mine}")
    assert result.code == 0
    assert "\x1b" not in result.out + result.err
    for wrong in (
        "",
        "name = 3",
        "name = 'x'\n[flops]\nbf16 = -1",
        text.replace("3.35e12", "'fast'"),
        text.replace("450e9", "nan"),
    ):
        mine.write_text(wrong, encoding="utf-8")
        refused("price", "llama-3.1-8b", "--on", f"1x{mine}")
        refused("price", "llama-3.1-8b", "--on", "1xh100", "--engine", str(mine))


# does not fit


@pytest.mark.parametrize(("model", "on"), [
    ("llama-3.1-405b", "8xh100-sxm"), ("llama-3.1-405b", "2xh100-sxm"), ("llama-3.1-70b", "1xh100-sxm"),
    ("deepseek-v3", "8xh100-sxm"), ("llama-3.1-8b", "1xt4"), ("mixtral-8x7b", "1xa100-sxm-80gb"), ("llama-3.1-70b", "1xl4"),
    ("gpt-oss-120b", "1xl40s"),
])  # fmt: skip
def test_the_change_that_is_named_fits(model: str, on: str) -> None:
    load = ("--concurrency", "1")
    line = refused("price", model, "--on", on, *load, code=3)
    missing = re.search(r"\(([0-9,]+) bytes\) too many", line)
    assert missing and int(missing[1].replace(",", "")) > 0, line
    change = re.search(r"nearest change that fits: (--\S+) (\S+)", line)
    assert change, line
    arguments = (change[1], change[2]) if change[1] == "--on" else ("--on", on, change[1], change[2])
    result = run("price", model, *arguments, *load)
    assert result.code == 0, result.err


def test_the_shortfall_is_what_is_missing() -> None:
    """Shorter requests that need fewer bytes by the shortfall are about to fit."""
    sizes = []
    for tokens in ("1000", "2000"):
        line = refused("price", "llama-3.1-70b", "--on", "1xh100-sxm", "--input", tokens, "--output", "1", code=3)
        found = re.search(r"\(([0-9,]+) bytes\)", line)
        assert found
        sizes.append(int(found[1].replace(",", "")))
    kv_bytes_per_token = 2 * 80 * 8 * 128 * 2
    assert sizes[1] - sizes[0] == pytest.approx(1000 * kv_bytes_per_token, abs=2)
