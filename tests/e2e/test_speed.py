"""How fast a move is painted, against the server in one run, so that any machine will do; and how much the page weighs."""

from __future__ import annotations

from statistics import median

from tests.e2e.conftest import settled
from tests.test_benchmarks import load

ANSWER = """async (input) => {
  const start = performance.now();
  const knobs = { model: "llama-3.1-70b", on: "8xh100-sxm", dtype: "fp8", input: String(input) };
  const body = JSON.stringify({ knobs, charts: ["roofline"] });
  await (await fetch("/api/page", { method: "POST", headers: { "content-type": "application/json" }, body })).json();
  return performance.now() - start;
}"""


def test_the_page_is_light_and_quick(browser, server):
    _, size, (context, _) = load("page").first_figures(browser, f"{server.url}/")
    context.close()
    assert 50_000 < size < 2_000_000  # with the script of the charts


def test_a_move_takes_hardly_longer_than_its_answer(opened):
    page = opened()
    settled(page)
    answers, moves = [], []
    for i in range(30):
        answers.append(page.evaluate(ANSWER, 2000 + i))
        moves.append(page.evaluate(load("page").MOVE, ["input", 70 + (i * 7) % 83]))
        page.wait_for_timeout(20)
    assert max(moves) < 3000  # each was painted
    assert median(moves) < 3 * median(answers) + 30
