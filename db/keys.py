"""API keys: made once, shown once, stored as a hash."""

import hashlib
import hmac
import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import func, or_, select, text, update
from sqlalchemy.orm import Session

from db.errors import NotFound
from db.models import ApiKey

_BRAND = "sk-chai"
ALL_SCOPES = ("jobs", "read", "admin")  # make and read; read only; operate the service
IS_LIVE = (ApiKey.revoked_at.is_(None), or_(ApiKey.expires_at.is_(None), ApiKey.expires_at > func.now()))
MINUTE_S = 60.0
_ROOM = 0x63686169  # any fixed number: locks with two numbers are separate from those with one
LIMITS = ("max_queued", "max_per_minute", "max_gpu_seconds")


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who sent a request."""

    tenant: str
    group: str | None
    scopes: frozenset[str]
    key: str | None = None  # prefix of the key; None if no key is needed
    max_queued: int | None = None  # jobs that may wait at once; None: no limit, here and below
    max_per_minute: int | None = None  # new videos of the key; lines of bulk runs do not count
    max_gpu_seconds: float | None = None  # used by the tenant's attempts within a day


def create(
    session: Session,
    tenant: str,
    *,
    group: str | None = None,
    scopes: Sequence[str] = ("jobs",),
    max_queued: int | None = None,
    max_per_minute: int | None = None,
    max_gpu_seconds: float | None = None,
    life: timedelta | None = None,
) -> tuple[str, ApiKey]:
    """Make a key of 256 random bits; return it in plain text, for this one time, and its row.

    It expires after `life`, if given, by the database's clock.
    """
    prefix, secret = secrets.token_hex(4), secrets.token_urlsafe(32)
    key = f"{_BRAND}-{prefix}-{secret}"
    limits = _limits(max_queued=max_queued, max_per_minute=max_per_minute, max_gpu_seconds=max_gpu_seconds)
    row = ApiKey(prefix=prefix, hash=_digest(key), tenant=tenant, group=group, scopes=list(scopes), limits=limits)
    row.expires_at = None if life is None else session.scalar(select(func.now() + life))
    session.add(row)
    session.flush()
    return key, row


def check(session: Session, key: str) -> Caller | None:
    """Return the caller to whom a live key belongs; None for any other text."""
    parts = key.split("-", 3)
    if len(parts) != 4 or not key.startswith(f"{_BRAND}-") or not key.isprintable():
        return None
    row = session.scalars(select(ApiKey).where(ApiKey.prefix == parts[2], *IS_LIVE)).one_or_none()
    if row is None or not hmac.compare_digest(row.hash, _digest(key)):
        return None
    return Caller(
        tenant=row.tenant,
        group=row.group,
        scopes=frozenset(row.scopes),
        key=row.prefix,
        max_queued=row.limits.get("max_queued"),
        max_per_minute=row.limits.get("max_per_minute"),
        max_gpu_seconds=row.limits.get("max_gpu_seconds"),
    )


def take(session: Session, prefix: str, per_minute: int) -> float:
    """Use up one of a key's new videos per minute; return 0, or for how many seconds to wait if none is left.

    They come back evenly, up to a minute's worth, by the database's clock. The key's row is locked until the
    transaction ends, so that all processes share one count; a rollback undoes it.
    """
    now = func.clock_timestamp()
    passed_s = func.greatest(0, func.extract("epoch", now - ApiKey.minute_at))  # the clock may have been set back
    come_back = passed_s * per_minute / MINUTE_S
    left = func.least(per_minute, func.coalesce(ApiKey.minute_left + come_back, per_minute))
    is_key = ApiKey.prefix == prefix
    taken = update(ApiKey).where(is_key, left >= 1).values(minute_left=left - 1, minute_at=now).returning(ApiKey.id)
    if session.scalar(taken, execution_options={"synchronize_session": False}) is not None:
        return 0.0
    remainder = session.scalar(select(left).where(is_key)) or 0.0
    return (1 - float(remainder)) * MINUTE_S / per_minute if per_minute else MINUTE_S


def lock_tenant(session: Session, tenant: str) -> None:
    """Lock a tenant's limits until the transaction ends: two requests that count at once would both find room."""
    session.execute(text("SELECT pg_advisory_xact_lock(:room, hashtext(:tenant))"), {"room": _ROOM, "tenant": tenant})


def live(session: Session, prefixes: Collection[str]) -> set[str]:
    """Return those of these keys that are neither revoked nor expired."""
    return set(session.scalars(select(ApiKey.prefix).where(ApiKey.prefix.in_(prefixes), *IS_LIVE)))


def limit(session: Session, prefix: str, **limits: float | None) -> ApiKey:
    """Set some of a key's limits (`max_queued`, `max_per_minute`, `max_gpu_seconds`); None lifts one.

    Raises `NotFound`, and `ValueError` for an unknown or negative limit.
    """
    row = _not_revoked(session, prefix)
    row.limits = _limits(**{**row.limits, **limits})
    session.flush()
    return row


def expire(session: Session, prefix: str, life: timedelta | None) -> ApiKey:
    """Let a key expire `life` from now by the database's clock, or never; raise `NotFound`."""
    row = _not_revoked(session, prefix)
    row.expires_at = None if life is None else session.scalar(select(func.now() + life))
    session.flush()
    return row


def set_scopes(session: Session, prefix: str, scopes: Sequence[str]) -> ApiKey:
    """Set what a key may do; raise `NotFound`."""
    row = _not_revoked(session, prefix)
    row.scopes = list(scopes)
    session.flush()
    return row


def _not_revoked(session: Session, prefix: str) -> ApiKey:
    row = session.scalars(select(ApiKey).where(ApiKey.prefix == prefix, ApiKey.revoked_at.is_(None))).one_or_none()
    if row is None:
        raise NotFound(f"no key with the prefix {prefix!r}; `chai keys ls` shows them")
    return row


def _limits(**limits: float | None) -> dict[str, float]:
    for name, value in limits.items():
        if name not in LIMITS:
            raise ValueError(f"limit {name!r} is not known; use {', '.join(LIMITS)}")
        if value is not None and value < 0:
            raise ValueError(f"limit {name} {value} is negative; use 0 or more, or None for no limit")
    return {name: value for name, value in limits.items() if value is not None}


def used(session: Session, key: str) -> None:
    """Record that a key was used; called only now and then, since uses are not counted."""
    session.execute(update(ApiKey).where(ApiKey.hash == _digest(key)).values(last_used_at=func.now()))


def revoke(session: Session, prefix: str) -> None:
    """Revoke a key; raise `NotFound`."""
    done = session.execute(
        update(ApiKey).where(ApiKey.prefix == prefix).values(revoked_at=func.now()).returning(ApiKey.id),
    ).scalar_one_or_none()
    if done is None:
        raise NotFound(f"no key with the prefix {prefix!r}; `chai keys ls` shows them")


def every(session: Session) -> list[ApiKey]:
    """Return all keys, the newest first."""
    return list(session.scalars(select(ApiKey).order_by(ApiKey.created_at.desc())))


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()
