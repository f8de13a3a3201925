"""What a simulation takes beyond knobs, read and checked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from pertoken.errors import PertokenError
from pertoken.simulate.cluster import MOST_LANES, Cluster
from pertoken.simulate.options import OPTIONS

POOLS = re.compile(r"([0-9]{1,9})(?::([0-9]{1,9}))?")


@dataclass(frozen=True)
class Options:
    """What a simulation takes beyond knobs.

    Parameters
    ----------
    requests : int or None
        Requests to draw; of a trace, the first so many.
    seed : int
        Of all that is drawn.
    burst : float
        Coefficient of variation of the gaps between arrivals.
    profile : str
        24 hourly weights, or empty.
    policy : str
        A file of the user's own functions, or empty.
    turns, think : float
        Mean turns of a conversation, and seconds between them.
    cluster : Cluster
        Replicas and policies; where pools are apart, those that prefill.
    decode : int
        Replicas that only decode; 0 where all do both.
    """

    requests: int | None = None
    seed: int = 0
    burst: float = 1.0
    profile: str = ""
    policy: str = ""
    turns: float = 1.0
    think: float = 0.0
    cluster: Cluster = Cluster()  # noqa: RUF009
    decode: int = 0

    def __post_init__(self) -> None:
        if self.decode and self.cluster.crowd:
            raise PertokenError(
                "--crowd starts and stops replicas of one pool; leave it out, or give --replicas one number"
            )

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Options:
        """From values by name, as the command or a scenario file has them.

        Raises
        ------
        PertokenError
            A sentence with the value, the allowed range and what to do.
        """
        read = read_options(given)
        found = {k: v for k, v in read.items() if OPTIONS[k].group == "run"}
        cluster = {k: v for k, v in read.items() if k in ("route", "priorities", "block", "crowd", "least")}
        cluster |= {f"{k}_s": read[k] for k in ("start", "patience") if k in read}
        cluster["prefix_cache"] = read.get("reuse_prefixes") == "yes"
        replicas, decode = read.get("replicas", (1, 0))
        cluster |= {"accepted": read.get("speculative", 1.0), "seed": read.get("seed", 0)}
        return cls(**found, cluster=Cluster(replicas, **cluster), decode=decode)

    @property
    def replicas(self) -> int:
        """Of all pools."""
        return self.cluster.replicas + self.decode

    @property
    def decoding(self) -> Cluster:
        """The pool that decodes; a prompt's KV comes whole, so nothing is shared."""
        c = self.cluster
        route = "least-loaded" if c.route == "prefix-aware" else c.route
        return replace(c, replicas=self.decode, prefix_cache=False, route=route)

    @property
    def given(self) -> dict[str, Any]:
        """Values by name, which `of` reads."""
        c = self.cluster
        return {
            **({"requests": self.requests} if self.requests else {}),
            "seed": self.seed, "burst": self.burst, **({"profile": self.profile} if self.profile else {}),
            **({"policy": self.policy} if self.policy else {}), "turns": self.turns,
            "think": self.think, "replicas": f"{c.replicas}:{self.decode}" if self.decode else f"{c.replicas}", "route": c.route,
            "reuse_prefixes": "yes" if c.prefix_cache else "no",
            **({"speculative": c.accepted} if c.accepted > 1.0 else {}), "priorities": c.priorities, "block": c.block,
            "crowd": c.crowd, "start": c.start_s, "patience": c.patience_s, "least": c.least,
        }  # fmt: skip


def read_options(given: Mapping[str, Any]) -> dict[str, Any]:
    """Each value checked and converted; replicas as those that serve, or that prefill and that decode."""
    read = {name: OPTIONS[name].read(_plain(value)) for name, value in given.items()}
    return read | ({"replicas": pools(read["replicas"])} if "replicas" in read else {})


def _plain(value: Any) -> Any:
    """A scenario file's true and false as the words that options take."""
    return ("yes" if value else "no") if isinstance(value, bool) else value


def pools(text: str) -> tuple[int, int]:
    """Replicas that serve, or that prefill and that decode: ``6`` or ``4:2``."""
    found = POOLS.fullmatch(text)
    first, second = (int(found[1]), int(found[2] or 1)) if found else (0, 0)
    if not 1 <= first <= MOST_LANES or not 1 <= second <= MOST_LANES:
        raise PertokenError(
            f"--replicas is {text[:40]}; it must be a whole number from 1 to {MOST_LANES:,}, or two such as 4:2 for pools that"
            " prefill and that decode"
        )
    return first, second if found and found[2] else 0
