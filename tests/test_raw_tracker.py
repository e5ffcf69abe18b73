"""The earlier package's raw functions: their names, what they do to their arguments, and no blind write left."""

import contextlib
import inspect
import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from botocore.stub import Stubber

from cf_data_tracker import raw_tracker
from cf_data_tracker.document import Document
from cf_data_tracker.errors import DocumentError, InvalidNameError, StoreError, TrackerError
from cf_data_tracker.model import Recorded
from cf_data_tracker.raw_tracker import (
    add_file_version,
    check_file_exists,
    check_file_name_entry,
    create_file_name_entry,
    create_schema_entry,
    create_table_entry,
    get_schema_entry,
    get_table_entry,
    initialize_version_file,
    read_version_file,
    update_file_info,
    update_table_entry,
    update_version_tracker,
    upload_to_s3,
    version_file_path,
    write_version_file,
)

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

pytest.importorskip("moto")

GOLDEN = Path(__file__).parent / "golden"
WHEN = ("2024-03-01 09:00:00", "FY2023", "2024-03-01")


@pytest.fixture
def s3(s3: "S3Client", monkeypatch: pytest.MonkeyPatch) -> "S3Client":
    """A client beside the faces, with the environment set for them."""
    monkeypatch.setenv("AWS_DEST_BUCKET_RAW", "raw")
    return s3


def put(s3: "S3Client", schema: str, document: object) -> None:
    """Store a document as the earlier package did."""
    s3.put_object(Bucket="raw", Key=f"{schema}/{schema}_version_info.json", Body=json.dumps(document).encode())


def stored(s3: "S3Client", schema: str, bucket: str = "raw") -> Any:  # noqa: ANN401 - any JSON
    """Read a document back, past the library."""
    return json.loads(s3.get_object(Bucket=bucket, Key=f"{schema}/{schema}_version_info.json")["Body"].read())


def record(schema: str, file: str, *, table: str = "births", file_name: str = "FY2023") -> Recorded:
    """Record a file; what is left out does not matter."""
    return update_version_tracker(schema, table, file_name, file, 10, f"s3://raw/{file}", *WHEN)


def entry(version: int, file: str) -> Document:
    """A version's entry, field for field as the earlier package writes it."""
    return {
        "version": version,
        "timestamp": "2024-03-01 09:00:00",
        "file_size": 10,
        "file": file,
        "s3_location": f"s3://raw/{file}",
        "fyear": "FY2023",
        "upload_date": "2024-03-01",
    }


def file_entry(*versions: Document, current_version: int) -> Document:
    """An entry of the file name FY2023."""
    return {"file_name": "FY2023", "current_version": current_version, "versions": list(versions)}


# -- the names


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("check_file_name_entry", "(table_entry, file_name)"),
        ("check_file_exists", "(file_entry, file)"),
        (
            "create_file_name_entry",
            "(table_entry, file_name, file, file_size, s3_location, timestamp, fyear, upload_date)",
        ),
        ("add_file_version", "(file_entry, file, file_size, s3_location, timestamp, fyear, upload_date)"),
        ("update_table_entry", "(table_entry, file_entry)"),
        ("update_file_info", "(table_entry, file_name, file, file_size, s3_location, timestamp, fyear, upload_date)"),
        (
            "update_version_tracker",
            (
                "(schema_name, table_name, file_name, file, file_size, s3_location, "
                "timestamp=None, fyear=None, upload_date=None)"
            ),
        ),
        ("read_version_file", "(schema, s3=None)"),
        ("version_file_path", "(schema_name)"),
        ("get_schema_entry", "(version_info, schema)"),
        ("get_table_entry", "(schema_entry, table_name)"),
        ("create_schema_entry", "(version_data, schema_name)"),
        ("create_table_entry", "(schema_entry, table_name)"),
        ("upload_to_s3", "(file_path, bucket_name, s3_key)"),
        ("write_version_file", "(schema_name, version_data)"),
        ("initialize_version_file", "(file_path, s3_client)"),
    ],
)
def test_a_function_keeps_its_name_and_its_parameters(name: str, parameters: str) -> None:
    """Code that calls the earlier functions, by position or by name, runs on."""
    signature = inspect.signature(getattr(raw_tracker, name))
    bare = [parameter.replace(annotation=inspect.Parameter.empty) for parameter in signature.parameters.values()]
    assert parameters == str(inspect.Signature(bare))


