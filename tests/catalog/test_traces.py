"""Shipped traces are those that were published, with their attribution."""

from __future__ import annotations

import numpy as np
import pytest

from pertoken.catalog import files, traces


@pytest.mark.parametrize(("name", "requests", "inputs", "outputs"), [
    ("azure-2023-conversation", 19_366, 1154.7, 211.1), ("azure-2023-code", 8_819, 2047.8, 27.9),
    ("mooncake-conversation", 12_031, 12035.1, 342.6), ("mooncake-synthetic", 3_993, 15325.5, 149.1),
])  # fmt: skip
def test_counts_and_means(name: str, requests: int, inputs: float, outputs: float) -> None:
    found = traces.load_lengths(name)
    assert found.input.size == found.output.size == requests
    assert round(float(found.input.mean()), 1) == inputs
    assert round(float(found.output.mean()), 1) == outputs
    assert np.all(found.input == np.round(found.input)) and found.input.min() >= 1 and found.output.min() >= 1


def test_the_default_is_shipped() -> None:
    assert traces.DEFAULT in traces.names()
    assert len(traces.names()) == 4


def test_attribution() -> None:
    notice = (files.ROOT / "traces" / "NOTICE.md").read_text(encoding="utf-8")
    for needed in (
        "Azure LLM\ninference trace 2023", "Microsoft", "Creative Commons Attribution 4.0", "https://creativecommons.org/licenses/by/4.0/",
        "https://github.com/Azure/AzurePublicDataset", "Splitwise", "Changed:", "19,366", "8,819",
    ):  # fmt: skip
        assert needed in notice, needed
    assert "gpu-price-index" in (files.ROOT / "rates" / "NOTICE.md").read_text(encoding="utf-8")
    everything = (files.ROOT / "NOTICE.md").read_text(encoding="utf-8")
    for source in ("aiconfigurator", "Apache-2.0", "traces/", "rates/"):
        assert source in everything
    for needed in ("Mooncake", "Apache License 2.0", "12,031", "3,993", "https://github.com/kvcache-ai/Mooncake"):
        assert needed in notice, needed
    assert "genai-prices" in everything
