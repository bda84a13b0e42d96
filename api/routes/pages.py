"""The page, as HTML: what the API can do, for people. Each view is a URL; every button is a form.

Bulk runs are in `night_pages`; what all pages share is in `api.web.frame`.
"""

import secrets
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any
from urllib.parse import urlencode
from uuid import UUID

from fastapi import APIRouter, Depends, FastAPI, Query, Request, Response
from fastapi.responses import FileResponse, HTMLResponse, RedirectResponse
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from api import bodies, errors, explain, header_fields, ids, job_factory, submission
from api.deps import Call, Calling, Operating, Owned, caller_of, check_scope
from api.errors import ApiError
from api.routes import cache as cache_routes
from api.routes import videos as video_routes
from api.schemas.requests import CreateVideo
from api.web import forms, frame, reference, render, words
from api.web.forms import KEY_COOKIE, Act, Given, SignIn
from api.web.frame import PageRoute, Values
from db import acceptance, heartbeats, job_lists, jobs, metrics
from db.errors import NotFound
from db.keys import Caller
from db.models import Job
from db.states import JobStatus
from shared.formats import duration
from shared.ids import video_id
from shared.model_cards import ModelCard
from shared.silence import NOT_THERE_S

# How many are shown:
NUM_LATEST = 6  # videos of the caller beside the form
NUM_WAITING = 25
NUM_ENDED = 8
NUM_CARDS = 24
NUM_HITS = 20
WITHIN = [("12", "the last 12 hours"), ("24", "the last day"), ("168", "the last week")]
SPANS = [(1, "a day"), (7, "a week"), (30, "a month"), (365, "a year")]
FOR_A_DAY = {"Cache-Control": "no-cache", "X-Content-Type-Options": "nosniff"}

router = APIRouter(route_class=PageRoute, include_in_schema=False)


def install(app: FastAPI) -> None:
    """Answer browsers with an HTML page if a page does not exist; programs get the envelope."""
    app.add_exception_handler(HTTPException, _nowhere)


async def _nowhere(request: Request, error: Exception) -> Response:
    said = await errors.unserved(request, error)
    is_browser = "text/html" in request.headers.get("accept", "") and not request.url.path.startswith("/v1")
    if said.status_code != 404 or not is_browser:
        return said
    values = {"title": "Not here", "mistake": f"There is nothing at {explain.printable(request.url.path)}."}
    return frame.plain("error.html", request, values, status=404)


@router.get("/web/{name}")
def static(name: str) -> Response:
    """Serve the style sheet, the script and the icon."""
    known = {path.name: path for path in render.STATIC.iterdir()}
    if name not in known:
        raise NotFound(f"there is no {explain.shown(name)} here")
    return FileResponse(known[name], headers=FOR_A_DAY)


@router.get("/")
def make(
    request: Request,
    call: Calling,
    prompt: str = "",
    again: str = "",
    how: str = "",
) -> HTMLResponse:
    """Show the form, filled in with a prompt or as an earlier video was asked for."""
    asked: Values = {"prompt": prompt[:4000]}
    if again:
        with call.begin() as (session, caller), ids.known("video", again) as id_:
            job = jobs.get(session, caller.tenant, id_)
            asked = _as_asked(job, call.service.cards.get(job.model), is_new_roll=not how)
    if how:
        asked["mode"] = how
    return _make(request, call, asked)


@router.post("/make")
async def submit(request: Request, call: Calling) -> Response:
    """Accept a prompt and go to its video; show the form again with what is wrong in it."""
    most = call.service.settings.max_body_bytes
    given = await bodies.read(request, call.service, Given, max_bytes=most, forms=True)
    forms.check(request, given.token)
    try:
        id_ = await run_in_threadpool(_accept, bodies.check_texts(CreateVideo, given.typed), given.key, call)
    except (errors.BadRequest, errors.QueueFull) as error:
        return await run_in_threadpool(_make, request, call, given.typed, error)
    return RedirectResponse(f"/videos/{video_id(id_)}", status_code=303)


