"""The rules of claims, one law a test: whatever is applied twice, late or by others, one claim counts, the highest."""

import json
from dataclasses import replace
from itertools import pairwise
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cf_data_tracker.document import Document, claim_in, clean_document, seen_in, to_bytes
from cf_data_tracker.errors import InvalidNameError
from cf_data_tracker.model import (
    ClaimChanged,
    ClaimedRecord,
    Claiming,
    CleanChange,
    CleanRecord,
    CleanRecorded,
    Extending,
    Forgetting,
    Forgotten,
    Noting,
    Releasing,
    Reprocessing,
    Seen,
)
from cf_data_tracker.rules.claims import change_many, changed, claimable, held, in_flight
from cf_data_tracker.rules.clean import pending
from strategies import SCHEMA, at, clean_documents, file_version, places

FILE_NAMES: Final = ("FY2023", "2024-01")
FIELDS: Final = ("claimed_by", "version", "until")
WHERE: Final = ("claims", "births", "FY2023")


def when(minute: int) -> str:
    """Return a time of one morning."""
    return f"2024-03-01T09:{minute:02}:00.000Z"


def claiming(  # noqa: PLR0913 - a change has that many sides
    name: str = "mine",
    *,
    fence: int = 0,
    version: int = 1,
    now: int = 0,
    until: int = 15,
    file_name: str = "FY2023",
) -> Claiming:
    """Return a change that claims a version for 15 minutes."""
    return Claiming(
        table="births",
        file_name=file_name,
        fence=fence,
        recorded_by=name,
        version=version,
        at=when(now),
        until=when(until),
    )


def extending(name: str = "mine", *, fence: int = 1, until: int = 30, file_name: str = "FY2023") -> Extending:
    """Return a change that extends a claim."""
    return Extending(
        table="births",
        file_name=file_name,
        fence=fence,
        recorded_by=f"extension of {name} to {until}",
        claimed_by=name,
        until=when(until),
    )


def releasing(name: str = "mine", *, fence: int = 1, file_name: str = "FY2023") -> Releasing:
    """Return a change that releases a claim."""
    return Releasing(
        table="births", file_name=file_name, fence=fence, recorded_by=f"release of {name}", claimed_by=name
    )


def reprocessing(*, fence: int, version: int = 1, file_name: str = "FY2023") -> Reprocessing:
    """Return a change that wants a version cleaned again."""
    return Reprocessing(
        table="births", file_name=file_name, fence=fence, recorded_by=f"again after {fence}", version=version
    )


SEEN: Final = Seen(file="a.parquet", etag="e1", modified=1.5)


def noting(*seen: Seen, since: int = 1, minute: int = 30) -> Noting:
    """Return a change that notes which objects outdated files are."""
    outdated = {one.file: when(since) for one in seen}
    return Noting(outdated=outdated, at=when(minute), seen=seen, recorded_by="a sweep")


def unclaimed(
    name: str, *, version: int = 1, minute: int = 5, file_name: str = "FY2023", files: str = ""
) -> CleanRecord:
    """Return a record without a claim."""
    return CleanRecord(
        raw=file_version(version, file_name=file_name),
        clean_files=tuple(files.split() or [f"{file_name}.{version}.{name}.parquet"]),
        timestamp="2024-03-01 09:00:00",
        recorded_by=name,
        at=when(minute),
    )


def claimed(name: str = "mine", *, fence: int = 1, **fields: Any) -> ClaimedRecord:  # noqa: ANN401 - as `unclaimed`
    """Return a record under a claim."""
    return ClaimedRecord(record=unclaimed(name, **fields), fence=fence)


