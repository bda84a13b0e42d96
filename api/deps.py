"""What an endpoint is given: the parts of this process, and the caller's transaction."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from sqlalchemy.orm import Session, sessionmaker

from api.errors import Forbidden, Unauthorized
from api.settings import ApiSettings
from db import keys
from db.keys import Caller
from db.session import transaction
from shared.model_cards import ModelCard
from shared.storage import Storage

LOCAL = Caller(tenant="local", group=None, scopes=frozenset(keys.ALL_SCOPES), max_queued=None)
NOTE_USE_S = 60.0  # a key's last use is written this often at most
CHALLENGE = {"WWW-Authenticate": "Bearer"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """What one API process owns."""

    settings: ApiSettings
    sessions: sessionmaker[Session]
    cards: dict[str, ModelCard]
    storage: Storage
    noted: dict[str, float] = field(default_factory=dict)  # key → when its use was last written


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request's way to the database."""

    service: Service
    key: str | None

    @contextmanager
    def begin(self) -> Iterator[tuple[Session, Caller]]:
        """Open a transaction for the caller; it is committed when the block ends, so before the answer goes out.

        Raises Unauthorized and Forbidden.
        """
        with transaction(self.service.sessions) as session:
            yield session, self._caller(session)

    def _caller(self, session: Session) -> Caller:
        if not self.service.settings.needs_keys:
            return LOCAL
        if self.key is None:
            raise Unauthorized("the Authorization header is missing; send 'Bearer sk-chai-…'", headers=CHALLENGE)
        caller = keys.check(session, self.key)
        if caller is None:
            raise Unauthorized(
                "this API key is unknown, expired or revoked; ask the operator for one", headers=CHALLENGE
            )
        if "jobs" not in caller.scopes:
            raise Forbidden("this API key has no scope 'jobs'; ask the operator for one that has")
        self._note_use(session, self.key)
        return caller

    def _note_use(self, session: Session, key: str) -> None:
        now = time.monotonic()
        if now - self.service.noted.get(key, -NOTE_USE_S) >= NOTE_USE_S:
            self.service.noted[key] = now
            keys.used(session, key)


async def service(request: Request) -> Service:
    """Return what this process owns."""
    owned: Service = request.app.state.service
    return owned


_bearer = HTTPBearer(auto_error=False, description="An API key, where this server asks for one.")


async def call(
    service: Annotated[Service, Depends(service)],
    bearer: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
) -> Call:
    """Return the request's way to the database."""
    return Call(service=service, key=bearer.credentials if bearer else None)


Owned = Annotated[Service, Depends(service)]
Calling = Annotated[Call, Depends(call)]
