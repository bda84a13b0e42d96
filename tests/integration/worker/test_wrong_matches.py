"""A match that an operator found wrong is not made again, and its row says so."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient
from running import settings_of
from sqlalchemy import select

from api.app import create_app
from db import jobs, vetoes
from db.errors import IllegalTransition
from db.models import Job, JobMetric, Lookup
from db.session import transaction
from worker.cache import packed

Start = Callable[..., Any]  # Any: the Service of conftest
FIRST, EQUAL = "a red fox runs through a snowy forest", "a red fox eats"


def mark(service: Any, job: Job, act: Callable[..., Any] = vetoes.mark) -> None:
    with transaction(service.factory) as session:
        act(session, jobs.get(session, "ada", job.id))


def test_an_equal_text_is_not_matched_with_that_video_again_and_is_with_others(start: Start) -> None:
    service = start()
    donor = service.run(FIRST)
    hit = service.run(EQUAL)
    assert (hit.path, hit.receipt["donors"]) == ("fast", [f"video_{donor.id.hex}"])

    mark(service, hit)
    again = service.run(EQUAL)  # full: its own latents are stored now
    third = service.run(EQUAL)

    assert again.path == "full"
    assert (third.path, third.receipt["donors"]) == ("fast", [f"video_{again.id.hex}"])
    with service.factory() as session:
        rows = {row.job_id: row.wrong_match for row in session.scalars(select(JobMetric))}
        recorded = session.scalars(select(Lookup).where(Lookup.job_id == again.id)).one()
        assert jobs.get(session, "ada", hit.id).receipt["wrong_match"] is True
    assert rows == {donor.id: False, hit.id: True, again.id: False, third.id: False}
    assert "red fox" not in [near.text for near in packed.unpack(recorded.neighbours)]  # what a replay decides on


def test_the_verdict_can_be_taken_back(start: Start) -> None:
    service = start()
    service.run(FIRST)
    hit = service.run(EQUAL)
    mark(service, hit)
    mark(service, hit)  # changes nothing

    mark(service, hit, vetoes.unmark)

    assert service.run(EQUAL).path == "fast"
    with service.factory() as session:
        assert "wrong_match" not in jobs.get(session, "ada", hit.id).receipt
        assert not session.scalars(select(JobMetric.wrong_match).where(JobMetric.job_id == hit.id)).one()


def test_a_video_without_a_match_cannot_be_wrong(start: Start) -> None:
    service = start()
    job = service.run(FIRST)

    with pytest.raises(IllegalTransition, match="no stored video was matched"):
        mark(service, job)


def test_the_page_of_the_cache_says_what_it_did(start: Start, database_url: str, storage_url: str) -> None:
    service = start()
    service.run(FIRST, tenant="local")
    hit = service.run(EQUAL, tenant="local")
    environment = {"DATABASE_URL": database_url, "STORAGE_URL": storage_url, "CHAI_DEFAULT_MODEL": "tiny"}
    settings = settings_of(environment, models_dir=service.runtime.settings.models_dir)
    with TestClient(create_app(settings), base_url="http://127.0.0.1") as client:
        page = client.get("/cache").text
        token = re.findall(r'name="token" value="([^"]+)"', page)[0]

        client.post(f"/videos/video_{hit.id.hex}/wrong-match", data={"token": token, "back": "/cache"})

        assert "50 % of 2 look-ups were hits" in page
        assert ">red fox</td>" in page
        assert "nothing of the kind is stored 100 %" in page
        assert client.get(f"/v1/videos/video_{hit.id.hex}").json()["cache"]["wrong_match"] is True
        assert "✕ wrong" in client.get("/cache").text