def test_importing_needs_no_settings_and_loads_no_boto3(tmp_path: Path) -> None:
    """An import reads neither the environment nor `.env`, and does not wait for boto3."""
    tmp_path.joinpath(".env").write_text("AWS_ENDPOINT_URL_S3=nonsense\nAWS_ACCESS_KEY_ID=half\n")
    script = (
        "import sys, cf_data_tracker.raw_tracker, cf_data_tracker.clean_tracker;"
        "print([name for name in sys.modules if name in ('boto3', 'botocore')])"
    )
    run = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env={}, capture_output=True, text=True, check=True
    )
    assert "[]\n" == run.stdout


# -- entries, in place


def test_a_fresh_document_grows_as_it_always_did() -> None:
    """On a fresh document the functions give, field for field, what the earlier package gives."""
    document: Document = {"tables": []}
    table = create_table_entry(get_schema_entry(document, "vitals"), "births")
    for file in ("q1.zip", "q2.zip", "q1.zip"):
        update_file_info(table, "FY2023", file, 10, f"s3://raw/{file}", *WHEN)
    update_file_info(table, "FY2024", "q1.zip", 11, "s3://raw/q1", "2024-03-02 09:00:00", "FY2024", "2024-03-02")
    expected = {
        "tables": [
            {
                "schema_name": "vitals",
                "tables": [
                    {
                        "name": "births",
                        "files": [
                            {
                                "file_name": "FY2023",
                                "current_version": 2,
                                "versions": [
                                    {
                                        "version": 1,
                                        "timestamp": "2024-03-01 09:00:00",
                                        "file_size": 10,
                                        "file": "q1.zip",
                                        "s3_location": "s3://raw/q1.zip",
                                        "fyear": "FY2023",
                                        "upload_date": "2024-03-01",
                                    },
                                    {
                                        "version": 2,
                                        "timestamp": "2024-03-01 09:00:00",
                                        "file_size": 10,
                                        "file": "q2.zip",
                                        "s3_location": "s3://raw/q2.zip",
                                        "fyear": "FY2023",
                                        "upload_date": "2024-03-01",
                                    },
                                ],
                            },
                            {
                                "file_name": "FY2024",
                                "current_version": 1,
                                "versions": [
                                    {
                                        "version": 1,
                                        "timestamp": "2024-03-02 09:00:00",
                                        "file_size": 11,
                                        "file": "q1.zip",
                                        "s3_location": "s3://raw/q1",
                                        "fyear": "FY2024",
                                        "upload_date": "2024-03-02",
                                    },
                                ],
                            },
                        ],
                    },
                ],
            },
        ],
    }
    assert json.dumps(expected) == json.dumps(document)  # as text: the order of the fields is the same too


def test_what_is_created_is_what_stands_in_the_document() -> None:
    """An entry that is created is returned as it stands in its parent, and can be changed there."""
    document: Document = {"tables": []}
    schema = create_schema_entry(document, "vitals")
    table = create_table_entry(schema, "births")
    file_name = create_file_name_entry(table, "FY2023", "q1.zip", 10, "s3://raw/q1.zip", *WHEN)
    assert document["tables"][0] is schema
    assert schema["tables"][0] is table
    assert table["files"][0] is file_name


def test_what_is_changed_is_what_was_given() -> None:
    """An entry that is added to is itself returned."""
    table: Document = {"name": "births", "files": []}
    entry_of_file = create_file_name_entry(table, "FY2023", "q1.zip", 10, "s3://raw/q1.zip", *WHEN)
    assert entry_of_file is add_file_version(entry_of_file, "q2.zip", 10, "s3://raw/q2.zip", *WHEN)
    assert table is update_file_info(table, "FY2023", "q3.zip", 10, "s3://raw/q3.zip", *WHEN)
    assert table is update_table_entry(table, entry_of_file)
    assert file_entry(entry(1, "q1.zip"), entry(2, "q2.zip"), entry(3, "q3.zip"), current_version=3) == entry_of_file


