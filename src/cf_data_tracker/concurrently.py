"""Questions to the store that need not wait for each other, asked a few at a time; the answers come in order."""

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Final, TypeVar

from cf_data_tracker.runtime import spawn

T = TypeVar("T")

AT_ONCE: Final = 16
"""Small questions that are under way at a time."""


def map_concurrently(questions: Iterable[Callable[[], T]], at_once: int = AT_ONCE) -> Iterator[T]:
    """Yield the answers; no more than `at_once` are asked beside each other, or wait to be taken.

    Whatever a question raises is raised where its answer would come.
    """
    left = iter(questions)
    while asked := [spawn(question) for question in islice(left, at_once)]:
        for answer in asked:
            yield answer()
