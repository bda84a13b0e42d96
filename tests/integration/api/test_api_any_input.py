"""Input of every kind: left out in other words, unseen, in another encoding, too large, misspelt."""

import json
import re
from datetime import timedelta
from uuid import UUID

import httpx
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select, text, update
from sqlalchemy.orm import Session, sessionmaker

from api.schemas.requests import CreateVideo
from db import jobs
from db.models import Job
from db.session import transaction

GOOD = {"prompt": "a red circle"}
JSON = {"Content-Type": "application/json"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.mark.parametrize("name", [*sorted(set(CreateVideo.model_fields) - {"prompt"}), "input_reference"])
def test_null_is_left_out(shared_client: TestClient, name: str) -> None:
    assert shared_client.post("/v1/videos", json={**GOOD, name: None}).status_code == 200


def test_null_is_left_out_of_the_other_requests_too(client: TestClient) -> None:
    batch = client.post("/v1/bulk-runs", json={"manifest_key": "m", "name": None}).json()["id"]
    line = {"custom_id": "1", "prompt": "a", "mode": None, "metadata": {"a": None}}

    added = client.post(f"/v1/bulk-runs/{batch}/items", json={"items": [line]}).json()

    assert added["accepted"] == 1
    assert client.post(f"/v1/bulk-runs/{batch}/seal", json={"num_bad_lines": None}).status_code == 200


def test_null_is_left_out_of_a_field_that_is_an_object(client: TestClient) -> None:
    window = {"start": "22:00", "end": "06:00", "tz": None, "at_end": None}

    run = client.post("/v1/bulk-runs", json={"manifest_key": "m", "window": window})
    idle = client.post("/v1/videos", json={**GOOD, "extra_params": {"a": None}, "lora": {"path": None}})
    form = client.post("/v1/videos", content=b"prompt=a&metadata=null&extra_params=null", headers=FORM)

    assert run.json()["window"] == {"start": "22:00", "end": "06:00", "tz": "UTC", "at_end": "finish"}
    assert (idle.status_code, form.status_code, form.json()["metadata"]) == (200, 200, {})


@pytest.mark.parametrize(("name", "value"), [("seed", 5), ("num_inference_steps", 3), ("fps", 8), ("n", 1)])
def test_a_whole_number_is_one_however_it_is_written(client: TestClient, name: str, value: int) -> None:
    bodies = [f'{{"prompt": "a", "{name}": {number}}}' for number in (value, f"{value}.0", f"{value}e0")]

    answers = [client.post("/v1/videos", content=body, headers={**JSON, "Idempotency-Key": "k"}) for body in bodies]

    assert len({answer.json()["id"] for answer in answers}) == 1
    half = client.post("/v1/videos", content=f'{{"prompt": "a", "{name}": {value}.5}}', headers=JSON)
    assert (half.status_code, half.json()["error"]["param"]) == (400, name)


@pytest.mark.parametrize("seconds", ["\u0661", "1_0", "0x1", "1,5", "", "nan"])
def test_what_is_no_decimal_is_no_duration(shared_client: TestClient, seconds: str) -> None:
    answer = shared_client.post("/v1/videos", json={**GOOD, "seconds": seconds})

    assert answer.json()["error"]["message"] == f"seconds {seconds!r} is not a positive number; try 2"


UNSEEN = [
    "\u200b",
    "\u200d\ufe0f",
    "\u3164",
    "\u2800 \u00a0",
    "\u202e\u2066",
    "\ufeff",
    "\U000e0061",
    "\uffff",
    "\u0301",
]


@pytest.mark.parametrize("prompt", UNSEEN, ids=ascii)
def test_what_nobody_sees_is_no_prompt(shared_client: TestClient, prompt: str) -> None:
    answer = shared_client.post("/v1/videos", json={"prompt": prompt})

    assert answer.status_code == 400
    assert answer.json()["error"]["message"] == "prompt is empty; say in a sentence what the video shows"


@pytest.mark.parametrize("prompt", ["🐶", "👩\u200d🚀", "é", "e\u0301", "\U0001fae8", "مرحبا\u200f"])
def test_what_somebody_sees_is_one(shared_client: TestClient, prompt: str) -> None:
    assert shared_client.post("/v1/videos", json={"prompt": prompt}).json()["prompt"] == prompt


@pytest.mark.parametrize("prompt", ["猫", "?", "4x4"])
def test_what_the_model_cannot_read_is_refused_with_what_is_left_of_it(shared_client: TestClient, prompt: str) -> None:
    answer = shared_client.post("/v1/videos", json={"prompt": prompt})

    error = answer.json()["error"]
    assert (answer.status_code, error["param"], error["code"]) == (400, "prompt", "invalid_prompt")
    assert error["message"].startswith(f"of prompt {prompt!r} nothing that ")


CYRILLIC = "красный круг".encode("cp1251")
ENCODINGS = [
    (b'{"prompt": "' + CYRILLIC + b'"}', "application/json"),
    (b"prompt=una+ni%F1a", "application/x-www-form-urlencoded"),
    (b"prompt=" + CYRILLIC, "application/x-www-form-urlencoded"),
    (b"prompt=a&metadata%5B%F1%5D=b", "application/x-www-form-urlencoded"),
    (
        b'--x\r\nContent-Disposition: form-data; name="prompt"\r\n\r\n' + CYRILLIC + b"\r\n--x--\r\n",
        "multipart/form-data; boundary=x",
    ),
    (
        b'--x\r\nContent-Disposition: form-data; name="prompt"\r\n\r\na\r\n--x\r\n'
        b'Content-Disposition: form-data; name="\xf1"\r\n\r\na\r\n--x--\r\n',
        "multipart/form-data; boundary=x",
    ),
]


@pytest.mark.parametrize(("body", "type_"), ENCODINGS)
def test_another_encoding_is_refused(shared_client: TestClient, body: bytes, type_: str) -> None:
    answer = shared_client.post("/v1/videos", content=body, headers={"Content-Type": type_})

    assert answer.status_code == 400, answer.json()
    assert "is not UTF-8 at byte" in answer.json()["error"]["message"]


@pytest.mark.parametrize("type_", ["application/json; charset=cp1251", 'application/json; charset="UTF-16"'])
def test_a_body_that_says_it_is_in_another_encoding_is_refused(shared_client: TestClient, type_: str) -> None:
    answer = shared_client.post("/v1/videos", content=b'{"prompt": "a"}', headers={"Content-Type": type_})

    assert answer.status_code == 415
    assert answer.json()["error"]["message"].endswith("is not read here; send UTF-8")


@pytest.mark.parametrize("packed", ["gzip", "br", "identity, gzip"])
def test_a_packed_body_is_refused_by_name(shared_client: TestClient, packed: str) -> None:
    answer = shared_client.post("/v1/videos", content=b"x", headers={**JSON, "Content-Encoding": packed})

    assert answer.status_code == 415
    assert answer.json()["error"]["message"] == (
        f"Content-Encoding '{packed}' is not read here; send the body as it is"
    )


def test_the_mark_that_editors_put_before_json_is_no_part_of_it(shared_client: TestClient) -> None:
    answer = shared_client.post("/v1/videos", content=b'\xef\xbb\xbf{"prompt": "a red ball"}', headers=JSON)

    assert answer.json()["prompt"] == "a red ball"


NUMBERS = ["seconds", "seed", "num_inference_steps", "guidance_scale", "fps", "width", "num_frames", "n"]


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("digits", ["1" * 400, "-" + "1" * 400, "1" * 5000])  # Python itself reads up to 4300
def test_a_number_that_nothing_holds_is_named_and_costs_no_other_line(
    client: TestClient, name: str, digits: str
) -> None:
    number = digits
    alone = client.post("/v1/videos", content=f'{{"prompt": "a", "{name}": {number}}}', headers=JSON)
    batch = client.post("/v1/bulk-runs", json={"manifest_key": "m"}).json()["id"]
    lines = (
        f'{{"items": [{{"custom_id": "1", "prompt": "a", "{name}": {number}}}, {{"custom_id": "2", "prompt": "a"}}]}}'
    )
    added = client.post(f"/v1/bulk-runs/{batch}/items", content=lines, headers=JSON)

    assert (alone.status_code, alone.json()["error"]["param"]) == (400, name)
    assert (added.json()["accepted"], added.json()["refused"]) == (1, 1)


@pytest.mark.parametrize(
    ("members", "param"),
    [
        ('"prompt": "a", "prompt": "a"', "prompt"),
        ('"prompt": "a", "seed": null, "seed": 5', "seed"),  # null is left out, and is a value all the same
        ('"prompt": "a", "zzz": 1, "zzz": 1', "zzz"),
        ('"prompt": "a", "metadata": {"shelf": "a", "shelf": "b"}', "metadata.shelf"),
        ('"prompt": "a", "metadata": {}, "metadata": {}', "metadata"),
        ('"prompt": "a", "seconds": 1, "seconds": 2', "seconds"),
    ],
)
def test_a_member_that_is_given_twice_is_named_and_costs_no_other_line(
    client: TestClient, members: str, param: str
) -> None:
    alone = client.post("/v1/videos", content=f"{{{members}}}", headers=JSON)
    batch = client.post("/v1/bulk-runs", json={"manifest_key": "m"}).json()["id"]
    lines = f'{{"items": [{{"custom_id": "1", {members}}}, {{"custom_id": "2", "prompt": "a"}}]}}'
    added = client.post(f"/v1/bulk-runs/{batch}/items", content=lines, headers=JSON)

    error = alone.json()["error"]
    assert (alone.status_code, error["param"]) == (400, param)
    assert error["message"] == f"{param} is given twice; send it once"
    assert (added.json()["accepted"], added.json()["refused"]) == (1, 1)
    assert added.json()["data"][0]["error"]["message"] == error["message"]


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
@pytest.mark.parametrize("name", [*NUMBERS, "prompt", "metadata", "user", "upscaling_scale", "enable_teacache", "lora"])
def test_what_is_no_number_is_named_and_costs_no_other_line(client: TestClient, name: str, number: str) -> None:
    members = f'"prompt": "a", "{name}": {number}' if name != "prompt" else f'"prompt": {number}'
    alone = client.post("/v1/videos", content=f"{{{members}}}", headers=JSON)
    batch = client.post("/v1/bulk-runs", json={"manifest_key": "m"}).json()["id"]
    lines = f'{{"items": [{{"custom_id": "1", {members}}}, {{"custom_id": "2", "prompt": "a"}}]}}'
    added = client.post(f"/v1/bulk-runs/{batch}/items", content=lines, headers=JSON)

    assert (alone.status_code, alone.json()["error"]["param"]) == (400, name)
    assert (added.json()["accepted"], added.json()["refused"]) == (1, 1)


@pytest.mark.parametrize("members", ['"x": NaN', '"metadata": {"x": NaN}', '"extra_params": {"x": NaN}'])
def test_no_field_stores_what_is_no_number(shared_client: TestClient, members: str) -> None:
    answer = shared_client.post("/v1/videos", content=f'{{"prompt": "a", {members}}}', headers=JSON)

    assert answer.status_code == 400


@pytest.mark.parametrize("digits", ["1_0", "1_0.0"])
@pytest.mark.parametrize("name", NUMBERS)
def test_what_python_alone_reads_is_no_number_in_a_form(shared_client: TestClient, name: str, digits: str) -> None:
    answer = shared_client.post("/v1/videos", content=f"prompt=a&{name}={digits}", headers=FORM)

    assert (answer.status_code, answer.json()["error"]["param"]) == (400, name)


@pytest.mark.parametrize("digits", ["1_0", "%D9%A3"])
@pytest.mark.parametrize(
    "field",
    ["videos?limit", "files?limit", "batches?limit", "bulk-runs?limit", "videos?created_after", "cache?days"],
)
def test_what_python_alone_reads_is_no_number_in_a_query(shared_client: TestClient, field: str, digits: str) -> None:
    answer = shared_client.get(f"/v1/{field}={digits}")

    assert answer.status_code == 400
    assert answer.json()["error"]["message"].endswith("number")


@pytest.mark.parametrize("days", ["NaN", "inf", "1e400"])
def test_a_number_of_days_is_finite(shared_client: TestClient, days: str) -> None:
    answer = shared_client.get(f"/v1/cache?days={days}")

    assert answer.json()["error"]["message"] == f"days '{days}' is not a finite number; send a finite number"


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("Idempotency-Key", ("a", "b")),
        ("Cancel-After", ("90s", "2h")),
        ("Content-Type", ("application/json", "multipart/form-data")),
        ("Authorization", ("Bearer a", "Bearer b")),
    ],
)
def test_a_header_of_one_value_that_has_two_is_named(
    shared_client: TestClient, name: str, values: tuple[str, str]
) -> None:
    def asked(first: str, second: str) -> httpx.Response:
        given = [(name, first), (name, second)]
        headers = given if name == "Content-Type" else [*given, ("Content-Type", "application/json")]
        return shared_client.post("/v1/videos", content=json.dumps(GOOD), headers=headers)

    two, same = asked(*values), asked(values[0], values[0])

    assert (two.status_code, two.json()["error"]["param"]) == (400, name)
    assert two.json()["error"]["message"] == f"{name} is given twice, with two values; send it once"
    assert same.status_code == 200, "a proxy that doubles a line changes nothing"


