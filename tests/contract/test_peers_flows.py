"""What the load clients and suites of other video servers do from first to last, in our own words."""

import io
from collections.abc import Iterator
from typing import Any

import av
import httpx
import pytest
from running import wait_until

# One request as each kind of client writes it: everything that it fills in, at the size of the test's model.
LOAD_CLIENT = {  # JSON, every field always there
    "model": "tiny",
    "prompt": "a red circle",
    "size": "64x48",
    "width": 64,
    "height": 48,
    "num_frames": 16,
    "fps": 8,
    "num_inference_steps": 4,
    "seed": 42,
    "num_outputs_per_prompt": 1,
    "n": 1,
    "generator_device": "cuda",
    "enable_teacache": False,
    "extra_params": {},
    "user": None,
    "negative_prompt": None,
}
FORM_CLIENT = {  # a form, with empty values for what nobody filled in
    "prompt": "a red circle",
    "model": "",
    "width": "64",
    "height": "48",
    "num_frames": "16",
    "fps": "8",
    "num_inference_steps": "4",
    "guidance_scale": "4.5",
    "seed": "-1",
    "negative_prompt": "blur",
    "user": "load-test",
    "extra_params": "{}",
    "size": "",
    "lora": "",
}
AS_MULTIPART = {name: (None, value) for name, value in FORM_CLIENT.items()}
WAYS: list[dict[str, Any]] = [{"json": LOAD_CLIENT}, {"data": FORM_CLIENT}, {"files": AS_MULTIPART}]


@pytest.fixture
def http(url: str) -> Iterator[httpx.Client]:
    """Any client."""
    with httpx.Client(base_url=url, trust_env=False, timeout=60) as http:
        yield http


@pytest.mark.usefixtures("worker")
@pytest.mark.parametrize("way", WAYS, ids=["json", "form", "multipart"])
def test_a_client_of_another_server_gets_its_video_and_its_figures(http: httpx.Client, way: dict[str, Any]) -> None:
    assert http.get("/health").status_code == 200

    posted = http.post("/v1/videos", **way)
    assert posted.status_code == 200, posted.text
    id_ = posted.json()["id"]
    wait_until(lambda: http.get(f"/v1/videos/{id_}").json()["status"] in ("completed", "failed"))
    video, content = http.get(f"/v1/videos/{id_}").json(), http.get(f"/v1/videos/{id_}/content")

    assert (video["status"], video["size"], video["num_frames"], video["fps"]) == ("completed", "64x48", 16, 8)
    assert video["inference_time_s"] > 0
    assert isinstance(video["stage_durations"], dict)
    assert "peak_memory_mb" in video
    assert content.headers["content-disposition"] == f'inline; filename="{id_}.mp4"'
    with av.open(io.BytesIO(content.content)) as container:
        assert sum(1 for _ in container.decode(video=0)) == 16


@pytest.mark.parametrize("way", WAYS, ids=["json", "form", "multipart"])
def test_a_client_that_wants_it_in_one_call_is_told_where_to_look_when_it_takes_too_long(
    http: httpx.Client, way: dict[str, Any]
) -> None:
    answer = http.post("/v1/videos/sync", **way)  # nobody works

    assert (answer.status_code, answer.json()["status"]) == (202, "queued")
    assert http.get(answer.headers["location"]).json()["id"] == answer.json()["id"]


def test_a_loop_that_waits_for_an_end_finds_one_after_a_cancel(http: httpx.Client) -> None:
    id_ = http.post("/v1/videos", json=LOAD_CLIENT).json()["id"]

    http.post(f"/v1/videos/{id_}/cancel")

    video = http.get(f"/v1/videos/{id_}").json()
    assert video["completed_at"] is not None
    assert video["error"]["code"] == "cancelled"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/videos/edits"),
        ("POST", "/v1/videos/extensions"),
        ("POST", "/v1/videos/characters"),
        ("POST", "/v1/videos/video_1/remix"),
        ("POST", "/v1/images/generations"),
        ("POST", "/v1/chat/completions"),
        ("POST", "/v1/uploads"),
    ],
)
def test_calls_that_we_lack_say_so_in_one_sentence(http: httpx.Client, method: str, path: str) -> None:
    answer = http.request(method, path, json={})

    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_offered")
    assert answer.json()["error"]["message"] == (
        f"{method} {path} is not offered here; this service makes videos: "
        "POST /v1/videos submits one, and /docs lists what else there is"
    )
