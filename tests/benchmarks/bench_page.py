"""What the page and its streams cost: open event streams, polling beside a bare endpoint, first paint, a gallery.

One API process on the servers of the tests. Prints a table for people and a line of JSON for programs.
CHAI_BENCH_STREAMS and CHAI_BENCH_ROWS name other sizes.
"""

import asyncio
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import psutil
import pytest
from browser import CHROMIUM, browser
from running import CARDS, Process, api_process, free_port, mp4, wait_until, work
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session, sessionmaker

from db import jobs
from db.session import transaction
from shared.storage import Storage

pytestmark = pytest.mark.bench

NUM_STREAMS = int(os.environ.get("CHAI_BENCH_STREAMS", "1000"))
NUM_ROWS = int(os.environ.get("CHAI_BENCH_ROWS", "50000"))
NUM_CLIENTS, POLL_S = 8, 6.0
BARE = """
import sys, uvicorn
from fastapi import FastAPI
from pydantic import BaseModel
from sqlalchemy import text
from db.session import connect
engine = connect(sys.argv[1], pool_size=20)
class Row(BaseModel):
    id: str
    status: str
    progress: int
app = FastAPI()
@app.get("/jobs/{id_}")
def look(id_: str) -> Row:
    with engine.connect() as connection:
        query = text("SELECT id::text, status, progress FROM jobs WHERE id = CAST(:id AS uuid)")
        return Row(**connection.execute(query, {"id": id_}).mappings().one())
uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[2]), log_config=None, access_log=False)
"""


@pytest.fixture
def server(database_url: str, storage_url: str, tmp_path: Path) -> Iterator[Process]:
    environment = {
        "DATABASE_URL": database_url,
        "STORAGE_URL": storage_url,
        "CHAI_MODELS_DIR": str(CARDS),
        "CHAI_DEFAULT_MODEL": "tiny",
    }
    with api_process(environment, tmp_path) as process:
        yield process


def fill(engine: Engine, number: int) -> None:
    rows = (
        "INSERT INTO jobs (tenant, prompt, model, width, height, num_frames, fps, status, created_at, error_code) "
        "SELECT 'local', 'a red circle ' || n, 'tiny', 32, 32, 17, 8, 'failed', now() - n * interval '1 minute', 'x' "
        "FROM generate_series(1, :number) AS n"
    )
    with engine.begin() as connection:
        connection.execute(text(rows), {"number": number})
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("ANALYZE jobs"))


def submit(server: Process) -> str:
    answer = httpx.post(f"{server.url}/v1/videos", json={"prompt": "a red circle"}, trust_env=False)
    return answer.json()["id"]


def show(title: str, found: dict[str, Any]) -> None:
    print(f"\n{title}")
    for name, value in found.items():
        print(f"  {name:<28}{value}")
    print(json.dumps({"bench": title, **found}))


def test_open_streams(server: Process, session_factory: sessionmaker[Session]) -> None:
    id_ = submit(server)
    process = psutil.Process(server.popen.pid)
    before = process.memory_info().rss

    async def all_streams() -> dict[str, Any]:
        began = time.monotonic()
        streams = [await open_stream(server.url) for _ in range(NUM_STREAMS)]
        opened = time.monotonic() - began
        memory, idle = process.memory_info().rss - before, process.cpu_times()
        await asyncio.sleep(5)
        now = process.cpu_times()
        cpu = now.user + now.system - idle.user - idle.system
        told = time.monotonic()
        await asyncio.to_thread(claim, session_factory, id_)
        waits = await asyncio.gather(*(heard(reader, b'"status":"in_progress"', told) for reader, _ in streams))
        for _, writer in streams:
            writer.close()
        return {
            "streams": NUM_STREAMS,
            "opened_s": round(opened, 2),
            "memory_KiB_each": round(memory / 1024 / NUM_STREAMS, 1),
            "idle_cpu_percent": round(cpu / 5 * 100, 1),
            "first_heard_ms": round(1000 * min(waits)),
            "last_heard_ms": round(1000 * max(waits)),
        }

    show("event streams", asyncio.run(all_streams()))


