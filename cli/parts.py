"""The commands that run the service, part by part or all at once."""

import signal
import sys
from pathlib import Path
from typing import Annotated

import typer

from cli import local, output
from cli.arguments import AsJson
from cli.errors import BadInput
from shared.gc_pause import gc_paused
from shared.silence import NOT_THERE_S

Port = Annotated[int, typer.Option(min=1, max=65535, help="Port on 127.0.0.1.")]
Door = Annotated[int | None, typer.Option("--fd", hidden=True, help="Number of an open socket that listens there.")]
PARTS = ("relay", "worker")  # those that give signs of life


def up(
    port: Annotated[
        int | None,
        typer.Option(min=1, max=65535, help="Of the API; else CHAI_API_PORT, else 8400, or another that is free."),
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Worker processes; one a GPU is right.")] = 1,
    flower: Annotated[bool, typer.Option(help="Serve Flower, the view of the workers.")] = True,
) -> None:
    """Run everything on this machine until Ctrl-C."""
    with gc_paused(for_good=True):
        from cli import up as launcher

    launcher.up(launcher.Choices(port=port, num_workers=workers, has_flower=flower))


def demo(
    out: Annotated[
        Path | None,
        typer.Option(metavar="PATH", help="Folder for the videos; var/demo when not given."),
    ] = None,
    model: Annotated[str | None, typer.Option(help="Whose examples are made; else the service's default.")] = None,
    as_json: AsJson = False,
) -> None:
    """Turn a dozen prompts into videos and show what the cache did."""
    from cli import demo as show

    raise typer.Exit(show.demo(out, model=model, as_json=as_json))


def doctor(as_json: AsJson = False) -> None:
    """Look at everything that the service needs and say what to do; leave with 1 when something is wrong."""
    from cli import doctor as look

    raise typer.Exit(look.doctor(as_json=as_json))


def api(
    host: Annotated[str | None, typer.Option(help="Address; any but loopback asks callers for API keys.")] = None,
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="CHAI_API_PORT when not given.")] = None,
    fd: Door = None,
) -> None:
    """Serve the HTTP API."""
    with gc_paused(for_good=True):
        from api.app import main as serve

    local.database_url()
    serve(host, port, fd=fd)


def relay() -> None:
    """Hand accepted jobs to Celery and bring lost ones back."""
    with gc_paused(for_good=True):
        from api.outbox_relay import main as run

    local.database_url()
    run()


def worker(
    name: Annotated[str, typer.Option(help="Name in Flower; unique on this machine.")] = "worker",
    queues: Annotated[str, typer.Option(help="Queues to serve, the first one first.")] = "interactive,bulk",
) -> None:
    """Make videos: one job at a time, one worker a GPU."""
    from db.states import Queue
    from worker import threads
    from worker.settings import WorkerSettings

    served = queues.split(",")
    if unknown := [queue for queue in served if queue not in list(Queue)]:
        raise BadInput(f"--queues {unknown[0]!r} is unknown; choose from {', '.join(Queue)}, with commas")
    local.database_url()
    WorkerSettings.model_validate({})  # before the slow imports, so that a bad value is reported at once
    # Until Celery installs its own handler: a KeyboardInterrupt within an import may be lost.
    signal.signal(signal.SIGINT, signal.SIG_DFL)

    threads.give_way()
    with gc_paused(for_good=True):
        from worker.app import main as work

    sys.exit(work(served, name=name))


def flower(port: Port = 5555, fd: Door = None) -> None:
    """Serve Flower on loopback, read-only, behind a password."""
    from cli.flower import serve

    local.join(local.var_dir())
    serve(port, fd=fd)


def alive(
    part: Annotated[str, typer.Argument(metavar="PART", help="relay or worker.")],
    silent: Annotated[
        float, typer.Option(min=1, help="Seconds without a sign of life that are too many.")
    ] = NOT_THERE_S,
) -> None:
    """Say whether a part on this machine gave a sign of life, with exit status 1 if not: a container's health check."""
    from cli.liveness import latest

    if part not in PARTS:
        raise BadInput(f"PART {part!r} gives no signs of life; choose from {', '.join(PARTS)}")
    age_s = latest(local.database_url(), part)
    if age_s is None or age_s > silent:
        output.note(f"{part}: no sign of life from this machine" + ("" if age_s is None else f" for {age_s:.0f} s"))
        raise typer.Exit(1)
    output.note(f"{part}: alive {age_s:.1f} s ago")


def migrate(
    revision: Annotated[
        str, typer.Argument(metavar="REVISION", help="Where to go: head, base or a revision.")
    ] = "head",
    down: Annotated[bool, typer.Option("--down", help="Downgrade; the rows of dropped tables are lost.")] = False,
) -> None:
    """Bring the database to a revision of the tables."""
    from db.migrate import downgrade, is_later, upgrade

    if not revision.strip():
        raise BadInput("REVISION is empty; write head, base or a revision")
    found = (downgrade if down else upgrade)(local.database_url(), revision)
    later = ", of a later version than this one, which they serve: nothing is done" if is_later(found) else ""
    output.note(f"the tables are at {found or 'base'}{later}")