@st.composite
def changes(draw: st.DrawFn, max_size: int = 10) -> list[CleanChange]:
    """Changes of workers of which some are late, some guess, and none shares an identity or a moment with another."""
    found: list[CleanChange] = []
    for number in range(draw(st.integers(1, max_size))):
        fence, version, file_name = draw(st.integers(0, 4)), draw(st.integers(0, 3)), draw(st.sampled_from(FILE_NAMES))
        earlier = [one for one in found if isinstance(one, Claiming) and one.file_name == file_name]
        held = draw(st.sampled_from(earlier)) if earlier else claiming("nobody's", fence=9)
        under: dict[str, Any] = {"fence": held.fence + 1, "file_name": file_name}
        record = {"version": held.version, "minute": number, "file_name": file_name}
        kinds: list[CleanChange] = [
            claiming(
                f"claim {number}", fence=fence, version=version, now=number, until=number + 3, file_name=file_name
            ),
            claiming(f"claim {number}", fence=fence, version=version, now=59, until=number + 3, file_name=file_name),
            replace(extending(held.recorded_by, until=number + 9, **under), recorded_by=f"extension {number}"),
            replace(releasing(held.recorded_by, **under), recorded_by=f"release {number}"),
            replace(reprocessing(fence=fence, version=version, file_name=file_name), recorded_by=f"again {number}"),
            claimed(held.recorded_by, fence=held.fence + 1, **record),
            claimed(held.recorded_by, fence=held.fence + 1, files=f"shared {number}", **record),
            unclaimed(f"record {number}", version=version, minute=number, file_name=file_name),
        ]
        found.append(draw(st.sampled_from(kinds)))
    return found


DOCUMENTS: Final = st.none() | clean_documents()
CHANGES: Final = changes()


def applied(document: Document | None, *all_of: CleanChange) -> Document:
    """Return the document with changes in it."""
    grown, _ = change_many(document, SCHEMA, all_of)
    assert grown is not None
    return grown


def fences(document: Document | None) -> dict[str, int]:
    """Return the fence of each file name of births."""
    claims = (document or {}).get("claims", {}).get("births", {})
    return {file_name: claim["fence"] for file_name, claim in claims.items()}


def clean_files(document: Document) -> list[str]:
    """Return the clean files of the file name that most tests are about."""
    files: list[str] = document["tables"]["births"]["FY2023"]["clean_files"]
    return files


def raw_with(**versions: int) -> Document:
    """Return a raw document in which these file names of births have as many versions."""
    files = [
        {
            "file_name": file_name,
            "current_version": number,
            "versions": [{"version": each + 1, "file": f"{each}.zip"} for each in range(number)],
        }
        for file_name, number in versions.items()
    ]
    return {"tables": [{"schema_name": SCHEMA, "tables": [{"name": "births", "files": files}]}]}


