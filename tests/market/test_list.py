"""Figures of the packaged list, derived again from its own objects; ids are exact; own files are checked."""

from __future__ import annotations

import datetime as dt
import tomllib
from importlib import metadata
from pathlib import Path
from statistics import quantiles

import pytest
from genai_prices import data

from pertoken.catalog import files, offers
from pertoken.errors import PertokenError
from pertoken.market import ratios
from pertoken.market.offers import noon

DAY = dt.date(2026, 11, 25)
pytestmark = pytest.mark.skipif(metadata.version("genai-prices") != "0.2.3", reason="figures of genai-prices 0.2.3")


def number(price: object) -> float:
    """A price without its tiers [$ per million]."""
    return float(getattr(price, "base", price) or 0.0)  # type: ignore[arg-type]


def test_quartiles_of_the_ratio() -> None:
    raw = []
    for provider in data.providers:
        for model in provider.models:
            prices = model.get_prices(noon(DAY))
            if number(prices.input_mtok) > 0 and number(prices.output_mtok) > 0:
                raw.append(number(prices.output_mtok) / number(prices.input_mtok))
    found = ratios.offers_on(offers.providers(), DAY, "list")
    assert ratios.ratios(found).size == len(raw) == 2044
    assert ratios.quartiles(found) == pytest.approx(quantiles(raw, n=4, method="inclusive"), rel=1e-12)
    assert ratios.quartiles(found) == pytest.approx((2.0, 11 / 3, 5.0))


def test_context_tiers_of_first_parties() -> None:
    found = [o for o in ratios.offers_on(offers.providers(), DAY, "list") if o.provider in ratios.FIRST_PARTY]
    tiers = ratios.tiers(found)
    raw = {
        f"{p.id}/{m.id}": [float(t.start) for t in prices.input_mtok.tiers]
        for p in data.providers if p.id in ratios.FIRST_PARTY for m in p.models
        if hasattr((prices := m.get_prices(noon(DAY))).input_mtok, "tiers")
    }  # fmt: skip
    assert {name: [t.above for t in tiers if t.offer.name == name] for name in raw} == raw
    assert len(found) == 344 and len(raw) == len(tiers) == 33
    assert {t.above for t in tiers} == {100_000, 128_000, 199_999, 200_000, 272_000, 512_000}
    assert ratios.commonest(round(t.input, 2) for t in tiers)[0] == (2.0, 31)


HOSTS = {
    "gpt-oss-120b": {
        "aws": (0.15, 0.6), "baseten": (0.1, 0.5), "cerebras": (0.35, 0.75), "cloudflare": (0.35, 0.75), "fireworks": (0.15, 0.6),
        "groq": (0.15, 0.6), "hyperbolic": (0.3, 0.3), "nebius": (0.15, 0.6), "nscale": (0.1, 0.4), "sambanova": (0.22, 0.59),
        "novita": (0.05, 0.25), "openai": (0.039, 0.18), "openrouter": (0.1, 0.5), "ovhcloud": (0.09, 0.47),
        "quicksilverpro": (0.03, 0.15), "together": (0.15, 0.6),
    },
    "llama-3.3-70b": {
        "aws": (0.72, 0.72), "cloudflare": (0.293, 2.253), "groq": (0.59, 0.79), "fireworks-ai": (0.9, 0.9),
        "hyperbolic": (0.4, 0.4),
        "nebius": (0.25, 0.75), "nscale": (0.4, 0.4), "sambanova": (0.6, 1.2), "novita": (0.135, 0.4), "openrouter": (0.59, 0.79),
        "ovhcloud": (0.74, 0.74), "together": (0.88, 0.88),
    },
}  # fmt: skip


@pytest.mark.parametrize("model", HOSTS)
def test_hosts(model: str) -> None:
    """A host's plain offer; groq sells llama-3.3-70b with speculative decoding too, together under two names."""
    found = {o.host: o.tariff.base for o in offers.hosts(model, DAY) if "specdec" not in o.model}
    shown = {host: (round(p.input * 1e6, 6), round(p.output * 1e6, 6)) for host, p in found.items()}
    assert shown == HOSTS[model]


def test_every_offer_by_weights_is_in_the_list_and_serves_one_model() -> None:
    table = tomllib.loads((files.ROOT / "market" / "hosts.toml").read_text("utf-8"))
    known = {f"{p.id}/{m.id}" for p in data.providers for m in p.models}
    owner: dict[str, str] = {}
    for name, weights in table["weights"].items():
        assert name in weights["models"] and set(weights["models"]) <= set(files.names("models"))
        for offer in weights["offers"]:
            assert offer in known
            assert owner.setdefault(offer, name) == name
    assert table["source"]["title"].startswith("genai-prices 0.2.3") and table["source"]["read"]
    assert len(table["weights"]) > 60


def test_quantised_copies_are_the_same_weights() -> None:
    assert offers.hosts("llama-3.1-70b-fp8", DAY) == offers.hosts("meta-llama/llama-3.1-70b-instruct", DAY)
    assert offers.hosts("mimo-7b", DAY) == []


@pytest.mark.parametrize(
    ("name", "candidate"),
    [
        ("anthropic/claude-3-5-haiku-20241022", "anthropic/claude-3-5-haiku-latest"),
        ("together/gpt-oss-120b", "together/openai/gpt-oss-120b"),
        ("groq/OpenAI/gpt-oss-120b", "groq/openai/gpt-oss-120b"), ("openai/gpt-5-2025", "openai/gpt-5"), ("anthropic/", ""),
        ("Groq/openai/gpt-oss-120b", "did you mean groq?"), ("nobody/x", "PROVIDER/MODEL"), ("", "PROVIDER/MODEL"), ("groq", ""),
    ],
)  # fmt: skip
def test_an_inexact_name_is_refused_with_candidates(name: str, candidate: str) -> None:
    with pytest.raises(PertokenError) as caught:
        offers.find(name, DAY)
    assert candidate in str(caught.value) and len(str(caught.value)) < 900


