"""Tables as other people write them: separators, marks, headers, and sizes."""

import csv
import gzip
import io
import tracemalloc

import pytest

from pertoken.calibrate.rows import COLUMNS
from pertoken.catalog import tables
from pertoken.catalog.measured import read_rows
from tests.calibrate.test_rows import GOOD


def text_of(*rows, columns=COLUMNS, **dialect):
    out = io.StringIO()
    writer = csv.DictWriter(out, columns, extrasaction="ignore", lineterminator="\n", **dialect)
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


@pytest.fixture
def read(tmp_path):
    def reader(content):
        path = tmp_path / "rows.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        said = []
        return list(read_rows(path, said.append)), said

    return reader


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_separators(read, separator):
    rows, said = read(text_of(GOOD, delimiter=separator))
    assert said == [] and {k: v for k, v in rows[0][1].items() if v} == GOOD


def test_decimal_commas_of_semicolon_tables(read):
    rows, _ = read(text_of(GOOD | {"tpot_ms": "9,25", "notes": "1,5", "isl": "1.024"}, delimiter=";"))
    assert (rows[0][1]["tpot_ms"], rows[0][1]["notes"], rows[0][1]["isl"]) == ("9.25", "1,5", "1.024")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_marks_of_encodings(read, encoding):
    rows, said = read(text_of(GOOD | {"notes": "é"}).encode(encoding))
    assert said == [] and rows[0][1]["source"] == "mine" and rows[0][1]["notes"] == "é"


def test_quoted_newlines_and_what_stands_above_the_header(read):
    rows, _ = read("sep=,\n# mine\n\n" + text_of(GOOD | {"notes": "two\nlines"}, GOOD))
    assert [line for line, _ in rows] == [6, 7] and rows[0][1]["notes"] == "two\nlines"


def test_other_names_of_columns_are_read_and_said(read):
    other = {
        "tpot_ms": "Mean TPOT (ms)",
        "gpu": "Hardware",
        "n_gpus": "num_gpus",
        "throughput": "Output Throughput (tok/s)",
    }
    columns = [other.get(name, name) for name in COLUMNS if name != "metric"]
    rows, said = read(
        text_of({other.get(k, k): v for k, v in GOOD.items()} | {other["throughput"]: "900"}, columns=columns)
    )
    found = rows[0][1]
    assert (found["tpot_ms"], found["gpu"], found["n_gpus"]) == ("9", "h100_sxm", "1")
    assert (found["throughput"], found["metric"]) == ("900", "output_tok_s_total")
    assert sum("is read as" in sentence for sentence in said) == 4


def test_the_schemas_own_name_comes_first(read):
    rows, said = read(text_of(GOOD | {"median_ttft_ms": "1"}, columns=["median_ttft_ms", *COLUMNS]))
    assert rows[0][1]["ttft_ms"] == "60" and "ignored: median_ttft_ms" in said[0]


def test_a_column_that_comes_twice(read):
    lines = text_of(GOOD).splitlines()
    rows, said = read("\n".join([lines[0] + ",gpu", lines[1] + ",b200"]))
    assert rows[0][1]["gpu"] == "h100_sxm" and "come twice, of which the first is read: gpu" in said[0]


def test_headers_that_come_again_are_left_out(read):
    table = text_of(GOOD)
    rows, said = read(table * 3)
    assert len(rows) == 3 and len(said) == 1 and "header comes again" in said[0]


def test_cells_past_the_last_column_are_kept_apart(read):
    rows, _ = read(text_of(GOOD).rstrip("\n") + ",oops\n")
    assert rows[0][1][""] == "oops"


def test_a_longer_table_is_cut_and_that_is_said(read, monkeypatch):
    monkeypatch.setattr(tables, "MOST_ROWS", 3)
    rows, said = read(text_of(*[GOOD] * 5))
    assert len(rows) == 3 and "only the first 3 rows" in said[0]


def test_large_tables_are_streamed(tmp_path):
    path = tmp_path / "rows.csv.gz"
    head, line = text_of(GOOD | {"notes": "x" * 200}).encode().split(b"\n")[:2]
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(head + b"\n")
        for _ in range(100):
            file.write((line + b"\n") * 1000)  # over 30 MB in all
    tracemalloc.start()
    count = sum(1 for _ in read_rows(path, print))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 100_000 and peak < 5e6
