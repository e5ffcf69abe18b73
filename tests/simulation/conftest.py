"""What all simulations share."""

import logging
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Let nothing be logged: of a million runs, the log would fill the memory."""
    logging.disable(logging.WARNING)
    yield
    logging.disable(logging.NOTSET)
