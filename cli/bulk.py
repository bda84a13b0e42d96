"""`chai bulk`: a whole list of prompts, overnight if need be.

The service keeps the run; this command hands it the list, shows how it goes, and writes the results. It may be stopped
at any time and attached again, and running it again submits nothing twice. What the service made is never lost for want
of a place to put it: results go to the next best folder, and the command says where.
"""

import io
import json
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from cli import local, manifest, names, output, places, results
from cli.arguments import App
from cli.client import OUTAGE_S, Client, Json, connect
from cli.errors import BadInput, CommandError, Refused, Unreachable
from cli.list_files import STDIN
from cli.manifest import BadLine, Line
from cli.night import Order
from cli.results import exit_code
from shared.results import Result
from shared.run_windows import AtEnd, RunWindow

app = App(help="Run a whole list of prompts.", no_args_is_help=True)

CHUNK = 200  # lines a request
CHUNK_BYTES = 4 * 2**20  # of JSON a request, about: a quarter of what a service takes by default
SPLIT_ON = frozenset({400, 413, 422})  # the request was refused as a whole: a line in it is to blame
FULL = "queue_full"  # the code of a key that lets no more videos wait
POLL_S = 1.0
ENOUGH = 3  # lines whose pace says something of those that are left
WORTH_A_PLAN = 20  # lines: ordering a few takes longer than they could gain
ENDED = frozenset({"completed", "cancelled"})

BATCH_COLUMNS = ("id", "name", "status", "completed", "failed", "cancelled", "total", "window")

