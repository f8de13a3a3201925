"""What each view of the page shows: a module ``NAME`` with ``view(asked) -> dict``."""
