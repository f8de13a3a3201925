"""A cost as it shows in a terminal and in a notebook."""

from __future__ import annotations

from html.parser import HTMLParser

from pertoken.scenario import price

JOB = {"on": "h100-sxm", "input": 1024, "output": 128, "concurrency": 8, "rate": "rent:2.50"}


class Cells(HTMLParser):
    """Texts of cells, and tags left open."""

    def __init__(self) -> None:
        super().__init__()
        self.stack: list[str] = []
        self.cells: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag != "br":
            self.stack.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.stack.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.stack[-1] in ("td", "th"):
            self.cells.append(data)


def test_a_line_and_a_table() -> None:
    cost = price("llama-3.1-8b", **JOB)
    assert repr(cost).startswith("<Cost of llama-3.1-8b") and "\n" not in repr(cost) and len(repr(cost)) < 200
    text = str(cost)
    assert f"{cost.per_million.output.value:.3f}" in text
    for word in ("input", "output", "TTFT", "rent"):
        assert word in text
    assert "cached" not in text
    assert "cached" in str(price("llama-3.1-8b", **JOB, cached=0.5))
    assert all(len(line) <= 120 and line == line.rstrip() for line in text.splitlines())


def test_a_table_in_a_notebook_says_the_same() -> None:
    cost = price("llama-3.1-8b", **JOB)
    reader = Cells()
    reader.feed(cost._repr_html_())
    assert not reader.stack
    for cell in reader.cells[4:]:
        assert cell in str(cost)


def test_a_model_file_cannot_steer_terminal_or_page(tmp_path) -> None:
    from dataclasses import replace

    cost = price("llama-3.1-8b", **JOB)
    model = replace(cost.deployment.model, name="<script>\x1b[2J")
    hostile = replace(cost, deployment=replace(cost.deployment, model=model))
    assert "\x1b" not in str(hostile) + repr(hostile) + hostile._repr_html_()
    assert "<script>" not in hostile._repr_html_()


def test_without_a_rate_it_says_why() -> None:
    text = str(price("llama-3.1-8b", on="1xgh200-96gb", concurrency=4))
    assert "accelerator-seconds" in text and "$" not in text.splitlines()[2]
