"""The house: importing it costs little, its public names are few and documented, and its types are known."""

import inspect
import json
import subprocess
import sys
from importlib import resources

import pytest

import cf_data_tracker

HEAVY = (
    "boto3",
    "botocore",
    "moto",
    "flask",
    "typer",
    "rich",
    "hypothesis",
    "opentelemetry",
    "pandas",
    "polars",
    "pyarrow",
)

PUBLIC = [getattr(cf_data_tracker, name) for name in cf_data_tracker.__all__]


def modules_after(statement: str) -> set[str]:
    """Return the modules that a new Python has loaded after a statement."""
    program = f"{statement}\nimport json, sys\nprint(json.dumps(list(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=60)
    return set(json.loads(done.stdout))


def test_importing_is_cheap() -> None:
    """Importing the package does not import boto3, a server or the command line: only what is used is paid for."""
    loaded = modules_after("import cf_data_tracker")
    assert "cf_data_tracker.tracker" in loaded
    assert not {name for name in loaded if name.partition(".")[0] in HEAVY}


def test_making_a_tracker_is_cheap() -> None:
    """A tracker opens nothing before it is asked something."""
    loaded = modules_after("import cf_data_tracker; cf_data_tracker.Tracker('raw')")
    assert not {name for name in loaded if name.partition(".")[0] in HEAVY}


def test_the_public_names_are_sorted_and_there() -> None:
    """`__all__` is sorted, names each thing once, and each is there."""
    assert sorted(set(cf_data_tracker.__all__)) == cf_data_tracker.__all__
    assert all(hasattr(cf_data_tracker, name) for name in cf_data_tracker.__all__)


def test_no_public_name_is_missing_from_the_list() -> None:
    """What can be taken from the top level without an underscore is in `__all__`, or is a module."""
    given = {name for name, value in vars(cf_data_tracker).items() if not (name[:1] == "_" or inspect.ismodule(value))}
    assert set(cf_data_tracker.__all__) == given


@pytest.mark.parametrize("public", PUBLIC, ids=cf_data_tracker.__all__)
def test_a_public_name_is_documented(public: type) -> None:
    """Each public class says in its own words what it is, and so does each of its public members."""
    own = inspect.cleandoc(public.__doc__ or "")
    assert own
    assert not own.startswith(f"{public.__name__}(")  # what a dataclass says of itself if nobody else does
    members = {name: member for name, member in vars(public).items() if not name.startswith("_")}
    functions = {name: member for name, member in members.items() if not inspect.ismemberdescriptor(member)}
    assert [] == [name for name, member in functions.items() if not getattr(member, "__doc__", None)]


def test_the_package_opens_with_an_example() -> None:
    """The package's own text shows how to record a file."""
    assert "tracker.record(" in (cf_data_tracker.__doc__ or "")


def test_types_travel_with_the_package() -> None:
    """`py.typed` is there, so that type checkers read the annotations."""
    assert resources.files("cf_data_tracker").joinpath("py.typed").is_file()
