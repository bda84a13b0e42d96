"""`chai bulk`: a whole list of prompts, overnight if need be.

The service keeps the run; this command hands it the list, shows how it goes, and writes the results. It may be stopped
at any time and attached again, and running it again submits nothing twice.
"""

import csv
import json
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, TextIO

import typer

from cli import local, manifest, output
from cli.client import Client, Json, connect
from cli.manifest import BadLine, Line
from cli.receipt import Receipt

app = typer.Typer(help="Run a whole list of prompts.", no_args_is_help=True)

CHUNK = 200  # lines a request
POLL_S = 1.0
ENDED = frozenset({"completed", "cancelled"})

BATCH_COLUMNS = ("id", "name", "status", "completed", "failed", "cancelled", "total")

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
Out = Annotated[Path | None, typer.Option(help="Folder for the results; var/bulk/<id> when not given.")]
Download = Annotated[bool, typer.Option("--download", help="Save the videos beside the results.")]
BatchId = Annotated[str, typer.Argument(metavar="ID", help="As `chai bulk status` shows it.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One line of the results, which joins the list by `custom_id`."""

    custom_id: str
    prompt: str
    status: str
    path: str | None
    seed: int | None
    steps: int | None
    seconds: float | None  # of work, without waiting
    file: str | None
    error: str | None


@app.command()
def run(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="prompts.txt, .csv or .jsonl")],
    mode: Annotated[str | None, typer.Option(help="auto, fast or full, for lines that do not say.")] = None,
    model: Annotated[str | None, typer.Option(help="Model, for lines that do not say.")] = None,
    size: Annotated[str | None, typer.Option(help="WIDTHxHEIGHT, for lines that do not say.")] = None,
    seconds: Annotated[str | None, typer.Option(help="Length, for lines that do not say.")] = None,
    take: Annotated[int, typer.Option(min=1, help="Raise it to run the same list once more.")] = 1,
    out: Out = None,
    download: Download = False,
    detach: Annotated[bool, typer.Option("--detach", help="Submit and leave.")] = False,
    as_json: AsJson = False,
) -> None:
    """Submit a list and follow it to the end.

    Leaves with 0 when all is well, 1 when videos failed or were cancelled, 2 when lines could not be used.
    """
    given = {"mode": mode, "model": model, "size": size, "seconds": seconds}
    listed = manifest.read(file, {name: value for name, value in given.items() if value is not None}, take=take)
    _report_lines(listed.bad, listed.duplicates)
    with connect() as client:
        batch = submit(client, file.name, listed)
        if detach:
            _print_batch(batch, as_json=as_json)
            return
        raise typer.Exit(_follow(client, batch["id"], out=out, download=download, as_json=as_json))


@app.command()
def attach(batch_id: BatchId, out: Out = None, download: Download = False, as_json: AsJson = False) -> None:
    """Follow a run that is under way, or write the results of one that has ended."""
    with connect() as client:
        raise typer.Exit(_follow(client, batch_id, out=out, download=download, as_json=as_json))


