"""The earlier package's clean functions: both shapes of the document, one way to write, deletes that stop in time."""

import inspect
import json
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from botocore.stub import Stubber

from cf_data_tracker import clean_tracker
from cf_data_tracker.clean_tracker import (
    check_if_file_exists,
    delete_parquet_files_boto3,
    does_s3_directory_exist,
    get_clean_file_info,
    get_clean_files,
    get_raw_and_clean_data_versions,
    get_version_info,
    read_clean_version_json,
    read_clean_version_tracker,
    update_and_write_clean_version_info,
    update_clean_version_info,
    write_clean_version_tracker,
)
from cf_data_tracker.document import Document
from cf_data_tracker.errors import DocumentError, InvalidNameError, NotTrackedError, StoreError, TrackerError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

pytest.importorskip("moto")

GOLDEN = Path(__file__).parent / "golden"

OLDER_RECORD = {
    "file_info": {
        "raw_file": "births_q1.zip",
        "version": 1,
        "table_name": "births",
        "output_prefix": "FY2023",
        "modified_on": "2024-03-01-09-00-00",
        "parquet_files": ["vitals/births/part-0.parquet"],
        "note": "unknown to us",
    }
}
RECORD = {
    "file_info": {
        "version": 1,
        "timestamp": "2024-03-01T09:00:00.123456",
        "file_size": 10,
        "s3_location": "s3://raw/births_q1.zip",
        "fyear": "FY2023",
        "upload_date": "2024-03-01",
    },
    "clean_files": ["vitals/births/FY2023.parquet"],
}


def put(s3: "S3Client", key: str, document: object, bucket: str = "clean") -> None:
    """Store JSON as the earlier package did."""
    s3.put_object(Bucket=bucket, Key=key, Body=json.dumps(document).encode())


def put_files(s3: "S3Client", *keys: str) -> None:
    """Store objects that are no documents."""
    for key in keys:
        s3.put_object(Bucket="clean", Key=key, Body=b"PAR1")


def keys(s3: "S3Client", prefix: str) -> list[str]:
    """List what is there, past the library."""
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket="clean", Prefix=prefix)
    return [entry["Key"] for page in pages for entry in page.get("Contents", ())]


def stored(s3: "S3Client", schema: str) -> Any:  # noqa: ANN401 - any JSON
    """Read a clean document back, past the library."""
    return json.loads(s3.get_object(Bucket="clean", Key=tracker_path(schema))["Body"].read())


def tracker_path(schema: str) -> str:
    """Where a schema's clean document stands."""
    return f"{schema}/{schema}_clean_version_info.json"


def raw_file(version: int, file_name: str = "FY2023") -> tuple[Document, Document]:
    """A file name's entry of a raw document and its newest version."""
    newest = {
        "version": version,
        "timestamp": "2024-03-01 09:00:00",
        "file_size": 10,
        "file": f"births_q{version}.zip",
        "s3_location": f"s3://raw/births_q{version}.zip",
        "fyear": "FY2023",
        "upload_date": "2024-03-01",
    }
    return {"file_name": file_name, "current_version": version, "versions": [newest]}, newest


def write(  # noqa: PLR0913 - as many as the face has
    schema: str,
    clean_version: Any,  # noqa: ANN401 - either shape
    version: int,
    parquet_files: list[str],
    *,
    table: str | Document = "births",
    file_name: str = "FY2023",
    s3_client: "S3Client | None" = None,
) -> Any:  # noqa: ANN401 - as above
    """Record clean files; what is left out does not matter."""
    file, newest = raw_file(version, file_name)
    return update_and_write_clean_version_info(
        schema, "clean", clean_version, file, table, newest, parquet_files, s3_client
    )


