"""The service, called from a thread that waits."""

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self, Unpack, cast

import httpx

from chai_client import calls, transport
from chai_client.errors import Refused, Unfinished, Unreachable
from chai_client.transport import Call
from chai_client.values import FINAL, FINAL_OF_BATCHES, Batch, Fields, File, Filters, Json, Variant, Video


class Client:
    """One service and one caller.

    Every call is retried after outages and answers that say "try later"; posts carry a key, so that nothing is made
    twice. Raises `Unreachable` if a few tries get no answer, `Refused` with the service's message, `BadInput`.
    """

    def __init__(self, url: str = transport.DEFAULT_URL, key: str | None = None, *, timeout_s: float = 30.0) -> None:
        self.url, self._key, self._timeout_s = transport.base(url), key, timeout_s
        self._options = transport.options(self.url, key, timeout_s)
        self._connect()

    def create(
        self,
        prompt: str,
        *,
        idempotency_key: str | None = None,
        cancel_after: str | None = None,
        **fields: Unpack[Fields],
    ) -> Video:
        """Ask for a video; the same key gives the same one again. `cancel_after` is a time like 30m."""
        return cast(Video, self.ask(calls.create(prompt, fields, key=idempotency_key, cancel_after=cancel_after)))

    def get(self, id_: str) -> Video:
        """Return a video as it is now."""
        return cast(Video, self.ask(calls.get(id_)))

    def list(self, *, limit: int | None = None, **filters: Unpack[Filters]) -> Iterator[Video]:
        """Iterate over videos page by page, newest first unless `order` is `asc`."""
        return cast(Iterator[Video], self.pages("/v1/videos", limit=limit, **filters))

    def wait(self, id_: str, *, timeout_s: float | None = None, seen: Callable[[Video], None] | None = None) -> Video:
        """Return the video once it has ended, waiting through outages. Raises `Unfinished` after the timeout.

        `seen` is called with every answer on the way.
        """
        return cast(Video, self._wait(calls.get(id_), FINAL, timeout_s, cast(Callable[[Json], None] | None, seen)))

    def cancel(self, id_: str) -> Video:
        """Cancel a video that has not ended."""
        return cast(Video, self.ask(calls.cancel(id_)))

    def delete(self, id_: str) -> None:
        """Delete a video and its file; one that has not ended is cancelled first."""
        self.ask(calls.delete(id_))

    def download(self, id_: str, file: Path, *, variant: Variant = "video") -> int:
        """Save the video, or a picture of it, as `file`, whole or not at all; return its bytes.

        A broken download continues where it ended, in this call or a later one. A device or a pipe is written to
        directly.
        """
        if device := transport.device(file):
            with device:
                return self.copy(id_, device, variant=variant)
        number = 0
        with transport.Partial(file) as partial:
            while True:
                before, number = partial.num_bytes, number + 1
                call = calls.content(id_, variant, partial.headers)
                answer = self._answer(call, stream=True, also=(416,))
                try:
                    if partial.is_whole(answer):
                        return partial.finish()
                    if not partial.takes(answer):
                        partial.drop()
                        if number < transport.NUM_TRIES:
                            continue
                        raise transport.went_away(self.url, call.path, "it sent another part than was asked for")
                    stream = partial.begin(answer)
                    for chunk in answer.iter_bytes():
                        stream.write(chunk)
                    partial.check_end(answer)
                    return partial.finish()
                except httpx.RequestError as error:
                    if number >= transport.NUM_TRIES or not partial.can_go_on():
                        raise transport.went_away(self.url, call.path, error) from error
                    number = 0 if partial.num_bytes > before else number
                    time.sleep(transport.pause_s(number + 1))
                finally:
                    answer.close()

    def copy(self, id_: str, stream: BinaryIO, *, variant: Variant = "video") -> int:
        """Write the video, or a picture of it, to `stream`; return its bytes."""
        with self._stream(calls.content(id_, variant)) as answer:
            return sum(stream.write(chunk) for chunk in answer.iter_bytes())

    def models(self) -> Sequence[Json]:
        """Return the models of the service."""
        return [dict(model) for model in self.ask(calls.models())["data"]]

    def upload(self, content: bytes, *, name: str = "requests.jsonl") -> File:
        """Upload a file of requests, one per line."""
        return cast(File, self.ask(calls.upload(content, name)))

    def file_content(self, id_: str) -> bytes:
        """Return the bytes of a file."""
        return self._answer(calls.file_content(id_)).content

    def create_batch(
        self, requests: Iterable[Mapping[str, Any]], *, metadata: Mapping[str, str] | None = None, name: str = "batch"
    ) -> Batch:
        """Make the videos of many requests, each with the fields of `create`, `prompt` and a `custom_id`."""
        file = self.upload(transport.lines(requests), name=f"{name}.jsonl")
        return cast(Batch, self.ask(calls.create_batch(file["id"], metadata or {}, key=None)))

    def batch(self, id_: str) -> Batch:
        """Return the present state of a batch."""
        return cast(Batch, self.ask(calls.batch(id_)))

    def batches(self, *, limit: int | None = None) -> Iterator[Batch]:
        """Iterate over batches, newest first."""
        return cast(Iterator[Batch], self.pages("/v1/batches", limit=limit))

    def cancel_batch(self, id_: str) -> Batch:
        """Cancel the videos of a batch that have not ended."""
        return cast(Batch, self.ask(calls.cancel_batch(id_)))

    def wait_batch(self, id_: str, *, timeout_s: float | None = None) -> Batch:
        """Return the batch once its files exist. Raises `Unfinished` after the timeout."""
        return cast(Batch, self._wait(calls.batch(id_), FINAL_OF_BATCHES, timeout_s, None))

    def results(self, batch: Batch) -> Iterator[Json]:
        """Iterate over the lines of an ended batch: completed ones first, then the others.

        Raises `Unfinished` if the batch has not ended.
        """
        batch = transport.finished(batch)
        for id_ in (batch["output_file_id"], batch["error_file_id"]):
            yield from transport.results(self.file_content(id_)) if id_ else ()

    def pages(self, path: str, /, *, limit: int | None, **filters: Any) -> Iterator[Json]:
        """Iterate over a list of the service."""
        asked, num_left = {"limit": min(limit or transport.PAGE_SIZE, transport.PAGE_SIZE), **filters}, limit
        while True:
            page = self.ask(calls.page(path, asked))
            yield from page["data"][:num_left]
            num_left = None if num_left is None else num_left - len(page["data"])
            if not page["has_more"] or (num_left is not None and num_left <= 0):
                return
            asked["after"] = page["last_id"]

    def ask(self, call: Call) -> Json:
        """Send a call whose answer is an object."""
        return transport.parsed(self.url, call, self._answer(call))

    def is_ready(self) -> bool:
        """Return whether the service answers and reaches its database and storage; workers may start later."""
        try:
            return transport.is_ready(self._http.get("/readyz"))
        except httpx.RequestError:
            return False

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle the configuration, so that another process can use the client; that opens its own connections."""
        return partial(type(self), timeout_s=self._timeout_s), (self.url, self._key)

    @property
    def _http(self) -> httpx.Client:
        """The connections of this process: on inherited ones, it and its parent would read each other's answers."""
        if self._process != os.getpid():
            self._connect()
        return self._connections

    def _connect(self) -> None:
        try:
            self._connections, self._process = httpx.Client(**self._options), os.getpid()
        except (ImportError, ValueError, httpx.InvalidURL) as error:  # of a proxy
            raise transport.bad_environment(error) from None

    def _wait(
        self, call: Call, final: frozenset[str], timeout_s: float | None, seen: Callable[[Json], None] | None
    ) -> Json:
        call = replace(call, until=transport.until(timeout_s))
        absent_since: float | None = None
        while True:
            held_s = transport.held_s(call.until - time.monotonic(), self._timeout_s)
            try:
                answer = self._answer(call.held(held_s) if seen is None else call)
                absent_since = None
            except (Unreachable, Refused) as error:
                absent_since = absent_since or time.monotonic()
                is_over = time.monotonic() - absent_since > transport.OUTAGE_S
                if is_over or not transport.may_pass(error) or time.monotonic() >= call.until:
                    raise
                continue
            value = transport.parsed(self.url, call, answer)
            if seen is not None:
                seen(value)
            if value["status"] in final:
                return value
            if (left_s := call.until - time.monotonic()) <= 0:
                raise Unfinished(f"{value['id']} is {value['status']} after {timeout_s:g} s; it goes on, wait again")
            pause_s = 0.2 if value["status"] == "in_progress" else transport.poll_s(answer.headers)
            time.sleep(min(pause_s, left_s))

    @contextmanager
    def _stream(self, call: Call) -> Iterator[httpx.Response]:
        answer = self._answer(call, stream=True)
        try:
            yield answer
        except httpx.RequestError as error:
            raise transport.went_away(self.url, call.path, error) from error
        finally:
            answer.close()

    def _answer(self, call: Call, *, stream: bool = False, also: tuple[int, ...] = ()) -> httpx.Response:
        """Send, and retry after outages and "try later"; raise permanent errors, except for statuses in `also`."""
        tries = transport.Tries(self.url, call)
        while True:
            try:
                answer = self._http.send(call.build(self._http), stream=stream)
            except httpx.RequestError as error:
                time.sleep(tries.lost(error))
                continue
            if (pause_s := tries.answered(answer)) is None:
                break
            answer.close()
            time.sleep(pause_s)
        if transport.is_page(answer):
            answer.close()
            raise transport.not_ours(self.url, call, "a page")
        if answer.is_success or answer.status_code in also:
            return answer
        if tries.have_deleted(answer):
            return transport.deleted(call)
        try:
            answer.read()  # what it says
        except httpx.RequestError as error:
            raise transport.went_away(self.url, call.path, error) from error
        finally:
            answer.close()
        raise transport.refused(answer)
