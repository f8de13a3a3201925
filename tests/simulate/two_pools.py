"""Two pools, event by event, with lists: what the loop of both must agree with to the last tick."""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.simulate.reference import One, Reference


@dataclass
class Prefilling(Reference):
    """A lane that prefills; what is prefilled keeps its blocks until its KV is away."""

    kept: list[One] = field(default_factory=list)
    until: int = -1  # end of the step under way; -1 where there is none
    chosen: list[tuple[One, int]] = field(default_factory=list)

    @property
    def held(self) -> int:
        return sum(r.blocks for r in (*self.running, *self.kept))

    def end_step(self) -> list[One]:
        """What the step that ends now has prefilled."""
        self.until, done = -1, []
        for r, size in self.chosen:
            r.have += size
            if r.have == r.target:
                r.first = self.clock
                self.running.remove(r)
                self.kept.append(r)
                done.append(r)
        return done

    def begin_step(self) -> None:
        self.chosen = self.prompts()
        assert self.held <= self.policy.capacity
        if self.chosen:
            self.until = self.clock + self.seconds([], self.chosen)
            self.steps += 1


@dataclass
class Decoding(Reference):
    """A lane that decodes; what moves to it has its blocks and a slot from the beginning."""

    moving: list[tuple[int, One]] = field(default_factory=list)
    until: int = -1
    batch: list[One] = field(default_factory=list)
    chosen: list[tuple[One, int]] = field(default_factory=list)

    @property
    def held(self) -> int:
        return sum(r.blocks for r in (*self.running, *(r for _, r in self.moving)))

    def land(self) -> None:
        for when, r in sorted(self.moving, key=lambda pair: pair[0]):
            if when <= self.clock:
                self.moving.remove((when, r))
                r.have = r.target = r.input
                self.running.append(r)
                self.begin([r])

    def take(self, ticks: list[int]) -> list[tuple[int, One]]:
        """Requests whose KV begins to move, and when it has."""
        begun = []
        while self.waiting and self.slots_taken() + (len(self.running) > len(self.decoding())) < self.policy.slots:
            r = self.next()
            blocks = self.taken(r, r.input)
            if r.emitted or self.held + blocks > self.policy.capacity or not self.admits(r, blocks, self.slots_taken()):
                break
            self.waiting.remove(r)
            r.blocks = blocks
            self.moving.append((self.clock + ticks[r.number], r))
            begun.append(self.moving[-1])
        return begun

    def comes_alone(self, r: One) -> bool:
        return r.emitted > 0  # it was given up; others come with their KV

    def slots_taken(self) -> int:
        return len(self.decoding()) + len(self.moving)

    def begin_step(self) -> None:
        self.chosen = self.prompts()
        self.batch = self.decoding()
        assert self.held <= self.policy.capacity
        if self.batch or self.chosen:
            self.until = self.clock + self.seconds(self.batch, self.chosen)
            self.steps += 1

    def end_step(self) -> list[One]:
        """What the step that ends now has answered."""
        self.until = -1
        before = list(self.running)
        self.emit(self.batch)
        for r, size in self.chosen:
            r.have += size
        self.begin([r for r, _ in self.chosen])
        return [r for r in before if r not in self.running]


@dataclass
class TwoPools:
    """Requests in order of arrival, to lanes in turn; prompts in order of their ends, to lanes in turn."""

    first: list[Prefilling]
    second: list[Decoding]
    ones: list[One]  # as the first pool sees them, of one output token each
    others: list[One]  # and as the second does
    ticks: list[int]  # that KV moves
    follow: dict[int, tuple[int, int]] = field(
        default_factory=dict
    )  # what is sent after another's answer, and how long after
    turn: int = 0
    leaving: list[tuple[int, One]] = field(default_factory=list)  # whose KV moves, and when it has
    coming: dict[int, int] = field(default_factory=dict)
    lane_of: dict[int, Prefilling] = field(default_factory=dict)

    def run(self) -> None:
        self.coming = {r.number: r.arrival for r in self.ones if r.arrival >= 0}
        order = sorted(self.coming, key=lambda i: (self.coming[i], i))
        self.lane_of = {i: self.first[k % len(self.first)] for k, i in enumerate(order)}
        now = self.next_time(-1)
        while now is not None:
            for lane in (*self.first, *self.second):
                lane.clock = max(lane.clock, now)
            self.end_steps(now)
            self.leave(now)
            for i in sorted((i for i, when in self.coming.items() if when <= now), key=lambda i: (self.coming[i], i)):
                self.lane_of[i].waiting.append(self.ones[i])
                del self.coming[i]
            for lane in self.second:
                if lane.until < 0:
                    lane.land()
                    lane.make_room()
                    self.leaving += [(when, self.ones[r.number]) for when, r in lane.take(self.ticks)]
                    lane.begin_step()
            for first in self.first:
                if first.until < 0:
                    first.begin_step()
            now = self.next_time(now)

    def next_time(self, now: int) -> int | None:
        times = [lane.until for lane in (*self.first, *self.second)] + list(self.coming.values())
        times += [when for lane in self.second for when, _ in lane.moving] + [when for when, _ in self.leaving]
        return min((t for t in times if t > now), default=None)

    def end_steps(self, now: int) -> None:
        answered = [r for lane in self.second if lane.until == now for r in lane.end_step()]
        for r in sorted(
            (r for lane in self.first if lane.until == now for r in lane.end_step()), key=lambda r: r.number
        ):
            other = self.others[r.number]
            if other.output > 1:
                other.arrival = now
                self.second[self.turn % len(self.second)].waiting.append(other)
                self.turn += 1
            else:
                self.leaving.append((now, r))
                answered.append(other)
        for r in answered:
            if r.number in self.follow:
                later, think = self.follow[r.number]
                self.coming[later] = self.ones[later].arrival = now + think
                self.lane_of[later] = self.lane_of[r.number]

    def leave(self, now: int) -> None:
        for when, r in list(self.leaving):
            if when <= now:
                self.leaving.remove((when, r))
                self.lane_of[r.number].kept.remove(r)
                r.blocks = 0
