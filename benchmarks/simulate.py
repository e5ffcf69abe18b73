"""The real engine in virtual time: what a document's workers achieve on S3, without S3 and without waiting.

    python benchmarks/simulate.py                  everything, in some minutes
    python benchmarks/simulate.py --quick          a part of it, in less than one
    python benchmarks/simulate.py --only '*-64'    by name; a wrong one tells all

Workers are greenlets over the memory store, which takes as long for a request as S3 does, in virtual time. So a minute
of a thousand workers takes seconds, and a seed gives the same run again. `virtual/` holds the parts: the world, S3 in
it, the workers, the scenarios with what they are to give at least, the figures and the picture.

The exit code is 1 if a figure misses its floor, or if anything is wrong with a document at the end of its run: each
acknowledged recording is to be there exactly once under its number, numbers dense, revision the number of commits.
"""

import argparse
import json
import multiprocessing
import os
import platform
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from virtual.figures import TEXT, Figures, Row, cells, markdown
from virtual.scenarios import QUICK, SECTIONS, Entry, Section
from virtual.workers import Run, Scenario, simulate

SEEDS: Final = (1, 2, 3)
WIDTH: Final = 190  # characters, where the output is no terminal
BEGIN, END = "<!-- figures -->", "<!-- end of figures -->"
NAMES: Final = [scenario.name for section in SECTIONS for scenario, _ in section.entries]

LEGEND: Final = (
    "/s and commits/s: in the run's own duration. p50, p99, max: from call to return, of all recordings that began in "
    "it. ≥: some were unfinished when the run was stopped, and count with the time that they had taken by then. "
    "Requests, the same by kind, lost races (writes that lost to another), 503: for each acknowledged recording. "
    "$: for a million recordings. Batch: versions for each commit. Failed: gave up with an error. Left: inbox entries "
    "at the end. Runs with several seeds are pooled."
)


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer scenarios, with the first seed alone")
    parser.add_argument("--seeds", type=_seeds, default=SEEDS, metavar="N,...", help="default 1,2,3")
    parser.add_argument("--only", type=_names, default=NAMES, metavar="NAME,...", help="with * and ?, as in a shell")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    parser.add_argument("--markdown", type=_page, metavar="FILE", help=f"write the tables between its lines {BEGIN}")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw a picture, .svg or .png")
    return parser.parse_args(words)


def chosen(options: argparse.Namespace) -> list[tuple[Section, list[Entry]]]:
    """Return what is to be simulated, by section."""
    names = set(options.only) & (QUICK if options.quick else set(NAMES))
    sections = ((section, [entry for entry in section.entries if entry[0].name in names]) for section in SECTIONS)
    return [(section, entries) for section, entries in sections if entries]


def simulated(scenarios: Sequence[Scenario], seeds: Sequence[int], notes: Console) -> Mapping[str, list[Run]]:
    """Return the runs of each scenario, by name; all processors take part."""
    jobs = [(scenario, seed) for scenario in scenarios for seed in seeds[: scenario.seeds]]
    jobs.sort(key=lambda job: (job[0].workers + job[0].arrivals) * job[0].seconds, reverse=True)
    runs: defaultdict[str, dict[int, Run]] = defaultdict(dict)
    with multiprocessing.Pool(_processors(), maxtasksperchild=1) as pool:
        for done, (name, seed, run) in enumerate(pool.imap_unordered(_simulated, jobs), start=1):
            runs[name][seed] = run
            notes.print(f"{done} of {len(jobs)}: {name}, seed {seed}: {run.cpu_seconds:.1f} s", style="dim")
    return {name: [by_seed[seed] for seed in sorted(by_seed)] for name, by_seed in runs.items()}