def test_a_header_that_is_a_list_is_read_over_all_its_lines(client: TestClient) -> None:
    id_ = client.post("/v1/videos", json=GOOD).json()["id"]
    etag = client.get(f"/v1/videos/{id_}").headers["etag"]

    waited = client.get(f"/v1/videos/{id_}", headers=[("Prefer", "respond-async"), ("Prefer", "wait=1")])
    known = client.get(f"/v1/videos/{id_}", headers=[("If-None-Match", '"a"'), ("If-None-Match", etag)])

    assert waited.headers["preference-applied"] == "wait=1"
    assert known.status_code == 304


def test_lines_that_are_given_twice_are_refused(client: TestClient) -> None:
    batch = client.post("/v1/bulk-runs", json={"manifest_key": "m"}).json()["id"]
    lines = '"items": [{"custom_id": "1", "prompt": "a"}]'

    answer = client.post(f"/v1/bulk-runs/{batch}/items", content=f"{{{lines}, {lines}}}", headers=JSON)

    assert (answer.status_code, answer.json()["error"]["message"]) == (400, "items is given twice; send it once")


@pytest.mark.parametrize("name", ["metadata", "extra_params"])
def test_a_member_of_json_in_a_form_that_is_given_twice_is_named(client: TestClient, name: str) -> None:
    answer = client.post("/v1/videos", files={"prompt": (None, "a"), name: (None, '{"shelf": "a", "shelf": "b"}')})

    assert answer.status_code == 400
    assert answer.json()["error"]["message"] == f"{name}.shelf is given twice; send it once"


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/v1/videos?statuss=queued", "statuss is not a query field of this request; did you mean status?"),
        ("/v1/models?a=1", "a is not a query field of this request; remove it"),
        ("/v1/videos/x?expand", "expand is not a query field of this request; remove it"),
        ("/v1/models?=1", "'' is not a query field of this request; remove it"),
        ("/healthz?%00=1", r"\x00 is not a query field of this request; remove it"),
    ],
)
def test_a_misspelt_query_field_is_not_ignored(shared_client: TestClient, path: str, message: str) -> None:
    answer = shared_client.get(path)

    assert answer.status_code == 400
    assert (answer.json()["error"]["message"], answer.json()["error"]["code"]) == (message, "unknown_field")


