"""This project without combining: each worker commits its own recordings, by compare-and-swap."""

from functools import partial

from contestants.harness import main
from contestants.this_project import ThisProject

if __name__ == "__main__":
    main(partial(ThisProject, combining=False))
