"""The service over HTTP. Answers are the API's own JSON objects, so that new fields pass through `--json` untouched."""

import os
import random
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self
from uuid import uuid4

import httpx

from cli import local, sendable
from cli.errors import BadInput, Refused, Unreachable

Json = dict[str, Any]  # Any: whatever the API answers

FINAL = frozenset({"completed", "failed", "cancelled"})
PAGE_SIZE = 100
NUM_TRIES = 5
FIRST_PAUSE_S = 0.2
LONGEST_PAUSE_S = 5.0
OUTAGE_S = 60.0  # how long a waiting command puts up with an absent service
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
RETRIED = frozenset({429, 502, 503, 504})


class Client:
    """One service and one caller. Every call may be repeated: posts carry a key or name what they change.

    Raises `Unreachable` when nobody answers after a few tries, `Refused` with the service's own words.
    """

    def __init__(self, url: str, key: str | None = None, *, timeout_s: float = 30.0) -> None:
        key = (key or "").strip()  # files and shells leave newlines behind
        _check_header("CHAI_API_KEY", key, is_secret=True)
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self.url = _base(url)
        is_here = _host(self.url) in LOOPBACK  # a proxy of the environment cannot reach it
        try:
            self._http = httpx.Client(base_url=self.url, headers=headers, timeout=timeout_s, trust_env=not is_here)
        except (ValueError, httpx.InvalidURL) as error:
            raise BadInput(
                f"a proxy variable of the environment cannot be used ({error}); mend it, or unset it"
            ) from None

    def submit(self, request: Mapping[str, Any], *, idempotency_key: str | None = None) -> Json:
        """Create a video; the same key gives the same one again."""
        _check_header("--idempotency-key", idempotency_key or "")
        headers = {"Idempotency-Key": idempotency_key or str(uuid4())}
        return self._json("POST", "/v1/videos", json=dict(request), headers=headers)

    def video(self, id_: str) -> Json:
        """Return a video as it is now."""
        return self._json("GET", f"/v1/videos/{_segment(id_)}")

    def videos(self, *, limit: int | None = None, **filters: str | list[str]) -> Iterator[Json]:
        """Go through the caller's videos page by page, the newest first unless `order` is `asc`."""
        return self._pages("/v1/videos", limit=limit, **filters)

    def _pages(self, path: str, *, limit: int | None, **filters: str | list[str]) -> Iterator[Json]:
        filters = {"limit": str(min(limit or PAGE_SIZE, PAGE_SIZE)), **filters}
        num_left = limit
        while True:
            page = self._json("GET", path, params=filters)
            yield from page["data"][:num_left]
            num_left = None if num_left is None else num_left - len(page["data"])
            if not page["has_more"] or (num_left is not None and num_left <= 0):
                return
            filters["after"] = page["last_id"]

    def cancel(self, id_: str) -> Json:
        """Cancel a video that has not ended."""
        return self._json("POST", f"/v1/videos/{_segment(id_)}/cancel")

    def delete(self, id_: str) -> Json:
        """Delete a video and its file; one that has not ended is cancelled first."""
        return self._json("DELETE", f"/v1/videos/{_segment(id_)}")

    def wait(self, id_: str, *, seen: Callable[[Json], None] = lambda _: None) -> Json:
        """Poll until the video has ended, show each answer to `seen`, and return the last; outages are sat out."""
        absent_since: float | None = None
        while True:
            try:
                video = self.video(id_)
                absent_since = None
            except Unreachable:
                absent_since = absent_since or time.monotonic()
                if time.monotonic() - absent_since > OUTAGE_S:
                    raise
                continue
            seen(video)
            if video["status"] in FINAL:
                return video
            time.sleep(0.5 if video["status"] == "queued" else 0.2)

    def download(self, id_: str, file: Path, variant: str = "video") -> int:
        """Save the video, or a picture of it, as `file`, whole or not at all; return its bytes."""
        file.parent.mkdir(parents=True, exist_ok=True)
        partial = file.with_name(file.name + ".part")
        with partial.open("wb") as stream:
            num_bytes = self.copy(id_, stream, variant)
        partial.replace(file)
        return num_bytes

    def copy(self, id_: str, stream: BinaryIO, variant: str = "video") -> int:
        """Write the video, or a picture of it, to `stream`; return its bytes."""
        query = "" if variant == "video" else f"?variant={variant}"
        with self._stream(f"/v1/videos/{_segment(id_)}/content{query}") as answer:
            return sum(stream.write(chunk) for chunk in answer.iter_bytes())

    def open_batch(self, name: str, manifest_key: str, *, series: str, window: Json | None = None) -> Json:
        """Return the batch of this manifest, a new one the first time; runs of one series make a line once."""
        asked = {"name": name, "manifest_key": manifest_key, "series": series}
        return self._json("POST", "/v1/bulk-runs", json=asked | ({"window": window} if window else {}))

    def add_items(self, batch_id: str, items: Sequence[Mapping[str, Any]]) -> Json:
        """Add lines to an open batch; known ones are counted, not doubled."""
        return self._json("POST", f"/v1/bulk-runs/{_segment(batch_id)}/items", json={"items": list(items)})

    def seal_batch(self, batch_id: str, *, num_bad_lines: int, forecast: Json | None = None) -> Json:
        """Say that no more lines will come."""
        asked = {"num_bad_lines": num_bad_lines} | ({"forecast": forecast} if forecast else {})
        return self._json("POST", f"/v1/bulk-runs/{_segment(batch_id)}/seal", json=asked)

    def batch(self, batch_id: str) -> Json:
        """Return a batch with its counts as they are now."""
        return self._json("GET", f"/v1/bulk-runs/{_segment(batch_id)}")

    def batches(self, *, limit: int = 20) -> list[Json]:
        """Return the newest batches."""
        return list(self._pages("/v1/bulk-runs", limit=limit))

    def cancel_batch(self, batch_id: str) -> Json:
        """Cancel what has not ended of a batch."""
        return self._json("POST", f"/v1/bulk-runs/{_segment(batch_id)}/cancel")

    def pause_batch(self, batch_id: str) -> Json:
        """Let nothing of a batch start; what runs ends."""
        return self._json("POST", f"/v1/bulk-runs/{_segment(batch_id)}/pause")

    def resume_batch(self, batch_id: str) -> Json:
        """Let a paused batch go on."""
        return self._json("POST", f"/v1/bulk-runs/{_segment(batch_id)}/resume")

    def retry_batch(self, batch_id: str, *, only: str | None) -> Json:
        """Make failed and cancelled lines of a batch anew, or only those of one kind."""
        return self._json("POST", f"/v1/bulk-runs/{_segment(batch_id)}/retry", json={"only": only})

    def set_window(self, batch_id: str, window: Json | None) -> Json:
        """Say between which times of day lines of a batch may start; None: at any time."""
        return self._json("POST", f"/v1/bulk-runs/{_segment(batch_id)}/window", json={"window": window})

    def models(self) -> list[Json]:
        """Return the models of the service."""
        return list(self._json("GET", "/v1/models")["data"])

    def is_ready(self) -> bool:
        """Return whether the service answers and reaches its database."""
        try:
            checks = self._http.get("/readyz").json()["checks"]
            return bool({checks.get("database"), checks.get("storage")} == {"ok"})  # workers may come later
        except (httpx.RequestError, ValueError, KeyError):
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

    def _json(self, method: str, path: str, *, json: Mapping[str, Any] | None = None, **options: Any) -> Json:
        if json is not None:
            options["content"] = _encoded(json)
            options["headers"] = {**options.get("headers", {}), "Content-Type": "application/json"}
        answer = self._answer(self._http.build_request(method, path, **options))
        try:
            value = answer.json()
        except ValueError:
            value = None
        if not isinstance(value, dict):
            raise Unreachable(f"what answers at {self.url} is not CHAI ({method} {path} gave no JSON); check CHAI_URL")
        return value

    @contextmanager
    def _stream(self, path: str) -> Iterator[httpx.Response]:
        answer = self._answer(self._http.build_request("GET", path), stream=True)
        try:
            yield answer
        except httpx.RequestError as error:
            raise Unreachable(f"{self.url} went away during {path} ({error}); try again") from error
        finally:
            answer.close()

    def _answer(self, request: httpx.Request, *, stream: bool = False) -> httpx.Response:
        """Send, again after outages and "try later", and raise what cannot be mended by waiting."""
        for number in range(1, NUM_TRIES + 1):
            try:
                answer = self._http.send(request, stream=stream)
            except httpx.RequestError as error:
                if number == NUM_TRIES:
                    raise Unreachable(
                        f"no answer from {self.url} ({error}); start the service with `chai up`, or set CHAI_URL"
                    ) from error
                time.sleep(_pause_s(number))
                continue
            if answer.status_code not in RETRIED or number == NUM_TRIES:
                break
            answer.close()
            time.sleep(_pause_s(number, answer.headers.get("retry-after")))
        if answer.is_success:
            return answer
        answer.read()
        answer.close()
        raise _refused(answer)


