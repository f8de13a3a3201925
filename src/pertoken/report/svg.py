"""Charts as pictures, SVG with what it says to those who do not see it."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from typing import Any

from pertoken.errors import PertokenError

PICTURES = (".png", ".svg")
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
        Title where the specification has none; else the first words of its description.
    """
    said = str(spec.get("description") or name)
    title = spec.get("title")
    title = title.get("text") if isinstance(title, Mapping) else title
    title = " ".join(map(str, title)) if isinstance(title, list) else title
    parts = (("title", str(title or name or re.split(r"[.:;] ", said)[0])), ("desc", said))
    tags = "".join(f"<{tag}>{html.escape(text)}</{tag}>" for tag, text in parts if text)
    return _ROOT.sub(lambda found: found[0] + tags, svg, count=1)


def picture(chart: Any, suffix: str) -> str | bytes:
    """A chart as SVG or PNG.

    Parameters
    ----------
    chart : altair.Chart or mapping
        The chart, or its Vega-Lite specification.
    suffix : str
        ``.svg`` or ``.png``.

    Raises
    ------
    PertokenError
        When vl-convert is not installed.
    """
    try:
        import vl_convert  # type: ignore[import-not-found,unused-ignore]
    except ImportError as error:
        raise PertokenError(
            "pictures need vl-convert-python; install it with: pip install 'pertoken[charts]'"
        ) from error
    spec = dict(chart) if isinstance(chart, Mapping) else chart.to_dict()
    if suffix == ".svg":
        return described(vl_convert.vegalite_to_svg(spec), spec)
    return bytes(vl_convert.vegalite_to_png(spec, scale=2))
