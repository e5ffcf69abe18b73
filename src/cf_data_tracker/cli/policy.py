"""`policy`: the rights that each kind of worker needs, and what a bucket should refuse, as JSON for AWS.

Nothing is asked of the store. Which rights those are is for `rights` to say.
"""

from typing import Annotated

import typer

from cf_data_tracker.cli.options import Bucket, CleanBucket
from cf_data_tracker.cli.output import say_json
from cf_data_tracker.rights import NEEDS_CLEAN, NEEDS_RAW, Role, Scope, policy_for


def policy(
    role: Annotated[Role, typer.Argument(metavar="ROLE", help="Whom or what it is for; see above.")],
    *,
    bucket: Bucket = None,
    clean_bucket: CleanBucket = None,
    schema: Annotated[
        list[str] | None,
        typer.Option("--schema", metavar="SCHEMA", help="A data source it is limited to; may be given again."),
    ] = None,
) -> None:
    """Print the policy of a role, as JSON that AWS takes.

    The least rights of who records (recorder), asks (reader; of the clean side too, if its bucket is named), uploads
    and records (uploader), cleans (cleaner), or audits and restores (auditor): for IAM.

    What the bucket itself refuses to everybody, which is documents written blindly or deleted (bucket, clean-bucket):
    for aws s3api put-bucket-policy. And how long a bucket that keeps versions keeps them (lifecycle): for aws s3api
    put-bucket-lifecycle-configuration.
    """
    say_json(policy_for(role, _scope(role, bucket, clean_bucket, tuple(schema or ()))))


def _scope(role: Role, bucket: str | None, clean: str | None, schemas: tuple[str, ...]) -> Scope:
    from cf_data_tracker.settings import (  # noqa: PLC0415 - --help does without
        CLEAN_BUCKET,
        clean_bucket,
        environment,
        is_set,
        raw_bucket,
        region,
    )

    env = environment()
    if bucket is None:
        bucket = raw_bucket(env) if role in NEEDS_RAW else ""
    if clean is None:
        clean = clean_bucket(env) if role in NEEDS_CLEAN or is_set(env, CLEAN_BUCKET) else ""
    return Scope(raw=bucket, clean=clean, schemas=schemas, region=region(env))
