"""`chai doctor`: look at everything that the service needs, and say of each thing that is wrong what to do about it.

Nothing is changed or started. A check that raises becomes a finding, and the others still run.
"""

import importlib.metadata
import math
import os
import platform
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from cli import gpus, local, output
from cli.client import Client, connect
from cli.errors import BadInput, CommandError, discreet
from cli.services.binaries import OLDEST_REDIS
from shared.formats import duration
from shared.silence import MISSED_S

OLDEST_PYTHON = (3, 11)
OLDEST_POSTGRES, OLDEST_PGVECTOR = 15, (0, 8, 4)
LITTLE_ROOM, NO_ROOM = 5 * 2**30, 2**29  # bytes free
SKEW_S, WRONG_SKEW_S = 2.0, 30.0  # against the database; leases are judged by its clock
TIMEOUT_S = 5


class State(StrEnum):
    """The state of one thing."""

    FINE = "fine"
    LOOK = "look"  # the service works, but something deserves a look
    WRONG = "wrong"  # something does not work: the exit code is 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The result of one check."""

    what: str
    state: State
    seen: str
    do: str = ""  # what to do about it


Findings = Iterator[Finding]


def doctor(*, as_json: bool) -> int:
    """Check everything and print it; return 1 if something is wrong, else 0."""
    var = local.var_dir()
    local.join(var)
    found = (finding for check in CHECKS for finding in _safely(check, var))
    findings = [replace(finding, seen=discreet(finding.seen)) for finding in found]  # drivers quote URLs with passwords
    if as_json:
        output.print_json([asdict(finding) for finding in findings])
    else:
        _print(findings)
    return int(any(finding.state is State.WRONG for finding in findings))


def _safely(check: Callable[[Path], Findings], var: Path) -> Findings:
    name = check.__name__.removeprefix("check_")
    try:
        yield from check(var)
    except Exception as error:  # each check talks to something with its own ways to fail
        first = str(error).strip().split("\n")[0] or type(error).__name__
        yield _wrong(name, first, "mend what it names, and look again")


def _print(findings: list[Finding]) -> None:
    marks = {State.FINE: "ok   ", State.LOOK: "look ", State.WRONG: "WRONG"}
    width = max(len(finding.what) for finding in findings)
    for finding in findings:
        output.say(f"{marks[finding.state]}  {finding.what:<{width}}  {finding.seen}")
        if finding.do:
            output.say(f"       {'':<{width}}  → {finding.do}")
    num_wrong = sum(finding.state is State.WRONG for finding in findings)
    num_look = sum(finding.state is State.LOOK for finding in findings)
    print(f"\n{num_wrong} wrong, {num_look} worth a look, {len(findings)} looked at")


def _fine(what: str, seen: str) -> Finding:
    return Finding(what=what, state=State.FINE, seen=seen)


def _look(what: str, seen: str, do: str) -> Finding:
    return Finding(what=what, state=State.LOOK, seen=seen, do=do)


def _wrong(what: str, seen: str, do: str) -> Finding:
    return Finding(what=what, state=State.WRONG, seen=seen, do=do)


def check_software(_var: Path) -> Findings:
    """Python, this package, torch."""
    python = platform.python_version()
    if sys.version_info < OLDEST_PYTHON:
        yield _wrong("python", python, "install Python 3.11 or newer and set up again")
    else:
        yield _fine("python", f"{python} on {platform.system()} {platform.machine()}")
    yield _fine("chai", _version("chai-t2v") or "of a checkout that is not installed")


def check_settings(_var: Path) -> Findings:
    """The variables that the parts read."""
    try:
        local.api_settings()
    except BadInput as error:
        yield _wrong("settings", str(error), "mend that variable, or unset it: docs/operation.md lists them")
    else:
        yield _fine("settings", "each variable can be read")


def check_gpu(_var: Path) -> Findings:
    """The driver, the cards, and whether torch is built for them."""
    torch, cards = _version("torch"), gpus.cards()
    if torch is None:
        yield _look("torch", "not installed", "workers need it: `pip install 'chai-t2v[worker]'`; the API does not")
    elif cards and torch.endswith("+cpu"):
        yield _look("gpu", f"an NVIDIA driver is here, and torch {torch} cannot use it", "install the build for CUDA")
    elif cards:
        yield _fine("gpu", f"{len(cards)} NVIDIA ({', '.join(cards)}), torch {torch}")
    elif platform.system() == "Darwin":
        yield _fine("gpu", f"Apple's, by torch {torch}")
    else:
        yield _fine("gpu", f"no NVIDIA driver: torch {torch} runs on {os.cpu_count()} CPU cores")


