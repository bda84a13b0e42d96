"""Sending a list to the service: in order, in pieces, through outages, and never twice."""

import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import typer

from cli import manifest, output
from cli.bulk.following import ENDED
from cli.cache.spaces import of_another
from cli.client import Client, Json
from cli.errors import BadInput, CommandError, Refused, Unreachable
from cli.manifest import BadLine, Line, Order
from cli.outages import through_outages
from shared.run_windows import RunWindow

CHUNK = 200  # lines per request
CHUNK_BYTES = 4 * 2**20  # of JSON per request, roughly: a quarter of a service's default limit
SPLIT_ON = frozenset({400, 413, 422})  # the whole request was refused because of some line in it
FULL = "queue_full"  # error code if a key allows no more waiting videos
WAIT_S = 1.0  # for room
WORTH_A_PLAN = 20  # lines: ordering a few takes longer than they could gain


def submit(
    client: Client, name: str, listed: manifest.Manifest, *, window: Json | None = None, order: Order = Order.PLANNED
) -> Json:
    """Send the list to the service and seal the batch; a list that is already known is only looked up.

    The service runs the lines in the order in which they arrive. A long list is ordered and sent in pieces.

    An interrupted submission continues where it stopped, since the service knows lines by their custom_id. If the
    service goes away, this waits. Raises `BadInput`, and leaves no batch behind, if no line is accepted.
    """
    series = series_of(name, listed)
    batch = client.open_run(name, listed.key, series=series, num_lines=len(listed.lines), window=window)
    if batch["status"] != "open":
        _note_known(batch, listed, window)
        return batch
    refused: list[BadLine] = []
    num_sent = num_reused = 0
    ordered = Ordered(listed, window, worth(order, listed), series)
    try:
        with output.Meter(len(listed.lines)) as meter:
            hand_over = partial(send, client, batch["id"], wait=_waiting_for_room(meter))
            for number, chunk in chunks(ordered.lines()):
                sent = through_outages(partial(hand_over, chunk), meter.line)
                num_sent = number
                refused, num_reused = refused + sent.refused, num_reused + sent.num_reused
                usable, left_out = len(listed.lines) - len(refused), f", {len(refused)} refused" if refused else ""
                meter.show(num_sent, f"submitted {num_sent - len(refused)} of {usable} lines{left_out}")
    except KeyboardInterrupt:
        output.note(f"\n{_goes_on(num_sent, listed, batch)}")
        raise typer.Exit(130) from None
    except Unreachable as error:
        raise Unreachable(f"{error}; {_goes_on(num_sent, listed, batch)}") from error
    tell_of(refused, ())
    if len(refused) == len(listed.lines) and not batch["request_counts"]["total"]:
        client.remove_run(batch["id"])
        raise BadInput(f"no line of {name} can be used; {refused[0].place}: {refused[0].reason}")
    if num_reused:
        output.note(f"{num_reused} of {len(listed.lines)} lines are videos of earlier runs and are not made again")
    num_bad = len(listed.bad) + len(refused)
    seal = partial(client.seal_run, batch["id"], num_bad_lines=num_bad, forecast=ordered.forecast)
    try:
        return through_outages(seal, output.note)
    except Unreachable as error:
        raise Unreachable(f"{error}; {_goes_on(num_sent, listed, batch)}") from error


@dataclass(slots=True)
class Ordered:
    """The lines of a list in the order in which they will run and, after all were given, their forecast."""

    listed: manifest.Manifest
    window: Json | None
    order: Order
    series: str | None = None
    forecast: Json | None = None

    def lines(self) -> Iterator[Line]:
        """Yield every line once; if no plan can be made, the rest in the order of the list."""
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

        from cli import forecast, night  # import the service's own code

        if len(self.listed.lines) > CHUNK:
            output.note(f"ordering {len(self.listed.lines)} lines so that most find a donor; --order file would not")
        try:
            planned = night.of(self.listed, self.series)
            tally = forecast.Tally(planned)
            for decided in planned.decided(self.order):
                tally.add(decided)
                yield decided.line
            if planned.stored_by is not None:
                output.note(of_another(planned.stored_by, planned.embedder.name))
            self.forecast = forecast.kept(tally.forecast(self.listed, rule_of(self.window), self.order))
        except SQLAlchemyError as error:
            raise Unreachable(f"the database: {str(error).splitlines()[0]}") from error


def _goes_on(num_sent: int, listed: manifest.Manifest, batch: Json) -> str:
    """Say what happens to a list that was sent in part."""
    return (
        f"stopped after {num_sent} of {len(listed.lines)} lines; what was submitted is being made, and the same "
        f"command goes on from there; `chai bulk cancel {batch['id']}` ends it"
    )


def series_of(name: str, listed: manifest.Manifest) -> str:
    """Return the name of the series of runs, which makes each line once."""
    return name if listed.take == 1 else f"{name}, take {listed.take}"


def worth(order: Order, listed: manifest.Manifest) -> Order:
    """Return the order in which lines are sent."""
    return order if len(listed.lines) >= WORTH_A_PLAN else Order.FILE


def rule_of(window: Json | None) -> RunWindow | None:
    """Return the times of a window; raise `BadInput`."""
    try:
        return RunWindow.of(window) if window else None
    except ValueError as error:
        raise BadInput(str(error)) from None


def _note_known(batch: Json, listed: manifest.Manifest, window: Json | None) -> None:
    id_ = batch["id"]
    output.note(submitted_before(id_, listed))
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


def submitted_before(id_: str, listed: manifest.Manifest) -> str:
    """Say that a list was submitted before, and how to run it again."""
    return f"this list was submitted before as {id_}; --take {listed.take + 1} would run it once more"


def chunks(lines: Iterable[Line]) -> Iterator[tuple[int, list[Line]]]:
    """Divide the lines into requests of acceptable length."""
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
    """The service's answer to some lines."""

    refused: list[BadLine]
    num_reused: int = 0  # have the video of an earlier run


def _waiting_for_room(meter: output.Meter) -> Callable[[Refused], None]:
    """Return a function that waits a moment for other videos of the key to run, and says so the first time."""
    is_told = False

    def wait(error: Refused) -> None:
        nonlocal is_told
        if not is_told:
            meter.line(f"{error}; the rest is sent as there is room")
            is_told = True
        time.sleep(WAIT_S)

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


def send(client: Client, batch_id: str, lines: Sequence[Line], wait: Callable[[Refused], None]) -> Sent:
    """Send some lines, once the caller's key leaves room for them.

    If the service refuses them as a whole, they are sent in halves, until only the bad line is left out.
    """
    try:
        answer = _added(client, batch_id, lines, wait)
    except Refused as error:
        if error.status not in SPLIT_ON and error.code != FULL:
            raise
        if len(lines) == 1:
            return Sent(refused=[BadLine(number=lines[0].number, file=lines[0].file, reason=str(error))])
        middle = len(lines) // 2
        halves = [send(client, batch_id, half, wait) for half in (lines[:middle], lines[middle:])]
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


def tell_of(bad: Sequence[BadLine], duplicates: Sequence[BadLine]) -> None:
    """Name the lines that are left out, and why."""
    for line in bad:
        output.note(f"{line.place} left out: {line.reason}")
    for line in duplicates:
        output.note(f"{line.place} left out: {line.reason}; give lines a seed to have several takes")