class TestLaws:
    """Whatever the workers do, and whoever applies it."""

    @given(DOCUMENTS, CHANGES)
    def test_applying_a_change_twice_changes_nothing(
        self, document: Document | None, changes: list[CleanChange]
    ) -> None:
        """The very same document comes back, and the same answer."""
        for change in changes:
            document, outcome = changed(document, SCHEMA, change)
            again, same_outcome = changed(document, SCHEMA, change)
            assert document is again
            assert outcome == same_outcome

    @given(DOCUMENTS, CHANGES)
    def test_a_change_that_was_made_is_not_made_again_later(
        self, document: Document | None, changes: list[CleanChange]
    ) -> None:
        """However much later an entry is met again, it changes nothing."""
        made: list[CleanChange] = []
        for change in changes:
            before = document
            document, _ = changed(document, SCHEMA, change)
            made += [change] if document is not before else []
            for one in made:
                assert document is changed(document, SCHEMA, one)[0], one

    @given(DOCUMENTS, CHANGES)
    def test_a_fence_never_falls(self, document: Document | None, changes: list[CleanChange]) -> None:
        """Nor is it dropped, whatever becomes of the claim."""
        for change in changes:
            before = fences(document)
            document, _ = changed(document, SCHEMA, change)
            assert (
                before.items()
                <= {name: min(fence, before.get(name, 0)) for name, fence in fences(document).items()}.items()
            )

    @given(DOCUMENTS, CHANGES)
    def test_each_fence_is_given_once(self, document: Document | None, changes: list[CleanChange]) -> None:
        """Of two claims on a file name, the later has the higher number; and whoever holds it has the last."""
        given_to: dict[tuple[str, int], str] = {}
        for change in changes:
            before = document
            document, outcome = changed(document, SCHEMA, change)
            if isinstance(change, Claiming) and outcome.created and document is not before:
                key = change.file_name, change.fence + 1
                assert key not in given_to
                given_to[key] = change.recorded_by
            for _, file_name, claim in held(document):
                assert claim["claimed_by"] == given_to[file_name, claim["fence"]]

    @given(DOCUMENTS, CHANGES)
    def test_only_the_highest_claim_records(self, document: Document | None, changes: list[CleanChange]) -> None:
        """A record under a claim is put there only while nobody has a higher number, and ends the claim."""
        for change in changes:
            before = document
            document, outcome = changed(document, SCHEMA, change)
            if isinstance(change, ClaimedRecord) and document is not before:
                file_name = change.record.raw.file_name
                assert change.fence == fences(before)[file_name] == fences(document)[file_name]
                assert isinstance(outcome, CleanRecorded)
                assert not set(FIELDS) & set(claim_in(document, "births", file_name))

    @given(DOCUMENTS, CHANGES)
    def test_a_record_never_goes_back(self, document: Document | None, changes: list[CleanChange]) -> None:
        """Rule 5 holds for whatever is recorded, under a claim or not."""
        for change in changes:
            before = versions(document)
            document, _ = changed(document, SCHEMA, change)
            after = versions(document)
            assert all(after[name] >= version for name, version in before.items())

    @given(DOCUMENTS, CHANGES, st.lists(st.integers(0, 10), max_size=3).map(sorted))
    def test_many_may_be_parted_anywhere(
        self, document: Document | None, changes: list[CleanChange], ends: list[int]
    ) -> None:
        """Into however many commits changes are parted, answers and document are the same, but for `revision`."""
        grown, outcomes = change_many(document, SCHEMA, changes)
        parts: Document | None = document
        same: list[object] = []
        for start, end in pairwise([0, *ends, len(changes)]):
            parts, some = change_many(parts, SCHEMA, changes[start:end])
            same += some
        assert list(outcomes) == same
        assert without_revision(grown) == without_revision(parts)

    @given(DOCUMENTS, CHANGES)
    def test_many_are_one_revision(self, document: Document | None, changes: list[CleanChange]) -> None:
        """A commit raises `revision` by one, and only if it changes something."""
        grown, _ = change_many(document, SCHEMA, changes)
        before, after = ((found or {}).get("revision", 0) for found in (document, grown))
        assert (before if grown is document else before + 1) == after

    @given(DOCUMENTS, CHANGES)
    def test_the_result_is_a_clean_document(self, document: Document | None, changes: list[CleanChange]) -> None:
        """It is read again as it is, and the arguments are left as they were, to the byte."""
        before = to_bytes(document or {})
        grown, _ = change_many(document, SCHEMA, changes)
        assert grown is None or grown == clean_document(to_bytes(grown))
        assert before == to_bytes(document or {})

    @given(clean_documents(), CHANGES)
    def test_what_is_not_ours_survives(self, document: Document, changes: list[CleanChange]) -> None:
        """Unknown fields stay at the top, beside the claims of others, and in the claims themselves."""
        theirs = {"note": ["theirs"], "fence": 0}
        document = {**document, "claims": {"births": dict.fromkeys(FILE_NAMES, theirs), "others": {"x": theirs}}}
        grown = applied(document, *changes)
        for path, value in places(document):
            if path[-1:] == ("note",) and path[:1] != ("tables",):
                assert value == at(grown, path) if not isinstance(value, type) else isinstance(at(grown, path), value)
        assert document["claims"]["others"] is grown["claims"]["others"]

    @given(DOCUMENTS, st.lists(st.integers(0, 4), max_size=5))
    def test_without_claims_the_document_knows_of_none(self, document: Document | None, numbers: list[int]) -> None:
        """Records alone, that drop no clean file, leave no trace of claims or outdated files."""
        records = [unclaimed(f"record {place}", version=number, files="same") for place, number in enumerate(numbers)]
        document = {**document, "tables": {}} if document is not None else None
        grown, _ = change_many(document, SCHEMA, records)
        assert not {"claims", "outdated"} & set(grown or {})


def versions(document: Document | None) -> dict[tuple[str, str], int]:
    """Return the raw version that each file name has a record of."""
    return {
        (table, file_name): entry["file_info"]["version"]
        for table, records in (document or {"tables": {}})["tables"].items()
        for file_name, entry in records.items()
    }


def without_revision(document: Document | None) -> Document | None:
    """Return what a document says, leaving out how many commits it took."""
    return document and {key: value for key, value in document.items() if key != "revision"}


def outcome_of(document: Document | None, change: CleanChange) -> Any:  # noqa: ANN401 - as the change has it
    """Return what becomes of a change."""
    return changed(document, SCHEMA, change)[1]


