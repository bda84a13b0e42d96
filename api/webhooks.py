"""Delivery of events to webhooks, signed by Standard Webhooks, at least once.

One thread reads what ended and takes due deliveries; a few others send, so that a slow address delays only itself.
"""

import asyncio
import base64
import hashlib
import hmac
import json
import logging
import os
import random
import ssl
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from functools import cache
from typing import Any
from urllib.parse import SplitResult
from uuid import UUID

import httpx
from sqlalchemy.orm import Session, sessionmaker

from api import addresses, videos
from api.addresses import Blocked
from api.ids import event_id, unix
from api.schemas.requests import WebhookEvent as Event
from api.settings import ApiSettings
from db import metrics, webhooks
from db.models import Job, Webhook
from db.session import transaction
from db.webhooks import Due

logger = logging.getLogger("api.webhooks")

NUM_SENDERS = 16
MOST_OF_TENANT = 8  # sent at once, so that a slow tenant leaves threads to the others
MOST_EACH = 2  # deliveries to one address at once
TIMEOUT_S = 10.0  # of an attempt in total, without resolving the name
# Pauses between attempts: about 60 hours in all; then the delivery is given up.
PAUSES_S = (5, 30, 120, 600, 1800, 7200, 18_000, 36_000, 50_400, 50_400, 50_400)
GONE = 410  # the receiver wants no more


class Webhooks:
    """One relay's deliveries to webhooks."""

    def __init__(self, factory: sessionmaker[Session], settings: ApiSettings) -> None:
        self._factory, self._allowed = factory, settings.webhook_allowed
        self._pool = _senders()
        self._busy: list[Due] = []
        self._lock = threading.Lock()

    def turn(self) -> None:
        """Record what ended since the last turn, and begin to send due deliveries. Does not wait for any receiver."""
        self._collect()
        with self._lock:
            busy = list(self._busy)
        if (room := NUM_SENDERS - len(busy)) > 0:
            with transaction(self._factory) as session:
                due = webhooks.take(session, limit=room, busy=busy, most_each=MOST_EACH, most_of_tenant=MOST_OF_TENANT)
            for one in due:
                self._begin(one)

    def _begin(self, due: Due) -> None:
        """Begin to send a delivery; raise RuntimeError if no thread can be started. It is taken again later."""
        try:
            sending = self._pool.submit(self._send, due)
        except RuntimeError:
            # The pool has queued it for a thread that may never start: the slots taken in vain are free again.
            kept, self._pool = self._pool, _senders()
            kept.shutdown(wait=False, cancel_futures=True)
            raise
        with self._lock:
            self._busy.append(due)
        sending.add_done_callback(lambda _: self._end(due))

    def _end(self, due: Due) -> None:
        with self._lock:
            self._busy.remove(due)

    def close(self) -> None:
        """Wait for deliveries being sent; the next relay sends the rest."""
        self._pool.shutdown(cancel_futures=True)

    def _collect(self) -> None:
        with transaction(self._factory) as session:
            endpoints = webhooks.live(session)
            for rows in webhooks.ended(session, list(endpoints)):
                figures = metrics.of_jobs(session, rows)
                shown = ((row, videos.show(row, metric=figures.get(row.id)).model_dump(mode="json")) for row in rows)
                webhooks.add(session, [one for row, data in shown for one in _of_video(row, data, endpoints)])

    def _send(self, due: Due) -> None:
        try:
            status, error, may_help = self._post(due)
            with transaction(self._factory) as session:
                if not error and status is not None:
                    webhooks.delivered(session, due.id, status)
                    return
                pause_s = _pause_s(due.attempt) if may_help else None
                webhooks.failed(session, due.id, status=status, error=error, pause_s=pause_s)
            fields = {"delivery": due.id, "attempt": due.attempt, "error": error, "again_in_s": pause_s}
            logger.warning("not delivered", extra={"fields": fields})
        except Exception as broken:  # it becomes due again after its lease
            logger.warning("delivery broke", extra={"fields": {"delivery": due.id}}, exc_info=broken)

    def _post(self, due: Due) -> tuple[int | None, str, bool]:
        """Send once; return the answer's status, the error (empty if none), and whether another attempt may help."""
        body = json.dumps(due.payload, ensure_ascii=False).encode()
        try:
            parts = addresses.check(due.url, self._allowed)
        except Blocked as error:
            return None, f"the URL {error}", False
        try:
            found = addresses.resolve(parts, self._allowed)
            headers = {"Host": parts.netloc, **signed(body, str(due.payload["id"]), due.secrets, now=time.time())}
            status = _status([_at(parts, one) for one in found], headers, body, host=parts.hostname or "")
        except Blocked as error:
            return None, f"the URL {error}", True
        except TimeoutError:
            return None, f"no answer within {TIMEOUT_S:g} s", True
        except (httpx.HTTPError, OSError) as error:  # from the file of certificates, too
            return None, f"no answer ({type(error).__name__}: {error})", True
        return status, "" if 200 <= status < 300 else f"answered {status}", status != GONE


