"""Fuzzing: of whatever bytes stand where a document should, reading makes a sound document or the one declared error.

The laws are in `fuzz.laws`, a function for each kind of document. They are tried on what earlier runs found worth
keeping and on spoilt documents; under `make prove` for five minutes more, led by what is reached, where that can be
seen.
"""

import time
from collections.abc import Callable, Mapping
from random import Random
from typing import Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cf_data_tracker.document import recorded_since
from cf_data_tracker.entries import UnreadableError, opened
from fuzz import corpus, guided
from fuzz.corpus import body_of, fewest, name_of, text_of
from fuzz.laws import LAWS
from fuzz.spoiling import parsed, rendered, spoilt
from strategies import JSON, recording
from test_entries import PREFIX, sealed_text

Counted = Callable[[str, Mapping[str, int]], None]

kinds = pytest.mark.parametrize("kind", LAWS)

SECONDS: Final = 300 // len(LAWS)
"""How long `make prove` fuzzes each kind."""

BUDGET: Final = 300_000
"""What the whole corpus may take up in the repository, in bytes."""


@st.composite
def spoilt_documents(draw: st.DrawFn, kind: str) -> bytes:
    """Documents of a kind, spoilt once or a few times."""
    seeds = st.sampled_from(corpus.sound(kind)) | st.sampled_from(corpus.seeds(kind))
    return spoilt(draw(seeds), draw(seeds), draw(st.randoms(use_true_random=False)))


class TestCorpus:
    """What was found before."""

    @kinds
    def test_what_was_found_before_breaks_no_law(self, kind: str, counted: Counted) -> None:
        """All that earlier runs found keeps to the laws; some of it is accepted, and some refused."""
        verdicts = [LAWS[kind](body) for body in corpus.seeds(kind)]
        assert {True, False} == set(verdicts)
        counted(f"fuzzing, {kind}", {"inputs kept": len(corpus.kept(kind))})

    def test_it_is_small(self) -> None:
        """The whole corpus is replayed in seconds, and weighs less than a picture."""
        files = [path for kind in LAWS for path in corpus.paths(kind)]
        assert 0 < sum(path.stat().st_size for path in files) < BUDGET

    @kinds
    def test_a_file_is_named_after_what_it_holds(self, kind: str) -> None:
        """Two runs that find the same make the same file, and nobody edits one in passing."""
        assert [name_of(body) for body in corpus.kept(kind)] == [path.name for path in corpus.paths(kind)]

    @given(st.binary())
    def test_bytes_survive_as_text(self, body: bytes) -> None:
        """A file of the corpus is a line of printable ASCII, and holds any bytes."""
        text = text_of(body)
        assert body == body_of(text)
        assert text.removesuffix("\n").isprintable()
        assert text.isascii()

    def test_what_takes_no_new_path_is_not_kept(self) -> None:
        """Of two bodies that make the code do the same, the smaller is kept; of two that do not, both are."""
        assert [b"{}"] == fewest("raw", [b'{"a":1}', b"{}"])
        assert [b"", b"{}"] == fewest("raw", [b"{}", b""])


class TestSpoiling:
    """The spoilt documents are worth trying."""

    @given(JSON)
    def test_what_is_not_spoilt_stays_as_it_is(self, value: object) -> None:
        """To take JSON apart and to put it together again changes nothing but spaces."""
        tree = parsed(corpus.SMALL)
        assert tree is not None
        assert corpus.SMALL == rendered(tree)
        again = parsed(rendered(parsed(str(value).encode()) or "null"))
        assert again is not None

    def test_keys_and_numbers_are_kept_as_they_were_spelt(self) -> None:
        """So that keys that stand twice, and numbers that Python does not have, come through."""
        body = b'{"a":1.0,"a":-0,"b":[1e999,NaN,"\\ud800"]}'
        tree = parsed(body)
        assert tree is not None
        assert body == rendered(tree)

    @kinds
    def test_some_are_accepted_and_some_refused(self, kind: str) -> None:
        """Neither all nor none of the spoilt documents are accepted: both sides of the laws are tried."""
        random, seeds = Random(1), corpus.sound(kind)
        verdicts = [LAWS[kind](spoilt(random.choice(seeds), random.choice(seeds), random)) for _ in range(200)]
        assert 5 < sum(verdicts) < 195


class TestLaws:
    """What holds of any bytes."""

    @kinds
    @given(data=st.data())
    def test_no_spoilt_document_breaks_a_law(self, kind: str, data: st.DataObject) -> None:
        """A spoilt document is refused with the one declared error, or read, written and added to without loss."""
        LAWS[kind](data.draw(spoilt_documents(kind)))

    @kinds
    @given(body=st.binary() | JSON.map(lambda value: str(value).encode("utf-8", "replace")))
    def test_no_bytes_break_a_law(self, kind: str, body: bytes) -> None:
        """So it is with bytes of any other origin."""
        LAWS[kind](body)


class TestNesting:
    """Lists in lists, deeper than Python calls: the laws as fuzzing came to them."""

    def test_what_was_added_is_found_however_deep_it_is_nested(self) -> None:
        """A commit that landed is told of, whatever an older document has in a descriptive field."""
        value: object = []
        for _ in range(2_000):
            value = [value]
        assert ["me"] == list(recorded_since(None, {"size": value, "recorded_by": "me"}))

    @pytest.mark.parametrize("depth", [200, 900])
    def test_an_entry_that_is_nested_deeply_is_unreadable(self, depth: int) -> None:
        """What one worker can still read, another could not write: it is set aside, and blocks nobody."""
        value = f'{{"recorded_by":"me","note":{"[" * depth}{"]" * depth}}}'
        with pytest.raises(UnreadableError):
            opened(*sealed_text(f"[{value}]", PREFIX), lambda _: recording())


@pytest.mark.prove
class TestProof:
    """Five minutes in all."""

    @pytest.mark.timeout(SECONDS + 120)
    @pytest.mark.skipif(not guided.is_available(), reason="atheris is not installed: the other half of this is run")
    @kinds
    def test_no_search_that_sees_what_it_reaches_finds_one(self, kind: str, counted: Counted) -> None:
        """A fuzzer that is led by coverage finds no body that breaks a law."""
        found = guided.fuzzed(kind, SECONDS)
        counted(f"fuzzing, {kind}", {"executions led by coverage": found.executions, "paths": len(found.bodies)})
        assert found.broke is None, f"{found.output}\n{text_of(found.broke)}"
        assert found.executions > 1000

    @pytest.mark.timeout(SECONDS + 120)
    @pytest.mark.skipif(guided.is_available(), reason="atheris is installed, and does the same better")
    @kinds
    def test_no_blind_search_finds_one(self, kind: str, counted: Counted) -> None:
        """Where there is no such fuzzer, hypothesis finds none in the same time."""
        end, tried = time.monotonic() + SECONDS, 0

        @settings(max_examples=500, database=None, derandomize=False, suppress_health_check=list(HealthCheck))
        @given(spoilt_documents(kind))
        def holds(body: bytes) -> None:
            nonlocal tried
            tried += 1
            LAWS[kind](body)

        while time.monotonic() < end:
            holds()
        counted(f"fuzzing, {kind}", {"executions by hypothesis, as atheris is not installed": tried})
        assert tried > 1000