def connect(url: str | None = None, key: str | None = None) -> Client:
    """Return a client of the given service, else of CHAI_URL, else of the running `chai up`, with CHAI_API_KEY."""
    return Client(url or local.url(local.var_dir()), key or os.environ.get("CHAI_API_KEY"))


def _base(url: str) -> str:
    """Return the service's own address: OpenAI's clients write theirs with /v1 at the end."""
    return re.sub(r"(?<=[^/:])(/+v1)?/*$", "", url.strip())


def _encoded(value: Mapping[str, Any]) -> bytes:
    try:
        sendable.num_bytes(value)
        return sendable.encoded(value)
    except ValueError as error:
        raise BadInput(str(error)) from None


def _check_header(name: str, value: str, *, is_secret: bool = False) -> None:
    """Raise `BadInput` for what a header cannot carry; a secret is named by its variable alone."""
    bad = next((place for place, char in enumerate(value) if not " " <= char <= "~"), None)
    if bad is not None:
        shown = "" if is_secret else f" {value!r}"
        raise BadInput(f"{name}{shown} holds something that is no printable ASCII character, at position {bad}")


def _host(url: str) -> str:
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise BadInput(f"CHAI_URL {url!r} is not a URL ({error}); write it like {local.DEFAULT_URL}") from error
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise BadInput(f"CHAI_URL {url!r} is not an http URL; write it like {local.DEFAULT_URL}")
    return parsed.host


def _segment(id_: str) -> str:
    if not id_ or any(not (char.isalnum() or char in "-_") for char in id_):
        raise BadInput(f"id {id_!r} is not an id; `chai list` and `chai bulk status` show them")
    return id_


def _pause_s(number: int, retry_after: str | None = None) -> float:
    if retry_after and retry_after.isdigit():
        return min(float(retry_after), LONGEST_PAUSE_S)
    return min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** (number - 1)) * random.uniform(0.8, 1.2)  # noqa: S311 - jitter


def _refused(answer: httpx.Response) -> Refused:
    try:
        error = answer.json()["error"]
        return Refused(error["message"], status=answer.status_code, code=error.get("code"), param=error.get("param"))
    except (ValueError, KeyError, TypeError):
        return Refused(
            f"{answer.request.url} answered {answer.status_code}: {answer.text[:200]}", status=answer.status_code
        )