def test_a_schema_that_is_there_is_returned_and_not_appended() -> None:
    """The entry of a known schema is the one in the document."""
    document: Document = {"tables": [{"schema_name": "vital", "tables": []}, {"schema_name": "vitals", "tables": []}]}
    assert document["tables"][1] is get_schema_entry(document, "vitals")
    assert 2 == len(document["tables"])


def test_a_schema_that_is_missing_is_appended() -> None:
    """The entry of a new schema is appended, empty."""
    document: Document = {"tables": [{"schema_name": "vital", "tables": []}]}
    assert get_schema_entry(document, "vitals") is document["tables"][1]
    assert {"schema_name": "vitals", "tables": []} == document["tables"][1]


@pytest.mark.parametrize("key", ["name", "table_name"])
def test_a_table_is_found_under_either_key(key: str) -> None:
    """A table may be keyed `name` or `table_name`, and both kinds may stand in one schema."""
    other = "table_name" if key == "name" else "name"
    schema: Document = {
        "schema_name": "vitals",
        "tables": [{other: "deaths", "files": []}, {key: "births", "files": []}],
    }
    assert schema["tables"][1] is get_table_entry(schema, "births")


def test_a_table_that_is_missing_is_none() -> None:
    """A table that is not there is `None`, and is not made."""
    schema: Document = {"schema_name": "vitals", "tables": [{"table_name": "deaths", "files": []}, {"files": []}]}
    assert None is get_table_entry(schema, "births")
    assert 2 == len(schema["tables"])


def test_file_names_and_files_are_found_by_their_whole_names() -> None:
    """A file name and a file are there or not by their whole names."""
    known = file_entry(entry(1, "q1.zip"), current_version=1)
    table: Document = {"name": "births", "files": [known]}
    assert known is check_file_name_entry(table, "FY2023")
    assert None is check_file_name_entry(table, "FY202")
    assert check_file_exists(known, "q1.zip")
    assert not check_file_exists(known, "q1")


@pytest.mark.parametrize(
    ("current_version", "numbers", "expected"),
    [(2, [1, 2], 3), (1, [1, 4], 5), (7, [1, 2], 8), (2, [2, 2], 3), (0, [], 1)],
    ids=["dense", "current-version-behind", "current-version-ahead", "repeated", "none"],
)
def test_a_new_number_is_the_highest_so_far_and_one(current_version: int, numbers: list[int], expected: int) -> None:
    """A number that was given, or that `current_version` claims, is not given again."""
    versions = [entry(number, f"{number}.zip") for number in numbers]
    grown = add_file_version(
        file_entry(*versions, current_version=current_version), "new.zip", 10, "s3://raw/new.zip", *WHEN
    )
    assert file_entry(*versions, entry(expected, "new.zip"), current_version=expected) == grown


def test_a_version_is_added_whether_the_file_is_there_or_not() -> None:
    """`add_file_version` adds what it is given; to look is its caller's part."""
    grown = add_file_version(file_entry(entry(1, "q1.zip"), current_version=1), "q1.zip", 10, "s3://raw/q1.zip", *WHEN)
    assert file_entry(entry(1, "q1.zip"), entry(2, "q1.zip"), current_version=2) == grown


def test_a_file_that_is_there_changes_nothing() -> None:
    """`update_file_info` leaves a table alone whose file name has the file."""
    table: Document = {"name": "births", "files": [file_entry(entry(1, "q1.zip"), current_version=1)], "owner": "us"}
    before = deepcopy(table)
    assert before == update_file_info(table, "FY2023", "q1.zip", 99, "s3://raw/other", "", "", "")


