"""Names of files on the storage, made from a job's id and the fence of the attempt that writes.

A file that no row names is an orphan and will be swept. Files with other names are not ours: they are neither listed
nor removed.
"""

import re
import secrets
from uuid import UUID

VIDEOS = "videos"
LATENTS = "latents"
PICTURES = "pictures"
FILES = "files"
CHECKS = "checks"
MARKER = "service/storage-id"
NAME = re.compile(r"(?:[a-z0-9_-]+/)+[A-Za-z0-9][A-Za-z0-9._-]*")
TEMPORARY = ".writing-"
_UUID = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_ENDINGS = r"mp4|safetensors|thumbnail\.jpg|spritesheet\.jpg"
# Of an attempt or a tenant, whole or half written, or of a check.
OURS = re.compile(
    rf"(?:{VIDEOS}|{LATENTS}|{PICTURES})/(?:{re.escape(TEMPORARY)}[0-9a-f]+-)?({_UUID})\.(\d+)\.(?:{_ENDINGS})"
    rf"|{FILES}/(?:{re.escape(TEMPORARY)}[0-9a-f]+-)?{_UUID}\.jsonl"
    rf"|{CHECKS}/(?:{re.escape(TEMPORARY)}[0-9a-f]+-)?[0-9a-f]{{16}}",
    re.ASCII,
)


def video_name(job_id: UUID, fence: int) -> str:
    """Return the name of the video that one attempt writes."""
    return f"{VIDEOS}/{job_id}.{fence}.mp4"


def picture_name(job_id: UUID, fence: int, kind: str) -> str:
    """Return the name of a picture of the video that one attempt writes; `kind` is thumbnail or spritesheet."""
    return f"{PICTURES}/{job_id}.{fence}.{kind}.jpg"


def latents_name(job_id: UUID, fence: int) -> str:
    """Return the name of the file of latents that one attempt writes."""
    return f"{LATENTS}/{job_id}.{fence}.safetensors"


def file_name(file_id: UUID) -> str:
    """Return the name of a tenant's file."""
    return f"{FILES}/{file_id}.jsonl"


def attempt_of(name: str) -> tuple[UUID, int] | None:
    """Return the job and the fence of the attempt that writes a video, its pictures or latents; None for others."""
    found = OURS.fullmatch(name)
    return (UUID(found[1]), int(found[2])) if found and found[1] else None


def is_half_written(name: str) -> bool:
    """Whether a file of ours still has its temporary name: nobody ever reads it."""
    return f"/{TEMPORARY}" in name


def temporary_name(last: str) -> str:
    """Return a temporary name for a file until it is complete; `last` is the last part of its own."""
    return f"{TEMPORARY}{secrets.token_hex(4)}-{last}"
