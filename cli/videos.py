"""The commands for videos: ask for one, follow it, fetch it."""

import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from chai_client import values
from chai_client.encoding import shown
from cli import local, names, output, places
from cli.arguments import AsJson
from cli.client import Client, Json, connect
from cli.errors import BadInput, CommandError, Refused
from cli.prompt_lists import from_stdin
from cli.receipt import facts, state
from shared.json_members import given_twice, members

VideoId = Annotated[
    str,
    typer.Argument(metavar="ID", help="As `chai submit` and `chai list` print it; a beginning, or latest, will do."),
]
STDIO = Path("-")


class Variant(StrEnum):
    """The files of a completed video."""

    VIDEO = "video"  # the MP4
    THUMBNAIL = "thumbnail"  # its first frame, a JPEG
    SPRITESHEET = "spritesheet"  # frames spread over its time, a JPEG


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
        typer.Option(metavar="PATH", help="Save the video here, - for stdout; implies --watch."),
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
            save(client, video["id"], out)
        _print_video(video, as_json=as_json, brief=not watch and not out, beside=out == STDIO)
    _leave_with(video)


def status(video_id: VideoId, as_json: AsJson = False) -> None:
    """Show all that is known of a video."""
    with connect() as client:
        _print_video(client.video(names.video(client, video_id)), as_json=as_json)


def watch(video_id: VideoId, as_json: AsJson = False) -> None:
    """Follow a video to its end; leave with 1 unless it completed."""
    with connect() as client:
        video = _watched(client, names.video(client, video_id))
    _print_video(video, as_json=as_json)
    _leave_with(video)


def cancel(video_id: VideoId, as_json: AsJson = False) -> None:
    """Cancel a video that has not ended."""
    with connect() as client:
        _print_video(client.cancel(names.video(client, video_id)), as_json=as_json)


def delete(
    video_ids: Annotated[
        list[str], typer.Argument(metavar="ID...", help="As `chai list` prints them; beginnings, or latest, will do.")
    ],
    as_json: AsJson = False,
) -> None:
    """Delete videos and their files; one that has not ended is cancelled."""
    with connect() as client:
        ids = [names.video(client, text) for text in video_ids]  # all are resolved before the first is deleted
        for id_ in ids:
            answer = client.delete(id_)
            if as_json:
                output.print_json(answer)
            else:
                print(f"deleted {id_}")


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
        batch_id = None if batch is None else names.run(client, batch)
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


def download(
    video_id: VideoId,
    out: Annotated[
        Path | None,
        typer.Option(metavar="PATH", help="File, or - for stdout; <id>.mp4 here when not given."),
    ] = None,
    variant: Annotated[Variant, typer.Option(help="The MP4, or a JPEG of it.")] = Variant.VIDEO,
) -> None:
    """Save the MP4 of a completed video, or a picture of it."""
    with connect() as client:
        id_ = names.video(client, video_id)
        if (file := save(client, id_, out or Path(_file_name(id_, variant)), variant)) is not None:
            print(file)


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
            raise BadInput(f"--metadata {shown(text)} is neither KEY=VALUE nor a JSON object")
    return read


def _json_object(text: str) -> dict[str, object]:
    try:
        value = json.loads(text, object_pairs_hook=members)
    except (ValueError, RecursionError) as error:
        raise BadInput(f"--metadata {shown(text)} is not JSON ({error}); write KEY=VALUE, or an object") from None
    if (twice := given_twice(value)) is not None:
        raise BadInput(f"--metadata {shown(text)}: {twice} is given twice; keep one")
    return dict(value)


def _named(variant: Variant) -> values.Variant:
    return variant.value


def _file_name(id_: str, variant: Variant) -> str:
    return f"{id_}.mp4" if variant is Variant.VIDEO else f"{id_}.{variant}.jpg"


def save(client: Client, id_: str, out: Path, variant: Variant = Variant.VIDEO) -> Path | None:
    """Save a video or a picture of it, in another folder if `out` is not writable; return the path, None for stdout."""
    if out == STDIO:
        client.copy(id_, output.raw_stdout(), _named(variant))
        sys.stdout.flush()
        return None
    if out.exists() and not (out.is_file() or out.is_dir()):  # a device or a pipe: nothing can replace it
        client.download(id_, out, _named(variant))
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
