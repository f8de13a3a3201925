"""Which measured efficiency stands in where none was measured: the nearest format, phase or accelerator, said so.

An efficiency is a share of a datasheet peak, so it carries over to another datasheet better than any rate would.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from pertoken.engine.efficiency import Efficiency
from pertoken.engine.factor import EngineFactor
from pertoken.errors import PertokenError
from pertoken.hardware.accelerator import Accelerator

ELEMENTWISE = 0.7  # share of the memory rate in norms and activations where none was measured, assumed
ADDING = ("hopper", "blackwell")  # families whose link switches add (NVLink SHARP)
LAUNCH_S = 2e-6  # one small kernel inside a replayed graph where none was measured, assumed

# llama.cpp's quantised formats: which of its own measured kernels stands in
_OWN = {"q8_0": "q4_k_m", "q6_k": "q4_k_m", "q5_k_m": "q4_k_m", "q4_0": "q4_k_m", "bf16": "fp16"}

# by format and arithmetic: which measured kernels stand in, nearest first; half precision stands in for anything
_KERNELS: dict[tuple[str, str], tuple[str, ...]] = {
    ("fp8_block", "fp8"): ("fp8_block", "fp8", "int8"),
    ("fp8", "fp8"): ("fp8", "fp8_block", "int8"),
    ("mxfp8", "fp8"): ("fp8_block", "fp8", "int8"),
    ("int8", "int8"): ("int8", "fp8"),
    ("nvfp4", "nvfp4"): ("nvfp4", "fp8"),
    ("mxfp4", "mxfp4"): ("w4a8_mxfp4", "nvfp4", "fp8"),
    ("mxfp4", "bf16"): ("w4a16_mxfp4", "int4", "w8a16"),
    ("nvfp4_w4a16", "bf16"): ("w4a16_mxfp4", "int4", "w8a16"),
    ("w8a16", "bf16"): ("w8a16", "int4"),
    ("q8_0", "bf16"): ("w8a16", "int4"),
    ("bf16", "bf16"): (), ("fp16", "fp16"): (), ("fp16", "bf16"): (), ("fp32", "fp32"): (),
}  # fmt: skip
_PHASES = {"fp8": ("bf16",), "bf16": ("fp8",)}
_COLLECTIVES = {
    "send": ("all_to_all", "all_gather", "all_reduce"),
    "all_to_all": ("all_gather", "reduce_scatter", "all_reduce"),
    "all_gather": ("reduce_scatter", "all_reduce"),
    "all_reduce": ("all_gather",),
}


@dataclass
class Chooser:
    """Picks efficiencies for a deployment and keeps a list of those that had to stand in.

    Parameters
    ----------
    efficiency : Efficiency
        What was measured on the accelerator, or on the one nearest to it.
    fallback : Efficiency or None
        Another accelerator's, for what the first lacks.
    assumed : list of str
        Sentences on what stood in, in the order met.
    engines : tuple of str
        Engines whose own kernels are asked for, the first that was measured; with none, those of the fit over all engines.
    target : Accelerator or None
        What the efficiencies are for, where it is not what they were measured on.
    links : Efficiency or None
        What was measured over a link of the same kind, where the nearest accelerator has another kind.
    own : Efficiency or None
        Kernels that this engine alone has, measured under it; they come before all others.
    scale : EngineFactor or None
        A user's own calibration, on everything but links.
    """

    efficiency: Efficiency
    fallback: Efficiency | None = None
    assumed: list[str] = field(default_factory=list)
    engines: tuple[str, ...] = ()
    target: Accelerator | None = None
    links: Efficiency | None = None
    own: Efficiency | None = None
    scale: EngineFactor | None = None

    def _note(self, sentence: str) -> None:
        if sentence not in self.assumed:
            self.assumed.append(sentence)

    def _pick(self, group: str, key: str, nearest: tuple[str, ...], compute: str = "") -> Any:
        first = self.links if group == "collective" and self.links else self.efficiency
        for known in (first, self.fallback):
            if known is None:
                continue
            for name in (key, *nearest):
                found = getattr(known, group).get(name)
                if found is not None:
                    if name != key or known is not self.efficiency:
                        self._note(f"{group} efficiency in {key}: that of {name} on {known.accelerator}")
                    asked = (known.engines.get(engine, {}).get(f"{group}.{name}") for engine in self.engines)
                    factor = next((factor for factor in asked if factor), None)
                    found = factor.of(found) if factor else found
                    return self.adapt(group, self._carried(found, known, name, compute))
        raise PertokenError(
            f"no {group} efficiency is known for {self.efficiency.accelerator}; use another accelerator"
        )

    def _carried(self, found: Any, known: Efficiency, name: str, compute: str) -> Any:
        """An efficiency as it is here: padding keeps to the ridge, and the ramp of a read to the rate.

        The bytes at which a read reaches half its rate are those in flight, rate times latency (Little's law); latencies of
        memories differ less than their rates.
        """
        if self.target is None or self.target.name == known.accelerator:
            return found
        changed = {}
        if compute:
            changed["m_half"] = found.m_half * self._ridge(known, name, compute)
        if hasattr(found, "launch_s") and "memory" in known.peaks:
            changed["bytes_half"] = found.bytes_half * self.target.bandwidth.value / known.peaks["memory"]
        if getattr(found, "in_switch", False) and self.target.family not in ADDING:
            changed["in_switch"] = False
        return replace(found, **changed) if changed else found

    def adapt(self, group: str, record: Any) -> Any:
        """An efficiency under the user's own calibration."""
        return record if self.scale is None or group == "collective" else self.scale.of(record)

    def _ridge(self, known: Efficiency, name: str, compute: str) -> float:
        """Tokens at which weights and arithmetic take equally long here, over those where it was measured; at most 1.

        Rows of padding cost arithmetic: carried to an accelerator with fewer FLOP per byte they would pass the weight read.
        """
        assert self.target
        measured = known.peaks[known.arithmetic.get(name, name)] / known.peaks["memory"]
        return min(1.0, self.target.peak(compute) / self.target.bandwidth.value / measured)

    def kernel(self, group: str, form: str, compute: str) -> Any:
        """Efficiency of ``matmul`` or ``experts`` with weights of one format, multiplied in one arithmetic."""
        if self.own:
            known_own = getattr(self.own, group)
            name = next((name for name in (form, _OWN.get(form, form)) if name in known_own), None)
            if name:
                on = self.own.accelerator
                if name != form or (self.target and self.target.name != on):
                    self._note(f"{group} efficiency in {form}: {self.engines[0]}'s own in {name} on {on}")
                return self.adapt(group, known_own[name])
        half = "bf16" if compute in ("bf16", "fp16", "fp32", "tf32") else compute
        known = _KERNELS.get((form, half), ("int4", "w8a16") if half == "bf16" else ())
        wanted = (*known, "bf16")
        return self._pick(group, wanted[0], wanted[1:], compute)

    def phase(self, group: str, cache: str) -> Any:
        """Efficiency of ``prefill``, ``decode``, ``latent_prefill`` or ``latent_decode`` at one cache format."""
        return self._pick(group, cache, _PHASES[cache])

    def collective(self, kind: str) -> Any:
        """Efficiency of one collective."""
        wanted = _COLLECTIVES[kind] if kind == "send" else (kind, *_COLLECTIVES[kind])
        return self._pick("collective", wanted[0], wanted[1:])

    @property
    def elementwise(self) -> float:
        """Share of the memory rate that operations on activations reach."""
        found = self.efficiency.elementwise
        if found is None:
            self._note(f"norms and activations reach {ELEMENTWISE:.0%} of the memory rate")
            found = ELEMENTWISE
        return min(1.0, found / self.scale.memory) if self.scale else found
