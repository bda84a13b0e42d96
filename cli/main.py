"""The `chai` command. Subcommands import what they need when they run: `chai submit` needs no torch and no FastAPI."""

import importlib
import importlib.metadata
import importlib.util
import json
import os
import signal
import stat
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from chai_client import values
from cli import keys, local, names, output, places
from cli.arguments import App
from cli.bulk.commands import app as bulk
from cli.client import Client, Json, connect
from cli.errors import BadInput, CommandError, Refused, discreet
from cli.lab import group as lab
from cli.list_files import from_stdin
from cli.mounting import mount
from cli.receipt import facts, state
from cli.utf8 import in_utf8
from shared import imports
from shared.json_members import given_twice, members

HELP = """Text-to-video generation that gets faster the more it is used.

New here? `chai demo` shows it in two minutes; `chai up` runs the service.
Commands talk to that one, or to the one that CHAI_URL names (CHAI_API_KEY).
Exit status: 0 all is well, 1 it did not work, 2 what was given is no good.
"""

app = App(
    help=HELP,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

SERVICE, CLIENT, RESEARCH = "The service", "Videos", "Models and measurements"

MOUNTED = {  # subcommands that live in modules of their own and are imported only when called
    "model": ("cli.model", "Look at models and fetch weights."),
    "cache": ("cli.cache.commands", "Look into the cache, ask it, warm it, purge it."),
    "calibrate": ("cli.calibrate", "Find the cheapest plan that keeps quality."),
    "monitor": ("cli.monitor", "See what re-run jobs lost by their donors, and at what cost."),
}

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
VideoId = Annotated[
    str,
    typer.Argument(metavar="ID", help="As `chai submit` and `chai list` print it; a beginning, or latest, will do."),
]
STDIO = Path("-")
PATH = "PATH"
PARTS = ("relay", "worker")  # that give signs of life


class Variant(StrEnum):
    """What there is of a completed video."""

    VIDEO = "video"  # the MP4
    THUMBNAIL = "thumbnail"  # its first frame, a JPEG
    SPRITESHEET = "spritesheet"  # frames spread over its time, a JPEG


Port = Annotated[int, typer.Option(min=1, max=65535, help="Port on 127.0.0.1.")]
Door = Annotated[int | None, typer.Option("--fd", hidden=True, help="Number of an open socket that listens there.")]


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"chai {version()}")
        raise typer.Exit


