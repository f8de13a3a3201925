"""What a drawing says to those who do not see it."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from typing import Any

_ROOT = re.compile(r"<svg\b[^>]*>")


def described(svg: str, spec: Mapping[str, Any], name: str = "") -> str:
    """An SVG with the title and description of the specification it was drawn from, which the drawing library drops.

    Parameters
    ----------
    svg : str
        The drawing.
    spec : mapping
        Its Vega-Lite specification.
    name : str
        Title where the specification has none.
    """
    title = spec.get("title") or name
    if isinstance(title, Mapping):
        title = title.get("text") or name
    if isinstance(title, list):
        title = " ".join(map(str, title))
    parts = (("title", str(title)), ("desc", str(spec.get("description") or "")))
    said = "".join(f"<{tag}>{html.escape(text)}</{tag}>" for tag, text in parts if text)
    return _ROOT.sub(lambda found: found[0] + said, svg, count=1)
