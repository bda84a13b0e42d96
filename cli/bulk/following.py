"""Following a run to its end, and writing its results."""

import io
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from pathlib import Path

from cli import local, output, places, results
from cli.client import Client, Json
from cli.errors import Refused, Unreachable
from cli.outages import through_outages
from cli.prompt_lists import STDIN
from cli.results import exit_code
from shared.formats import duration
from shared.results import Result

POLL_S = 1.0
ENOUGH = 3  # lines before the pace says something about the rest
ENDED = frozenset({"completed", "cancelled"})


def follow(
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
    is_incomplete = any(result.error for result in made)  # including videos that were made but could not be fetched
    return exit_code(made, num_bad_lines=batch["num_bad_lines"]) if not is_incomplete else 1


def _print_results(client: Client, batch: Json) -> int:
    made = results_of(client, batch["id"], local.var_dir() / "bulk" / batch["id"], download=False)
    for result in made:
        output.print_json(asdict(result))
    return exit_code(made, num_bad_lines=batch["num_bad_lines"])


def _written(client: Client, batch_id: str, folder: Path, *, download: bool) -> tuple[list[Result], list[Path]]:
    made = results_of(client, batch_id, folder, download=download)
    return made, results.write(folder, made)


def results_of(client: Client, batch_id: str, folder: Path, *, download: bool) -> list[Result]:
    """Return the results in the order of the list."""
    videos = client.videos(batch_id=batch_id, order="asc")
    made = [_result(client, video, batch_id, folder, download=download) for video in videos]
    return sorted(made, key=lambda result: result.place)


def _watch(client: Client, batch_id: str) -> Json:
    batch = client.run(batch_id)
    started, num_before = time.monotonic(), _num_ended(batch)
    with output.Meter(batch["request_counts"]["total"]) as meter:
        while batch["status"] not in ENDED:
            number = _num_ended(batch) - num_before
            rate = number / max(time.monotonic() - started, 0.001) if number >= ENOUGH else 0.0
            meter.show(_num_ended(batch), _progress(batch, rate))
            time.sleep(POLL_S)
            batch = through_outages(partial(client.run, batch_id), meter.line)
        meter.show(_num_ended(batch), _progress(batch, 0.0))
    return batch


def _num_ended(batch: Json) -> int:
    counts = batch["request_counts"]
    return int(counts["completed"] + counts["failed"] + counts["cancelled"])


def _progress(batch: Json, rate: float) -> str:
    """Show the progress of a run and, once lines end, when it will be done."""
    counts, num_ended = batch["request_counts"], _num_ended(batch)
    text = f"{num_ended} of {counts['total']} done"
    if counts["failed"]:
        text += f", {counts['failed']} failed"
    if batch["status"] == "paused":
        return f"{text}, paused: `chai bulk resume {batch['id']}` lets it go on"
    if batch["is_held"] and batch["window"]:
        return f"{text}, waits until {batch['window']['start']} {batch['window']['tz']}"
    if rate > 0 and num_ended < counts["total"]:
        text += f", about {duration((counts['total'] - num_ended) / rate)} left"
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
    """Save a video; if it cannot be fetched now, return why, for its row, so that the others go on."""
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


def pictures(client: Client, rows: Sequence[Json]) -> dict[str, bytes]:
    """Fetch the first frames of these videos, leaving out those that have none."""
    found = {}
    for row in rows:
        stream = io.BytesIO()
        with suppress(Refused, Unreachable):
            client.copy(row["video"], stream, "thumbnail")
            found[row["video"]] = stream.getvalue()
    return found
