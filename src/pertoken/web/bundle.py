"""The charts' script: Vega, Vega-Lite and Vega-Embed from the wheel of vl-convert, made once per version and kept."""

from __future__ import annotations

import os
from importlib import metadata
from pathlib import Path

from pertoken.errors import PertokenError
from pertoken.report.export import write_whole


def _folder() -> Path:
    home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(home) / "pertoken"


def bundle() -> bytes:
    """The script, about 900 kB; takes a second the first time that a version of vl-convert is met."""
    try:
        import vl_convert
    except ImportError as error:
        raise PertokenError("charts need vl-convert; install them with: pip install 'pertoken[page]'") from error
    kept = _folder() / f"vega-{metadata.version('vl-convert-python')}.js"
    try:
        return kept.read_bytes()
    except OSError:
        found = str(vl_convert.javascript_bundle()).encode()  # type: ignore[call-arg]
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        write_whole(kept, found)
    except (OSError, PertokenError):
        pass  # a read-only home: made anew by the next server
    return found
