"""Requests as clients of other video servers write them, and what those clients look for in the answers."""

from uuid import UUID

import pytest
from fastapi.testclient import TestClient
from running import mp4, work
from sqlalchemy import select, update
from sqlalchemy.orm import Session, sessionmaker

from db import jobs
from db.models import Job, JobMetric
from db.session import transaction
from shared.storage import Storage

PROMPT = {"prompt": "a red circle"}


@pytest.fixture
def finished(client: TestClient, session_factory: sessionmaker[Session], storage: Storage) -> tuple[str, bytes]:
    """The id of a completed video, and its bytes."""
    id_, content = client.post("/v1/videos", json=PROMPT).json()["id"], mp4()
    assert work(session_factory, storage, UUID(id_[6:]), content)
    return id_, content


# body → what the video says; each asks for what happens here anyway
ACCEPTED = [
    ({"width": 64, "height": 48}, {"size": "64x48"}),
    ({"size": "64x48", "width": 64, "height": 48}, {"size": "64x48"}),
    ({"num_frames": 16, "fps": 8}, {"num_frames": 16, "fps": 8}),
    ({"num_frames": 16, "seconds": "2", "fps": 8}, {"num_frames": 16}),
    ({"n": 1, "num_outputs_per_prompt": 1, "user": "me", "generator_device": "cuda", "seed": 1024}, {"seed": 1024}),
    ({"seed": -1}, {"seed": None}),
    ({"enable_teacache": False, "enable_frame_interpolation": False}, {}),
    ({"extra_params": {}, "lora": {}}, {}),
    # every field of such a service written out, though nothing of it is switched on
    (
        {"frame_interpolation_exp": 1, "frame_interpolation_scale": 1.0, "upscaling_scale": 4}
        | {"enable_upscaling": False, "generate_sound": False, "fps": 8},
        {"fps": 8},
    ),
    ({"seconds": 2, "fps": 8, "num_inference_steps": 4}, {"seconds": "2", "num_frames": 16}),
]
UNSET = ("guidance_scale_2", "true_cfg_scale", "boundary_ratio", "flow_shift", "input_reference", "image_reference")


@pytest.mark.parametrize(("body", "shown"), ACCEPTED)
@pytest.mark.parametrize("way", ["json", "form", "multipart"])
def test_what_asks_for_what_we_do_is_accepted(shared_client: TestClient, body: dict, shown: dict, way: str) -> None:
    request = {**PROMPT, **body}
    texts = {name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in request.items()}

    if way == "json":
        answer = shared_client.post("/v1/videos", json=request)
    elif way == "form":
        answer = shared_client.post("/v1/videos", data=texts)
    else:
        answer = shared_client.post("/v1/videos", files={name: (None, text) for name, text in texts.items()})

    assert answer.status_code == 200, answer.text
    assert {name: answer.json()[name] for name in shown} == shown


def test_fields_of_others_that_nobody_filled_in_are_left_out(shared_client: TestClient) -> None:
    names = (*UNSET, "model", "size", "seconds", "seed", "fps", "user", "lora", "extra_params", "n", "enable_upscaling")

    as_json = shared_client.post("/v1/videos", json={**PROMPT, **dict.fromkeys(names)})
    as_form = shared_client.post("/v1/videos", data={**PROMPT, **dict.fromkeys(names, "")})

    assert (as_json.status_code, as_form.status_code) == (200, 200), as_json.text + as_form.text


def test_empty_fields_of_a_form_are_left_out(shared_client: TestClient) -> None:
    names = ("model", "size", "seconds", "seed", "negative_prompt", "num_frames", "mode", "metadata", "user")

    answer = shared_client.post("/v1/videos", data={**PROMPT, **dict.fromkeys(names, "")})

    assert answer.status_code == 200, answer.text
    assert (answer.json()["size"], answer.json()["mode"]) == ("64x64", "auto")


