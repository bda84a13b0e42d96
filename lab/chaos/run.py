"""One run: callers send requests, blows fall by a seeded plan, then everything heals and the rules are checked."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from uuid import UUID

import psycopg2

from lab.chaos import audit, schedule
from lab.chaos.audit import Verdict
from lab.chaos.injected_faults import FarWorker, Striker
from lab.chaos.link import Link
from lab.chaos.load import Load

TICK_S = 0.1
START_S = 300.0
HEAL_S = 300.0  # after the last blow: for every job to end and every orphan to be removed


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A running service of your own, which will be damaged."""

    url: str
    database_url: str
    redis_url: str
    storage: Path
    folder: Path  # for logs and temporary files
    pids: Callable[[], Mapping[str, int]]  # of the parts, by name: api, relay, worker, postgres, redis


def run(target: Target, *, seed: int, duration_s: float, pause_s: float, say: Callable[[str], None]) -> dict[str, Any]:
    """Attack the service and return the figures of the run; `is_good` says whether every rule held."""
    audit.watch(target.database_url)
    with _far_worker_of(target) as far:
        striker = Striker(pids=target.pids, far=far)
        load = Load(target.url, seed=seed, pause_s=0.2)
        _wait_for_workers(target, number=2, say=say)
        load.start()
        try:
            _fight(striker, schedule.plan(seed=seed, duration_s=duration_s, pause_s=pause_s), duration_s, say)
        finally:
            striker.end_due(every=True)
            told = load.stop()
        accepted, deleted = {UUID(id_[-32:]) for id_ in told.accepted}, {UUID(id_[-32:]) for id_ in told.deleted}
        verdict = _healed(target, striker, accepted, deleted, say)
    is_good = verdict.is_good and not told.broken_promises
    said = {"refused": told.num_refused, "broken_promises": told.broken_promises[:10]}
    blows = {"kills": striker.counts.get("kill", 0), "blows": striker.counts}
    return {"seed": seed, "seconds": duration_s, **blows, **verdict.columns(), **said, "is_good": is_good}


@contextmanager
def _far_worker_of(target: Target) -> Iterator[FarWorker]:
    """Run a worker beside the service for the block; it is of a session of its own, and nobody else would end it."""
    far = _far_worker(target)
    try:
        far.start()
        yield far
    finally:
        far.stop()
        for link in far.links:
            link.close()


def _wait_for_workers(target: Target, *, number: int, say: Callable[[str], None]) -> None:
    """Wait until this many workers take jobs: a blow to one that has not started proves nothing."""
    say(f"waiting for {number} workers")
    give_up_at = time.monotonic() + START_S
    while (found := audit.num_fit_workers(target.database_url)) < number:
        if time.monotonic() > give_up_at:
            raise RuntimeError(f"{found} of {number} workers take jobs after {START_S:.0f} s; see {target.folder}")
        time.sleep(0.5)


def _fight(striker: Striker, blows: list[schedule.Blow], duration_s: float, say: Callable[[str], None]) -> None:
    began = time.monotonic()
    waiting = list(blows)
    while (passed_s := time.monotonic() - began) < duration_s:
        while waiting and waiting[0].at_s <= passed_s:
            blow = waiting.pop(0)
            say(f"{passed_s:6.1f} s  {blow.kind} {blow.part}" + (f" for {blow.lasts_s} s" if blow.lasts_s else ""))
            striker.strike(blow)
        striker.end_due()
        time.sleep(TICK_S)


def _healed(
    target: Target, striker: Striker, accepted: set[UUID], deleted: set[UUID], say: Callable[[str], None]
) -> Verdict:
    """Return the verdict once it is good, or the last one after `HEAL_S`."""
    say("healing")
    give_up_at = time.monotonic() + HEAL_S
    verdict: Verdict | None = None
    while verdict is None or (not verdict.is_good and time.monotonic() < give_up_at):
        time.sleep(1)
        striker.end_due(every=True)
        try:
            if audit.num_open(target.database_url) and time.monotonic() < give_up_at:
                continue
            verdict = audit.judge(
                target.database_url, target.storage, accepted=accepted, deleted=deleted, hits=striker.hits
            )
        except psycopg2.OperationalError as error:
            if time.monotonic() > give_up_at:
                raise
            say(f"database: {str(error).splitlines()[0]}")
    return verdict


def _far_worker(target: Target) -> FarWorker:
    """Return a worker with its own links to the servers and its own temporary folder."""
    links, urls = [], {}
    for variable, url in (("DATABASE_URL", target.database_url), ("REDIS_URL", target.redis_url)):
        parts = urlsplit(url)
        link = Link(parts.hostname or "127.0.0.1", parts.port or 0)
        user = parts.netloc.rpartition("@")[0]
        place = f"127.0.0.1:{link.port}"
        urls[variable] = urlunsplit(parts._replace(netloc=f"{user}@{place}" if user else place))
        links.append(link)
    temporary = target.folder / "far-tmp"
    temporary.mkdir(exist_ok=True)
    env = {**urls, "STORAGE_URL": f"file://{target.storage}", "TMPDIR": str(temporary), "CHAI_DEFAULT_MODEL": "tiny"}
    return FarWorker(env=env, links=tuple(links), log=target.folder / "far.log")
