"""This project as it comes: workers put their recordings together."""

from functools import partial

from contestants.harness import main
from contestants.this_project import ThisProject

if __name__ == "__main__":
    main(partial(ThisProject, combining=True))
