"""The client against a server that misbehaves on demand."""

import re
import sys
from pathlib import Path

import pytest
from scripted_service import Script

from chai_client import transport
from cli.client import Client
from cli.errors import BadInput, CommandError, Refused, Unreachable

VIDEO = {"id": "video_1", "status": "queued", "progress": 0}


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "FIRST_PAUSE_S", 0.001)


def test_a_submission_carries_the_key_of_the_caller_and_one_against_doubles(scripted: Script) -> None:
    scripted.answer({}, status=503)
    scripted.answer(VIDEO)

    with Client(scripted.url, "sk-chai-x") as client:
        assert client.submit({"prompt": "a"}) == VIDEO

    (_, path, first, body), (_, _, second, _) = scripted.requests
    assert (path, body, first["Authorization"]) == ("/v1/videos", {"prompt": "a"}, "Bearer sk-chai-x")
    assert first["Idempotency-Key"] == second["Idempotency-Key"]


def test_a_key_of_the_caller_is_sent_as_it_is(scripted: Script) -> None:
    scripted.answer(VIDEO)

    with Client(scripted.url) as client:
        client.submit({"prompt": "a"}, idempotency_key="tuesday")

    assert scripted.requests[0][2]["Idempotency-Key"] == "tuesday"


def test_the_words_of_the_service_reach_the_caller(scripted: Script) -> None:
    scripted.answer({"error": {"message": "size '1x1' is none", "param": "size", "code": "invalid_value"}}, status=400)

    with Client(scripted.url) as client, pytest.raises(Refused, match=r"^size '1x1' is none$") as refused:
        client.submit({"prompt": "a", "size": "1x1"})

    assert (refused.value.param, refused.value.code, refused.value.exit_code) == ("size", "invalid_value", 2)


@pytest.mark.parametrize(("status", "exit_code"), [(401, 1), (403, 1), (404, 2), (409, 2), (429, 1), (500, 1)])
def test_the_exit_code_tells_a_wrong_request_from_other_trouble(scripted: Script, status: int, exit_code: int) -> None:
    scripted.answer({"error": {"message": "no"}}, status=status, Retry_After="0")

    with Client(scripted.url) as client, pytest.raises(Refused) as refused:
        client.video("video_1")

    assert refused.value.exit_code == exit_code


def test_try_later_is_tried_five_times(scripted: Script) -> None:
    scripted.answer({"error": {"message": "the database does not answer"}}, status=503)

    with Client(scripted.url) as client, pytest.raises(Refused, match="the database does not answer"):
        client.video("video_1")

    assert len(scripted.requests) == 5


def test_nobody_there_is_said_with_the_way_out() -> None:
    with Client("http://127.0.0.1:9") as client, pytest.raises(Unreachable) as unreachable:
        client.video("video_1")

    assert re.fullmatch(
        r"no answer from http://127\.0\.0\.1:9 \(\[Errno \d+\] Connection refused\); "
        r"start the service with `chai up`, or set CHAI_URL",
        str(unreachable.value),
    )


def test_another_server_at_the_address_is_named_as_such(scripted: Script) -> None:
    scripted.answer(b"<html>")

    with Client(scripted.url) as client, pytest.raises(Unreachable) as unreachable:
        client.video("video_1")

    assert str(unreachable.value) == (
        f"what answers at {scripted.url} is not CHAI (GET /v1/videos/video_1 gave no JSON); check CHAI_URL"
    )


@pytest.mark.parametrize("url", ["127.0.0.1:8400", "localhost", "ftp://x", "http://"])
def test_a_text_that_is_no_http_url_is_refused(url: str) -> None:
    with pytest.raises(BadInput) as refused:
        Client(url)

    assert str(refused.value) in (
        f"CHAI_URL {url!r} is not an http URL; write it like http://127.0.0.1:8400",
        f"CHAI_URL {url!r} is not a URL (Invalid port: '8400'); write it like http://127.0.0.1:8400",
    )


@pytest.mark.parametrize("id_", ["", "../batches", "a b", "a?x"])
def test_an_id_cannot_lead_to_another_path(id_: str) -> None:
    with (
        Client("http://127.0.0.1:9") as client,
        pytest.raises(BadInput, match=f"id {id_!r} is not an id".replace("?", r"\?")),
    ):
        client.video(id_)