def test_an_entry_takes_the_place_of_its_namesake() -> None:
    """`update_table_entry` replaces the entry with the same file name, and appends one that has none."""
    table: Document = {"name": "births", "files": [file_entry(current_version=1), {"file_name": "FY2024"}]}
    new, other = file_entry(entry(1, "q1.zip"), current_version=1), {"file_name": "FY2025"}
    update_table_entry(table, new)
    update_table_entry(table, other)
    assert [new, {"file_name": "FY2024"}, other] == table["files"]


def test_the_key_is_the_earlier_one() -> None:
    """A schema's document stands where the earlier package put it."""
    assert "vitals/vitals_version_info.json" == version_file_path("vitals")


# -- the store


def test_a_missing_document_reads_as_a_fresh_one(s3: "S3Client") -> None:
    """A schema without a document reads as one without tables, which is not stored by that."""
    assert {"tables": [{"schema_name": "nothing", "tables": []}]} == read_version_file("nothing")
    assert {"tables": [{"schema_name": "nothing", "tables": []}]} == read_version_file("nothing", s3)
    assert 0 == s3.list_objects_v2(Bucket="raw", Prefix="nothing/")["KeyCount"]


def test_a_client_that_is_handed_in_is_the_one_that_reads(s3: "S3Client", monkeypatch: pytest.MonkeyPatch) -> None:
    """`read_version_file` reads with the caller's client, whatever endpoint is set."""
    put(s3, "handed", {"tables": [], "note": "read by hand"})
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    assert "read by hand" == read_version_file("handed", s3)["note"]


@pytest.mark.parametrize(
    ("name", "schema", "number"), [("vitals_0.3.11.json", "vitals", 4), ("legacy_0.3.9.json", "legacy", 3)]
)
def test_a_golden_document_is_read_and_written_without_loss(
    s3: "S3Client", name: str, schema: str, number: int
) -> None:
    """A document of the earlier package reads as it is, and a recording adds its version and nothing else."""
    golden = json.loads((GOLDEN / name).read_text())
    put(s3, schema, golden)
    assert golden == read_version_file(schema)
    done = record(schema, "new.zip", table="deaths", file_name="FY2022")
    grown = stored(s3, schema)
    assert 1 == grown.pop("revision")
    place = grown["tables"][0]["tables"][0]["files"][0]
    added = place["versions"].pop()
    place["current_version"] -= 1
    assert golden == grown
    assert {**entry(number, "new.zip"), "recorded_by": added["recorded_by"]} == added
    assert (number, True) == (done.version, done.created)


def test_a_recording_says_which_version_it_is_and_whether_it_is_new(s3: "S3Client") -> None:
    """`update_version_tracker` returns the version, and `created=False` for a file that is there already."""
    expected = Recorded(schema="once", table="births", file_name="FY2023", file="q1.zip", version=1, created=True)
    assert expected == record("once", "q1.zip")
    assert (1, False) == (record("once", "q1.zip").version, record("once", "q1.zip").created)
    assert (2, True) == (record("once", "q2.zip").version, record("once", "q3.zip").created)
    assert 3 == stored(s3, "once")["revision"]


def test_dates_that_are_left_out_are_those_of_now(s3: "S3Client") -> None:
    """Without them, a version has the time of its recording, the fiscal year of that year, and its day."""
    update_version_tracker("dates", "births", "FY2023", "q1.zip", 10, "s3://raw/q1.zip")
    version = stored(s3, "dates")["tables"][0]["tables"][0]["files"][0]["versions"][0]
    said = f"{version['timestamp']} {version['fyear']} {version['upload_date']}"
    assert re.fullmatch(r"((20\d\d)-\d\d-\d\d) \d\d:\d\d:\d\d FY\2 \1", said)


@pytest.mark.usefixtures("s3")
def test_what_was_read_may_be_changed() -> None:
    """A document that was read is the caller's: changing it changes nothing that is recorded afterwards."""
    record("mine", "q1.zip")
    document = read_version_file("mine")
    document["tables"][0]["tables"].clear()
    create_table_entry(get_schema_entry(document, "mine"), "scratch")
    assert (2, True) == (record("mine", "q2.zip").version, record("mine", "q3.zip").created)
    assert ["births"] == [table["name"] for table in read_version_file("mine")["tables"][0]["tables"]]


