"""What an OpenAI-compatible server streams: events, token counts from ``usage``, and how far they can be trusted.

References
----------
.. [1] OpenAI API reference, chat and completions: ``stream_options.include_usage`` sends ``usage`` in the last event.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

MOST_LINE = 4 * 2**20  # bytes of one event
SPARE = 2  # events that carry no token of their own: a role, an end
SPECIAL = 8  # tokens that a server may add to a prompt of token ids


class Failure(Exception):
    """Why a request has no answer.

    Parameters
    ----------
    kind : str
        A few words, by which failures are counted.
    again : bool
        Whether it may be tried again.
    wait : float
        Seconds that the server asks to wait [s].
    """

    def __init__(self, kind: str, again: bool = False, wait: float = 0.0) -> None:
        super().__init__(kind)
        self.kind, self.again, self.wait = kind, again, wait


@dataclass
class Heard:
    """A stream as far as it has come.

    Parameters
    ----------
    times : list of float
        When events with tokens came [s].
    usage : mapping or None
        The server's last count of tokens.
    finished : bool
        Whether the server said that the answer is whole.
    """

    times: list[float] = field(default_factory=list)
    usage: dict[str, Any] | None = None
    finished: bool = False
    _rest: bytes = b""

    def feed(self, part: bytes, now: float) -> None:
        """Take bytes that have arrived.

        Raises
        ------
        Failure
            When they are no events, or an event says that the server failed.
        """
        *lines, self._rest = (self._rest + part).split(b"\n")
        if len(self._rest) > MOST_LINE:
            raise Failure(f"an event of more than {MOST_LINE:,} bytes")
        for line in lines:
            self._line(line.strip(), now)

    def _line(self, line: bytes, now: float) -> None:
        if not line or line.startswith((b":", b"event:", b"id:", b"retry:")):
            return
        if not line.startswith(b"data:"):
            raise Failure("garbage instead of events")
        data = line[5:].strip()
        if data == b"[DONE]":
            self.finished = True
            return
        try:
            event = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise Failure("garbage instead of events") from error
        if not isinstance(event, dict):
            raise Failure("garbage instead of events")
        if event.get("error"):
            raise Failure("an error in the stream")
        self._event(event, now)

    def _event(self, event: dict[str, Any], now: float) -> None:
        if isinstance(event.get("usage"), dict):
            self.usage = event["usage"]
        choices = event.get("choices") or []
        for choice in choices if isinstance(choices, list) else [None]:
            if not isinstance(choice, dict):
                raise Failure("garbage instead of events")
            ended = choice.get("finish_reason") is not None
            self.finished = self.finished or ended
            if any(_said(choice)) or ("text" in choice and not ended):
                self.times.append(now)

    def counts(self, sent: int | None, limit: int, characters: int) -> tuple[int, int, int | None]:
        """Input, output and cached tokens by ``usage``.

        Parameters
        ----------
        sent : int or None
            Token ids of the prompt; None where it was text.
        limit : int
            Output tokens asked for.
        characters : int
            Of a prompt of text.

        Raises
        ------
        Failure
            When the stream ended early, there is no count, or it cannot be true.
        """
        if not self.finished and self.usage is None:
            raise Failure("the stream ended in the middle", again=True)
        if self.usage is None:
            raise Failure("no usage in the stream: tokens cannot be counted")
        prompt, output = (_whole(self.usage.get(key)) for key in ("prompt_tokens", "completion_tokens"))
        if prompt is None or output is None:
            raise Failure("usage without token counts")
        if not self.times:
            raise Failure("an answer without tokens", again=True)
        cached = _cached(self.usage)
        for false in _lies(prompt, output, cached, sent, limit, characters, len(self.times)):
            raise Failure(f"usage cannot be true: {false}")
        return prompt, output, cached


def _said(choice: dict[str, Any]) -> Iterator[bool]:
    """Whether a choice carries text of any kind."""
    delta = choice.get("delta")
    for table in (choice, delta if isinstance(delta, dict) else {}):
        yield from (bool(table.get(key)) for key in ("text", "content", "reasoning_content", "reasoning", "tool_calls"))


def _whole(value: Any) -> int | None:
    good = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**9
    return value if good else None


def _cached(usage: dict[str, Any]) -> int | None:
    details = usage.get("prompt_tokens_details")
    found = details.get("cached_tokens") if isinstance(details, dict) else usage.get("prompt_cache_hit_tokens")
    return _whole(found)


def _lies(
    prompt: int, output: int, cached: int | None, sent: int | None, limit: int, characters: int, events: int
) -> Iterator[str]:
    """What contradicts a count of tokens."""
    if sent is not None and not sent <= prompt <= sent + SPECIAL:
        yield f"{prompt:,} input tokens for {sent:,} that were sent"
    if sent is None and not 1 <= prompt <= 4 * characters + 1000:
        yield f"{prompt:,} input tokens for {characters:,} characters"
    if not 1 <= output <= limit:
        yield f"{output:,} output tokens where at most {limit:,} were asked for"
    if events > output + SPARE:
        yield f"{output:,} output tokens in {events:,} events"
    if cached is not None and cached > prompt:
        yield f"{cached:,} cached of {prompt:,} input tokens"
