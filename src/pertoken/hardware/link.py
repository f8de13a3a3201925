"""The link between accelerators of one domain, and the network between domains."""

from __future__ import annotations

from dataclasses import dataclass

from pertoken.sources import Sourced


@dataclass(frozen=True)
class Link:
    """The scale-up link of an accelerator.

    Parameters
    ----------
    name : str
        Such as ``NVLink 4``.
    bandwidth : Sourced
        One direction, per accelerator [byte/s].
    domain : Sourced
        Largest number of accelerators that it joins [accelerator].
    """

    name: str
    bandwidth: Sourced
    domain: Sourced
