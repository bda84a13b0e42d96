"""Webhooks: addresses that are notified over HTTP, and their pending deliveries.

A delivery is a row before anything is sent and until it has been received: whichever process dies, it is sent again.
Ends of videos are read from their rows by the number of the transaction that wrote them, see `db.changes`: so code that
ends a video need not care about webhooks.
"""

import base64
import secrets
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import and_, case, delete, exists, func, literal, or_, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from db import changes, keys
from db.errors import NotFound
from db.models import ApiKey, Delivery, Job, Webhook, WebhookCursor, WebhookSecret
from db.states import FINAL

PAGE = 500
LEASE = timedelta(seconds=60)  # by then an attempt is over, or its process dead
BOTH_SIGN = timedelta(days=1)  # after a rotation the old secret signs too
_READING = 0x63686169_0002  # any fixed number, see `db.namespaces`
KEPT = timedelta(days=7)  # of a delivery; the last attempt is made within three days
SECRET_BRAND = "whsec_"  # noqa: S105 - what secrets begin with


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """Something to send now."""

    id: UUID
    tenant: str
    url: str
    payload: dict[str, Any]  # Any: JSON
    attempt: int  # from 1
    secrets: tuple[str, ...]  # each signs it


def register(session: Session, row: Webhook) -> Webhook:
    """Insert an endpoint; it is notified for as long as the key that registered it is live."""
    session.add(row)
    session.flush()
    session.refresh(row)
    return row


def get(session: Session, tenant: str, id_: UUID) -> Webhook:
    """Return the tenant's endpoint; raise `NotFound`."""
    row = session.scalars(select(Webhook).where(Webhook.id == id_, Webhook.tenant == tenant)).one_or_none()
    if row is None:
        raise NotFound(f"no webhook {id_}")
    return row


def every(session: Session, tenant: str) -> list[Webhook]:
    """Return the tenant's endpoints, the newest first."""
    query = select(Webhook).where(Webhook.tenant == tenant).order_by(Webhook.created_at.desc(), Webhook.id.desc())
    return list(session.scalars(query))


def remove(session: Session, tenant: str, id_: UUID) -> None:
    """Delete an endpoint and its pending deliveries; raise `NotFound`."""
    session.delete(get(session, tenant, id_))
    session.flush()


def latest(session: Session, id_: UUID) -> Delivery | None:
    """Return the endpoint's latest attempted delivery."""
    tried = select(Delivery).where(Delivery.webhook_id == id_, Delivery.attempt > 0)
    return session.scalars(tried.order_by(Delivery.tried_at.desc()).limit(1)).one_or_none()


def secret(session: Session, tenant: str) -> str:
    """Return the secret that signs for a tenant; made on first use."""
    session.execute(insert(WebhookSecret).values(tenant=tenant, secret=_new_secret()).on_conflict_do_nothing())
    return session.get_one(WebhookSecret, tenant).secret


def rotate(session: Session, tenant: str) -> str:
    """Give a tenant a new secret; for a day the old one signs too."""
    old, row = secret(session, tenant), session.get_one(WebhookSecret, tenant)
    row.secret, row.previous = _new_secret(), old
    row.previous_until = session.scalar(select(func.now() + BOTH_SIGN))
    session.flush()
    return row.secret


def _new_secret() -> str:
    return SECRET_BRAND + base64.b64encode(secrets.token_bytes(32)).decode()


def live(session: Session) -> dict[str, list[Webhook]]:
    """Return the endpoints whose keys are live, by tenant."""
    rows = session.scalars(select(Webhook).order_by(Webhook.id)).all()
    alive = keys.live(session, {row.key for row in rows if row.key})
    found: dict[str, list[Webhook]] = {}
    for row in rows:
        if row.key is None or row.key in alive:
            found.setdefault(row.tenant, []).append(row)
    return found


def ended(session: Session, tenants: Collection[str]) -> Iterator[list[Job]]:
    """Iterate, page by page, over the videos that ended since the last call and that some endpoint may want.

    At the end the position is advanced. One process reads at a time; the others find nothing. Nothing is written while
    no job changes, since this is called twice a second, for ever. A row may be written again long after its end, as
    when its key is used again or an operator marks a match: ends older than deliveries are kept are no news.
    """
    if not session.scalar(select(func.pg_try_advisory_xact_lock(_READING))):
        return
    cursor = session.scalars(select(WebhookCursor)).one()
    high = changes.horizon(session)  # before the rows
    low = min(cursor.horizon, high)
    if low == cursor.horizon and not session.scalar(select(exists().where(Job.changed >= low))):
        return
    wanted = or_(Job.webhook_url.is_not(None), Job.tenant.in_(tenants))
    is_news = Job.finished_at > func.now() - KEPT
    query = select(Job).where(Job.changed >= low, Job.status.in_(FINAL), is_news, wanted)
    query = query.where(Job.deleted_at.is_(None), changes.NOT_OF_THE_FUTURE).order_by(Job.changed, Job.id).limit(PAGE)
    rows = session.scalars(query).all()
    while rows:
        yield list(rows)
        behind = tuple_(Job.changed, Job.id) > tuple_(rows[-1].changed, rows[-1].id)
        rows = session.scalars(query.where(behind)).all()
    cursor.horizon = high
    session.flush()


