"""Rights: each role's policy is enough for what the library does, and holds nothing that it does not use."""

import dataclasses
import io
import json
import re
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import pytest
from botocore.exceptions import ClientError

from cf_data_tracker.clean import CleanTracker
from cf_data_tracker.errors import InvalidNameError, NotTrackedError, StoreError
from cf_data_tracker.names import clean_key, data_key, inbox_prefix, older_clean_key, raw_key
from cf_data_tracker.rights import MAX_BUCKET, MAX_IDENTITY, Role, Scope, policy_for
from cf_data_tracker.stores.s3 import open_client
from cf_data_tracker.tracker import Tracker
from conftest import access_to
from iam import Gate, Need, granted, matches
from servers.server import Server

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

SCHEMA: Final = "vitals"
RAW, CLEAN, OLDER = raw_key(SCHEMA), clean_key(SCHEMA), older_clean_key(SCHEMA)
LARGE: Final = b"x" * (9 << 20)
OLD: Final = [{"schema_name": SCHEMA, "tables": {}}]
IDENTITIES: Final = (Role.RECORDER, Role.READER, Role.UPLOADER, Role.CLEANER, Role.AUDITOR)


@dataclass(kw_only=True)
class Place:
    """Two buckets of their own, who may do anything there, and who may do what a policy allows."""

    server: Server
    raw: str
    clean: str
    admin: "S3Client"
    stack: ExitStack

    @property
    def scope(self) -> Scope:
        """The buckets, and the one schema."""
        return Scope(raw=self.raw, clean=self.clean, schemas=(SCHEMA,))

    def client_of(self, role: Role) -> tuple["S3Client", Gate]:
        """Return a client with a role's rights, in buckets with their policies, and its gate."""
        policies = [policy_for(one, self.scope) for one in (role, Role.BUCKET, Role.CLEAN_BUCKET)]
        gate = Gate(policies=policies)
        client = self.stack.enter_context(closing(open_client(access_to(self.server, self.raw))))
        return gate.put_before(client), gate

    def tracker(self, client: "S3Client") -> Tracker:
        """Return a tracker of the raw bucket that is safe to be trusted, so that it asks for no examination."""
        return Tracker(self.raw, client=client, timeout=30)

    def cleaner(self, client: "S3Client") -> CleanTracker:
        """Return a tracker of both buckets."""
        return CleanTracker(self.raw, self.clean, client=client, timeout=30)

    def wait_until_empty(self, bucket: str, prefix: str) -> None:
        """Wait for what is removed beside the work."""
        for _ in range(200):
            if not self.admin.list_objects_v2(Bucket=bucket, Prefix=prefix).get("KeyCount"):
                return
            time.sleep(0.05)  # noqa: TID251 - a server is awaited
        raise AssertionError(f"{prefix} is not empty")


@pytest.fixture
def make_place(embedded: Server, client: "S3Client") -> Iterator[Callable[[bool], Place]]:
    """Give what makes two new buckets, which keep versions or do not."""
    with ExitStack() as stack:

        def make(versioned: bool) -> Place:  # noqa: FBT001 - there is nothing else to say
            name = uuid.uuid4().hex[:12]
            place = Place(server=embedded, raw=f"raw-{name}", clean=f"clean-{name}", admin=client, stack=stack)
            for bucket in (place.raw, place.clean):
                client.create_bucket(Bucket=bucket)
                if versioned:
                    client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
            return place

        yield make


def record(tracker: Tracker, file: str) -> None:
    """Record a file of vitals/births/FY2023."""
    tracker.record(SCHEMA, "births", "FY2023", file, file_size=1, s3_location=f"s3://raw/{file}")


def record_against(gate: Gate, document: str, work: Callable[[], object], rival: Callable[[int], object]) -> None:
    """Do some work that writes a document, while a rival is always first until the inbox is used."""
    published = False
    defeats = 0

    def before(operation: str, key: str) -> None:
        nonlocal published, defeats
        if operation == "PutObject":
            published = published or key.startswith(inbox_prefix(document))
            if key == document and not published and defeats < 20:
                defeats += 1
                rival(defeats)

    gate.before = before
    work()
    gate.before = lambda operation, key: None  # noqa: ARG005
    assert published


