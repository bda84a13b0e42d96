"""F18: a cancel at any moment, also at that of completion, leaves one final state."""

from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from db import jobs
from db.errors import LeaseLost
from db.models import Job
from db.session import transaction

ACTIONS = ("cancel", "claim", "beat", "complete", "fail", "expire")
FINAL = {"completed", "failed", "cancelled"}


class Life:
    """One job, moved by a caller and by a worker that obeys the rules."""

    def __init__(self, client: TestClient, factory: sessionmaker[Session]) -> None:
        self.client, self.factory, self.claim = client, factory, None
        self.video = client.post("/v1/videos", json={"prompt": "a"}).json()["id"]
        self.id = UUID(self.video.removeprefix("video_"))

    def do(self, action: str) -> None:
        if action == "cancel":
            answer = self.client.post(f"/v1/videos/{self.video}/cancel")
            assert answer.status_code == 200
            assert answer.json()["status"] in {"cancelled", "completed", "failed"} or answer.json()["cancel_requested"]
            return
        with transaction(self.factory) as session:
            if action == "claim":
                self.claim = jobs.claim(session, self.id, owner="w", lease_s=30) or self.claim
            elif action == "expire":
                self._expire(session)
            elif self.claim:
                self._hold(session, action)

    def _expire(self, session: Session) -> None:
        job = session.get_one(Job, self.id)
        if job.lease_until is not None:
            job.lease_until = job.created_at
            session.flush()
            jobs.sweep(session, max_lost=3)

    def _hold(self, session: Session, action: str) -> None:
        try:
            if jobs.beat(session, self.claim, lease_s=30) and action == "beat":
                jobs.cancelled(session, self.claim)
            elif action == "complete":
                jobs.complete(session, self.claim, output={"name": "videos/x.mp4"}, receipt={})
            elif action == "fail":
                jobs.fail(session, self.claim, code="c", message="m")
        except LeaseLost:
            self.claim = None

    @property
    def status(self) -> str:
        return self.client.get(f"/v1/videos/{self.video}").json()["status"]


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True)
@given(actions=st.lists(st.sampled_from(ACTIONS), max_size=8))
def test_whatever_happens_a_cancelled_job_ends_once(
    client: TestClient, session_factory: sessionmaker[Session], actions: list[str]
) -> None:
    life, ended = Life(client, session_factory), None

    for action in [*actions, "cancel", "cancel", "beat"]:
        life.do(action)
        status = life.status
        assert ended is None or status == ended, "a final state was left"
        ended = status if status in FINAL else None

    # a worker that lives sees the wish at its next step; one that is gone leaves it to the sweep
    if ended is None:
        life.do("expire")
    assert life.status in FINAL


@pytest.mark.parametrize("state", ["queued", "in_progress", "completed", "failed", "cancelled"])
def test_cancelling_twice_gives_the_same_answer(
    client: TestClient, session_factory: sessionmaker[Session], state: str
) -> None:
    life = Life(client, session_factory)
    for action in {"queued": [], "cancelled": ["cancel"], "in_progress": ["claim"]}.get(
        state, ["claim", {"completed": "complete", "failed": "fail"}.get(state, "")]
    ):
        life.do(action)
    assert life.status == state

    first, second = (client.post(f"/v1/videos/{life.video}/cancel") for _ in range(2))

    assert first.status_code == 200
    assert first.json() == second.json()
    assert first.json()["status"] == {"queued": "cancelled"}.get(state, state)


def test_a_cancel_at_the_moment_of_completion_leaves_one_final_state(
    client: TestClient, session_factory: sessionmaker[Session], session: Session
) -> None:
    with ThreadPoolExecutor(2) as pool:
        for _ in range(30):
            life = Life(client, session_factory)
            life.do("claim")
            together = [pool.submit(life.do, action) for action in ("complete", "cancel")]
            for done in together:
                done.result()

            # the video was there first or the wish came too late: either way it is published, and nothing moves it
            assert life.status == "completed"
            life.do("beat")
            assert life.status == "completed"

    published = session.scalars(select(Job).where(Job.output.is_not(None))).all()
    assert {job.status for job in published} == {"completed"}
