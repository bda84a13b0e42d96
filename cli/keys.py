"""`chai keys`: API keys, written directly to the database by anybody who can read its password."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from cli import local, output
from cli.arguments import App, AsJson
from cli.errors import BadInput
from shared.limits import A_CENTURY

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from db.models import ApiKey

app = App(help="Create, list, limit and revoke API keys.", no_args_is_help=True)

NONE = "none"
LONGEST_NAME = 200  # characters of a tenant or group
SCOPES = "jobs (make and look), read (look alone), admin; may be repeated."
COLUMNS = ("prefix", "tenant", "group", "scopes", "limits", "created", "expires", "used", "state")
_LIFE = re.compile(r"(\d{1,6})\s*([mhdw])", re.ASCII)
_UNIT = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}

Prefix = Annotated[str, typer.Argument(metavar="PREFIX", help="As `chai keys ls` shows it.")]
Scope = Annotated[list[str] | None, typer.Option(help=SCOPES)]
MaxQueued = Annotated[str | None, typer.Option(metavar="NUMBER", help="Videos that may wait at once, or none.")]
PerMinute = Annotated[str | None, typer.Option(metavar="NUMBER", help="New videos a minute, or none.")]
GpuSeconds = Annotated[str | None, typer.Option(metavar="SECONDS", help="GPU seconds within a day, or none.")]
Life = Annotated[str | None, typer.Option(metavar="TIME", help="Ends after 12h, 30d or 8w from now, or none.")]


@app.command()
def create(
    tenant: Annotated[str, typer.Argument(metavar="TENANT", help="Whose videos and cache the key reaches.")],
    group: Annotated[str | None, typer.Option(help="Group whose shared caches it may use.")] = None,
    scope: Scope = None,
    max_queued: MaxQueued = None,
    max_per_minute: PerMinute = None,
    max_gpu_seconds: GpuSeconds = None,
    life: Life = None,
    as_json: AsJson = False,
) -> None:
    """Make a key and show it for the only time."""
    from db import keys

    scopes = _scopes(scope or ["jobs"])
    _check_name("TENANT", tenant, "name who will use the key")
    if group is not None:
        _check_name("--group", group, "name one, or leave it out")
    limits = _limits(max_queued, max_per_minute, max_gpu_seconds)
    lasts = None if life is None else _life(life)
    with _session() as session:
        key, row = keys.create(session, tenant, group=group, scopes=scopes, life=lasts)
        keys.limit(session, row.prefix, **limits)
        prefix = row.prefix
    if as_json:
        made = {"key": key, "prefix": prefix, "tenant": tenant, "group": group, "scopes": scopes}
        output.print_json({**made, "limits": {name: value for name, value in limits.items() if value is not None}})
        return
    print(key)
    output.note(f"Shown once; keep it safe. Use it as CHAI_API_KEY. Revoke it with `chai keys revoke {prefix}`.")


@app.command("ls")
def list_(as_json: AsJson = False) -> None:
    """List keys; the secret part is not kept and cannot be shown."""
    from db import keys

    with _session() as session:
        rows = [_shown(row) for row in keys.every(session)]
    if as_json:
        output.print_json(rows)
    else:
        output.print_table(COLUMNS, [tuple(row[name] for name in COLUMNS) for row in rows])


@app.command("set")
def set_(
    prefix: Prefix,
    scope: Scope = None,
    max_queued: MaxQueued = None,
    max_per_minute: PerMinute = None,
    max_gpu_seconds: GpuSeconds = None,
    life: Life = None,
    as_json: AsJson = False,
) -> None:
    """Change what a key may do; what is not named stays, and none lifts a limit."""
    from db import keys

    scopes = _scopes(scope) if scope else None
    limits = _limits(max_queued, max_per_minute, max_gpu_seconds)
    if not (scopes or limits or life is not None):
        raise BadInput("nothing to change; name a limit, --scope or --life")
    lasts = None if life is None else _life(life)
    with _named(), _session() as session:
        row = keys.limit(session, prefix, **limits)
        if scopes:
            keys.set_scopes(session, prefix, scopes)
        if life is not None:
            keys.expire(session, prefix, lasts)
        shown = _shown(row)
    if as_json:
        output.print_json(shown)
    else:
        output.print_table(COLUMNS, [tuple(shown[name] for name in COLUMNS)])


@app.command()
def revoke(prefix: Prefix) -> None:
    """End a key at once, and the streams that it opened within seconds."""
    from db import keys

    with _named(), _session() as session:
        keys.revoke(session, prefix)
    output.note(f"revoked {prefix}")


def _shown(row: "ApiKey") -> dict[str, str]:
    is_over = row.expires_at is not None and row.expires_at <= datetime.now(UTC)
    return {
        "prefix": row.prefix,
        "tenant": row.tenant,
        "group": row.group or "",
        "scopes": " ".join(row.scopes),
        "limits": " ".join(f"{name}={value:g}" for name, value in sorted(row.limits.items())),
        "created": f"{row.created_at:%Y-%m-%d %H:%M}",
        "expires": f"{row.expires_at:%Y-%m-%d %H:%M}" if row.expires_at else "",
        "used": f"{row.last_used_at:%Y-%m-%d %H:%M}" if row.last_used_at else "",
        "state": "revoked" if row.revoked_at else "expired" if is_over else "live",
    }


def _check_name(field: str, name: str, way_out: str) -> None:
    """Raise `BadInput` for an empty name, and for one that a table cannot show as it is."""
    if not name.strip():
        raise BadInput(f"{field} is empty; {way_out}")
    if name != name.strip():
        raise BadInput(f"{field} {name!r} begins or ends with a space; write {name.strip()!r}")
    if len(name) > LONGEST_NAME:
        raise BadInput(f"{field} has {len(name)} characters; use at most {LONGEST_NAME}")
    if not name.isprintable():
        raise BadInput(f"{field} {name!r} holds a character that cannot be printed; use letters and digits")


def _scopes(given: list[str]) -> list[str]:
    from db import keys

    if unknown := [name for name in given if name not in keys.ALL_SCOPES]:
        raise BadInput(f"--scope {unknown[0]!r} is unknown; choose from {', '.join(keys.ALL_SCOPES)}")
    return list(dict.fromkeys(given))


def _limits(max_queued: str | None, max_per_minute: str | None, max_gpu_seconds: str | None) -> dict[str, float | None]:
    """Return the limits that were named; None lifts one."""
    given = {"max_queued": max_queued, "max_per_minute": max_per_minute, "max_gpu_seconds": max_gpu_seconds}
    return {name: _number(name, text) for name, text in given.items() if text is not None}


def _number(name: str, text: str) -> float | None:
    if text == NONE:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        option = name.replace("_", "-")
        raise BadInput(f"--{option} {text!r} is not a whole number from 0 on; write one, or {NONE} for no limit")
    return int(text)


def _life(text: str) -> timedelta | None:
    if text == NONE:
        return None
    match = _LIFE.fullmatch(text.strip())
    if match is None:
        raise BadInput(f"--life {text!r} is not a time; write it like 12h, 30d or 8w, or {NONE}")
    life = timedelta(**{_UNIT[match[2]]: int(match[1])})
    if not timedelta() < life <= timedelta(days=A_CENTURY):
        raise BadInput(f"--life {text!r} is not between a minute and a century; write {NONE} for a key that stays")
    return life


@contextmanager
def _named() -> Iterator[None]:
    from db.errors import NotFound

    try:
        yield
    except NotFound as error:
        raise BadInput(str(error)) from error


@contextmanager
def _session() -> "Iterator[Session]":
    from db.session import connect, sessions, transaction

    engine = connect(local.database_url(), pool_size=1, application="chai-cli")
    try:
        with transaction(sessions(engine)) as session:
            yield session
    finally:
        engine.dispose()