def do_recording(place: Place, gate: Gate, client: "S3Client") -> None:
    """Record alone, meet an entry that nobody can read, record against a rival, and let others commit."""
    tracker, rival = place.tracker(client), place.tracker(place.admin)
    record(tracker, "first.zip")
    place.admin.put_object(Bucket=place.raw, Key=f"{inbox_prefix(RAW)}garbage", Body=b"garbage")
    record_against(
        gate, RAW, lambda: record(tracker, "against.zip"), lambda number: record(rival, f"rival{number}.zip")
    )
    assert tracker.exists(SCHEMA, "births", "FY2023", "against.zip")
    place.wait_until_empty(place.raw, inbox_prefix(RAW))


def do_reading(place: Place, client: "S3Client") -> None:
    """Ask before and after others recorded."""
    tracker = place.tracker(client)
    assert [] == tracker.tables(SCHEMA)
    record(place.tracker(place.admin), "a.zip")
    assert ["births"] == tracker.tables(SCHEMA)
    assert 1 == len(tracker.history(SCHEMA, "births"))
    assert 1 == len(place.cleaner(client).pending(SCHEMA))


def do_uploading(place: Place, gate: Gate, client: "S3Client") -> None:
    """Upload a small and a large file, and one that another is uploading at the same time."""
    do_recording(place, gate, client)
    tracker = place.tracker(client)
    for name, content in (("small.zip", b"small"), ("large.zip", LARGE), ("again.zip", b"again")):
        tracker.upload(io.BytesIO(content), SCHEMA, "births", "FY2024", file=name)
    taken = data_key(SCHEMA, "births", "FY2024", "taken.zip")

    def before(operation: str, key: str) -> None:
        if (operation, key) == ("CompleteMultipartUpload", taken):
            place.admin.put_object(Bucket=place.raw, Key=taken, Body=LARGE)

    gate.before = before
    tracker.upload(io.BytesIO(LARGE), SCHEMA, "births", "FY2024", file="taken.zip")
    assert tracker.exists(SCHEMA, "births", "FY2024", "taken.zip")


def do_cleaning(place: Place, gate: Gate, client: "S3Client") -> None:
    """Clean versions, against a rival, and sweep what is outdated."""
    raw, clean, rival = place.tracker(place.admin), place.cleaner(client), place.cleaner(place.admin)
    with pytest.raises(NotTrackedError):
        clean.pending(SCHEMA)
    place.admin.put_object(Bucket=place.clean, Key=OLDER, Body=json.dumps(OLD).encode())
    for number in range(22):
        raw.record(SCHEMA, "births", f"{2000 + number}", "a.zip", file_size=1, s3_location="s3://raw/a.zip")
    versions = {version.file_name: version for version in clean.pending(SCHEMA)}
    outdated = f"{SCHEMA}/births/outdated.parquet"
    place.admin.put_object(Bucket=place.clean, Key=outdated, Body=b"")
    place.admin.put_object(Bucket=place.clean, Key=f"{inbox_prefix(CLEAN)}garbage", Body=b"garbage")
    clean.record(versions["2000"], [outdated])
    record_against(
        gate,
        CLEAN,
        lambda: clean.record(versions["2001"], []),
        lambda number: rival.record(versions[f"{2001 + number}"], []),
    )
    raw.record(SCHEMA, "births", "2000", "b.zip", file_size=1, s3_location="s3://raw/b.zip")
    for claim in clean.claim(SCHEMA, limit=100):
        if claim.raw.file == "b.zip":
            clean.record(claim, [])
        else:
            clean.release(claim)  # what is claimed may yet be recorded, and a sweep would wait for that
    other = dataclasses.replace(versions["2001"], schema="weather")
    rival.record(other, ["weather/a.parquet"])
    assert [None] == [swept.left for swept in clean.sweep(SCHEMA, older_than=0.001, dry_run=False)]
    place.wait_until_empty(place.clean, outdated)
    place.wait_until_empty(place.clean, inbox_prefix(CLEAN))