def _senders() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(NUM_SENDERS, thread_name_prefix="webhook")


def signed(body: bytes, id_: str, secrets: Iterable[str], *, now: float) -> dict[str, str]:
    """Return the headers of Standard Webhooks: one signature per secret, newest first."""
    stamp = str(int(now))
    content = b".".join((id_.encode(), stamp.encode(), body))
    keys = [base64.b64decode(secret.removeprefix(webhooks.SECRET_BRAND)) for secret in secrets]
    digests = [hmac.new(key, content, hashlib.sha256).digest() for key in keys]
    return {
        "Content-Type": "application/json",
        "User-Agent": "chai-webhooks",
        "webhook-id": id_,
        "webhook-timestamp": stamp,
        "webhook-signature": " ".join(f"v1,{base64.b64encode(digest).decode()}" for digest in digests),
    }


def tell(session: Session, tenant: str, event: Event, id_: UUID, data: Mapping[str, Any], *, at: datetime) -> None:
    """Queue an event that is not about a video for all endpoints of a tenant."""
    endpoints = webhooks.live(session).get(tenant, [])
    to = [(row.id, row.url) for row in _asking(endpoints, event)]
    webhooks.add(session, _deliveries(tenant, event, id_, data, at, to))


def _of_video(job: Job, data: Mapping[str, Any], endpoints: Mapping[str, Sequence[Webhook]]) -> list[dict[str, Any]]:
    event: Any = f"video.{job.status}"  # Any: one of the three, by the states
    at = job.finished_at or datetime.now(UTC)
    there = [row for row in endpoints.get(job.tenant, ()) if row.created_at <= at]
    to: list[tuple[UUID | None, str]] = [(row.id, row.url) for row in _asking(there, event)]
    if job.webhook_url is not None and job.webhook_url not in {url for _, url in to}:
        to.append((None, job.webhook_url))
    return _deliveries(job.tenant, event, job.id, data, at, to)


def _asking(endpoints: Sequence[Webhook], event: Event) -> list[Webhook]:
    return [row for row in endpoints if event in row.events]


def _deliveries(
    tenant: str,
    event: Event,
    id_: UUID,
    data: Mapping[str, Any],
    at: datetime,
    to: Iterable[tuple[UUID | None, str]],
) -> list[dict[str, Any]]:
    key = f"{event} {id_} {at.timestamp()}"
    payload = {"id": event_id(key), "object": "event", "type": event, "created_at": unix(at), "data": dict(data)}
    payload["timestamp"] = at.isoformat()
    return [{"key": key, "tenant": tenant, "webhook_id": row, "url": url, "payload": payload} for row, url in to]


def _at(parts: SplitResult, address: str) -> str:
    netloc = f"[{address}]" if ":" in address else address
    return parts._replace(netloc=f"{netloc}:{addresses.port_of(parts)}").geturl()


def _status(urls: Sequence[str], headers: Mapping[str, str], body: bytes, *, host: str) -> int:
    """Post to the first address that accepts a connection, and return the status; the answer's body is not read.

    Redirects are not followed. Raises TimeoutError after `TIMEOUT_S` in total, of which each connection attempt has its
    share: httpx's own limits apply to single pieces, and an answer may come in any number of pieces. Only an event loop
    can be stopped in the middle of a read.
    """
    timeout = httpx.Timeout(None, connect=TIMEOUT_S / len(urls))

    async def post(url: str) -> int:
        async with (
            httpx.AsyncClient(timeout=timeout, trust_env=False, follow_redirects=False, verify=_trusted()) as client,
            client.stream("POST", url, headers=headers, content=body, extensions={"sni_hostname": host}) as answer,
        ):
            return answer.status_code

    async def first() -> int:
        async with asyncio.timeout(TIMEOUT_S):
            for url in urls[:-1]:
                with suppress(httpx.ConnectError, httpx.ConnectTimeout):  # nothing was sent
                    return await post(url)
            return await post(urls[-1])

    return asyncio.run(first())


@cache
def _trusted() -> ssl.SSLContext:
    """Return the certificate authorities trusted for receivers: the public ones and those the environment names."""
    context = httpx.create_ssl_context(trust_env=False)
    file, folder = (os.environ.get(name) or None for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"))
    if file or folder:
        context.load_verify_locations(file, folder)
    return context


def _pause_s(attempt: int) -> float | None:
    if attempt > len(PAUSES_S):
        return None
    return PAUSES_S[attempt - 1] * random.uniform(0.9, 1.1)  # noqa: S311 - jitter
