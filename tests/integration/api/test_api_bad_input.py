"""Whatever is wrong with a request, the answer names the field, the value and the way out, and is never a 500."""

import json

import pytest
from fastapi.testclient import TestClient

GOOD = {"prompt": "a red circle"}
LONG = "p" * 100_000

# what is sent beside a good prompt → field, code, message
FIELDS = [
    # a misspelt field is not silently ignored
    (
        {"guidence_scale": 7},
        "guidence_scale",
        "unknown_field",
        "guidence_scale is not a field of this request; did you mean guidance_scale?",
    ),
    (
        {"zzz": 1},
        "zzz",
        "unknown_field",
        "zzz is not a field of this request; known are prompt, model, size, seconds, seed, negative_prompt, "
        "num_inference_steps, guidance_scale, fps, mode, metadata, webhook_url, width, height, num_frames, n, "
        "num_outputs_per_prompt, user, generator_device, enable_teacache, enable_frame_interpolation, "
        "extra_params, lora, "
        "enable_upscaling, generate_sound, frame_interpolation_exp, frame_interpolation_scale, upscaling_scale",
    ),
    (
        {"prompt": "a fox", "seconds": 7.075970496494969e-57},  # read as the text that it prints as
        "seconds",
        "invalid_value",
        "seconds has 21 characters; use at most 20",
    ),
    # prompts
    (
        {"prompt": ""},
        "prompt",
        "invalid_value",
        "prompt is empty; say in a sentence what the video shows",
    ),
    ({"prompt": " \n\t"}, "prompt", "invalid_value", "prompt is empty; say in a sentence what the video shows"),
    ({"prompt": LONG}, "prompt", "invalid_value", "prompt has 100000 characters; use at most 4000"),
    ({"prompt": 5}, "prompt", "invalid_value", "prompt 5 is not text; send text"),
    ({"prompt": None}, "prompt", "missing_field", "prompt is missing; add it"),
    (
        {"prompt": "a\x00b"},
        "prompt",
        "invalid_value",
        "prompt holds the control character U+0000 at position 1; remove it",
    ),
    (
        {"prompt": "ring\x07"},
        "prompt",
        "invalid_value",
        "prompt holds the control character U+0007 at position 4; remove it",
    ),
    (
        {"prompt": "half \ud800"},
        "prompt",
        "invalid_value",
        "prompt holds the half of a surrogate pair U+D800 at position 5; remove it",
    ),
    (
        {"negative_prompt": "\x00"},
        "negative_prompt",
        "invalid_value",
        "negative_prompt holds the control character U+0000 at position 0; remove it",
    ),
    # the model and what it can do
    ({"model": "sora-2"}, "model", "unknown_model", "model 'sora-2' is not here; use tiny"),
    ({"size": "250x100"}, "size", "invalid_value", "size '250x100' is none of tiny's; use 64x64, 64x48"),
    ({"size": "big"}, "size", "invalid_value", "size 'big' is none of tiny's; use 64x64, 64x48"),
    ({"size": ""}, "size", "invalid_value", "size '' is none of tiny's; use 64x64, 64x48"),
    ({"size": 64}, "size", "invalid_value", "size 64 is not text; send text"),
    (
        {"seconds": "100"},
        "seconds",
        "invalid_value",
        "seconds '100' is not what tiny can make at 8 frames per second; the nearest is 8",
    ),
    ({"seconds": "soon"}, "seconds", "invalid_value", "seconds 'soon' is not a positive number; try 2"),
    ({"seconds": -1}, "seconds", "invalid_value", "seconds '-1' is not a positive number; try 2"),
    ({"seconds": "nan"}, "seconds", "invalid_value", "seconds 'nan' is not a positive number; try 2"),
    ({"seconds": "1e999"}, "seconds", "invalid_value", "seconds '1e999' is not a positive number; try 2"),
    ({"seconds": True}, "seconds", "invalid_value", "seconds true is not text; send text"),
    # numbers
    ({"seed": -2}, "seed", "invalid_value", "seed -2 is too small; use 0 or more"),
    ({"seed": 2**70}, "seed", "invalid_value", f"seed {2**70} is too large; use 4294967295 or less"),
    ({"seed": 1.5}, "seed", "invalid_value", "seed 1.5 is not a whole number; send a whole number"),
    ({"seed": True}, "seed", "invalid_value", "seed true is not a whole number; send a whole number"),
    ({"seed": "7"}, "seed", "invalid_value", "seed '7' is not a whole number; send a whole number"),
    (
        {"num_inference_steps": 0},
        "num_inference_steps",
        "invalid_value",
        "num_inference_steps 0 is too small; use 1 or more",
    ),
    (
        {"num_inference_steps": 101},
        "num_inference_steps",
        "invalid_value",
        "num_inference_steps 101 is more than tiny allows; use 1 to 100",
    ),
    (
        {"guidance_scale": 0.5},
        "guidance_scale",
        "invalid_value",
        "guidance_scale 0.5 is too small; use 1.0 or more",
    ),
    (
        {"guidance_scale": 1000},
        "guidance_scale",
        "invalid_value",
        "guidance_scale 1000 is too large; use 20.0 or less",
    ),
    ({"fps": 0}, "fps", "invalid_value", "fps 0 is too small; use 1 or more"),
    ({"mode": "turbo"}, "mode", "invalid_value", "mode 'turbo' is not known; use 'auto', 'fast' or 'full'"),
    # metadata
    ({"metadata": [1]}, "metadata", "invalid_value", "metadata [1] is not an object; send an object"),
    ({"metadata": {"a": 1}}, "metadata.a", "invalid_value", "metadata.a 1 is not text; send text"),
    ({"metadata": {"": "b"}}, "metadata", "invalid_value", "a key of metadata is empty; write something"),
    (
        {"metadata": {"k" * 65: "b"}},
        "metadata",
        "invalid_value",
        "a key of metadata has 65 characters; use at most 64",
    ),
    (
        {"metadata": {str(number): "" for number in range(17)}},
        "metadata",
        "invalid_value",
        "metadata has 17 members; use at most 16",
    ),
    (
        {"metadata": {"a": "\x00"}},
        "metadata.a",
        "invalid_value",
        "metadata.a holds the control character U+0000 at position 0; remove it",
    ),
    (
        {"metadata": {"a": "v" * 513}},
        "metadata.a",
        "invalid_value",
        "metadata.a has 513 characters; use at most 512",
    ),
]


