"""What a watch finds, as a Prometheus page of its own, on this machine only unless another address is given."""

from __future__ import annotations

import math
from typing import Any

from pertoken.errors import PertokenError
from pertoken.measure.watch import KINDS, Window


class Exporter:
    """Serves the last window.

    Parameters
    ----------
    port : int
        1 to 65,535; 0 takes a free one.
    address : str
        Whom to listen to.

    Raises
    ------
    PertokenError
        When prometheus_client is not installed, or the port is taken.
    """

    def __init__(self, port: int, address: str = "127.0.0.1") -> None:
        try:
            import prometheus_client as prometheus
        except ImportError as error:
            raise PertokenError(
                "the exporter needs prometheus_client; install it with: pip install 'pertoken[measure]'"
            ) from error
        registry = prometheus.CollectorRegistry()

        def gauge(name: str, text: str, *labels: str) -> Any:
            return prometheus.Gauge(f"pertoken_{name}", text, labels, registry=registry)

        self._price = gauge(
            "usd_per_million_tokens", "US dollars per million tokens of a kind, idle time apart", "kind"
        )
        self._rate = gauge("tokens_per_second", "Tokens per second of a kind; cached ones are not in input", "kind")
        self._busy = gauge("utilisation", "Share of looks at which requests ran")
        self._idle = gauge("idle_share", "Share of the bill that is idle time")
        self._blended = gauge(
            "usd_per_million_tokens_blended", "US dollars per million tokens of all kinds, idle time included"
        )
        self._usd = prometheus.Counter("pertoken_usd", "US dollars paid", registry=registry)
        self._tokens = prometheus.Counter("pertoken_tokens", "Tokens of a kind", ["kind"], registry=registry)
        try:
            self._server, _ = prometheus.start_http_server(port, addr=address, registry=registry)
        except (OSError, OverflowError) as error:
            raise PertokenError(f"--exporter {port} cannot be listened on: {error}; give another port") from error

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._server.server_port)

    def show(self, window: Window) -> None:
        """Serve a new window."""
        for kind in KINDS:
            price = window.per_million(kind)
            self._price.labels(kind).set(price)
            self._rate.labels(kind).set(window.rate(kind) if kind in window.tokens else math.nan)
            self._tokens.labels(kind).inc(window.tokens.get(kind, 0.0))
        self._busy.set(window.busy)
        self._idle.set(window.usd_of["idle"] / window.usd if window.usd > 0 else math.nan)
        self._blended.set(window.blended)
        self._usd.inc(window.usd)

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
