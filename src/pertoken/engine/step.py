"""A Step is what one forward pass handles: new tokens and context of each sequence."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

Number = Any


@dataclass(frozen=True)
class Prefill:
    """Equal chunks of prompts.

    Parameters
    ----------
    sequences : float or ndarray
        Prompts that have a chunk in the step.
    new : float or ndarray
        New input tokens of each [token].
    context : float or ndarray
        Tokens of each that are in the cache already [token].
    cached : float or ndarray
        Those of ``context`` that a prefix cache supplied [token].
    """

    sequences: Number
    new: Number
    context: Number
    cached: Number = 0.0

    @property
    def tokens(self) -> Number:
        """New input tokens in the step [token]."""
        return self.sequences * self.new


@dataclass(frozen=True)
class Decode:
    """Sequences that decode.

    Parameters
    ----------
    sequences : float or ndarray
        How many.
    context : float or ndarray
        Tokens of each in the cache [token].
    new : float or ndarray
        Tokens of each that pass the layers: one, and with speculative decoding its drafts [token].
    """

    sequences: Number
    context: Number
    new: Number = 1.0

    @property
    def tokens(self) -> Number:
        """Tokens that pass through the layers [token]."""
        return self.sequences if isinstance(self.new, float) and self.new == 1.0 else self.sequences * self.new


@dataclass(frozen=True)
class Step:
    """One forward pass.

    Parameters
    ----------
    decodes : tuple of Decode
        Decoding sequences, grouped by context.
    prefill : Prefill or None
        Prompt chunks, if the step has any.
    finishing : float or ndarray
        Prompts that end in this step, each emitting its first output token.
    """

    decodes: tuple[Decode, ...] = ()
    prefill: Prefill | None = None
    finishing: Number = 0.0

    @cached_property
    def input_tokens(self) -> Number:
        """New input tokens [token]."""
        return self.prefill.tokens if self.prefill else 0.0

    @cached_property
    def decode_tokens(self) -> Number:
        """Tokens of decoding sequences, drafts included [token]."""
        return sum(d.tokens for d in self.decodes) if self.decodes else 0.0

    @cached_property
    def decode_sequences(self) -> Number:
        """Sequences that decode."""
        return sum(d.sequences for d in self.decodes) if self.decodes else 0.0

    @cached_property
    def tokens(self) -> Number:
        """Tokens that pass through the layers [token]."""
        return self.input_tokens + self.decode_tokens

    @cached_property
    def emitted(self) -> Number:
        """Tokens that pass the head: output tokens, drafts to check, and the first of finishing prompts [token]."""
        return self.decode_tokens + self.finishing

    @cached_property
    def sequences(self) -> Number:
        """Sequences in the step."""
        return self.decode_sequences + (self.prefill.sequences if self.prefill else 0.0)

    def scaled(self, factor: Number) -> Step:
        """The same lengths with ``factor`` times the sequences."""
        decodes = tuple(replace(d, sequences=d.sequences * factor) for d in self.decodes)
        prefill = self.prefill and replace(self.prefill, sequences=self.prefill.sequences * factor)
        return Step(decodes, prefill, self.finishing * factor)
