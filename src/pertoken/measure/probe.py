"""Runs a design against a server, within limits, and keeps what was measured whatever happens.

Every request counts against the limits, those that fail and those that are tried again included. Spending is counted
before a request is sent, at all the tokens it may use, so that a limit is never passed.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pertoken.errors import PertokenError
from pertoken.measure.client import Client, Prompt
from pertoken.measure.design import Cell, Design, Writer
from pertoken.measure.energy import Meter
from pertoken.measure.records import Answer, Probe, with_steps
from pertoken.measure.stream import Failure
from pertoken.units import MILLION

TRIES = 3  # of one request
PAUSE = 0.2  # s before the first retry, doubled after each
LONGEST_PAUSE = 5.0
PER_WORD = 4  # tokens, at most
IN_A_ROW = 4  # cells without any answer after which a probe gives up


@dataclass(frozen=True)
class Limits:
    """What a probe may use.

    Parameters
    ----------
    requests : int
        All that are sent.
    seconds : float
        From its start to its end [s].
    usd : float
        Dollars; infinite where no limit was given [$].
    input_price, output_price : float
        Dollars per million tokens of the server; NaN where it is paid by the second.
    usd_per_second : float
        Dollars of its accelerators; NaN where it is paid by the token [$/s].
    """

    requests: int = 400
    seconds: float = 300.0
    usd: float = math.inf
    input_price: float = math.nan
    output_price: float = math.nan
    usd_per_second: float = math.nan

    def __post_init__(self) -> None:
        if not 1 <= self.requests <= 1_000_000:
            raise PertokenError(f"--max-requests is {self.requests:,}; it must be from 1 to 1,000,000")
        if not 0 < self.seconds <= 86_400:
            raise PertokenError(f"--max-seconds is {self.seconds:g}; it must be above 0 and at most 86,400")
        if not self.usd > 0:
            raise PertokenError(f"--max-usd is {self.usd:g}; it must be above 0")
        if math.isfinite(self.usd) and math.isnan(self.input_price) and math.isnan(self.usd_per_second):
            raise PertokenError(
                "--max-usd needs to know what the server costs: give --price INPUT:OUTPUT in dollars per million tokens, or"
                " --rate and --on"
            )

    @property
    def time(self) -> float:
        """Seconds that time and, where it is paid by the second, money allow [s]."""
        paid = self.usd / self.usd_per_second if self.usd_per_second > 0 else math.inf
        return min(self.seconds, paid)

    def price(self, input_tokens: int, output_tokens: int) -> float:
        """Dollars of tokens; 0 where the server is paid by the second [$]."""
        if math.isnan(self.input_price):
            return 0.0
        return (input_tokens * self.input_price + output_tokens * self.output_price) / MILLION


@dataclass
class Spent:
    """What a probe has used.

    Parameters
    ----------
    limits : Limits
        What it may use.
    began : float
        Clock at its start [s].
    requests : int
        Sent.
    usd : float
        For tokens, at most [$].
    """

    limits: Limits
    began: float
    requests: int = 0
    usd: float = 0.0

    @property
    def deadline(self) -> float:
        """Clock at which it must have ended [s]."""
        return self.began + self.limits.time

    def refuses(self, requests: int, input_tokens: int, output_tokens: int) -> str:
        """Why so much more may not be sent; empty when it may."""
        if time.monotonic() >= self.deadline:
            paid = self.limits.time < self.limits.seconds
            return (
                f"--max-usd {self.limits.usd:g} is reached"
                if paid
                else f"--max-seconds {self.limits.seconds:g} are over"
            )
        if self.requests + requests > self.limits.requests:
            return f"--max-requests {self.limits.requests:,} would be passed"
        if self.usd + self.limits.price(input_tokens, output_tokens) > self.limits.usd:
            return f"--max-usd {self.limits.usd:g} would be passed"
        return ""

    def take(self, input_tokens: int, output_tokens: int) -> None:
        """Count a request before it is sent, at all that it may use."""
        self.requests += 1
        self.usd += self.limits.price(input_tokens, output_tokens)

    def settle(self, most: tuple[int, int], used: tuple[int, int]) -> None:
        """What an answer used, in place of what it might have."""
        self.usd += self.limits.price(*used) - self.limits.price(*most)


@dataclass
class Runner:
    """A probe under way.

    Parameters
    ----------
    client : Client
        The server.
    design : Design
        What to send.
    writer : Writer
        Of prompts.
    limits : Limits
        What may be used.
    settings : mapping
        To keep with the records.
    meter : Meter
        Of energy.
    said : callable
        Told of progress: answers, requests of the whole design, seconds, failures.
    """

    client: Client
    design: Design
    writer: Writer
    limits: Limits
    settings: Mapping[str, Any] = field(default_factory=dict)
    meter: Meter = field(default_factory=Meter)
    said: Callable[[int, int, float, int], None] = lambda *_: None
    answers: list[Answer] = field(default_factory=list)
    failures: Counter[str] = field(default_factory=Counter)
    stopped: str = ""

    def run(self) -> Probe:
        """Send the design; what came back until it ended, was cut short or interrupted."""
        self._spent = Spent(self.limits, time.monotonic())
        before = self.meter.joules()
        try:
            asyncio.run(self._all())
        except KeyboardInterrupt:
            self.stopped = "interrupted"
        joules, seconds = self.meter.joules() - before, time.monotonic() - self._spent.began
        return Probe(
            tuple(self.answers), dict(self.settings), dict(self.failures), tuple(self._notes()), self.stopped,
            joules, joules / seconds, self.meter.sentence,
        )  # fmt: skip

    async def _all(self) -> None:
        cells = self.design.cells()
        total, empty = sum(cell.batch for cell in cells), 0
        async with self.client:
            for place, cell in enumerate(cells):
                most = self._most(cell)
                self.stopped = self._spent.refuses(cell.batch, cell.batch * most[0], cell.batch * most[1])
                if self.stopped:
                    return
                got = await self._group(place, cell)
                if not got and self.client.refused_ids and self.writer.use_words():
                    got = await self._group(place, cell)
                self.said(len(self.answers), total, time.monotonic() - self._spent.began, self.failures.total())
                empty = 0 if got else empty + 1
                if empty >= IN_A_ROW:
                    worst = self.failures.most_common(1)[0][0]
                    self.stopped = f"{empty} parts of the design in a row had no answer; most often: {worst}"
                    return

    def _most(self, cell: Cell) -> tuple[int, int]:
        """Tokens that a request of a cell may use."""
        return cell.input * (1 if self.writer.ids else PER_WORD), cell.output

    async def _group(self, place: int, cell: Cell) -> int:
        """Keep a cell's answers, those too that came before an interruption; how many they are."""
        prompts, got = self.writer.group(cell), list[tuple[Answer, Sequence[float]]]()
        try:
            if cell.kind == "prefix":  # one after another, so that each is a prompt alone
                for prompt in prompts:
                    await self._one(place, replace(cell, batch=1), prompt, got)
            else:
                await asyncio.gather(*(self._one(place, cell, prompt, got) for prompt in prompts))
        finally:
            self.answers += with_steps(got)
        return len(got)

    async def _one(self, place: int, cell: Cell, prompt: Prompt, got: list[tuple[Answer, Sequence[float]]]) -> None:
        """One answer with the times of its tokens, tried again where that may help."""
        for attempt in range(TRIES):
            if self._spent.refuses(1, *self._most(cell)):
                return
            self._spent.take(*self._most(cell))
            try:
                got.append(await self._asked(place, cell, prompt))
                self._spent.settle(self._most(cell), (got[-1][0].input, got[-1][0].output))
                return
            except Failure as failure:
                self.failures[failure.kind] += 1
                if not failure.again or attempt == TRIES - 1:
                    return
                pause = min(max(PAUSE * 2**attempt, failure.wait), LONGEST_PAUSE)
                await asyncio.sleep(min(pause, max(0.0, self._spent.deadline - time.monotonic())))

    async def _asked(self, place: int, cell: Cell, prompt: Prompt) -> tuple[Answer, Sequence[float]]:
        sent, heard = await self.client.ask(prompt, self._spent.deadline)
        ids = isinstance(prompt.content, list)
        counted = heard.counts(len(prompt.content) if ids else None, prompt.output, 0 if ids else len(prompt.content))
        zero = self._spent.began
        times = [t - zero for t in heard.times]
        answer = Answer(
            cell.kind, place, cell.batch, sent - zero, times[0], times[-1], counted[0], counted[1], counted[2]
        )  # fmt: skip
        return answer, times

    def _notes(self) -> list[str]:
        """What the server did that a reader must know."""
        paid = self._spent.usd
        notes = [f"at most ${paid:.4g} were paid for tokens"] if paid else []
        notes += [f"the server knows no {name}: left out" for name in sorted(self.client.dropped)]
        if self.client.refused_ids:
            notes.append(
                "the server takes no token ids of this range: prompts were words (--as MODEL tells the vocabulary)"
            )
        if self.answers and all(a.cached is None for a in self.answers):
            notes.append(
                "usage does not tell cached tokens: prompts were random, so none were expected; repeated prefixes are left out"
            )
        again = [a for a in self.answers if a.cell in ("chunk",) and a.cached == 0]
        if again:
            notes.append(f"{len(again)} repeated prefixes were not found in a cache: is prefix caching off?")
        short = sum(a.cell == "decode" and a.output < self.design.output for a in self.answers)
        if short:
            notes.append(f"{short} answers ended before the {self.design.output} tokens that were asked for")
        return notes