@pytest.mark.parametrize(
    "query", ["status[]=queued&status[]=failed", "status%5B%5D=queued&limit=5&status%5b%5d=failed"]
)
def test_a_list_in_a_query_is_read_as_the_openai_package_writes_it(client: TestClient, query: str) -> None:
    made = client.post("/v1/videos", json=GOOD).json()

    assert ids_of(client.get(f"/v1/videos?{query}").json()) == [made["id"]]
    assert client.get("/v1/videos?status[]=completed").json()["data"] == []
    assert (
        client.get("/v1/videos?limit[]=1&limit[]=2").json()["error"]["message"] == "limit is given twice; send it once"
    )


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/v1/videos?prompt=a%00", "prompt"),
        ("/v1/videos?metadata=a%3D%00", "metadata"),
        ("/v1/files?purpose=%00", "purpose"),
        ("/v1/bulk-runs?after=%00", "after"),
        ("/library?model=%00", "model"),
    ],
)
def test_what_no_database_holds_is_not_looked_for(shared_client: TestClient, path: str, name: str) -> None:
    answer = shared_client.get(path)

    assert (answer.status_code, answer.json()["error"]["param"]) == (400, name)
    assert answer.json()["error"]["message"].endswith("holds U+0000; remove it")


def test_a_post_may_not_carry_query_fields(shared_client: TestClient) -> None:
    assert shared_client.post("/v1/videos?mode=fast", json=GOOD).status_code == 400


