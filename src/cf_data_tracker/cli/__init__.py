"""The command line, one file per group of commands.

What a command prints is data on stdout and everything else on stderr; how it ends is its exit code, see `failure`.
The rules, the documents and the store are reached through the faces (`Tracker`, `CleanTracker`) like by anybody else.
"""

import sys

__all__ = ["main"]


def main() -> None:
    """Run the command line on the arguments of this process, and end it."""
    try:
        from cf_data_tracker.cli.streams import standard_streams  # noqa: PLC0415 - Ctrl-C during an import is quiet, too

        with standard_streams():
            from cf_data_tracker.cli.app import app  # noqa: PLC0415 - as above
            from cf_data_tracker.cli.failure import NAME  # noqa: PLC0415 - as above

            app(prog_name=NAME)
    except KeyboardInterrupt:  # inside a command typer does the same
        sys.exit(130)
