"""Where a result is written: refused before any work is done, when it has no known form or is plainly no file's place."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from pertoken.errors import PertokenError

LONGEST = 4096


def place(target: str | Path, forms: Iterable[str]) -> Path:
    """The file of ``-o``.

    Parameters
    ----------
    target : str or Path
        As the user wrote it; ``~`` is the home folder.
    forms : iterable of str
        Suffixes that can be written, with their dots.

    Raises
    ------
    PertokenError
        When the suffix is none of these, or no file can be there.
    """
    path = Path(target).expanduser()
    if path.suffix.lower() not in (forms := tuple(forms)):
        raise PertokenError(f"-o {path.name[:60]!r} has no known form; end it in {', '.join(forms)}")
    if len(str(path)) > LONGEST or not path.parent.is_dir() or path.is_dir():
        raise PertokenError(
            f"-o {str(path)[-120:]!r} cannot be written: no such folder, or a folder itself; give another"
        )
    return path
