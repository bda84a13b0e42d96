"""Which videos a list holds."""

from datetime import UTC, datetime
from uuid import UUID

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import update
from sqlalchemy.orm import Session

from db.models import Job

# prompt → the rest of the request
MADE = {
    "a red circle": {"mode": "fast", "metadata": {"scene": "12", "shot": "a"}},
    "a blue circle": {"mode": "full", "metadata": {"scene": "12", "shot": "b"}},
    "100% of a_square": {"metadata": {"scene": "3", "sum": "a=b"}},
}
PATHS = {"a red circle": "fast", "a blue circle": "full"}
TIMES = {"a red circle": 1000, "a blue circle": 2000, "100% of a_square": 3000}

FOUND = [
    ({"path": "fast"}, {"a red circle"}),
    ({"mode": "auto"}, {"100% of a_square"}),
    ({"model": "tiny"}, set(MADE)),
    ({"model": "other"}, set()),
    ({"prompt": "CIRCLE"}, {"a red circle", "a blue circle"}),
    ({"prompt": "0% of a_s"}, {"100% of a_square"}),
    ({"prompt": "a%circle"}, set()),
    ({"created_after": 2000}, {"a blue circle", "100% of a_square"}),
    ({"created_before": 2000}, {"a red circle"}),
    ({"created_after": 1001, "created_before": 2999}, {"a blue circle"}),
    ({"metadata": "scene=12"}, {"a red circle", "a blue circle"}),
    ({"metadata": ["scene=12", "shot=b"]}, {"a blue circle"}),
    ({"metadata": "sum=a=b"}, {"100% of a_square"}),
    ({"metadata": "scene=1"}, set()),
    ({"prompt": "circle", "path": "full", "status": "queued"}, {"a blue circle"}),
]


@pytest.fixture(scope="module")
def _made(shared_client: TestClient) -> None:
    factory = shared_client.app.state.service.sessions
    for prompt, more in MADE.items():
        id_ = shared_client.post("/v1/videos", json={"prompt": prompt, **more}).json()["id"]
        values = {"created_at": datetime.fromtimestamp(TIMES[prompt], UTC), "path": PATHS.get(prompt)}
        with factory() as session:
            _set(session, UUID(id_[6:]), values)


def _set(session: Session, id_: UUID, values: dict) -> None:
    session.execute(update(Job).where(Job.id == id_).values(values))
    session.commit()


@pytest.mark.usefixtures("_made")
@pytest.mark.parametrize(("asked", "found"), FOUND)
def test_a_filter_lists_what_it_says(shared_client: TestClient, asked: dict, found: set[str]) -> None:
    videos = shared_client.get("/v1/videos", params=asked).json()["data"]

    assert {video["prompt"] for video in videos} == found


REFUSED = [
    ("path=slow", "path", "path 'slow' is not known; use 'fast' or 'full'"),
    ("metadata=scene", "metadata", "metadata 'scene' is not KEY=VALUE; write it like metadata=scene=12"),
    (
        "created_after=now",
        "created_after",
        "created_after 'now' is not a whole number; send a whole number",
    ),
    ("prompt=%00", "prompt", "prompt '\\x00' holds U+0000; remove it"),
    ("promt=circle", "promt", "promt is not a query field of this request; did you mean prompt?"),
    ("prompt=ni%F1a", "prompt", r"prompt 'ni\udcf1a' is not UTF-8; send UTF-8"),
    ("metadata=a=b&metadata=%ff=b", "metadata", r"metadata '\udcff=b' is not UTF-8; send UTF-8"),
    ("model=", "model", "model is empty; write something"),
    ("prompt=", "prompt", "prompt is empty; write something"),
    ("path=fast&path=full", "path", "path is given twice; send it once"),
    (
        "status=completed,failed",
        "status",
        "status 'completed,failed' is not known; use 'queued', 'in_progress', 'completed', 'failed' or 'cancelled'",
    ),
]


@pytest.mark.parametrize(("query", "param", "message"), REFUSED)
def test_a_filter_that_cannot_be_is_refused(shared_client: TestClient, query: str, param: str, message: str) -> None:
    answer = shared_client.get(f"/v1/videos?{query}")

    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
    assert answer.json()["error"]["message"] == message