@pytest.mark.parametrize(
    ("form", "param"),
    [
        (b"prompt=a&metadata=%5B1%5D&metadata%5Ba%5D=b", "metadata"),
        (b"prompt=a&prompt=b", "prompt"),
        (b"prompt=a&metadata=%7B%22a%22:1%7D", "metadata.a"),
        (b"prompt=a&metadata[a]=b&metadata[a]=c", "metadata[a]"),
        (b"prompt=a&metadata[a]=b&metadata=%7B%22a%22:%22c%22%7D", "metadata.a"),
        (b"prompt=a&metadata[a][b]=c", "metadata[a][b]"),
        (b"prompt=a&seed=&seed=5", "seed"),
    ],
)
def test_a_form_that_contradicts_itself_is_refused(shared_client: TestClient, form: bytes, param: str) -> None:
    answer = shared_client.post("/v1/videos", content=form, headers=FORM)

    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


def test_a_list_in_a_form_is_no_object(shared_client: TestClient) -> None:
    """As OpenAI's clients write one: with brackets and nothing in them."""
    answer = shared_client.post("/v1/videos", content=b"prompt=a&metadata[]=shelf&metadata[]=b", headers=FORM)

    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "metadata")
    assert answer.json()["error"]["message"] == "metadata[] 'shelf' is a member of a list; send metadata[KEY]=VALUE"


