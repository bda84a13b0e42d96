"""`chai cache`: look into the latent cache, warm it, purge it, change its policy; straight on database and storage."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer

from cli import local, output
from cli.arguments import App, AsJson, only_with
from cli.bulk import commands as bulk
from cli.cache import export, questions, replays, report, simulate
from cli.cache.spaces import checked_settings, find_id, find_space
from cli.errors import BadInput
from shared.ids import video_id

if TYPE_CHECKING:
    from sqlalchemy.orm import Session, sessionmaker

    from db.models import CacheEntry, Namespace
    from shared.storage import Storage
    from worker.models.embedder import Embedder

app = App(add_completion=False, help="Look into the cache, ask it, warm it, purge it.", no_args_is_help=True)
for _name, _command in questions.COMMANDS.items():
    app.command(_name)(_command)
app.command()(simulate.simulate)
app.command()(report.report)
app.command()(export.export)

SpaceId = Annotated[str, typer.Argument(metavar="NAMESPACE", help="As `chai cache ls` shows it; a beginning will do.")]

MIB = 1024 * 1024
MOST_MIB = 2**42  # the bytes fit into 64 bits


@dataclass(frozen=True, slots=True, kw_only=True)
class _Store:
    """Where rows and files are."""

    factory: "sessionmaker[Session]"
    storage: "Storage"


@app.command()
def ls(
    namespace: Annotated[str | None, typer.Argument(metavar="NAMESPACE", help="Show the entries of this one.")] = None,
    status: Annotated[str | None, typer.Option(help="writing, resident, evicting, quarantined or gone.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="How many entries, the newest first; else 50.")] = None,
    as_json: AsJson = False,
) -> None:
    """List namespaces, or the entries of one."""
    from db import cache, namespaces

    only_with("NAMESPACE or --status", is_given=namespace or status, limit=limit)
    with _open() as store, store.factory() as session:
        if namespace is None and status is None:
            rows = [_space_row(session, space) for space in namespaces.every(session)]
        else:
            space_id = find_id(session, namespace)
            found = cache.listing(session, namespace_id=space_id, status=_status(status), limit=limit or 50)
            rows = [_entry_row(entry) for entry in found]
    _print(rows, as_json=as_json)


@app.command()
def show(
    entry_id: Annotated[str, typer.Argument(metavar="ENTRY", help="As `chai cache ls NAMESPACE` shows it.")],
    as_json: AsJson = False,
) -> None:
    """Show one entry: what it holds, what it is found by, what it served."""
    from db import cache, namespaces
    from db.errors import NotFound

    with _open() as store, store.factory() as session:
        try:
            entry = cache.entry(session, _uuid(entry_id))
        except NotFound as error:
            raise BadInput(f"{error}; `chai cache ls NAMESPACE` lists them") from error
        space = namespaces.of(session, entry)
        events = [event for event in cache.events(session, space) if event.entry_id == entry.id]
        found = {
            **_entry_row(entry),
            "file": entry.name,
            "sha256": entry.sha256,
            "reason": entry.reason,
            "seed": entry.seed,
            "full_seconds": round(entry.full_seconds, 3),
            "entities": [item.text for item in cache.entities(session, [entry.id]).get(entry.id, [])],
            "tensors": entry.tensors,
            "hits": sum(event.kind == "hit" for event in events),
        }
    if as_json:
        output.print_json(found)
    else:
        output.print_table(("", ""), [(name, json.dumps(value, default=str)) for name, value in found.items()])


@app.command()
def purge(
    tenant: Annotated[str | None, typer.Option(help="Everything that came from this tenant's videos.")] = None,
    job: Annotated[str | None, typer.Option(help="Everything that came from this video.")] = None,
    before: Annotated[str | None, typer.Option(help="Everything older, as 2026-11-01 or 2026-11-01T08:00.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Everything.")] = False,
    as_json: AsJson = False,
) -> None:
    """Remove latents from every look-up and from storage; the options narrow each other down.

    A running job that uses one of them ends as it would have; the next finds nothing.
    """
    from api.sweeps import sweep_entries

    if everything == any((tenant, job, before)):
        raise BadInput("purge takes --tenant, --job or --before, or --all for everything")
    which = {"tenant": tenant, "job_id": _video(job), "before": _time(before)}
    with _open() as store:
        removed: list[CacheEntry] = []
        while by_space := _resident(store, which):  # repeat: an entry moved meanwhile is now in another namespace
            gone = [entry for id_, ids in by_space.items() for entry in _evict(store, id_, ids)]
            if not gone:
                break
            removed += gone
        sweep_entries(store.storage, store.factory, quarantine_s=0)
    num_bytes = sum(entry.num_bytes for entry in removed)
    if as_json:
        output.print_json({"entries": len(removed), "bytes": num_bytes})
    else:
        output.note(f"purged {len(removed)} entries, {num_bytes / MIB:.1f} MiB")


def _resident(store: _Store, which: Mapping[str, Any]) -> dict[UUID, list[UUID]]:  # Any: as `cache.resident` takes it
    """Return the entries that serve look-ups, by namespace."""
    from db import cache
    from db.session import transaction

    by_space: dict[UUID, list[UUID]] = {}
    with transaction(store.factory) as session:
        for entry in cache.resident(session, **which):
            by_space.setdefault(entry.namespace_id, []).append(entry.id)
    return by_space


def _evict(store: _Store, space_id: UUID, ids: list[UUID]) -> "list[CacheEntry]":
    from db import cache, namespaces
    from db.session import transaction

    with transaction(store.factory) as session:
        space = namespaces.lock(session, space_id)
        return cache.evict(session, space, ids, policy="purge", reason="purged by the operator", even_pinned=True)


@app.command()
def warm(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="prompts.txt, .csv, .jsonl or .parquet; a folder of lists; - reads stdin.",
        ),
    ],
    model: Annotated[str | None, typer.Option(help="Model, for lines that do not say.")] = None,
    size: Annotated[str | None, typer.Option(help="WIDTHxHEIGHT, for lines that do not say.")] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Run every prompt in full, also those that share an entity already.")
    ] = False,
    detach: Annotated[bool, typer.Option("--detach", help="Submit and leave.")] = False,
    as_json: AsJson = False,
) -> None:
    """Fill the cache from a list of prompts, as a bulk run; prompts that find a donor already only confirm it."""
    bulk.run(file, mode="full" if everything else "auto", model=model, size=size, detach=detach, as_json=as_json)


@app.command()
def reembed(
    namespace: Annotated[
        str | None, typer.Argument(metavar="NAMESPACE", help="This one alone; else all with another embedder.")
    ] = None,
    embedder: Annotated[str | None, typer.Option(help="use, minilm ...; else the service's, CHAI_EMBEDDER.")] = None,
    as_json: AsJson = False,
) -> None:
    """Move what is stored to another embedder, words embedded anew, beside the running service.

    Stop it at any time and start it again: what has moved has moved, the rest is found as before.
    """
    try:
        loaded = replays.load_embedder(embedder)
        with _open() as store:
            rows = [_reembedded(store, space_id, loaded) for space_id in _of_other_embedders(store, namespace, loaded)]
    except KeyboardInterrupt:
        output.note("\nstopped: what has moved has moved; the same command moves the rest")
        raise typer.Exit(130) from None
    if as_json or rows:
        _print(rows, as_json=as_json)
    else:
        output.note(f"nothing to do: no entry was stored with another embedder than {loaded.name}")


def _of_other_embedders(store: _Store, namespace: str | None, embedder: "Embedder") -> list[UUID]:
    from worker.cache import reembed as moves

    with store.factory() as session:
        spaces = moves.find(session, embedder)
        chosen = find_id(session, namespace)
        return [space.id for space in spaces if chosen in (None, space.id)]


def _reembedded(store: _Store, space_id: UUID, embedder: "Embedder") -> dict[str, Any]:
    """Move the entries of one namespace; return the result."""
    from db import namespaces
    from db.models import Namespace
    from db.session import transaction
    from worker.cache import reembed as moves

    with transaction(store.factory) as session:
        source = session.get_one(Namespace, space_id)
        move, total = moves.begin(session, source, embedder), namespaces.num_resident(session, source)
    moved = 0
    with output.Meter(total) as meter:
        while number := moves.step(store.factory, move, embedder):
            moved += number
            meter.show(min(moved, total), f"{moved} of {total} entries moved")
    with store.factory() as session:
        left = namespaces.num_resident(session, session.get_one(Namespace, move.source))
    if left:
        output.note(
            f"{left} entries stay in {str(move.source)[:8]}: running jobs hold them, or {str(move.target)[:8]} has no "
            "room for them; raise its budget with `chai cache set`, or do this again later"
        )
    return {"from": str(move.source)[:8], "to": str(move.target)[:8], "moved": moved, "left": left}


@app.command("set")
def set_(
    namespace: SpaceId,
    budget_mib: Annotated[
        float | None,
        typer.Option(
            "--budget-mib", "--budget", min=0, max=MOST_MIB, help="Byte budget in MiB; what is over goes by the policy."
        ),
    ] = None,
    policy: Annotated[str | None, typer.Option(help="Eviction policy; docs/cache.md lists them.")] = None,
    admission: Annotated[str | None, typer.Option(help="all or second_sighting.")] = None,
    tenant_share: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Share of the budget that one tenant may use, as 0.25; 0: all of it."),
    ] = None,
    settings: Annotated[str | None, typer.Option(help='JSON, as {"match": {"same_threshold": 0.85}}.')] = None,
) -> None:
    """Change a namespace while jobs run, all of it or nothing; what is not given stays."""
    from worker.cache.eviction import ADMISSIONS, POLICIES

    _choose("--policy", policy, POLICIES)
    _choose("--admission", admission, ADMISSIONS)
    given: dict[str, Any] = {  # Any: as columns hold it
        "policy": policy,
        "admission": admission,
        "tenant_share": tenant_share,
        "settings": None if settings is None else checked_settings(settings),
    }
    wanted = {name: value for name, value in given.items() if value is not None}
    if tenant_share == 0:
        wanted["tenant_share"] = None  # all of it
    with _open() as store:
        with store.factory() as session:
            space_id = find_space(session, namespace).id
        if budget_mib is None:
            _change(store, space_id, wanted)
        else:
            _set_budget(store, space_id, budget_mib, wanted)
        with store.factory() as session:
            row = _space_row(session, find_space(session, namespace))
    _print([row], as_json=False)


def _change(store: _Store, space_id: UUID, wanted: Mapping[str, Any]) -> None:  # Any: as columns hold it
    from db import namespaces
    from db.session import transaction

    with transaction(store.factory) as session:
        namespaces.change(namespaces.lock(session, space_id), wanted)


def _set_budget(store: _Store, space_id: UUID, budget_mib: float, wanted: Mapping[str, Any]) -> None:  # Any: the same
    from db.errors import IllegalTransition
    from worker.cache import room

    byte_budget = round(budget_mib * MIB)
    try:
        went = room.shrink(store.storage, store.factory, space_id, byte_budget=byte_budget, columns=wanted)
    except IllegalTransition as error:
        raise BadInput(f"--budget-mib {budget_mib:g}: {error}") from error
    if went:
        output.note(f"evicted {len(went)} entries, {sum(entry.num_bytes for entry in went) / MIB:.1f} MiB")


def _choose(option: str, value: str | None, known: Any) -> None:  # Any: a collection of names
    if value is not None and value not in known:
        raise BadInput(f"{option} {value!r} is unknown; choose from {', '.join(known)}")


def _status(value: str | None) -> Any:  # Any: EntryStatus, imported late
    from db.states import EntryStatus

    _choose("--status", value, list(EntryStatus))
    return value and EntryStatus(value)


def _space_row(session: "Session", space: "Namespace") -> dict[str, Any]:
    from db import namespaces

    identity = space.identity
    return {
        "namespace": str(space.id)[:8],
        "shared by": space.owner if space.scope == "tenant" else f"{space.scope} {space.owner}",
        "model": identity["model"],
        "size": f"{identity['width']}x{identity['height']}x{identity['num_frames']}",
        "entries": namespaces.num_resident(session, space),
        "entities": space.num_entities,
        "MiB": round(space.bytes_used / MIB, 1),
        "budget": round(space.byte_budget / MIB, 1),
        "policy": space.policy,
        "admission": space.admission,
        "tenant share": space.tenant_share or 1.0,
    }


def _entry_row(entry: "CacheEntry") -> dict[str, Any]:
    return {
        "entry": str(entry.id),
        "status": entry.status,
        "KiB": round(entry.num_bytes / 1024, 1),
        "tenant": entry.tenant,
        "video": video_id(entry.donor_job_id),
        "created": f"{entry.created_at:%Y-%m-%d %H:%M}",
        "prompt": entry.prompt,
    }


def _print(rows: list[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        output.print_json(rows)
    elif rows:
        cells = [tuple(output.shortened(str(value), 48) for value in row.values()) for row in rows]
        output.print_table(tuple(rows[0]), cells)
    else:
        output.note("the cache is empty")


def _uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise BadInput(f"{text!r} is not an id; `chai cache ls NAMESPACE` shows them") from None


def _video(text: str | None) -> UUID | None:
    return None if text is None else _uuid(text.removeprefix("video_"))


def _time(text: str | None) -> datetime | None:
    try:
        return None if text is None else datetime.fromisoformat(text).astimezone()
    except (ValueError, OverflowError):
        raise BadInput(f"--before {text!r} is not a time; write 2026-11-01 or 2026-11-01T08:00") from None


@contextmanager
def _open() -> Iterator[_Store]:
    from db.session import connect, sessions
    from shared.settings import Settings
    from shared.storage import opened

    engine = connect(local.database_url(), pool_size=1, application="chai-cli")
    try:
        yield _Store(factory=sessions(engine), storage=opened(Settings.model_validate({})))
    finally:
        engine.dispose()
