"""What happened in a run, as lines to read."""

from collections.abc import Sequence
from enum import Enum

from cf_data_tracker.store import Stored, Written
from fates import INBOX


def as_lines(story: Sequence[Sequence[object]]) -> list[str]:
    """Return a line for each thing that happened; entries are `e0`, `e1` and so on, in the order in which they came."""
    names = _Names()
    return [" ".join(map(names.shown, happened)) for happened in story]


class _Names:
    """Short names of what is too long to read."""

    def __init__(self) -> None:
        self._entries: dict[str, str] = {}

    def shown(self, one: object) -> str:
        if isinstance(one, str):
            return self._text(one)
        if isinstance(one, list):
            return f"[{' '.join(map(self.shown, one))}]"
        if isinstance(one, (Stored, Written)):
            note = f", {one.waiting} waiting" if isinstance(one, Stored) else ""
            return f"{self.shown(one.etag)}{note} {one.version or ''}".strip()
        return one.name if isinstance(one, Enum) else repr(one)

    def _text(self, one: str) -> str:
        if one.startswith(INBOX):
            return self._entries.setdefault(one, f"e{len(self._entries)}")
        if one.endswith("_version_info.json"):
            return "document"
        return one.strip('"')[:4] if one.startswith('"') else one
