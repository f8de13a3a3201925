"""What of a cost the explanations read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from pertoken.engine.deployment import Deployment
from pertoken.money.rate import Rate
from pertoken.serving.operating import Operating
from pertoken.serving.workload import Workload


class Costed(Protocol):
    """A cost, as far as it is explained."""

    @property
    def deployment(self) -> Deployment: ...
    @property
    def workload(self) -> Workload: ...
    @property
    def operating(self) -> Operating: ...
    @property
    def rate(self) -> Rate | None: ...
    @property
    def rate_missing(self) -> str: ...
    @property
    def basis(self) -> str: ...
    @property
    def scenario(self) -> Mapping[str, Any]: ...
    @property
    def utilisation(self) -> float: ...
    @property
    def requests_per_s(self) -> float: ...
    @property
    def tokens_per_request(self) -> dict[str, float]: ...
