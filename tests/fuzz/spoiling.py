"""Ways to spoil a document, from a flipped bit to a subtree of another one in the wrong place.

A way takes bytes and a source of randomness, and returns bytes: so hypothesis can shrink what it chose, and a fuzzer
can give a seed. Those that know JSON keep what `json` would lose (keys that stand twice, numbers as they were spelt);
bytes that are no JSON are spoilt as bytes.
"""

import json
from collections.abc import Callable, Sequence
from random import Random
from typing import Final, Protocol, TypeAlias, TypeVar

T = TypeVar("T")

Tree: TypeAlias = "str | list[Tree] | Fields"
"""A JSON value: a list, an object, or the text of anything else, as it was spelt."""

LARGEST: Final = 1 << 16
"""No spoilt document is larger, in bytes: what is found in a large one is found sooner in a small one."""

KEYS: Final = (
    *("tables", "schema_name", "name", "table_name", "files", "file_name", "current_version", "versions"),
    *("version", "file", "revision", "file_info", "clean_files", "raw_file", "parquet_files"),
    *("recorded_by", "raw", "schema", "table", "file_size", "s3_location", "timestamp", "carried_over"),
)

ODD: Final = (
    *("null", "true", "false", "0", "1", "-1", "-0", "1.0", "1e2", "1e999", "-1e999", "5e-324", "NaN", "-Infinity"),
    *(f"{1 << 63}", "9" * 4299, "9" * 4300, "9" * 4301, f"-{'9' * 4300}", f"0.{'1' * 400}", "01", "+1", "1."),
    *('""', '"a"', '"vitals"', '"births"', '"FY2023"', '"1"', r'"\ud800"', r'"\udc00\ud83d"', r'"\u0000"', '"\u2028"'),
    *(r'"\u001b[31m"', '"ü"', f'"{"x" * 300}"', "'a'", "[]", "{}", "[[]]", '{"":{}}', "", ","),
)
"""Values to put anywhere; some are no JSON."""

SNIPPETS: Final = (
    *(b"\xef\xbb\xbf", b"\xff", b"\xc3", b"\xed\xa0\x80", b"\x00", b"\x1b", b"\\", b"\\u", b"\\ud800", b"\r\n", b"//"),
    *(b"{", b"}", b"[", b"]", b",", b":", b'"', b"-", b".", b"e", b"9", b"NaN", b"null", b" " * 100),
)

DEPTHS: Final = (1, 2, 50, 90, 300, 900, 980, 5000, 12_000)
"""How deep to nest: what Python reads ends between 900 and 12,000, by release and by how deep the caller is itself."""


class Fields(list[tuple[str, "Tree"]]):
    """The fields of an object in their order, of which two may have one key."""


def parsed(body: bytes) -> "Tree | None":
    """Return what JSON the bytes are, or `None`."""
    try:
        return _tree(
            json.loads(body, object_pairs_hook=Fields, parse_int=_Spelt, parse_float=_Spelt, parse_constant=_Spelt)
        )
    except (ValueError, RecursionError):
        return None


def rendered(tree: Tree) -> bytes:
    """Return a tree as text, as compact as documents are stored."""
    return _text(tree).encode("utf-8", "surrogatepass")


def spoilt(body: bytes, another: bytes, random: Random) -> bytes:
    """Return a document spoilt once or a few times; `another` is one to take parts from."""
    for _ in range(random.choice((1, 1, 1, 2, 3, 6))):
        body = (_spoilt_tree(body, another, random) or random.choice(BYTEWISE)(body, another, random))[:LARGEST]
    return body


def _spoilt_tree(body: bytes, another: bytes, random: Random) -> bytes | None:
    """Return the document spoilt as JSON, or `None` where it is none, and every fourth time."""
    tree, other = parsed(body), parsed(another)
    if tree is None or other is None or random.random() < 0.25:
        return None
    try:
        return rendered(random.choice(TREEWISE)(tree, other, random))
    except RecursionError:  # it was nested already
        return None


class _Change(Protocol):
    """What changes the items of a list, or the fields of an object."""

    def __call__(self, items: list[T], /) -> list[T]:
        """Return them changed."""


class _Spelt(str):
    """The text of a number."""

    __slots__ = ()


def _tree(value: object) -> Tree:
    if isinstance(value, Fields):
        return Fields((key, _tree(field)) for key, field in value)
    if isinstance(value, list):
        return [_tree(item) for item in value]
    return str(value) if isinstance(value, _Spelt) else json.dumps(value)