# -- the names


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("read_clean_version_json", "(bucket_name, json_key, schema_name)"),
        ("read_clean_version_tracker", "(clean_bucket, tracker_path)"),
        ("get_raw_and_clean_data_versions", "(schema_name, clean_bucket, raw_bucket)"),
        ("get_version_info", "(versions, version)"),
        (
            "update_clean_version_info",
            "(version_info, file_name, table_name, raw_file, version, output_prefix, modified_on)",
        ),
        (
            "update_and_write_clean_version_info",
            (
                "(schema, clean_bucket, clean_version, file, table, latest_version_info, new_parquet_files, "
                "s3_client=None)"
            ),
        ),
        ("get_clean_file_info", "(clean_tracker, table_name, file_name)"),
        ("get_clean_files", "(clean_tracker, table_name, file_name)"),
        ("check_if_file_exists", "(bucket, key)"),
        ("does_s3_directory_exist", "(bucket, directory)"),
        ("delete_parquet_files_boto3", "(bucket_name, prefix, s3_client)"),
        ("write_clean_version_tracker", "(clean_bucket, tracker_path, clean_tracker)"),
    ],
)
def test_a_function_keeps_its_name_and_its_parameters(name: str, parameters: str) -> None:
    """Code that calls the earlier functions, by position or by name, runs on."""
    signature = inspect.signature(getattr(clean_tracker, name))
    bare = [parameter.replace(annotation=inspect.Parameter.empty) for parameter in signature.parameters.values()]
    assert parameters == str(inspect.Signature(bare))


# -- plain data


def test_a_record_of_the_older_shape_is_put_in_place() -> None:
    """`update_clean_version_info` gives, in place and field for field, what the earlier package gives."""
    document: list[Document] = [{"schema_name": "vitals", "tables": {}}]
    when = datetime(2024, 3, 1, 9, 5, 7, tzinfo=timezone.utc)
    assert document is update_clean_version_info(document, "FY2023", "births", "births_q1.zip", 2, "FY2023", when)
    expected = [
        {
            "schema_name": "vitals",
            "tables": {
                "FY2023": {
                    "file_info": {
                        "raw_file": "births_q1.zip",
                        "version": 2,
                        "table_name": "births",
                        "output_prefix": "FY2023",
                        "modified_on": "2024-03-01-09-05-07",
                    }
                }
            },
        }
    ]
    assert json.dumps(expected) == json.dumps(document)


def test_a_version_is_found_by_its_number() -> None:
    """`get_version_info` returns the version with the number, or `None`."""
    versions = [{"version": 1, "file": "a.zip"}, {"version": 3, "file": "b.zip"}]
    assert versions[1] is get_version_info(versions, 3)
    assert None is get_version_info(versions, 2)


def test_a_record_is_found_by_table_and_file_name() -> None:
    """What a clean document says of a file name is returned, and nothing where it says nothing."""
    document = {"schema_name": "vitals", "tables": {"births": {"FY2023": RECORD}}}
    assert RECORD["file_info"] == get_clean_file_info(document, "births", "FY2023")
    assert ["vitals/births/FY2023.parquet"] == get_clean_files(document, "births", "FY2023")
    assert ({}, []) == (
        get_clean_file_info(document, "births", "FY2024"),
        get_clean_files(document, "deaths", "FY2023"),
    )
    assert ({}, []) == (get_clean_file_info({}, "births", "FY2023"), get_clean_files({}, "births", "FY2023"))


# -- reading


@pytest.mark.usefixtures("s3")
def test_a_missing_document_reads_as_a_fresh_one() -> None:
    """A schema without a clean document reads as one without records, in either shape."""
    fresh = {"schema_name": "nothing", "tables": {}}
    assert fresh == read_clean_version_tracker("clean", tracker_path("nothing"))
    assert [fresh] == read_clean_version_json("clean", "nothing/clean_version.json", "nothing")


