"""Fuzzing that is led by what it reaches, with atheris where there is one for this machine.

    python tests/fuzz/guided.py raw --seconds 60           look for a body that breaks a law of raw documents
    python tests/fuzz/guided.py raw --seconds 60 --keep    and make what it found the corpus, with what was there

atheris ends its process when it has done, so it runs in one of its own; what it reaches is told by the package's code
alone, and what it tries next comes from `spoiling`, whose ways know JSON.
"""

import argparse
import importlib
import importlib.util
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Final, NoReturn

TESTS: Final = Path(__file__).parents[1]
if __name__ == "__main__":
    sys.path.insert(0, str(TESTS))

CHILD: Final = "--child"


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """What a run came to.

    Attributes:
        executions: How many bodies were tried.
        bodies: Those that reached something new.
        broke: The one that broke a law, if any did.
        output: What was printed.
    """

    executions: int
    bodies: list[bytes]
    broke: bytes | None
    output: str


def is_available() -> bool:
    """Return whether atheris is installed: it comes for Linux on x86-64 alone."""
    return importlib.util.find_spec("atheris") is not None


def fuzzed(kind: str, seconds: int) -> Found:
    """Look for a body that breaks a law, for so many seconds."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part in ("found", "broke"):
            (folder / part).mkdir()
        command = [sys.executable, __file__, kind, "--seconds", str(seconds), CHILD, name]
        run = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 60, check=False)
        output = run.stdout + run.stderr
        told = re.search(r"number_of_executed_units: (\d+)", output)
        broke = [path.read_bytes() for path in (folder / "broke").iterdir()]
        if told is None or (run.returncode != 0 and not broke):
            raise RuntimeError(f"the fuzzer did not run\n{output}")
        bodies = [path.read_bytes() for path in (folder / "found").iterdir()]
        return Found(executions=int(told[1]), bodies=bodies, broke=broke[0] if broke else None, output=_told(output))


def _told(output: str) -> str:
    """Return what was printed, but for the fuzzer's running commentary."""
    return "\n".join(line for line in output.splitlines() if not line.startswith(("#", "INFO", "WARNING")))


def _fuzz(kind: str, seconds: int, folder: Path) -> NoReturn:
    atheris = importlib.import_module("atheris")
    with atheris.instrument_imports(include=["cf_data_tracker"]):
        from fuzz import corpus, laws, spoiling  # noqa: PLC0415 - what is imported here is watched
    sound, seeds = corpus.sound(kind), corpus.seeds(kind)
    for number, seed in enumerate(seeds):
        (folder / "found" / f"seed {number}").write_bytes(seed)

    def spoil(body: bytes, largest: int, seed: int) -> bytes:
        random = Random(seed)
        return spoiling.spoilt(body, random.choice(random.choice((sound, seeds))), random)[:largest]

    def hold(body: bytes) -> None:
        laws.LAWS[kind](body)

    options = [
        f"-max_total_time={seconds}",
        f"-max_len={spoiling.LARGEST}",
        f"-artifact_prefix={folder}/broke/",
        "-timeout=20",
        "-print_final_stats=1",
    ]
    atheris.Setup([sys.argv[0], *options, f"{folder}/found"], hold, custom_mutator=spoil)
    atheris.Fuzz()
    raise AssertionError("it ends the process")


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind")
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--keep", action="store_true", help="make what was found the corpus")
    parser.add_argument(CHILD, type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        _fuzz(options.kind, options.seconds, options.child)
    found = fuzzed(options.kind, options.seconds)
    sys.stdout.write(f"{options.kind}: {found.executions:,} executions, {len(found.bodies)} of them new\n")
    if found.broke is not None:
        sys.exit(f"{found.output}\nA law is broken by {found.broke!r}")
    if options.keep:
        from fuzz import corpus  # noqa: PLC0415 - it imports the package, which is to be watched first

        corpus.keep(options.kind, corpus.fewest(options.kind, [*corpus.kept(options.kind), *found.bodies]))


if __name__ == "__main__":
    _main()