@pytest.mark.parametrize("first", ["name", "table_name"])
def test_a_table_under_both_keys_counts_as_one(s3: "S3Client", first: str) -> None:
    """In a document that holds a table twice, once under either key, a recording knows the files of both entries."""
    second = "table_name" if first == "name" else "name"
    ours = {first: "births", "files": [file_entry(entry(1, "q1.zip"), current_version=1)]}
    theirs = {second: "births", "files": [file_entry(entry(1, "q1.zip"), entry(2, "q2.zip"), current_version=2)]}
    schema = f"both_{first}"
    put(s3, schema, {"tables": [{"schema_name": schema, "tables": [ours, theirs]}]})
    assert ours == get_table_entry(read_version_file(schema)["tables"][0], "births")
    assert (2, False) == (record(schema, "q2.zip").version, record(schema, "q1.zip").created)
    assert (3, True) == (record(schema, "q3.zip").version, record(schema, "q4.zip").created)


@pytest.mark.usefixtures("s3")
def test_two_threads_lose_nothing() -> None:
    """What two threads record at the same time is all there, each file once and under the number it was told."""
    together = threading.Barrier(2)

    def work(worker: int) -> list[Recorded]:
        together.wait()
        return [record("threads", f"{worker}_{number}.zip") for number in range(10)]

    with ThreadPoolExecutor(2) as pool:
        done = [recorded for recordeds in pool.map(work, range(2)) for recorded in recordeds]
    versions = read_version_file("threads")["tables"][0]["tables"][0]["files"][0]["versions"]
    assert list(range(1, 21)) == [version["version"] for version in versions]
    assert {recorded.file: recorded.version for recorded in done} == {v["file"]: v["version"] for v in versions}


def test_settings_that_change_are_noticed(s3: "S3Client", monkeypatch: pytest.MonkeyPatch) -> None:
    """A call goes to the bucket that is set when it is made."""
    record("moved", "q1.zip")
    monkeypatch.setenv("AWS_DEST_BUCKET_RAW", "clean")
    record("moved", "q2.zip")
    assert 1 == stored(s3, "moved", bucket="clean")["revision"]
    assert 1 == stored(s3, "moved")["revision"]


@pytest.mark.usefixtures("s3")
def test_env_file_counts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What the environment leaves open is taken from `.env`."""
    monkeypatch.delenv("AWS_DEST_BUCKET_RAW")
    tmp_path.joinpath(".env").write_text("AWS_DEST_BUCKET_RAW=raw\n")
    assert 1 == record("dotenv", "q1.zip").version


# -- what must not happen


def test_blind_writers_refuse(s3: "S3Client") -> None:
    """A function that put whole documents blindly writes nothing, and names what to call instead."""
    record("blind", "q1.zip")
    before = stored(s3, "blind")
    with pytest.raises(TrackerError, match="call update_version_tracker"):
        write_version_file("blind", {"tables": []})
    with pytest.raises(TrackerError, match="call update_version_tracker"):
        initialize_version_file("blind", s3)
    assert before == stored(s3, "blind")


def test_a_document_that_is_none_is_left_as_it_is(s3: "S3Client") -> None:
    """Neither reading nor recording takes what is no tracker document for a fresh one."""
    put(s3, "broken", {"tables": [{"schema_name": "broken"}]})
    with pytest.raises(DocumentError, match=r"tables\[0\]\.tables: expected a list"):
        read_version_file("broken")
    with pytest.raises(DocumentError, match=r"tables\[0\]\.tables: expected a list"):
        record("broken", "q1.zip")
    assert {"tables": [{"schema_name": "broken"}]} == stored(s3, "broken")


@pytest.mark.usefixtures("s3")
def test_a_bad_name_is_refused() -> None:
    """A name that cannot stand in a key is refused, for reading and recording."""
    with pytest.raises(InvalidNameError, match=r"^schema must not"):
        read_version_file("../other")
    with pytest.raises(InvalidNameError, match=r"^file must not"):
        record("vitals", "dir/q1.zip")


@pytest.mark.usefixtures("s3")
def test_a_missing_setting_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a bucket, the error names the variable to set."""
    monkeypatch.delenv("AWS_DEST_BUCKET_RAW")
    with pytest.raises(StoreError, match=r"^AWS_DEST_BUCKET_RAW is not set"):
        record("vitals", "q1.zip")


