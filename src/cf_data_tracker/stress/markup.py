"""Markup made of elements. Whatever is not an element already is text, and is escaped."""

from html import escape
from typing import Final

VOID: Final = frozenset({"br", "meta"})
"""Elements of HTML without an end tag."""


class Html(str):
    """Text that is markup, and goes onto the page as it is."""

    __slots__ = ()


def element(name: str, /, *content: object, **attributes: object) -> Html:
    """Return an element.

    Args:
        name: Its name.
        content: Elements, which stay as they are, and anything else, which is text.
        attributes: By name, with `_` for `-`, and one more at the end where Python has the word for itself. What is
            `None` is left out.
    """
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(str(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    return Html(f"<{name}{given}>" if name in VOID else f"<{name}{given}>{together(*content)}</{name}>")


def together(*content: object) -> Html:
    """Return elements and text, one after the other."""
    return Html("".join(part if isinstance(part, Html) else escape(str(part)) for part in content))
