"""A Meter reads the energy of a steady state: per token, while working, and idle; at the accelerators and at the facility."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from pertoken.attribution.ledger import TOKENS
from pertoken.engine.deployment import Deployment
from pertoken.money.energy import Draw, Joules, joules_by_token, ledger_joules
from pertoken.money.site import Site
from pertoken.serving.steady import Steady


@dataclass(frozen=True)
class Meter:
    """Energy of one lane's steady state.

    Parameters
    ----------
    deployment : Deployment
        What serves.
    state : Steady
        Where it is.
    draw, site : Draw, Site
        What an accelerator draws, and what stands around it.
    """

    deployment: Deployment
    state: Steady
    draw: Draw
    site: Site

    @cached_property
    def entries(self) -> list[Joules]:
        """What every operation of the mean step costs on one accelerator of the lane [J]."""
        return ledger_joules(self.deployment, self.state, self.draw)

    @cached_property
    def by_token(self) -> dict[str, float]:
        """Joules of the accelerators that each kind of token owes, for one finished request [J]."""
        each = self.deployment.split.tp / float(self.state.finished)
        return {name: float(joules) * each for name, joules in joules_by_token(self.entries).items()}

    @property
    def watts(self) -> float:
        """Mean draw of an accelerator while its lane works, the engine's waits counted as time [W]."""
        emitted = sum(kind.share * kind.step.emitted for kind in self.state.kinds)
        return self.busy_watts / float(1.0 + self.draw.wait.value * emitted / self.state.step_s)

    @property
    def busy_watts(self) -> float:
        """Joules of an accelerator for each predicted second that its lane works; waits are no predicted time [W]."""
        return float(sum(e.joules for e in self.entries) / self.state.step_s)

    @property
    def idle_watts(self) -> float:
        """Draw of an idle accelerator [W]."""
        return self.draw.idle.value

    def per_token(
        self, tokens: Mapping[str, float], idle_s: Mapping[str, float], lone_cached: float
    ) -> dict[str, float]:
        """Joules of the accelerators per token of each kind, and of all input [J].

        Parameters
        ----------
        tokens : mapping
            Tokens of a mean request by kind.
        idle_s : mapping
            Idle accelerator-seconds that one token of each kind is charged with [s].
        lone_cached : float
            Joules of a cached token where the traffic has none [J].
        """
        found = {
            name: self.by_token[name] / tokens[name] + self.idle_watts * idle_s[name]
            if tokens[name] > 0
            else lone_cached
            for name in TOKENS
        }
        both = sum(found[name] * tokens[name] for name in ("input", "cached") if tokens[name] > 0)
        return found | {"input_blended": both / (tokens["input"] + tokens["cached"])}
