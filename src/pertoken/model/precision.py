"""Number formats: bits a weight takes in memory, and the arithmetic it is multiplied in.

References
----------
.. [1] llama.cpp quantize documentation: bits per weight of q8_0 and q4_k_m on Llama 3.1 8B.
.. [2] OCP Microscaling Formats v1.0 (mxfp4: one 8-bit scale for 32 elements).
.. [3] NVIDIA 2025, nvfp4: one fp8 scale for 16 elements.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from pertoken.errors import PertokenError
from pertoken.model.matmul import ROLES


@dataclass(frozen=True)
class Format:
    """One number format.

    Parameters
    ----------
    name : str
        As users write it.
    bits : float
        Bits per stored weight, scales included [bit].
    compute : tuple of str
        Arithmetic it runs in: the first of these that the accelerator has.
    cache : float
        Bytes per element when a KV cache is kept in it; 0 when it cannot be [byte].
    """

    name: str
    bits: float
    compute: tuple[str, ...]
    cache: float = 0.0

    @property
    def bytes(self) -> float:
        """Bytes per stored weight [byte]."""
        return self.bits / 8.0


_HALF = ("bf16", "fp16", "fp32")
FORMATS: Mapping[str, Format] = MappingProxyType(
    {
        f.name: f
        for f in (
            Format("fp32", 32.0, ("fp32", "tf32"), 4.0),
            Format("bf16", 16.0, _HALF, 2.0),
            Format("fp16", 16.0, ("fp16", "bf16", "fp32"), 2.0),
            Format("fp8", 8.0, ("fp8",), 1.0),
            Format("int8", 8.0, ("int8",), 1.0),
            Format("nvfp4", 4.5, ("nvfp4",), 0.5625),
            Format("mxfp8", 8.25, ("fp8",), 1.03125),
            # weights only: unpacked to half precision on the way, so every accelerator can run them
            Format("mxfp4", 4.25, ("mxfp4", *_HALF)),
            Format("w8a16", 8.125, _HALF),
            Format("nvfp4_w4a16", 4.5, _HALF),
            Format("int4", 4.125, _HALF, 0.5625),
            Format("int4_g32", 4.5, _HALF),
            Format("q8_0", 8.5, _HALF, 1.0625),
            Format("q6_k", 6.5625, _HALF),
            Format("q5_k_m", 5.69, _HALF),
            Format("q4_k_m", 4.89, _HALF),
            Format("q4_0", 4.5, _HALF, 0.5625),
        )
    }
)
ALIASES: Mapping[str, str] = MappingProxyType(
    {
        "bfloat16": "bf16", "float16": "fp16", "half": "fp16", "float32": "fp32", "float": "fp32", "float8": "fp8",
        "fp8_e4m3": "fp8", "e4m3": "fp8", "w8a8": "int8", "fp4": "nvfp4", "w4a16": "int4", "awq": "int4",
        "gptq": "int4", "w4a16_nvfp4": "nvfp4_w4a16", "q4": "q4_k_m", "q8": "q8_0", "q4_k": "q4_k_m",
    }
)  # fmt: skip

GGUF = frozenset(("q8_0", "q6_k", "q5_k_m", "q4_k_m", "q4_0"))  # llama.cpp's, whose bits are means over a file


def number_format(name: str) -> Format:
    """The format called ``name``, or a sentence listing those there are."""
    key = ALIASES.get(str(name).strip().lower(), str(name).strip().lower())
    if key not in FORMATS:
        raise PertokenError(f"number format {str(name)[:60]!r} is not known; use one of {', '.join(FORMATS)}")
    return FORMATS[key]


@dataclass(frozen=True)
class Precision:
    """Formats of a checkpoint's weights by role, and of its cache.

    Parameters
    ----------
    weights : str
        Format of the matrices, unless ``roles`` says otherwise.
    roles : mapping of str to str
        Formats of single roles, such as ``{"head": "bf16"}``.
    kv : str
        Format of the KV cache.
    blocks : bool
        fp8 weights carry a scale for each block of 128 x 128 (DeepSeek's way), which has kernels of its own.
    """

    weights: str
    roles: Mapping[str, str] = field(default_factory=dict)
    kv: str = "bf16"
    blocks: bool = False

    def __post_init__(self) -> None:
        number_format(self.weights)
        for role, name in self.roles.items():
            if role not in ROLES:
                raise PertokenError(f"weight role {role!r} is not known; use one of {', '.join(ROLES)}")
            number_format(name)
        if not number_format(self.kv).cache:
            able = [f.name for f in FORMATS.values() if f.cache]
            raise PertokenError(f"a KV cache cannot be kept in {self.kv}; use --kv-dtype with one of {', '.join(able)}")

    def of(self, role: str) -> Format:
        """Format of the weights of one role."""
        return number_format(self.roles.get(role, self.weights))