def test_waiting_shows_each_answer_and_ends_with_the_last(scripted: Script) -> None:
    answers = [
        VIDEO,
        {**VIDEO, "status": "in_progress", "progress": 50},
        {**VIDEO, "status": "completed", "progress": 100},
    ]
    for answer in answers:
        scripted.answer(answer)
    seen: list[dict[str, object]] = []

    with Client(scripted.url) as client:
        last = client.wait("video_1", seen=seen.append)

    assert seen == answers
    assert last == answers[-1]


def test_pages_are_followed_until_the_limit(scripted: Script) -> None:
    scripted.answer({"data": [{"id": "a"}, {"id": "b"}], "last_id": "b", "has_more": True})
    scripted.answer({"data": [{"id": "c"}, {"id": "d"}], "last_id": "d", "has_more": True})

    with Client(scripted.url) as client:
        found = [video["id"] for video in client.videos(limit=3, status="queued")]

    assert found == ["a", "b", "c"]
    assert [path for _, path, _, _ in scripted.requests] == [
        "/v1/videos?limit=3&status=queued",
        "/v1/videos?limit=3&status=queued&after=b",
    ]


def test_a_download_replaces_the_file_only_when_it_is_whole(scripted: Script, tmp_path: Path) -> None:
    file = tmp_path / "videos" / "a.mp4"
    scripted.answer(b"0123456789")

    with Client(scripted.url) as client:
        assert client.download("video_1", file) == 10
        scripted.answers = [(200, {"content-length": "20"}, b"short")]
        with pytest.raises(Unreachable, match=r"went away during /v1/videos/video_1/content"):
            client.download("video_1", file)

    assert file.read_bytes() == b"0123456789"


@pytest.mark.parametrize("is_there", [True, False])
def test_a_link_stays_a_link_when_what_it_leads_to_is_replaced(
    scripted: Script, tmp_path: Path, is_there: bool
) -> None:
    target, link = tmp_path / "large disk" / "a.mp4", tmp_path / "a.mp4"
    target.parent.mkdir()
    link.symlink_to(target)
    if is_there:
        target.write_bytes(b"of before")
    scripted.answer(b"0123456789")

    with Client(scripted.url) as client:
        client.download("video_1", link)

    assert link.is_symlink()
    assert target.read_bytes() == b"0123456789"


def test_a_proxy_of_the_environment_is_not_asked_for_this_machine(
    scripted: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    scripted.answer(VIDEO)

    with Client(scripted.url) as client:
        assert client.video("video_1") == VIDEO


# NO_PROXY → a service that its entries except from the proxy, and one that they do not
EXCEPTED = [
    ("chai.test", "http://chai.test", "http://chai.other"),
    (".chai.test,b", "http://a.chai.test", "http://achai.test"),
    ("*.chai.test", "http://a.chai.test", "http://b.test"),
    ("chai.test:81", "http://chai.test:81", "http://chai.test:82"),
    ("http://chai.test", "http://chai.test", "http://b.test"),
    ("10.0.0.0/8 , ::1/128", "http://10.1.2.3", "http://11.1.2.3"),  # as container engines set it
    ("localhost,::1,[::1],fd00::/8", "http://[fd00::1]:8400", "http://[fe80::1]:8400"),
    ("192.0.2.7", "http://192.0.2.7", "http://192.0.2.70"),
]


@pytest.mark.parametrize(("entries", "excepted", "other"), EXCEPTED)
def test_what_no_proxy_names_is_reached_directly_however_it_is_written(
    entries: str, excepted: str, other: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "proxy.test:3128")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, entries)

    with Client(excepted), Client(other):  # neither is refused
        pass

    assert (transport.way(excepted)["proxy"], transport.way(other)["proxy"]) == (None, "http://proxy.test:3128")


def test_everything_may_be_reached_directly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "http://proxy.test:3128")
    monkeypatch.setenv("no_proxy", "*")

    assert transport.way("https://chai.test")["proxy"] is None


