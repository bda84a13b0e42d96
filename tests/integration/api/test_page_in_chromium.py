"""The page in a real browser: submit, progress, play, cancel, reload, restart; nothing for console or axe to say."""

import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import UUID

import job_counts
import pytest
from browser import CHROMIUM, Browser, Tab, browser
from running import CARDS, api_thread, free_port, mp4, settings_of, wait_until
from sqlalchemy import Engine, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session, sessionmaker
from starlette.types import ASGIApp, Receive, Scope, Send

from api.app import create_app
from api.settings import ApiSettings
from db import heartbeats, job_lists, jobs, keys, metrics, previews, questions
from db.jobs import Claim
from db.session import connect, sessions, transaction
from shared.storage import Storage, picture_name, video_name
from worker.jobs import video

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")


@dataclass
class Site:
    """A service of the module's own that can be stopped and started again."""

    settings: ApiSettings
    factory: sessionmaker[Session]
    storage: Storage
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def served(self) -> Iterator[None]:
        """Serve until the generator is closed."""
        app = create_app(self.settings)
        with api_thread(app, self.port):
            try:
                yield
            finally:
                app.state.service.release()

    def claim(self, id_: UUID) -> Claim:
        """Take a job as a worker does."""
        with transaction(self.factory) as session:
            heartbeats.beat(session, "worker:w1")
            claim = jobs.claim(session, id_, owner="w1", lease_s=600)
        assert claim is not None
        return claim

    def step(self, claim: Claim, number: int) -> None:
        """Go on with a job to a step of eight."""
        with transaction(self.factory) as session:
            heartbeats.beat(session, "worker:w1")
            previews.put(session, claim, PICTURE)
            jobs.beat(session, claim, lease_s=600, progress=5 * number, step=number, num_steps=8, path="fast")

    def finish(self, claim: Claim) -> None:
        """Complete a job with a clip and its poster."""
        clip = self.storage.write(video_name(claim.job.id, claim.fence), mp4())
        poster = self.storage.write(picture_name(claim.job.id, claim.fence, "thumbnail"), PICTURE)
        files = [{"name": one.name, "bytes": one.num_bytes, "sha256": one.sha256} for one in (clip, poster)]
        match = {"entity": "circle", "donor_entity": None, "similarity": 0.97}
        receipt = {"path": "fast", "steps": 8, "steps_saved": 22, "explanation": "It was there.", "matched": [match]}
        with transaction(self.factory) as session:
            jobs.complete(session, claim, output={**files[0], "pictures": {"thumbnail": files[1]}}, receipt=receipt)
            metrics.record(session, claim, outcome="completed", path="fast", gpu_seconds=0.5, seconds_saved=0.13)


PICTURE = video.poster(video.decode(mp4()))


@pytest.fixture(scope="module")
def engine(module_database_url: str) -> Iterator[Engine]:
    engine = connect(module_database_url, application="chai-test")
    yield engine
    engine.dispose()