def test_either_shape_is_read_as_it_stands(s3: "S3Client") -> None:
    """Each function reads its shape of a document without loss, unknown fields and all."""
    newer = {"schema_name": "either", "tables": {"births": {"FY2023": RECORD}}, "note": [1]}
    older = [{"schema_name": "shapes", "tables": {"FY2023": OLDER_RECORD}, "note": [1]}]
    put(s3, tracker_path("either"), newer)
    put(s3, "shapes/clean_version.json", older)
    assert newer == read_clean_version_tracker("clean", tracker_path("either"))
    assert older == read_clean_version_json("clean", "shapes/clean_version.json", "shapes")


def test_a_document_is_read_from_any_key(s3: "S3Client") -> None:
    """A copy of a document that stands elsewhere is read as it stands there, and nothing is added to it."""
    write("copies", {}, 2, ["new.parquet"])
    newer = {"schema_name": "copies", "tables": {"births": {"FY2023": RECORD}}}
    older = [{"schema_name": "copies", "tables": {"FY2023": OLDER_RECORD}}]
    put(s3, "copies/old/info.json", newer)
    put(s3, "copies/old/clean_version.json", older)
    assert newer == read_clean_version_tracker("clean", "copies/old/info.json")
    assert older == read_clean_version_json("clean", "copies/old/clean_version.json", "copies")


def test_the_older_records_count(s3: "S3Client") -> None:
    """Where only the older document is there, its records are read in the present shape too."""
    put(s3, "older/clean_version.json", [{"schema_name": "older", "tables": {"FY2023": OLDER_RECORD}}])
    document = read_clean_version_tracker("clean", tracker_path("older"))
    assert OLDER_RECORD["file_info"] == get_clean_file_info(document, "births", "FY2023")
    assert ["vitals/births/part-0.parquet"] == get_clean_files(document, "births", "FY2023")


def test_raw_and_clean_come_together(s3: "S3Client") -> None:
    """`get_raw_and_clean_data_versions` returns the raw document without loss, and the clean one in its older shape."""
    golden = json.loads((GOLDEN / "legacy_0.3.9.json").read_text())
    put(s3, "legacy/legacy_version_info.json", golden, bucket="raw")
    raw, clean = get_raw_and_clean_data_versions("legacy", "clean", "raw")
    assert golden == raw
    assert [{"schema_name": "legacy", "tables": {}}] == clean


@pytest.mark.usefixtures("s3")
def test_a_schema_without_a_raw_document_is_not_tracked() -> None:
    """There is nothing to clean in a schema that has no raw document, and that is said."""
    with pytest.raises(NotTrackedError, match="unheard is not tracked: s3://raw/unheard/"):
        get_raw_and_clean_data_versions("unheard", "clean", "raw")


def test_what_was_read_may_be_changed(s3: "S3Client") -> None:
    """A document that was read is the caller's: changing it changes nothing that is read or recorded afterwards."""
    put(s3, "mine/mine_version_info.json", {"tables": []}, bucket="raw")
    put(s3, "mine/older.json", [{"schema_name": "mine", "tables": {"FY2023": OLDER_RECORD}}])
    put(s3, tracker_path("mine"), {"schema_name": "mine", "tables": {"births": {"FY2023": RECORD}}})

    def read() -> list[Any]:
        return [
            get_raw_and_clean_data_versions("mine", "clean", "raw"),
            read_clean_version_json("clean", "mine/older.json", "mine"),
            read_clean_version_tracker("clean", tracker_path("mine")),
        ]

    (raw, clean), older, document = read()
    raw["tables"].append("scratch")
    for entry in (clean[0], older[0], document["tables"]["births"]):
        entry.get("tables", entry)["FY2023"].clear()
    (raw, clean), older, document = read()
    assert {"tables": []} == raw
    assert ["vitals/births/FY2023.parquet"] == clean[0]["tables"]["FY2023"]["file_info"]["parquet_files"]
    assert OLDER_RECORD == older[0]["tables"]["FY2023"]
    assert RECORD == document["tables"]["births"]["FY2023"]


