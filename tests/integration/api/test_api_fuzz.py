"""Nothing that a caller can send is a fault of the server: one rule, tried on every route, field, header and form."""

import json
from urllib.parse import quote, urlencode

import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from api.schemas.requests import AddItems, BatchLine, CreateVideo, OpenBatch, SealBatch

MODEST = settings(
    max_examples=250,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
HUGE = 10**400
ODD_TEXTS = [
    "",
    "\x00",
    "\ud800",
    "\u200b",
    "é",
    "1" * 5000,
    "1e999",
    "nan",
    "-1",
    "null",
    "../..",
    "a" * 5000,
    "[",
    "%00",
]
texts = st.one_of(st.sampled_from(ODD_TEXTS), st.text(st.characters(exclude_categories=()), max_size=30))
numbers = st.one_of(
    st.integers(), st.sampled_from([HUGE, -HUGE, 2**31, 2**63, 2**64]), st.floats(allow_nan=False, allow_infinity=False)
)
scalars = st.one_of(st.none(), st.booleans(), numbers, texts)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
FIELDS = sorted(
    {name for model in (BatchLine, CreateVideo, OpenBatch, AddItems, SealBatch) for name in model.model_fields}
)
PATHS = [
    "/v1/videos",
    "/v1/videos/sync",
    "/v1/videos/{}",
    "/v1/videos/{}/cancel",
    "/v1/videos/{}/content",
    "/v1/bulk-runs",
    "/v1/bulk-runs/{}",
    "/v1/bulk-runs/{}/items",
    "/v1/bulk-runs/{}/seal",
    "/v1/bulk-runs/{}/cancel",
    "/v1/models",
    "/v1/models/{}",
    "/{}",
]
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
QUERIES = ["after", "limit", "order", "status", "batch_id", "variant", "statuss"]
HEADERS = [
    "idempotency-key",
    "range",
    "if-range",
    "if-match",
    "if-none-match",
    "content-length",
    "content-type",
    "authorization",
    "x-request-id",
    "origin",
    "host",
    "accept",
    "prefer",
    "cancel-after",
    "transfer-encoding",
]
CONTENT_TYPES = [
    "application/json",
    "application/json; charset=cp1251",
    "application/x-www-form-urlencoded",
    "multipart/form-data",
    "multipart/form-data; boundary=b",
    "text/plain",
    "é/\xff",
    "",
]
header_values = st.one_of(
    st.sampled_from(
        ["", "*", '"x"', "bytes=0-", f"bytes={'9' * 5000}-", "bytes=-" + "9" * 30, "1" * 5000, "[", "Bearer é"]
    ),
    st.binary(max_size=20).map(lambda raw: raw.decode("latin-1").translate({10: None, 13: None, 0: None})),
)
bodies = st.dictionaries(st.one_of(st.sampled_from(FIELDS), texts), values, max_size=6)


@pytest.fixture
def known(shared_client: TestClient) -> dict[str, str]:
    """Ids of things that are there."""
    video = shared_client.post("/v1/videos", json={"prompt": "a red circle"}).json()["id"]
    batch = shared_client.post("/v1/bulk-runs", json={"manifest_key": "fuzz"}).json()["id"]
    return {"videos": video, "bulk-runs": batch, "models": "tiny"}


def as_json(body: object) -> bytes:
    return json.dumps(body).encode()


def check(answer) -> None:
    assert answer.status_code < 500, answer.text
    if answer.status_code >= 400 and answer.request.method != "HEAD":
        assert answer.json()["error"]["message"]


@MODEST
@given(data=st.data())
def test_no_request_is_a_fault_of_the_server(
    shared_client: TestClient, known: dict[str, str], data: st.DataObject
) -> None:
    method, path = data.draw(st.sampled_from(METHODS)), data.draw(st.sampled_from(PATHS))
    kind = path.split("/")[2] if path.startswith("/v1/") else ""
    id_ = data.draw(st.one_of(st.just(known.get(kind, "x")), texts.map(lambda text: quote(text, errors="replace"))))
    query = data.draw(st.dictionaries(st.one_of(st.sampled_from(QUERIES), texts), texts, max_size=2))
    headers = data.draw(st.dictionaries(st.sampled_from(HEADERS), header_values, max_size=3))
    if data.draw(st.booleans()):
        headers["content-type"] = data.draw(st.sampled_from(CONTENT_TYPES))
    content = data.draw(st.one_of(bodies.map(as_json), st.binary(max_size=200), st.just(b"")))

    url = path.replace("{}", id_) + ("?" + urlencode(query, errors="replace") if query else "")
    answer = shared_client.request(
        method, url, content=content, headers={name: value.encode("latin-1") for name, value in headers.items()}
    )

    check(answer)


@MODEST
@given(
    body=bodies,
    key=st.none() | texts.filter(str.isascii).map(lambda text: text.translate({10: None, 13: None, 0: None})),
)
def test_no_json_is_a_fault_of_the_server(
    shared_client: TestClient, known: dict[str, str], body: dict, key: str | None
) -> None:
    headers = {"content-type": "application/json", **({} if key is None else {"idempotency-key": key})}

    check(shared_client.post("/v1/videos", content=as_json({"prompt": "a", **body}), headers=headers))
    check(shared_client.post("/v1/bulk-runs", content=as_json(body), headers=headers))
    check(shared_client.post(f"/v1/bulk-runs/{known['bulk-runs']}/seal", content=as_json(body), headers=headers))


@MODEST
@given(lines=st.lists(bodies | values, min_size=1, max_size=3))
def test_no_line_costs_another_one(shared_client: TestClient, lines: list) -> None:
    batch = shared_client.post("/v1/bulk-runs", json={"manifest_key": "lines"}).json()["id"]
    good = {"custom_id": "good", "prompt": "a red circle"}

    answer = shared_client.post(
        f"/v1/bulk-runs/{batch}/items",
        content=as_json({"items": [*lines, good]}),
        headers={"content-type": "application/json"},
    )

    assert answer.status_code == 200, answer.text
    assert answer.json()["data"][-1]["status"] in {"accepted", "known"}


@MODEST
@given(
    fields=st.lists(
        st.tuples(st.sampled_from([*FIELDS, "metadata[a]", "metadata[\x00]"]) | texts, texts | st.binary(max_size=20))
    )
)
def test_no_form_is_a_fault_of_the_server(shared_client: TestClient, fields: list) -> None:
    def raw(text: str | bytes) -> bytes:
        return text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")

    encoded = b"&".join(quote(raw(name)).encode() + b"=" + quote(raw(value)).encode() for name, value in fields)
    part = b'--b\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n'
    multipart = b"".join(
        part % (raw(name).replace(b"\r", b"").replace(b"\n", b""), raw(value)) for name, value in fields
    )

    for content, type_ in (
        (encoded, "application/x-www-form-urlencoded"),
        (multipart + b"--b--\r\n", "multipart/form-data; boundary=b"),
        (multipart, "multipart/form-data; boundary=b"),  # no end
    ):
        check(shared_client.post("/v1/videos", content=content, headers={"content-type": type_}))