@pytest.mark.usefixtures("s3")
def test_a_missing_bucket_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bucket that does not exist is an error for reading, recording and uploading; nothing reads as fresh."""
    monkeypatch.setenv("AWS_DEST_BUCKET_RAW", "nowhere")
    with pytest.raises(StoreError, match="no such bucket"):
        read_version_file("vitals")
    with pytest.raises(StoreError, match="no such bucket"):
        record("vitals", "q1.zip")
    with pytest.raises(StoreError, match="NoSuchBucket"):
        upload_to_s3(__file__, "nowhere", "vitals/q1.zip")


def test_wrong_credentials_are_an_error(s3: "S3Client") -> None:
    """Credentials that the store does not know are an error that says what to correct."""
    with Stubber(s3) as stub:
        stub.add_client_error("get_object", "InvalidAccessKeyId", http_status_code=403)
        with pytest.raises(StoreError, match="correct AWS_ACCESS_KEY_ID"):
            read_version_file("vitals", s3)


# -- uploading


def test_a_file_is_uploaded_and_not_recorded(s3: "S3Client", tmp_path: Path) -> None:
    """The object has the file's bytes, in place of what stood there, and no document comes of it."""
    source = tmp_path / "q1.zip"
    for content in (b"first", b"second"):
        source.write_bytes(content)
        upload_to_s3(str(source), "raw", "uploads/births/q1.zip")
        assert content == s3.get_object(Bucket="raw", Key="uploads/births/q1.zip")["Body"].read()
    assert 1 == s3.list_objects_v2(Bucket="raw", Prefix="uploads/")["KeyCount"]


@pytest.mark.usefixtures("s3")
def test_a_local_file_that_is_missing_is_an_error_of_its_own() -> None:
    """That the local file cannot be read is no fault of the store."""
    with pytest.raises(FileNotFoundError):
        upload_to_s3("no-such-file.zip", "raw", "uploads/q1.zip")


@pytest.mark.usefixtures("s3")
def test_an_upload_needs_a_bucket_and_a_key() -> None:
    """An empty bucket is not replaced by the one that is set."""
    with pytest.raises(InvalidNameError, match=r"^bucket_name must"):
        upload_to_s3(__file__, "", "uploads/q1.zip")
    with pytest.raises(InvalidNameError, match=r"^s3_key must"):
        upload_to_s3(__file__, "raw", "")


@contextlib.contextmanager
def answering(*statuses: int) -> Iterator[tuple[str, list[int]]]:
    """A store that answers a PUT with these statuses, one after the other; and those that are left."""
    left = list(statuses)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"  # an earlier one knows no `Expect: 100-continue`

        def do_PUT(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(left.pop(0))
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}", left
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.usefixtures("s3")
def test_an_upload_without_an_answer_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A 5xx does not end an upload."""
    with answering(500, 503, 200) as (endpoint_url, left):
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", endpoint_url)
        upload_to_s3(__file__, "raw", "uploads/q1.zip")
    assert [] == left


@pytest.mark.usefixtures("s3")
def test_an_upload_that_is_refused_is_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A 4xx ends an upload at once."""
    with answering(403, 200) as (endpoint_url, left):
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", endpoint_url)
        with pytest.raises(StoreError, match="403"):
            upload_to_s3(__file__, "raw", "uploads/q1.zip")
    assert [200] == left


@pytest.mark.usefixtures("s3")
def test_an_upload_that_nobody_answers_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """An endpoint at which nobody listens is an error after a few attempts."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    with pytest.raises(StoreError, match="does not answer"):
        upload_to_s3(__file__, "raw", "uploads/q1.zip")
