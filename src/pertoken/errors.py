"""Errors a user can act on: each is one sentence with the value, the allowed range and what to do."""


class PertokenError(ValueError):
    """Bad input. The command exits with status 2."""

    exit_code = 2


class DoesNotFit(PertokenError):
    """The model does not fit the accelerators' memory. The command exits with status 3.

    Parameters
    ----------
    sentence : str
        What does not fit and the nearest change that does.
    shortfall : float
        Bytes missing on one accelerator [byte].
    """

    exit_code = 3

    def __init__(self, sentence: str, shortfall: float = 0.0) -> None:
        super().__init__(sentence)
        self.shortfall = shortfall
