"""The pages of bulk runs."""

import csv
import io
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import HTMLResponse
from sqlalchemy.orm import Session

from api import bodies, ids, line_results
from api.deps import Calling
from api.routes import bulk_runs
from api.schemas.requests import RetryBatch, SetWindow, Window
from api.web import frame, words
from api.web.forms import Act, Retry, SetTimes
from api.web.frame import PageRoute, Values
from db import batches, file_batches, reused_lines
from db.models import Batch

NUM_RUNS, NUM_SHEET = 20, 24
NUM_LINES = 10_000  # longest run for which a list of runs shows by which path lines were made

router = APIRouter(route_class=PageRoute, include_in_schema=False)


@router.get("/nights")
def nights(request: Request, call: Calling, after: str = "") -> HTMLResponse:
    """Show bulk runs."""
    with call.begin() as (session, caller), ids.cursor("bulk run", after) as cursor:
        rows = batches.page(session, caller.tenant, limit=NUM_RUNS + 1, after=cursor)
        runs = _runs(session, rows[:NUM_RUNS])
        now = frame.now_of(session, call)
    more = f"/nights?after={runs[-1]['id']}" if len(rows) > NUM_RUNS else ""
    values: Values = {"now": now, "runs": runs, "next": more, "only": None}
    values["model"] = call.service.settings.default_model
    return frame.page("nights.html", request, call, "Nights", values)


@router.get("/nights/prompts.csv")
def first_list(call: Calling) -> Response:
    """Return a list to begin with: a few prompts that the default model can make."""
    table = io.StringIO()
    rows = csv.writer(table, lineterminator="\n")
    rows.writerow(("custom_id", "prompt", "seed"))
    card = call.service.cards[call.service.settings.default_model]
    rows.writerows((f"shot-{number}", prompt, number) for number, prompt in enumerate(words.examples(card), 1))
    return Response(table.getvalue(), media_type="text/csv")


@router.get("/nights/{id_}")
def night(request: Request, id_: str, call: Calling) -> HTMLResponse:
    """Show one bulk run: what was expected of it beside what came, and some of its pictures."""
    with call.begin() as (session, caller), ids.known("bulk run", id_) as known:
        row = batches.get(session, caller.tenant, known)
        (run,), now = _runs(session, [row]), frame.now_of(session, call)
        run |= words.night(
            row,
            batches.came(session, row),
            num_reused=reused_lines.number(session, row.id),
            num_open=run["num_open"],
            num_workers=now["workers"],
        )
        since, until = words.span(row, run["ends"], batches.clock(session))
        ended = batches.over_time(session, row, since, until, parts=words.NUM_PARTS)
        run["course"] = words.course(row, ended, since, until, run["ends"])
        run["forms"] = line_results.forms()
        run["sheet"] = frame.shown(session, batches.pictured(session, row, NUM_SHEET))
    values = {"now": now, "runs": [run], "next": "", "only": run}
    return frame.page("nights.html", request, call, "Nights", values, title=f"Run {run['name']}")


def _runs(session: Session, rows: list[Batch]) -> list[Values]:
    of_files = file_batches.among(session, [row.id for row in rows])
    return [
        words.run(
            row,
            _lines(session, row, is_alone=len(rows) == 1),
            of_file=row.id in of_files,
            changes_at=batches.window_changes_at(session, row),
        )
        for row in rows
    ]


def _lines(session: Session, row: Batch, *, is_alone: bool) -> dict[tuple[str, str | None], int]:
    counts = batches.counts(session, row)
    if is_alone or sum(counts.values()) <= NUM_LINES:
        return batches.by_path(session, row)
    return {(status, None): number for status, number in counts.items()}


@router.post("/nights/{id_}/cancel")
def cancel_night(id_: str, call: Calling, form: Annotated[Act, Depends(frame.form_of(Act))]) -> Response:
    """Cancel what is left of a bulk run; of a very long one the relay cancels the rest."""
    with call.begin() as (session, caller), ids.known("bulk run", id_) as known:
        batches.cancel(session, batches.get(session, caller.tenant, known, lock=True))
    bulk_runs.cancel_lines(call, known, for_s=bulk_runs.ANSWER_AFTER_S)
    return frame.back(form)


@router.post("/nights/{id_}/pause")
def pause_night(id_: str, call: Calling, form: Annotated[Act, Depends(frame.form_of(Act))]) -> Response:
    """Let nothing of a bulk run start."""
    bulk_runs.pause(id_, call)
    return frame.back(form)


@router.post("/nights/{id_}/resume")
def resume_night(id_: str, call: Calling, form: Annotated[Act, Depends(frame.form_of(Act))]) -> Response:
    """Let a paused bulk run go on."""
    bulk_runs.resume(id_, call)
    return frame.back(form)


@router.post("/nights/{id_}/retry")
def retry_night(id_: str, call: Calling, form: Annotated[Retry, Depends(frame.form_of(Retry))]) -> Response:
    """Make the failed or cancelled lines of a bulk run anew."""
    bulk_runs.retry(id_, RetryBatch(only=form.only), call)
    return frame.back(form)


@router.post("/nights/{id_}/window")
def set_times(id_: str, call: Calling, form: Annotated[SetTimes, Depends(frame.form_of(SetTimes))]) -> Response:
    """Say when lines of a bulk run may start; `at_end` stays as it was unless the form says."""
    window = None
    if form.start or form.end:
        at_end = form.at_end or (bulk_runs.retrieve(id_, call).window or Window(start="", end="")).at_end
        window = {"start": form.start, "end": form.end, "tz": form.tz, "at_end": at_end}
    bulk_runs.set_window(id_, bodies.check(SetWindow, {"window": window}), call)
    return frame.back(form)
