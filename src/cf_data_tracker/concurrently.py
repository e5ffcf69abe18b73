"""Independent requests to the store, made a few at a time; their answers come in order."""

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Final, TypeVar

from cf_data_tracker.runtime import spawn

T = TypeVar("T")

AT_ONCE: Final = 16
"""Small questions that are under way at a time."""


def map_concurrently(questions: Iterable[Callable[[], T]], at_once: int = AT_ONCE) -> Iterator[T]:
    """Yield the answers; no more than `at_once` questions run concurrently, or have an answer that waits to be taken.

    Whatever a question raises is raised where its answer would come.
    """
    left = iter(questions)
    while asked := [spawn(question) for question in islice(left, at_once)]:
        for answer in asked:
            yield answer()
