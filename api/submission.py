"""Accepting a video: request and limits are checked, and the job is stored before the caller is answered."""

import re
from datetime import timedelta
from typing import Annotated

from fastapi import Header
from sqlalchemy import func
from sqlalchemy.orm import Session

from api import addresses, explain, job_factory
from api.deps import Call
from api.errors import BadRequest
from api.limits import Limits
from api.schemas.requests import CreateVideo
from db import acceptance
from db.keys import Caller
from db.models import Job

Key = Annotated[str | None, Header(alias="Idempotency-Key", min_length=1, max_length=255)]

_DURATION = re.compile(r"\s*(\d{1,9}(?:\.\d{1,6})?)\s*(ms|s|m|h|)\s*", re.ASCII)
_UNIT_S = {"ms": 0.001, "s": 1.0, "": 1.0, "m": 60.0, "h": 3600.0}
_LONGEST_S = 30 * 86_400.0


def take(
    session: Session,
    call: Call,
    caller: Caller,
    asked: CreateVideo,
    key: str | None,
    *,
    cancel_after: str | None = None,
) -> tuple[Job, bool]:
    """Store the requested job; return it and whether it is new.

    A replay stays valid even if the service has changed since and would now refuse the request.
    """
    settings = call.service.settings
    if key is not None:
        same = Job(tenant=caller.tenant, idempotency_key=key, request_hash=job_factory.fingerprint(asked))
        if known := acceptance.replayed(session, same):
            return known, False
    if asked.webhook_url is not None:
        addresses.check_url("webhook_url", asked.webhook_url, settings.webhook_allowed)
    job = job_factory.job(asked, call.service.cards, tenant=caller.tenant, default_model=settings.default_model)
    job.idempotency_key = key
    if cancel_after is not None:
        job.cancel_at = func.now() + _duration(cancel_after)
    return accept(session, call.service.limits, caller, job)


def accept(session: Session, limits: Limits, caller: Caller, job: Job) -> tuple[Job, bool]:
    """Store a job that is no replay, if the caller's limits leave room for it; return it and whether it is new."""
    limits.check(session, caller)
    job.group = caller.group
    return acceptance.accept(session, job)


def key_of(text: str | None) -> str | None:
    """Return an Idempotency-Key; raise `BadRequest` for an invalid one."""
    if text is not None and not (text.isascii() and text.isprintable()):
        message = "Idempotency-Key holds characters other than printable ASCII; use a UUID"
        raise BadRequest(message, param="Idempotency-Key")
    return text


def _duration(text: str) -> timedelta:
    match = _DURATION.fullmatch(text)
    seconds = float(match[1]) * _UNIT_S[match[2]] if match else 0.0
    if not 0 < seconds <= _LONGEST_S:
        message = f"Cancel-After {explain.shown(text)} is not a duration of up to 30 days; write it like 90s, 30m or 2h"
        raise BadRequest(message, param="Cancel-After")
    return timedelta(seconds=seconds)
