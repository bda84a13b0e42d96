"""What both clients share: addresses, requests, retries and the meaning of answers. Nothing here waits."""

import errno
import hashlib
import json
import math
import os
import random
import re
import ssl
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from email.utils import parsedate_to_datetime
from ipaddress import ip_address, ip_network
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self
from urllib.request import getproxies
from uuid import uuid4

import httpx

from chai_client import encoding
from chai_client.errors import BadInput, ChaiError, Refused, Unfinished, Unreachable, discreet
from chai_client.values import FINAL_OF_BATCHES, Batch, Json

DEFAULT_URL = "http://127.0.0.1:8400"
PAGE_SIZE = 100
NUM_TRIES = 5
FIRST_PAUSE_S = 0.2
LONGEST_PAUSE_S = 5.0
LONGEST_ASKED_S = 60.0  # longer pauses that an answer asks for are ignored
OUTAGE_S = 60.0  # how long waiting calls tolerate an absent service
GRACE_S = 5.0  # for an answer, once the time to wait is over
HELD_S = 20  # longest that the service is asked to hold an answer
LATER = frozenset({408, 429, 502, 503, 504})  # statuses after which a retry may succeed
GATEWAY = frozenset({502, 504})  # those of them from a proxy, when the service may have executed the call
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-\d{1,18}/(\d{1,18})", re.ASCII)
LONGEST_BEGINNING = 200  # bytes: file systems take names of 255
OWN = ".own.part"  # suffix of a download's own part while another download has the usual one
_TAG = "[0-9a-f]{32}"  # a file's version, in the service's notation
_ETAG = re.compile(f'"({_TAG})"')


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request, which may be repeated: posts carry a key or name what they change."""

    method: str
    path: str
    json: Mapping[str, Any] | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, Any] | None = None
    data: Mapping[str, str] | None = None
    until: float = math.inf  # monotonic: it is retried until then, and no answer is awaited much longer

    def held(self, seconds: int) -> "Call":
        """Return the same call, to be answered when the video has ended, or after that many seconds."""
        return replace(self, headers={**self.headers, "Prefer": f"wait={seconds}"}) if seconds else self

    def build(self, http: httpx.Client | httpx.AsyncClient) -> httpx.Request:
        """Return the request; raise `BadInput` for values that JSON or a URL cannot carry."""
        headers = {name: value.strip() for name, value in self.headers.items()}  # a header carries no blanks around it
        for name, value in headers.items():
            check_header(name, value)
        check_fields(self.params)
        if self.json is None:
            options: dict[str, Any] = {"files": self.files, "data": self.data} if self.files else {}
        else:
            headers["Content-Type"] = "application/json"
            options = {"content": encoded(self.json)}
        if self.until < math.inf:
            left_s = max(0.0, self.until - time.monotonic())
            options["timeout"] = min(http.timeout.read or math.inf, left_s + GRACE_S)
        params = {name: value for name, value in self.params.items() if value is not None}  # httpx sends None as ""
        return http.build_request(self.method, self.path, params=params, headers=headers, **options)


class Tries:
    """The attempts of one call: whether another follows, and after how long."""

    def __init__(self, url: str, call: Call) -> None:
        self._url, self._call = url, call
        self._number = 0  # of attempts that have ended
        self._may_have_arrived = False  # an earlier attempt

    def lost(self, error: httpx.RequestError) -> float:
        """Return the pause after an attempt without an answer; raise `Unreachable` if it was the last.

        Raises `Unfinished` if it was never sent, because other calls had all connections until the time was up.
        """
        if isinstance(error, httpx.PoolTimeout):
            raise Unfinished(f"{self._call.path} had no turn in time beside so many other calls; wait again") from error
        self._number += 1
        if self._is_last():
            raise no_answer(self._url, error) from error
        self._may_have_arrived = True
        return pause_s(self._number)

    def answered(self, answer: httpx.Response) -> float | None:
        """Return the pause before the next attempt, given an answer; None if the answer is final."""
        self._number += 1
        if not is_later(answer) or self._is_last():
            return None
        self._may_have_arrived |= answer.status_code in GATEWAY
        return min(pause_s(self._number, answer), max(0.0, self._call.until - time.monotonic()))

    def have_deleted(self, answer: httpx.Response) -> bool:
        """Return whether a delete found nothing because an earlier attempt had succeeded."""
        return self._may_have_arrived and self._call.method == "DELETE" and answer.status_code == 404

    def _is_last(self) -> bool:
        return self._number >= NUM_TRIES or time.monotonic() >= self._call.until


def options(url: str, key: str | None, timeout_s: float) -> dict[str, Any]:
    """Return the options of an httpx client for a service; raise `BadInput`."""
    key = (key or "").strip()  # files and shells add newlines
    check_header("CHAI_API_KEY", key, is_secret=True)
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    timeout = httpx.Timeout(timeout_s, pool=None)  # of the service: concurrent calls wait for connections
    return {"base_url": url, "headers": headers, "timeout": timeout, **way(url)}


def way(url: str) -> dict[str, Any]:
    """Return the httpx options for reaching a service, by the environment; raise `BadInput`.

    Proxy variables are read here, since httpx fails if NO_PROXY names an IPv6 network, as container engines set it.
    """
    host = _host(url)
    parts = httpx.URL(url)
    verify = {"verify": _authorities()} if parts.scheme == "https" else {}
    return {"trust_env": False, "proxy": _proxy(parts.scheme, host, parts.port), **verify}


def _proxy(scheme: str, host: str, port: int | None) -> str | None:
    given = getproxies()
    proxy = given.get(scheme) or given.get("all")
    is_direct = host in LOOPBACK or any(_names(entry, host, port) for entry in re.split(r"[,\s]+", given.get("no", "")))
    if not proxy or is_direct:  # no proxy is needed for this machine
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


def _names(entry: str, host: str, port: int | None) -> bool:
    """Return whether an entry of NO_PROXY covers a host: by name, parent domain or network."""
    entry = entry.rpartition("://")[2].lower()
    try:
        network = ip_network(entry.translate({ord("["): None, ord("]"): None}), strict=False)
    except ValueError:
        name, _, only = entry.partition(":")
        name = name.removeprefix("*").removeprefix(".")
        is_named = bool(name) and f".{host}".endswith(f".{name}")
        return entry == "*" or (is_named and only in ("", str(port)))
    try:
        return ip_address(host) in network
    except ValueError:
        return False


def _authorities() -> ssl.SSLContext:
    """Return the trusted certificate authorities, including those of the environment; raise `BadInput`."""
    try:
        return httpx.create_ssl_context()
    except OSError as error:
        raise bad_environment(error) from None


def bad_environment(error: Exception) -> BadInput:
    """Return the error for an environment variable that cannot be used."""
    if isinstance(error, ImportError):
        return BadInput(
            "a proxy variable of the environment names a SOCKS proxy; pip install 'httpx[socks]', or unset it"
        )
    if isinstance(error, OSError):  # of a file of certificates, which has no name in it
        name = next((name for name in ("SSL_CERT_FILE", "SSL_CERT_DIR") if os.environ.get(name)), "a certificate")
        value = f" {os.environ[name]!r}" if name in os.environ else ""
        return BadInput(f"{name}{value} cannot be read ({error.strerror or error}); mend it, or unset it")
    return BadInput(f"a proxy variable of the environment cannot be used ({error}); mend it, or unset it")


def base(url: str) -> str:
    """Return the service's own address: OpenAI's clients write theirs with /v1 at the end."""
    return re.sub(r"(?<=[^/:])(/+v1)?/*$", "", url.strip())


def keyed(key: str | None) -> dict[str, str]:
    """Return the idempotency header, with the caller's key or a new one."""
    if key is not None and not key.strip():
        raise BadInput(f"--idempotency-key {key!r} is empty; write a UUID, or leave it out")
    check_header("--idempotency-key", key or "")
    return {"Idempotency-Key": key or str(uuid4())}