def test_what_was_recorded_may_be_changed(s3: "S3Client") -> None:
    """A document that a record was put into is the caller's too: changing it changes nothing that is stored."""
    mine = write("scratch", {}, 1, ["a.parquet"])
    mine["tables"]["births"]["FY2023"].clear()
    write("scratch", {}, 1, ["b.parquet"], file_name="FY2024")
    assert ["a.parquet"] == get_clean_files(stored(s3, "scratch"), "births", "FY2023")


# -- recording


@pytest.mark.parametrize(
    "table", ["births", {"table_name": "births", "files": []}, {"name": "births"}], ids=["name", "0.3.11", "keyed-name"]
)
def test_clean_files_are_recorded(s3: "S3Client", table: str | Document, request: pytest.FixtureRequest) -> None:
    """Recording stores the raw version and its clean files, and puts the same into the caller's document."""
    schema = f"recorded-{request.node.callspec.id}"
    mine = read_clean_version_tracker("clean", tracker_path(schema))
    assert mine is write(schema, mine, 2, ["a.parquet", "b.parquet"], table=table)
    assert mine == stored(s3, schema)
    info = mine["tables"]["births"]["FY2023"].pop("file_info")
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", info.pop("timestamp"))
    assert info.pop("recorded_by")
    assert {
        "raw_file": "births_q2.zip",
        "version": 2,
        "file_size": 10,
        "s3_location": "s3://raw/births_q2.zip",
        "fyear": "FY2023",
        "upload_date": "2024-03-01",
    } == info
    assert {
        "schema_name": schema,
        "tables": {"births": {"FY2023": {"clean_files": ["a.parquet", "b.parquet"]}}},
        "revision": 1,
        "carried_over": True,
    } == mine