class TestClaiming:
    """Who gets a claim."""

    def test_a_first_claim_begins_a_document(self) -> None:
        """Where there is none, with the number 1, and with what an old reader needs."""
        expected = {
            "schema_name": SCHEMA,
            "tables": {},
            "claims": {
                "births": {
                    "FY2023": {
                        "fence": 1,
                        "claimed_by": "mine",
                        "version": 1,
                        "until": when(15),
                        "recorded_by": "mine",
                    }
                }
            },
            "revision": 1,
        }
        assert expected == applied(None, claiming())

    def test_of_two_that_claim_the_same_one_gets_it(self) -> None:
        """The first in the order of commits."""
        _, outcomes = change_many(None, SCHEMA, [claiming("mine"), claiming("theirs")])
        assert [True, False] == [outcome.created for outcome in outcomes]

    def test_a_claim_holds_until_its_time_has_passed(self) -> None:
        """By the clock of whoever asks, and not a moment earlier, even for who knows the number."""
        document = applied(None, claiming(until=15))
        assert not outcome_of(document, claiming("theirs", fence=1, now=14)).created
        assert outcome_of(document, claiming("theirs", fence=1, now=15)).created

    def test_an_extension_that_came_first_keeps_the_claim(self) -> None:
        """Whoever saw it run out, and asks after it was extended, does not get it."""
        document = applied(None, claiming(until=15), extending(until=30))
        assert not outcome_of(document, claiming("theirs", fence=1, now=16)).created

    def test_an_old_number_gets_nothing(self) -> None:
        """A change that comes late claims nothing that has been claimed since, and ended."""
        document = applied(None, claiming(), releasing())
        assert not outcome_of(document, claiming("late", fence=0, now=40)).created
        assert outcome_of(document, claiming("theirs", fence=1, now=40)).created

    def test_a_newer_version_waits_for_the_claim_on_an_older_one(self) -> None:
        """A file name has one claim at a time, whatever the version."""
        document = applied(None, claiming(version=3))
        assert not outcome_of(document, claiming("theirs", fence=1, version=4)).created
        assert outcome_of(applied(document, claimed(version=3)), claiming("theirs", fence=1, version=4)).created

    @pytest.mark.parametrize(("version", "claims"), [(1, False), (2, False), (3, True)])
    def test_what_is_recorded_is_not_claimed(self, version: int, claims: bool) -> None:  # noqa: FBT001 - expected
        """Nor what is older: somebody without a claim may have recorded it since it was picked."""
        document = applied(None, unclaimed("somebody", version=2))
        assert claims is outcome_of(document, claiming(version=version)).created