def _accept(asked: CreateVideo, key: str | None, call: Call) -> UUID:
    with call.begin() as (session, caller):
        return submission.take(session, call, caller, asked, key)[0].id


def _make(request: Request, call: Call, asked: Mapping[str, Any], error: ApiError | None = None) -> HTMLResponse:
    with call.begin() as (session, caller):
        latest = frame.shown(session, job_lists.latest(session, caller.tenant, limit=NUM_LATEST))
        now = frame.now_of(session, call)
    cards, default = list(call.service.cards.values()), call.service.settings.default_model
    values: Values = {"latest": latest, "cards": cards, "default_model": default, "now": now, "asked": asked}
    values |= {"mistake": error.message if error else "", "wrong": error.param if error else ""}
    values |= {"once": secrets.token_urlsafe(12), "examples": words.examples(call.service.cards[default])}
    return frame.page("make.html", request, call, "Make", values, status=400 if error else 200)


@router.get("/queue")
def queue(request: Request, call: Calling) -> HTMLResponse:
    """Show what runs, what waits and what ended last."""
    with call.begin() as (session, caller):
        # in the order of a job's states, so that none is missed
        waiting = job_lists.first_waiting(session, caller.tenant, limit=NUM_WAITING)
        running = job_lists.page(session, caller.tenant, limit=NUM_WAITING, status=[JobStatus.IN_PROGRESS])
        ended = job_lists.last_ended(session, caller.tenant, limit=NUM_ENDED)
        waiting, running, ended = _apart(waiting, running, ended)
        values: Values = {
            "now": frame.now_of(session, call),
            "running": frame.shown(session, running, call),
            "waiting": frame.shown(session, waiting, call),
            "ended": frame.shown(session, ended),
        }
    return frame.page("queue.html", request, call, "Queue", values)


def _apart(*lists: Sequence[Job]) -> list[list[Job]]:
    """Return lists without what an earlier one has: a job that moved between two statements is shown once."""
    places = {job.id: place for place, rows in reversed(list(enumerate(lists))) for job in rows}
    return [[job for job in rows if places[job.id] == place] for place, rows in enumerate(lists)]


@router.get("/library")
def library(
    request: Request,
    call: Calling,
    q: Annotated[str, Query(max_length=200)] = "",
    status: str = "",
    path: str = "",
    model: str = "",
    within: str = "",
    batch_id: str = "",
    after: str = "",
) -> HTMLResponse:
    """Show videos as a wall, filtered; `within` are hours, `after` is the last one of the part before."""
    filters = {"q": q, "status": status, "path": path, "model": model, "within": within, "batch_id": batch_id}
    hours = int(within) if within in dict(WITHIN) else None
    with call.begin() as (session, caller):
        run = video_routes.run_id(session, caller, batch_id) if batch_id else None
        with ids.cursor("video", after) as cursor:
            rows = job_lists.page(
                session,
                caller.tenant,
                limit=NUM_CARDS + 1,
                after=cursor,
                status=[JobStatus(status)] if status in set(JobStatus) else (),
                path=path or None,
                model=model or None,
                words=q.replace("\0", "") or None,
                since=datetime.now(UTC) - timedelta(hours=hours) if hours else None,
                batch_id=run,
            )
        videos, now = frame.shown(session, rows[:NUM_CARDS]), frame.now_of(session, call)
    kept = {name: value for name, value in filters.items() if value}
    more = f"/library?{urlencode({**kept, 'after': videos[-1]['id']})}" if len(rows) > NUM_CARDS else ""
    models = [(name, name) for name in call.service.cards]
    values: Values = {"videos": videos, "filters": filters, "is_filtered": bool(kept), "next": more}
    return frame.page(
        "library.html", request, call, "Library", {**values, "models": models, "spans": WITHIN, "now": now}
    )