def test_clean_files_are_recorded_into_the_older_shape(s3: "S3Client") -> None:
    """A caller's document of the older shape gets a record of that shape; what is stored has the present one."""
    mine = read_clean_version_json("clean", "listed/clean_version.json", "listed")
    assert mine is write("listed", mine, 2, ["a.parquet"], table={"table_name": "births"})
    info = mine[0]["tables"]["FY2023"]["file_info"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\d-\d\d-\d\d-\d\d", info.pop("modified_on"))
    expected = {
        "raw_file": "births_q2.zip",
        "version": 2,
        "table_name": "births",
        "output_prefix": "FY2023",
        "parquet_files": ["a.parquet"],
    }
    assert [{"schema_name": "listed", "tables": {"FY2023": {"file_info": expected}}}] == mine
    assert ["a.parquet"] == get_clean_files(stored(s3, "listed"), "births", "FY2023")


def test_a_pipeline_of_the_older_shape_sees_what_it_recorded(s3: "S3Client") -> None:
    """What was recorded is cleaned for a pipeline that reads the older shape, however often it starts anew."""
    put(s3, "again/again_version_info.json", {"tables": []}, bucket="raw")
    put(s3, "again/clean_version.json", [{"schema_name": "again", "tables": {"FY2023": OLDER_RECORD}}])
    _, clean = get_raw_and_clean_data_versions("again", "clean", "raw")
    write("again", clean, 2, ["new.parquet"], table={"table_name": "births"}, s3_client=s3)
    _, anew = get_raw_and_clean_data_versions("again", "clean", "raw")
    assert clean == anew
    info = anew[0]["tables"]["FY2023"]["file_info"]
    assert (2, ["new.parquet"]) == (info["version"], info["parquet_files"])


def test_older_records_are_carried_over_with_the_first_record(s3: "S3Client") -> None:
    """The first record of a schema takes the older document's along, with every field, and leaves that as it is."""
    older = [{"schema_name": "carried", "tables": {"FY2022": OLDER_RECORD}}]
    put(s3, "carried/clean_version.json", older)
    write("carried", {}, 1, ["a.parquet"])
    assert OLDER_RECORD["file_info"] == get_clean_file_info(stored(s3, "carried"), "births", "FY2022")
    assert (
        OLDER_RECORD == read_clean_version_json("clean", "carried/clean_version.json", "carried")[0]["tables"]["FY2022"]
    )
    assert older == json.loads(s3.get_object(Bucket="clean", Key="carried/clean_version.json")["Body"].read())


@pytest.mark.parametrize("shape", ["present", "older"])
def test_a_late_worker_takes_nothing_back(s3: "S3Client", shape: str) -> None:
    """A record of an older raw version changes nothing that is stored, and shows its caller the newer one."""
    write(f"late-{shape}", {}, 2, ["new.parquet"])
    before = stored(s3, f"late-{shape}")
    fresh: Document = {"schema_name": f"late-{shape}", "tables": {}}
    mine: Any = fresh if shape == "present" else [fresh]
    write(f"late-{shape}", mine, 1, ["old.parquet"])
    assert before == stored(s3, f"late-{shape}")
    shown = mine["tables"]["births"] if shape == "present" else mine[0]["tables"]
    assert 2 == shown["FY2023"]["file_info"]["version"]


def test_a_stale_document_takes_nothing_away(s3: "S3Client") -> None:
    """What others recorded since a document was read stays stored, and comes into that document."""
    mine = read_clean_version_tracker("clean", tracker_path("stale"))
    mine["note"] = "the caller's"
    mine["tables"] |= {"births": {"FY2021": RECORD}, "weather": {"FY2023": RECORD}}
    write("stale", {}, 1, ["a.parquet"], table="deaths")
    write("stale", mine, 1, ["b.parquet"], table="births")
    assert ["births", "deaths"] == sorted(stored(s3, "stale")["tables"])
    assert {"schema_name", "tables", "revision", "carried_over", "note"} == set(mine)
    assert ["births", "deaths", "weather"] == sorted(mine["tables"])
    assert ["FY2021", "FY2023"] == sorted(mine["tables"]["births"])


def test_unknown_fields_survive_a_record(s3: "S3Client") -> None:
    """A document of the earlier package keeps every field that a record does not replace."""
    before = {"schema_name": "kept", "tables": {"births": {"FY2022": {**RECORD, "owner": "us"}}}, "note": [1]}
    put(s3, tracker_path("kept"), before)
    write("kept", {}, 1, ["a.parquet"])
    after = stored(s3, "kept")
    del after["tables"]["births"]["FY2023"]
    assert {**before, "revision": 1, "carried_over": True} == after


@pytest.mark.usefixtures("s3")
def test_the_lower_version_stands_for_two_tables_in_the_older_shape() -> None:
    """Where two tables have a file name, the older shape shows the lower version: a file is rather cleaned again."""
    for table, version in (("births", 3), ("deaths", 1), ("weather", 2)):
        write("shared", {}, version, [f"{table}.parquet"], table=table)
    info = read_clean_version_json("clean", "shared/clean_version.json", "shared")[0]["tables"]["FY2023"]["file_info"]
    assert ("deaths", 1, ["deaths.parquet"]) == (info["table_name"], info["version"], info["parquet_files"])


def test_a_record_of_0_3_14_shows_in_the_older_shape(s3: "S3Client") -> None:
    """A record of the earlier package's later releases, which write times in another form, is shown in the older."""
    put(s3, tracker_path("times"), {"schema_name": "times", "tables": {"births": {"FY2023": RECORD}}})
    expected = {
        "raw_file": None,
        "version": 1,
        "table_name": "births",
        "output_prefix": "FY2023",
        "modified_on": "2024-03-01-09-00-00",
        "parquet_files": ["vitals/births/FY2023.parquet"],
    }
    shown = read_clean_version_json("clean", "times/clean_version.json", "times")
    assert [{"schema_name": "times", "tables": {"FY2023": {"file_info": expected}}}] == shown


@pytest.mark.usefixtures("s3")
def test_two_threads_lose_nothing() -> None:
    """What two threads record at the same time is all there, whoever was first."""
    together = threading.Barrier(2)

    def work(worker: int) -> None:
        together.wait()
        for number in range(10):
            write("threads", {}, 1, [f"{worker}.parquet"], file_name=f"{worker}_{number}")

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(work, range(2)))
    records = read_clean_version_tracker("clean", tracker_path("threads"))["tables"]["births"]
    assert {f"{worker}_{number}" for worker in range(2) for number in range(10)} == set(records)