# body → what is wrong with it: all of these would change the result
REFUSED = [
    ({"n": 2}, "n", "n 2 is not 1; a request makes one video, send several"),
    (
        {"num_outputs_per_prompt": 0},
        "num_outputs_per_prompt",
        "num_outputs_per_prompt 0 is not 1; a request makes one video, send several",
    ),
    ({"lora": {"name": "quick"}}, "lora", "lora is not offered here; leave it out"),
    ({"enable_teacache": True}, "enable_teacache", "enable_teacache is not offered here; leave it out"),
    *(({name: 3.0}, name, f"{name} is not a field of this request") for name in UNSET),
    ({"enable_upscaling": True}, "enable_upscaling", "enable_upscaling is not offered here; leave it out"),
    ({"width": 64}, "height", "height is missing beside width; send both, or size"),
    ({"width": 65, "height": 48}, "size", "size '65x48' is none of tiny's; use 64x64, 64x48"),
    (
        {"size": "64x64", "width": 64, "height": 48},
        "size",
        "size '64x64' is not width x height, 64x48; send one of them",
    ),
    ({"num_frames": 3}, "num_frames", "num_frames 3 is not what tiny can make; the nearest is "),
    (
        {"num_frames": 16, "seconds": 8},
        "num_frames",
        "num_frames 16 is not seconds x fps, 64; send one of them",
    ),
]


@pytest.mark.parametrize(("body", "param", "message"), REFUSED)
def test_what_would_change_the_result_is_refused(
    shared_client: TestClient, body: dict, param: str, message: str
) -> None:
    answer = shared_client.post("/v1/videos", json={**PROMPT, **body})

    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
    assert answer.json()["error"]["message"].startswith(message)


def test_the_same_in_other_words_is_the_same_request(client: TestClient) -> None:
    bodies = [{"size": "64x48"}, {"width": 64, "height": 48}, {"size": "64x48", "n": 1, "user": "me", "seed": -1}]

    ids = {
        client.post("/v1/videos", json={**PROMPT, **body}, headers={"Idempotency-Key": "k"}).json()["id"]
        for body in bodies
    }

    assert len(ids) == 1


def test_figures_have_the_names_that_others_use_too(
    client: TestClient, session: Session, finished: tuple[str, bytes]
) -> None:
    session.execute(update(JobMetric).values(peak_memory=3 * 2**20))
    session.commit()

    video = client.get(f"/v1/videos/{finished[0]}").json()

    assert video["inference_time_s"] == video["usage"]["run_s"]
    assert video["stage_durations"] == video["usage"]["stage_s"] == {"denoise": 0.5}
    assert video["peak_memory_mb"] == 3.0


def test_every_end_has_a_time_and_but_for_completion_a_code(
    client: TestClient, session_factory: sessionmaker[Session]
) -> None:
    cancelled, failed = (client.post("/v1/videos", json=PROMPT).json()["id"] for _ in range(2))
    with transaction(session_factory) as session:
        claim = jobs.claim(session, UUID(failed[6:]), owner="w", lease_s=30)
        jobs.fail(session, claim, code="model_unavailable", message="tiny: /srv/models/tiny has no model_index.json")

    ended = client.post(f"/v1/videos/{cancelled}/cancel").json()
    broken = client.get(f"/v1/videos/{failed}").json()

    assert ended["completed_at"] >= ended["created_at"]
    assert ended["error"] == {"code": "cancelled", "message": "this video was cancelled; submit the prompt again"}
    assert broken["completed_at"] >= broken["created_at"]
    # where files lie on the server is nobody's business
    assert broken["error"] == {"code": "model_unavailable", "message": "tiny: tiny has no model_index.json"}


def test_a_download_has_a_name_of_its_own(client: TestClient, finished: tuple[str, bytes]) -> None:
    answer = client.get(f"/v1/videos/{finished[0]}/content")

    assert answer.headers["content-disposition"] == f'inline; filename="{finished[0]}.mp4"'