@app.command()
def status(
    batch_id: Annotated[str | None, typer.Argument(metavar="[ID]", help="All the newest without one.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show one run, or the newest."""
    with connect() as client:
        if batch_id is not None:
            _print_batch(client.batch(batch_id), as_json=as_json)
        elif as_json:
            output.print_json(client.batches())
        else:
            output.print_table(BATCH_COLUMNS, [_batch_row(batch) for batch in client.batches()])


@app.command()
def cancel(batch_id: BatchId, as_json: AsJson = False) -> None:
    """Cancel what has not ended of a run."""
    with connect() as client:
        _print_batch(client.cancel_batch(batch_id), as_json=as_json)


def submit(client: Client, name: str, listed: manifest.Manifest) -> Json:
    """Hand the list to the service and seal the batch; a list known from before is only looked up.

    An interrupted submission goes on where it stopped, because the service knows lines by their custom_id.
    """
    batch = client.open_batch(name, listed.key)
    if batch["status"] != "open":
        output.note(f"this list was submitted before as {batch['id']}; --take {listed.take + 1} would run it once more")
        return batch
    refused: list[BadLine] = []
    with output.Meter(len(listed.lines)) as meter:
        for num_sent, chunk in _chunks(listed.lines):
            refused += _send(client, batch["id"], chunk)
            meter.show(num_sent, f"submitted {num_sent} of {len(listed.lines)} lines")
    _report_lines(refused, ())
    return client.seal_batch(batch["id"], num_bad_lines=len(listed.bad) + len(refused))


def _chunks(lines: Sequence[Line]) -> Iterator[tuple[int, list[Line]]]:
    remaining = iter(lines)
    num_sent = 0
    while chunk := list(islice(remaining, CHUNK)):
        num_sent += len(chunk)
        yield num_sent, chunk


def _send(client: Client, batch_id: str, lines: Sequence[Line]) -> list[BadLine]:
    """Send some lines; return those that the service refused."""
    answer = client.add_items(batch_id, [line.item for line in lines])
    return [
        BadLine(number=lines[item["index"]].number, reason=item["error"]["message"])
        for item in answer["data"]
        if item["status"] == "refused"
    ]


def _report_lines(bad: Sequence[BadLine], duplicates: Sequence[BadLine]) -> None:
    for line in bad:
        output.note(f"line {line.number} left out: {line.reason}")
    for line in duplicates:
        output.note(f"line {line.number} left out: {line.reason}; give lines a seed to have several takes")


def _follow(client: Client, batch_id: str, *, out: Path | None, download: bool, as_json: bool) -> int:
    """Watch a run to its end and write its results; Ctrl-C leaves it running. Returns the exit code."""
    try:
        batch = _watch(client, batch_id)
    except KeyboardInterrupt:
        output.note(
            f"\nthe run goes on without you: `chai bulk attach {batch_id}` shows it again, "
            f"`chai bulk cancel {batch_id}` ends it"
        )
        return 130
    folder = out or local.var_dir() / "bulk" / batch_id
    results = [
        _result(client, video, folder, download=download) for video in client.videos(batch_id=batch_id, order="asc")
    ]
    write_results(folder, results)
    _print_end(batch, results, folder, as_json=as_json)
    return exit_code(results, num_bad_lines=batch["num_bad_lines"])


def _watch(client: Client, batch_id: str) -> Json:
    batch = client.batch(batch_id)
    started, num_before = time.monotonic(), _num_ended(batch)
    with output.Meter(batch["request_counts"]["total"]) as meter:
        while batch["status"] not in ENDED:
            rate = (_num_ended(batch) - num_before) / max(time.monotonic() - started, 0.001)
            meter.show(_num_ended(batch), _progress(batch, rate))
            time.sleep(POLL_S)
            batch = client.batch(batch_id)
        meter.show(_num_ended(batch), _progress(batch, 0.0))
    return batch


def _num_ended(batch: Json) -> int:
    counts = batch["request_counts"]
    return int(counts["completed"] + counts["failed"] + counts["cancelled"])


def _progress(batch: Json, rate: float) -> str:
    """Say how far a run is and, once lines end, when it will be through."""
    counts, num_ended = batch["request_counts"], _num_ended(batch)
    text = f"{num_ended} of {counts['total']} done"
    if counts["failed"]:
        text += f", {counts['failed']} failed"
    if rate > 0 and num_ended < counts["total"]:
        text += f", about {output.seconds((counts['total'] - num_ended) / rate)} left"
    return text


def _result(client: Client, video: Json, folder: Path, *, download: bool) -> Result:
    receipt = Receipt.of(video)
    file = None
    if video["status"] == "completed":
        target = folder / "videos" / f"{video['id']}.mp4"
        if download and not target.exists():
            client.download(video["id"], target)
        file = str(target) if target.exists() else f"{client.url}/v1/videos/{video['id']}/content"
    return Result(
        custom_id=video["custom_id"],
        prompt=video["prompt"],
        status=receipt.status,
        path=receipt.path,
        seed=receipt.seed,
        steps=receipt.num_steps,
        seconds=receipt.run_s,
        file=file,
        error=receipt.error,
    )


def write_results(folder: Path, results: Sequence[Result]) -> None:
    """Write `results.jsonl` and `results.csv`, each whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [asdict(result) for result in results]
    with _replacing(folder / "results.jsonl") as stream:
        stream.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    with _replacing(folder / "results.csv") as stream:
        writer = csv.DictWriter(stream, [field.name for field in fields(Result)])
        writer.writeheader()
        writer.writerows({name: _harmless(value) for name, value in row.items()} for row in rows)


def exit_code(results: Sequence[Result], *, num_bad_lines: int) -> int:
    """Return 1 when a video is missing, else 2 when a line was left out as unusable, else 0."""
    if any(result.status != "completed" for result in results):
        return 1
    return 2 if num_bad_lines else 0


def _harmless(value: object) -> object:
    """Keep a spreadsheet from running a prompt as a formula."""
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") else value


@contextmanager
def _replacing(file: Path) -> Iterator[TextIO]:
    partial = file.with_name(file.name + ".part")
    with partial.open("w", encoding="utf-8", newline="") as stream:
        yield stream
    partial.replace(file)


def _print_end(batch: Json, results: Sequence[Result], folder: Path, *, as_json: bool) -> None:
    if as_json:
        output.print_json({**batch, "results": str(folder / "results.jsonl")})
        return
    by_status = Counter(result.status for result in results)
    counts = ", ".join(f"{number} {name}" for name, number in sorted(by_status.items())) or "nothing to do"
    print(f"{batch['name']}: {counts}; {batch['num_bad_lines']} lines left out")
    print(f"results  {folder / 'results.csv'}\n         {folder / 'results.jsonl'}")


def _print_batch(batch: Mapping[str, Any], *, as_json: bool) -> None:
    if as_json:
        output.print_json(batch)
    else:
        output.print_table(BATCH_COLUMNS, [_batch_row(batch)])


def _batch_row(batch: Mapping[str, Any]) -> tuple[str, ...]:
    counts = batch["request_counts"]
    numbers = (str(counts[name]) for name in ("completed", "failed", "cancelled", "total"))
    return (batch["id"], batch["name"], batch["status"], *numbers)
