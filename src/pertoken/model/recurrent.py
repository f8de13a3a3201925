# ruff: noqa: ARG002 - one signature for all kinds; not every kind needs all of it
"""Layers in the place of attention whose memory does not grow: state spaces, linear attention, a plain matrix.

References
----------
.. [4] Dao and Gu 2024, arXiv:2405.21060 (Mamba-2). Yang et al. 2024, arXiv:2412.06464 (gated delta networks).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from pertoken.model.base import Attention, Number, check_positive, split_heads
from pertoken.model.matmul import Matmul


@dataclass(frozen=True)
class Recurrent(Attention):
    """Linear attention or a state space [4]_: a fixed state, read and written once a sequence and step.

    Parameters
    ----------
    in_width : int
        Columns of the input projections together.
    inner : int
        Rows of the output projection.
    state : int
        Elements of the recurrent state of one sequence (heads x key x value, or heads x head_dim x state).
    flop_per_state : float
        FLOP per token and state element (decay, update, read: about 6).
    conv_channels, conv_width : int
        Depthwise convolution in front of the state.
    extra : int
        Parameters in no matmul (norms, decay, time steps).
    state_bytes : float
        Bytes per state element (fp32 unless the config says otherwise) [byte].
    """

    kind: ClassVar[str] = "linear"
    hidden: int
    heads: int
    in_width: int
    inner: int
    state: int
    flop_per_state: float = 6.0
    conv_channels: int = 0
    conv_width: int = 0
    extra: int = 0
    state_bytes: float = 4.0

    def __post_init__(self) -> None:
        check_positive(self, "hidden", "heads", "in_width", "inner", "state")

    def projections(self, tp: int = 1) -> tuple[Matmul, ...]:
        split_heads(self.heads, tp, "state heads")
        return (
            Matmul("state_in", self.hidden, -(-self.in_width // tp), "attention"),
            Matmul("state_out", self.inner // tp, self.hidden, "attention"),
        )

    @property
    def other_parameters(self) -> int:
        return self.conv_channels * self.conv_width + self.extra

    def flop(self, new: Number, context: Number, tp: int = 1) -> Number:
        per_token = self.flop_per_state * self.state + 2.0 * self.conv_channels * self.conv_width
        return per_token / tp * new + 0.0 * context

    def _state_bytes(self, tp: int) -> float:
        return (self.state * self.state_bytes + self.conv_channels * max(self.conv_width - 1, 0) * 2.0) / tp

    def read_bytes(self, new: Number, context: Number, kv: float, tp: int = 1) -> Number:
        return self._state_bytes(tp) + 0.0 * new + 0.0 * context

    def written_bytes(self, new: Number, kv: float, tp: int = 1) -> Number:
        return self._state_bytes(tp) + 0.0 * new

    def held_bytes(self, context: Number, kv: float, tp: int = 1) -> Number:
        return self._state_bytes(tp) + 0.0 * context


@dataclass(frozen=True)
class Replaced(Attention):
    """One matrix in the place of attention (layers that a search has pruned, as in nemotron-nas)."""

    kind: ClassVar[str] = "linear"
    hidden: int

    def __post_init__(self) -> None:
        check_positive(self, "hidden")

    def projections(self, tp: int = 1) -> tuple[Matmul, ...]:
        return (Matmul("replaced", self.hidden, -(-self.hidden // tp), "attention"),)

    @property
    def other_parameters(self) -> int:
        return 0

    def flop(self, new: Number, context: Number, tp: int = 1) -> Number:
        return 0.0 * new + 0.0 * context

    def read_bytes(self, new: Number, context: Number, kv: float, tp: int = 1) -> Number:
        return 0.0 * new + 0.0 * context

    def written_bytes(self, new: Number, kv: float, tp: int = 1) -> Number:
        return 0.0 * new

    def held_bytes(self, context: Number, kv: float, tp: int = 1) -> Number:
        return 0.0 * context
