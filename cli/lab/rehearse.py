"""`chai lab rehearse`: a night on a service of its own, in two windows, with every part killed on the way."""

import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli import manifest, output, report
from cli.arguments import App
from cli.bulk.following import pictures
from cli.bulk.submission import submit
from cli.client import Client
from cli.errors import CommandError, Refused, Unreachable
from cli.lab.chaos import try_out
from shared.results import Result

if TYPE_CHECKING:
    from lab.chaos.run import Target

app = App(add_completion=False, help="Rehearse a night of bulk generation.")

PARTS = ("worker", "relay", "api", "redis", "postgres")
NUM_FIRST = 4  # videos made beforehand, from which to forecast
CALM_S = 10.0  # from the end of the first window until the first check that nothing runs
PATIENCE_S = 300.0  # without the end of a line, while the window is open


@dataclass(slots=True)
class Log:
    """What was observed of a run."""

    kills: list[str] = field(default_factory=list)
    ended_at_close: int = 0  # lines that had ended when the first window closed
    ended_at_open: int = 0  # and when the second one opened
    seconds: float = 0.0


@app.command()
def rehearse(
    lines: Annotated[int, typer.Option(min=5, help="How many prompts.")] = 300,
    first: Annotated[float, typer.Option(min=5, help="Seconds of the first window.")] = 120.0,
    pause: Annotated[float, typer.Option(min=20, help="Seconds until the second window opens.")] = 30.0,
    seed: Annotated[int, typer.Option(help="Of the prompts.")] = 1,
    steps: Annotated[int | None, typer.Option(min=1, help="Denoising steps; the model's when not given.")] = None,
    kills: Annotated[int, typer.Option(min=0, help="How often each part is killed.")] = 2,
    keep: Annotated[
        bool, typer.Option("--keep", help="Keep the folder with logs, database and the morning's report.")
    ] = False,
) -> None:
    """Run a list on the small model across two windows, killing worker, relay, API, Redis and Postgres on the way.

    The last line is one JSON object: the forecast beside what came. Exit status 1 means that a line has no video.
    """

    def night(target: "Target", folder: Path) -> Mapping[str, Any]:
        return _night(target, folder, _prompts(lines, seed), steps, first, pause, kills)

    try_out(night, {"CHAI_LEASE_S": "10"}, prefix="chai-night-", keep=keep, kept="logs, database and report")


def _prompts(number: int, seed: int) -> list[str]:
    from lab.toy_world.captions import sample_captions

    return list(dict.fromkeys(caption.text for caption in sample_captions(seed, 2 * number)))[:number]


def _night(
    target: "Target",
    folder: Path,
    prompts: Sequence[str],
    steps: int | None,
    first_s: float,
    pause_s: float,
    kills: int,
) -> dict[str, Any]:
    os.environ["CHAI_VAR_DIR"] = str(folder / "var")  # where the forecast finds the service's database
    (folder / "night.txt").write_text("\n".join(prompts) + "\n", encoding="utf-8")
    options = {} if steps is None else {"num_inference_steps": steps}
    listed = manifest.read(folder / "night.txt", options)
    with Client(target.url) as client:
        for mode in ("full", "auto"):  # the second time, they find their own entries
            for prompt in prompts[:NUM_FIRST]:
                client.wait(client.submit({"prompt": prompt, "mode": mode, **options})["id"])
        closes = datetime.now(UTC) + timedelta(seconds=first_s)
        window = _window(opens=closes + timedelta(seconds=pause_s), closes=closes)
        batch = submit(client, "night.txt", listed, window=window)
        output.note(f"{batch['id']}: {len(listed.lines)} lines, expected {batch['forecast']}")
        log = _watch(client, target, batch["id"], closes, pause_s, len(prompts), kills)
        batch = client.run(batch["id"])
        made = [Result.of(video, batch["id"], file=None) for video in client.videos(batch_id=batch["id"])]
        found = report.of(batch, made)
        morning = folder / "report.html"
        morning.write_text(report.page(found, pictures(client, found["sheet"])), encoding="utf-8")
    return _summed(target, found, log)


