"""`python -m infra.services.bucket NAME --endpoint URL`: make a bucket that keeps old versions. Safe to repeat."""

import argparse
import sys

import boto3  # type: ignore[import-untyped]
from botocore.config import Config  # type: ignore[import-untyped]
from botocore.exceptions import BotoCoreError, ClientError  # type: ignore[import-untyped]

# The store may be healthy a moment before it takes requests.
ATTEMPTS = 10
THERE = frozenset({"BucketAlreadyOwnedByYou", "BucketAlreadyExists"})


def provide(name: str, endpoint: str) -> None:
    """Make the bucket where it is missing, and let it keep old versions; the keys are in the environment."""
    config = Config(s3={"addressing_style": "path"}, retries={"mode": "standard", "max_attempts": ATTEMPTS})
    s3 = boto3.client("s3", endpoint_url=endpoint, config=config)
    try:
        s3.create_bucket(Bucket=name)
    except ClientError as error:
        if error.response["Error"]["Code"] not in THERE:
            raise
    s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})


def main(arguments: list[str]) -> int:
    """Provide the bucket; return 1 where the store refuses."""
    parser = argparse.ArgumentParser(prog="python -m infra.services.bucket", description="Make a bucket.")
    parser.add_argument("name")
    parser.add_argument("--endpoint", required=True, metavar="URL", help="of the object store")
    options = parser.parse_args(arguments)
    try:
        provide(options.name, options.endpoint)
    except (BotoCoreError, ClientError) as error:
        sys.stderr.write(f"No bucket {options.name!r} at {options.endpoint}: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
