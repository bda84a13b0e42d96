"""Which bytes a Range header means."""

import pytest

from api.content import Span, span
from api.errors import OutOfRange


@pytest.mark.parametrize(
    ("header", "start", "stop"),
    [
        (None, 0, 10),  # none
        ("bytes=0-0", 0, 1),  # the last place is part of it
        ("bytes=9-", 9, 10),
        ("bytes=-3", 7, 10),
        ("bytes=-99", 0, 10),  # longer than the file
        ("bytes=0-99", 0, 10),
        ("bytes=3-2", 0, 10),  # no range: ignored
        ("bytes=0-1,4-5", 0, 10),  # several: the whole file is a legal answer
        ("chapters=1-2", 0, 10),
    ],
)
def test_a_range_header_means_these_bytes(header: str | None, start: int, stop: int) -> None:
    assert span(header, 10) == Span(start=start, stop=stop, total=10)


@pytest.mark.parametrize("header", ["bytes=10-", "bytes=10-12", "bytes=-0"])
def test_bytes_behind_the_end_are_refused(header: str) -> None:
    with pytest.raises(OutOfRange) as refused:
        span(header, 10)

    assert str(refused.value) == (f"Range {header!r} lies behind the end; the video has 10 bytes, ask for bytes=0-9")
    assert refused.value.headers == {"Content-Range": "bytes */10"}