def do_auditing(place: Place, client: "S3Client") -> None:
    """Audit, take an orphan in, look at the document's past, and restore it."""
    theirs, ours = place.tracker(place.admin), place.tracker(client)
    theirs.upload(io.BytesIO(b"content"), SCHEMA, "births", "FY2023", file="a.zip")
    place.admin.put_object(Bucket=place.raw, Key=data_key(SCHEMA, "births", "FY2023", "orphan.zip"), Body=b"orphan")
    ours.record_orphans(ours.audit(SCHEMA, deep=True))
    assert ours.exists(SCHEMA, "births", "FY2023", "orphan.zip")
    assert () == ours.verify_history(SCHEMA).findings
    place.admin.delete_object(Bucket=place.raw, Key=RAW)
    place.tracker(client).restore(SCHEMA, 2)
    assert theirs.exists(SCHEMA, "births", "FY2023", "a.zip")


def work(role: Role, place: Place, gate: Gate, client: "S3Client") -> None:
    """Do all that the library does in a role."""
    if role is Role.RECORDER:
        do_recording(place, gate, client)
    elif role is Role.READER:
        do_reading(place, client)
    elif role is Role.UPLOADER:
        do_uploading(place, gate, client)
    elif role is Role.CLEANER:
        do_cleaning(place, gate, client)
    elif role is Role.AUDITOR:
        do_auditing(place, client)


def policy(role: Role, **scope: Any) -> str:  # noqa: ANN401 - of a Scope
    """Return a policy as text."""
    return json.dumps(policy_for(role, Scope(**{"raw": "raw", "clean": "clean", **scope})))


@pytest.mark.parametrize("role", IDENTITIES)
def test_rights_are_enough_and_each_is_used(role: Role, make_place: Callable[[bool], Place]) -> None:
    """With its role's rights the library does all its work, in buckets with their refusals, and uses each right."""
    used: set[tuple[str, str]] = set()
    for versioned in (True,) if role is Role.AUDITOR else (False, True):
        place = make_place(versioned)
        client, gate = place.client_of(role)
        work(role, place, gate, client)
        assert [] == gate.refused
        used |= {(sid, what.replace(place.raw, "raw").replace(place.clean, "clean")) for sid, what in gate.used}
    assert granted(policy_for(role, Scope(raw="raw", clean="clean", schemas=(SCHEMA,)))) == used


@pytest.mark.parametrize("role", [Role.RECORDER, Role.CLEANER])
def test_a_bucket_refuses_blind_writes(role: Role, make_place: Callable[[bool], Place]) -> None:
    """A bucket refuses a document that is put as the earlier package puts it, whatever its writer may do else."""
    place = make_place(False)  # noqa: FBT003 - it keeps no versions
    everything = {"Sid": "All", "Effect": "Allow", "Action": ["s3:PutObject", "s3:GetObject"], "Resource": "*"}
    client, gate = place.client_of(role)
    gate.policies = [*gate.policies, {"Statement": [everything]}]
    wanted = [(place.raw, RAW), (place.clean, CLEAN), (place.clean, OLDER)]
    for bucket, key in wanted:
        with pytest.raises(ClientError, match="AccessDenied"):
            client.put_object(Bucket=bucket, Key=key, Body=b"{}")
        with pytest.raises(ClientError, match="AccessDenied"):
            client.create_multipart_upload(Bucket=bucket, Key=key)
        with pytest.raises(ClientError, match="AccessDenied"):
            client.copy_object(Bucket=bucket, Key=key, CopySource={"Bucket": bucket, "Key": "other"})
        client.put_object(Bucket=bucket, Key=key, Body=b"{}", IfNoneMatch="*")
    client.put_object(Bucket=place.raw, Key=f"{SCHEMA}/births/FY2023/a.zip", Body=b"a file is put as ever")


def test_a_bucket_refuses_to_delete_documents(make_place: Callable[[bool], Place]) -> None:
    """Neither a document nor a version of it can be deleted, whatever the caller may do else."""
    place = make_place(True)  # noqa: FBT003 - it keeps versions
    everything = {"Sid": "All", "Effect": "Allow", "Action": ["s3:DeleteObject", "s3:DeleteObjectVersion"]}
    client, gate = place.client_of(Role.RECORDER)
    gate.policies = [*gate.policies, {"Statement": [{**everything, "Resource": "*"}]}]
    record(place.tracker(place.admin), "a.zip")
    version = place.admin.head_object(Bucket=place.raw, Key=RAW)["VersionId"]
    with pytest.raises(ClientError, match="AccessDenied"):
        client.delete_object(Bucket=place.raw, Key=RAW)
    with pytest.raises(ClientError, match="AccessDenied"):
        client.delete_object(Bucket=place.raw, Key=RAW, VersionId=version)
    client.delete_object(Bucket=place.raw, Key=f"{SCHEMA}/births/FY2023/a.zip")