def _window(*, opens: datetime, closes: datetime) -> dict[str, str]:
    """Return the window that is open now, soon closes once, and opens again: all of the day but a short gap."""
    return {"start": f"{opens:%H:%M:%S}", "end": f"{closes:%H:%M:%S}", "tz": "UTC", "at_end": "stop"}


def _watch(
    client: Client, target: "Target", batch_id: str, closes: datetime, pause_s: float, number: int, kills: int
) -> Log:
    """Follow the run to its end; kill a part each time another share of the lines has ended."""
    log, started, changed = Log(), time.monotonic(), time.monotonic()
    blows = [PARTS[index % len(PARTS)] for index in range(kills * len(PARTS))]
    opens, ended = closes + timedelta(seconds=pause_s), 0
    while True:
        now = datetime.now(UTC)
        with suppress(Unreachable, Refused):  # killed parts come back
            batch = client.run(batch_id)
            counts = batch["request_counts"]
            if (reached := counts["completed"] + counts["failed"] + counts["cancelled"]) != ended:
                ended, changed = reached, time.monotonic()
            if batch["status"] == "completed":
                log.seconds = round(time.monotonic() - started, 1)
                return log
            if closes + timedelta(seconds=CALM_S) <= now < opens:
                log.ended_at_close = log.ended_at_close or ended
                log.ended_at_open = ended
        if blows and ended >= number * (len(log.kills) + 1) / (kills * len(PARTS) + 2) and not closes <= now < opens:
            _kill(target.pids, blows.pop(0), log)
        if time.monotonic() - changed > PATIENCE_S + pause_s:
            raise CommandError(f"no line ended for {PATIENCE_S + pause_s:.0f} s: {ended} of {number}")
        time.sleep(0.5)


def _kill(pids: Callable[[], Mapping[str, int]], part: str, log: Log) -> None:
    pid = next((pid for name, pid in pids().items() if name.startswith(part)), None)
    log.kills.append(part)
    if pid is None:
        output.note(f"{part} was not there to be killed")
        return
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    output.note(f"{datetime.now(UTC):%H:%M:%S} killed {part}")


def _summed(target: "Target", found: dict[str, Any], log: Log) -> dict[str, Any]:
    doubled, without_file, lost = _audit(target)
    lines = found["lines"]
    return {
        "lines": lines["total"],
        "completed": lines["completed"],
        "seconds": log.seconds,
        "kills": {part: log.kills.count(part) for part in PARTS},
        "ended_at_close": log.ended_at_close,
        "ended_before_opening": log.ended_at_open,
        "lost_attempts": lost,
        "doubled": doubled,
        "without_file": without_file,
        "forecast": found["forecast"],
        "hit_share": found["made"]["hit_share"],
        "saved_s": found["made"]["saved_s"],
        "is_good": lines["completed"] == lines["total"]
        and not doubled
        and not without_file
        and log.ended_at_open == log.ended_at_close,
    }


def _audit(target: "Target") -> tuple[int, int, int]:
    """Return how many jobs completed twice or have no file, and how many attempts were lost with their worker."""
    from sqlalchemy import create_engine, text

    engine = create_engine(target.database_url)
    with engine.connect() as connection:
        doubled = connection.scalar(
            text(
                "SELECT count(*) FROM (SELECT job_id FROM job_metrics WHERE outcome = 'completed' "
                "GROUP BY job_id HAVING count(*) > 1) AS twice"
            )
        )
        lost = connection.scalar(text("SELECT count(*) FROM job_metrics WHERE outcome IN ('lost', 'released')"))
        names = list(_names(connection.execute(text("SELECT output->>'name' FROM jobs WHERE status = 'completed'"))))
    engine.dispose()
    return doubled or 0, sum(not (target.storage / name).exists() for name in names), lost or 0


def _names(rows: Any) -> Iterator[str]:  # Any: rows of SQLAlchemy
    return (row[0] for row in rows)
