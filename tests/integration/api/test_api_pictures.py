"""Thumbnail and spritesheet of a video: served like it, deleted with it."""

from uuid import UUID

import pytest
from fastapi.testclient import TestClient
from running import mp4, work
from sqlalchemy import update
from sqlalchemy.orm import Session, sessionmaker

from api import sweeps
from db import jobs
from db.models import Job
from db.session import transaction
from shared.storage import Storage, picture_name

PICTURES = {"thumbnail": b"\xff\xd8\xff first frame", "spritesheet": b"\xff\xd8\xff twelve frames"}
Made = tuple[str, UUID]


@pytest.fixture
def made(client: TestClient, session_factory: sessionmaker[Session], storage: Storage) -> Made:
    """A video with pictures, as a worker leaves it: its id, and the job's."""
    id_ = client.post("/v1/videos", json={"prompt": "a red circle"}).json()["id"]
    job_id = UUID(id_.removeprefix("video_"))
    assert work(session_factory, storage, job_id, mp4())
    files = {kind: storage.write(picture_name(job_id, 1, kind), content) for kind, content in PICTURES.items()}
    rows = {kind: {"name": file.name, "bytes": file.num_bytes, "sha256": file.sha256} for kind, file in files.items()}
    rows["spritesheet"] |= {"columns": 4, "rows": 3, "tiles": 12}
    with transaction(session_factory) as session:
        output = {**jobs.get(session, "local", job_id).output, "pictures": rows}
        session.execute(update(Job).where(Job.id == job_id).values(output=output))
    return id_, job_id


@pytest.mark.parametrize("kind", PICTURES)
def test_a_picture_is_served_like_the_video(client: TestClient, made: Made, kind: str) -> None:
    path = f"/v1/videos/{made[0]}/content?variant={kind}"

    whole, head = client.get(path), client.head(path)
    part = client.get(path, headers={"Range": "bytes=3-"})
    again = client.get(path, headers={"If-None-Match": whole.headers["etag"]})

    assert (whole.content, whole.headers["content-type"]) == (PICTURES[kind], "image/jpeg")
    assert head.headers["content-length"] == str(len(PICTURES[kind]))
    assert head.headers["content-disposition"] == f'inline; filename="{made[0]}.{kind}.jpg"'
    assert (part.status_code, part.content, again.status_code) == (206, PICTURES[kind][3:], 304)
    assert head.headers.get("x-sheet-columns") == {"spritesheet": "4"}.get(kind)


def test_a_video_from_before_pictures_says_so(
    client: TestClient, session_factory: sessionmaker[Session], storage: Storage
) -> None:
    id_ = client.post("/v1/videos", json={"prompt": "a red circle"}).json()["id"]
    work(session_factory, storage, UUID(id_.removeprefix("video_")), mp4())

    answer = client.get(f"/v1/videos/{id_}/content?variant=thumbnail")

    assert (answer.status_code, answer.json()["error"]["code"]) == (410, "no_picture")
    assert answer.json()["error"]["message"] == f"video {id_} has no thumbnail; variant=video is there"


def test_pictures_go_with_their_video(
    client: TestClient, session_factory: sessionmaker[Session], storage: Storage, made: Made
) -> None:
    client.delete(f"/v1/videos/{made[0]}")

    with transaction(session_factory) as session:
        names = jobs.purge(session)

    kept = {file.name for folder in ("videos", "pictures") for file in storage.files(folder)}
    assert set(names) == kept
    assert len(kept) == 3


def test_the_sweep_knows_pictures_of_published_attempts_from_those_of_lost_ones(
    session_factory: sessionmaker[Session], storage: Storage, made: Made
) -> None:
    orphans = [picture_name(made[1], 2, "thumbnail"), picture_name(UUID(int=7), 1, "spritesheet")]
    for name in orphans:
        storage.write(name, b"of a worker that came too late")

    assert sorted(sweeps.sweep(storage, session_factory, older_s=0)) == sorted(orphans)
    assert len(list(storage.files("pictures"))) == 2
