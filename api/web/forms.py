"""The page's forms. Each has a token that another site's page cannot know."""

import hashlib
import json
import secrets
from hmac import compare_digest
from typing import Annotated, Literal

from fastapi import Request, Response
from pydantic import BaseModel, ConfigDict, Field

from api import header_fields
from api.errors import Forbidden

TOKEN_COOKIE = "chai_form"  # noqa: S105 - the name of a cookie
KEY_COOKIE = "chai_key"
KEY_LIFE_S = 7 * 86_400

Token = Annotated[str, Field(max_length=100)]
Place = Annotated[str, Field(max_length=2000)]


class Act(BaseModel):
    """A button."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    token: Token = ""
    back: Place = "/"


class Retry(Act):
    """Which lines of a bulk run are made again."""

    only: Literal["failed", "cancelled"] | None = None


class SetTimes(Act):
    """When lines of a bulk run may start; at any time if both times are left out."""

    start: Annotated[str, Field(max_length=8)] = ""
    end: Annotated[str, Field(max_length=8)] = ""
    tz: Annotated[str, Field(max_length=60)] = "UTC"
    at_end: Literal["finish", "stop"] | None = None  # left out: unchanged


class SignIn(BaseModel):
    """A key to be kept in a cookie."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    token: Token = ""
    key: Annotated[str, Field(max_length=200)]
    next: Place = "/"


class Given(BaseModel):
    """A request for a video as typed, checked only where the form can be shown again."""

    model_config = ConfigDict(extra="allow", frozen=True)

    token: Token = ""
    once: Token = ""  # unique to this copy of the form

    @property
    def key(self) -> str | None:
        """A key that no header can carry: sending a form twice makes one video, or two if it was changed in between."""
        said = json.dumps([self.once, self.typed], sort_keys=True)
        return f"\N{PENCIL} {hashlib.sha256(said.encode()).hexdigest()}" if self.once else None

    @property
    def typed(self) -> dict[str, str | dict[str, str]]:
        """The fields that were filled in, with metadata by name."""
        given = self.model_extra or {}
        return {name: value for name, value in given.items() if isinstance(value, str) or name == "metadata"}


def token_of(request: Request) -> str:
    """Return the token of this browser; a new one if it has none."""
    return request.cookies.get(TOKEN_COOKIE) or secrets.token_urlsafe(24)


def check(request: Request, token: str) -> None:
    """Raise Forbidden unless the form was made for this browser."""
    known = request.cookies.get(TOKEN_COOKIE, "")
    if not known or not compare_digest(known.encode(), token.encode()):
        raise Forbidden("this form is too old, or another site made it; load the page again", code="form_token")


def keep(response: Response, request: Request, name: str, value: str, *, life_s: int | None = None) -> None:
    """Set a cookie that scripts cannot read and other sites cannot send."""
    secure, path = request.url.scheme == "https", _path(request)
    response.set_cookie(name, value, max_age=life_s, path=path, httponly=True, samesite="strict", secure=secure)


def forget(response: Response, request: Request, name: str) -> None:
    """Delete a cookie."""
    response.delete_cookie(name, path=_path(request))


def _path(request: Request) -> str:
    return header_fields.prefix(request.scope) or "/"


def own(place: str) -> str:
    """Return a path of this service to redirect to; the start page for anything else."""
    is_own = place.startswith("/") and not place.startswith(("//", "/\\")) and place.isprintable() and place.isascii()
    return place if is_own else "/"
