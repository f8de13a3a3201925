"""What one request asks for: the knobs of one case or of several, and options."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pertoken.errors import PertokenError
from pertoken.knobs import read_knobs

if TYPE_CHECKING:
    from pertoken.cost import Cost

MOST_CASES = 8  # of one request
KEYS = ("knobs", "cases", "options", "charts", "chart", "what", "form")


class Asked:
    """A request to the API.

    Parameters
    ----------
    body : mapping
        ``{"knobs": {...}}`` or ``{"cases": [{...}, ...]}``, with ``options``, ``charts``, ``chart``, ``what`` or ``form``.

    Raises
    ------
    PertokenError
        When it is no such object.
    """

    def __init__(self, body: Any) -> None:
        if not isinstance(body, Mapping):
            raise PertokenError("the body must be a JSON object with knobs or cases")
        for key in body:
            if key not in KEYS:
                raise PertokenError(f"{key[:60]!r} is no key of a request; use one of {', '.join(KEYS)}")
        if ("knobs" in body) == ("cases" in body):
            raise PertokenError("the body must hold knobs (an object) or cases (a list of them), one of the two")
        self.body = body

    @cached_property
    def cases(self) -> list[dict[str, Any]]:
        """Checked knobs of each case."""
        cases = self.body["cases"] if "cases" in self.body else [self.body["knobs"]]
        if not isinstance(cases, list) or not 1 <= len(cases) <= MOST_CASES:
            raise PertokenError(f"cases must be a list of 1 to {MOST_CASES} objects of knobs")
        if not all(isinstance(case, Mapping) for case in cases):
            raise PertokenError("knobs must be an object with the names of GET /api/knobs")
        found = [read_knobs(case) for case in cases]
        if not all("model" in case for case in found):
            raise PertokenError("no model was given; name one of GET /api/catalog, or upload:ID")
        return found

    @cached_property
    def costs(self) -> list[Cost]:
        """The answer of each case."""
        from pertoken.scenario import price

        return [price(**case) for case in self.cases]

    @property
    def cost(self) -> Cost:
        """The answer of the first case."""
        return self.costs[0]

    @property
    def knobs(self) -> dict[str, Any]:
        """Checked knobs of the first case."""
        return self.cases[0]

    @property
    def options(self) -> Mapping[str, Any]:
        """What a view or a command takes beyond knobs."""
        found = self.body.get("options", {})
        if not isinstance(found, Mapping):
            raise PertokenError("options must be an object")
        return found

    def word(self, name: str) -> str:
        """A text of the request, such as ``chart``."""
        found = self.body.get(name)
        if not isinstance(found, str) or not found.isprintable() or len(found) > 60:
            raise PertokenError(f"{name} must be a short text")
        return found

    def words(self, name: str) -> list[str]:
        """A list of short texts, such as ``charts``."""
        found = self.body.get(name, [])
        if not isinstance(found, list) or len(found) > 30 or not all(isinstance(f, str) for f in found):
            raise PertokenError(f"{name} must be a list of short texts")
        return found