@router.get("/videos/{id_}")
def video(request: Request, id_: str, call: Calling) -> HTMLResponse:
    """Show a video with its receipt."""
    with call.begin() as (session, caller), ids.known("video", id_) as known:
        job = jobs.get(session, caller.tenant, known)
        shown, now = frame.shown(session, [job], call)[0], frame.now_of(session, call)
        lent = job_lists.of_ids(session, [ids.parse("video", donor) for donor in shown["donors"]])
        donors = frame.shown(session, [donor for donor in lent if donor.tenant == caller.tenant])
    values: Values = {"now": now, "video": shown, "donors": donors}
    return frame.page("video.html", request, call, "Video", values, title=shown["prompt"][:60])


@router.post("/videos/{id_}/cancel")
def cancel(id_: str, call: Calling, form: Annotated[Act, Depends(frame.form_of(Act))]) -> Response:
    """Cancel a video."""
    video_routes.cancel(id_, call)
    return frame.back(form)


@router.post("/videos/{id_}/again")
def again(id_: str, call: Calling, form: Annotated[Act, Depends(frame.form_of(Act))]) -> Response:
    """Ask for the same once more, as a video of its own, and go to it; whoever asks twice gets to the same one."""
    with call.begin() as (session, caller), ids.known("video", id_) as known:
        job = job_factory.again(jobs.get(session, caller.tenant, known), call.service.cards)
        found = acceptance.replayed(session, job) or submission.accept(session, call.service.limits, caller, job)[0]
        new = found.id
    return RedirectResponse(f"/videos/{video_id(new)}", status_code=303)


@router.post("/videos/{id_}/delete")
def delete(id_: str, call: Calling, form: Annotated[Act, Depends(frame.form_of(Act))]) -> Response:
    """Remove a video."""
    video_routes.delete(id_, call)
    return RedirectResponse("/library", status_code=303)


@router.post("/videos/{id_}/wrong-match")
def mark_wrong(id_: str, call: Operating, form: Annotated[Act, Depends(frame.form_of(Act))]) -> Response:
    """Say that the stored videos that one was made of do not fit."""
    video_routes.mark_wrong(id_, call)
    return frame.back(form)


@router.post("/videos/{id_}/right-match")
def mark_right(id_: str, call: Operating, form: Annotated[Act, Depends(frame.form_of(Act))]) -> Response:
    """Take that back."""
    video_routes.mark_right(id_, call)
    return frame.back(form)


@router.get("/cache")
def cache(request: Request, call: Operating, days: cache_routes.Days = 7) -> HTMLResponse:
    """Show whether the cache is worth its bytes, of all tenants; and the caller's last hits."""
    with call.begin() as (session, caller):
        rows = job_lists.page(session, caller.tenant, limit=NUM_HITS, status=[JobStatus.COMPLETED], path="fast")
        hits = [row for row in frame.shown(session, rows) if row["matched"]]
        now = frame.now_of(session, call)
    values = {"now": now, "cache": words.cache(cache_routes.figures(call, days)), "hits": hits}
    return frame.page("cache.html", request, call, "Cache", {**values, "days": days, "spans": SPANS})


@router.get("/workers")
def workers(request: Request, call: Calling) -> HTMLResponse:
    """Show every part that gives signs of life, what it does and what went wrong last."""
    with call.begin() as (session, caller):
        beats = heartbeats.seen(session, "worker") + heartbeats.seen(session, "relay")
        faults, busy = metrics.last_faults(session), job_lists.in_progress(session)
        parts = [_part(beat, busy, faults, caller) for beat in beats]
        now = frame.now_of(session, call)
    shown = {"now": now, "parts": parts, "flower_url": call.service.settings.flower_url}
    return frame.page("workers.html", request, call, "Workers", shown)


@router.get("/signin")
def sign_in(request: Request, service: Owned, next: str = "/") -> Response:
    """Ask for a key, where one is needed."""
    if not service.settings.needs_keys:
        return RedirectResponse("/", status_code=303)
    return _sign_in(request, next)


