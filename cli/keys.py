"""`chai keys`: API keys, written straight to the database by whoever may read its password."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from cli import local, output
from cli.errors import BadInput

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

app = typer.Typer(help="Create, list and revoke API keys.", no_args_is_help=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


@app.command()
def create(
    tenant: Annotated[str, typer.Argument(help="Whose videos and cache the key reaches.")],
    group: Annotated[str | None, typer.Option(help="Group whose shared caches it may use.")] = None,
    scope: Annotated[list[str] | None, typer.Option(help="jobs, admin; may be repeated.")] = None,
    as_json: AsJson = False,
) -> None:
    """Make a key and show it for the only time."""
    from db import keys

    scopes = scope or ["jobs"]
    if unknown := [name for name in scopes if name not in keys.ALL_SCOPES]:
        raise BadInput(f"--scope {unknown[0]!r} is unknown; choose from {', '.join(keys.ALL_SCOPES)}")
    if not tenant.strip():
        raise BadInput("TENANT is empty; name who will use the key")
    with _session() as session:
        key, row = keys.create(session, tenant, group=group, scopes=scopes)
        prefix = row.prefix
    if as_json:
        output.print_json({"key": key, "prefix": prefix, "tenant": tenant, "group": group, "scopes": scopes})
        return
    print(key)
    output.note(f"Shown once; keep it safe. Use it as CHAI_API_KEY. Revoke it with `chai keys revoke {prefix}`.")


@app.command("ls")
def list_(as_json: AsJson = False) -> None:
    """List keys; the secret part is not kept and cannot be shown."""
    from db import keys

    with _session() as session:
        rows = [
            {
                "prefix": row.prefix,
                "tenant": row.tenant,
                "group": row.group or "",
                "scopes": " ".join(row.scopes),
                "created": f"{row.created_at:%Y-%m-%d %H:%M}",
                "state": "revoked" if row.revoked_at else "live",
            }
            for row in keys.every(session)
        ]
    if as_json:
        output.print_json(rows)
    else:
        output.print_table(
            ("prefix", "tenant", "group", "scopes", "created", "state"), [tuple(row.values()) for row in rows]
        )


@app.command()
def revoke(prefix: Annotated[str, typer.Argument(help="As `chai keys ls` shows it.")]) -> None:
    """End a key at once."""
    from db import keys
    from db.errors import NotFound

    try:
        with _session() as session:
            keys.revoke(session, prefix)
    except NotFound as error:
        raise BadInput(str(error)) from error
    output.note(f"revoked {prefix}")


@contextmanager
def _session() -> "Iterator[Session]":
    from db.session import connect, sessions, transaction

    engine = connect(local.database_url(), pool_size=1, application="chai-cli")
    try:
        with transaction(sessions(engine)) as session:
            yield session
    finally:
        engine.dispose()
