"""The command: files of the user's, forms, and files that are wrong."""

import csv
import gzip
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from pertoken.calibrate.rows import COLUMNS
from pertoken.cli.validate import validate
from pertoken.errors import PertokenError
from tests.calibrate.test_rows import GOOD


@pytest.fixture
def table(tmp_path):
    def make(*rows, columns=COLUMNS, name="rows.csv"):
        path = tmp_path / name
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, columns, extrasaction="ignore")
            writer.writeheader()
            writer.writerows(rows)
        return str(path)

    return make


def run(*args):
    found = CliRunner().invoke(validate, args, standalone_mode=False)
    if found.exception:
        raise found.exception
    return found


def test_json_has_groups_refusals_and_rows(table):
    path = table(GOOD, GOOD | {"tpot_ms": "10"}, GOOD | {"gpu": "abacus"}, GOOD | {"model": "no-such-model"})
    found = json.loads(run(path, "--json", "--rows").stdout)
    keys = {"source", "metric", "regime", "family", "rows", "median_ape", "p90_ape", "bias", "coverage90", "refused"}
    assert {frozenset(g) for g in found["groups"]} == {frozenset(keys)}
    assert [(g["metric"], g["rows"]) for g in found["groups"]] == [("ttft", 2), ("tpot", 2)]
    reasons = {item["reason"]: item for item in found["refused"]}
    assert set(reasons) == {"accelerator not in the catalog", "model not in the catalog"}
    assert all(item["count"] == 1 and "line" in item["example"] for item in reasons.values())
    assert len(found["rows"]) == 2 and "weights in bf16, the checkpoint's" in found["rows"][0]["assumed"]


def test_the_error_is_predicted_over_measured(table):
    found = json.loads(run(table(GOOD), "--json", "--rows").stdout)
    figures = found["rows"][0]["metrics"]["tpot"]
    assert figures["measured"] == pytest.approx(0.009)
    assert figures["error"] == pytest.approx(figures["predicted"] / 0.009 - 1)
    group = next(g for g in found["groups"] if g["metric"] == "tpot")
    assert group["median_ape"] == pytest.approx(abs(figures["error"]))
    assert group["bias"] == pytest.approx(figures["error"])


def test_csv_has_every_row_with_what_was_assumed(table):
    lines = list(csv.DictReader(run(table(GOOD, GOOD | {"source": "=1+1"}), "--csv").stdout.splitlines()))
    assert len(lines) == 2
    assert float(lines[0]["predicted_tpot"]) > 0 and "KV cache in bf16" in lines[0]["assumed"]
    assert lines[1]["source"] == "'=1+1"


def test_repeated_measurements_count_once(table):
    found = json.loads(run(table(GOOD, GOOD, GOOD), "--json").stdout)
    assert {g["rows"] for g in found["groups"]} == {1}
    assert found["sources"]["mine"]["flagged"] == 2


def test_missing_columns_are_said_and_the_rest_predicted(table):
    columns = [c for c in COLUMNS if c not in ("ttft_ms", "kv_dtype")]
    found = run(table(GOOD, columns=[*columns, "ttft_s"]), "--json")
    assert "missing columns count as unknown: kv_dtype, ttft_ms" in found.stderr and "ttft_s" in found.stderr
    assert [g["metric"] for g in json.loads(found.stdout)["groups"]] == ["tpot"]


def test_names_that_are_not_known_come_with_the_nearest(table):
    odd = [GOOD | {"model": "llama-3.1-80b"}, GOOD | {"model": "GLM-4.5"}, GOOD | {"gpu": "RTX 3090 Ti"}]
    found = run(table(*odd, GOOD | {"model": "H100", "gpu": "llama-3.1-8b"}, GOOD)).stdout
    assert "'llama-3.1-80b', did you mean llama-3.1-8b" in " ".join(found.split()) and "'glm-4.5'" in found
    assert "'RTX 3090 Ti', did you mean rtx-3090" in " ".join(found.split())
    assert "are columns swapped?" in found and "5 rows, 1 predicted" in found


def test_cells_past_the_header_refuse_the_row(table, tmp_path):
    path = Path(table(GOOD, GOOD))
    lines = path.read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join([*lines[:2], lines[2] + ",more"]), encoding="utf-8")
    found = json.loads(run(str(path), "--json").stdout)
    assert [item["reason"][:10] for item in found["refused"]] == ["more cells"]


def test_figures_in_csv_are_plain_numbers(table):
    rate = GOOD | {"concurrency_or_max_batch": "", "request_rate": "2", "metric": ""}
    assert "np." not in run(table(GOOD, rate), "--csv").stdout


def test_fp8_runs_unpacked_where_there_is_no_fp8(table):
    found = json.loads(run(table(GOOD | {"gpu": "a100", "weight_dtype": "fp8"}), "--json", "--rows").stdout)
    assert any("no fp8 arithmetic" in text for text in found["rows"][0]["assumed"])


def test_fp4_runs_unpacked_where_there_is_no_fp4(table):
    found = json.loads(run(table(GOOD | {"gpu": "h100", "weight_dtype": "nvfp4"}), "--json", "--rows").stdout)
    assert any("no nvfp4 arithmetic" in text for text in found["rows"][0]["assumed"])