async def open_stream(url: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, port = url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(f"GET /v1/events HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode())
    await reader.readuntil(b"event: ready")
    return reader, writer


async def heard(reader: asyncio.StreamReader, words: bytes, since: float) -> float:
    await asyncio.wait_for(reader.readuntil(words), 60)
    return time.monotonic() - since


def claim(factory: sessionmaker[Session], id_: str) -> None:
    with transaction(factory) as session:
        jobs.claim(session, UUID(id_.removeprefix("video_")), owner="w1", lease_s=60)


def test_polling_beside_a_bare_endpoint(
    server: Process, database_url: str, session_factory: sessionmaker[Session], storage_url: str
) -> None:
    work(session_factory, Storage(storage_url), UUID(submit(server)[6:]), mp4())  # one that the estimate knows of
    id_, port = submit(server), free_port()
    bare = subprocess.Popen([sys.executable, "-c", BARE, database_url, str(port)], stderr=subprocess.DEVNULL)
    try:
        ours, plain = f"{server.url}/v1/videos/{id_}", f"http://127.0.0.1:{port}/jobs/{UUID(id_[6:])}"
        wait_until(lambda: answers(plain), timeout_s=60)
        found = {}
        places = {"bare": (plain, bare.pid), "ours": (ours, server.popen.pid)}
        for name in ("bare", "ours", "bare again", "ours again"):
            url, pid = places[name.split()[0]]
            before = cpu_s(pid)
            taken = asyncio.run(poll(url))
            found[f"{name} requests/s"] = round(len(taken) / POLL_S)
            found[f"{name} CPU ms each"] = round(1000 * (cpu_s(pid) - before) / len(taken), 2)
            found[f"{name} p50/p99 ms"] = [round(1000 * q, 1) for q in (statistics.median(taken), p99(taken))]
        show(f"polling, {NUM_CLIENTS} clients", found)
    finally:
        bare.kill()
        bare.wait()


def cpu_s(pid: int) -> float:
    times = psutil.Process(pid).cpu_times()
    return times.user + times.system


def answers(url: str) -> bool:
    try:
        return httpx.get(url, trust_env=False).is_success
    except httpx.TransportError:
        return False


async def poll(url: str) -> list[float]:
    taken: list[float] = []

    async def one(client: httpx.AsyncClient, until: float) -> None:
        while (began := time.monotonic()) < until:
            answer = await client.get(url)
            assert answer.is_success
            taken.append(time.monotonic() - began)

    async with httpx.AsyncClient(trust_env=False) as client:
        await asyncio.gather(*(one(client, time.monotonic() + POLL_S) for _ in range(NUM_CLIENTS)))
    return taken


def p99(taken: list[float]) -> float:
    return sorted(taken)[int(0.99 * len(taken))]


def test_scrape_and_gallery_with_many_rows(server: Process, engine: Engine) -> None:
    fill(engine, NUM_ROWS)
    found: dict[str, Any] = {"rows": NUM_ROWS}
    with httpx.Client(base_url=server.url, trust_env=False) as client:
        last = client.get("/v1/videos?order=asc&limit=2").json()["data"][-1]["id"]
        places = {"first": "/library", "last": f"/library?after={last}", "words": "/library?q=circle+49999"}
        for name, path in {**places, "queue": "/queue", "api": "/v1/videos?limit=24", "metrics": "/metrics"}.items():
            found[f"{name} ms"] = round(1000 * statistics.median(timed(client, path) for _ in range(15)), 1)
    if CHROMIUM:
        found |= scrolled(server.url)
    show("a gallery", found)


def timed(client: httpx.Client, path: str) -> float:
    began = time.monotonic()
    assert client.get(path).is_success
    return time.monotonic() - began


SCROLL = """new Promise((done) => { let frames = 0, slow = 0, before = performance.now(); const until = before + 5000;
    const step = (now) => { frames += 1; slow = Math.max(slow, now - before); before = now; scrollBy(0, 40);
        now < until ? requestAnimationFrame(step) : done([frames / 5, slow]); }; requestAnimationFrame(step); })"""


def scrolled(url: str) -> dict[str, Any]:
    """Weight and first paint of the first page, and frames a second while the gallery scrolls."""
    with browser() as started:
        page = started.tab()
        page.look_like(width=1280, height=800)
        page.open(url)
        page.wait_for("performance.getEntriesByName('first-contentful-paint').length > 0")
        paints = []
        for _ in range(7):
            page.open(url)
            page.wait_for("performance.getEntriesByName('first-contentful-paint').length > 0")
            paints.append(page.run("performance.getEntriesByName('first-contentful-paint')[0].startTime"))
        weight = page.run(
            "Promise.all(['/', '/web/page.css', '/web/page.js', '/web/icon.svg'].map((path) => fetch(path)"
            ".then((said) => said.arrayBuffer()).then((all) => all.byteLength))).then((all) => all.join(' '))"
        )
        page.open(f"{url}/library")
        frames, slowest = page.run(SCROLL)
        cards = page.run("document.querySelectorAll('.card').length")
    return {
        "weight bytes": sum(map(int, weight.split())),
        "first paint ms": round(statistics.median(paints)),
        "frames/s while scrolling": round(frames),
        "slowest frame ms": round(slowest),
        "cards then": cards,
    }