def test_json_sent_as_a_form_is_told_apart(shared_client: TestClient) -> None:
    answer = shared_client.post("/v1/videos", content=b'{"prompt":"x"}', headers=FORM)

    assert answer.json()["error"]["message"] == (
        "the body looks like JSON, but its Content-Type names a form; send Content-Type: application/json"
    )


def test_an_empty_body_is_no_body(client: TestClient) -> None:
    batch = client.post("/v1/bulk-runs", json={"manifest_key": "m"}).json()["id"]

    assert client.post(f"/v1/bulk-runs/{batch}/seal", content=b"", headers=FORM).status_code == 200


def test_equal_durations_are_equal_requests(client: TestClient) -> None:
    answers = [
        client.post("/v1/videos", json={**GOOD, "seconds": seconds}, headers={"Idempotency-Key": "k"})
        for seconds in (2, 2.0, "2", "2.0", " 2 ", "+2", "2e0")
    ]

    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["id"] for answer in answers}) == 1


@pytest.mark.parametrize(
    "path",
    [
        "/healthz",
        "/health",
        "/v1/models",
        "/v1/models/tiny",
        "/v1/videos",
        "/v1/bulk-runs",
        "/openapi.json",
        "/docs",
    ],
)
def test_head_works_wherever_get_does(shared_client: TestClient, path: str) -> None:
    head, get = shared_client.head(path), shared_client.get(path)

    assert (head.status_code, head.content) == (get.status_code, b"") == (200, b"")
    assert head.headers["content-type"] == get.headers["content-type"]


@pytest.mark.parametrize("path", ["/healthz/", "/v1/videos/", "/v1/videos/?limit=1", "/v1/models/tiny/", "/library/"])
def test_a_slash_at_the_end_says_nothing(shared_client: TestClient, path: str) -> None:
    answer = shared_client.get(path, follow_redirects=False)

    assert answer.status_code == 200


