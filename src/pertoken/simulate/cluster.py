"""Replicas of a deployment, and the policies that rule them."""

from __future__ import annotations

from dataclasses import dataclass

from pertoken.errors import PertokenError
from pertoken.simulate.own import Own
from pertoken.simulate.routing import ROUTES

BLOCK = 16  # tokens of a KV block, the default of vLLM
MOST_LANES = 4096


@dataclass(frozen=True)
class Cluster:
    """Replicas and policies.

    Parameters
    ----------
    replicas : int
        Copies of the deployment; with ``crowd`` the most that run.
    route : str
        One of ``ROUTES``.
    prefix_cache : bool
        Whether lanes keep blocks of prompts for those that begin alike.
    priorities : int
        Levels of priority; 1 is first come, first served.
    block : int
        Tokens of a KV block.
    crowd : int
        Requests a running replica above which another is started; 0 keeps all running.
    start_s, patience_s : float
        From start to service, and without requests until a replica is stopped [s].
    least : int
        Replicas that always run, where they are started and stopped.
    accepted : float
        Tokens that a step emits on average, for a deployment with a draft model; 1 without.
    seed : int
        Of what is accepted.
    policy : Own or None
        A user's functions, where they replace rules of the engine.
    """

    replicas: int = 1
    route: str = "round-robin"
    prefix_cache: bool = False
    priorities: int = 1
    block: int = BLOCK
    crowd: int = 0
    start_s: float = 60.0
    patience_s: float = 300.0
    least: int = 1
    accepted: float = 1.0
    seed: int = 0
    policy: Own | None = None

    def __post_init__(self) -> None:
        if self.route not in ROUTES:
            raise PertokenError(f"--route is {self.route[:40]!r}; use one of {', '.join(ROUTES)}")
        for name, low, high in (
            ("replicas", 1, MOST_LANES), ("priorities", 1, 16), ("block", 1, 4096), ("crowd", 0, 1_000_000),
            ("least", 1, MOST_LANES), ("accepted", 1, 16), ("start_s", 0, 1e6), ("patience_s", 0, 1e6),
        ):  # fmt: skip
            value = getattr(self, name)
            if not low <= value <= high:
                flag = name.removesuffix("_s").replace("_", "-")
                raise PertokenError(f"--{flag} is {value:g}; it must be from {low:g} to {high:g}")
