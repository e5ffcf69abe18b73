"""Which commands there are, and the options that stand before all of them.

Nothing that takes long is imported here or by the commands' files: `--help` answers at once.
"""

from typing import Annotated

import typer

from cf_data_tracker.cli.auditing import audit
from cf_data_tracker.cli.cleaning import claims, reprocess, sweep
from cf_data_tracker.cli.doctor import doctor
from cf_data_tracker.cli.failure import DEBUG, NAME, guarded
from cf_data_tracker.cli.policy import policy
from cf_data_tracker.cli.questions import exists, history, latest, pending, tables
from cf_data_tracker.cli.recording import record
from cf_data_tracker.cli.restoring import restore
from cf_data_tracker.cli.stress import stress
from cf_data_tracker.cli.uploading import upload
from cf_data_tracker.cli.verification import verify

app = typer.Typer(
    name=NAME,
    no_args_is_help=True,
    # Plain text: help and usage errors are read in logs and copied from terminals, and rich takes its time to start.
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=(
        "Settings come from the environment and .env: AWS_DEST_BUCKET_RAW, AWS_DEST_BUCKET_CLEAN, AWS_REGION_NAME, "
        "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_ENDPOINT_URL_S3.\n\n"
        "Exit codes: 0 done, 1 error, 2 usage, 3 not found, 4 contention or time-out, "
        "5 something is wrong with what is recorded, 6 unsafe store."
    ),
)


def _show_version(asked: bool) -> None:  # noqa: FBT001 - typer calls it
    if asked:
        from cf_data_tracker.installed import release  # noqa: PLC0415 - it takes a while, and is rarely asked for

        typer.echo(f"{NAME} {release()}")
        raise typer.Exit


@app.callback()
def _before_all(
    *,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[  # noqa: ARG001 - its callback has answered
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Record which versions of which files are in S3, and ask what is recorded."""
    DEBUG.set(debug)


_ASKING = (exists, latest, history, tables, pending, claims, verify, audit)
for _command in (record, upload, *_ASKING, reprocess, sweep, restore, doctor, policy, stress):
    app.command()(guarded(_command))
