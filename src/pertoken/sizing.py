"""How many accelerators, and which: the fewest that serve the traffic, the cheapest machine, the nearest that fits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from pertoken.catalog import machines
from pertoken.catalog.rates import median_rent, offers, parse_rate
from pertoken.engine.deployment import Deployment
from pertoken.errors import DoesNotFit, PertokenError
from pertoken.hardware.accelerator import Accelerator
from pertoken.model.precision import Precision
from pertoken.money.rate import Rate
from pertoken.serving.operating import operate
from pertoken.serving.workload import Workload

_COUNTS = (1, 2, 4, 8, 16, 24, 32, 48, 64, 72, 96, 128)
_FACTORS = (2, 3, 4, 6, 8, 12, 16, 32, 64)


@dataclass(frozen=True)
class Sizing:
    """Chooses machines for one model and workload.

    Parameters
    ----------
    make : callable
        The deployment on n of an accelerator.
    workload : Workload
        What it must serve.
    multiple : int
        What counts must be a multiple of: the product of the parallel sizes that were given.
    """

    make: Callable[[Accelerator, int], Deployment]
    workload: Workload
    multiple: int = 1

    @property
    def longest(self) -> float:
        """Tokens of the longest request [token]."""
        return self.workload.lengths.longest

    def fewest(self, accelerator: Accelerator, one_domain: bool = False) -> Deployment:
        """The fewest accelerators that fit the model and serve the traffic.

        Parameters
        ----------
        accelerator : Accelerator
            Which.
        one_domain : bool
            A replica must not reach past one link domain.
        """
        first: PertokenError | None = None
        too_big: DoesNotFit | None = None
        for count in (self.multiple * n for n in _COUNTS):
            try:
                found = self.make(accelerator, count)
                found.check_fit(self.longest)
                if one_domain and found.split.tp * found.split.pp > found.fabric.domain:
                    continue
                operate(found, self.workload)
                return found
            except DoesNotFit as error:
                too_big = error
            except PertokenError as error:
                first = first or error
        raise first or too_big or PertokenError(f"no count of {accelerator.name} within one link domain fits; name one")

    def cheapest(self, rate_text: str) -> tuple[Deployment, Rate]:
        """The machine with the lowest hourly rate that fits and serves; one that spans domains only if none else does."""
        names = sorted({o.accelerator for o in offers()}, key=lambda name: (median_rent(name).usd_per_second, name))
        problem: PertokenError | None = None
        for one_domain in (True, False):
            best: tuple[float, Deployment, Rate] | None = None
            for name in names:
                if best is not None and rate_text == "rent" and median_rent(name).usd_per_second >= best[0]:
                    break
                try:  # it may not fit, be too slow, or have no published power
                    accelerator = machines.load_accelerator(name)
                    rate = parse_rate(rate_text, accelerator)
                    machine = self.fewest(accelerator, one_domain)
                    dollars = rate.usd_per_second * machine.accelerators
                    if best is None or dollars < best[0]:
                        best = (dollars, machine, rate)
                except PertokenError as error:  # the last is of the dearest, hence largest, accelerator
                    problem = error
            if best is not None:
                return best[1], best[2]
        assert problem is not None
        raise problem

    def check_fit(self, found: Deployment) -> None:
        """Raise when a deployment does not fit, naming the nearest change that does."""
        try:
            found.check_fit(self.longest)
        except DoesNotFit as error:
            raise DoesNotFit(f"{error}; {self._nearest(found)}", error.shortfall) from error

    def _nearest(self, found: Deployment) -> str:
        """The smallest change that fits: more accelerators, else a smaller format."""
        for factor in _FACTORS:
            try:
                more = self.make(found.accelerator, found.accelerators * factor)
                more.check_fit(self.longest)
                return f"nearest change that fits: --on {more.accelerators}x{more.accelerator.name}"
            except PertokenError:
                continue
        for name in ("fp8", "int8", "int4"):
            try:
                smaller = replace(found, precision=Precision(name, {}, found.precision.kv))
                smaller.check_fit(self.longest)
                return f"nearest change that fits: --dtype {name}"
            except PertokenError:
                continue
        return "no count up to 64 times as many fits; use an accelerator with more memory, or a smaller model"
