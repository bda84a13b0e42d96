"""`chai bulk`: a whole list of prompts, overnight if need be.

The service keeps the run; this command sends it the list, shows its progress, and writes the results. It may be stopped
at any time and attached again, and running it again submits nothing twice. Results are never lost if their folder
cannot be written: they go to the next best folder, and the command says where.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from chai_client.encoding import shown
from cli import local, manifest, names, output, places, results
from cli.arguments import App, AsJson, not_with, only_with
from cli.bulk.following import follow, pictures, results_of
from cli.bulk.submission import rule_of, series_of, submit, submitted_before, tell_of, worth
from cli.cache.spaces import of_another
from cli.client import Json, connect
from cli.errors import BadInput
from cli.prompt_lists import STDIN
from shared.run_windows import AtEnd

app = App(help="Run a whole list of prompts.", no_args_is_help=True)

BATCH_COLUMNS = ("id", "name", "status", "completed", "failed", "cancelled", "total", "window")

Out = Annotated[
    Path | None,
    typer.Option(
        metavar="PATH",
        help="Folder for the results, var/bulk/<id> when not given; - prints them as JSONL.",
    ),
]
Download = Annotated[bool, typer.Option("--download", help="Save the videos beside the results.")]
TimeZone = Annotated[
    str | None, typer.Option(help="Time zone of the window, like Europe/Berlin; this machine's when not given.")
]
WindowEnd = Annotated[
    AtEnd,
    typer.Option(
        "--at-window-end",
        help="finish: running lines end; stop: they stop between two steps and begin again in the next window.",
    ),
]
BatchId = Annotated[
    str, typer.Argument(metavar="ID", help="As `chai bulk status` shows it; a beginning, or latest, will do.")
]


@app.command()
def run(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="prompts.txt, .csv, .jsonl or .parquet; a folder of lists; - reads stdin.",
        ),
    ],
    mode: Annotated[
        str | None,
        typer.Option(help="auto, fast or full, for lines that do not say; `chai submit --help` says which is which."),
    ] = None,
    model: Annotated[str | None, typer.Option(help="Model, for lines that do not say.")] = None,
    size: Annotated[str | None, typer.Option(help="WIDTHxHEIGHT, for lines that do not say.")] = None,
    seconds: Annotated[str | None, typer.Option(help="Length, for lines that do not say.")] = None,
    window: Annotated[
        str | None,
        typer.Option(metavar="START-END", help="22:00-06:00: lines start then only; the service keeps to it."),
    ] = None,
    tz: TimeZone = None,
    at_end: WindowEnd = AtEnd.FINISH,
    take: Annotated[int, typer.Option(min=1, help="Raise it to run the same list once more.")] = 1,
    out: Out = None,
    download: Download = False,
    order: Annotated[
        manifest.Order, typer.Option(help="planned: so that most lines find a donor; file: as they stand in the list.")
    ] = manifest.Order.PLANNED,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what the list would do and cost, and submit nothing.")
    ] = False,
    detach: Annotated[bool, typer.Option("--detach", help="Submit and leave.")] = False,
    as_json: AsJson = False,
) -> None:
    """Submit a list and follow it to the end.

    Leaves with 0 when all is well, 1 when videos failed or were cancelled, 2 when lines could not be used.
    """
    only_with("--window", is_given=window, tz=tz, at_window_end=at_end is not AtEnd.FINISH)
    not_with("--detach", is_given=detach and not dry_run, out=out, download=download)
    given = {"mode": mode, "model": model, "size": size, "seconds": seconds}
    asked = None if window is None else _window(window, tz, at_end)
    listed = manifest.read(file, {name: value for name, value in given.items() if value is not None}, take=take)
    if dry_run:
        raise typer.Exit(_print_forecast(listed, series_of(_name(file), listed), asked, order, as_json=as_json))
    tell_of(listed.bad, listed.duplicates)
    with connect() as client:
        batch = submit(client, _name(file), listed, window=asked, order=order)
        if detach:
            _print_batch(batch, as_json=as_json)
            output.note(f"`chai bulk attach {batch['id']}` follows it")
            raise typer.Exit(2 if batch["num_bad_lines"] else 0)
        raise typer.Exit(
            follow(
                client,
                batch["id"],
                out=out,
                download=download,
                as_json=as_json,
                num_duplicates=len(listed.duplicates),
            )
        )


@app.command()
def ls(
    limit: Annotated[int, typer.Option(min=1, help="How many, the newest first.")] = 20, as_json: AsJson = False
) -> None:
    """List runs, the newest first."""
    with connect() as client:
        _print_batches(client.runs(limit=limit), as_json=as_json)


@app.command()
def attach(batch_id: BatchId, out: Out = None, download: Download = False, as_json: AsJson = False) -> None:
    """Follow a run that is under way, or write the results of one that has ended."""
    with connect() as client:
        id_ = names.run(client, batch_id)
        raise typer.Exit(follow(client, id_, out=out, download=download, as_json=as_json))


@app.command()
def status(
    batch_id: Annotated[str | None, typer.Argument(metavar="[ID]", help="The newest runs when not given.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show one run, or the newest."""
    with connect() as client:
        if batch_id is not None:
            _print_batch(client.run(names.run(client, batch_id)), as_json=as_json)
        else:
            _print_batches(client.runs(), as_json=as_json)