class TestEnding:
    """How a claim ends."""

    def test_a_record_ends_it_and_the_fence_stays(self) -> None:
        """Nothing else of it is kept: the record has the rest."""
        document = applied(None, claiming(), claimed())
        assert {"fence": 1} == claim_in(document, "births", "FY2023")
        assert "mine" == document["tables"]["births"]["FY2023"]["file_info"]["recorded_by"]

    def test_a_lease_that_ran_out_is_good_while_nobody_took_over(self) -> None:
        """The record knows no time."""
        document = applied(None, claiming(until=1))
        assert outcome_of(document, claimed(minute=50)) == CleanRecorded(
            schema=SCHEMA, table="births", file_name="FY2023", version=1, created=True
        )

    def test_a_late_record_is_refused_after_a_takeover(self) -> None:
        """It learns who has the claim now, and nothing changes."""
        document = applied(None, claiming(), claiming("theirs", fence=1, now=16, until=40))
        assert document is changed(document, SCHEMA, claimed())[0]
        assert outcome_of(document, claimed()) == ClaimChanged(created=False, fence=2, until=when(40), recorded=None)

    def test_a_late_record_is_refused_after_the_other_has_recorded(self) -> None:
        """The other's clean files stay."""
        document = applied(None, claiming(), claiming("theirs", fence=1, now=16), claimed("theirs", fence=2))
        assert document is changed(document, SCHEMA, claimed())[0]
        assert outcome_of(document, claimed()) == ClaimChanged(created=False, fence=2, until=None, recorded=1)

    def test_a_record_after_a_release_is_refused(self) -> None:
        """Whoever gave it back has no claim to it."""
        document = applied(None, claiming(), releasing())
        assert document is changed(document, SCHEMA, claimed())[0]
        assert not outcome_of(document, claimed()).created

    def test_the_same_record_again_is_recognised(self) -> None:
        """Whoever was not answered may record again, though the claim has ended and another has begun."""
        document = applied(None, claiming(), claimed(), reprocessing(fence=1), claiming("theirs", fence=2))
        assert outcome_of(document, claimed()).created

    def test_another_record_under_the_same_claim_is_not_put_there(self) -> None:
        """One claim, one record: other clean files do not take the place of the first."""
        document = applied(None, claiming(), claimed())
        other = claimed(files="other.parquet")
        assert document is changed(document, SCHEMA, other)[0]
        assert not outcome_of(document, other).created

    def test_a_newer_record_is_never_replaced(self) -> None:
        """Rule 5: the claim ends, and its record is not put there; whoever asks twice is told the same."""
        document = applied(None, claiming(), unclaimed("somebody", version=2))
        grown, outcome = changed(document, SCHEMA, claimed())
        assert outcome == CleanRecorded(schema=SCHEMA, table="births", file_name="FY2023", version=2, created=False)
        assert outcome == outcome_of(grown, claimed())
        assert [] == list(held(grown))

    def test_a_record_of_another_version_than_the_claimed_one_is_refused(self) -> None:
        """The claim is one on a version."""
        document = applied(None, claiming(version=1))
        assert not outcome_of(document, claimed(version=2)).created

    def test_a_number_alone_is_no_claim(self) -> None:
        """Where an older document was restored, a number may have been given twice: who has it now is looked at too."""
        document = applied(None, claiming("theirs"))
        for late in (claimed(), extending(), releasing()):
            assert document is changed(document, SCHEMA, late)[0]
        assert not outcome_of(document, claimed()).created
        assert not outcome_of(document, extending()).created

    def test_a_release_frees_the_file_name(self) -> None:
        """The next claim gets the next number."""
        document = applied(None, claiming(), releasing())
        assert outcome_of(document, claiming("theirs", fence=1)) == ClaimChanged(
            created=True, fence=2, until=when(15), recorded=None
        )

    def test_nobody_releases_what_another_has(self) -> None:
        """A late release changes nothing."""
        document = applied(None, claiming(), claiming("theirs", fence=1, now=16))
        assert document is changed(document, SCHEMA, releasing())[0]

    @pytest.mark.parametrize(
        "change", [releasing(), extending(), claimed(), Forgetting(outdated={"a": when(1)}, recorded_by="x")]
    )
    def test_without_a_document_there_is_nothing_to_end(self, change: CleanChange) -> None:
        """And none is begun."""
        assert None is changed(None, SCHEMA, change)[0]


class TestExtending:
    """How a claim goes on."""

    def test_the_later_time_counts(self) -> None:
        """Whichever extension comes first."""
        for order in ((20, 30), (30, 20)):
            document = applied(None, claiming(), *(extending(until=minute) for minute in order))
            assert when(30) == claim_in(document, "births", "FY2023")["until"]

    def test_an_extension_never_shortens(self) -> None:
        """It is granted, and the claim lasts as long as it did."""
        document = applied(None, claiming(until=15))
        assert outcome_of(document, extending(until=5)) == ClaimChanged(
            created=True, fence=1, until=when(15), recorded=None
        )

    @pytest.mark.parametrize("end", [releasing(), claimed(), reprocessing(fence=1)])
    def test_what_has_ended_does_not_go_on(self, end: CleanChange) -> None:
        """By a release, a record, or because it is to be cleaned again."""
        document = applied(None, claiming(), end)
        assert document is changed(document, SCHEMA, extending())[0]
        assert not outcome_of(document, extending()).created