@pytest.mark.parametrize(
    "asked", ["bytes=0-", "bytes=0-{last}", "bytes=0-{beyond}", "bytes=-{size}", "bytes=-{beyond}"]
)
def test_a_range_of_the_whole_file_is_a_range(client: TestClient, finished: tuple[str, bytes], asked: str) -> None:
    id_, content = finished
    size = len(content)

    answer = client.get(
        f"/v1/videos/{id_}/content",
        headers={"Range": asked.format(last=size - 1, size=size, beyond="9" * 4999)},
    )

    assert (answer.status_code, answer.content) == (206, content)
    assert answer.headers["content-range"] == f"bytes 0-{size - 1}/{size}"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"If-Match": '"other"'}, 412),
        ({"If-Match": "*"}, 200),
        ({"If-None-Match": "*"}, 304),
        ({"If-None-Match": 'W/"a", *'}, 200),  # not a list with a star
        ({"If-Match": '"a", {etag}'}, 200),
        ({"If-Match": '"a", W/{etag}'}, 412),  # a weak name is no proof that the bytes are the same
        ({"If-None-Match": '"a", W/{etag}'}, 304),
    ],
)
def test_conditions_are_kept(client: TestClient, finished: tuple[str, bytes], headers: dict, status: int) -> None:
    path = f"/v1/videos/{finished[0]}/content"
    etag = client.head(path).headers["etag"]

    asked = {name: value.replace("{etag}", etag) for name, value in headers.items()}

    assert client.get(path, headers=asked).status_code == status


@pytest.mark.parametrize("asked", [{"Range": "bytes=0-9"}, {"Range": "bytes=99999999-"}, {"If-Range": '"a"'}])
def test_head_says_what_the_whole_file_is_whatever_part_is_asked_for(
    client: TestClient, finished: tuple[str, bytes], asked: dict
) -> None:
    """Range is a field of GET alone (RFC 9110, 14.2)."""
    id_, content = finished
    file = client.post("/v1/files", files={"file": ("a.jsonl", content)}, data={"purpose": "batch"}).json()["id"]

    for path in (f"/v1/videos/{id_}/content", f"/v1/files/{file}/content"):
        answer = client.head(path, headers=asked)

        assert (answer.status_code, answer.headers["content-length"]) == (200, str(len(content)))
        assert "content-range" not in answer.headers


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("asked", [{}, {"Range": "bytes=0-9"}])
@pytest.mark.parametrize("fault", ["cut", "longer", "other"])
def test_a_file_that_is_not_the_one_written_is_never_served(
    client: TestClient, session: Session, storage: Storage, finished: tuple[str, bytes], method, asked, fault
) -> None:
    id_, content = finished
    name = session.scalars(select(Job.output["name"].astext)).one()
    wrong = {"cut": content[:100], "longer": content + b"x", "other": content[:-1] + b"\x00\x01"[:1]}[fault]
    assert wrong != content
    storage.write(name, wrong)

    answer = client.request(method, f"/v1/videos/{id_}/content", headers=asked)

    assert answer.status_code == 502
    if method == "GET":
        said = {
            "cut": f"has 100 of {len(content)} bytes",
            "longer": f"has {len(content) + 1} of {len(content)} bytes",
            "other": "is not the one that was written",
        }[fault]
        assert answer.json()["error"]["message"] == (
            f"the video's file {said}; submit the prompt again, and tell the operator"
        )


def test_a_file_that_is_cut_after_it_was_checked_is_noticed_too(
    client: TestClient, session: Session, storage: Storage, finished: tuple[str, bytes]
) -> None:
    id_, content = finished
    assert client.get(f"/v1/videos/{id_}/content").content == content
    storage.write(session.scalars(select(Job.output["name"].astext)).one(), content[:100])

    assert client.get(f"/v1/videos/{id_}/content").status_code == 502