def add(session: Session, deliveries: Sequence[Mapping[str, Any]]) -> None:
    """Insert deliveries (`key`, `tenant`, `webhook_id`, `url`, `payload`); known ones are not repeated."""
    if deliveries:
        session.execute(insert(Delivery).on_conflict_do_nothing(), [dict(row) for row in deliveries])


def take(session: Session, *, limit: int, busy: Collection[Due], most_each: int, most_of_tenant: int) -> list[Due]:
    """Take due deliveries, at most `most_each` per address and none to addresses that are being called now.

    `busy` are the deliveries under way: including them, a tenant has at most `most_of_tenant`, so that others get a
    turn however many addresses it has. Taken deliveries become due again after a while unless their result is recorded.
    """
    if session.scalar(select(Delivery.id).where(Delivery.due_at <= func.now()).limit(1)) is None:
        return []  # checked twice a second; the ranks below would cost many times as much
    is_heard = or_(Delivery.webhook_id.is_(None), Delivery.webhook_id.in_(_heard()))
    due = and_(Delivery.due_at <= func.now(), Delivery.url.not_in({one.url for one in busy}), is_heard)
    place = func.row_number().over(partition_by=Delivery.url, order_by=Delivery.due_at).label("place")
    ranked = select(Delivery.id, Delivery.due_at, Delivery.tenant, place).where(due).subquery()
    of_tenant = func.row_number().over(partition_by=ranked.c.tenant, order_by=ranked.c.due_at).label("of_tenant")
    each = (
        select(ranked.c.id, ranked.c.due_at, ranked.c.tenant, of_tenant).where(ranked.c.place <= most_each).subquery()
    )
    counts = Counter(one.tenant for one in busy)
    under_way = case(counts, value=each.c.tenant, else_=0) if counts else literal(0)
    has_room = each.c.of_tenant + under_way <= most_of_tenant
    first = select(each.c.id).where(has_room).order_by(each.c.due_at).limit(limit)
    ids = session.scalars(select(Delivery.id).where(Delivery.id.in_(first)).with_for_update(skip_locked=True)).all()
    begun = {"attempt": Delivery.attempt + 1, "tried_at": func.clock_timestamp(), "status": None, "error": None}
    taken = (
        update(Delivery)
        .where(Delivery.id.in_(ids))
        .values(due_at=func.clock_timestamp() + LEASE, **begun)
        .returning(Delivery)
    )
    rows = session.scalars(taken, execution_options={"synchronize_session": False}).all() if ids else []
    return [
        Due(
            id=row.id,
            tenant=row.tenant,
            url=row.url,
            payload=row.payload,
            attempt=row.attempt,
            secrets=_signing(session, row.tenant),
        )
        for row in rows
    ]


def _heard() -> Any:  # Any: a select of ids
    """Return a query for the endpoints that are notified: those whose keys are live."""
    return (
        select(Webhook.id)
        .outerjoin(ApiKey, ApiKey.prefix == Webhook.key)
        .where(or_(Webhook.key.is_(None), and_(*keys.IS_LIVE)))
    )


def _signing(session: Session, tenant: str) -> tuple[str, ...]:
    current, row = secret(session, tenant), session.get_one(WebhookSecret, tenant)
    has_two = session.scalar(select(func.now() < row.previous_until)) if row.previous_until else False
    return (current, row.previous) if has_two and row.previous else (current,)


def delivered(session: Session, id_: UUID, status: int) -> None:
    """Record that a delivery was received."""
    _over(session, id_, {"status": status, "error": None, "delivered_at": func.clock_timestamp()})


def failed(session: Session, id_: UUID, *, status: int | None, error: str, pause_s: float | None) -> None:
    """Record a failed attempt; it is repeated after the pause or, without one, never."""
    told = {"status": status, "error": error[:500]}
    if pause_s is None:
        _over(session, id_, told)
    else:
        due = func.clock_timestamp() + timedelta(seconds=pause_s)
        session.execute(update(Delivery).where(Delivery.id == id_).values(due_at=due, **told))


def _over(session: Session, id_: UUID, values: Mapping[str, Any]) -> None:
    session.execute(update(Delivery).where(Delivery.id == id_).values(due_at=None, **values))


def sweep(session: Session, *, limit: int) -> int:
    """Delete deliveries whose last attempt was long ago; return how many."""
    old = select(Delivery.id).where(Delivery.created_at < func.now() - KEPT).limit(limit)
    gone = delete(Delivery).where(Delivery.id.in_(old)).returning(Delivery.id)
    return len(session.scalars(gone, execution_options={"synchronize_session": False}).all())
