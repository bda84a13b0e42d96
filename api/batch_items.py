"""Lines of a bulk run: each judged on its own, the good ones accepted, the bad ones answered with the reason."""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy.orm import Session

from api import bodies, job_factory
from api.errors import BadRequest, describe
from api.ids import video_id
from api.schemas import BatchLine, Item, ItemList
from db import jobs
from db.errors import Conflict
from db.models import Batch, Job
from shared.model_cards import ModelCard

logger = logging.getLogger("api.batch_items")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sorted:
    """Lines by their place in the request: those that may become jobs, and what is wrong with the others."""

    good: dict[int, Job]
    bad: dict[int, Item]


def sort_out(lines: Sequence[object], cards: Mapping[str, ModelCard], batch: Batch, *, default_model: str) -> Sorted:
    """Check every line; nothing is written."""
    good: dict[int, Job] = {}
    bad: dict[int, Item] = {}
    for index, line in enumerate(lines):
        try:
            request = bodies.check(BatchLine, line)
            good[index] = job_factory.line(
                request, cards, tenant=batch.tenant, default_model=default_model, batch_id=batch.id
            )
        except BadRequest as error:
            bad[index] = _refused(index, _custom_id(line), error)
        except Exception as error:  # whatever this line does to the code that reads it, the others run
            logger.exception("line not read", extra={"fields": {"batch": batch.id, "index": index}})
            bad[index] = _refused(
                index, _custom_id(line), BadRequest(f"this line cannot be read ({type(error).__name__})")
            )
    return Sorted(good=good, bad=bad)


def accept(session: Session, batch: Batch, lines: Sorted) -> ItemList:
    """Insert the good lines; return what became of every line, in the order of the request."""
    rows = jobs.accept_lines(session, batch.id, list(lines.good.values())) if lines.good else {}
    seen: set[str] = set()
    items = dict(lines.bad)
    for index, job in lines.good.items():
        name = job.custom_id or ""
        known, is_new = rows[name]
        items[index] = _item(index, job, known, is_new=is_new and name not in seen)
        seen.add(name)
    data = [items[index] for index in sorted(items)]
    number = Counter(item.status for item in data)
    return ItemList(data=data, accepted=number["accepted"], known=number["known"], refused=number["refused"])


def _item(index: int, job: Job, known: Job, *, is_new: bool) -> Item:
    try:
        jobs.check_same(known, job)
    except Conflict as error:
        return _refused(index, job.custom_id, error)
    return Item(
        index=index,
        custom_id=job.custom_id,
        status="accepted" if is_new else "known",
        id=video_id(known.id),
        error=None,
    )


def _refused(index: int, custom_id: str | None, error: Exception) -> Item:
    return Item(index=index, custom_id=custom_id, status="refused", id=None, error=describe(error))


def _custom_id(line: object) -> str | None:
    name = line.get("custom_id") if isinstance(line, dict) else None
    return name.encode("utf-8", "replace").decode()[:200] if isinstance(name, str) else None