def test_a_cache_format_that_is_not_known_is_assumed(table):
    found = json.loads(run(table(GOOD | {"kv_dtype": "int3"}), "--json", "--rows").stdout)
    assert {"kv_dtype 'int3' is no known format", "KV cache in bf16"} <= set(found["rows"][0]["assumed"])


def test_offline_runs_without_a_split_are_replicas(table):
    offline = GOOD | {"n_gpus": "8", "tp": "", "concurrency_or_max_batch": "", "request_rate": "inf", "metric": "output tok/s",
                      "throughput": "60000", "ttft_ms": "", "tpot_ms": ""}  # fmt: skip
    both = json.loads(
        run(table(offline, offline | {"model": "llama-3.1-405b", "weight_dtype": "fp8"}), "--json", "--rows").stdout
    )
    assert [next(t for t in row["assumed"] if t.startswith("split")) for row in both["rows"]] == [
        "split dp8",
        "split tp8",
    ]


def test_a_rate_beyond_capacity_has_no_ttft(table):
    beyond = GOOD | {"metric": "ttft/tpot p50 (open loop)", "request_rate": "5000"}
    groups = {g["metric"]: g for g in json.loads(run(table(beyond), "--json").stdout)["groups"]}
    assert groups["ttft"]["rows"] == 0 and groups["ttft"]["refused"] == 1 and groups["ttft"]["median_ape"] is None
    assert groups["tpot"]["rows"] == 1


def test_figures_beyond_the_datasheet_are_flagged(table):
    found = json.loads(run(table(GOOD | {"concurrency_or_max_batch": "2000"}), "--json", "--rows").stdout)
    assert found["groups"] == [] and "datasheet" in found["rows"][0]["flag"]


@pytest.mark.parametrize("suffix", [".json", ".csv", ".md", ".txt"])
def test_files_are_written_by_suffix(table, tmp_path, suffix):
    target = tmp_path / f"out{suffix}"
    run(table(GOOD), "-o", str(target))
    assert "mine" in target.read_text(encoding="utf-8")


def test_charts_say_what_they_need(table, tmp_path):
    try:
        import altair  # noqa: F401
        import vl_convert  # noqa: F401
    except ImportError:
        with pytest.raises(PertokenError, match=r"pertoken\[charts\]"):
            run(table(GOOD), "-o", str(tmp_path / "chart.svg"))
        return
    for suffix in (".svg", ".png"):
        run(table(GOOD), "-o", str(tmp_path / f"chart{suffix}"))
        assert (tmp_path / f"chart{suffix}").stat().st_size > 1000


def test_compressed_tables_are_read(table, tmp_path):
    path = tmp_path / "rows.csv.gz"
    path.write_bytes(gzip.compress(Path(table(GOOD)).read_bytes()))
    assert len(json.loads(run(str(path), "--json").stdout)["groups"]) == 2


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "no column of the schema"),
        (b"a,b\n1,2\n", "no column of the schema"),
        (b"\x00\xff\xfe" * 50, "no column of the schema"),
        (b"model,gpu\n" + b"x" * 200_000, "a line of over"),
        (b'model,gpu\n"' + b"y,\n" * 60_000, "field larger"),
    ],
)
def test_files_that_are_no_tables(tmp_path, content, words):
    path = tmp_path / "bad.csv"
    path.write_bytes(content)
    with pytest.raises(PertokenError, match=words):
        run(str(path))


def test_broken_compression_and_missing_files(tmp_path):
    bad = tmp_path / "bad.csv.gz"
    bad.write_bytes(b"\x1f\x8b\x08\x00nonsense")
    with pytest.raises(PertokenError, match="cannot be read"):
        run(str(bad))
    with pytest.raises(PertokenError, match="not a file"):
        run(str(tmp_path / "none.csv"))


def test_options_that_clash(table, tmp_path):
    path = table(GOOD)
    for args in (("--json", "--csv"), ("--rows",), ("-o", str(tmp_path / "x.pdf")), ("-o", str(tmp_path))):
        with pytest.raises(PertokenError):
            run(path, *args)


HOSTILE = [
    "",
    "0",
    "-1",
    "1e308",
    "nan",
    "inf",
    "x" * 5000,
    "../../etc/passwd",
    "=cmd()",
    "\x1b[31m",
    "9" * 400,
    "1e-9",
]


@pytest.mark.parametrize("column", COLUMNS)
def test_hostile_cells_never_give_a_traceback(table, column):
    found = run(table(*(GOOD | {column: cell} for cell in HOSTILE)))
    assert "\x1b" not in found.stdout


def test_extreme_but_readable_rows_are_answered_or_refused(table):
    rows = [
        GOOD | {"isl": "1000000000", "osl": "1000000000"}, GOOD | {"n_gpus": "100000", "tp": "1"},
        GOOD | {"concurrency_or_max_batch": "1000000"}, GOOD | {"tp": "7", "n_gpus": "7"}, GOOD | {"pp": "99"},
        GOOD | {"ep": "8"}, GOOD | {"osl": "1"}, GOOD | {"isl": "1", "osl": "1", "notes": "static batch"},
        GOOD | {"model": "deepseek-v3"}, GOOD | {"weight_dtype": "int3"}, GOOD | {"kv_dtype": "int3"},
    ]  # fmt: skip
    found = json.loads(run(table(*rows), "--json", "--rows").stdout)
    assert sum(item["count"] for item in found["refused"]) + len(found["rows"]) == len(rows)
