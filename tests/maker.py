"""Makes models, accelerators, profiles, efficiencies and deployments for tests, without catalog files or readers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pertoken.engine.deployment import Deployment
from pertoken.engine.efficiency import (
    AttentionEfficiency,
    CollectiveEfficiency,
    Efficiency,
    LatentEfficiency,
    MatmulEfficiency,
)
from pertoken.engine.parallel import Split
from pertoken.engine.profile import Profile
from pertoken.engine.transfer import Chooser
from pertoken.hardware.accelerator import Accelerator
from pertoken.hardware.link import Link
from pertoken.model.attention import ChunkedQuery, GroupedQuery, Indexer, Latent
from pertoken.model.feedforward import Dense, Experts
from pertoken.model.model import Block, Model
from pertoken.model.precision import Precision
from pertoken.model.recurrent import Recurrent
from pertoken.sources import Source, Sourced

MADE_UP = Source("made up for a test")
LIMIT = 10_000_000  # context limit of the made-up models [token]


def number(value: float, unit: str) -> Sourced:
    """A sourced number whose source is this file."""
    return Sourced(float(value), unit, MADE_UP)


def accelerator(
    *, flops: float = 1e15, bandwidth: float = 3e12, memory: float = 80e9, link: float | None = 450e9, domain: int = 8,
    watts: float | None = 700.0,
) -> Accelerator:  # fmt: skip
    """An accelerator of round figures; fp8 is twice as fast as bf16."""
    return Accelerator(
        name="round",
        title="Round figures",
        vendor="nobody",
        family="none",
        kind="gpu",
        flops={"bf16": number(flops, "FLOP/s"), "fp8": number(2 * flops, "FLOP/s")},
        memory=number(memory, "byte"),
        bandwidth=number(bandwidth, "byte/s"),
        link=Link("wire", number(link, "byte/s"), number(domain, "accelerator")) if link else None,
        board_power=number(watts, "W") if watts else None,
    )


def profile(**changes: float) -> Profile:
    """An engine profile of round figures."""
    figures = {
        "host_step": 2e-3, "host_sequence": 20e-6, "rank_skew": 1e-6, "prompt_launch": 5e-6,
        "launch_share": 1.0, "graph_sequences": 512, "request_delay": 0.0,
        "memory_fraction": 0.9, "token_budget": 8192,
        "max_sequences": 256,
    } | changes  # fmt: skip
    units = {
        "host_step": "s",
        "host_sequence": "s",
        "rank_skew": "s",
        "prompt_launch": "s",
        "launch_share": "1",
        "graph_sequences": "sequence",
        "request_delay": "s",
        "token_budget": "token",
        "max_sequences": "sequence",
    }
    made = {name: number(value, units.get(name, "1")) for name, value in figures.items()}
    return Profile(name="made-up", title="Made up", versions="1", **made)


def efficiency(**changes: Any) -> Efficiency:
    """Shares of peaks as a recent accelerator's measured kernels have them, rounded."""
    matmul = MatmulEfficiency(0.8, 70.0, 60.0, 160.0, 0.8, 1.5e6, 3e-6)
    experts = MatmulEfficiency(0.6, 40.0, 280.0, 80.0, 0.84, 3e6, 27e-6)
    prefill = AttentionEfficiency(0.9, 750.0, 55.0, 0.9, 0.0, 0.0, 15e-6)
    decode = AttentionEfficiency(0.3, 0.0, 0.0, 0.88, 1e6, 105.0, 10e-6)
    wire = CollectiveEfficiency(2.3e-6, 2.4e-7, 0.8, 1.7e6, 0.004)
    made = Efficiency(
        accelerator="round",
        matmul={"bf16": matmul, "fp8": replace(matmul, peak=0.7, n_half=1900.0)},
        experts={"bf16": experts, "fp8": replace(experts, peak=0.7)},
        prefill={"bf16": prefill},
        decode={"bf16": decode},
        latent_prefill={"bf16": LatentEfficiency(0.66, 570.0, 0.0, 0.9, 0.0, 0.0, 18e-6)},
        latent_decode={"bf16": LatentEfficiency(0.64, 0.0, 20.0, 0.88, 9e5, 137.0, 14e-6)},
        collective={"all_reduce": wire, "all_gather": wire, "all_to_all": replace(wire, latency_s=7.5e-6)},
        elementwise=0.9,
    )
    return replace(made, **changes)


def ideal() -> Efficiency:
    """Every operation reaches its peak, launches cost nothing: the bare roofline, for tests of theory."""
    attention = AttentionEfficiency(1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0)
    latent = LatentEfficiency(1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0)
    wire = CollectiveEfficiency(0.0, 0.0, 1.0, 0.0)
    return Efficiency(
        accelerator="round",
        matmul={"bf16": MatmulEfficiency(1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0)},
        experts={"bf16": MatmulEfficiency(1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0)},
        prefill={"bf16": attention},
        decode={"bf16": attention},
        latent_prefill={"bf16": latent},
        latent_decode={"bf16": latent},
        collective={"all_reduce": wire, "all_gather": wire, "all_to_all": wire},
        elementwise=1.0,
    )