@pytest.mark.parametrize("path", ["/v1/videos//", "/v1/videos/%2F", "/v1/videos/x/", "/v1/videos/?limi=1"])
def test_a_path_that_is_none_with_a_slash_is_none(shared_client: TestClient, path: str) -> None:
    answer = shared_client.get(path, follow_redirects=False)

    assert answer.status_code == (400 if "?" in path else 404)


def test_a_post_with_a_slash_at_the_end_is_not_sent_elsewhere(client: TestClient) -> None:
    answer = client.post("/v1/videos/", json=GOOD, follow_redirects=False)

    assert answer.json()["prompt"] == GOOD["prompt"]


def test_the_allowed_methods_are_all_named(shared_client: TestClient) -> None:
    answer = shared_client.put("/v1/videos/video_x")

    assert answer.status_code == 405
    assert answer.headers["allow"] == "DELETE, GET, HEAD"
    assert shared_client.put("/library").headers["allow"] == "GET, HEAD"
    assert shared_client.put("/openapi.json").headers["allow"] == "GET, HEAD"


@pytest.mark.parametrize("method", ["OPTIONS", "TRACE"])
def test_a_method_that_a_path_lacks_is_refused_as_such_at_every_path(shared_client: TestClient, method: str) -> None:
    paths = [re.sub(r"\{[^}]*\}", "x", path) for path in shared_client.get("/openapi.json").json()["paths"]]

    answers = {path: shared_client.request(method, path) for path in paths}

    assert {path: answer.status_code for path, answer in answers.items()} == dict.fromkeys(paths, 405)
    assert all(answer.headers["allow"] for answer in answers.values())


@pytest.mark.parametrize(("method", "part"), [("DELETE", ""), ("POST", "/cancel"), ("GET", "")])
def test_nothing_happens_to_a_video_that_changed_since_its_caller_looked(
    client: TestClient, method: str, part: str
) -> None:
    path = f"/v1/videos/{client.post('/v1/videos', json=GOOD).json()['id']}"
    etag = client.get(path).headers["etag"]

    refused = client.request(method, path + part, headers={"If-Match": '"other"'})

    assert (refused.status_code, refused.json()["error"]["code"]) == (412, "precondition_failed")
    assert refused.json()["error"]["message"] == (
        f"If-Match does not name {etag}; look at the video again, or leave it out"
    )
    assert client.get(path).json()["status"] == "queued"
    assert client.request(method, path + part, headers={"If-Match": f'"other", {etag}'}).status_code == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/videos/edits"),
        ("POST", "/v1/videos/extensions"),
        ("POST", "/v1/videos/characters"),
        ("GET", "/v1/videos/characters/char_1"),
        ("POST", "/v1/videos/video_1/remix"),
        ("POST", "/v1/images/generations"),
    ],
)
def test_what_openai_has_and_we_lack_is_said_in_one_sentence(shared_client: TestClient, method: str, path: str) -> None:
    answer = shared_client.request(method, path)

    assert answer.status_code == 404
    assert answer.json()["error"] == {
        "message": f"{method} {path} is not offered here; this service makes videos: POST /v1/videos submits one, "
        "and /docs lists what else there is",
        "type": "invalid_request_error",
        "param": None,
        "code": "not_offered",
    }


def ids_of(page: dict) -> list[str]:
    return [video["id"] for video in page["data"]]


@pytest.mark.parametrize("is_purged", [False, True])
@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize("more", [{}, {"status": "queued"}])
def test_whoever_deletes_while_paging_sees_every_video_once(
    client: TestClient, session_factory: sessionmaker[Session], is_purged: bool, order: str, more: dict
) -> None:
    made = [client.post("/v1/videos", json=GOOD).json()["id"] for _ in range(5)]
    seen, after = [], {}

    while True:
        page = client.get("/v1/videos", params={"limit": 2, "order": order, **after, **more}).json()
        seen += ids_of(page)
        for id_ in ids_of(page):
            client.delete(f"/v1/videos/{id_}")
        if is_purged:
            with transaction(session_factory) as session:
                jobs.purge(session)
        if not page["has_more"]:
            break
        after = {"after": page["last_id"]}

    assert seen == (made if order == "asc" else made[::-1])