def test_a_client_that_is_handed_in_is_the_one_that_writes(s3: "S3Client", monkeypatch: pytest.MonkeyPatch) -> None:
    """A record is written with the caller's client, whatever endpoint is set."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    write("handed", {}, 1, ["a.parquet"], s3_client=s3)
    assert ["a.parquet"] == get_clean_files(stored(s3, "handed"), "births", "FY2023")


# -- what must not happen


def test_the_blind_writer_refuses(s3: "S3Client") -> None:
    """The function that put whole documents blindly writes nothing, and names what to call instead."""
    with pytest.raises(TrackerError, match="call update_and_write_clean_version_info"):
        write_clean_version_tracker("clean", tracker_path("blind"), {"schema_name": "blind", "tables": {}})
    assert [] == keys(s3, "blind/")


@pytest.mark.parametrize(
    ("change", "message"),
    [({"current_version": "2"}, "current_version must"), ({"file_name": ""}, "file_name must")],
)
def test_what_would_spoil_the_document_is_refused(s3: "S3Client", change: Document, message: str) -> None:
    """An entry that no reader could make sense of is refused before anything is sent."""
    file, newest = raw_file(2)
    with pytest.raises(InvalidNameError, match=message):
        update_and_write_clean_version_info("spoilt", "clean", {}, {**file, **change}, "births", newest, [], s3)
    assert [] == keys(s3, "spoilt/")


def test_a_document_that_is_none_is_left_as_it_is(s3: "S3Client") -> None:
    """Neither reading nor recording takes what is no clean document for a fresh one."""
    put(s3, tracker_path("broken"), {"schema_name": "broken"})
    for attempt in (
        lambda: read_clean_version_tracker("clean", tracker_path("broken")),
        lambda: write("broken", {}, 1, ["a.parquet"]),
    ):
        with pytest.raises(DocumentError, match="tables: expected an object"):
            attempt()
    assert {"schema_name": "broken"} == stored(s3, "broken")


@pytest.mark.usefixtures("s3")
def test_a_bucket_must_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty bucket is not replaced by the one that is set."""
    monkeypatch.setenv("AWS_DEST_BUCKET_CLEAN", "clean")
    with pytest.raises(InvalidNameError, match="bucket must"):
        check_if_file_exists("", "a")


def test_a_missing_bucket_is_an_error(s3: "S3Client") -> None:
    """A bucket that does not exist is an error in every function that asks one; nothing reads as fresh or absent."""
    file, newest = raw_file(1)
    for attempt in (
        lambda: read_clean_version_tracker("nowhere", tracker_path("vitals")),
        lambda: read_clean_version_json("nowhere", "vitals/clean_version.json", "vitals"),
        lambda: get_raw_and_clean_data_versions("vitals", "clean", "nowhere"),
        lambda: update_and_write_clean_version_info("vitals", "nowhere", {}, file, "births", newest, []),
        lambda: check_if_file_exists("nowhere", "a"),
        lambda: does_s3_directory_exist("nowhere", "a"),
        lambda: delete_parquet_files_boto3("nowhere", "a", s3),
    ):
        with pytest.raises(StoreError, match=r"no such bucket|NoSuchBucket"):
            attempt()


def test_wrong_credentials_are_an_error(s3: "S3Client") -> None:
    """Credentials that the store does not know are an error, and nothing is deleted."""
    put_files(s3, "denied/births/a.parquet")
    with Stubber(s3) as stub:
        stub.add_client_error("list_objects_v2", "InvalidAccessKeyId", http_status_code=403)
        with pytest.raises(StoreError, match="InvalidAccessKeyId"):
            delete_parquet_files_boto3("clean", "denied/births", s3)
    assert ["denied/births/a.parquet"] == keys(s3, "denied/")