@pytest.mark.parametrize(("fields", "param", "code", "message"), FIELDS, ids=[str(case[0])[:40] for case in FIELDS])
def test_a_wrong_field_is_explained(
    shared_client: TestClient, fields: dict, param: str, code: str, message: str
) -> None:
    answer = shared_client.post(
        "/v1/videos", content=json.dumps({**GOOD, **fields}), headers={"Content-Type": "application/json"}
    )

    assert answer.status_code == 400
    assert answer.json() == {
        "error": {"message": message, "type": "invalid_request_error", "param": param, "code": code},
    }


# body, content type → status, code, message
BODIES = [
    (b"", "application/json", 400, "invalid_json", "the body is not JSON: Expecting value at line 1 column 1"),
    (
        b"{'prompt'",
        "application/json",
        400,
        "invalid_json",
        "the body is not JSON: Expecting property name enclosed in double quotes at line 1 column 2",
    ),
    (b"[]", "application/json", 400, "invalid_json", "the body [] is not a JSON object; send {…}"),
    (b"null", "application/json", 400, "invalid_json", "the body null is not a JSON object; send {…}"),
    (b'{"prompt": "\xff"}', "application/json", 400, "invalid_json", "the body is not UTF-8 at byte 12; send UTF-8"),
    (
        b'{"prompt": "a", "guidance_scale": NaN}',
        "application/json",
        400,
        "invalid_value",
        "guidance_scale nan is not a finite number; send a finite number",
    ),
    (
        b"[" * 200_000,
        "application/json",
        400,
        "invalid_json",
        "the body is nested too deeply; flatten it",
    ),
    (
        b'{"prompt": "a", "seed": ' + b"9" * 5000 + b"}",
        "application/json",
        400,
        "invalid_value",
        f"seed {'9' * 60}… is too large; use 4294967295 or less",
    ),
    (b"{}", "application/json", 400, "missing_field", "prompt is missing; add it"),
    (
        b"{}",
        "text/plain",
        415,
        "unsupported_media_type",
        "Content-Type 'text/plain' is not read here; send application/json or multipart/form-data",
    ),
    (
        b"{}",
        "",
        415,
        "unsupported_media_type",
        "Content-Type '' is not read here; send application/json or multipart/form-data",
    ),
    (
        b'{"prompt": "' + b"a" * 1_100_000 + b'"}',
        "application/json",
        413,
        "body_too_large",
        "the body has more than 1048576 bytes; send less, or several requests",
    ),
    (
        b"guidance_scale=nan&prompt=a",
        "application/x-www-form-urlencoded",
        400,
        "invalid_value",
        "guidance_scale 'nan' is not a finite number; send a finite number",
    ),
    (
        b"metadata=%7B&prompt=a",
        "application/x-www-form-urlencoded",
        400,
        "invalid_json",
        "metadata is not JSON: Expecting property name enclosed in double quotes at line 1 column 2",
    ),
    (
        b"rubbish",
        "multipart/form-data",
        400,
        "bad_request",
        "Content-Type has no boundary; let the HTTP client write it",
    ),
    (
        b'--b\r\nContent-Disposition: form-data; name="prompt"\r\n\r\na\r\n--b\r\n'
        b'Content-Disposition: form-data; name="seed"\r\n\r\n5',
        "multipart/form-data; boundary=b",
        400,
        "bad_request",
        "the form ends in the middle; send it again",
    ),
    (b"", "multipart/form-data; boundary=b", 400, "missing_field", "prompt is missing; add it"),
]


