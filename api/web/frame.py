"""What all pages have in common: refusals in HTML, forms with a token, the bar on top."""

from collections.abc import Awaitable, Callable, Coroutine
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, RedirectResponse
from fastapi.routing import APIRoute
from sqlalchemy.orm import Session

from api import bodies, errors, explain, header_fields
from api.deps import Call, Owned, Service
from api.errors import ApiError, Unauthorized
from api.same_site import SAFE
from api.web import forms, render, words
from api.web.forms import KEY_COOKIE, TOKEN_COOKIE, Act
from db import job_lists, metrics
from db.errors import NotFound
from db.models import Job
from db.states import JobStatus

Values = dict[str, Any]  # Any: what templates show
Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class PageRoute(APIRoute):
    """A route whose refusals are HTML, and that redirects to the sign-in if a key is needed."""

    def get_route_handler(self) -> Handler:
        """Return the handler with refusals as pages."""
        handle = super().get_route_handler()

        async def answer(request: Request) -> Response:
            try:
                return await handle(request)
            except Unauthorized:
                return RedirectResponse(f"/signin?next={quote(_place(request))}", status_code=303)
            except (ApiError, NotFound) as error:
                return _refusal(request, error)
            except RequestValidationError as error:
                problem = explain.first(error.errors())
                return _refusal(request, errors.BadRequest(problem.message, param=problem.param, code=problem.code))

        return answer


def _place(request: Request) -> str:
    """Return the page that a request is for; for a form, the page that contains it."""
    if request.method in SAFE:
        return request.url.path + (f"?{request.url.query}" if request.url.query else "")
    path = "/" + request.headers.get("referer", "").partition("://")[2].partition("/")[2]
    return path.removeprefix(header_fields.prefix(request.scope)) or "/"


def form_of(model: type[Any]) -> Callable[[Request, Service], Awaitable[Any]]:  # Any: the model that is asked for
    """Return the dependency that reads a page's form and checks its token."""

    async def read(request: Request, service: Owned) -> Any:  # Any: as above
        most = service.settings.max_body_bytes
        form = await bodies.read(request, service, model, max_bytes=most, forms=True)
        forms.check(request, form.token)
        return form

    return read


def back(form: Act) -> Response:
    """Redirect to the page that contains a form."""
    return RedirectResponse(forms.own(form.back), status_code=303)


def page(
    template: str, request: Request, call: Call, view: str, values: Values, *, title: str = "", status: int = 200
) -> HTMLResponse:
    """Return a page for the signed-in caller, with the bar at the top."""
    has_key = call.service.settings.needs_keys and KEY_COOKIE in request.cookies
    operates = "admin" in call.caller.scopes
    frame = {"title": title or view, "view": view, "signed_in": True, "has_key": has_key, "operates": operates}
    return plain(template, request, {**frame, **values}, status=status)


def plain(template: str, request: Request, values: Values, *, status: int = 200) -> HTMLResponse:
    """Return a page that needs no key."""
    token, here = forms.token_of(request), _place(request)
    is_open = not request.app.state.service.settings.needs_keys
    frame = {
        "view": "",
        "signed_in": is_open,
        "has_key": False,
        "operates": is_open,
        "now": None,
        "mistake": "",
        "here": here,
        "root": header_fields.prefix(request.scope),
        "at_ms": round(datetime.now(UTC).timestamp() * 1000),
    }
    answer = render.page(template, {**frame, "token": token, **values}, status=status)
    if TOKEN_COOKIE not in request.cookies:
        forms.keep(answer, request, TOKEN_COOKIE, token)
    return answer


def _refusal(request: Request, error: Exception) -> HTMLResponse:
    said = errors.answer(error)
    title = "Not here" if said.status_code == 404 else "That did not work"
    values = {"title": title, "mistake": errors.describe(error).message}
    return plain("error.html", request, values, status=said.status_code)


def now_of(session: Session, call: Call) -> Values:
    """Return the contents of the bar at the top."""
    counts = job_lists.open_counts(session, call.caller.tenant)
    running = job_lists.page(session, call.caller.tenant, limit=1, status=[JobStatus.IN_PROGRESS])
    return {
        "running": counts.get(JobStatus.IN_PROGRESS, 0),
        "waiting": counts.get(JobStatus.QUEUED, 0),
        "workers": call.service.estimates.num_workers(session) or 0,
        "progress": running[0].progress if running else 0,
        "path": (running[0].path or "") if running else "",
    }


def shown(session: Session, rows: list[Job], call: Call | None = None) -> list[Values]:
    """Return what cards and rows show of videos; with a call, also when they will be done."""
    figures = metrics.of_jobs(session, rows)
    estimate = call.service.estimates.of if call else None
    return [
        words.video(row, estimate=estimate(session, row) if estimate else None, metric=figures.get(row.id))
        for row in rows
    ]
