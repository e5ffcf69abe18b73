"""A report in words: the lines of its table and the verdict, the same on a terminal and on a page."""

from collections.abc import Iterator
from typing import Final

from cf_data_tracker.stress.report import PERCENTILES, Report
from cf_data_tracker.stress.worker import Failed

NOTHING: Final = "-"
"""What stands for a figure that there is none of."""


def rows(report: Report) -> Iterator[tuple[str, str]]:
    """Return the figures: what was measured, and the value with its unit."""
    yield "recordings acknowledged", f"{len(report.acknowledged)} in {report.seconds:.2f} s"
    yield "throughput", f"{report.per_second:.1f} recordings/s"
    for name, percent in PERCENTILES.items():
        yield f"latency {name}", f"{report.latency(percent) * 1000:.1f} ms" if report.acknowledged else NOTHING
    yield "attempts per recording", average(report, report.attempts)
    yield "requests per recording", average(report, report.requests)
    yield "conflicts", str(report.stats.conflicts)
    yield "recordings per commit", _batch(report)
    yield "committed for others", str(report.stats.combined)
    yield "versions in the document", str(report.versions)
    yield "failed / killed / died", f"{len(report.failed)} / {report.killed} / {report.died}"
    yield "lost", str(report.verdict.lost)
    yield "duplicated", str(report.verdict.duplicated)


def verdict(report: Report) -> str:
    """Return the verdict in a few words."""
    if not report.verdict.clean:
        return "NOT clean"
    return "clean" if report.acknowledged else "clean, but nothing was recorded"


def reasons(report: Report) -> str:
    """Return what the verdict means, in a sentence or two."""
    if not report.verdict.clean:
        found = report.verdict
        return (
            f"{found.lost} acknowledged files were lost, {found.duplicated} are there twice, "
            f"{len(found.violations)} violations in all."
        )
    clean = (
        "Every acknowledged recording is there once under its number, numbers are dense, each file was created once, "
        "and the order is that of real time."
        if report.acknowledged
        else "No recording was acknowledged, so there was nothing to lose."
    )
    return f"{clean} {unfinished(report)}".rstrip()


def unfinished(report: Report) -> str:
    """Return what was not done, though nothing is wrong with the rest; empty if all was."""
    failed = sum(bool(failure.file) for failure in report.failed)
    parts = [f"{counted(failed, 'recording')} failed"] if failed else []
    if report.died:
        parts.append(f"{counted(report.died, 'worker')} died")
    return f"But {' and '.join(parts)}." if parts else ""


def counted(number: int, noun: str) -> str:
    """Return a number of things in words that agree with it."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def average(report: Report, number: int) -> str:
    """Return how many of something there were for each acknowledged recording: two digits behind the point, or more."""
    each = report.per_recording(number)
    if not report.acknowledged:
        return NOTHING
    return f"{each:.2f}" if each >= 0.1 or not each else f"{each:.2g}"  # noqa: PLR2004 - two digits that are not zero


def failure(failed: Failed) -> str:
    """Return a failure as a line."""
    return f"worker {failed.worker}{', ' if failed.file else ''}{failed.file}: {failed.kind}: {failed.message}"


def _batch(report: Report) -> str:
    if report.mean_batch is None:
        return NOTHING
    return f"{report.mean_batch:.1f} on average, {report.max_batch} at most"