def check_disk(var: Path) -> Findings:
    """Room and rights where the service writes, and in the folder for temporary files."""
    import tempfile

    for what, folder in (("data", var), ("temporary", Path(tempfile.gettempdir()))):
        at = next(path for path in (folder, *folder.parents) if path.exists())
        free = shutil.disk_usage(at).free
        seen = f"{folder}, {free / 2**30:.1f} GiB free"
        if not os.access(at, os.W_OK | os.X_OK):
            yield _wrong(f"disk: {what}", f"{folder} cannot be written", "give it to this user, or set CHAI_VAR_DIR")
        elif free < NO_ROOM:
            yield _wrong(f"disk: {what}", seen, "make room: the next video has no place")
        elif free < LITTLE_ROOM:
            yield _look(f"disk: {what}", seen, "make room before a long run, or lower the budget of the cache")
        else:
            yield _fine(f"disk: {what}", seen)


def check_programs(_var: Path) -> Findings:
    """The embedded servers, where none are named."""
    from cli.services import binaries
    from cli.services.errors import MissingProgram

    for variable, find in (("DATABASE_URL", binaries.postgres_bin), ("REDIS_URL", binaries.redis_server)):
        if variable in os.environ:
            continue
        try:
            yield _fine(f"program for {variable}", str(find()))
        except MissingProgram as error:
            yield _wrong(f"program for {variable}", "missing", str(error))


def check_service(var: Path) -> Findings:
    """`chai up` and the API."""
    running, given = local.running(var), os.environ.get("CHAI_URL")
    if running:
        yield _fine("chai up", f"runs as process {running.pid}, parts {', '.join(sorted(running.pids))}")
    with connect() as client:
        answer = _ask(client, "/readyz")
        if answer is None and not running and not given:
            yield _look("api", f"nobody answers at {client.url}", "start the service with `chai up`, or set CHAI_URL")
        elif answer is None:
            yield _wrong("api", f"nobody answers at {client.url}", "look at the end of log/api.log; check CHAI_URL")
        elif answer.status_code == 200:
            yield _fine("api", f"ready at {client.url}")
        else:
            yield _wrong("api", f"not ready at {client.url}: {_said(answer, 'checks')}", "mend what is unavailable")
        if answer is not None:
            for note in _said(answer, "notes") if answer.status_code == 200 else ():
                seen, _, do = note.rpartition(": ")
                yield _look("jobs that wait", seen, do)
            yield _key(client)


def _ask(client: Client, path: str) -> Any:  # Any: a httpx.Response, imported late, or None
    import httpx

    from chai_client import transport

    try:
        return httpx.get(client.url + path, timeout=TIMEOUT_S, **transport.way(client.url))
    except httpx.HTTPError:
        return None


def _said(answer: Any, field: str) -> Any:  # Any: as above, and JSON
    """Return a field of /readyz or, if another server answers, what that says."""
    try:
        return answer.json()[field]
    except (ValueError, KeyError, TypeError):
        return answer.text[:200] if field == "checks" else []


def _key(client: Client) -> Finding:
    has_key = bool(os.environ.get("CHAI_API_KEY", "").strip())
    try:
        client.runs(limit=1)
    except CommandError as error:
        do = (
            "make another with `chai keys create NAME`"
            if has_key
            else "set CHAI_API_KEY; `chai keys create NAME` makes one"
        )
        return _wrong("key", str(error), do)
    return _fine("key", "CHAI_API_KEY is taken" if has_key else "none is asked for")


def check_database(_var: Path) -> Findings:
    """Postgres, pgvector, the tables, the role, the clock and the heartbeats of the parts."""
    url = os.environ.get("DATABASE_URL")
    if not url:
        yield _look("postgres", "not running here", "`chai up` starts one; set DATABASE_URL for another")
        return
    import psycopg2

    from db.session import NO_POOLER, arguments, dial, takes_no_settings
    from shared.settings import DATABASE_FORM, checked_database_url

    try:  # as the parts do
        url = checked_database_url(url).replace("+psycopg2", "")
        connection = dial(url, **arguments(url, "chai-doctor") | {"connect_timeout": TIMEOUT_S})
    except ValueError:
        yield _wrong("postgres", "DATABASE_URL is no address of a database", DATABASE_FORM)
        return
    except psycopg2.Error as error:
        do = NO_POOLER if takes_no_settings(error) else "start it, or check DATABASE_URL"
        yield _wrong("postgres", str(error).strip().split("\n")[0], do)
        return
    connection.autocommit = True
    try:
        with connection.cursor() as cursor:
            cursor.execute(f"SET statement_timeout = '{TIMEOUT_S}s'")
            yield from _database(cursor)
    finally:
        connection.close()