def test_a_removed_video_of_another_tenant_is_no_cursor(
    guarded: TestClient, new_key, session_factory: sessionmaker[Session]
) -> None:
    mine, other = new_key("a"), new_key("b")
    id_ = guarded.post("/v1/videos", json=GOOD, headers=mine).json()["id"]
    guarded.delete(f"/v1/videos/{id_}", headers=mine)
    with transaction(session_factory) as session:
        jobs.purge(session)

    assert guarded.get(f"/v1/videos?after={id_}", headers=mine).status_code == 200
    assert guarded.get(f"/v1/videos?after={id_}", headers=other).status_code == 404


def test_a_replay_is_never_refused_by_a_limit(guarded: TestClient, new_key) -> None:
    headers = {**new_key("a", max_queued=1), "Idempotency-Key": "k"}
    first = guarded.post("/v1/videos", json=GOOD, headers=headers)

    again = guarded.post("/v1/videos", json=GOOD, headers=headers)

    assert (again.status_code, again.json()["id"]) == (200, first.json()["id"])
    assert again.headers["idempotent-replayed"] == "true"
    other = guarded.post("/v1/videos", json=GOOD, headers={**headers, "Idempotency-Key": "l"})
    assert other.status_code == 429


def test_known_lines_are_never_refused_by_a_limit(guarded: TestClient, new_key) -> None:
    headers = new_key("a", max_queued=2)
    batch = guarded.post("/v1/bulk-runs", json={"manifest_key": "m"}, headers=headers).json()["id"]
    lines = {"items": [{"custom_id": str(number), "prompt": "a"} for number in range(2)]}
    guarded.post(f"/v1/bulk-runs/{batch}/items", json=lines, headers=headers)
    guarded.post(f"/v1/bulk-runs/{batch}/seal", headers=headers)

    again = guarded.post(f"/v1/bulk-runs/{batch}/items", json=lines, headers=headers)

    assert (again.status_code, again.json()["known"]) == (200, 2)
    lines["items"].append({"custom_id": "new", "prompt": "a"})
    assert guarded.post(f"/v1/bulk-runs/{batch}/items", json=lines, headers=headers).status_code == 409


def test_a_key_is_known_for_a_day(client: TestClient, session: Session) -> None:
    headers = {"Idempotency-Key": "k"}
    first = client.post("/v1/videos", json=GOOD, headers=headers).json()["id"]
    session.execute(update(Job).values(created_at=Job.created_at - timedelta(hours=25)))
    session.commit()

    answer = client.post("/v1/videos", json={"prompt": "another"}, headers=headers)

    assert answer.status_code == 200
    assert answer.json()["id"] != first
    assert "idempotent-replayed" not in answer.headers


def test_a_deleted_videos_key_and_name_are_free(client: TestClient, session: Session) -> None:
    headers = {"Idempotency-Key": "k"}
    first = client.post("/v1/videos", json=GOOD, headers=headers).json()["id"]
    client.delete(f"/v1/videos/{first}")

    again = client.post("/v1/videos", json=GOOD, headers=headers).json()

    assert again["id"] != first
    assert session.scalars(select(Job.id).where(Job.idempotency_key == "k")).one() == UUID(again["id"][6:])


def test_a_key_whose_first_request_goes_on_is_a_conflict(client: TestClient, session: Session) -> None:
    session.execute(
        text(
            "INSERT INTO jobs (tenant, prompt, model, width, height, num_frames, fps, idempotency_key) "
            "VALUES ('local', 'a red circle', 'tiny', 64, 64, 8, 8, 'k')"
        )
    )  # not committed: another process is in the middle of it

    answer = client.post("/v1/videos", json=GOOD, headers={"Idempotency-Key": "k"})

    assert answer.status_code == 409
    assert answer.headers["retry-after"] == "1"
    assert answer.json()["error"] == {
        "message": "Idempotency-Key 'k' belongs to a request that has not ended; try again in a second",
        "type": "invalid_request_error",
        "param": "Idempotency-Key",
        "code": "idempotency_key_in_use",
    }