def show(tables: Sequence[tuple[Section, Sequence[Row]]], console: Console) -> None:
    """Print the tables."""
    for section, rows in tables:
        table = Table(title=section.title, title_justify="left")
        for column in section.columns:
            table.add_column(column, justify="left" if column in TEXT else "right")
        for row in rows:
            table.add_row(*cells(row, section.columns), style="red" if row.missed else None)
        console.print(table)
    console.print(LEGEND, style="dim")


def page(text: str, tables: Sequence[tuple[Section, Sequence[Row]]]) -> str:
    """Return the text of a page with the tables in their place."""
    before, _, rest = text.partition(BEGIN)
    lines = [BEGIN]
    for section, rows in tables:
        lines += ["", f"### {section.title}", "", *markdown(section.columns, rows)]
    return before + "\n".join([*lines, "", LEGEND, "", ""]) + rest[rest.index(END) :]


def main() -> int:
    """Simulate, print the tables and write the files; return 1 where something is not as it is to be."""
    options, began, notes = arguments(), time.perf_counter(), Console(stderr=True)
    sections = chosen(options)
    seeds = options.seeds[:1] if options.quick else options.seeds
    runs = simulated([scenario for _, entries in sections for scenario, _ in entries], seeds, notes)
    tables = [(section, list(_rows(entries, runs))) for section, entries in sections]
    rows = [row for _, of_one in tables for row in of_one]
    show(tables, Console(width=None if sys.stdout.isatty() else WIDTH))
    results = {"machine": machine(), "seeds": seeds, "seconds": round(time.perf_counter() - began, 1)}
    write(options, {**results, "rows": [row.as_json() for row in rows]}, tables)
    missed = [f"{row.scenario.name}: {'; '.join(row.missed)}" for row in rows if row.missed]
    for line in (*missed, f"{results['seconds']} s"):
        notes.print(line, markup=False)
    return int(bool(missed))


def write(
    options: argparse.Namespace, results: Mapping[str, Any], tables: Sequence[tuple[Section, Sequence[Row]]]
) -> None:
    """Write what was asked for."""
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(results, indent=1) + "\n")
    if options.markdown:
        options.markdown.write_text(page(options.markdown.read_text(), tables))
    if options.plot:
        from virtual.picture import draw  # noqa: PLC0415 - whoever wants no picture needs no matplotlib

        draw([row for _, rows in tables for row in rows], options.plot)


def machine() -> dict[str, Any]:
    """Return what the simulation was run on."""
    return {"cores": _processors(), "python": platform.python_version(), "system": platform.system()}


def _rows(entries: Sequence[Entry], runs: Mapping[str, list[Run]]) -> Iterator[Row]:
    for scenario, floor in entries:
        yield Row(scenario=scenario, floor=floor, figures=Figures(scenario, runs[scenario.name]))


def _simulated(job: tuple[Scenario, int]) -> tuple[str, int, Run]:
    scenario, seed = job
    return scenario.name, seed, simulate(scenario, seed)


def _processors() -> int:
    return len(os.sched_getaffinity(0))


def _seeds(text: str) -> tuple[int, ...]:
    parts = text.split(",")
    if not all(part.isascii() and part.isdigit() for part in parts):
        raise argparse.ArgumentTypeError(f"expected numbers with commas between, got {text!r}")
    return tuple(dict.fromkeys(map(int, parts)))


def _names(text: str) -> list[str]:
    wanted = text.split(",")
    for pattern in wanted:
        if not any(fnmatchcase(name, pattern) for name in NAMES):
            raise argparse.ArgumentTypeError(f"nothing is called {pattern!r}: there are {', '.join(NAMES)}")
    return [name for name in NAMES if any(fnmatchcase(name, pattern) for pattern in wanted)]


def _page(text: str) -> Path:
    path = Path(text)
    if not (path.is_file() and BEGIN in path.read_text() and END in path.read_text()):
        raise argparse.ArgumentTypeError(f"{text!r} has no lines {BEGIN} and {END}, between which figures can stand")
    return path


if __name__ == "__main__":
    sys.exit(main())
