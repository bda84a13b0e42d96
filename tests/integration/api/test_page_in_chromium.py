"""The page in a real browser: submit, progress, play, cancel, reload; nothing in the console."""

from collections.abc import Iterator
from uuid import UUID

import pytest
from browser import CHROMIUM, Tab, tab
from running import api_thread, mp4
from sqlalchemy.orm import Session, sessionmaker

from api.app import create_app
from api.settings import ApiSettings
from db import heartbeats, jobs, metrics
from db.session import transaction
from shared.storage import Storage, video_name

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")


@pytest.fixture
def url(settings: ApiSettings) -> Iterator[str]:
    app = create_app(settings)
    with api_thread(app) as url:
        yield url
        app.state.service.release()


def submit(page: Tab, url: str, prompt: str) -> UUID:
    """Type a prompt, send the form and return whose page comes."""
    page.open(url)
    page.run(f"document.getElementById('prompt').value = {prompt!r}")
    page.run("document.querySelector('form[action=\"/make\"]').requestSubmit()")
    page.wait_for("location.pathname.startsWith('/videos/video_') && document.readyState === 'complete'")
    return UUID(page.run("location.pathname").rpartition("_")[2])


def test_from_a_prompt_to_a_clip_that_plays(url: str, session_factory: sessionmaker[Session], storage: Storage) -> None:
    with tab() as page:
        id_ = submit(page, url, "a red <circle> & more")
        page.wait_for("document.body.innerText.includes('No worker is here')")
        with transaction(session_factory) as session:
            heartbeats.beat(session, "worker:w1")
            claim = jobs.claim(session, id_, owner="w1", lease_s=60)
            assert claim is not None
        with transaction(session_factory) as session:
            jobs.beat(session, claim, lease_s=60, progress=40, step=3, num_steps=8, path="fast")
        page.wait_for("document.body.innerText.includes('step 3 of 8')")
        page.wait_for("document.querySelector('main progress').value === 40")
        page.wait_for("!document.body.innerText.includes('No worker is here')")

        stored = storage.write(video_name(id_, claim.fence), mp4())
        with transaction(session_factory) as session:
            output = {"name": stored.name, "bytes": stored.num_bytes, "sha256": stored.sha256}
            receipt = {"path": "fast", "steps": 8, "steps_saved": 22, "explanation": "Something like it was there."}
            jobs.complete(session, claim, output=output, receipt=receipt)
            metrics.record(session, claim, outcome="completed", path="fast", gpu_seconds=0.5, seconds_saved=0.13)
        page.wait_for("document.querySelector('video.clip') !== null")
        page.run("document.querySelector('video.clip').play()")
        page.wait_for("document.querySelector('video.clip').currentTime > 0.2")
        said = page.run("document.body.innerText")

        assert "Fast: 8 of 30 steps. Something like it was there. 0.13 s of computing saved, measured." in said
        assert "a red <circle> & more" in said
        assert page.errors == []


def test_a_key_cancels_and_a_reload_loses_nothing(url: str, session_factory: sessionmaker[Session]) -> None:
    with tab() as page:
        id_ = submit(page, url, "a blue square")
        page.open(f"{url}/queue")
        page.press("j")
        page.wait_for("document.activeElement.classList.contains('prompt')")
        page.press("c")
        page.wait_for("document.body.innerText.includes('Nothing waits.')")
        page.open(f"{url}/videos/video_{id_.hex}")

        assert "cancelled" in page.run("document.body.innerText")
        assert page.errors == []
    with session_factory() as session:
        assert jobs.get(session, "local", id_).status == "cancelled"


def test_no_view_complains(url: str, session_factory: sessionmaker[Session]) -> None:
    with tab() as page:
        for path in ("/", "/queue", "/library", "/nights", "/workers", "/docs"):
            page.open(url + path)
            page.run("new Promise((done) => setTimeout(done, 300))")
            assert page.run("document.documentElement.scrollWidth <= innerWidth"), path

        assert page.errors == []