@app.callback()
def _options(
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    pass


def version() -> str:
    """Return the version of this software; a checkout that was not installed says so."""
    try:
        return importlib.metadata.version("chai-t2v")
    except importlib.metadata.PackageNotFoundError:
        return "of a checkout that is not installed"


@app.command(rich_help_panel=CLIENT)
def submit(
    prompt: Annotated[str, typer.Argument(metavar="PROMPT", help="What the video shows; - reads it from stdin.")],
    model: Annotated[
        str | None, typer.Option(help="As `chai model ls` shows it; the service's own choice when not given.")
    ] = None,
    size: Annotated[str | None, typer.Option(help="WIDTHxHEIGHT in pixels; the model's own when not given.")] = None,
    seconds: Annotated[str | None, typer.Option(help="Length; the model's own when not given.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of the noise: the same one gives the same full run.")] = None,
    negative_prompt: Annotated[str | None, typer.Option(help="What it should not show.")] = None,
    steps: Annotated[
        int | None, typer.Option(help="Denoising steps of a full run; the model's own when not given.")
    ] = None,
    guidance: Annotated[
        float | None,
        typer.Option(help="How closely to follow the prompt; 1 is no guidance, at half the cost."),
    ] = None,
    fps: Annotated[int | None, typer.Option(help="Frames a second.")] = None,
    mode: Annotated[
        str | None,
        typer.Option(
            help="auto: few steps where an earlier video lends; fast: few steps in any case; full: all steps."
        ),
    ] = None,
    metadata: Annotated[
        list[str] | None, typer.Option(help="KEY=VALUE to keep with the video, or a JSON object; may be repeated.")
    ] = None,
    idempotency_key: Annotated[str | None, typer.Option(help="The same key never makes a second video.")] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Stay until it has ended.")] = False,
    out: Annotated[
        Path | None,
        typer.Option(metavar=PATH, help="Save the video here, - for stdout; implies --watch."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Ask for a video; print its id."""
    given = {
        "prompt": _from_stdin() if prompt == "-" else prompt,
        "model": model,
        "size": size,
        "seconds": seconds,
        "seed": seed,
        "negative_prompt": negative_prompt,
        "num_inference_steps": steps,
        "guidance_scale": guidance,
        "fps": fps,
        "mode": mode,
        "metadata": _metadata(metadata or []) or None,
    }
    if out == STDIO:
        output.raw_stdout()
    with connect() as client:
        request = {name: value for name, value in given.items() if value is not None}
        video = client.submit(request, idempotency_key=idempotency_key)
        if watch or out:
            video = _watched(client, video["id"])
        if out and video["status"] == "completed":
            _save(client, video["id"], out)
        _print_video(video, as_json=as_json, brief=not watch and not out, beside=out == STDIO)
    _leave_with(video)


@app.command(rich_help_panel=CLIENT)
def status(video_id: VideoId, as_json: AsJson = False) -> None:
    """Show all that is known of a video."""
    with connect() as client:
        _print_video(client.video(names.video(client, video_id)), as_json=as_json)


@app.command(rich_help_panel=CLIENT)
def watch(video_id: VideoId, as_json: AsJson = False) -> None:
    """Follow a video to its end; leave with 1 unless it completed."""
    with connect() as client:
        video = _watched(client, names.video(client, video_id))
    _print_video(video, as_json=as_json)
    _leave_with(video)


@app.command(rich_help_panel=CLIENT)
def cancel(video_id: VideoId, as_json: AsJson = False) -> None:
    """Cancel a video that has not ended."""
    with connect() as client:
        _print_video(client.cancel(names.video(client, video_id)), as_json=as_json)


@app.command(rich_help_panel=CLIENT)
def delete(
    video_ids: Annotated[
        list[str], typer.Argument(metavar="ID...", help="As `chai list` prints them; beginnings, or latest, will do.")
    ],
    as_json: AsJson = False,
) -> None:
    """Delete videos and their files; one that has not ended is cancelled."""
    with connect() as client:
        ids = [names.video(client, text) for text in video_ids]  # all are known before the first one goes
        for id_ in ids:
            answer = client.delete(id_)
            if as_json:
                output.print_json(answer)
            else:
                print(f"deleted {id_}")


@app.command("list", rich_help_panel=CLIENT)
def list_(
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many, the newest first.")] = 20,
    status: Annotated[str | None, typer.Option(help="queued, in_progress, completed, failed or cancelled.")] = None,
    batch: Annotated[str | None, typer.Option(help="Only those of a bulk run.")] = None,
    path: Annotated[str | None, typer.Option(help="fast or full: what was done.")] = None,
    mode: Annotated[str | None, typer.Option(help="auto, fast or full: what was asked for.")] = None,
    model: Annotated[str | None, typer.Option(help="Only those of a model.")] = None,
    prompt: Annotated[str | None, typer.Option(help="Only those whose prompt has these words.")] = None,
    metadata: Annotated[list[str] | None, typer.Option(help="KEY=VALUE that they have; may be repeated.")] = None,
    as_json: AsJson = False,
) -> None:
    """List videos."""
    with connect() as client:
        batch_id = None if batch is None else names.batch(client, batch)
        given = {"status": status, "batch_id": batch_id, "path": path, "mode": mode, "model": model, "prompt": prompt}
        filters: dict[str, str | list[str]] = {name: value for name, value in given.items() if value is not None}
        videos = list(client.videos(limit=limit, **filters, **({"metadata": metadata} if metadata else {})))
    if as_json:
        output.print_json(videos)
        return
    rows = [
        (video["id"], video["status"], f"{video['progress']} %", output.shortened(video["prompt"], 60))
        for video in videos
    ]
    output.print_table(("id", "status", "progress", "prompt"), rows)


@app.command(rich_help_panel=CLIENT)
def download(
    video_id: VideoId,
    out: Annotated[
        Path | None,
        typer.Option(metavar=PATH, help="File, or - for stdout; <id>.mp4 here when not given."),
    ] = None,
    variant: Annotated[Variant, typer.Option(help="The MP4, or a JPEG of it.")] = Variant.VIDEO,
) -> None:
    """Save the MP4 of a completed video, or a picture of it."""
    with connect() as client:
        id_ = names.video(client, video_id)
        if (file := _save(client, id_, out or Path(_file_name(id_, variant)), variant)) is not None:
            print(file)


@app.command(rich_help_panel=SERVICE)
def up(
    port: Annotated[
        int | None,
        typer.Option(min=1, max=65535, help="Of the API; else CHAI_API_PORT, else 8400, or another that is free."),
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Worker processes; one a GPU is right.")] = 1,
    flower: Annotated[bool, typer.Option(help="Serve Flower, the view of the workers.")] = True,
) -> None:
    """Run everything on this machine until Ctrl-C."""
    with imports.unchecked(for_good=True):
        from cli import up as launcher

    launcher.up(launcher.Choices(port=port, num_workers=workers, has_flower=flower))


@app.command(rich_help_panel=SERVICE)
def demo(
    out: Annotated[
        Path | None,
        typer.Option(metavar=PATH, help="Folder for the videos; var/demo when not given."),
    ] = None,
    model: Annotated[str | None, typer.Option(help="Whose examples are made; else the service's default.")] = None,
    as_json: AsJson = False,
) -> None:
    """Turn a dozen prompts into videos and show what the cache did."""
    from cli import demo as show

    raise typer.Exit(show.demo(out, model=model, as_json=as_json))


@app.command(rich_help_panel=SERVICE)
def doctor(as_json: AsJson = False) -> None:
    """Look at everything that the service needs and say what to do; leave with 1 when something is wrong."""
    from cli import doctor as look

    raise typer.Exit(look.doctor(as_json=as_json))


@app.command(rich_help_panel=SERVICE)
def api(
    host: Annotated[str | None, typer.Option(help="Address; any but loopback asks callers for API keys.")] = None,
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="CHAI_API_PORT when not given.")] = None,
    fd: Door = None,
) -> None:
    """Serve the HTTP API."""
    with imports.unchecked(for_good=True):
        from api.app import main as serve

    local.database_url()
    serve(host, port, fd=fd)


@app.command(rich_help_panel=SERVICE)
def relay() -> None:
    """Hand accepted jobs to Celery and bring lost ones back."""
    with imports.unchecked(for_good=True):
        from api.outbox_relay import main as run

    local.database_url()
    run()


@app.command(rich_help_panel=SERVICE)
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
    WorkerSettings.model_validate({})  # before the slow imports: a bad value is said at once
    # Until Celery has a handler of its own: a KeyboardInterrupt within an import may be lost.
    signal.signal(signal.SIGINT, signal.SIG_DFL)

    threads.give_way()
    with imports.unchecked(for_good=True):
        from worker.app import main as work

    sys.exit(work(served, name=name))


@app.command("flower", rich_help_panel=SERVICE)
def flower_(port: Port = 5555, fd: Door = None) -> None:
    """Serve Flower on loopback, read-only, behind a password."""
    from cli import flower

    local.join(local.var_dir())
    flower.serve(port, fd=fd)


@app.command(rich_help_panel=SERVICE)
def alive(
    part: Annotated[str, typer.Argument(metavar="PART", help="relay or worker.")],
    silent: Annotated[float, typer.Option(min=1, help="Seconds without a sign of life that are too many.")] = 30.0,
) -> None:
    """Say whether a part on this machine gave a sign of life, with exit status 1 if not: a container's health check."""
    from cli.alive import latest

    if part not in PARTS:
        raise BadInput(f"PART {part!r} gives no signs of life; choose from {', '.join(PARTS)}")
    age_s = latest(local.database_url(), part)
    if age_s is None or age_s > silent:
        output.note(f"{part}: no sign of life from this machine" + ("" if age_s is None else f" for {age_s:.0f} s"))
        raise typer.Exit(1)
    output.note(f"{part}: alive {age_s:.1f} s ago")


@app.command(rich_help_panel=SERVICE)
def migrate(
    revision: Annotated[
        str, typer.Argument(metavar="REVISION", help="Where to go: head, base or a revision.")
    ] = "head",
    down: Annotated[bool, typer.Option("--down", help="Go down; tables that go take their rows along.")] = False,
) -> None:
    """Bring the database to a revision of the tables."""
    from db.migrate import downgrade, is_later, upgrade

    if not revision.strip():
        raise BadInput("REVISION is empty; write head, base or a revision")
    found = (downgrade if down else upgrade)(local.database_url(), revision)
    later = ", of a later version than this one, which they serve: nothing is done" if is_later(found) else ""
    output.note(f"the tables are at {found or 'base'}{later}")


def _from_stdin() -> str:
    try:
        return from_stdin().decode().removeprefix("\ufeff").strip()
    except UnicodeDecodeError as error:
        raise BadInput(f"what came from stdin is not UTF-8 ({error})") from None


def _metadata(given: list[str]) -> dict[str, object]:
    """Read `--metadata` options: `shelf=b` or a JSON object each; later ones win."""
    read: dict[str, object] = {}
    for text in given:
        key, equals, value = text.partition("=")
        if text.lstrip().startswith("{"):
            read |= _json_object(text)
        elif equals and key.strip():
            read[key.strip()] = value
        else:
            raise BadInput(f"--metadata {text!r} is neither KEY=VALUE nor a JSON object")
    return read


def _json_object(text: str) -> dict[str, object]:
    try:
        value = json.loads(text, object_pairs_hook=members)
    except (ValueError, RecursionError) as error:
        raise BadInput(f"--metadata {text!r} is not JSON ({error}); write KEY=VALUE, or an object") from None
    if (twice := given_twice(value)) is not None:
        raise BadInput(f"--metadata {text!r}: {twice} is given twice; keep one")
    return dict(value)


def _named(variant: Variant) -> values.Variant:
    return variant.value


def _file_name(id_: str, variant: Variant) -> str:
    return f"{id_}.mp4" if variant is Variant.VIDEO else f"{id_}.{variant}.jpg"


def _save(client: Client, id_: str, out: Path, variant: Variant = Variant.VIDEO) -> Path | None:
    """Save a video or a picture of it, in another folder when `out` cannot be; None for stdout."""
    if out == STDIO:
        client.copy(id_, output.raw_stdout(), _named(variant))
        sys.stdout.flush()
        return None
    if out.exists() and not (out.is_file() or out.is_dir()):  # a device or a pipe: written to, not replaced
        with out.open("wb") as stream:
            client.copy(id_, stream, _named(variant))
        return out
    name = _file_name(id_, variant) if out.is_dir() else out.name
    folder, _ = places.put(
        [out if out.is_dir() else out.parent, local.var_dir() / "downloads"],
        lambda folder: client.download(id_, folder / name, _named(variant)),
        what=f"the video {id_}",
        later=f"`chai download {id_} --out FILE` saves it later",
    )
    return folder / name


def _watched(client: Client, video_id: str) -> Json:
    is_known = False
    with output.Meter(100) as meter:

        def seen(video: Json) -> None:
            nonlocal is_known
            is_known = True
            meter.show(video["progress"], state(video))

        try:
            return client.wait(video_id, seen=seen)
        except Refused as error:
            if is_known and error.status == 404:
                raise CommandError(f"video {video_id} was deleted while it was watched") from error
            raise
        except KeyboardInterrupt:
            meter.line(f"\nit goes on without you: `chai watch {video_id}` shows it, `chai cancel {video_id}` ends it")
            raise typer.Exit(130) from None


def _print_video(video: Json, *, as_json: bool, brief: bool = False, beside: bool = False) -> None:
    if beside:  # stdout carries the video itself
        output.print_facts(facts(video), file=sys.stderr)
    elif as_json:
        output.print_json(video)
    elif brief:
        print(video["id"])
    else:
        output.print_facts(facts(video))


def _leave_with(video: Json) -> None:
    if video["status"] in ("failed", "cancelled"):
        raise typer.Exit(1)


app.add_typer(bulk, name="bulk", rich_help_panel=CLIENT)
app.add_typer(keys.app, name="keys", rich_help_panel=SERVICE)
app.add_typer(lab.app, name="lab", rich_help_panel=RESEARCH)
for _name, (_module, _summary) in MOUNTED.items():
    mount(app, _name, _module, _summary, panel=RESEARCH)


def main() -> None:
    """Run the command line; every foreseen failure is one line on stderr and an exit code."""
    output.print_what_fits()
    os.umask(os.umask(0) | stat.S_IWOTH)  # no file of ours is everybody's to change, whatever the caller's umask lets
    try:
        with local.settings_checked():
            app(prog_name="chai")
    except CommandError as error:
        output.note(f"error: {error}")
        sys.exit(error.exit_code)
    except UnicodeEncodeError:  # somewhere behind a word of the command: paths may hold such bytes, little else
        if (word := next((word for word in sys.argv[1:] if not _is_utf8(word)), None)) is None:
            raise
        output.note(f"error: {word!r} holds a byte that is not UTF-8; write it in UTF-8")
        sys.exit(2)
    except OSError as error:  # a full disk, a folder that others own, a pipe that broke: nothing that a traceback mends
        where = f"{error.filename}: " if error.filename else ""
        output.note(f"error: {where}{places.reason(error)}")
        sys.exit(1)
    except Exception as error:
        if (sentence := _of_database(error) or _of_storage(error)) is None:
            raise
        output.note(f"error: {sentence}")
        sys.exit(1)


def _is_utf8(word: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in word)


def _of_database(error: Exception) -> str | None:
    """Say what the database or its migrations complain of; None for any other error, which is a fault of ours."""
    package, name = type(error).__module__.partition(".")[0], type(error).__name__
    first = discreet(str(error).strip().split("\n")[0])
    if package == "alembic":
        return f"{first}; `chai migrate head` goes to the newest tables"
    if package in ("sqlalchemy", "psycopg2") and (way_out := _way_out(error)):
        return f"{first}; {way_out}"
    if package in ("sqlalchemy", "psycopg2") and name in ("OperationalError", "InterfaceError", "ArgumentError"):
        return f"the database does not answer as it should: {first}; `chai doctor` looks at it"
    if package in ("sqlalchemy", "psycopg2") and "invalid dsn" in first:
        return f"DATABASE_URL is not understood: {first}"
    if package in ("sqlalchemy", "psycopg2") and name == "DataError":
        return f"the database holds no such value: {first}"
    if package in ("sqlalchemy", "psycopg2") and "does not exist" in first:
        return f"the database lacks tables ({first}); bring it up to date with `chai migrate`"
    return None


def _way_out(error: Exception) -> str | None:
    """Say what to do about a database that was set up otherwise than the service needs it; None for all else."""
    from db.session import NO_POOLER, takes_no_settings  # loaded by now

    if takes_no_settings(error):
        return NO_POOLER
    state = getattr(getattr(error, "orig", error), "pgcode", None)
    if state in ("0A000", "58P01") and "EXTENSION" in (getattr(error, "statement", None) or ""):
        return "install pgvector 0.8.4 or newer on the server of DATABASE_URL"
    ways_out = {
        "42501": "a superuser gives the service's role a database and the extension, once: docs/operation.md, Security",
        "42704": "`chai doctor` looks whether pgvector is there, new enough and found",
        "42P07": "DATABASE_URL names a database with tables of another program; give the service one of its own",
    }
    return ways_out.get(str(state))


def _of_storage(error: Exception) -> str | None:
    """Say what the storage complains of; None for any other error."""
    storage = sys.modules.get("shared.storage")  # not imported for this
    if storage is None or not isinstance(error, storage.StorageError):
        return None
    return f"the storage does not answer as it should: {discreet(str(error))}; `chai doctor` looks at it"


if __name__ == "__main__":
    in_utf8()
    main()