@pytest.fixture(scope="module")
def site(module_database_url: str, engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Site:
    environment = {
        "DATABASE_URL": module_database_url,
        "STORAGE_URL": tmp_path_factory.mktemp("storage").as_uri(),
        "CHAI_MODELS_DIR": str(CARDS),
        "CHAI_DEFAULT_MODEL": "tiny",
    }
    storage = Storage(environment["STORAGE_URL"])
    settings = settings_of(environment)
    return Site(settings=settings, factory=sessions(engine), storage=storage, port=free_port())


@pytest.fixture(scope="module")
def started() -> Iterator[Browser]:
    with browser() as started:
        yield started


@pytest.fixture(scope="module", autouse=True)
def running(site: Site) -> Iterator[None]:
    yield from site.served()


def empty(engine: Engine) -> bool:
    """Forget all jobs; False where a look for a tab that was just closed stood in the way."""
    try:
        with engine.begin() as connection:
            connection.execute(text("TRUNCATE jobs, batches, heartbeats CASCADE"))
    except OperationalError:  # a deadlock
        return False
    return True


@pytest.fixture
def page(started: Browser, engine: Engine) -> Iterator[Tab]:
    """A tab on an empty service, about which nothing complains."""
    wait_until(lambda: empty(engine))
    tab = started.tab()
    tab.look_like(width=1280, height=800)
    yield tab
    tab.close()
    for other in [*started.tabs.values()]:  # of a test that failed: it would answer for the next one's tabs
        other.close()
    assert tab.errors == []


def submit(page: Tab, url: str, prompt: str) -> UUID:
    """Type a prompt, send the form and return whose page comes."""
    page.open(url)
    page.run(f"document.getElementById('prompt').value = {prompt!r}")
    page.run("document.querySelector('form[action=\"/make\"]').requestSubmit()")
    page.wait_for("location.pathname.startsWith('/videos/video_') && document.readyState === 'complete'")
    return UUID(page.run("location.pathname").rpartition("_")[2])


def says(page: Tab, words: str) -> None:
    page.wait_for(f"document.body.innerText.includes({words!r})")


def test_from_a_prompt_to_a_clip_that_plays_in_two_tabs_and_through_a_reload(site: Site, page: Tab) -> None:
    id_ = submit(page, site.url, "a red <circle> & more")
    other = page.browser.tab()
    other.open(f"{site.url}/queue")
    says(page, "No worker is here")

    claim = site.claim(id_)
    site.step(claim, 3)
    says(page, "step 3 of 8")
    says(other, "step 3 of 8")
    for tab in (page, other):
        tab.wait_for("document.querySelector('img[data-preview]')?.naturalWidth > 0")  # what it is becoming
    page.call("Page.reload")
    says(page, "step 3 of 8")
    site.step(claim, 5)
    page.wait_for("document.querySelector('main progress')?.value === 25")
    page.wait_for("!document.body.innerText.includes('No worker is here')")
    site.finish(claim)
    page.wait_for("document.querySelector('video.clip') !== null")
    page.call("Page.bringToFront")  # behind another tab nothing plays
    page.run("void document.querySelector('video.clip').play()")
    page.wait_for("document.querySelector('video.clip').currentTime > 0.1")
    says(other, "Nothing runs.")

    said = page.run("document.body.innerText")
    assert "Fast: 8 of 30 steps. It was there. 0.13 s of computing saved, measured." in said
    assert "a red <circle> & more" in said
    assert other.errors == []
    other.close()


def test_a_key_cancels_and_a_reload_loses_nothing(site: Site, page: Tab) -> None:
    id_ = submit(page, site.url, "a blue square")
    page.open(f"{site.url}/queue")
    page.press("j")
    page.wait_for("document.activeElement.classList.contains('prompt')")
    page.press("c")
    says(page, "Nothing waits.")
    page.open(f"{site.url}/videos/video_{id_.hex}")

    assert "cancelled" in page.run("document.body.innerText")
    with site.factory() as session:
        assert jobs.get(session, "local", id_).status == "cancelled"


def test_keys_do_nothing_behind_their_help(site: Site, page: Tab) -> None:
    id_ = submit(page, site.url, "a blue square")
    page.press("?")
    page.wait_for("document.getElementById('help').open")
    for key in "?jcl":
        page.press(key)
    page.run("document.querySelector('#help button').click()")
    page.press("?")

    assert page.run("location.pathname") == f"/videos/video_{id_.hex}"
    assert page.run("document.getElementById('help').open")
    assert "waiting" in page.run("document.body.innerText")


def test_bars_of_runs_are_of_one_length_whatever_can_be_done(site: Site, page: Tab) -> None:
    page.open(f"{site.url}/nights")
    for key in ("first", "second"):
        id_ = begin_run(page, key)
    page.run(f"fetch('/v1/bulk-runs/{id_}/seal', {{method: 'POST'}})")
    page.open(f"{site.url}/nights")

    buttons = "[...document.querySelectorAll('.rows .actions')].map((row) => row.querySelectorAll('button').length)"
    assert page.run(buttons) == [2, 1]
    assert page.run("new Set([...document.querySelectorAll('.run')].map((bar) => bar.clientWidth)).size") == 1


def test_what_is_cancelled_is_asked_for_again_by_one_button(site: Site, page: Tab) -> None:
    submit(page, site.url, "a blue square")
    page.open(f"{site.url}/queue")
    page.press("j")
    page.wait_for("document.activeElement.classList.contains('prompt')")
    page.press("c")
    says(page, "The video is cancelled.")
    page.run("document.querySelector('#undo button').click()")
    page.wait_for("location.pathname.startsWith('/videos/video_')")

    with site.factory() as session:
        found = job_lists.page(session, "local", limit=3)
    assert [(job.status, job.prompt) for job in found] == [("queued", "a blue square"), ("cancelled", "a blue square")]


def test_what_is_deleted_can_be_taken_back(site: Site, page: Tab) -> None:
    id_ = submit(page, site.url, "a blue square")
    site.finish(site.claim(id_))
    page.wait_for("document.querySelector('form[data-undo]') !== null")
    page.run("document.querySelector('form[data-undo]').requestSubmit()")
    says(page, "The video is deleted in")
    page.run("document.querySelector('#undo button').click()")
    page.wait_for("document.getElementById('undo').hidden")

    with site.factory() as session:
        assert jobs.get(session, "local", id_).deleted_at is None


def begin_run(page: Tab, key: str) -> str:
    """Begin a bulk run of one line and return its id."""
    post = """(path, body) => fetch(path, {method: "POST", body: JSON.stringify(body),
        headers: {"Content-Type": "application/json"}}).then((said) => said.json())"""
    item = {"custom_id": "1", "prompt": "a red circle"}
    add = f"({post})(`/v1/bulk-runs/${{run.id}}/items`, {{items: [{item}]}}).then(() => run.id)"
    return str(page.run(f"({post})('/v1/bulk-runs', {{manifest_key: '{key}'}}).then((run) => {add})"))


# Seconds pass when `pass_s` says so.
CLOCK = """window.ticks = []; window.setInterval = (tick) => ticks.push(tick) - 1;
    window.clearInterval = (number) => { ticks[number] = () => {}; };
    window.pass_s = (seconds) => { for (; seconds > 0; seconds--) for (const tick of [...ticks]) tick(); }; 0"""


def test_what_is_pressed_twice_is_taken_back_at_once_and_nothing_else_is_lost(site: Site, page: Tab) -> None:
    """Its form may be replaced meanwhile by what is live, and something else may be pressed."""
    page.open(f"{site.url}/nights")
    for key in ("first", "second"):
        begin_run(page, key)
    page.open(f"{site.url}/nights")
    page.run(CLOCK)

    def press(number: int) -> None:
        page.run(f"document.querySelectorAll('form[data-undo]')[{number}].requestSubmit()")

    def cancelled() -> int:
        with site.factory() as session:
            return job_counts.by_status(session).get("cancelled", 0)

    press(0)
    press(0)
    page.run("document.querySelector('#undo button').click()")
    page.run("pass_s(20)")
    assert (page.run("document.getElementById('undo').hidden"), cancelled()) == (True, 0)

    press(0)
    press(1)
    wait_until(lambda: cancelled() == 1)
    page.run("document.getElementById('nights').innerHTML = ''")
    page.run("pass_s(10)")
    wait_until(lambda: cancelled() == 2)
    page.wait_for("document.getElementById('nights').innerText.includes('cancelled')")


def test_who_goes_by_keyboard_keeps_the_place_while_things_run(site: Site, page: Tab) -> None:
    claim = site.claim(submit(page, site.url, "a blue square"))
    site.step(claim, 3)
    page.open(f"{site.url}/queue")
    page.press("j")
    page.wait_for("document.activeElement.classList.contains('prompt')")
    site.finish(claim)
    says(page, "It was there.")

    assert page.run("document.activeElement.innerText") == "a blue square"


def test_a_clip_plays_on_while_the_page_looks_again(site: Site, page: Tab) -> None:
    site.finish(site.claim(submit(page, site.url, "a blue square")))
    page.wait_for("document.querySelector('video.clip')?.readyState > 1")
    page.run("Date.now = ((now) => () => now() + 60000)(Date.now)")  # what is said of times changes
    page.run("Object.assign(document.querySelector('video.clip'), { mark: 'this one', muted: false }).focus()")
    submit(other := page.browser.tab(), site.url, "another")
    says(page, "1 waiting")

    assert page.run("document.querySelector('video.clip').mark") == "this one"
    assert page.run("document.activeElement.className") == "clip"
    other.close()


def test_a_button_in_focus_keeps_it_and_a_row_that_goes_leaves_it_to_the_next(site: Site, page: Tab) -> None:
    for prompt in ("first", "second", "third"):
        submit(page, site.url, prompt)
    page.open(f"{site.url}/queue")
    page.run("document.querySelectorAll('form[data-cancel] button')[1].focus()")
    page.run("document.activeElement.form.requestSubmit()")
    says(page, "The video is cancelled.")
    page.wait_for("document.querySelectorAll('form[data-cancel]').length === 2")
    assert page.run("document.activeElement.closest('li').innerText.includes('third')")

    begin_run(page, "night")
    page.open(f"{site.url}/nights")
    page.run("document.querySelector('form[data-undo] button').focus()")
    begin_run(page, "night 2")
    page.run("refresh(0)")
    page.wait_for("document.querySelectorAll('form[data-undo]').length === 2")
    assert page.run("document.activeElement.closest('form')?.action.endsWith('/cancel')")


def test_a_video_that_is_deleted_elsewhere_is_gone_from_open_pages(site: Site, page: Tab) -> None:
    id_ = submit(page, site.url, "a blue square")
    site.finish(site.claim(id_))
    page.wait_for("document.querySelector('video.clip') !== null")
    library = page.browser.tab()
    library.open(f"{site.url}/library")
    library.wait_for("document.querySelector('.card') !== null")
    library.run(f"fetch('/v1/videos/video_{id_.hex}', {{method: 'DELETE'}})")

    says(page, "Not here")
    library.wait_for("document.querySelector('.card') === null")
    assert page.run("document.querySelector('video')") is None
    library.close()
    page.errors.clear()  # that there is no such video


@pytest.mark.parametrize("path", ["/library", "/"])
def test_a_card_becomes_its_clip(site: Site, page: Tab, path: str) -> None:
    id_ = submit(page, site.url, "a blue square")
    page.open(site.url + path)
    page.wait_for("document.querySelector('.card .frame')?.innerText.includes('waiting')")
    site.finish(site.claim(id_))

    page.wait_for("document.querySelector('.card img[data-clip]')?.naturalWidth > 0")


def test_a_filtered_wall_holds_what_is_like_that_now(site: Site, page: Tab) -> None:
    first, second = submit(page, site.url, "the first"), submit(page, site.url, "the second")
    claim = site.claim(first)
    page.open(f"{site.url}/library?status=in_progress")
    page.run("document.querySelector('.card').mark = 'this one'")
    other = site.claim(second)
    page.wait_for("document.querySelectorAll('.card').length === 2")
    assert page.run("[...document.querySelectorAll('.card')].map((card) => card.mark)") == [None, "this one"]

    site.finish(claim)
    page.wait_for("document.querySelectorAll('.card').length === 1")
    assert page.run("document.querySelector('.card p').innerText") == "the second"
    site.finish(other)
    says(page, "No video is like that.")


def test_a_video_that_waits_shows_no_broken_picture(site: Site, page: Tab) -> None:
    submit(page, site.url, "a blue square")

    assert (
        page.run("document.querySelector('img[data-preview]').checkVisibility({ visibilityProperty: true })") is False
    )


@pytest.mark.parametrize(("width", "at_least"), [(320, 2), (360, 2), (768, 4), (1280, 5)])
def test_a_wall_has_as_many_columns_as_there_is_room_for(site: Site, page: Tab, width: int, at_least: int) -> None:
    submit(page, site.url, "a blue square")
    page.look_like(width=width, height=800)
    page.open(f"{site.url}/library")

    columns = page.run("getComputedStyle(document.getElementById('wall')).gridTemplateColumns")
    assert len(columns.split()) >= at_least


@pytest.mark.parametrize("width", [360, 820, 1024, 1440])
def test_no_field_of_the_form_stands_alone_in_its_row(site: Site, page: Tab, width: int) -> None:
    page.look_like(width=width, height=800)
    page.open(site.url)

    rows = "Object.values(Object.groupBy(document.querySelectorAll('.fields')[0].children, (one) => one.offsetTop))"
    assert page.run(f"new Set({rows}.map((row) => row.length)).size") == 1


SLOW_LINE = """after = (ms) => new Promise((done) => setTimeout(done, ms));
    open = most = 0; get = window.fetch;
    window.fetch = async (...asked) => {
        most = Math.max(most, ++open);
        await after(1000);
        return get(...asked).finally(() => { open--; });
    }; 0"""


def test_looks_do_not_pile_up_on_a_slow_line(site: Site, page: Tab) -> None:
    page.open(f"{site.url}/queue")
    page.run(SLOW_LINE)
    page.run("(async () => { for (let n = 0; n < 12; n++) { refresh(); await after(200); } })()")
    submit(other := page.browser.tab(), site.url, "the last")

    says(page, "the last")
    assert page.run("most") == 1
    other.close()


def test_a_key_searches_the_library_from_any_view(site: Site, page: Tab) -> None:
    page.open(f"{site.url}/queue")
    page.press("/")
    page.wait_for("document.activeElement.form?.className === 'find'")
    page.call("Input.insertText", text="blue")
    page.run("document.activeElement.form.requestSubmit()")
    page.wait_for("location.pathname + location.search === '/library?q=blue' && document.readyState === 'complete'")

    page.look_like(width=390, height=844)  # no field in the bar
    page.open(f"{site.url}/queue")
    page.press("/")
    page.wait_for("location.pathname === '/library' && document.activeElement.id === 'q'")


def test_prompts_read_in_their_own_direction_and_nothing_moves_for_whom_it_should_not(site: Site, page: Tab) -> None:
    still = {"name": "prefers-reduced-motion", "value": "reduce"}
    page.call("Emulation.setEmulatedMedia", features=[still])
    site.finish(site.claim(submit(page, site.url, "\u05e2\u05d9\u05d2\u05d5\u05dc \u05d0\u05d3\u05d5\u05dd")))
    page.wait_for("document.querySelector('video.clip')?.readyState > 1")
    assert page.run("getComputedStyle(document.querySelector('h1')).direction") == "rtl"
    page.call("Page.reload")
    page.wait_for("document.querySelector('video.clip')?.readyState > 1")
    assert page.run("document.querySelector('video.clip').paused")

    page.open(f"{site.url}/library")
    page.run("document.querySelector('.card').focus()")
    assert page.run("document.querySelector('.card video')") is None
    page.press(" ")
    page.wait_for("document.querySelector('.card video')?.currentTime > 0")


def test_a_restart_of_the_api_loses_nothing(site: Site, started: Browser, engine: Engine) -> None:
    wait_until(lambda: empty(engine))
    own = Site(settings=site.settings, factory=site.factory, storage=site.storage, port=free_port())
    page, serving = started.tab(), own.served()
    next(serving)
    claim = own.claim(submit(page, own.url, "a green triangle"))
    page.open(f"{own.url}/queue")
    serving.close()

    own.step(claim, 6)
    page.wait_for("!document.getElementById('lost').hidden")
    again = own.served()
    next(again)
    says(page, "step 6 of 8")
    page.wait_for("document.getElementById('lost').hidden")
    page.close()
    again.close()


class Proxy:
    """A proxy in front of a service, which offers it under a path."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            asked = scope["raw_path"].removeprefix(b"/team/video")
            assert asked.startswith(b"/"), "this is not under the path"
            headers = [*scope["headers"], (b"x-forwarded-prefix", b"/team/video")]
            scope = {**scope, "raw_path": asked, "path": asked.decode(), "headers": headers}
        await self.app(scope, receive, send)


def test_the_page_works_under_a_path_of_a_proxy(site: Site, page: Tab) -> None:
    app, port = create_app(site.settings), free_port()
    with api_thread(Proxy(app), port) as host:
        url = f"{host}/team/video"
        page.open(f"{url}/")
        fill_in(page, prompt="a blue square")
        page.run(SEND)
        page.wait_for("location.pathname.startsWith('/team/video/videos/video_')")
        site.finish(site.claim(UUID(page.run("location.pathname").rpartition("_")[2])))
        page.wait_for("document.querySelector('video.clip')?.readyState > 1")  # the stream said so
        page.run("document.querySelector('.skip').click()")
        assert page.run("location.pathname.startsWith('/team/video/videos/')")
        page.run("document.querySelector('form[data-undo]').requestSubmit(); offered.end()")
        page.wait_for("location.pathname === '/team/video/library' && document.readyState === 'complete'")
        page.press("m")
        page.wait_for("location.pathname === '/team/video/' && document.readyState === 'complete'")
        page.open("about:blank#gone")
        app.state.service.release()
    # The page of a deleted video may have been looked at once more.
    page.errors[:] = [error for error in page.errors if f" {url}/videos/video_" not in error]


def by_stream_alone(page: Tab) -> None:
    """Let the pages that are opened from now on look anew only when the stream says so."""
    page.call("Page.addScriptToEvaluateOnNewDocument", source="window.setInterval = () => 0")


def sign_in(tab: Tab, site: Site) -> str:
    """Sign in with a new key; return the part that names it."""
    with transaction(site.factory) as session:
        key, row = keys.create(session, "local")
        prefix = row.prefix
    tab.open(f"{site.url}/signin")
    tab.run(f"document.getElementById('key').value = {key!r}")
    tab.run("document.querySelector('main form').requestSubmit()")
    tab.wait_for("location.pathname === '/' && document.readyState === 'complete'")
    return prefix


def test_a_key_that_ends_under_an_open_page_is_told_and_the_page_goes_on_with_another(site: Site, page: Tab) -> None:
    guarded = replace(site, settings=site.settings.model_copy(update={"auth": "keys"}), port=free_port())
    serving = guarded.served()
    next(serving)
    prefix = sign_in(page, guarded)
    id_ = submit(page, guarded.url, "a blue square")
    by_stream_alone(page)
    page.open(f"{guarded.url}/queue")
    with transaction(site.factory) as session:
        keys.revoke(session, prefix)

    page.run("document.querySelector('form[data-cancel]').requestSubmit()")
    says(page, "That was not done")
    says(page, "This key is signed out, has expired or was revoked. Sign in")
    with site.factory() as session:
        assert jobs.get(session, "local", id_).status == "queued"

    page.wait_for("source.readyState === EventSource.CLOSED")
    sign_in(other := page.browser.tab(), guarded)
    page.run("refresh(0)")  # before the stream is back
    page.wait_for("document.getElementById('lost').hidden")
    site.step(site.claim(id_), 3)
    says(page, "step 3 of 8")
    other.close()
    page.errors.clear()  # that the stream was refused
    page.open("about:blank#")
    serving.close()


def test_what_the_service_cannot_say_is_not_shown_as_new(site: Site, page: Tab) -> None:
    """The stream lives on while the database is away, but nothing comes of it."""
    page.open(f"{site.url}/queue")
    page.run("window.fetch = async () => new Response('', { status: 503 }); 0")

    says(page, "No answer since")


def test_why_something_was_not_done_is_said_in_the_words_of_the_service(site: Site, page: Tab) -> None:
    submit(page, site.url, "a blue square")
    page.open(f"{site.url}/queue")
    page.run("document.querySelector('form[data-cancel] [name=token]').value = 'old'")
    page.run("document.querySelector('form[data-cancel]').requestSubmit()")

    says(page, "That was not done: this form is too old, or another site made it; load the page again")
    page.errors.clear()


def test_thousands_scroll_and_play_when_pointed_at(site: Site, page: Tab, engine: Engine) -> None:
    site.finish(site.claim(submit(page, site.url, "the youngest")))
    rows = (
        "INSERT INTO jobs (tenant, prompt, model, width, height, num_frames, fps, status, created_at) "
        "SELECT 'local', 'a red circle ' || n, 'tiny', 32, 32, 17, 8, 'failed', now() - n * interval '1 minute' "
        "FROM generate_series(1, 5000) AS n"
    )
    with engine.begin() as connection:
        connection.execute(text(rows))
    page.open(f"{site.url}/library")
    page.wait_for("document.querySelector('.card img')?.naturalWidth > 0")
    page.run("document.querySelector('.card').focus()")
    page.wait_for("document.querySelector('.card video')?.currentTime > 0.1")

    for number in (24, 48, 72):
        page.wait_for(f"document.querySelectorAll('.card').length > {number}")
        page.run("document.querySelector('.wall').lastElementChild.scrollIntoView()")

    ids = page.run("[...document.querySelectorAll('.card')].map((card) => card.getAttribute('href'))")
    assert len(ids) == len(set(ids)) >= 96

    page.wait_for("scrollY > 1000")
    top = page.run("scrollY")
    page.run("document.querySelector('.wall').lastElementChild.firstElementChild.click()")
    page.wait_for("location.pathname.startsWith('/videos/') && document.readyState === 'complete'")
    page.run("history.back()")
    near = f"Math.abs(scrollY - {top}) < 300"  # rows out of sight are not laid out
    page.wait_for(f"location.pathname === '/library' && {near}")


LINE = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}


def test_a_wall_goes_on_and_shows_its_posters_when_the_line_is_back(site: Site, page: Tab, engine: Engine) -> None:
    page.open(site.url)
    post = """fetch("/v1/videos", {method: "POST", body: JSON.stringify({prompt: "a red circle"}),
        headers: {"Content-Type": "application/json"}})"""
    page.run(f"(async () => {{ for (let n = 0; n < 59; n++) await {post}; }})()")
    claim = site.claim(submit(page, site.url, "the youngest"))
    by_stream_alone(page)
    page.open(f"{site.url}/library")
    page.wait_for("document.querySelectorAll('.card').length === 48")
    page.call("Network.setBlockedURLs", urls=["*variant=thumbnail*", "*/library?after=*"])
    site.finish(claim)
    page.wait_for("document.querySelector('.card img[data-clip]')?.complete")
    page.run("document.querySelector('.wall').lastElementChild.scrollIntoView()")
    page.wait_for("performance.getEntriesByName(document.getElementById('more').href).length > 0")
    page.call("Network.setBlockedURLs", urls=[])

    page.wait_for("document.querySelectorAll('.card').length === 60")
    page.run("scrollTo(0, 0); refresh(0)")
    page.wait_for("document.querySelector('.card img[data-clip]').naturalWidth > 0")
    page.errors.clear()  # that the line was cut


AXE = Path(importlib.util.find_spec("axe_core_python").submodule_search_locations[0]) / "axe.min.js"  # type: ignore[union-attr,index]
LOOK = """axe.run({resultTypes: ["violations"]}).then((found) =>
    found.violations.map((one) => `${one.id}: ${one.nodes.map((node) => node.html).join(" | ")}`))"""


def test_no_view_complains_or_keeps_anybody_out(site: Site, page: Tab) -> None:
    site.finish(site.claim(submit(page, site.url, "a red circle")))
    site.step(site.claim(submit(page, site.url, "a blue square")), 4)
    done = page.run("fetch('/v1/videos?status=completed').then((said) => said.json()).then((all) => all.data[0].id)")
    submit(page, site.url, "a green triangle")
    run = f"/nights/{begin_run(page, 'night')}"

    found = {}
    for look in ({"width": 1280, "height": 800}, {"width": 390, "height": 844, "dark": True}):
        page.look_like(**look)
        for path in ("/", "/queue", "/library", f"/videos/{done}", "/nights", run, "/cache", "/workers", "/docs"):
            page.open(site.url + path)
            page.run(AXE.read_text() + "; 0")
            if wrong := page.run(LOOK):
                found[path, look["width"]] = wrong
            if page.run("document.documentElement.scrollWidth") > look["width"]:
                found[path, look["width"], "too wide"] = page.run("document.documentElement.scrollWidth")
    assert found == {}


def test_what_the_cache_would_do_is_said_while_a_prompt_is_typed(site: Site, page: Tab) -> None:
    id_ = submit(page, site.url, "a crimson disc")
    site.finish(site.claim(id_))
    page.open(site.url)
    page.run("document.getElementById('prompt').focus()")
    page.call("Input.insertText", text="a red circle")
    wait_until(lambda: answer_as_a_worker(site.factory, f"video_{id_.hex}"))
    page.wait_for("!document.getElementById('would').hidden")

    said = page.run("document.getElementById('would').innerText")
    assert "Fast: 8 of 30 steps. It was there." in said
    assert page.run("document.querySelector('.chip.known').title") == "made before as crimson disc, 97 % alike"
    assert page.run("[...document.querySelectorAll('.chip')].map((chip) => chip.className)") == [
        "chip known",
        "chip out",
        "chip unread",
    ]
    page.run("document.querySelector('.chip.known').focus()")
    page.wait_for("document.querySelector('.chip.known img').naturalWidth > 0")


def answer_as_a_worker(factory: sessionmaker[Session], donor: str) -> bool:
    """Answer a question to the cache, if there is one."""
    entity = {"text": "red circle", "kind": "object", "attributes": ["red"]}
    match = {"entity": "red circle", "kind": "object", "similarity": 0.97, "donor_entity": "crimson disc"}
    match |= {"donor": donor}
    found = {"entities": [entity], "matched": [match], "excluded": ["person"], "unread": ["4k"], "style": []}
    plan = {"path": "fast", "steps": 8, "steps_saved": 22, "hit": "object", "nearest": 0.97}
    why = {"reason": "entity_hit", "explanation": "It was there.", "whole_prompt": False, "fallback_reason": None}
    with transaction(factory) as session:
        question = questions.take(session, younger_s=60)
        if question is not None:
            prompt = question.asked["prompt"]
            questions.answer(session, question.id, {"prompt": prompt, "language": "en", **found, **plan, **why})
    return question is not None


def fill_in(page: Tab, **fields: str) -> None:
    for name, value in fields.items():
        page.run(f"document.getElementById({name!r}).value = {value!r}")


SEND = "document.getElementById('make').requestSubmit()"


def test_what_is_typed_stays_while_nothing_answers(site: Site, page: Tab) -> None:
    page.open(site.url)
    fill_in(page, prompt="a long thought", seed="7")
    page.call("Network.emulateNetworkConditions", offline=True, **LINE)
    page.run(SEND)
    says(page, "That was not done; try again.")
    page.call("Network.emulateNetworkConditions", offline=False, **LINE)
    page.run(f"{SEND}; {SEND}")
    page.wait_for("location.pathname.startsWith('/videos/video_')")

    with site.factory() as session:
        assert [(job.prompt, job.seed) for job in job_lists.page(session, "local", limit=3)] == [("a long thought", 7)]
    page.errors.clear()  # that the line was cut


def test_a_form_goes_on_when_its_cookie_ended_under_it(site: Site, page: Tab) -> None:
    by_stream_alone(page)
    page.open(site.url)
    fill_in(page, prompt="a long thought")
    page.call("Network.clearBrowserCookies")
    old = page.run("document.querySelector('#make [name=token]').value")
    page.run(SEND)
    says(page, "That was not done: this form is too old")
    page.wait_for(f"document.querySelector('#make [name=token]').value !== '{old}'")
    page.run(SEND)

    page.wait_for("location.pathname.startsWith('/videos/video_')")
    page.errors.clear()  # that the form was refused


def test_what_is_typed_is_there_after_a_reload_until_it_is_sent(site: Site, page: Tab) -> None:
    page.open(site.url)
    fill_in(page, prompt="a long thought", seed="7")
    page.run("document.querySelector('[name=mode][value=full]').click()")  # as typing, it is heard
    page.call("Page.reload")
    page.wait_for("document.getElementById('prompt')?.value === 'a long thought'")
    assert page.run("[document.getElementById('seed').value, document.getElementById('make').mode.value]") == [
        "7",
        "full",
    ]
    page.open(f"{site.url}/?prompt=a+fox")
    assert page.run("document.getElementById('prompt').value") == "a fox"

    page.run(SEND)
    page.wait_for("location.pathname.startsWith('/videos/video_')")
    page.open(site.url)
    assert page.run("document.getElementById('prompt').value") == ""


def test_a_tab_that_goes_on_for_one_that_closed_looks_anew(site: Site, page: Tab) -> None:
    first = page.browser.tab()
    first.open(f"{site.url}/queue")
    by_stream_alone(page)
    page.open(f"{site.url}/queue")
    page.run("window.looks = 0; const asked = fetch; window.fetch = (...all) => { looks += 1; return asked(...all) }")
    first.close()

    page.wait_for("looks > 0")


def test_a_mistake_is_told_beside_what_was_typed_and_mended_there(site: Site, page: Tab) -> None:
    page.open(site.url)
    fill_in(page, prompt="a red circle", seed="seven")
    page.run("document.querySelector('[name=mode][value=full]').click()")
    page.run(SEND)
    page.wait_for("document.activeElement.id === 'seed'")
    assert page.run("document.activeElement.ariaDescribedByElements[0].innerText").startswith("✕ seed 'seven' is not")

    fill_in(page, seed="8")
    page.run(SEND)
    page.wait_for("location.pathname.startsWith('/videos/video_')")
    with site.factory() as session:
        (job,) = job_lists.page(session, "local", limit=3)
    assert (job.prompt, job.seed, job.mode) == ("a red circle", 8, "full")
    page.errors.clear()  # that the form was refused


def test_times_are_those_of_the_service_where_the_clock_here_is_wrong(site: Site, page: Tab) -> None:
    wrong = "Date.now = ((now) => () => now() - 7200000)(Date.now)"
    page.call("Page.addScriptToEvaluateOnNewDocument", source=wrong)
    submit(page, site.url, "a blue square")
    page.open(f"{site.url}/queue")

    assert page.run("document.querySelector('time').innerText") == "just now"


@pytest.mark.parametrize("prompt", ["x" * 2000, "一个红色的大圆圈" * 200])
def test_a_long_prompt_leaves_room_for_the_rest_of_the_queue(site: Site, page: Tab, prompt: str) -> None:
    page.look_like(width=360, height=740)
    submit(page, site.url, prompt)
    submit(page, site.url, "short")

    page.open(f"{site.url}/queue")

    assert page.run("document.querySelectorAll('.rows > li').length") == 2
    assert page.run("Math.max(...[...document.querySelectorAll('.rows > li')].map((row) => row.offsetHeight))") < 200