def encoded(value: Mapping[str, Any]) -> bytes:
    """Return JSON; raise `BadInput` naming a field that it cannot carry."""
    check_fields(value)
    return encoding.encoded(value)


def check_fields(fields: Mapping[str, Any]) -> None:
    """Raise `BadInput` naming a field that cannot be sent."""
    try:
        encoding.num_bytes(fields)
    except ValueError as error:
        raise BadInput(str(error)) from None


def check_header(name: str, value: str, *, is_secret: bool = False) -> None:
    """Raise `BadInput` for a value that a header cannot carry; the message names a secret only by its variable."""
    bad = next((place for place, char in enumerate(value) if not " " <= char <= "~"), None)
    if bad is not None:
        said = "" if is_secret else f" {encoding.shown(value)}"
        raise BadInput(f"{name}{said} holds something that is no printable ASCII character, at position {bad}")


def segment(id_: str) -> str:
    """Return an id if it cannot lead to another path; raise `BadInput` otherwise."""
    if not id_ or any(not (char.isalnum() or char in "-_") for char in id_):
        raise BadInput(f"id {encoding.shown(id_)} is not an id; `chai list` and `chai bulk status` show them")
    return id_


def pause_s(number: int, answer: httpx.Response | None = None) -> float:
    """Return the pause before the next attempt, as the answer says if it does."""
    asked_s = None if answer is None else _asked_s(answer.headers)
    if asked_s is not None and asked_s <= LONGEST_ASKED_S:
        return asked_s
    return min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** (number - 1)) * random.uniform(0.8, 1.2)  # noqa: S311 - jitter