def test_loose_matching_would_have_taken_another_model() -> None:
    """Negative control: the list's own look-up answers where there is no such model."""
    provider = next(p for p in data.providers if p.id == "anthropic")
    assert provider.find_model("claude-3-5-haiku-anything") is not None
    with pytest.raises(PertokenError, match="near one may be another model"):
        offers.find("anthropic/claude-3-5-haiku-anything", DAY)


def test_prices_are_those_of_the_day() -> None:
    dated = [d for d in ratios.histories(offers.providers()) if d.name == "openrouter/openai/gpt-oss-120b"]
    assert [d.since for d in dated] == ["", "2026-10-19", "2026-11-03"]
    for before, price in (
        ("2026-10-18", dated[0]),
        ("2026-10-19", dated[1]),
        ("2026-11-02", dated[1]),
        ("2026-11-03", dated[2]),
    ):
        found = offers.find("openrouter/openai/gpt-oss-120b", dt.date.fromisoformat(before))
        assert found.tariff == price.tariff and found.since == price.since
    assert len(ratios.changes(dated)) == 2


def test_a_price_that_depends_on_the_hour_says_so() -> None:
    found = offers.find("deepseek/deepseek-chat", DAY)
    assert any("at other hours" in note for note in found.notes)


def test_closed_models_are_found_by_exact_id() -> None:
    assert {o.name for o in offers.named("gpt-5", DAY)} == {"openai/gpt-5", "openrouter/openai/gpt-5"}
    with pytest.raises(PertokenError, match="candidates: claude-opus"):
        offers.named("claude-opus", DAY)


TOML = """
[[offers]]
provider = "mine"
model = "llama-3.3-70b"
input = 0.2
cached = 0.02
output = 0.9
since = "2026-11-01"
batch = { input = 0.1, output = 0.45 }
tiers = [{ above = 100000, input = 0.4, output = 1.8 }]
"""


def test_own_offers_from_toml_and_csv(tmp_path: Path) -> None:
    (tmp_path / "o.toml").write_text(TOML)
    (tmp_path / "o.csv").write_text(
        "provider,model,input,cached,output,since,currency\nmine,llama-3.3-70b,0.2,0.02,0.9,2026-11-01,USD\n"
    )
    (one,), (two,) = (offers.read_own(tmp_path / name) for name in ("o.toml", "o.csv"))
    assert one.tariff.base == two.tariff.base and one.name == two.name == "mine/llama-3.3-70b"
    assert one.tariff.tiers[0].above == 100_000 and one.tariff.tiers[0].prices.cached == one.tariff.base.cached
    assert one.batch and one.batch.base.output == pytest.approx(0.45e-6)
    assert one in offers.hosts("llama-3.3-70b-instruct", DAY, [one])
    assert offers.find("mine/llama-3.3-70b", DAY, [one]) is one


def test_the_example_of_the_docs_is_an_offer(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "market.md").read_text("utf-8")
    (tmp_path / "o.toml").write_text(page.split("```toml\n")[1].split("```")[0])
    (offer,) = offers.read_own(tmp_path / "o.toml")
    assert offer.tariff.base.kinds == pytest.approx((0.02e-6, 0.25e-6, 0.2e-6, 0.6e-6))
    assert offer.tariff.tiers[0].above == 200_000 and offer.batch and offer.since == "2026-11-01"


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("o.toml", TOML.replace("0.9", "-0.9"), "offer 1: output is '-0.9'"), ("o.toml", TOML.replace("0.9", "nan"),
        "output is 'nan'"),
        ("o.toml", TOML + 'currency = "EUR"\n', "is in 'EUR'; prices must be in USD"),
        ("o.toml", TOML + "colour = 1\n", "no key of an offer"),
        ("o.toml", TOML.replace("output = 0.9\n", ""), "no price of output"), ("o.toml", "x = 1\n", "no offers"),
        ("o.toml", TOML.replace("above = 100000, ", ""), "tiers must be tables with above"),
        ("o.toml", "[[offers]\n", "not TOML"),
        ("o.toml", TOML.replace("100000", '"x"'), "above is 'x'"), ("o.toml", TOML.replace("2026-11-01", "soon"),
        "since is 'soon'"),
        ("o.toml", "offers = 3\n", r"write \[\[offers\]\]"), ("o.toml", TOML.replace('"mine"', "3"), "has no provider"),
        ("o.csv", "provider,model,input,output\na,b,1,2\nc,d,EUR 1,2\n", "line 3: input is 'EUR 1'"),
        ("o.csv", "provider,model,input\na,b,1\n", "line 2 has no price of output"), ("o.csv", "", "no offers"),
        ("o.csv", "provider,model,input,output\na,b,1,2,3\n", "no key of an offer"), ("o.json", "{}", "no known form"),
        ("o.csv", "provider,model,input,output,currency\na,b,1,2,GBP\n", "line 2 is in 'GBP'"),
    ],
)  # fmt: skip
def test_bad_own_offers_are_refused_with_their_place(tmp_path: Path, name: str, content: str, said: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(PertokenError, match=said):
        offers.read_own(tmp_path / name)