def test_a_name_no_encoding_holds_can_be_said_back(shared_client: TestClient) -> None:
    answer = shared_client.post("/v1/videos", content=json.dumps({**GOOD, "\ud800": 1, "a": 1}), headers=JSON)

    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == r"\ud800"


def test_a_field_without_a_name_is_not_called_the_body(shared_client: TestClient) -> None:
    answer = shared_client.post("/v1/videos", json={**GOOD, "": 1})

    assert answer.json()["error"]["message"].startswith("'' is not a field of this request")


def part(name: str, content: str, more: str = "", header: str = "") -> str:
    return f'--x\r\nContent-Disposition: form-data; name="{name}"{more}\r\n{header}\r\n{content}\r\n'


def sent(client: TestClient, path: str, *parts: str, boundary: str = "x", **headers: str) -> httpx.Response:
    type_ = f"multipart/form-data; boundary={boundary}"
    return client.post(path, content="".join([*parts, "--x--\r\n"]), headers={"Content-Type": type_, **headers})


PURPOSE = part("purpose", "batch")


@pytest.mark.parametrize("path", ["/v1/videos", "/v1/files"])
@pytest.mark.parametrize("boundary", ["b" * 300, "other"])
def test_a_boundary_that_parts_nothing_is_said_with_the_way_out(
    shared_client: TestClient, path: str, boundary: str
) -> None:
    answer = sent(shared_client, path, part("prompt", "a"), boundary=boundary)

    assert answer.status_code == 400
    assert answer.json()["error"]["message"].startswith("the body is not multipart/form-data as its Content-Type says")
    assert answer.json()["error"]["message"].endswith("; check the boundary")


def test_a_file_that_nobody_chose_is_left_out(shared_client: TestClient) -> None:
    empty = part("input_reference", "", '; filename=""', "Content-Type: application/octet-stream\r\n")

    answer = sent(shared_client, "/v1/videos", part("prompt", "a red circle"), empty)

    assert (answer.status_code, answer.json()["prompt"]) == (200, "a red circle")
    assert sent(shared_client, "/v1/videos", part("prompt", "a"), empty.replace('""', '"a.png"')).status_code == 400
    missing = sent(shared_client, "/v1/files", PURPOSE, part("file", "", '; filename=""'))
    assert missing.json()["error"]["message"] == "file is missing; add it"


@pytest.mark.parametrize(
    ("more", "name"),
    [
        ("; filename*=UTF-8''na%C3%AFve.jsonl", "naïve.jsonl"),
        ("; filename=\"naive.jsonl\"; filename*=UTF-8''na%C3%AFve.jsonl", "naïve.jsonl"),
        ("; filename*=iso-8859-1'en'na%EFve.jsonl", "naïve.jsonl"),
        ("; filename=\"plain.jsonl\"; filename*=nonsense''x", "plain.jsonl"),
        ('; filename="a.jsonl"', "a.jsonl"),
        ('; filename="say %22hi%22 at 100%25.jsonl"', 'say "hi" at 100%25.jsonl'),  # as browsers and httpx write it
        ('; filename=""', "file"),
    ],
)
def test_a_file_has_the_name_that_its_sender_gave_it(client: TestClient, more: str, name: str) -> None:
    answer = sent(client, "/v1/files", PURPOSE, part("file", "x", more))

    assert answer.json().get("filename") == name, answer.json()


@pytest.mark.parametrize("packed", ["base64", "Quoted-Printable"])
def test_a_file_that_is_packed_is_not_stored_as_it_is(client: TestClient, packed: str) -> None:
    header = f"Content-Transfer-Encoding: {packed}\r\n"
    file = part("file", "YQ==", '; filename="a"', header)

    answer = sent(client, "/v1/files", PURPOSE, file)

    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "file")
    assert answer.json()["error"]["message"].endswith("send its bytes as they are")
    assert sent(client, "/v1/files", PURPOSE, file.replace(packed, "binary")).status_code == 200
    assert (
        sent(client, "/v1/files", PURPOSE, file.replace(packed, "8bit"), **{"Content-Encoding": "gzip"}).status_code
        == 415
    )