def _asked_s(headers: Mapping[str, str]) -> float | None:
    """Return the pause that Retry-After asks for, given in seconds or as a time; None without one."""
    text = headers.get("retry-after", "")
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except ValueError:
        return None


def poll_s(headers: Mapping[str, str]) -> float:
    """Return the polling interval that the service asks for."""
    asked = headers.get("openai-poll-after-ms", "")
    return min(int(asked) / 1000, LONGEST_PAUSE_S) if asked.isascii() and asked.isdigit() else 0.5


def held_s(left_s: float, timeout_s: float) -> int:
    """Return for how long an answer may be held: at most the time left, and what the connection tolerates."""
    return max(0, int(min(HELD_S, timeout_s / 2, left_s)))


def until(timeout_s: float | None) -> float:
    """Return when a timeout that starts now ends (monotonic); infinity without one."""
    return math.inf if timeout_s is None else time.monotonic() + timeout_s


def may_pass(error: Unreachable | Refused) -> bool:
    """Return whether a retry may succeed."""
    return isinstance(error, Unreachable) or error.is_passing


def is_ready(answer: httpx.Response) -> bool:
    """Return whether the answer to /readyz says that database and storage work; False for any other answer."""
    try:
        checks = answer.json()["checks"]
        return bool({checks["database"], checks["storage"]} == {"ok"})
    except (ValueError, KeyError, TypeError):
        return False


def finished(batch: Batch) -> Batch:
    """Return the batch if it has ended; raise `Unfinished` if it has no results yet."""
    if batch["status"] not in FINAL_OF_BATCHES:
        raise Unfinished(f"{batch['id']} is {batch['status']}; wait_batch waits for its results")
    return batch


def no_answer(url: str, error: Exception) -> Unreachable:
    """Return the error for a service that does not answer."""
    return Unreachable(f"no answer from {discreet(url)} ({error}); start the service with `chai up`, or set CHAI_URL")


def went_away(url: str, path: str, error: Exception | str) -> Unreachable:
    """Return the error for an answer that broke off."""
    return Unreachable(f"{discreet(url)} went away during {path} ({error}); try again")


def parsed(url: str, call: Call, answer: httpx.Response) -> Json:
    """Return the object in an answer; raise `Unreachable` if it is not this service's."""
    try:
        value = answer.json()
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise not_ours(url, call, "no JSON")
    return value


def is_page(answer: httpx.Response) -> bool:
    """Return whether an answer is an HTML page, as of a sign-in or a proxy in between."""
    return answer.is_success and str(answer.headers.get("content-type", "")).lower().startswith("text/html")


def not_ours(url: str, call: Call, what: str) -> Unreachable:
    """Return the error for an answer of another server."""
    asked = f"{call.method} {call.path}"
    return Unreachable(f"what answers at {discreet(url)} is not CHAI ({asked} gave {what}); check CHAI_URL")


def is_later(answer: httpx.Response) -> bool:
    """Return whether the same call may work later.

    409 with a Retry-After means that the first attempt at a post has not ended.
    """
    is_passing = answer.status_code in LATER or (answer.status_code == 409 and "retry-after" in answer.headers)
    return is_passing and answer.headers.get("x-should-retry") != "false"