def test_a_reader_records_nothing(make_place: Callable[[bool], Place]) -> None:
    """Who may only read is refused by S3 when it records, and the error says which right it lacks."""
    place = make_place(False)  # noqa: FBT003 - it keeps no versions
    record(place.tracker(place.admin), "a.zip")
    client, _ = place.client_of(Role.READER)
    with pytest.raises(StoreError, match="s3:PutObject"):
        record(place.tracker(client), "b.zip")
    assert not place.tracker(client).exists(SCHEMA, "births", "FY2023", "b.zip")


def test_without_a_schema_all_are_meant() -> None:
    """A policy that names no schema holds for documents, inboxes and files of any, and for no other object."""
    gate = Gate(policies=[policy_for(Role.UPLOADER, Scope(raw="raw"))])
    inside = [raw_key("weather"), f"{inbox_prefix(raw_key('weather'))}entry", data_key("weather", "t", "2024", "a.zip")]
    outside = ["secret.txt", "weather/secret.txt", "weather/t/secret.txt"]
    assert [True] * 3 == [
        gate.allows(Need(action="s3:PutObject", resource=f"arn:aws:s3:::raw/{key}")) for key in inside
    ]
    assert [False] * 3 == [
        gate.allows(Need(action="s3:PutObject", resource=f"arn:aws:s3:::raw/{key}")) for key in outside
    ]


def test_a_schema_is_meant_alone() -> None:
    """A policy that names schemas holds for these, and for none whose name begins alike."""
    gate = Gate(policies=[policy_for(Role.RECORDER, Scope(raw="raw", schemas=("vital", "weather")))])
    documents = [raw_key(schema) for schema in ("vital", "weather", "vitals")]
    allowed = [gate.allows(Need(action="s3:PutObject", resource=f"arn:aws:s3:::raw/{key}")) for key in documents]
    assert [True, True, False] == allowed


@pytest.mark.parametrize("schema", ["a*", "a?", "a$", "${aws:username}"])
def test_no_name_becomes_a_wildcard(schema: str) -> None:
    """A schema whose name holds what is a wildcard or a variable in a policy is meant literally."""
    gate = Gate(policies=[policy_for(Role.RECORDER, Scope(raw="raw", schemas=(schema,)))])
    assert gate.allows(Need(action="s3:PutObject", resource=f"arn:aws:s3:::raw/{raw_key(schema)}"))
    for other in ("ab", "abc", "a", "someone"):
        assert not gate.allows(Need(action="s3:PutObject", resource=f"arn:aws:s3:::raw/{raw_key(other)}"))


def test_one_bucket_for_both_sides_guards_both() -> None:
    """Where raw and clean documents share a bucket, its policy guards both kinds."""
    for role in (Role.BUCKET, Role.CLEAN_BUCKET):
        guarded = policy(role, clean="raw", schemas=(SCHEMA,))
        assert [True] * 3 == [f"arn:aws:s3:::raw/{key}" in guarded for key in (RAW, CLEAN, OLDER)]
    assert CLEAN not in policy(Role.BUCKET, schemas=(SCHEMA,))


def test_a_bucket_policy_names_one_bucket() -> None:
    """S3 takes no policy that speaks of another bucket, so each side has its own."""
    assert {"raw"} == set(re.findall(r"s3:::([a-z]+)", policy(Role.BUCKET)))
    assert {"clean"} == set(re.findall(r"s3:::([a-z]+)", policy(Role.CLEAN_BUCKET)))


@pytest.mark.parametrize(
    ("region", "partition"),
    [(None, "aws"), ("eu-west-2", "aws"), ("cn-north-1", "aws-cn"), ("us-gov-west-1", "aws-us-gov")],
)
def test_a_region_tells_the_partition(region: str | None, partition: str) -> None:
    """In China and for the government of the US the names of resources begin otherwise."""
    assert {partition} == set(re.findall(r"arn:([a-z-]+):s3", policy(Role.CLEANER, region=region)))