@app.command("report")
def report_(
    batch_id: BatchId,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            help="Folder for report.html and report.json, var/bulk/<id> when not given; - prints the JSON.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say what a run did: hits, savings, failures with the way out, the slowest, and what to change tonight."""
    from cli import report

    with connect() as client:
        batch = client.run(names.run(client, batch_id))
        own = local.var_dir() / "bulk" / batch["id"]
        found = report.of(batch, results_of(client, batch["id"], own, download=False))
        frames = {} if as_json or str(out) == STDIN else pictures(client, found["sheet"])
    if as_json or str(out) == STDIN:
        output.print_json(found)
        return
    folder, _ = places.put(
        [out, own] if out else [own],
        lambda folder: _write_report(folder, found, frames),
        what="the report",
        later=f"`chai bulk report {batch['id']} --out FOLDER` writes it later",
    )
    for line in found["tonight"] or ["nothing to change: all lines have their videos"]:
        output.say(line)
    print(f"report   {folder / 'report.html'}\n         {folder / 'report.json'}")


@app.command()
def pause(batch_id: BatchId, as_json: AsJson = False) -> None:
    """Let nothing of a run start from now on; what runs ends."""
    with connect() as client:
        _print_batch(client.pause_run(names.run(client, batch_id)), as_json=as_json)


@app.command()
def resume(batch_id: BatchId, as_json: AsJson = False) -> None:
    """Let a paused run go on."""
    with connect() as client:
        _print_batch(client.resume_run(names.run(client, batch_id)), as_json=as_json)


@app.command()
def retry(
    batch_id: BatchId,
    only: Annotated[str | None, typer.Option(help="failed or cancelled; both when not given.")] = None,
    as_json: AsJson = False,
) -> None:
    """Make the failed and cancelled lines of a run anew; a run that had ended goes on."""
    with connect() as client:
        id_ = names.run(client, batch_id)
        before = client.run(id_)["request_counts"]
        batch = client.retry_run(id_, only=only)
        number = sum(before[status] for status in ([only] if only else ["failed", "cancelled"]))
        output.note(f"{number} lines are made anew" if number else f"no line is {only or 'failed or cancelled'}")
        _print_batch(batch, as_json=as_json)


@app.command()
def window(
    batch_id: BatchId,
    times: Annotated[str, typer.Argument(metavar="START-END", help="22:00-06:00, or none for any time.")],
    tz: Annotated[
        str | None,
        typer.Option(
            help="Time zone, like Europe/Berlin; as it was when not given, this machine's for a first window."
        ),
    ] = None,
    at_end: Annotated[
        AtEnd | None,
        typer.Option("--at-window-end", help="finish or stop, as of `chai bulk run`; as it was when not given."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Change between which times of day lines of a run start."""
    not_with("none", is_given=times == "none", tz=tz, at_window_end=at_end)
    with connect() as client:
        id_ = names.run(client, batch_id)
        asked = None
        if times != "none":
            before = client.run(id_)["window"] or {}
            asked = _window(times, tz or before.get("tz"), at_end or AtEnd(before.get("at_end", AtEnd.FINISH)))
        _print_batch(client.set_window(id_, asked), as_json=as_json)


@app.command()
def cancel(batch_id: BatchId, as_json: AsJson = False) -> None:
    """Cancel what has not ended of a run."""
    with connect() as client:
        _print_batch(client.cancel_run(names.run(client, batch_id)), as_json=as_json)


def _write_report(folder: Path, found: Json, pictures: Mapping[str, bytes]) -> None:
    from cli import report

    folder.mkdir(parents=True, exist_ok=True)
    for name, content in (("report.html", report.page(found, pictures)), ("report.json", report.text(found))):
        with results.replacing(folder / name) as stream:
            stream.write(content)


def _print_forecast(
    listed: manifest.Manifest, series: str, window: Json | None, order: manifest.Order, *, as_json: bool
) -> int:
    from cli import forecast  # imports the service's own code, including torch

    found = forecast.forecast(listed, rule_of(window), worth(order, listed), series=series)
    tell_of(found.bad, listed.duplicates)
    if found.submitted_as is not None:
        output.note(submitted_before(found.submitted_as, listed))
    if found.stored_by is not None:
        output.note(of_another(found.stored_by, found.embedder))
    if as_json:
        output.print_json(forecast.plain(found))
    else:
        output.print_facts(forecast.facts(found))
    return 2 if found.bad else 0


def _window(times: str, tz: str | None, at_end: AtEnd) -> Json:
    """Read `22:00-06:00`; raise `BadInput`. The service checks times and zone."""
    start, dash, end = times.partition("-")
    if not dash or not start.strip() or not end.strip():
        raise BadInput(f"{shown(times)} is no window; write it like 22:00-06:00")
    return {"start": start.strip(), "end": end.strip(), "tz": tz or local.time_zone(), "at_end": at_end.value}


def _name(file: Path) -> str:
    """Name the run after its file; a name that is not UTF-8 is written with question marks."""
    name = "stdin" if str(file) == STDIN else file.resolve().name
    return name.encode("utf-8", "replace").decode()[:200]


def _print_batch(batch: Mapping[str, Any], *, as_json: bool) -> None:
    if as_json:
        output.print_json(batch)
    else:
        _print_batches([batch], as_json=False)


def _print_batches(batches: Sequence[Mapping[str, Any]], *, as_json: bool) -> None:
    if as_json:
        output.print_json(batches)
    else:
        output.print_table(BATCH_COLUMNS, [_batch_row(batch) for batch in batches])


def _batch_row(batch: Mapping[str, Any]) -> tuple[str, ...]:
    counts = batch["request_counts"]
    numbers = (str(counts[name]) for name in ("completed", "failed", "cancelled", "total"))
    return (batch["id"], batch["name"], batch["status"], *numbers, _window_text(batch))


def _window_text(batch: Mapping[str, Any]) -> str:
    window = batch["window"]
    if not window:
        return ""
    stops = ", stops" if window["at_end"] == AtEnd.STOP else ""
    closed = ", closed now" if batch["is_held"] and batch["status"] != "paused" else ""
    return f"{window['start']}-{window['end']} {window['tz']}{stops}{closed}"
