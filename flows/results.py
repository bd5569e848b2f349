"""Where Prefect keeps the results of deployed flows: in the bucket of the artifact store, for every machine to read."""

from urllib.parse import urlsplit

from tasks.core.config import Profile
from tasks.core.errors import ConfigError

FOLDER = "results"


def provide_results(profile: Profile) -> dict[str, str]:
    """Save the block of the profile's bucket in Prefect; return the variables that make a run keep its results there.

    No key is in the block: each machine finds its own. Without a bucket nothing is saved, and nothing returned.

    Raises:
        ConfigError: The library of the block is not installed.
    """
    parts = urlsplit(profile.storage.url or "")
    if parts.scheme != "s3":
        return {}
    try:
        from prefect_aws import (  # type: ignore[import-untyped]
            AwsClientParameters,
            AwsCredentials,
            S3Bucket,
        )
    except ImportError as error:
        raise ConfigError("Results in S3 need their library: pip install 'zava[aws]'.") from error
    asked = AwsClientParameters(endpoint_url=profile.storage.endpoint_url)
    bucket = S3Bucket(
        bucket_name=parts.netloc,
        bucket_folder="/".join(part for part in (parts.path.strip("/"), FOLDER) if part),
        credentials=AwsCredentials(aws_client_parameters=asked),
    )
    name = f"zava-{profile.name}"
    bucket.save(name, overwrite=True)
    return {
        "PREFECT_RESULTS_DEFAULT_STORAGE_BLOCK": f"{S3Bucket.get_block_type_slug()}/{name}",
        "PREFECT_RESULTS_PERSIST_BY_DEFAULT": "true",
        # Prefect's own choice, pickle, would run what somebody else wrote into the bucket.
        "PREFECT_RESULTS_DEFAULT_SERIALIZER": "json",
    }
