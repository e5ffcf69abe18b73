"""From what was heard and what is stored to figures, and from figures to tables. Pure.

A row is plain data, as it stands in the file of results: one contestant on one server with one latency. A contestant
that could not take part has a row too, which says why under `problem`.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from contestants.lineup import LINEUP, Entry
from racing.meters import Busy
from racing.race import Heard, Message

Row = dict[str, Any]

SHOWN_ERRORS: Final = 3
OURS: Final = frozenset({"boto3", "botocore", "cf-data-tracker", "s3transfer", "tenacity", "urllib3"})

COLUMNS: Final = (
    "contestant",
    "recordings/s",
    "p50 s",
    "p99 s",
    "max s",
    "requests",
    "CPU ms",
    "server ms",
    "failed",
    "lost",
    "twice",
    "busy",
)

LEGEND: Final = (
    "recordings/s: acknowledged ones, from the word to the end of the last worker. p50, p99, max: from call to return, "
    "of those acknowledged. Requests, CPU ms, and server ms (its CPU): for each acknowledged recording. Lost: "
    "acknowledged, and not there at the end. Twice: there more than once. Busy: of all cores, on average; in brackets "
    "the share of samples above 90 %. *: stopped at the time limit; what was acknowledged by then counts."
)


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What was measured beside a race.

    Attributes:
        requests: Requests by kind, as the proxy before the server counted them.
        server_cpu: CPU seconds of the server's processes.
        busy: How busy the machine was.
    """

    requests: Mapping[str, int]
    server_cpu: float
    busy: Busy


def figures(heard: Heard, measured: Measured, stored: Iterable[str]) -> Row:
    """Return the figures of a race, after which these files were there."""
    acknowledged = [recording for recording in heard.recordings if recording["error"] is None]
    count = len(acknowledged)
    return {
        "seconds": round(heard.seconds, 3),
        "acknowledged": count,
        "recordings_per_second": round(count / heard.seconds, 3) if heard.seconds else 0.0,
        "latency_seconds": latencies(acknowledged),
        "requests": dict(measured.requests),
        "requests_per_recording": per(sum(measured.requests.values()), count),
        "cpu_seconds_per_recording": per(heard.cpu, count),
        "server_cpu_seconds_per_recording": per(measured.server_cpu, count),
        "busy": {name: round(share, 3) for name, share in asdict(measured.busy).items()},
        "cut_short": heard.cut_short,
        "died": heard.died,
        **failures(heard.recordings),
        **losses((recording["file"] for recording in acknowledged), stored),
    }


def per(amount: float, count: int) -> float | None:
    """Return an amount for each recording, or `None` where there is none."""
    return round(amount / count, 4) if count else None


def latencies(acknowledged: Iterable[Message]) -> dict[str, float | None]:
    """Return how long recordings took: the time within which half of them, 99 % and all were acknowledged."""
    times = sorted(recording["ended"] - recording["began"] for recording in acknowledged)
    shares = {"p50": 50, "p99": 99, "max": 100}
    return {
        name: round(times[-(-len(times) * share // 100) - 1], 4) if times else None for name, share in shares.items()
    }


def failures(recordings: Iterable[Message]) -> Row:
    """Return how many recordings failed, and the most frequent errors."""
    errors = Counter(recording["error"] for recording in recordings if recording["error"] is not None)
    return {"failed": errors.total(), "errors": dict(errors.most_common(SHOWN_ERRORS))}


def losses(acknowledged: Iterable[str], stored: Iterable[str]) -> Row:
    """Return how many acknowledged files are not stored, and how many files are stored more than once."""
    there = Counter(stored)
    return {
        "stored": there.total(),
        "lost": sum(file not in there for file in acknowledged),
        "duplicated": sum(count > 1 for count in there.values()),
    }


def title(entry: Entry, packages: Mapping[str, str]) -> str:
    """Return what a table calls a contestant: with the version of what it is made of."""
    return f"{entry.title} {packages[entry.shown]}" if entry.shown else entry.title


def known(entry: Entry, packages: Mapping[str, str]) -> dict[str, str]:
    """Return the packages that matter: all of an environment of its own, and a few of this project's."""
    return {name: packages[name] for name in packages if entry.packages or name in OURS}


def cells(row: Row) -> list[str]:
    """Return a row of a table."""
    if "problem" in row:
        return [row["title"], *["-"] * (len(COLUMNS) - 1)]
    latency, busy = row["latency_seconds"], row["busy"]
    return [
        row["title"] + ("*" if row["cut_short"] else ""),
        f"{row['recordings_per_second']:.1f}",
        *(_number(latency[name], ".3g") for name in ("p50", "p99", "max")),
        _number(row["requests_per_recording"], ".1f"),
        *(_milliseconds(row[name]) for name in ("cpu_seconds_per_recording", "server_cpu_seconds_per_recording")),
        *(str(row[name]) for name in ("failed", "lost", "duplicated")),
        f"{busy['mean']:.0%} ({busy['saturated']:.0%})",
    ]


def heading(row: Row) -> str:
    """Return the name of the table that a row belongs to."""
    latency = "as it is" if row["latency"] == "none" else f"made as slow as {row['latency'].upper()}"
    return f"{row['server_version']}, {latency}, behind a proxy that counts"


def tables(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Return rows by table, in the order in which they came."""
    headings = dict.fromkeys(map(heading, rows))
    return {name: [row for row in rows if heading(row) == name] for name in headings}


def remarks(rows: Iterable[Row]) -> list[str]:
    """Return what is to be known beside the figures: why some did not take part, and what went wrong for others."""
    return [text for row in rows for text in _remarks(row)]


def _remarks(row: Row) -> Iterator[str]:
    if "problem" in row:
        yield f"{row['title']} could not take part: {row['problem']}"
        return
    if row["died"]:
        yield f"{row['title']}: {row['died']} workers ended before their time"
    for error, count in row["errors"].items():
        yield f"{row['title']}, {count} times: {error}"


def markdown(results: Mapping[str, Any]) -> str:
    """Return the tables as Markdown, under what they were measured with."""
    machine, settings = results["machine"], results["settings"]
    lines = [
        f"{settings['workers']} processes record {settings['files']} files each. {machine['cores']} cores, "
        f"{machine['memory_gib']} GiB, Python {machine['python']}. {LEGEND}".replace("*:", r"\*:"),
    ]
    for name, rows in tables(results["rows"]).items():
        lines += ["", f"**{name}**", "", _line(COLUMNS), _line(["---", *["---:"] * (len(COLUMNS) - 1)])]
        lines += [_line(cells(row)) for row in rows]
        lines += [f"\n{remark}." for remark in remarks(rows)]
    raced = {row["contestant"] for row in results["rows"]}
    lines += ["", *(f"- {entry.title}: {entry.note}." for entry in LINEUP if entry.name in raced)]
    return "\n".join(lines) + "\n"


def _line(texts: Iterable[str]) -> str:
    return "| " + " | ".join(text.replace("|", r"\|").replace("*", r"\*") for text in texts) + " |"


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _milliseconds(seconds: float | None) -> str:
    return _number(None if seconds is None else 1000 * seconds, ".0f")