def _database(cursor: Any) -> Findings:  # Any: psycopg2 brings no types
    from db import migrate
    from db.session import NO_POOLER

    cursor.execute("SELECT current_setting('server_version'), rolsuper FROM pg_roles WHERE rolname = current_user")
    version, is_superuser = cursor.fetchone()
    if int(version.split(".")[0].split()[0]) < OLDEST_POSTGRES:
        yield _wrong("postgres", version, f"use Postgres {OLDEST_POSTGRES} or newer")
    else:
        yield _fine("postgres", version)
    if is_superuser:
        do = "make a role that is none for the service (docs/operation.md, Security): with one, SQL runs programs"
        yield _look("database role", "the service's role is a superuser", do)
    cursor.execute("SELECT pg_is_in_recovery() OR current_setting('transaction_read_only') = 'on'")
    if cursor.fetchone()[0]:
        yield _wrong("postgres", "takes no writes (a standby, or read-only)", "point DATABASE_URL at the primary")
    cursor.execute("SHOW server_encoding")
    if (encoding := cursor.fetchone()[0]) != migrate.ENCODING:
        yield _wrong("database encoding", f"{encoding}, which lacks letters that prompts have", migrate.MAKE_ANEW)
    cursor.execute("SELECT current_setting('plan_cache_mode')")
    if cursor.fetchone()[0] != "force_generic_plan":
        yield _wrong("postgres connection", "a pooler in between leaves out the settings of a connection", NO_POOLER)
    yield from _pgvector(cursor)
    yield from _tables(cursor)
    yield _clock(cursor)


def _pgvector(cursor: Any) -> Findings:  # Any: as above
    from db import migrate

    cursor.execute(migrate.PGVECTOR)
    version, is_found, way_out = cursor.fetchone() or ("", False, None)
    if way_out is None:
        yield _wrong("pgvector", "not in this database", "CREATE EXTENSION vector, by the superuser")
    elif migrate.version_of(version) < OLDEST_PGVECTOR:
        yield _wrong("pgvector", version, migrate.NEWER_PGVECTOR)
    elif not is_found:
        yield _wrong("pgvector", f"{version}, in a schema where this role does not look", way_out)
    else:
        yield _fine("pgvector", version)


def _tables(cursor: Any) -> Findings:  # Any: as above
    from db import migrate

    newest = migrate.steps()[0]
    cursor.execute("SELECT to_regclass('alembic_version') IS NOT NULL")
    if not cursor.fetchone()[0]:
        yield _wrong("tables", "none", "`chai migrate`")
        return
    cursor.execute("SELECT version_num FROM alembic_version")
    found = ", ".join(row[0] for row in cursor.fetchall())
    if migrate.is_later(found):
        yield _look(
            "tables", f"at {found}, this version knows them up to {newest}", "update chai here; it serves as is"
        )
    elif found != newest:
        yield _wrong("tables", f"at {found or 'nothing'}, this version needs {newest}", "`chai migrate`, with a backup")
        return
    else:
        yield _fine("tables", f"at {found}, the newest")
    yield from _queue(cursor)
    yield from _beats(cursor)


def _queue(cursor: Any) -> Findings:  # Any: as above
    cursor.execute("SELECT status, count(*) FROM jobs WHERE status IN ('queued', 'in_progress') GROUP BY status")
    counts = dict(cursor.fetchall())
    yield _fine("queue", f"{counts.get('queued', 0)} queued, {counts.get('in_progress', 0)} in progress")


def _beats(cursor: Any) -> Findings:  # Any: as above
    from db.heartbeats import STARTING

    cursor.execute(
        "SELECT name, extract(epoch FROM clock_timestamp() - seen_at)::float, detail->>'is_fit', detail->>'reason' "
        "FROM heartbeats ORDER BY name"
    )
    beats = cursor.fetchall()
    relays = {name: age_s for name, age_s, *_ in beats if name.startswith(("relay:", "relay@"))}
    yield from _relays(relays)
    for name, age_s, is_fit, reason in beats:
        if name in relays:
            continue
        if age_s <= MISSED_S and is_fit == "false" and reason == STARTING:
            yield _look(f"part {name}", "is about to begin", "wait; loading a large model takes minutes")
        elif age_s <= MISSED_S and is_fit == "false":
            do = "docs/troubleshooting.md has the way out of each reason"
            yield _wrong(f"part {name}", f"takes no jobs ({reason})", do)
        else:
            yield _life(name, age_s)
    if not any(name.startswith("worker:") and age_s <= MISSED_S for name, age_s, *_ in beats):
        yield _look(
            "workers", "none is there: what is asked for waits", "`chai up` brings one; elsewhere: `chai worker`"
        )


