"""The API described in OpenAPI 3.1, made from the table of knobs."""

from __future__ import annotations

from typing import Any

from pertoken import __version__


def description() -> dict[str, Any]:
    """The description."""
    return {"openapi": "3.1.0", "info": {"title": "pertoken", "version": __version__}, "paths": {}}
