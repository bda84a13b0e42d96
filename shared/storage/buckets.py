"""What S3-like stores need besides their driver: timeouts, retries, and a sentence for each refusal."""

import asyncio
import errno
from typing import Any

import fsspec

from shared.storage.errors import FileMissing, StorageError, shown

# A bucket that does not answer is given up after three times 15 s; by its driver's own measure, after half an hour.
_S3_CONFIG = {"retries": {"mode": "standard", "total_max_attempts": 3}}
# One that takes no bytes: its client waits for that without end.
CALL_S, SLOWEST_UPLOAD = 60.0, 1 << 18  # bytes a second
_LATER = {408, 409, 429}  # slow, changed concurrently, too many: from Ceph, MinIO and R2, where AWS answers 503
PAUSES_S = (0.3, 1.0)
_ELSEWHERE = "the bucket is in another region; set AWS_DEFAULT_REGION to that, and AWS_ENDPOINT_URL to where it answers"
_WAYS_OUT = {  # by S3's error code
    "NoSuchBucket": "there is no such bucket; create it, or name one that is there in STORAGE_URL",
    "PermanentRedirect": _ELSEWHERE,
    "AuthorizationHeaderMalformed": _ELSEWHERE,
    "301": _ELSEWHERE,
    "RequestTimeTooSkewed": "the server refuses the clock of this machine; set it (NTP)",
    "InvalidObjectState": "the file lies in an archive; restore it there, and take that rule off the bucket",
}


def is_s3(url: str) -> bool:
    """Whether a URL names a bucket."""
    return url.startswith(("s3://", "s3a://"))


def options_of(url: str) -> dict[str, Any]:
    """Return the options of a driver; those in FSSPEC_S3_CONFIG_KWARGS take precedence."""
    if not is_s3(url):
        return {}
    if "@" in url.partition("//")[2].partition("/")[0]:  # otherwise the driver's message would show all of it
        raise StorageError(f"{shown(url)}: an account in the address is not read; set AWS_ACCESS_KEY_ID and the others")
    if "?versionId=" in url:  # the driver would take it for the version of one file and write everything there
        raise StorageError(f"{shown(url)}: a version names one file; name a folder")
    own = fsspec.config.conf.get("s3", {}).get("config_kwargs", {})
    # A file is fetched at once: to ask for its length first takes twice as long, and errors of that carry no reason.
    return {"config_kwargs": {**_S3_CONFIG, **own}, "max_concurrency": 1}


def bound(driver: Any) -> None:
    """Limit the time of each S3 call, and retry errors that its client gives up on at once.

    An upload waits for the server's consent and until its own bytes are sent.
    """
    call = driver._call_s3

    async def once(*args: Any, **options: Any) -> Any:
        async with asyncio.timeout(CALL_S + len(options.get("Body", b"")) / SLOWEST_UPLOAD):
            return await call(*args, **options)

    async def bounded(*args: Any, **options: Any) -> Any:
        for pause_s in PAUSES_S:
            try:
                return await once(*args, **options)
            except OSError as error:
                if _response(error).get("ResponseMetadata", {}).get("HTTPStatusCode") not in _LATER:
                    raise
            await asyncio.sleep(pause_s)
        return await once(*args, **options)

    driver._call_s3, driver.call_s3 = bounded, fsspec.asyn.sync_wrapper(bounded, obj=driver)


def is_refused(error: Exception) -> bool:
    """Whether a server refused the account, or none was found; for a HEAD request, S3 gives no reason but 400."""
    refused = isinstance(error, PermissionError) or "Credential" in type(error).__name__
    return refused or (isinstance(error, OSError) and error.errno == errno.EINVAL)


def _response(error: Exception) -> dict[str, Any]:
    """Return the answer of an S3 server; nothing for errors of other drivers."""
    response = getattr(error.__cause__, "response", None)
    return response if isinstance(response, dict) else {}


def translated(what: str, error: Exception) -> StorageError:
    """Return a driver's error as one of this package, with its message and, if known, the remedy."""
    # The client of S3 follows whoever sends it on, and who does so for ever to the bottom of its stack
    code = "PermanentRedirect" if isinstance(error, RecursionError) else _response(error).get("Error", {}).get("Code")
    if way_out := _WAYS_OUT.get(code):
        return StorageError(f"{what}: {way_out}")
    if isinstance(error, FileNotFoundError):
        return FileMissing(f"{what}: no such file")
    said = str(error) or "no answer"
    return StorageError(f"{what}: {type(error).__name__}: {said}")