def _relays(ages: Mapping[str, float]) -> Findings:
    """One finding per relay, by its heartbeats: `relay@…` means it lives, `relay:…` that it reaches the broker."""
    for name in sorted({name.replace("@", ":", 1) for name in ages}):
        reached_s = ages.get(name, math.inf)
        lives_s = min(reached_s, ages.get(name.replace(":", "@", 1), math.inf))
        if lives_s <= MISSED_S < reached_s:
            since = "never reached" if math.isinf(reached_s) else f"not reached for {duration(reached_s)}"
            yield _wrong(f"part {name}", f"lives without the broker: {since}", "start Redis, or check REDIS_URL")
        else:
            yield _life(name, lives_s)


def _life(name: str, age_s: float) -> Finding:
    if age_s > MISSED_S:
        return _look(f"part {name}", f"gave no sign of life for {duration(age_s)}", "if it should run, start it")
    return _fine(f"part {name}", f"alive {duration(age_s)} ago")


def _clock(cursor: Any) -> Finding:  # Any: as above
    before = time.time()
    cursor.execute("SELECT extract(epoch FROM clock_timestamp())")
    skew_s = abs(float(cursor.fetchone()[0]) - (before + time.time()) / 2)
    if skew_s < SKEW_S:
        return _fine("clock", f"{skew_s:.2f} s from the database's")
    found = _wrong if skew_s > WRONG_SKEW_S else _look
    return found("clock", f"{skew_s:.0f} s from the database's", "let both machines follow NTP")


def check_redis(_var: Path) -> Findings:
    """The broker: version, whether it forgets, whether it keeps."""
    url = os.environ.get("REDIS_URL")
    if not url:
        yield _look("redis", "not running here", "`chai up` starts one; set REDIS_URL for another")
        return
    import redis

    client = redis.Redis.from_url(
        url, socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S, decode_responses=True
    )
    try:
        info: dict[str, Any] = client.info()
    except (redis.RedisError, OSError) as error:
        yield _wrong("redis", str(error), "start it, or check REDIS_URL")
        return
    finally:
        client.close()
    version = str(info.get("valkey_version") or info["redis_version"])
    if tuple(int(part) for part in version.split(".")[:2]) < OLDEST_REDIS:
        yield _wrong("redis", version, "use Redis 6.2 or newer, or Valkey")
    else:
        yield _fine("redis", f"{version}, {info.get('used_memory_human')} used")
    if info.get("maxmemory_policy", "noeviction") != "noeviction":
        yield _wrong(
            "redis memory", str(info["maxmemory_policy"]), "set maxmemory-policy noeviction: a queue must not forget"
        )
    if not info.get("aof_enabled"):
        yield _look("redis disk", "keeps no append-only file", "set appendonly yes: else a restart waits for the sweep")


def check_storage(var: Path) -> Findings:
    """Whether videos and latents can be written and read back."""
    from shared.storage import Storage

    url = os.environ.get("STORAGE_URL", f"file://{var / 'storage'}")
    folder = re.fullmatch("(?:file://|file:)?(/.*)", url)
    if folder is not None and not Path(folder[1]).exists():
        yield _look("storage", f"{url} is not there yet", "the service makes it; on several machines, check the mount")
        return
    Storage(url).check()
    yield _fine("storage", f"{url} can be written")


def check_models(_var: Path) -> Findings:
    """The cards and weights of this machine."""
    from shared import model_cards

    folder = local.models_dir()
    cards = model_cards.load(folder)
    if not cards:
        yield _wrong("models", f"none in {folder}", "check CHAI_MODELS_DIR")
        return
    yield _fine("models", f"{', '.join(sorted(cards))} in {folder}")
    wanted = os.environ.get("CHAI_DEFAULT_MODEL")
    if wanted and wanted not in cards:
        yield _wrong(
            "default model", f"{wanted} has no card there", f"set CHAI_DEFAULT_MODEL to one of {', '.join(cards)}"
        )
    for name, card in sorted(cards.items()):
        source = folder / name / card.source
        if card.source.startswith(".") and not (source / "model_index.json").exists():
            yield _look(
                f"model {name}", f"no weights in {source}", f"`chai model pull {name}` fetches what is released"
            )


CHECKS: tuple[Callable[[Path], Findings], ...] = (
    check_software,
    check_settings,
    check_gpu,
    check_disk,
    check_programs,
    check_service,
    check_database,
    check_redis,
    check_storage,
    check_models,
)


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
