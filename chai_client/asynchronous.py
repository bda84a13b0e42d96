"""The service, called from an event loop. The same as `chai_client.client`, with await."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
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


class AsyncClient:
    """One service and one caller.

    Every call is retried after outages and answers that say "try later"; posts carry a key, so that nothing is made
    twice. Raises `Unreachable` if a few tries get no answer, `Refused` with the service's message, `BadInput`.
    """

    def __init__(self, url: str = transport.DEFAULT_URL, key: str | None = None, *, timeout_s: float = 30.0) -> None:
        self.url, self._key, self._timeout_s = transport.base(url), key, timeout_s
        self._options = transport.options(self.url, key, timeout_s)
        self._loop: asyncio.AbstractEventLoop | None = None  # to which the connections belong; None before the first
        self._connect()

    async def create(
        self,
        prompt: str,
        *,
        idempotency_key: str | None = None,
        cancel_after: str | None = None,
        **fields: Unpack[Fields],
    ) -> Video:
        """Ask for a video; the same key gives the same one again. `cancel_after` is a time like 30m."""
        return cast(Video, await self.ask(calls.create(prompt, fields, key=idempotency_key, cancel_after=cancel_after)))

    async def get(self, id_: str) -> Video:
        """Return a video as it is now."""
        return cast(Video, await self.ask(calls.get(id_)))

    def list(self, *, limit: int | None = None, **filters: Unpack[Filters]) -> AsyncIterator[Video]:
        """Iterate over videos page by page, newest first unless `order` is `asc`."""
        return cast(AsyncIterator[Video], self.pages("/v1/videos", limit=limit, **filters))

    async def wait(
        self, id_: str, *, timeout_s: float | None = None, seen: Callable[[Video], None] | None = None
    ) -> Video:
        """Return the video once it has ended, waiting through outages. Raises `Unfinished` after the timeout.

        `seen` is called with every answer on the way.
        """
        return cast(
            Video, await self._wait(calls.get(id_), FINAL, timeout_s, cast(Callable[[Json], None] | None, seen))
        )

    async def cancel(self, id_: str) -> Video:
        """Cancel a video that has not ended."""
        return cast(Video, await self.ask(calls.cancel(id_)))

    async def delete(self, id_: str) -> None:
        """Delete a video and its file; one that has not ended is cancelled first."""
        await self.ask(calls.delete(id_))

    async def download(self, id_: str, file: Path, *, variant: Variant = "video") -> int:
        """Save the video, or a picture of it, as `file`, whole or not at all; return its bytes.

        A broken download continues where it ended, in this call or a later one. A device or a pipe is written to
        directly.
        """
        if device := transport.device(file):
            with device:
                return await self.copy(id_, device, variant=variant)
        number = 0
        with transport.Partial(file) as partial:
            while True:
                before, number = partial.num_bytes, number + 1
                call = calls.content(id_, variant, partial.headers)
                answer = await self._answer(call, stream=True, also=(416,))
                try:
                    if partial.is_whole(answer):
                        return partial.finish()
                    if not partial.takes(answer):
                        partial.drop()
                        if number < transport.NUM_TRIES:
                            continue
                        raise transport.went_away(self.url, call.path, "it sent another part than was asked for")
                    stream = partial.begin(answer)
                    async for chunk in answer.aiter_bytes():
                        stream.write(chunk)
                    partial.check_end(answer)
                    return partial.finish()
                except httpx.RequestError as error:
                    if number >= transport.NUM_TRIES or not partial.can_go_on():
                        raise transport.went_away(self.url, call.path, error) from error
                    number = 0 if partial.num_bytes > before else number
                    await asyncio.sleep(transport.pause_s(number + 1))
                finally:
                    await answer.aclose()

    async def copy(self, id_: str, stream: BinaryIO, *, variant: Variant = "video") -> int:
        """Write the video, or a picture of it, to `stream`; return its bytes."""
        number = 0
        async with self._stream(calls.content(id_, variant)) as answer:
            async for chunk in answer.aiter_bytes():
                number += stream.write(chunk)
        return number

    async def models(self) -> Sequence[Json]:
        """Return the models of the service."""
        return [dict(model) for model in (await self.ask(calls.models()))["data"]]

    async def upload(self, content: bytes, *, name: str = "requests.jsonl") -> File:
        """Upload a file of requests, one per line."""
        return cast(File, await self.ask(calls.upload(content, name)))

    async def file_content(self, id_: str) -> bytes:
        """Return the bytes of a file."""
        return (await self._answer(calls.file_content(id_))).content

    async def create_batch(
        self, requests: Iterable[Mapping[str, Any]], *, metadata: Mapping[str, str] | None = None, name: str = "batch"
    ) -> Batch:
        """Make the videos of many requests, each with the fields of `create`, `prompt` and a `custom_id`."""
        file = await self.upload(transport.lines(requests), name=f"{name}.jsonl")
        return cast(Batch, await self.ask(calls.create_batch(file["id"], metadata or {}, key=None)))

    async def batch(self, id_: str) -> Batch:
        """Return the present state of a batch."""
        return cast(Batch, await self.ask(calls.batch(id_)))

    def batches(self, *, limit: int | None = None) -> AsyncIterator[Batch]:
        """Iterate over batches, newest first."""
        return cast(AsyncIterator[Batch], self.pages("/v1/batches", limit=limit))

    async def cancel_batch(self, id_: str) -> Batch:
        """Cancel the videos of a batch that have not ended."""
        return cast(Batch, await self.ask(calls.cancel_batch(id_)))

    async def wait_batch(self, id_: str, *, timeout_s: float | None = None) -> Batch:
        """Return the batch once its files exist. Raises `Unfinished` after the timeout."""
        return cast(Batch, await self._wait(calls.batch(id_), FINAL_OF_BATCHES, timeout_s, None))

    async def results(self, batch: Batch) -> AsyncIterator[Json]:
        """Iterate over the lines of an ended batch: completed ones first, then the others.

        Raises `Unfinished` if the batch has not ended.
        """
        batch = transport.finished(batch)
        for id_ in (batch["output_file_id"], batch["error_file_id"]):
            for line in transport.results(await self.file_content(id_)) if id_ else ():
                yield line

    async def pages(self, path: str, /, *, limit: int | None, **filters: Any) -> AsyncIterator[Json]:
        """Iterate over a list of the service."""
        asked, num_left = {"limit": min(limit or transport.PAGE_SIZE, transport.PAGE_SIZE), **filters}, limit
        while True:
            page = await self.ask(calls.page(path, asked))
            for row in page["data"][:num_left]:
                yield row
            num_left = None if num_left is None else num_left - len(page["data"])
            if not page["has_more"] or (num_left is not None and num_left <= 0):
                return
            asked["after"] = page["last_id"]

    async def ask(self, call: Call) -> Json:
        """Send a call whose answer is an object."""
        return transport.parsed(self.url, call, await self._answer(call))

    async def is_ready(self) -> bool:
        """Return whether the service answers and reaches its database and storage; workers may start later."""
        try:
            return transport.is_ready(await self._http.get("/readyz"))
        except httpx.RequestError:
            return False

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle the configuration, so that another process can use the client; that opens its own connections."""
        return partial(type(self), timeout_s=self._timeout_s), (self.url, self._key)

    @property
    def _http(self) -> httpx.AsyncClient:
        """The connections of this event loop: those of another, as of an earlier `asyncio.run`, do not work here."""
        loop = asyncio.get_running_loop()
        if self._loop not in (None, loop):
            self._connect()
        self._loop = loop
        return self._connections

    def _connect(self) -> None:
        try:
            self._connections = httpx.AsyncClient(**self._options)
        except (ImportError, ValueError, httpx.InvalidURL) as error:  # of a proxy
            raise transport.bad_environment(error) from None

    async def _wait(
        self, call: Call, final: frozenset[str], timeout_s: float | None, seen: Callable[[Json], None] | None
    ) -> Json:
        call = replace(call, until=transport.until(timeout_s))
        absent_since: float | None = None
        while True:
            held_s = transport.held_s(call.until - time.monotonic(), self._timeout_s)
            try:
                answer = await self._answer(call.held(held_s) if seen is None else call)
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
            await asyncio.sleep(min(pause_s, left_s))

    @asynccontextmanager
    async def _stream(self, call: Call) -> AsyncIterator[httpx.Response]:
        answer = await self._answer(call, stream=True)
        try:
            yield answer
        except httpx.RequestError as error:
            raise transport.went_away(self.url, call.path, error) from error
        finally:
            await answer.aclose()

    async def _answer(self, call: Call, *, stream: bool = False, also: tuple[int, ...] = ()) -> httpx.Response:
        """Send, and retry after outages and "try later"; raise permanent errors, except for statuses in `also`."""
        tries = transport.Tries(self.url, call)
        while True:
            try:
                answer = await self._http.send(call.build(self._http), stream=stream)
            except httpx.RequestError as error:
                await asyncio.sleep(tries.lost(error))
                continue
            if (pause_s := tries.answered(answer)) is None:
                break
            await answer.aclose()
            await asyncio.sleep(pause_s)
        if transport.is_page(answer):
            await answer.aclose()
            raise transport.not_ours(self.url, call, "a page")
        if answer.is_success or answer.status_code in also:
            return answer
        if tries.have_deleted(answer):
            return transport.deleted(call)
        try:
            await answer.aread()  # what it says
        except httpx.RequestError as error:
            raise transport.went_away(self.url, call.path, error) from error
        finally:
            await answer.aclose()
        raise transport.refused(answer)
