"""/v1/webhooks: addresses that are told when videos and batches end, and the secret that signs it."""

import hashlib
import json
from typing import Annotated

from fastapi import APIRouter, Depends, Response
from sqlalchemy.orm import Session

from api import addresses, bodies, header_fields, ids
from api.deps import Call, Calling
from api.errors import REFUSALS, Forbidden, NotReady
from api.ids import unix
from api.ids import webhook_id as shown_id
from api.schemas.answers import DeletedWebhook, LastDelivery, SigningSecret, WebhookList
from api.schemas.answers import Webhook as Shown
from api.schemas.requests import CreateWebhook
from api.submission import Key, key_of
from db import acceptance, keys, webhooks
from db.models import Delivery, Webhook

router = APIRouter(prefix="/v1/webhooks", tags=["webhooks"], responses=REFUSALS)
MOST = 20  # of a tenant


@router.post("", openapi_extra=bodies.described(CreateWebhook))
def create(
    asked: Annotated[CreateWebhook, Depends(bodies.dependency(CreateWebhook))],
    call: Calling,
    response: Response,
    idempotency_key: Key = None,
) -> Shown:
    """Register an address. It is told of what ends from now on, for as long as the key lives that registered it.

    The same Idempotency-Key gives the same webhook.
    """
    key, events = key_of(idempotency_key), sorted(set(asked.events))
    request_hash = hashlib.sha256(json.dumps([asked.url, events]).encode()).hexdigest()
    row = Webhook(
        tenant=call.caller.tenant,
        key=call.caller.key,
        url=asked.url,
        events=events,
        idempotency_key=key,
        request_hash=request_hash,
    )
    with call.begin() as (session, _):
        if known := _replayed(session, row, response):
            return known
    addresses.check_url("url", asked.url, call.service.settings.webhook_allowed)  # may wait for a name server
    with call.begin() as (session, caller):
        keys.lock_tenant(session, caller.tenant)
        if known := _replayed(session, row, response):
            return known
        if len(webhooks.every(session, caller.tenant)) >= MOST:
            raise NotReady(f"you have {MOST} webhooks, which is the most; delete one first", code="too_many_webhooks")
        return _show(session, webhooks.register(session, row))


def _replayed(session: Session, row: Webhook, response: Response) -> Shown | None:
    """Return the webhook that the same key made before."""
    known = acceptance.replayed(session, row)
    if known is None:
        return None
    response.headers.update(header_fields.REPLAYED)
    return _show(session, known)


@router.get("")
def list_(call: Calling) -> WebhookList:
    """List the addresses, the newest first, each with its last delivery."""
    with call.begin() as (session, caller):
        return WebhookList(data=[_show(session, row) for row in webhooks.every(session, caller.tenant)])


@router.get("/secret")
def secret(call: Calling) -> SigningSecret:
    """Look at the secret that signs all that this tenant is told."""
    _check_scope(call)
    with call.begin() as (session, caller):
        return SigningSecret(secret=webhooks.secret(session, caller.tenant))


@router.post("/secret/rotate")
def rotate(call: Calling) -> SigningSecret:
    """Make another secret. For a day the old one signs too."""
    with call.begin() as (session, caller):
        return SigningSecret(secret=webhooks.rotate(session, caller.tenant))


@router.get("/{webhook_id}")
def retrieve(webhook_id: str, call: Calling) -> Shown:
    """Look at an address and its last delivery."""
    with call.begin() as (session, caller), ids.known("webhook", webhook_id) as id_:
        return _show(session, webhooks.get(session, caller.tenant, id_))


@router.delete("/{webhook_id}")
def delete(webhook_id: str, call: Calling) -> DeletedWebhook:
    """Tell an address nothing more."""
    with call.begin() as (session, caller), ids.known("webhook", webhook_id) as id_:
        webhooks.remove(session, caller.tenant, id_)
    return DeletedWebhook(id=shown_id(id_))


def _check_scope(call: Call) -> None:
    if "jobs" not in call.caller.scopes:  # who may only look signs nothing
        raise Forbidden("this API key has no scope 'jobs'; ask the operator for one that has")


def _show(session: Session, row: Webhook) -> Shown:
    last = webhooks.latest(session, row.id)
    return Shown(
        id=shown_id(row.id),
        url=row.url,
        events=row.events,
        created_at=unix(row.created_at) or 0,
        last_delivery=None if last is None else _told(last),
    )


def _told(last: Delivery) -> LastDelivery:
    return LastDelivery(
        event=last.payload["type"],
        state="delivered" if last.delivered_at else "failed" if last.error else "sending",
        attempt=last.attempt,
        tried_at=unix(last.tried_at) or 0,
        status=last.status,
        error=last.error,
        next_attempt_at=unix(last.due_at) if last.error else None,
    )