T = TypeVar("T")
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
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
        Order, typer.Option(help="planned: so that most lines find a donor; file: as they stand in the list.")
    ] = Order.PLANNED,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what the list would do and cost, and submit nothing.")
    ] = False,
    detach: Annotated[bool, typer.Option("--detach", help="Submit and leave.")] = False,
    as_json: AsJson = False,
) -> None:
    """Submit a list and follow it to the end.

    Leaves with 0 when all is well, 1 when videos failed or were cancelled, 2 when lines could not be used.
    """
    given = {"mode": mode, "model": model, "size": size, "seconds": seconds}
    asked = None if window is None else _window(window, tz, at_end)
    listed = manifest.read(file, {name: value for name, value in given.items() if value is not None}, take=take)
    if dry_run:
        raise typer.Exit(_print_forecast(listed, _series(_name(file), listed), asked, order, as_json=as_json))
    _report_lines(listed.bad, listed.duplicates)
    with connect() as client:
        batch = submit(client, _name(file), listed, window=asked, order=order)
        if detach:
            _print_batch(batch, as_json=as_json)
            output.note(f"`chai bulk attach {batch['id']}` follows it")
            raise typer.Exit(2 if batch["num_bad_lines"] else 0)
        raise typer.Exit(
            _follow(
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
        _print_batches(client.batches(limit=limit), as_json=as_json)


@app.command()
def attach(batch_id: BatchId, out: Out = None, download: Download = False, as_json: AsJson = False) -> None:
    """Follow a run that is under way, or write the results of one that has ended."""
    with connect() as client:
        id_ = names.batch(client, batch_id)
        raise typer.Exit(_follow(client, id_, out=out, download=download, as_json=as_json))


@app.command()
def status(
    batch_id: Annotated[str | None, typer.Argument(metavar="[ID]", help="The newest runs when not given.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show one run, or the newest."""
    with connect() as client:
        if batch_id is not None:
            _print_batch(client.batch(names.batch(client, batch_id)), as_json=as_json)
        else:
            _print_batches(client.batches(), as_json=as_json)


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
        batch = client.batch(names.batch(client, batch_id))
        own = local.var_dir() / "bulk" / batch["id"]
        found = report.of(batch, _results(client, batch["id"], own, download=False))
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


def pictures(client: Client, rows: Sequence[Json]) -> dict[str, bytes]:
    """Fetch the first frames of these videos; one that has none is left out."""
    found = {}
    for row in rows:
        stream = io.BytesIO()
        with suppress(Refused, Unreachable):
            client.copy(row["video"], stream, "thumbnail")
            found[row["video"]] = stream.getvalue()
    return found


def _write_report(folder: Path, found: Json, pictures: Mapping[str, bytes]) -> None:
    from cli import report

    folder.mkdir(parents=True, exist_ok=True)
    for name, content in (("report.html", report.page(found, pictures)), ("report.json", report.text(found))):
        with results.replacing(folder / name) as stream:
            stream.write(content)


@app.command()
def pause(batch_id: BatchId, as_json: AsJson = False) -> None:
    """Let nothing of a run start from now on; what runs ends."""
    with connect() as client:
        _print_batch(client.pause_batch(names.batch(client, batch_id)), as_json=as_json)


@app.command()
def resume(batch_id: BatchId, as_json: AsJson = False) -> None:
    """Let a paused run go on."""
    with connect() as client:
        _print_batch(client.resume_batch(names.batch(client, batch_id)), as_json=as_json)


@app.command()
def retry(
    batch_id: BatchId,
    only: Annotated[str | None, typer.Option(help="failed or cancelled; both when not given.")] = None,
    as_json: AsJson = False,
) -> None:
    """Make the failed and cancelled lines of a run anew; a run that had ended goes on."""
    with connect() as client:
        id_ = names.batch(client, batch_id)
        before = client.batch(id_)["request_counts"]
        batch = client.retry_batch(id_, only=only)
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
    with connect() as client:
        id_ = names.batch(client, batch_id)
        asked = None
        if times != "none":
            before = client.batch(id_)["window"] or {}
            asked = _window(times, tz or before.get("tz"), at_end or AtEnd(before.get("at_end", AtEnd.FINISH)))
        _print_batch(client.set_window(id_, asked), as_json=as_json)


@app.command()
def cancel(batch_id: BatchId, as_json: AsJson = False) -> None:
    """Cancel what has not ended of a run."""
    with connect() as client:
        _print_batch(client.cancel_batch(names.batch(client, batch_id)), as_json=as_json)


def submit(
    client: Client, name: str, listed: manifest.Manifest, *, window: Json | None = None, order: Order = Order.PLANNED
) -> Json:
    """Hand the list to the service and seal the batch; a list known from before is only looked up.

    The service runs the lines in the order in which they come. A long list is ordered and sent a piece at a time.

    An interrupted submission goes on where it stopped, because the service knows lines by their custom_id. A service
    that goes away on the way is waited for. Raises `BadInput`, and leaves no batch behind, when it takes no line.
    """
    series = _series(name, listed)
    batch = client.open_batch(name, listed.key, series=series, num_lines=len(listed.lines), window=window)
    if batch["status"] != "open":
        _note_known(batch, listed, window)
        return batch
    refused: list[BadLine] = []
    num_sent = num_reused = 0
    ordered = Ordered(listed, window, _worth(order, listed), series)
    try:
        with output.Meter(len(listed.lines)) as meter:
            send = partial(_send, client, batch["id"], wait=_waiting_for_room(meter))
            for number, chunk in _chunks(ordered.lines()):
                sent = _through_outages(partial(send, chunk), meter.line)
                num_sent = number
                refused, num_reused = refused + sent.refused, num_reused + sent.num_reused
                usable, left_out = len(listed.lines) - len(refused), f", {len(refused)} refused" if refused else ""
                meter.show(num_sent, f"submitted {num_sent - len(refused)} of {usable} lines{left_out}")
    except KeyboardInterrupt:
        output.note(f"\n{_goes_on(num_sent, listed, batch)}")
        raise typer.Exit(130) from None
    except Unreachable as error:
        raise Unreachable(f"{error}; {_goes_on(num_sent, listed, batch)}") from error
    _report_lines(refused, ())
    if len(refused) == len(listed.lines) and not batch["request_counts"]["total"]:
        client.remove_batch(batch["id"])
        raise BadInput(f"no line of {name} can be used; {refused[0].place}: {refused[0].reason}")
    if num_reused:
        output.note(f"{num_reused} of {len(listed.lines)} lines are videos of earlier runs and are not made again")
    num_bad = len(listed.bad) + len(refused)
    seal = partial(client.seal_batch, batch["id"], num_bad_lines=num_bad, forecast=ordered.forecast)
    try:
        return _through_outages(seal, output.note)
    except Unreachable as error:
        raise Unreachable(f"{error}; {_goes_on(num_sent, listed, batch)}") from error


@dataclass(slots=True)
class Ordered:
    """The lines of a list in the order in which they are to run, and what is expected of them once all have come."""

    listed: manifest.Manifest
    window: Json | None
    order: Order
    series: str | None = None
    forecast: Json | None = None

    def lines(self) -> Iterator[Line]:
        """Give every line once; where no plan can be made the rest comes in the order of the list."""
        sent: set[str] = set()
        if self.order is Order.PLANNED:
            try:
                for line in self._planned():
                    sent.add(line.custom_id)
                    yield line
            except CommandError as error:
                output.note(f"lines run in the order of the list, no plan could be made: {error}")
        yield from (line for line in self.listed.lines if line.custom_id not in sent)

    def _planned(self) -> Iterator[Line]:
        from sqlalchemy.exc import SQLAlchemyError

        from cli import forecast, night  # bring the service's own code

        if len(self.listed.lines) > CHUNK:
            output.note(f"ordering {len(self.listed.lines)} lines so that most find a donor; --order file would not")
        try:
            planned = night.of(self.listed, self.series)
            tally = forecast.Tally(planned)
            for decided in planned.decided(self.order):
                tally.add(decided)
                yield decided.line
            self.forecast = forecast.kept(tally.forecast(self.listed, _rule(self.window), self.order))
        except SQLAlchemyError as error:
            raise Unreachable(f"the database: {str(error).splitlines()[0]}") from error


def _goes_on(num_sent: int, listed: manifest.Manifest, batch: Json) -> str:
    """Say what becomes of a list that was handed over in part."""
    return (
        f"stopped after {num_sent} of {len(listed.lines)} lines; what was submitted is being made, and the same "
        f"command goes on from there; `chai bulk cancel {batch['id']}` ends it"
    )


def _rule(window: Json | None) -> RunWindow | None:
    try:
        return RunWindow.of(window) if window else None
    except ValueError as error:
        raise BadInput(str(error)) from None


def _series(name: str, listed: manifest.Manifest) -> str:
    """Name the runs that make a line once."""
    return name if listed.take == 1 else f"{name}, take {listed.take}"


def _worth(order: Order, listed: manifest.Manifest) -> Order:
    """Return the order in which lines are sent."""
    return order if len(listed.lines) >= WORTH_A_PLAN else Order.FILE


def _print_forecast(listed: manifest.Manifest, series: str, window: Json | None, order: Order, *, as_json: bool) -> int:
    from cli import forecast  # brings the service's own code, torch among it

    found = forecast.forecast(listed, _rule(window), _worth(order, listed), series=series)
    _report_lines(found.bad, listed.duplicates)
    if found.submitted_as is not None:
        output.note(_submitted_before(found.submitted_as, listed))
    if as_json:
        output.print_json(forecast.plain(found))
    else:
        output.print_facts(forecast.facts(found))
    return 2 if found.bad else 0


def _note_known(batch: Json, listed: manifest.Manifest, window: Json | None) -> None:
    id_ = batch["id"]
    output.note(_submitted_before(id_, listed))
    counts = batch["request_counts"]
    if counts["failed"] or counts["cancelled"]:
        lines = f"{counts['failed']} failed and {counts['cancelled']} cancelled lines"
        output.note(f"`chai bulk retry {id_}` makes its {lines} anew")
    if batch["status"] == "cancelled" and batch["sealed_at"] is None:
        output.note(f"it was cancelled when {counts['total']} of its {len(listed.lines)} lines had been sent")
    if (num_refused := batch["num_bad_lines"] - len(listed.bad)) > 0:
        output.note(
            f"the service refused {num_refused} of its lines then; correct them, or add an empty line where the "
            "service has changed: of a changed list, only what has no video is made"
        )
    if batch["status"] == "paused":
        output.note(f"it is paused; `chai bulk resume {id_}` lets it go on")
    if window and batch["status"] not in ENDED and batch["window"] != window:
        output.note(
            f"its window stays as it was; `chai bulk window {id_} {window['start']}-{window['end']}` changes it"
        )


def _submitted_before(id_: str, listed: manifest.Manifest) -> str:
    return f"this list was submitted before as {id_}; --take {listed.take + 1} would run it once more"


def _window(times: str, tz: str | None, at_end: AtEnd) -> Json:
    """Read `22:00-06:00`; raise `BadInput`. What is a time, and what a zone, is for the service to say."""
    start, dash, end = times.partition("-")
    if not dash or not start.strip() or not end.strip():
        raise BadInput(f"{times!r} is no window; write it like 22:00-06:00")
    return {"start": start.strip(), "end": end.strip(), "tz": tz or local.time_zone(), "at_end": at_end.value}


def _name(file: Path) -> str:
    """Name the run after its file; a name that is not UTF-8 is written with question marks."""
    name = "stdin" if str(file) == STDIN else file.resolve().name
    return name.encode("utf-8", "replace").decode()[:200]


def _chunks(lines: Iterable[Line]) -> Iterator[tuple[int, list[Line]]]:
    """Divide the lines into requests of a bearable length."""
    chunk: list[Line] = []
    num_bytes = num_sent = 0
    for line in lines:
        length = len(json.dumps(line.item))
        if chunk and (len(chunk) == CHUNK or num_bytes + length > CHUNK_BYTES):
            num_sent += len(chunk)
            yield num_sent, chunk
            chunk, num_bytes = [], 0
        chunk.append(line)
        num_bytes += length
    if chunk:
        yield num_sent + len(chunk), chunk


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """What the service said to some lines."""

    refused: list[BadLine]
    num_reused: int = 0  # have the video of an earlier run


def _waiting_for_room(meter: output.Meter) -> Callable[[Refused], None]:
    """Return what waits a moment for other videos of the key to run, and says so the first time."""
    is_told = False

    def wait(error: Refused) -> None:
        nonlocal is_told
        if not is_told:
            meter.line(f"{error}; the rest is sent as there is room")
            is_told = True
        time.sleep(POLL_S)

    return wait


def _added(client: Client, batch_id: str, lines: Sequence[Line], wait: Callable[[Refused], None]) -> Json:
    items = [{**line.item, "line": line.label} for line in lines]
    while True:
        try:
            return client.add_items(batch_id, items)
        except Refused as error:
            if error.code != FULL or not error.is_passing:
                raise
            wait(error)


def _send(client: Client, batch_id: str, lines: Sequence[Line], wait: Callable[[Refused], None]) -> Sent:
    """Send some lines, once the caller's key leaves room for them.

    A service that refuses them as a whole gets them by halves, until the line that it cannot take stands alone.
    """
    try:
        answer = _added(client, batch_id, lines, wait)
    except Refused as error:
        if error.status not in SPLIT_ON and error.code != FULL:
            raise
        if len(lines) == 1:
            return Sent(refused=[BadLine(number=lines[0].number, file=lines[0].file, reason=str(error))])
        middle = len(lines) // 2
        halves = [_send(client, batch_id, half, wait) for half in (lines[:middle], lines[middle:])]
        return Sent(
            refused=[line for half in halves for line in half.refused],
            num_reused=sum(half.num_reused for half in halves),
        )
    refused = [
        BadLine(number=line.number, file=line.file, reason=item["error"]["message"])
        for item in answer["data"]
        if item["status"] == "refused" and (line := lines[item["index"]])
    ]
    return Sent(refused=refused, num_reused=answer.get("reused", 0))


def _report_lines(bad: Sequence[BadLine], duplicates: Sequence[BadLine]) -> None:
    for line in bad:
        output.note(f"{line.place} left out: {line.reason}")
    for line in duplicates:
        output.note(f"{line.place} left out: {line.reason}; give lines a seed to have several takes")


def _follow(
    client: Client, batch_id: str, *, out: Path | None, download: bool, as_json: bool, num_duplicates: int = 0
) -> int:
    """Watch a run to its end and write its results; Ctrl-C leaves it running. Returns the exit code."""
    goes_on = (
        f"the run goes on without you: `chai bulk attach {batch_id}` shows it again, "
        f"`chai bulk cancel {batch_id}` ends it"
    )
    try:
        batch = _watch(client, batch_id)
    except KeyboardInterrupt:
        output.note(f"\n{goes_on}")
        return 130
    except Unreachable as error:
        raise Unreachable(f"{error}; {goes_on}") from error
    if out is not None and str(out) == STDIN:
        return _print_results(client, batch)
    own = local.var_dir() / "bulk" / batch_id
    _, (made, files) = places.put(
        [out, own] if out else [own],
        lambda folder: _written(client, batch_id, folder, download=download),
        what="results",
        later=f"`chai bulk attach {batch_id} --out FOLDER` writes them later",
    )
    _print_end(batch, made, files, as_json=as_json, num_duplicates=num_duplicates)
    is_incomplete = any(result.error for result in made)  # a video that was made and could not be fetched, too
    return exit_code(made, num_bad_lines=batch["num_bad_lines"]) if not is_incomplete else 1


def _print_results(client: Client, batch: Json) -> int:
    made = _results(client, batch["id"], local.var_dir() / "bulk" / batch["id"], download=False)
    for result in made:
        output.print_json(asdict(result))
    return exit_code(made, num_bad_lines=batch["num_bad_lines"])


def _written(client: Client, batch_id: str, folder: Path, *, download: bool) -> tuple[list[Result], list[Path]]:
    made = _results(client, batch_id, folder, download=download)
    return made, results.write(folder, made)


def _results(client: Client, batch_id: str, folder: Path, *, download: bool) -> list[Result]:
    """Return the results in the order of the list."""
    videos = client.videos(batch_id=batch_id, order="asc")
    made = [_result(client, video, batch_id, folder, download=download) for video in videos]
    return sorted(made, key=lambda result: result.place)


def _watch(client: Client, batch_id: str) -> Json:
    batch = client.batch(batch_id)
    started, num_before = time.monotonic(), _num_ended(batch)
    with output.Meter(batch["request_counts"]["total"]) as meter:
        while batch["status"] not in ENDED:
            number = _num_ended(batch) - num_before
            rate = number / max(time.monotonic() - started, 0.001) if number >= ENOUGH else 0.0
            meter.show(_num_ended(batch), _progress(batch, rate))
            time.sleep(POLL_S)
            batch = _through_outages(partial(client.batch, batch_id), meter.line)
        meter.show(_num_ended(batch), _progress(batch, 0.0))
    return batch


def _through_outages(act: Callable[[], T], tell: Callable[[str], None]) -> T:
    """Do what may be done again; a service that is away is waited for, and its absence said once."""
    deadline: float | None = None
    while True:
        try:
            return act()
        except (Unreachable, Refused) as error:
            if isinstance(error, Refused) and not (error.is_passing and error.status >= 500):
                raise
            if deadline is None:
                deadline = time.monotonic() + OUTAGE_S
                tell(f"{error}; waiting up to {OUTAGE_S:g} s for it")
            if time.monotonic() > deadline:
                raise Unreachable(str(error)) from error


def _num_ended(batch: Json) -> int:
    counts = batch["request_counts"]
    return int(counts["completed"] + counts["failed"] + counts["cancelled"])


def _progress(batch: Json, rate: float) -> str:
    """Say how far a run is and, once lines end, when it will be through."""
    counts, num_ended = batch["request_counts"], _num_ended(batch)
    text = f"{num_ended} of {counts['total']} done"
    if counts["failed"]:
        text += f", {counts['failed']} failed"
    if batch["status"] == "paused":
        return f"{text}, paused: `chai bulk resume {batch['id']}` lets it go on"
    if batch["is_held"] and batch["window"]:
        return f"{text}, waits until {batch['window']['start']} {batch['window']['tz']}"
    if rate > 0 and num_ended < counts["total"]:
        text += f", about {output.seconds((counts['total'] - num_ended) / rate)} left"
    return text


def _result(client: Client, video: Json, batch_id: str, folder: Path, *, download: bool) -> Result:
    file, error = None, None
    if video["status"] == "completed":
        target = folder / "videos" / f"{video['id']}.mp4"
        if download and not target.exists():
            error = _download(client, video["id"], target)
        file = str(target) if target.exists() else f"{client.url}/v1/videos/{video['id']}/content"
    return Result.of(video, batch_id, file=file, error=error)


def _download(client: Client, video_id: str, target: Path) -> str | None:
    """Save a video; one that cannot be had now costs itself alone: return why, for its row."""
    try:
        client.download(video_id, target)
    except (Refused, Unreachable) as error:
        output.note(f"{video_id} was not downloaded: {error}")
        return f"not downloaded: {error}"
    except OSError as error:
        output.note(f"{video_id} was not downloaded: {target.parent}: {places.reason(error)}")
        return f"not downloaded: {places.reason(error)}"
    return None


def _print_end(
    batch: Json, made: Sequence[Result], files: Sequence[Path], *, as_json: bool, num_duplicates: int = 0
) -> None:
    if as_json:
        output.print_json({**batch, "results": str(next(file for file in files if file.suffix == ".jsonl"))})
        return
    by_status = Counter(result.status for result in made)
    num_fast = sum(result.path == "fast" for result in made if result.status == "completed")
    fast = {"completed": f" ({num_fast} fast)"} if num_fast else {}
    counts = ", ".join(f"{number} {name}{fast.get(name, '')}" for name, number in sorted(by_status.items()))
    twice = f", {num_duplicates} said twice" if num_duplicates else ""
    earlier = f", {batch['num_reused']} of them by earlier runs" if batch["num_reused"] else ""
    output.say(f"{batch['name']}: {counts or 'nothing to do'}{earlier}; {batch['num_bad_lines']} lines left out{twice}")
    print("results  " + "\n         ".join(map(str, files)))


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