class TestReprocessing:
    """A version that is to be cleaned again, though it has a record."""

    def test_it_is_pending_and_can_be_claimed(self) -> None:
        """Until it is recorded under a claim."""
        raw, document = raw_with(FY2023=1), applied(None, unclaimed("first"))
        assert [] == pending(raw, document, SCHEMA)
        document = applied(document, reprocessing(fence=0))
        assert [1] == [version.version for version in pending(raw, document, SCHEMA)]
        assert [1] == [fence for _, fence in claimable(raw, document, SCHEMA, when(0))]
        document = applied(document, claiming(fence=1), claimed(fence=2, files="second.parquet"))
        assert ["second.parquet"] == clean_files(document)
        assert [] == pending(raw, document, SCHEMA)

    def test_only_a_claim_replaces_the_record(self) -> None:
        """A record without one is of a run that may have begun before."""
        document = applied(None, unclaimed("first"), reprocessing(fence=0))
        assert document is changed(document, SCHEMA, unclaimed("second"))[0]

    def test_a_worker_that_is_at_it_is_too_late(self) -> None:
        """Its run is an old one."""
        document = applied(None, claiming(), reprocessing(fence=1))
        assert not outcome_of(document, claimed()).created
        assert [] == list(held(document))

    def test_it_is_replaced_once(self) -> None:
        """The next claim on the same version is not granted."""
        document = applied(None, unclaimed("first"), reprocessing(fence=0), claiming(fence=1), claimed(fence=2))
        assert not outcome_of(document, claiming("theirs", fence=2)).created

    def test_it_outlives_a_worker_that_gives_up(self) -> None:
        """A released version is still to be cleaned again."""
        document = applied(None, unclaimed("first"), reprocessing(fence=0), claiming(fence=1), releasing(fence=2))
        assert outcome_of(document, claiming("theirs", fence=2)).created

    def test_a_newer_record_makes_it_needless(self) -> None:
        """What is superseded is not cleaned, let alone again."""
        document = applied(None, unclaimed("newer", version=2))
        assert document is changed(document, SCHEMA, reprocessing(fence=0, version=1))[0]
        document = applied(None, unclaimed("first"), reprocessing(fence=0), unclaimed("newer", version=2))
        assert not outcome_of(document, claiming(fence=1, version=1)).created

    def test_whoever_asks_twice_asks_once(self) -> None:
        """An answer that was lost is recognised, though the version was handed out meanwhile."""
        document = applied(None, unclaimed("first"), reprocessing(fence=0), claiming(fence=1))
        assert outcome_of(document, reprocessing(fence=0)).created
        assert not outcome_of(applied(document, claimed(fence=2)), reprocessing(fence=0)).created

    def test_a_wish_for_a_number_that_was_never_given_is_none(self) -> None:
        """Where an older document was restored since it was read, it is to be read again."""
        document = applied(None, unclaimed("first"), reprocessing(fence=0))
        assert not outcome_of(document, reprocessing(fence=5)).created


class TestClaimable:
    """What a worker may pick."""

    def test_it_is_what_is_pending_and_not_held(self) -> None:
        """Each with the number that its file name has."""
        raw = raw_with(FY2022=1, FY2023=2, FY2024=1, FY2025=1)
        document = applied(
            None,
            unclaimed("somebody", file_name="FY2022"),
            claiming("one", version=2),
            claiming("two", file_name="FY2024", until=1),
        )
        found = claimable(raw, document, SCHEMA, when(5))
        assert [("FY2024", 1, 1), ("FY2025", 1, 0)] == [(one.file_name, one.version, fence) for one, fence in found]

    def test_what_cannot_be_recorded_is_not_claimed(self) -> None:
        """A name that no record can have would be handed out for ever."""
        raw = raw_with(**{"FY\n2023": 1, "FY2024": 1})
        assert ["FY2024"] == [one.file_name for one, _ in claimable(raw, None, SCHEMA, when(0))]