def dense(
    layers: int = 8, hidden: int = 2048, *, inner: int = 8192, heads: int = 16, kv_heads: int = 8, **more: Any
) -> Model:
    """A dense grouped-query model."""
    attention = GroupedQuery(hidden, heads, kv_heads, hidden // heads)
    return Model("dense", hidden, 32_000, (Block(layers, attention, Dense(hidden, inner)),), LIMIT, **more)


def llama_2_7b() -> Model:
    """Shapes as in Touvron et al. 2023, arXiv:2307.09288, with a long context limit for tests."""
    block = Block(32, GroupedQuery(4096, 32, 32, 128), Dense(4096, 11_008))
    return Model("llama-2-7b", 4096, 32_000, (block,), LIMIT, extra=4096)


def llama_3_70b() -> Model:
    """Shapes as in Llama Team 2024, arXiv:2407.21783, with a long context limit for tests."""
    block = Block(80, GroupedQuery(8192, 64, 8, 128), Dense(8192, 28_672))
    return Model("llama-3.1-70b", 8192, 128_256, (block,), LIMIT, extra=8192)


def deepseek_attention(heads: int = 128, indexer: Indexer | None = None) -> Latent:
    """Latent attention of DeepSeek-V3, arXiv:2412.19437."""
    return Latent(7168, heads, 1536, 512, 128, 64, 128, indexer)


def moe(layers: int = 8, experts: int = 32, active: int = 4) -> Model:
    """A mixture of experts with a shared one and a dense first layer."""
    attention = GroupedQuery(2048, 16, 8, 128)
    routed = Experts(2048, experts, active, 1024, shared_inner=1024)
    blocks = (Block(1, attention, Dense(2048, 8192)), Block(layers - 1, attention, routed))
    return Model("moe", 2048, 32_000, blocks, LIMIT)


def latent(indexer: Indexer | None = None) -> Model:
    """Latent attention with experts, few layers."""
    routed = Experts(7168, 32, 4, 1024, shared_inner=1024)
    return Model("latent", 7168, 32_000, (Block(4, deepseek_attention(indexer=indexer), routed),), LIMIT)


def sparse() -> Model:
    """Latent attention that reads a top k picked by an indexer."""
    return replace(latent(Indexer(64, 128, 2048)), name="sparse")


def windowed() -> Model:
    """Three layers with a sliding window for one that sees all, tied head, biases."""
    near = GroupedQuery(2048, 16, 8, 128, window=512, bias=True, sinks=True)
    far = GroupedQuery(2048, 16, 8, 128, bias=True, sinks=True)
    f = Dense(2048, 6144)
    return Model("windowed", 2048, 32_000, (Block(6, near, f), Block(2, far, f)), LIMIT, tied=True)


def chunked() -> Model:
    """Layers that attend inside fixed chunks, beside ones that see all."""
    near, far = ChunkedQuery(2048, 16, 8, 128, window=1024), GroupedQuery(2048, 16, 8, 128)
    f = Dense(2048, 6144)
    return Model("chunked", 2048, 32_000, (Block(6, near, f), Block(2, far, f)), LIMIT)


def recurrent() -> Model:
    """Layers with a fixed state beside a few that attend."""
    state = Recurrent(2048, 16, 6144, 2048, 16 * 128 * 128, conv_channels=6144, conv_width=4)
    f = Dense(2048, 6144)
    blocks = (Block(6, state, f), Block(2, GroupedQuery(2048, 16, 8, 128), f))
    return Model("recurrent", 2048, 32_000, blocks, LIMIT)


KINDS = {
    "dense": dense, "moe": moe, "latent": latent, "sparse": sparse, "windowed": windowed, "chunked": chunked,
    "recurrent": recurrent,
}  # fmt: skip


def deploy(
    model: Model | None = None, split: Split | None = None, *, weights: str = "bf16", kv: str = "bf16",
    on: Accelerator | None = None, engine: Profile | None = None, shares: Efficiency | None = None, **more: Any,
) -> Deployment:  # fmt: skip
    """A deployment; a small dense model on one accelerator unless told otherwise."""
    return Deployment(
        model or dense(),
        Precision(weights, {}, kv),
        on or accelerator(),
        split or Split(),
        engine or profile(),
        Chooser(shares or efficiency()),
        **more,
    )


def bare(model: Model | None = None, split: Split | None = None, **more: Any) -> Deployment:
    """A deployment on the bare roofline: peaks reached, no host time."""
    engine = profile(
        host_step=0.0, host_sequence=0.0, rank_skew=0.0, prompt_launch=0.0, request_delay=0.0, memory_fraction=1.0
    )
    return deploy(model, split, shares=ideal(), engine=engine, **more)