def deleted(call: Call) -> httpx.Response:
    """Return the answer that was lost: `/v1/bulk-runs/ID` was a `bulk_run`."""
    *_, several, id_ = call.path.split("/")
    kind = several.removesuffix("s").replace("-", "_")
    return httpx.Response(200, json={"id": id_, "object": f"{kind}.deleted", "deleted": True})


def refused(answer: httpx.Response) -> ChaiError:
    """Return the error with the service's message."""
    try:
        error = answer.json()["error"]
        return Refused(
            error["message"],
            status=answer.status_code,
            code=error.get("code"),
            param=error.get("param"),
            is_passing=is_later(answer),
        )
    except (ValueError, KeyError, TypeError):
        url, place = discreet(str(answer.request.url)), answer.headers.get("location")
        said = answer.text[:200] if place is None else f"look at {discreet(place)}; set CHAI_URL to where that is"
        message = f"{url} answered {answer.status_code}: {said}"
        return Refused(message, status=answer.status_code, is_passing=is_later(answer))


def lines(requests: Iterable[Mapping[str, Any]]) -> bytes:
    """Return a file of requests; a line without `custom_id` gets its number as one. Raises `BadInput`."""
    requests, written = list(requests), []
    given = {str(request["custom_id"]) for request in requests if request.get("custom_id") is not None}
    for number, request in enumerate(requests, 1):
        body = {name: value for name, value in request.items() if name != "custom_id"}
        name = str(number) if (custom_id := request.get("custom_id")) is None else str(custom_id)
        while custom_id is None and name in given:
            name += "_"
        written.append(encoded({"custom_id": name, "method": "POST", "url": "/v1/videos", "body": body}))
    return b"\n".join(written)


def results(content: bytes) -> list[Json]:
    """Return the lines of a file of results."""
    return [json.loads(line) for line in content.splitlines() if line.strip()]


def device(file: Path) -> BinaryIO | None:
    """Open a device or a pipe, which is written to rather than replaced. None for a file, even one yet to be made."""
    file = Path(file)  # a text does, too
    return file.open("wb") if file.exists() and not (file.is_file() or file.is_dir()) else None


