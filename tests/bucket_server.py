"""As much of S3 as the storage of videos asks for, in memory; signatures are not read."""

import hashlib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, quote, unquote, urlsplit
from xml.sax.saxutils import escape

BUCKET = "videos"


class Bucket(ThreadingHTTPServer):
    """One bucket, on a free port of `host`."""

    daemon_threads = True

    def __init__(self, host: str = "127.0.0.1") -> None:
        super().__init__((host, 0), _Handler)
        self.files: dict[str, bytes] = {}
        self.dates: dict[str, datetime] = {}
        self.ahead = timedelta()  # of its clock before ours
        self.lock = threading.Lock()
        self.refuse: Callable[[_Handler], tuple[int, str] | None] = lambda _: None  # status and code of an error
        self.page = 1000  # keys of a listing that come at once
        self.asked: list[str] = []  # method and range of each request

    @property
    def url(self) -> str:
        return f"http://{self.server_address[0]}:{self.server_port}"


@contextmanager
def bucket_server(host: str = "127.0.0.1") -> Iterator[Bucket]:
    server = Bucket(host)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


def _told(key: str, query: dict[str, list[str]]) -> str:
    return quote(key) if query.get("encoding-type") == ["url"] else escape(key)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Bucket

    def do_PUT(self) -> None:
        content = self._body()
        if self._is_refused():
            return
        with self.server.lock:
            if self.headers.get("If-None-Match") == "*" and self._key in self.server.files:
                self._error(412, "PreconditionFailed")
                return
            self.server.files[self._key] = content
            self.server.dates[self._key] = datetime.now(UTC) + self.server.ahead
        self._answer(200, b"", ETag=_etag(content))

    def do_GET(self) -> None:
        if self._is_refused():
            return
        query = parse_qs(urlsplit(self.path).query, keep_blank_values=True)
        if not self._key:
            self._answer(200, self._listed(query), **{"Content-Type": "application/xml"})
            return
        content = self.server.files.get(self._key)
        if content is None:
            self._error(404, "NoSuchKey")
            return
        first, last = self._span(len(content))
        part = content[first : last + 1]
        more = {"ETag": _etag(content), "Last-Modified": format_datetime(self._date(self._key), usegmt=True)}
        if "Range" not in self.headers:
            self._answer(200, part, **more)
        elif not part:
            self._error(416, "InvalidRange")
        else:
            self._answer(206, part, **more, **{"Content-Range": f"bytes {first}-{last}/{len(content)}"})

    do_HEAD = do_GET

    def do_DELETE(self) -> None:
        if self._is_refused():
            return
        self.server.files.pop(self._key, None)
        self._answer(204, b"")

    def do_POST(self) -> None:
        """Delete many: what s3fs does for one file as well."""
        for key in self._body().decode().split("<Key>")[1:]:
            self.server.files.pop(unquote(key.partition("</Key>")[0]), None)
        self._answer(200, b"<DeleteResult/>", **{"Content-Type": "application/xml"})

    def _is_refused(self) -> bool:
        self.server.asked.append(f"{self.command} {self.headers.get('Range', '')}".strip())
        if found := self.server.refuse(self):
            self._error(*found)
        return found is not None

    def log_message(self, *_: object) -> None:
        pass

    @property
    def _key(self) -> str:
        return unquote(urlsplit(self.path).path).removeprefix(f"/{BUCKET}").removeprefix("/")

    def _date(self, key: str) -> datetime:
        return self.server.dates.get(key, datetime(2026, 1, 1, tzinfo=UTC))

    def _span(self, length: int) -> tuple[int, int]:
        first, _, last = self.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")
        return int(first), min(int(last or length - 1), length - 1)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            content = b""
            while size := int(self.rfile.readline().split(b";")[0], 16):
                content += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        return _unwrapped(content) if "aws-chunked" in self.headers.get("Content-Encoding", "") else content

    def _listed(self, query: dict[str, list[str]]) -> bytes:
        prefix, delimiter = query.get("prefix", [""])[0], query.get("delimiter", [""])[0]
        after = query.get("continuation-token", [""])[0]
        rows: dict[str, str] = {}  # by key, or by folder
        for key, content in sorted(self.server.files.items()):
            rest = key.removeprefix(prefix)
            if not key.startswith(prefix):
                continue
            if delimiter and delimiter in rest:
                folder = prefix + rest.partition(delimiter)[0] + delimiter
                rows[folder] = f"<CommonPrefixes><Prefix>{_told(folder, query)}</Prefix></CommonPrefixes>"
                continue
            rows[key] = (
                f"<Contents><Key>{_told(key, query)}</Key>"
                f"<LastModified>{self._date(key):%Y-%m-%dT%H:%M:%S.000Z}</LastModified>"
                f"<ETag>{escape(_etag(content))}</ETag><Size>{len(content)}</Size></Contents>"
            )
        left = [key for key in sorted(rows) if key > after]
        shown, more = left[: self.server.page], len(left) > self.server.page
        count = f"<KeyCount>{len(shown)}</KeyCount><IsTruncated>{str(more).lower()}</IsTruncated>"
        if more:
            count += f"<NextContinuationToken>{escape(shown[-1])}</NextContinuationToken>"
        coding = "<EncodingType>url</EncodingType>" if "encoding-type" in query else ""
        listed = "".join(rows[key] for key in shown)
        return f"<ListBucketResult><Name>{BUCKET}</Name>{coding}{count}{listed}</ListBucketResult>".encode()

    def _error(self, status: int, code: str) -> None:
        self._answer(status, f"<Error><Code>{code}</Code></Error>".encode(), **{"Content-Type": "application/xml"})

    def _answer(self, status: int, content: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


def _etag(content: bytes) -> str:
    return f'"{hashlib.md5(content, usedforsecurity=False).hexdigest()}"'


def _unwrapped(content: bytes) -> bytes:
    """Take the chunks of `aws-chunked` apart; the checksum behind them is not read."""
    found = b""
    while content:
        head, _, content = content.partition(b"\r\n")
        if not (size := int(head.split(b";")[0], 16)):
            break
        found, content = found + content[:size], content[size + 2 :]
    return found
