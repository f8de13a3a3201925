"""What a deployment takes for granted of its engine, fabric and routing, in sentences for the receipt."""

from __future__ import annotations

from collections.abc import Container

from pertoken.engine.collectives import NETWORK_LATENCY_S
from pertoken.engine.deployment import RUNTIME_BYTES, Deployment
from pertoken.engine.ops import CHAIN, EVENNESS, ExpertsOp
from pertoken.engine.transfer import LAUNCH_S
from pertoken.units import format_bytes, format_seconds

_WAITS = (
    ("host_step", "a step"),
    ("host_sequence", "a sequence"),
    ("rank_skew", "a collective and rank"),
    ("prompt_launch", "a kernel of steps with prompts, as far as kernels do not hide it"),
    ("request_delay", "a request before its first token"),
)


def assumptions(d: Deployment, given: Container[str]) -> list[str]:
    """Sentences on what was not given.

    Parameters
    ----------
    d : Deployment
        What serves.
    given : container of str
        Names of knobs that were given.
    """
    profile = d.profile
    found = [] if "engine" in given else [f"engine {profile.name}"]
    for name in ("token_budget", "max_sequences"):
        if name not in given:
            number = getattr(profile, name)
            found.append(f"at most {number.value:,.0f} {number.unit}s a step, {profile.title}'s default here")
    share = f"{profile.memory_fraction.value:.0%} of memory"
    work = f"activations, logits and {format_bytes(RUNTIME_BYTES)} of runtime"
    found.append(
        f"caches take {share} that weights and {format_bytes(d.workspace_bytes)} of {work} leave"
        if profile.of_free
        else f"the engine uses {share}, {format_bytes(d.workspace_bytes)} of it for {work}"
    )
    if d.launches_s and not d.prompt_launches_s:
        found.append(f"captured graphs replay steps with prompts too, {profile.title}'s default on NVIDIA accelerators")
    if profile.reserves:
        found.append("a request is admitted when the cache of its whole answer is free, whose length the engine knows")
    found += [*_waits(d), f"{format_seconds(LAUNCH_S)} to launch a small kernel"]
    if any(isinstance(op, ExpertsOp) for op in d.plan):
        found.append(
            f"experts are not equally popular (beta distribution, first shape {EVENNESS:g}), and {CHAIN:g} small kernels"
            " stand behind their products"
        )
    if d.accelerators > 1 and d.accelerator.in_slots:
        found.append(f"up to {d.fabric.domain} accelerators share the PCIe of one host")
    if d.overlap != "none":
        found.append(
            "the all-to-all of one micro-batch hides whole behind the other's work, as far as that is long enough"
        )
    if d.crosses_domains:
        network = "" if "network" in given else f"network of {format_bytes(d.fabric.network)}/s per accelerator and "
        found.append(f"{network}{format_seconds(NETWORK_LATENCY_S)} a hop between link domains")
    return found


def _waits(d: Deployment) -> list[str]:
    """What the engine adds to its kernels, each wait with where it comes from; equal origins said once."""
    by_origin: dict[str, list[str]] = {}
    for name, what in _WAITS:
        time = getattr(d.profile, name)
        idle = {"rank_skew": d.split.tp == 1, "prompt_launch": not d.prompt_launches_s}.get(name, False)
        if time.value and not idle:
            by_origin.setdefault(time.note, []).append(f"{format_seconds(time.value)} {what}")
    if not by_origin:
        return [f"{d.profile.title} adds no time to its kernels"]
    return [f"{d.profile.title} adds {' and '.join(times)}, {note}" for note, times in by_origin.items()]
