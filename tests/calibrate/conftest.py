"""All shipped rows, predicted once."""

import pytest

from pertoken.cli.validate import validation


@pytest.fixture(scope="session")
def shipped():
    return validation([])[0]