def test_a_proxy_is_asked_for_what_lies_elsewhere(scripted: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", scripted.url)
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    scripted.answer(VIDEO)

    with Client("http://chai.test") as client:
        assert client.video("video_1") == VIDEO

    assert scripted.requests[0][1] == "http://chai.test/v1/videos/video_1"


@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:1080", "socks5h://127.0.0.1:1080"])
def test_a_proxy_that_needs_a_package_is_named_with_it(proxy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "socksio", None)
    monkeypatch.setenv("ALL_PROXY", proxy)

    with pytest.raises(BadInput, match=r"names a SOCKS proxy; pip install 'httpx\[socks\]', or unset it"):
        Client("https://chai.test")


@pytest.mark.parametrize("ending", ["", "/", "/v1", "/v1/"])
def test_the_address_may_be_written_as_for_openai_s_clients(scripted: Script, ending: str) -> None:
    scripted.answer(VIDEO)

    with Client(scripted.url + ending) as client:
        assert client.video("video_1") == VIDEO

    assert scripted.requests[0][1] == "/v1/videos/video_1"


def test_white_space_around_a_key_is_not_part_of_it(scripted: Script) -> None:
    scripted.answer(VIDEO)

    with Client(scripted.url, "sk-chai-x\n") as client:
        client.video("video_1")

    assert scripted.requests[0][2]["Authorization"] == "Bearer sk-chai-x"


@pytest.mark.parametrize("key", ["sk-chai\n-x", "sk-chai-ü", "sk-chai-\x00"])
def test_a_key_that_no_header_carries_is_named_and_not_shown(key: str) -> None:
    with pytest.raises(BadInput) as refused:
        Client("http://127.0.0.1:9", key)

    assert str(refused.value).startswith("CHAI_API_KEY holds something that is no printable ASCII character, at pos")
    assert "sk-chai" not in str(refused.value)


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"prompt": "\udcff"}, "prompt holds U+DCFF: half of a surrogate pair, or a byte that is not UTF-8"),
        (
            {"prompt": "a", "guidance_scale": float("nan")},
            "guidance_scale nan is nothing that JSON can carry; leave it",
        ),
        ({"prompt": "a", "seed": 10**5000}, "seed of thousands of digits is nothing that JSON can carry; leave it out"),
    ],
)
def test_what_cannot_be_sent_is_named_before_it_is(request_: dict[str, object], message: str) -> None:
    with Client("http://127.0.0.1:9") as client, pytest.raises(BadInput) as refused:
        client.submit(request_)

    assert str(refused.value).startswith(message)


@pytest.mark.parametrize("key", ["", " ", "\t\n"])
def test_an_empty_idempotency_key_is_no_protection_and_is_named(key: str) -> None:
    with Client("http://127.0.0.1:9") as client, pytest.raises(BadInput) as refused:
        client.submit({"prompt": "a"}, idempotency_key=key)

    assert str(refused.value) == f"--idempotency-key {key!r} is empty; write a UUID, or leave it out"


def test_blanks_around_what_a_header_carries_are_not_blamed_on_the_service(scripted: Script) -> None:
    scripted.answer(VIDEO)

    with Client(scripted.url) as client:
        client.submit({"prompt": "a"}, idempotency_key=" k ")

    assert scripted.requests[0][2]["Idempotency-Key"] == "k"


def test_an_idempotency_key_that_no_header_carries_is_named() -> None:
    with Client("http://127.0.0.1:9") as client, pytest.raises(BadInput) as refused:
        client.submit({"prompt": "a"}, idempotency_key="Dienstag ü")

    assert str(refused.value) == (
        "--idempotency-key 'Dienstag ü' holds something that is no printable ASCII character, at position 9"
    )


def test_json_that_is_no_object_is_not_chai_either(scripted: Script) -> None:
    scripted.answer([1])

    with Client(scripted.url) as client, pytest.raises(Unreachable, match="is not CHAI"):
        client.video("video_1")


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://a..b", "CHAI_URL 'http://a..b' names no host"),
        (f"http://{'a' * 64}.org", "names no host"),
        ("http://127.0.0.1:99999", "CHAI_URL 'http://127.0.0.1:99999' has the port 99999, and there are 1 to 65535"),
    ],
)
def test_a_host_that_none_can_be_called_is_named(url: str, said: str) -> None:
    with pytest.raises(BadInput) as refused:
        Client(url)

    assert said in str(refused.value)


@pytest.mark.parametrize(
    "url",
    [
        "http://ann:secret@127.0.0.1:1",
        "ftp://ann:secret@host",
        "http://ann:secret@a..b",
        "http://ann:my secret@127.0.0.1:1",
        "http://ann:secret\n@127.0.0.1:1",  # as a file's last line gives it
    ],
)
def test_a_password_in_the_address_is_not_shown(url: str) -> None:
    with pytest.raises(CommandError) as refused, Client(url) as client:
        client.video("video_1")

    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("url", ["https://example.org", "https://localhost:8443", "https://127.0.0.1:8443"])
def test_certificates_that_cannot_be_read_are_named(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are read for a service of this machine too, for which no proxy is asked."""
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere.pem")

    with pytest.raises(BadInput) as refused:
        Client(url)

    said = "SSL_CERT_FILE '/nowhere.pem' cannot be read (No such file or directory); mend it, or unset it"
    assert str(refused.value) == said
