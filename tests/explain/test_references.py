"""References: BibTeX that parses, and only works that a result used."""

from __future__ import annotations

import re

import pytest

from pertoken.explain.references import COUNTERFACTUALS, REFERENCES, Reference, bibtex, used
from pertoken.scenario import price
from pertoken.whatif.ask import COUNTERFACTUALS as KNOWN
from pertoken.whatif.ask import what_if

ENTRY = re.compile(r"@(article|misc|book)\{([a-z0-9]+),\n((?:  [a-z]+ = \{.*\},\n)+)\}")
JOB = {"on": "8xh200-sxm", "input": 500, "output": 50, "concurrency": 4}


def keys(name: str, **knobs: object) -> set[str]:
    return {r.key for r in used(price(name, **(JOB | knobs)))}


def test_every_reference_is_complete() -> None:
    for key, reference in REFERENCES.items():
        fields = dict(reference.fields)
        assert key == reference.key
        assert fields["author"] and fields["title"] and re.fullmatch(r"(19|20)\d\d", fields["year"])
        assert fields.get("eprint") or fields.get("doi") or fields.get("journal"), key
        if "eprint" in fields:
            assert re.fullmatch(r"\d{4}\.\d{5}", fields["eprint"])
    assert {key for group in COUNTERFACTUALS.values() for key in group} <= set(REFERENCES)
    assert set(COUNTERFACTUALS) <= set(KNOWN)


def test_bibtex_is_entries_and_nothing_else() -> None:
    text = bibtex(used(price("deepseek-v3", **JOB)))
    entries = ENTRY.findall(text)
    assert len(entries) == text.count("@") > 8
    assert len({key for _, key, _ in entries}) == len(entries)
    assert ENTRY.sub("", text).strip() == ""
    assert text.count("{") == text.count("}")


@pytest.mark.parametrize(
    ("name", "has", "lacks"),
    [
        ("llama-3.1-8b", {"ainslie2023"}, {"deepseek2024v2", "shazeer2017", "dao2024"}),
        ("deepseek-v3", {"deepseek2024v2", "shazeer2017"}, {"ainslie2023", "deepseek2025v32", "dao2024"}),
        ("qwen3.5-35b-a3b", {"dao2024", "shazeer2017"}, {"deepseek2024v2"}),
    ],
)
def test_only_works_that_were_used(name: str, has: set[str], lacks: set[str]) -> None:
    found = keys(name)
    assert has <= found
    assert not lacks & found
    assert {"williams2009", "billera1978", "little1961"} <= found


def test_the_split_and_the_trace_decide_too() -> None:
    assert "thakur2005" not in keys("llama-3.1-8b", on="h100-sxm")
    assert "thakur2005" in keys("llama-3.1-8b", on="2xh100-sxm")
    assert "patel2023" not in keys("llama-3.1-8b")
    assert "patel2023" in {r.key for r in used(price("llama-3.1-8b", on="h100-sxm"))}
    wide = {"on": "16xh200-sxm", "tp": 1, "dp": 16, "ep": 16, "concurrency": 64}
    assert "deepseek2024v3" not in keys("deepseek-v3", **wide)
    assert "deepseek2024v3" in keys("deepseek-v3", overlap="micro-batches", **wide)
    drafted = what_if(price("llama-3.1-8b", **JOB), "speculative").after
    assert drafted is not None
    assert {"leviathan2022", "li2024eagle"} <= {r.key for r in used(drafted.cost, ["speculative"])}


def test_hostile_titles_stay_inside_their_braces() -> None:
    made = Reference("x", "misc", (("title", "a } b { c \\ d_e & 5% \x1b"), ("url", "http://x/{}\\ y")))
    inside = made.bibtex().replace("\\{", "").replace("\\}", "").replace("\\textbackslash{}", "")
    assert inside.count("{") == inside.count("}") == 3
    assert "\x1b" not in inside
