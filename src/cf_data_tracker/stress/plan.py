"""Who records what: a pure function of the number of workers and files.

Workers come in pairs. Two of three recordings of a worker are of files that its partner records at the same time, the
third is its own: so half of all files are recorded by two workers at once, and duplicates are tried in earnest. A
worker without a partner records files of its own. Files go round few tables and file names, so that workers that share
no file still fight for its numbers.
"""

from typing import Final

from cf_data_tracker.model import NewFile

TABLES: Final = 4
FILE_NAMES: Final = 5


def plan(schema: str, workers: int, files: int) -> list[list[NewFile]]:
    """Return for each worker the files that it records, in order."""
    return [[_file(schema, worker, number, workers) for number in range(files)] for worker in range(workers)]


def _file(schema: str, worker: int, number: int, workers: int) -> NewFile:
    pair = worker - worker % 2
    shared = number % 3 != 2 and pair + 1 < workers  # noqa: PLR2004 - two of three
    owner = f"pair_{pair:04d}" if shared else f"worker_{worker:04d}"
    table, file_name = f"table_{number % TABLES}", f"2024-{1 + number // TABLES % FILE_NAMES:02d}"
    file = f"{owner}_{number:05d}.zip"
    return NewFile(
        schema=schema,
        table=table,
        file_name=file_name,
        file=file,
        file_size=1000 + number,
        s3_location=f"s3://stress/{schema}/{table}/{file}",
    )
