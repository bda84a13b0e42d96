"""Arguments shared by all commands on namespaces."""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, get_type_hints

from cli.errors import BadInput

if TYPE_CHECKING:
    from uuid import UUID

    from pydantic import ValidationError
    from sqlalchemy.orm import Session

    from db.models import Namespace
    from worker.cache.namespaces import SpaceSettings

KEPT = ("nearest", "same_index", "entry")  # latents that a namespace may keep


def find_space(session: "Session", beginning: str) -> "Namespace":
    """Return the namespace whose id begins like this; raise `BadInput` unless there is exactly one."""
    from db import namespaces

    found = [space for space in namespaces.every(session) if beginning and str(space.id).startswith(beginning)]
    if len(found) != 1:
        raise BadInput(f"NAMESPACE {beginning!r} names {len(found)} namespaces; `chai cache ls` lists them")
    return found[0]


def find_id(session: "Session", beginning: str | None) -> "UUID | None":
    """Return the id of the named namespace, None for all of them; raise `BadInput` unless there is exactly one."""
    return None if beginning is None else find_space(session, beginning).id


def of_another(theirs: str, ours: str) -> str:
    """Say that the stored entries were embedded by an embedder other than this machine's."""
    return (
        f"what is stored was embedded by {theirs}, and CHAI_EMBEDDER names {ours} here, for which the cache is empty; "
        "set it as the workers have it, or move what is stored with `chai cache reembed`"
    )


def checked_settings(text: str) -> dict[str, Any]:
    """Return the namespace settings in `--settings`; raise `BadInput` for invalid ones."""
    from pydantic import ValidationError

    from worker.cache.namespaces import SpaceSettings

    try:
        checked = SpaceSettings.model_validate_json(text)
    except ValidationError as error:
        raise _refused("", error) from error
    _check_kinds(checked.match)
    try:
        checked.matching("")  # checks the thresholds too
    except ValueError as error:
        raise BadInput(f"--settings match: {error}") from error
    _check_names(checked)
    return checked.model_dump(mode="json", exclude_unset=True)


def _check_kinds(match: Mapping[str, Any]) -> None:
    """Raise `BadInput` for a value that should be a number, or a truth value, but is not."""
    from pydantic import TypeAdapter, ValidationError

    from worker.cache.decisions.match_settings import MatchSettings

    for name, kind in get_type_hints(MatchSettings).items():
        if name in match:
            try:
                TypeAdapter(kind).validate_json(json.dumps(match[name]), strict=True)
            except ValidationError as error:
                raise _refused(f"match.{name}", error) from error


def _check_names(checked: "SpaceSettings") -> None:
    """Raise `BadInput` for an unknown extractor, at which every job would fail, and for unknown latents."""
    from worker.cache import planner

    try:
        planner.extractor(checked.extractor)
    except ValueError as error:
        raise BadInput(f"--settings extractor: {error}") from error
    for name in checked.keep or ():
        if name not in KEPT:
            raise BadInput(f"--settings keep: {name!r} is unknown; choose from {', '.join(KEPT)}")


def _refused(where: str, error: "ValidationError") -> BadInput:
    first = error.errors()[0]
    return BadInput(f"--settings {where or '.'.join(map(str, first['loc'])) or 'JSON'}: {first['msg']}")