class TestOutdated:
    """The clean files that no record of their file name names any more."""

    def test_what_a_new_record_does_not_name_is_outdated(self) -> None:
        """From the moment of the record on, whatever its timestamp says."""
        document = applied(None, unclaimed("old", files="a b c"), unclaimed("new", version=2, minute=7, files="b d"))
        assert {"a": when(7), "c": when(7)} == document["outdated"]

    def test_what_is_named_again_is_not(self) -> None:
        """The list is empty then, and gone."""
        document = applied(
            None,
            unclaimed("1", files="a"),
            unclaimed("2", version=2, files="b"),
            unclaimed("3", version=3, files="a b"),
        )
        assert "outdated" not in document

    def test_a_file_that_is_outdated_again_is_so_since_then(self) -> None:
        """The moment is the last one."""
        records = [
            unclaimed(str(version), version=version, minute=version, files=files)
            for version, files in enumerate(("a", "b", "a", "c"))
        ]
        assert {"a": when(3), "b": when(2)} == applied(None, *records)["outdated"]

    def test_without_a_moment_nothing_is_listed(self) -> None:
        """An entry of another release says nothing of it; its clean files stay."""
        new = replace(unclaimed("new", version=2, files="b"), at=None)
        assert "outdated" not in applied(None, unclaimed("old", files="a"), new)

    def test_a_record_of_an_older_writer_may_name_anything(self) -> None:
        """What is no text is no file."""
        document = applied(None, unclaimed("old"))
        document["tables"]["births"]["FY2023"]["clean_files"] = [5, None, {"a": 1}, "a"]
        assert {"a": when(7)} == applied(document, unclaimed("new", version=2, minute=7))["outdated"]

    def test_what_was_deleted_is_forgotten(self) -> None:
        """But for what has become outdated once more since."""
        document: Document = {"schema_name": SCHEMA, "tables": {}, "outdated": {"a": when(1), "b": when(3)}}
        forgetting = Forgetting(outdated={"a": when(1), "b": when(2), "c": when(1)}, recorded_by="sweep")
        assert {"b": when(3)} == applied(document, forgetting)["outdated"]
        everything = Forgetting(outdated={"a": when(1), "b": when(3)}, recorded_by="sweep")
        assert "outdated" not in applied(document, everything)


class TestSeen:
    """Which object stood at an outdated file."""

    def test_what_the_recorder_saw_is_noted_of_what_it_replaces(self) -> None:
        """With the revision of the commit, and of no other file."""
        replaces = replace(unclaimed("b", version=2, files="b.parquet", minute=1), seen=(SEEN, replace(SEEN, file="x")))
        document = applied(applied(None, unclaimed("a", files="a.parquet")), replaces)
        assert {"a.parquet": when(1)} == document["outdated"]
        assert {"a.parquet": {"etag": "e1", "modified": 1.5, "revision": 2}} == document["outdated_seen"]

    def test_a_version_is_noted_where_there_is_one(self) -> None:
        """In a bucket that keeps versions."""
        seen = replace(SEEN, version="v1")
        replaces = replace(unclaimed("b", version=2, files="b.parquet", minute=1), seen=(seen,))
        document = applied(applied(None, unclaimed("a", files="a.parquet")), replaces)
        assert {"etag": "e1", "modified": 1.5, "version": "v1", "revision": 2} == seen_in(document, "a.parquet")

    def test_it_goes_with_the_file(self) -> None:
        """When that is named again, or forgotten; and it does not count when the file becomes outdated again."""
        replaces = replace(unclaimed("b", version=2, files="b.parquet", minute=1), seen=(SEEN,))
        document = applied(applied(None, unclaimed("a", files="a.parquet")), replaces)
        again = applied(document, unclaimed("c", version=3, files="a.parquet b.parquet", minute=2))
        assert not {"outdated", "outdated_seen"} & set(again)
        forgotten = applied(document, Forgetting(outdated=document["outdated"], recorded_by="a sweep"))
        assert not {"outdated", "outdated_seen"} & set(forgotten)
        stale = {**again, "outdated_seen": document["outdated_seen"]}  # an earlier release leaves it there
        assert "outdated_seen" not in applied(stale, unclaimed("d", version=4, files="b.parquet", minute=3))

    def test_a_sweep_notes_what_it_sees(self) -> None:
        """The file is outdated since then."""
        document = applied(
            applied(None, unclaimed("a", files="a.parquet")), unclaimed("b", version=2, files="b", minute=1)
        )
        assert seen_in(document, "a.parquet") is None
        noted = applied(document, noting(SEEN))
        assert {"a.parquet": when(30)} == noted["outdated"]
        assert {"etag": "e1", "modified": 1.5, "revision": 3} == seen_in(noted, "a.parquet")

    @pytest.mark.parametrize("change", [noting(), noting(SEEN, since=2), noting(replace(SEEN, file="b"))])
    def test_a_note_that_comes_too_late_changes_nothing(self, change: Noting) -> None:
        """The file is off the list, or on it since another moment: the very same document comes back."""
        document = applied(
            applied(None, unclaimed("a", files="a.parquet")), unclaimed("b", version=2, files="b", minute=1)
        )
        assert change_many(document, SCHEMA, [change])[0] is document
        assert (None, (Forgotten(created=True),)) == change_many(None, SCHEMA, [change])

    def test_a_note_applied_twice_is_one(self) -> None:
        """Another worker may commit it, too."""
        document = applied(
            applied(None, unclaimed("a", files="a.parquet")), unclaimed("b", version=2, files="b", minute=1)
        )
        once = applied(document, noting(SEEN))
        assert change_many(once, SCHEMA, [noting(SEEN)])[0] is once


