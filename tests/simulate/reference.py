"""A straightforward engine, step by step, with lists of requests: what the loop must agree with to the last tick."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pertoken.simulate.accepting import steps_of
from pertoken.simulate.compiled import as_written
from pertoken.simulate.spend import chunk_cost, entry_of


@dataclass
class One:
    """A request on its way."""

    number: int
    arrival: int
    input: int
    output: int
    level: int = 0
    emitted: int = 0
    target: int = 0
    have: int = 0
    context: int = 0  # grains of a token
    steps: int = 0  # in which it decodes, and those that are left
    left: int = 0
    blocks: int = 0
    first: int | None = None
    last: int | None = None
    again: int = 0


@dataclass
class Reference:
    """One lane, without prefix cache; requests in order of arrival."""

    costs: Any
    policy: Any
    requests: list[One]
    own: Any = field(default_factory=dict)  # a user's functions, of six numbers
    tick: float = 1e-12
    clock: int = 0
    steps: int = 0
    coming: list[One] = field(default_factory=list)
    waiting: list[One] = field(default_factory=list)
    running: list[One] = field(default_factory=list)  # in the order in which they were admitted
    kinds: list[tuple[int, int, int]] = field(default_factory=list)  # time, decodes and prompt tokens of each step

    def blocks(self, tokens: int) -> int:
        return -(-tokens // self.policy.block)

    def grown(self, context: int) -> int:
        return -(-context // self.policy.units)

    @property
    def held(self) -> int:
        return sum(r.blocks for r in self.running)

    def decoding(self) -> list[One]:
        return [r for r in self.running if r.have == r.target]

    def run(self) -> None:
        self.coming = list(self.requests)
        while self.coming or self.waiting or self.running:
            if not self.waiting and not self.running:
                self.clock = max(self.clock, self.coming[0].arrival)
            while self.coming and self.coming[0].arrival <= self.clock:
                self.waiting.append(self.coming.pop(0))
            if self.policy.mixed:
                self.make_room()
                chosen = self.prompts()
                self.step(self.decoding() if chosen or self.decoding() else [], chosen)
            else:
                chosen = self.prompts()
                if chosen:
                    self.step([], chosen)
                else:
                    self.make_room()
                    if self.decoding():
                        self.step(self.decoding(), [])
            assert self.held <= self.policy.capacity

    def taken(self, r: One, tokens: int) -> int:
        """Blocks that a request takes when it is admitted."""
        return self.blocks(r.input + r.output - 1 if self.policy.reserves else tokens)

    def make_room(self) -> None:
        """Blocks for the next token of every decoding request, giving up the last of the last level."""
        while not self.policy.reserves:
            decoding = self.decoding()
            need = sum(self.grown(r.context + self.policy.grow) - r.blocks for r in decoding)
            if self.held + need <= self.policy.capacity:
                if self.policy.mixed:
                    for r in decoding:
                        r.blocks = self.grown(r.context + self.policy.grow)
                return
            worst = max(r.level for r in self.running)
            victim = [r for r in self.running if r.level == worst][-1]
            if "victim" in self.own:
                late = list(reversed(self.running))  # of those alike the last of the last level
                victim = max(sorted(late, key=lambda r: -r.level), key=lambda r: self.said("victim", r))
            victim.emitted = self.emitted(victim)
            self.running.remove(victim)
            victim.blocks, victim.have, victim.target = 0, 0, 1
            victim.again += 1
            self.waiting.insert(0, victim)

    def emitted(self, r: One) -> int:
        """Output tokens of a request by now."""
        if not r.target or r.have < r.target:
            return r.emitted
        return r.emitted + 1 + (r.output - r.emitted - 1) * (r.steps - r.left) // r.steps

    def said(self, name: str, r: One) -> float:
        """A user's function of a request."""
        return self.own[name](r.arrival * self.tick, r.input, r.output, r.level, self.emitted(r), r.again)

    def admits(self, r: One, blocks: int, running: int) -> bool:
        if "admit" not in self.own:
            return True
        free = self.policy.capacity - self.held
        return bool(self.own["admit"](free, blocks, running, len(self.waiting), r.input, r.output))

    def slots_taken(self) -> int:
        return len(self.decoding())

    def comes_alone(self, r: One) -> bool:
        """Whether its prompt has to be prefilled here."""
        return True

    def next(self) -> One:
        """Whose turn it is."""
        if "order" in self.own:
            return min(self.waiting, key=lambda r: (self.said("order", r), r.arrival, r.number))
        level = min(r.level for r in self.waiting)
        return next(r for r in self.waiting if r.level == level)

    def prompts(self) -> list[tuple[One, int]]:
        """Prompt chunks of the next step."""
        decodes = self.slots_taken()
        room = self.policy.budget - (len(self.decoding()) * self.policy.width if self.policy.mixed else 0)
        chosen: list[tuple[One, int]] = []
        while room > 0 and decodes + len(chosen) < self.policy.slots:
            partial = [r for r in self.running if r.have < r.target and r not in [c[0] for c in chosen]]
            if partial:
                r = partial[0]
            else:
                if not self.waiting or decodes >= self.policy.slots:
                    break
                r = self.next()
                if not self.comes_alone(r):
                    break
                target = r.input + r.emitted
                if not self.policy.chunked and target > room and chosen:
                    break
                blocks = self.taken(r, target)
                if self.held + blocks > self.policy.capacity or not self.admits(r, blocks, decodes + len(chosen)):
                    break
                self.waiting.remove(r)
                self.running.append(r)
                r.target, r.have, r.blocks = target, 0, blocks
            size = min(r.target - r.have, room) if self.policy.chunked else r.target
            chosen.append((r, size))
            room -= size
            if r.have + size < r.target:
                break
        return chosen

    def seconds(self, decodes: list[One], chosen: list[tuple[One, int]]) -> int:
        """Time of a step from the tables, entry by entry."""
        c, width = self.costs, self.policy.width
        new = sum(size for _, size in chosen)
        ends = sum(r.have + size == r.target for r, size in chosen)
        n, total = len(decodes), sum(r.context for r in decodes)
        time = int(c.v[c.layers + 2 * entry_of(new + n * width)] + c.v[c.head + 2 * (n * width + ends)]) + c.host_step
        time += c.host_sequence * (n + len(chosen))
        if n:
            at = max(k for k in range(c.segments) if c.w[c.knots + k] * n <= total)
            line = c.decode + 6 * (n * c.segments + at)
            time += int(c.v[line]) + int(c.v[line + 1]) * total
        cost = as_written(chunk_cost) if isinstance(c.w, list) else chunk_cost
        time += sum(cost(c, size, r.have)[0] for r, size in chosen)
        if chosen and c.drafted:
            time += int(c.v[c.draft + 2 * entry_of(new)])
        if chosen:
            return int(max(time + c.prompt_launch, c.launches))
        return int(max(time, c.launches) if n > c.captured else time)

    def step(self, decodes: list[One], chosen: list[tuple[One, int]]) -> None:
        if not decodes and not chosen:
            if self.own and self.coming:
                self.clock = max(self.clock, self.coming[0].arrival)
            return
        time = self.seconds(decodes, chosen)
        self.clock += time
        self.steps += 1
        self.kinds.append((time, len(decodes), sum(size for _, size in chosen)))
        self.emit(decodes)
        for r, size in chosen:
            r.have += size
        self.begin([r for r, _ in chosen])

    def emit(self, decodes: list[One]) -> None:
        """A step of decoding ends."""
        for r in decodes:
            r.context += self.policy.grow
            r.blocks = r.blocks if self.policy.reserves else self.grown(r.context)
            r.left -= 1
            if r.left == 0:
                r.last = self.clock
                self.running.remove(r)

    def begin(self, prompts: list[One]) -> None:
        """A step of prompts ends: those that are whole have a token."""
        for r in prompts:
            if r.have == r.target:
                r.first = self.clock if r.first is None else r.first
                r.context = r.target * self.policy.grain
                more = r.output - r.emitted - 1
                r.steps = r.left = steps_of(self.policy, r.number, r.again, more) if self.policy.width > 1 else more
                if more == 0:
                    r.last = self.clock
                    self.running.remove(r)
