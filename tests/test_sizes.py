"""Files stay small enough to read."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MOST_LINES = 400


@pytest.mark.parametrize("path", sorted((ROOT / "src").rglob("*.py")), ids=lambda path: path.name)
def test_a_file_of_code_is_at_most_400_lines(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MOST_LINES, "which noun is missing?"