@pytest.mark.parametrize("role", [*IDENTITIES, Role.BUCKET, Role.CLEAN_BUCKET])
def test_a_policy_is_in_the_form_that_aws_takes(role: Role) -> None:
    """Each statement has a name of letters and digits of its own, an effect, actions of S3 and resources."""
    made = json.loads(policy(role))
    assert {"Version", "Statement"} == set(made)
    assert "2012-10-17" == made["Version"]
    names = [statement["Sid"] for statement in made["Statement"]]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch("[A-Za-z0-9]+", name) for name in names)
    identity = {"Sid", "Effect", "Action", "Resource"}
    for statement in made["Statement"]:
        assert identity == set(statement) - {"Principal", "Condition"}
        assert (role not in IDENTITIES) == ("Principal" in statement)
        assert statement["Effect"] == ("Allow" if role in IDENTITIES else "Deny")


@pytest.mark.parametrize(("role", "limit"), [(Role.UPLOADER, MAX_IDENTITY), (Role.BUCKET, MAX_BUCKET)])
def test_a_policy_that_aws_would_not_take_is_refused(role: Role, limit: int) -> None:
    """A policy that is longer than AWS takes is an error that says by how much, and what to do."""
    schemas = tuple(f"schema_number_{number}" for number in range(300))
    with pytest.raises(InvalidNameError, match=f"AWS takes {limit}: name fewer schemas"):
        policy_for(role, Scope(raw="raw", schemas=schemas))
    assert len(policy(role, schemas=schemas[:5])) < limit


@pytest.mark.parametrize("bucket", ["Raw", "ra", "raw/", "raw*", "-raw", "r" * 64, "${raw}"])
def test_a_bucket_must_be_one(bucket: str) -> None:
    """What cannot be a bucket's name is refused, rather than put into a policy."""
    with pytest.raises(InvalidNameError, match="a bucket's name is"):
        Scope(raw=bucket)


def test_a_policy_needs_its_bucket() -> None:
    """A policy about a bucket that is not named is an error."""
    with pytest.raises(InvalidNameError, match="a bucket that is not named"):
        policy_for(Role.CLEANER, Scope(raw="raw"))


def test_a_lifecycle_is_taken_by_s3(make_place: Callable[[bool], Place]) -> None:
    """The lifecycle is in the form that S3 takes, keeps 100 earlier versions and 30 days, and leaves files alone."""
    place = make_place(True)  # noqa: FBT003 - it keeps versions
    rules: Any = policy_for(Role.LIFECYCLE, Scope())
    place.admin.put_bucket_lifecycle_configuration(Bucket=place.raw, LifecycleConfiguration=rules)
    kept = place.admin.get_bucket_lifecycle_configuration(Bucket=place.raw)["Rules"]
    assert [rule["ID"] for rule in rules["Rules"]] == [rule["ID"] for rule in kept]
    documents, *scratch, _ = [rule.get("NoncurrentVersionExpiration") for rule in rules["Rules"]]
    assert {"NoncurrentDays": 30, "NewerNoncurrentVersions": 100} == documents
    assert [{"NoncurrentDays": 1}] * 2 == scratch
    assert ["_cf_tracker/inbox/", "_cf_tracker/probe/"] == [rule["Filter"]["Prefix"] for rule in rules["Rules"][1:3]]
    assert not [rule for rule in rules["Rules"] if "Days" in rule.get("Expiration", {})]


def test_a_lifecycle_can_be_that_of_schemas() -> None:
    """With schemas, earlier versions are removed of their documents alone."""
    made = json.loads(policy(Role.LIFECYCLE, schemas=("vitals", "weather*")))
    prefixes = [rule["Filter"]["Prefix"] for rule in made["Rules"]]
    assert [raw_key("vitals"), clean_key("vitals"), raw_key("weather*"), clean_key("weather*")] == prefixes[:4]


def test_a_pattern_matches_as_aws_matches() -> None:
    """A star is any text, a question mark one letter, and either is itself within `${}`."""
    assert matches("a/*/c", "a/b/b/c")
    assert matches("a?c", "abc")
    assert not matches("a?c", "ac")
    assert matches("a${*}${?}${$}.c", "a*?$.c")
    assert not matches("a${*}", "ab")
