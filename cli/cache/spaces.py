"""What every command on namespaces asks of its arguments."""

from typing import TYPE_CHECKING, Any

from cli.errors import BadInput

if TYPE_CHECKING:
    from uuid import UUID

    from sqlalchemy.orm import Session

    from db.models import Namespace


def find_space(session: "Session", beginning: str) -> "Namespace":
    """Return the namespace whose id begins so; raise `BadInput` unless it is one."""
    from db import namespaces

    found = [space for space in namespaces.every(session) if beginning and str(space.id).startswith(beginning)]
    if len(found) != 1:
        raise BadInput(f"NAMESPACE {beginning!r} names {len(found)} namespaces; `chai cache ls` lists them")
    return found[0]


def find_id(session: "Session", beginning: str | None) -> "UUID | None":
    """Return the id of the namespace that is named, None for all of them; raise `BadInput` unless it is one."""
    return None if beginning is None else find_space(session, beginning).id


def checked_settings(text: str) -> dict[str, Any]:
    """Return the settings of a namespace that `--settings` gives; raise `BadInput` for what cannot be."""
    from pydantic import ValidationError

    from worker.cache.namespaces import SpaceSettings

    try:
        checked = SpaceSettings.model_validate_json(text)
        checked.matching("")  # checks the thresholds too
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "JSON"
        raise BadInput(f"--settings {where}: {first['msg']}") from error
    except ValueError as error:
        raise BadInput(f"--settings match: {error}") from error
    return checked.model_dump(mode="json", exclude_unset=True)