class Partial:
    """A download in progress: `FILE.ETAG.part`, so that it is continued only with the same version, at any time.

    One download at a time has that file, which it locks. A concurrent download of the same file writes to one of its
    own.
    """

    def __init__(self, file: Path) -> None:
        self._file = file = Path(os.path.realpath(file))  # keep a link: replace its target
        if file.is_dir():  # before anything is fetched
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(file))
        file.parent.mkdir(parents=True, exist_ok=True)
        self._beginning = _beginning(file.name)
        self._part: Path | None = None
        self._etag: str | None = None  # of the part; None: no version that can be continued
        self._stream: BinaryIO | None = None
        for part in sorted(file.parent.glob(f"{_escaped(self._beginning)}.*.part")):
            etag = part.name.removeprefix(f"{self._beginning}.").removesuffix(".part")
            if re.fullmatch(_TAG, etag) and (stream := _claimed(part)):
                self._part, self._etag, self._stream = part, etag, stream
                return

    @property
    def num_bytes(self) -> int:
        """The bytes already downloaded."""
        return self._stream.tell() if self._stream else 0

    @property
    def headers(self) -> dict[str, str]:
        """The headers that ask for the rest."""
        if not self.can_go_on() or not self.num_bytes:
            return {}
        return {"Range": f"bytes={self.num_bytes}-", "If-Range": f'"{self._etag}"'}

    def begin(self, answer: httpx.Response) -> BinaryIO:
        """Return the file to append to: the present part if the answer is its rest, else a new one."""
        if answer.status_code != 206 or self._stream is None:
            self.drop()
            self._etag = _etag_of(answer)
            self._part = self._file.with_name(f"{self._beginning}.{self._etag}.part")
            self._stream = _claimed(self._part) if self._etag else None
            if self._stream is None:
                self._part = self._file.with_name(f"{self._beginning}.{uuid4().hex[:8]}{OWN}")
                self._stream = self._part.open("ab")
        return self._stream

    def is_whole(self, answer: httpx.Response) -> bool:
        """Return whether an answer says "no such bytes" because all are here."""
        there = answer.headers.get("content-range")
        return answer.status_code == 416 and there == f"bytes */{self.num_bytes}" and self.num_bytes > 0

    def takes(self, answer: httpx.Response) -> bool:
        """Return whether an answer is the whole file, or continues this part with the same version.

        A proxy may cache parts of its own and answer with one of those.
        """
        if answer.status_code != 206:
            return answer.is_success
        part, is_same = _CONTENT_RANGE.fullmatch(_range_of(answer)), self.can_go_on() and self._etag == _etag_of(answer)
        return is_same and part is not None and int(part[1]) == self.num_bytes

    def check_end(self, answer: httpx.Response) -> None:
        """Raise `httpx.RemoteProtocolError` if a partial answer ended before the file does."""
        part = _CONTENT_RANGE.fullmatch(_range_of(answer)) if answer.status_code == 206 else None
        if part is not None and self.num_bytes < int(part[2]):
            raise httpx.RemoteProtocolError(f"{self.num_bytes} of {part[2]} bytes came")

    def can_go_on(self) -> bool:
        """Return whether the download can be continued."""
        return self._etag is not None

    def drop(self) -> None:
        """Discard the part."""
        if self._part is not None and self._stream is not None:
            self._part.unlink(missing_ok=True)
            self._stream.close()
        self._part = self._etag = self._stream = None

    def finish(self) -> int:
        """Move the whole file into place; return its bytes."""
        assert self._part is not None
        assert self._stream is not None
        self._stream.flush()
        number = self.num_bytes
        if self._part.name.endswith(OWN):  # it is not locked, and some systems cannot move open files
            self._stream.close()
        self._part.replace(self._file)  # while it is locked: afterwards nobody finds it by its old name
        self._stream.close()
        self._stream = None
        return number

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Keep the part for a later download, unless none would find it."""
        if self._part is not None and (self._part.name.endswith(OWN) or not self.num_bytes):
            self.drop()
        elif self._stream is not None:
            self._stream.close()


def _beginning(name: str) -> str:
    """Return the beginning of a part's name: that of its file, shortened to leave room for a suffix."""
    return name if len(os.fsencode(name)) <= LONGEST_BEGINNING else hashlib.sha256(os.fsencode(name)).hexdigest()


def _claimed(part: Path) -> BinaryIO | None:
    """Open a file to append to, for this download alone; None if another has it or nothing can be locked there."""
    stream = part.open("ab")
    try:
        _lock(stream)
        if os.path.samestat(os.fstat(stream.fileno()), part.stat()):  # otherwise it was finished or dropped meanwhile
            return stream
    except BlockingIOError:
        pass
    except OSError:
        if stream.tell() == 0:  # nobody else has it
            part.unlink(missing_ok=True)
    stream.close()
    return None


def _lock(stream: BinaryIO) -> None:
    """Lock a file for this process; raise `BlockingIOError` if another has it, `OSError` if locking is impossible."""
    try:
        import fcntl
    except ImportError as error:
        raise OSError("no locks of files on this system") from error
    fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _etag_of(answer: httpx.Response) -> str | None:
    match = _ETAG.fullmatch(answer.headers.get("etag", ""))
    return match[1] if match else None


def _range_of(answer: httpx.Response) -> str:
    return str(answer.headers.get("content-range", ""))


def _escaped(name: str) -> str:
    return re.sub(r"([*?\[])", r"[\1]", name)


def _host(url: str) -> str:
    try:
        parts = httpx.URL(url)
    except (httpx.InvalidURL, UnicodeEncodeError) as error:
        raise BadInput(f"CHAI_URL {discreet(url)!r} is not a URL ({error}); write it like {DEFAULT_URL}") from error
    if parts.scheme not in ("http", "https") or not parts.host:
        raise BadInput(f"CHAI_URL {discreet(url)!r} is not an http URL; write it like {DEFAULT_URL}")
    if not 0 < (parts.port or 80) < 65536:
        raise BadInput(f"CHAI_URL {discreet(url)!r} has the port {parts.port}, and there are 1 to 65535")
    try:
        parts.raw_host.decode("ascii").encode("idna")
    except UnicodeError as error:  # a name that no resolver accepts
        raise BadInput(f"CHAI_URL {discreet(url)!r} names no host ({error}); write it like {DEFAULT_URL}") from error
    return parts.host