@pytest.mark.usefixtures("s3")
def test_an_endpoint_that_does_not_answer_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """No answer is not taken for "there is none"."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    with pytest.raises(StoreError, match="does not answer"):
        check_if_file_exists("clean", "a")


# -- files


def test_a_file_exists_by_its_whole_key(s3: "S3Client") -> None:
    """A key exists if an object stands under it; what only begins with it does not count."""
    put_files(s3, "exists/births/FY2023.parquet", "exists/births/FY2023.parquet.crc")
    assert check_if_file_exists("clean", "exists/births/FY2023.parquet")
    assert not check_if_file_exists("clean", "exists/births/FY2023")
    assert not check_if_file_exists("clean", "exists/births/FY2024.parquet")


def test_a_directory_exists_by_its_whole_name(s3: "S3Client") -> None:
    """A directory exists if something is in it; one whose name only begins so does not count."""
    put_files(s3, "directory/FY2023_v2/part-0.parquet")
    assert does_s3_directory_exist("clean", "directory/FY2023_v2")
    assert does_s3_directory_exist("clean", "directory/FY2023_v2/")
    assert not does_s3_directory_exist("clean", "directory/FY2023")
    assert does_s3_directory_exist("clean", "")


def test_only_what_belongs_to_the_prefix_is_deleted(s3: "S3Client") -> None:
    """Parquet files in the directory and the one named like it go; other objects and other file names' files stay."""
    gone = ["x/births/FY2023.parquet", "x/births/FY2023/part-0.parquet", "x/births/FY2023/month=1/part-0.parquet"]
    kept = [
        "x/births/FY2023/_SUCCESS",
        "x/births/FY2023_v2.parquet",
        "x/births/FY2023_v2/part-0.parquet",
        "x/births/FY20234.parquet",
        "x/births/FY2023.parquet.crc",
    ]
    put_files(s3, *gone, *kept)
    delete_parquet_files_boto3("clean", "x/births/FY2023", s3)
    assert sorted(kept) == keys(s3, "x/")


def test_a_prefix_that_ends_with_a_slash_is_the_same_directory(s3: "S3Client") -> None:
    """A slash at the end leaves the files in the directory, and no other."""
    put_files(s3, "slash/FY2023.parquet", "slash/FY2023/part-0.parquet", "slash/FY2023_v2/part-0.parquet")
    delete_parquet_files_boto3("clean", "slash/FY2023/", s3)
    assert ["slash/FY2023.parquet", "slash/FY2023_v2/part-0.parquet"] == keys(s3, "slash/")


def test_deleting_goes_past_the_first_page(s3: "S3Client") -> None:
    """Files are deleted however many pages their list has, and whatever fills the first of them."""
    put_files(s3, *(f"pages/FY2023/{name}" for name in ("0.crc", "1.crc", "2.crc", "3.parquet", "4.parquet")))
    two_a_page = ("before-parameter-build.s3.ListObjectsV2", lambda params, **_: params.update(MaxKeys=2))
    s3.meta.events.register(*two_a_page)
    try:
        delete_parquet_files_boto3("clean", "pages/FY2023", s3)
    finally:
        s3.meta.events.unregister(*two_a_page)
    assert ["pages/FY2023/0.crc", "pages/FY2023/1.crc", "pages/FY2023/2.crc"] == keys(s3, "pages/")


def test_an_empty_prefix_is_refused(s3: "S3Client") -> None:
    """A prefix that is empty would be the whole bucket, and deletes nothing."""
    put_files(s3, "whole/bucket.parquet")
    with pytest.raises(InvalidNameError, match="prefix must not be empty"):
        delete_parquet_files_boto3("clean", "", s3)
    assert ["whole/bucket.parquet"] == keys(s3, "whole/")