class TestInFlight:
    """Whose claim was made before an object was noted, and is held still."""

    def outdated(self) -> Document:
        """Return a document in which a file is outdated, at revision 2."""
        replaces = replace(unclaimed("b", version=2, files="b.parquet", minute=1), seen=(SEEN,))
        return applied(applied(None, unclaimed("a", files="a.parquet")), replaces)

    def test_a_claim_that_was_made_before_is(self) -> None:
        """Made at a revision up to that of the note, or without one, as by an earlier release."""
        document = applied(self.outdated(), claiming(file_name="FY2024"))
        assert 3 == claim_in(document, "births", "FY2024")["revision"]
        assert [None, ("births", "FY2024")] == [in_flight(document, revision, when(0)) for revision in (2, 3)]
        first = applied(None, claiming(file_name="FY2024"))
        assert "revision" not in claim_in(first, "births", "FY2024")
        assert ("births", "FY2024") == in_flight(first, 0, when(0))

    def test_a_claim_that_has_ended_is_not(self) -> None:
        """Whether it was recorded or released; nor one that ran out before a time."""
        document = applied(self.outdated(), claiming(file_name="FY2024", until=15))
        assert in_flight(document, 9, when(15)) is not None
        assert in_flight(document, 9, when(16)) is None
        ended = applied(document, releasing(file_name="FY2024"))
        assert in_flight(ended, 9, when(0)) is None
        assert {"fence": 1, "recorded_by": "release of mine"} == claim_in(ended, "births", "FY2024")
        assert in_flight(None, 9, when(0)) is None

    def test_all_of_a_commit_have_its_revision(self) -> None:
        """However many records stand before a claim in it: a claim that seemed later would not be waited for."""
        records = [unclaimed(f"r{number}", version=3 + number, minute=2) for number in range(3)]
        document, _ = change_many(self.outdated(), SCHEMA, [*records, claiming(file_name="FY2024")])
        assert document is not None
        assert (3, 3) == (document["revision"], claim_in(document, "births", "FY2024")["revision"])


@pytest.mark.parametrize(
    ("change", "fields"),
    [
        (claiming(), {"fence": -1}),
        (claiming(), {"fence": "1"}),
        (claiming(), {"version": None}),
        (claiming(), {"at": None}),
        (claiming(), {"until": 5}),
        (claiming(), {"table": ""}),
        (claiming(), {"recorded_by": None}),
        (extending(), {"until": None}),
        (extending(), {"claimed_by": 5}),
        (releasing(), {"claimed_by": None}),
        (reprocessing(fence=0), {"version": True}),
        (claimed(), {"fence": None}),
        (unclaimed("x"), {"at": 5}),
        (Forgetting(outdated={}, recorded_by="x"), {"outdated": {"a": 5}}),
        (Forgetting(outdated={}, recorded_by="x"), {"recorded_by": None}),
        (noting(), {"recorded_by": None}),
        (noting(), {"at": 5}),
        (noting(), {"outdated": {"a": 5}}),
        (SEEN, {"file": ""}),
        (SEEN, {"etag": ""}),
        (SEEN, {"modified": "1"}),
        (SEEN, {"modified": True}),
        (SEEN, {"version": 5}),
    ],
)
def test_a_change_is_of_its_kind(change: Any, fields: dict[str, Any]) -> None:  # noqa: ANN401 - wrong on purpose
    """What another worker wrote into an inbox is checked before it comes near a document."""
    with pytest.raises(InvalidNameError):
        replace(change, **fields)


def test_an_old_reader_reads_on() -> None:
    """The records of a document with claims stand where they stood, and no field of them has another form."""
    document = json.loads(to_bytes(applied(None, claiming(), claimed())))
    assert {"file_info", "clean_files"} == set(document["tables"]["births"]["FY2023"])
    assert {"schema_name", "tables", "claims", "revision"} == set(document)
