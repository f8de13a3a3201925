"""The rows that ship: errors stay under their ceilings, and nearly every row is predicted."""

import tomllib
from pathlib import Path

import pytest

CEILINGS = tomllib.loads((Path(__file__).parent / "ceilings.toml").read_text(encoding="utf-8"))["ceilings"]
LEVELS = ("source", "metric", "regime")


def over(ceilings, groups):
    """Groups whose median is above their ceiling, or that vanished."""
    found = {tuple(getattr(g, level) for level in LEVELS): g for g in groups}
    wrong = []
    for c in ceilings:
        group = found.get(tuple(c[level] for level in LEVELS))
        if group is None or not group.rows >= 0.99 * c["rows"] or not group.median_ape <= c["median"]:
            wrong.append((c, group))
    return wrong


def test_no_median_is_over_its_ceiling(shipped):
    assert over(CEILINGS, shipped.groups(LEVELS)) == []


def test_a_risen_error_is_noticed(shipped):
    stricter = [{**c, "median": c["median"] / 2} for c in CEILINGS]
    assert over(stricter, shipped.groups(LEVELS)), "negative control"


def test_every_group_has_a_ceiling(shipped):
    known = {tuple(c[level] for level in LEVELS) for c in CEILINGS}
    assert {(g.source, g.metric, g.regime) for g in shipped.groups(LEVELS) if g.rows} <= known


def test_under_one_per_cent_of_stating_rows_are_refused(shipped):
    assert len(shipped.tallies) == 5
    for source, tally in shipped.tallies.items():
        assert tally.stating > 200, source
        assert tally.refused_stating < 0.01 * tally.stating, source


def test_rows_are_predicted_or_refused(shipped):
    for source, tally in shipped.tallies.items():
        refused = sum(n for (name, _, _), n in shipped.reasons.items() if name == source)
        assert refused + sum(p.row.source == source for p in shipped.predictions) == tally.rows


def test_sources_are_never_pooled(shipped):
    assert {g.source for g in shipped.groups()} == set(shipped.tallies)


def test_what_is_suspect_is_kept_out(shipped):
    flagged = [p for p in shipped.predictions if p.row.flag]
    assert sum("H200" in p.row.cells["gpu"].upper() and "prefixes" in p.row.flag for p in flagged) == 21
    assert {p.row.cells["gpu"] for p in flagged if "scaled" in p.row.flag} == {"h100-80gb-pcap"}
    counted = sum(g.rows for g in shipped.groups(("source", "metric")))
    assert counted == sum(len(p.measured) - len(p.refused) for p in shipped.predictions if not p.row.flag)


@pytest.mark.parametrize("metric", ["ttft", "tpot", "throughput", "energy"])
def test_intervals_hold_their_values(shipped, metric):
    found = [p.predicted[metric] for p in shipped.predictions if metric in p.predicted]
    assert len(found) > 100
    assert all(0 < i.low <= i.value <= i.high for i in found)