@router.post("/signin")
async def signed_in(request: Request, service: Owned) -> Response:
    """Keep a key in a cookie, if it is a live one."""
    form = await bodies.read(request, service, SignIn, max_bytes=service.settings.max_body_bytes, forms=True)
    forms.check(request, form.token)
    try:
        check_scope(await run_in_threadpool(caller_of, service, form.key.strip()))
    except ApiError as error:
        return _sign_in(request, form.next, error)
    answer = RedirectResponse(forms.own(form.next), status_code=303)
    forms.keep(answer, request, KEY_COOKIE, form.key.strip(), life_s=forms.KEY_LIFE_S)
    return answer


@router.post("/signout")
def sign_out(request: Request, form: Annotated[Act, Depends(frame.form_of(Act))]) -> Response:
    """Forget the key."""
    answer = RedirectResponse("/signin", status_code=303)
    forms.forget(answer, request, KEY_COOKIE)
    return answer


@router.get("/docs")
def docs(request: Request, service: Owned) -> HTMLResponse:
    """Show the API's document, with nothing from elsewhere."""
    base = str(request.base_url).rstrip("/") + header_fields.prefix(request.scope)
    values: Values = {"tags": reference.tags(request.app.openapi()), "base": base}
    values |= {"title": "The HTTP API", "examples": words.examples(service.cards[service.settings.default_model])}
    return frame.plain("reference.html", request, values)


def _sign_in(request: Request, place: str, error: ApiError | None = None) -> HTMLResponse:
    values = {"title": "Sign in", "next": forms.own(place), "mistake": error.message if error else ""}
    return frame.plain("signin.html", request, values, status=401 if error else 200)


def _as_asked(job: Job, card: ModelCard | None, *, is_new_roll: bool) -> Values:
    """Return the form's fields for a request like an earlier one, leaving out those that its model would choose anyway.

    Another version of a video with a donor's layout gets its own seed.
    """
    has_own_length = card is None or job.num_frames != card.default_frames
    asked = {
        "prompt": job.prompt,
        "model": job.model,
        "size": f"{job.width}x{job.height}",
        "seconds": job.request.get("seconds") or (f"{job.num_frames / job.fps:g}" if has_own_length else None),
        "fps": job.fps if card is None or job.fps != card.fps else None,
        "mode": job.mode,
        "negative_prompt": job.negative_prompt,
        "num_inference_steps": job.num_inference_steps,
        "guidance_scale": job.guidance_scale,
        "seed": secrets.randbelow(1 << 31) if is_new_roll and job.receipt.get("layout") == "donor" else None,
        "metadata": job.user_metadata or None,
    }
    return {name: value for name, value in asked.items() if value is not None}


def _part(beat: heartbeats.Beat, busy: list[Job], faults: Mapping[str, metrics.Fault], caller: Caller) -> Values:
    owner = beat.name.partition(":")[2]
    fault = faults.get(owner)
    return {
        "name": beat.name,
        "is_worker": beat.name.startswith("worker"),
        "is_alive": beat.age_s < NOT_THERE_S,
        "age": f"{duration(beat.age_s)} ago",
        "jobs": [_work(job, caller) for job in busy if job.lease_owner == owner],
        "says": [
            (_SAYS.get(name, name.replace("_", " ")), _told(value))
            for name, value in beat.detail.items()
            if value not in (None, "", [], {})
        ],
        "fault": f"{fault.outcome}{f' ({fault.reason})' if fault.reason else ''}" if fault else "",
        "fault_at": fault.at if fault else None,
    }


_SAYS = {"is_fit": "takes jobs", "reason": "why not", "broker": "waiting in the broker"}


def _work(job: Job, caller: Caller) -> Values:
    is_own = job.tenant == caller.tenant
    step = f"step {job.step} of {job.num_steps}" if job.step is not None else "at its start"
    own = {"id": video_id(job.id), "prompt": job.prompt} if is_own else {"id": "", "prompt": ""}
    return {**own, "step": step, "claimed": job.claimed_at}


def _told(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return ", ".join(f"{name} {_told(one)}" for name, one in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
