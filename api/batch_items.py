"""Lines of a bulk run: each is checked on its own; valid ones are accepted, others answered with the reason."""

import logging
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from sqlalchemy.orm import Session

from api import addresses, bodies, explain, job_factory
from api.errors import BadRequest, describe
from api.schemas.answers import Item, ItemList
from api.schemas.requests import BatchLine
from db import acceptance, reused_lines
from db.models import Batch, Job, ReusedLine
from shared.ids import video_id
from shared.model_cards import ModelCard

Kept = Literal["accepted", "known", "reused"]
Reused = tuple[ReusedLine, Job]

logger = logging.getLogger("api.batch_items")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sorted:
    """Lines by their place in the request: those that may become jobs, and the errors of the others."""

    good: dict[int, Job]
    bad: dict[int, Item]
    refused: dict[int, BatchLine]  # invalid ones that ask for something that the service does not, or no longer, have
    replays: dict[int, Item] = field(default_factory=dict)  # those of them that the run already has


def sort_out(
    lines: Sequence[object],
    cards: Mapping[str, ModelCard],
    batch: Batch,
    *,
    default_model: str,
    allowed: Collection[str] | None = None,
) -> Sorted:
    """Check every line; write nothing. `allowed` are hosts that webhooks may call; None: not checked."""
    good: dict[int, Job] = {}
    bad: dict[int, Item] = {}
    refused: dict[int, BatchLine] = {}
    for index, line in enumerate(lines):
        request = None
        try:
            request = bodies.check(BatchLine, line)
            if request.webhook_url is not None and allowed is not None:
                addresses.check_url("webhook_url", request.webhook_url, allowed)
            good[index] = job_factory.line(
                request, cards, tenant=batch.tenant, default_model=default_model, batch_id=batch.id
            )
        except BadRequest as error:
            bad[index] = _refused(index, explain.custom_id(line), error)
            if request is not None:
                refused[index] = request
        except Exception as error:  # whatever this line breaks, the others run
            logger.exception("line not read", extra={"fields": {"batch": batch.id, "index": index}})
            bad[index] = _refused(
                index, explain.custom_id(line), BadRequest(f"this line cannot be read ({type(error).__name__})")
            )
    return Sorted(good=good, bad=bad, refused=refused)


def with_replays(session: Session, batch: Batch, lines: Sorted) -> Sorted:
    """Return the lines, accepting those that the run already has, even if the service would now refuse them."""
    names = {request.custom_id for request in lines.refused.values()}
    if not names:
        return lines
    reused = reused_lines.known(session, batch.id, names)
    own = acceptance.jobs_of_lines(session, batch.id, names)
    replays = {}
    for index, request in lines.refused.items():
        name, asked = request.custom_id, job_factory.fingerprint(request)
        if name in own and own[name].request_hash == asked:
            replays[index] = _known(index, name, own[name], "known")
        elif name in reused and reused[name][0].request_hash == asked:
            replays[index] = _known(index, name, reused[name][1], "reused")
    bad = {index: item for index, item in lines.bad.items() if index not in replays}
    return replace(lines, bad=bad, replays=replays)


def accept(session: Session, batch: Batch, lines: Sorted, reused: Mapping[str, Reused]) -> ItemList:
    """Insert the valid lines that are not reused; return the result of every line, in the order of the request."""
    own = [job for job in lines.good.values() if job.custom_id not in reused]
    rows = acceptance.accept_lines(session, batch.id, own) if own else {}
    seen: set[str] = set()
    items = lines.bad | lines.replays
    for index, job in lines.good.items():
        name = job.custom_id or ""
        if name in reused:
            line, video = reused[name]
            items[index] = _item(index, job, line.request_hash, video, "reused")
            continue
        known, is_new = rows[name]
        status: Kept = "accepted" if is_new and name not in seen else "known"
        items[index] = _item(index, job, known.request_hash, known, status)
        seen.add(name)
    data = [items[index] for index in sorted(items)]
    number = Counter(item.status for item in data)
    return ItemList(
        data=data,
        accepted=number["accepted"],
        known=number["known"],
        reused=number["reused"],
        refused=number["refused"],
    )


def _item(index: int, job: Job, request_hash: str | None, known: Job, status: Kept) -> Item:
    if request_hash != job.request_hash:
        return _refused(index, job.custom_id, acceptance.used_otherwise(job))
    return _known(index, job.custom_id, known, status)


def _known(index: int, custom_id: str | None, known: Job, status: Kept) -> Item:
    return Item(index=index, custom_id=custom_id, status=status, id=video_id(known.id), error=None)


def _refused(index: int, custom_id: str | None, error: Exception) -> Item:
    return Item(index=index, custom_id=custom_id, status="refused", id=None, error=describe(error))
