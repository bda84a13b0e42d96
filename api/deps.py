"""Dependencies of endpoints: the parts of this process, and the caller's transaction."""

import time
from asyncio import Semaphore
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from sqlalchemy.orm import Session, sessionmaker
from starlette.concurrency import run_in_threadpool

from api.cache_figures import CacheFigures
from api.content import Checked
from api.errors import Forbidden, Unauthorized
from api.estimates import Estimates
from api.events import Events
from api.limits import Limits
from api.prometheus import Figures
from api.readiness import Readiness
from api.same_site import SAFE, is_foreign
from api.settings import ApiSettings
from api.waiting import Waiting
from api.web.forms import KEY_COOKIE
from db import keys
from db.keys import Caller
from db.session import transaction
from shared.model_cards import ModelCard
from shared.storage import Storage

LOCAL = Caller(tenant="local", group=None, scopes=frozenset(keys.ALL_SCOPES))
NUM_LARGE_BODIES = 4  # in memory at once, such as those with lines of a batch
NOTE_USE_S = 60.0  # shortest interval between two writes of a key's last use
CHALLENGE = {"WWW-Authenticate": "Bearer"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """What one API process owns."""

    settings: ApiSettings
    sessions: sessionmaker[Session]
    readers: sessionmaker[Session]  # for reading only: saves two round trips
    cards: dict[str, ModelCard]
    storage: Storage
    readiness: Readiness
    waiting: Waiting
    events: Events
    figures: Figures
    reads: Semaphore  # of stored files, at once: fewer than there are threads
    checked: Checked = field(default_factory=Checked)
    limits: Limits = field(default_factory=Limits)
    estimates: Estimates = field(default_factory=Estimates)
    cache_figures: CacheFigures = field(default_factory=CacheFigures)
    large_bodies: Semaphore = field(default_factory=lambda: Semaphore(NUM_LARGE_BODIES))
    noted: dict[str, float] = field(default_factory=dict)  # key → when its use was last written

    def release(self) -> None:
        """Release callers who would wait for longer than a shutdown takes."""
        self.waiting.release()
        self.events.release()


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request's access to the database."""

    service: Service
    caller: Caller

    @contextmanager
    def begin(self) -> Iterator[tuple[Session, Caller]]:
        """Open a transaction for the caller; it is committed when the block ends, before the answer is sent."""
        with transaction(self.service.sessions) as session:
            yield session, self.caller

    @contextmanager
    def look(self) -> Iterator[tuple[Session, Caller]]:
        """Open a read-only session: each statement sees what is committed by then."""
        with self.service.readers() as session:
            yield session, self.caller


def caller_of(service: Service, key: str | None) -> Caller:
    """Return the caller to whom a key belongs; raise Unauthorized."""
    if key is None:
        raise Unauthorized("the Authorization header is missing; send 'Bearer sk-chai-…'", headers=CHALLENGE)
    with service.readers() as session:
        caller = keys.check(session, key)
    if caller is None:
        raise Unauthorized("this API key is unknown, expired or revoked; ask the operator for one", headers=CHALLENGE)
    now = time.monotonic()
    if now - service.noted.get(key, -NOTE_USE_S) >= NOTE_USE_S:
        service.noted[key] = now
        with transaction(service.sessions) as session:
            keys.used(session, key)
    return caller


def check_scope(caller: Caller, *, is_change: bool = False) -> None:
    """Raise Forbidden if the key may not read, or not change, what belongs to its tenant."""
    if "jobs" not in caller.scopes and (is_change or "read" not in caller.scopes):
        raise Forbidden("this API key has no scope 'jobs'; ask the operator for one that has")


async def service(request: Request) -> Service:
    """Return this process's parts."""
    owned: Service = request.app.state.service
    return owned


_bearer = HTTPBearer(auto_error=False, description="An API key, where this server asks for one.")


async def _known(
    request: Request,
    service: Annotated[Service, Depends(service)],
    bearer: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
) -> Call:
    """Return the access of a live key, whatever its scopes."""
    if not service.settings.needs_keys:
        return Call(service=service, caller=LOCAL)
    key = bearer.credentials if bearer else _from_page(request)
    if key is None and request.headers.get("authorization"):
        raise Unauthorized("the Authorization header has no Bearer key; send 'Bearer sk-chai-…'", headers=CHALLENGE)
    return Call(service=service, caller=await run_in_threadpool(caller_of, service, key))


async def call(request: Request, known: Annotated[Call, Depends(_known)]) -> Call:
    """Return the request's access to the database; the key is checked before the body is read."""
    check_scope(known.caller, is_change=request.method not in SAFE)
    return known


def _from_page(request: Request) -> str | None:
    """Return the key in a signed-in browser's cookie; raise Forbidden if another site tries to change anything."""
    key = request.cookies.get(KEY_COOKIE)
    headers = request.headers
    is_ours = request.method in SAFE or headers.get("sec-fetch-site") == "same-origin"  # behind TLS schemes differ
    if key is not None and not is_ours and is_foreign(headers, headers.get("host", ""), request.url.scheme):
        raise Forbidden("another site asked for this, and only pages of this service may", code="cross_site")
    return key


async def operator(known: Annotated[Call, Depends(_known)]) -> Call:
    """Return the access of an operator, who needs no other scope; raise Forbidden for anybody else."""
    if "admin" not in known.caller.scopes:
        raise Forbidden("this API key has no scope 'admin'; ask the operator for one that has")
    return known


Owned = Annotated[Service, Depends(service)]
Calling = Annotated[Call, Depends(call)]
Operating = Annotated[Call, Depends(operator)]