@pytest.mark.parametrize(
    ("body", "type_", "status", "code", "message"), BODIES, ids=[f"{case[0][:20]!r} {case[1]}" for case in BODIES]
)
def test_a_wrong_body_is_explained(
    shared_client: TestClient, body: bytes, type_: str, status: int, code: str, message: str
) -> None:
    answer = shared_client.post("/v1/videos", content=body, headers={"Content-Type": type_})

    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["message"]) == (status, code, message)


def test_a_body_without_announced_length_is_bounded_too(shared_client: TestClient) -> None:
    def chunks():
        for _ in range(20):
            yield b"a" * 100_000

    answer = shared_client.post("/v1/videos", content=chunks(), headers={"Content-Type": "application/json"})

    assert answer.status_code == 413


def test_a_file_is_refused(shared_client: TestClient) -> None:
    answer = shared_client.post("/v1/videos", data=GOOD, files={"input_reference": ("a.png", b"png")})

    assert answer.status_code == 400
    assert answer.json()["error"]["message"] == (
        "input_reference is a file, and no file is read here; send text fields only"
    )


# method, path, headers → status, message
PATHS = [
    ("GET", "/nowhere", {}, 404, "there is nothing at /nowhere; /docs lists the paths"),
    ("PATCH", "/v1/videos", {}, 405, "PATCH is not allowed at /v1/videos; use GET, HEAD, POST"),
    ("GET", "/v1/videos?limit=0", {}, 400, "limit '0' is too small; use 1 or more"),
    ("GET", "/v1/videos?limit=many", {}, 400, "limit 'many' is not a whole number; send a whole number"),
    ("GET", "/v1/videos?order=up", {}, 400, "order 'up' is not known; use 'asc' or 'desc'"),
    (
        "GET",
        "/v1/videos?status=done",
        {},
        400,
        "status 'done' is not known; use 'queued', 'in_progress', 'completed', 'failed' or 'cancelled'",
    ),
    ("GET", "/v1/videos?after=x", {}, 404, "no video 'x' for this key; GET /v1/videos lists what there is"),
    (
        "GET",
        f"/v1/videos?batch_id=batch_{'0' * 32}",
        {},
        404,
        f"no bulk run 'batch_{'0' * 32}' for this key; GET /v1/bulk-runs lists what there is",
    ),
    ("GET", "/v1/videos?batch_id=x", {}, 404, "no bulk run 'x' for this key; GET /v1/bulk-runs lists what there is"),
    ("GET", "/v1/videos/%00", {}, 404, r"no video '\x00' for this key; GET /v1/videos lists what there is"),
    (
        "GET",
        "/v1/videos/x/content?variant=preview",
        {},
        400,
        "variant 'preview' is not known; use 'video', 'thumbnail' or 'spritesheet'",
    ),
    (
        "POST",
        "/v1/videos",
        {"Idempotency-Key": "k" * 256},
        400,
        "Idempotency-Key has 256 characters; use at most 255",
    ),
    (
        "POST",
        "/v1/videos",
        {"Idempotency-Key": b"\xc3\xa4"},
        400,
        "Idempotency-Key holds characters other than printable ASCII; use a UUID",
    ),
]


@pytest.mark.parametrize(("method", "path", "headers", "status", "message"), PATHS, ids=[c[1][:40] for c in PATHS])
def test_a_wrong_path_is_explained(
    shared_client: TestClient, method: str, path: str, headers: dict, status: int, message: str
) -> None:
    body = {"json": GOOD} if method == "POST" else {}

    answer = shared_client.request(method, path, headers=headers, **body)

    assert (answer.status_code, answer.json()["error"]["message"]) == (status, message)