def _text(tree: Tree) -> str:
    if isinstance(tree, Fields):
        return f"{{{','.join(f'{json.dumps(key)}:{_text(field)}' for key, field in tree)}}}"
    return tree if isinstance(tree, str) else f"[{','.join(map(_text, tree))}]"


def _changed(tree: Tree, random: Random, change: Callable[[Tree], Tree]) -> Tree:
    """Return a tree with one of its subtrees changed; how deep that lies is left to chance."""
    if isinstance(tree, str) or not tree or random.random() < 0.12:
        return change(tree)
    place = random.randrange(len(tree))
    if isinstance(tree, Fields):
        key, field = tree[place]
        return Fields([*tree[:place], (key, _changed(field, random, change)), *tree[place + 1 :]])
    return [*tree[:place], _changed(tree[place], random, change), *tree[place + 1 :]]


def _some(tree: Tree, random: Random) -> Tree:
    """Return some subtree."""
    while not isinstance(tree, str) and tree and random.random() < 0.85:
        inner: Sequence[Tree] = [field for _, field in tree] if isinstance(tree, Fields) else tree
        tree = random.choice(inner)
    return tree


def _with_items(inner: Tree, change: "_Change") -> Tree:
    """Return a list or an object with other items, if it has any."""
    if isinstance(inner, str) or not inner:
        return inner
    return Fields(change(inner)) if isinstance(inner, Fields) else change(inner)


def _another_value(tree: Tree, _other: Tree, random: Random) -> Tree:
    return _changed(tree, random, lambda _: random.choice(ODD))


def _graft(tree: Tree, other: Tree, random: Random) -> Tree:
    return _changed(tree, random, lambda _: _some(other, random))


def _move(tree: Tree, _other: Tree, random: Random) -> Tree:
    return _changed(tree, random, lambda _: _some(tree, random))


def _nest(tree: Tree, _other: Tree, random: Random) -> Tree:
    depth, (start, end) = random.choice(DEPTHS), random.choice((("[", "]"), ('{"a":', "}")))
    return _changed(tree, random, lambda inner: f"{start * depth}{_text(inner)}{end * depth}")


def _drop(tree: Tree, _other: Tree, random: Random) -> Tree:
    def drop(items: list[T]) -> list[T]:
        place = random.randrange(len(items))
        return [*items[:place], *items[place + 1 :]]

    return _changed(tree, random, lambda inner: _with_items(inner, drop))


def _double(tree: Tree, _other: Tree, random: Random) -> Tree:
    def double(items: list[T]) -> list[T]:
        return [*items, random.choice(items)]

    return _changed(tree, random, lambda inner: _with_items(inner, double))


def _rename(tree: Tree, _other: Tree, random: Random) -> Tree:
    def change(inner: Tree) -> Tree:
        if not isinstance(inner, Fields) or not inner:
            return inner
        place, key = random.randrange(len(inner)), random.choice(KEYS)
        return Fields([*inner[:place], (key, inner[place][1]), *inner[place + 1 :]])

    return _changed(tree, random, change)


def _add(tree: Tree, other: Tree, random: Random) -> Tree:
    def change(inner: Tree) -> Tree:
        value = random.choice((random.choice(ODD), _some(other, random)))
        if isinstance(inner, Fields):
            return Fields([*inner, (random.choice(KEYS), value)])
        return value if isinstance(inner, str) else [*inner, value]

    return _changed(tree, random, change)


def _flip(body: bytes, _another: bytes, random: Random) -> bytes:
    if not body:
        return b"{"
    place = random.randrange(len(body))
    return body[:place] + bytes([body[place] ^ 1 << random.randrange(8)]) + body[place + 1 :]


def _cut_off(body: bytes, _another: bytes, random: Random) -> bytes:
    return body[: random.randint(0, len(body))]


def _cut_out(body: bytes, _another: bytes, random: Random) -> bytes:
    start = random.randint(0, len(body))
    return body[:start] + body[start + random.randint(0, 40) :]


def _insert(body: bytes, _another: bytes, random: Random) -> bytes:
    start = random.choice((0, random.randint(0, len(body)), len(body)))
    return body[:start] + random.choice(SNIPPETS) + body[start:]


def _splice(body: bytes, another: bytes, random: Random) -> bytes:
    return body[: random.randint(0, len(body))] + another[random.randint(0, len(another)) :]


TREEWISE: Final = (_another_value, _graft, _move, _nest, _drop, _double, _rename, _add)
BYTEWISE: Final = (_flip, _cut_off, _cut_out, _insert, _splice)
