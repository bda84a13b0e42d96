"""The page without a browser: what it says, whom it lets in, and what it refuses."""

import re
from collections.abc import Callable
from datetime import timedelta
from html import unescape
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from fastapi.testclient import TestClient
from running import mp4, settings_of, work
from sqlalchemy.orm import Session, sessionmaker

from api import line_results
from api.app import create_app
from api.routes import night_pages
from cli import manifest
from db import heartbeats, job_lists, jobs
from db.models import Job
from db.session import transaction
from shared.generation import GenerationParams
from shared.storage import Storage

VIEWS = ["/", "/queue", "/library", "/nights", "/cache", "/workers"]


def form(client: TestClient, path: str, **fields: str) -> dict[str, str]:
    """Fields with the token that a page gave this client."""
    found = re.search(r'name="token" value="([^"]+)"', client.get(path).text)
    assert found is not None
    return {**fields, "token": found[1]}


@pytest.mark.parametrize("path", [*VIEWS, "/docs"])
def test_nothing_on_a_page_comes_from_elsewhere(client: TestClient, path: str) -> None:
    answer = client.get(path)

    assert answer.status_code == 200
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert not re.findall(r'(?:src|href|action)="(?:https?:)?//', answer.text)
    assert not re.findall(r"<script>|style=|\son[a-z]+=", answer.text)


def test_a_browser_that_looks_for_what_is_not_there_gets_a_page(client: TestClient) -> None:
    browser = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}

    page = client.get("/bulk/<b>nope", headers=browser)

    assert (page.status_code, page.headers["content-type"]) == (404, "text/html; charset=utf-8")
    assert "There is nothing at /bulk/&lt;b&gt;nope." in page.text
    assert '<nav aria-label="Views">' in page.text
    for path, headers in (("/bulk/nope", {}), ("/v1/nope", browser)):
        program = client.get(path, headers=headers)
        assert (program.status_code, program.json()["error"]["type"]) == (404, "invalid_request_error")


def test_a_proxy_may_offer_the_service_under_a_path(client: TestClient) -> None:
    proxied = {"X-Forwarded-Prefix": "/team/video/"}

    page = client.get("/queue", headers=proxied)
    no_key_needed = client.get("/signin", headers=proxied, follow_redirects=False)

    links = re.findall(r'(?:href|src|action)="([^"#]+)', page.text)
    assert {link.startswith("/team/video/") for link in links} == {True}, links
    assert "path=/team/video;" in page.headers["set-cookie"].lower()
    assert no_key_needed.headers["location"] == "/team/video/"
    assert "http://127.0.0.1/team/video/v1/videos" in client.get("/docs", headers=proxied).text
    hub = client.get("/queue", headers={"X-Forwarded-Prefix": "/user/a%40b.org/proxy/8400"})
    assert 'href="/user/a%40b.org/proxy/8400/library"' in hub.text
    for odd in ("//elsewhere.org", "team", "/a b", '/"><script>', "https://elsewhere.org", "/a, /b", ""):
        assert 'href="/library"' in client.get("/queue", headers={"X-Forwarded-Prefix": odd}).text


def test_the_first_page_is_light(client: TestClient) -> None:
    parts = [client.get(path).content for path in ("/", "/web/page.css", "/web/page.js", "/web/icon.svg")]

    assert sum(map(len, parts)) < 50_000


def test_a_form_makes_a_video(client: TestClient) -> None:
    sent = form(client, "/", prompt="a red circle", mode="full", size="", seed="7")

    answer = client.post("/make", data=sent, follow_redirects=False)

    assert answer.status_code == 303
    video = client.get(f"/v1{answer.headers['location']}").json()
    assert (video["prompt"], video["mode"], video["seed"]) == ("a red circle", "full", 7)


def test_a_form_that_is_sent_twice_makes_one_video_and_one_that_was_changed_two(client: TestClient) -> None:
    once = re.search(r'name="once" value="([^"]+)"', client.get("/").text)
    sent = form(client, "/", prompt="a red circle", once=once[1] if once else "")

    places = [client.post("/make", data=data, follow_redirects=False).headers["location"] for data in (sent, sent)]
    client.post("/make", data={**sent, "seed": "7"})

    assert places[0] == places[1]
    assert len(client.get("/v1/videos").json()["data"]) == 2


def test_a_form_that_is_sent_again_leads_to_its_video_also_where_its_model_has_gone_since(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = form(client, "/", prompt="a red circle", once="first")
    first = client.post("/make", data=sent, follow_redirects=False)
    for name in list(client.app.state.service.cards):
        monkeypatch.delitem(client.app.state.service.cards, name)

    again = client.post("/make", data=sent, follow_redirects=False)

    assert (again.status_code, again.headers["location"]) == (303, first.headers["location"])


@pytest.mark.parametrize(("layout", "is_new"), [("donor", True), ("own", False)])
def test_a_new_roll_of_a_donors_layout_has_a_seed_of_its_own(
    client: TestClient, session_factory: sessionmaker[Session], layout: str, is_new: bool
) -> None:
    id_ = client.post("/v1/videos", json={"prompt": "a red circle"}).json()["id"]
    with transaction(session_factory) as session:
        session.get_one(Job, UUID(id_.removeprefix("video_"))).receipt = {"layout": layout}

    again, in_full = (client.get(f"/?again={id_}{how}").text for how in ("", "&how=full"))

    assert bool(re.search(r'name="seed"[^>]* value="\d+"', again)) is is_new
    assert not re.search(r'name="seed"[^>]* value="\d+"', in_full)


@pytest.mark.parametrize(
    "asked",
    [
        {"num_frames": 1, "fps": 4, "metadata": {"scene": "12", "a & b": "<c>"}},
        {"seconds": "0.125", "negative_prompt": "no cars", "guidance_scale": 3.5, "num_inference_steps": 12},
        {},
    ],
)
def test_a_video_is_asked_for_again_with_all_that_shaped_it(
    client: TestClient, session_factory: sessionmaker[Session], asked: dict[str, Any]
) -> None:
    request = {"prompt": "a red circle", "model": "tiny", "mode": "full"} | asked
    first = client.post("/v1/videos", json=request).json()["id"]

    page = client.get(f"/?again={first}").text
    typed = re.findall(r'<input id="[^"]+" name="([^"]+)" dir="auto" type="\w+" value="([^"]*)"', page)
    fields = {unescape(name): unescape(value) for name, value in typed}
    sent = form(client, "/", prompt="a red circle", model="tiny", mode="full", **fields)
    again = client.post("/make", data=sent, follow_redirects=False).headers["location"]

    with transaction(session_factory) as session:
        old, new = (session.get_one(Job, UUID(id_.rpartition("video_")[2])) for id_ in (first, again))
        assert GenerationParams.of(new) == GenerationParams.of(old)
        assert new.user_metadata == old.user_metadata


def test_a_mistake_stands_where_it_was_made(client: TestClient) -> None:
    answer = client.post("/make", data=form(client, "/", prompt="a red circle", seed="seven"))

    assert answer.status_code == 400
    assert "seed &#39;seven&#39; is not" in answer.text
    assert 'value="seven"' in answer.text
    assert ">a red circle</textarea>" in answer.text
    assert answer.text.index('id="seed"') < answer.text.index('id="mistake"') < answer.text.index("<fieldset>")


@pytest.mark.parametrize("path", ["/make", "/videos/video_{}/cancel", "/signin"])
@pytest.mark.parametrize("token", [{}, {"token": "x"}, {"token": ""}])
def test_a_form_of_another_site_does_nothing(client: TestClient, path: str, token: dict[str, str]) -> None:
    client.get("/")
    fields = {"/make": {"prompt": "x"}, "/signin": {"key": "x"}}.get(path, {"back": "/"})

    answer = client.post(path.format(UUID(int=1).hex), data={**fields, **token})

    assert answer.status_code == 403
    assert client.get("/v1/videos").json()["data"] == []


def test_what_is_typed_is_text(client: TestClient) -> None:
    client.post("/v1/videos", json={"prompt": "<script>alert(1)</script>", "metadata": {"<b>": "<i>"}})

    for path in ("/", "/queue", "/library", "/library?q=<script>"):
        assert "<script>alert" not in client.get(path).text


def test_the_library_finds_by_words_and_goes_on(client: TestClient) -> None:
    for number in range(30):
        client.post("/v1/videos", json={"prompt": f"a red circle {number}"})
    client.post("/v1/videos", json={"prompt": "100% blue"})

    first = client.get("/library?q=RED")
    more = re.search(r'id="more" rel="next" href="([^"]+)"', first.text)
    assert more is not None
    rest = client.get(more[1].replace("&amp;", "&"))

    cards = [re.findall(r'<a class="card"[^>]*href="([^"]+)"', answer.text) for answer in (first, rest)]
    assert len(set(cards[0])) == 24
    assert len({*cards[0], *cards[1]}) == 30
    assert len(re.findall('class="card"', client.get("/library?q=100%25").text)) == 1


def test_the_library_finds_what_was_asked_for_lately(
    client: TestClient, session_factory: sessionmaker[Session]
) -> None:
    for prompt in ("an old circle", "a new circle"):
        id_ = client.post("/v1/videos", json={"prompt": prompt}).json()["id"]
        with transaction(session_factory) as session:
            if "old" in prompt:
                session.get_one(Job, UUID(id_.removeprefix("video_"))).created_at -= timedelta(hours=13)

    wall = client.get("/library?within=12").text

    assert ("a new circle" in wall, "an old circle" in wall) == (True, False)
    assert '<option value="12" selected>' in wall


def test_what_ended_last_comes_first(client: TestClient, session_factory: sessionmaker[Session]) -> None:
    ids = [client.post("/v1/videos", json={"prompt": f"circle {number}"}).json()["id"] for number in range(3)]
    for number in (1, 2, 0):
        client.post(f"/v1/videos/{ids[number]}/cancel")

    assert re.findall(r"circle \d", client.get("/queue").text) == ["circle 0", "circle 2", "circle 1"]


def test_lines_that_may_not_start_yet_hide_none_that_may(
    client: TestClient, session_factory: sessionmaker[Session]
) -> None:
    with transaction(session_factory) as session:
        heartbeats.beat(session, "worker:gpu-1")
    for name in ("held", "free"):
        run = client.post("/v1/bulk-runs", json={"manifest_key": name}).json()["id"]
        client.post(f"/v1/bulk-runs/{run}/items", json={"items": [{"custom_id": "1", "prompt": f"{name} circle"}]})
        client.post(f"/v1/bulk-runs/{run}/seal")
        if name == "held":
            client.post(f"/v1/bulk-runs/{run}/pause")

    queue, make = client.get("/queue").text, client.get("/").text

    assert re.findall(r"(held|free) circle</a>.*?(next|its bulk run is paused)", queue) == [
        ("free", "next"),
        ("held", "its bulk run is paused"),
    ]
    assert "circle" not in make.partition(">Latest<")[2]


def test_a_list_to_begin_with_can_be_run(client: TestClient, tmp_path: Path) -> None:
    path = re.search(r'href="(/nights/[^"]+)" download', client.get("/nights").text)
    assert path is not None
    (tmp_path / "prompts.csv").write_bytes(client.get(path[1]).content)

    lines = manifest.read(tmp_path / "prompts.csv", {}).lines

    assert [line.custom_id for line in lines] == ["shot-1", "shot-2", "shot-3"]
    assert all(line.request["prompt"] in client.get("/").text for line in lines)


def test_a_receipt_and_a_run_in_words(
    client: TestClient, session_factory: sessionmaker[Session], storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = client.post("/v1/bulk-runs", json={"manifest_key": "m", "name": "tonight"}).json()["id"]
    items = {"items": [{"custom_id": str(n), "prompt": f"a red circle {n}"} for n in range(3)]}
    lines = client.post(f"/v1/bulk-runs/{batch}/items", json=items).json()["data"]
    work(session_factory, storage, UUID(lines[0]["id"].removeprefix("video_")), mp4())

    runs = client.get("/nights").text
    assert "1 of 3 done (1 fast)" in runs
    assert '<rect class="fast" x="0" width="1" height="1"/>' in runs
    monkeypatch.setattr(night_pages, "NUM_LINES", 2)
    client.post("/v1/bulk-runs", json={"manifest_key": "another"})
    assert '<rect class="done" x="0" width="1" height="1"/>' in client.get("/nights").text  # one of very many lines
    assert "Fast: 8 steps." in client.get(f"/videos/{lines[0]['id']}").text
    client.post(f"/nights/{batch}/cancel", data=form(client, f"/nights/{batch}"))
    assert "1 of 3 done (1 fast), 2 cancelled" in client.get(f"/nights/{batch}").text


def test_the_view_of_workers_links_to_flower_where_there_is_one(environment: dict[str, str]) -> None:
    settings = settings_of({**environment, "CHAI_FLOWER_URL": "http://127.0.0.1:5555"})
    with TestClient(create_app(settings), base_url="http://127.0.0.1") as client:
        assert '<a href="http://127.0.0.1:5555">Flower</a>' in client.get("/workers").text


def test_workers_are_told(client: TestClient, session_factory: sessionmaker[Session]) -> None:
    assert "No worker is here" in client.get("/queue").text
    with transaction(session_factory) as session:
        heartbeats.beat(session, "worker:gpu-1", {"queues": ["bulk"]})

    page = client.get("/workers").text

    assert "worker:gpu-1" in page
    assert "● alive" in page
    assert "Flower" not in page


@pytest.mark.parametrize("path", ["/videos/nothing", f"/videos/video_{UUID(int=1).hex}", "/nights/x", "/web/../app.py"])
def test_what_is_not_there_is_a_page_too(client: TestClient, path: str) -> None:
    answer = client.get(path, headers={"accept": "text/html"})

    assert answer.status_code == 404


@pytest.mark.parametrize(("path", "kind"), [("/library", "video"), ("/nights", "bulk run")])
def test_a_page_after_what_is_not_there_names_it_as_it_was_asked_for(client: TestClient, path: str, kind: str) -> None:
    answer = client.get(f"{path}?after={UUID(int=1).hex}")

    assert answer.status_code == 404
    assert f"no {kind} &#39;{UUID(int=1).hex}&#39; for this key" in answer.text


def test_a_key_signs_in(guarded: TestClient, new_key: Callable[..., dict[str, str]]) -> None:
    key = new_key("a")["Authorization"].removeprefix("Bearer ")
    sent_away = guarded.get("/library?q=red", follow_redirects=False)
    assert (sent_away.status_code, sent_away.headers["location"]) == (303, "/signin?next=/library%3Fq%3Dred")
    wrong = guarded.post("/signin", data=form(guarded, "/signin", key="sk-chai-0-x", next="/"))
    assert (wrong.status_code, "unknown, expired or revoked" in wrong.text) == (401, True)

    answer = guarded.post(
        "/signin", data=form(guarded, "/signin", key=key, next="/library?q=red"), follow_redirects=False
    )

    assert answer.headers["location"] == "/library?q=red"
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert guarded.get("/library").status_code == 200
    assert guarded.get("/v1/videos").status_code == 200
    guarded.post("/signout", data=form(guarded, "/library"))
    assert guarded.get("/v1/videos").status_code == 401


@pytest.mark.parametrize(
    ("referer", "place"), [("http://127.0.0.1/nights?after=x", "/nights%3Fafter%3Dx"), ("", "/"), ("x", "/")]
)
def test_a_sign_in_that_a_form_needs_leads_back_to_its_page(guarded: TestClient, referer: str, place: str) -> None:
    answer = guarded.post("/nights/x/pause", data={}, headers={"referer": referer}, follow_redirects=False)

    assert answer.headers["location"] == f"/signin?next={place}"


@pytest.mark.parametrize("place", ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:x"])
def test_a_sign_in_leads_nowhere_else(guarded: TestClient, new_key: Callable[..., dict[str, str]], place: str) -> None:
    key = new_key("a")["Authorization"].removeprefix("Bearer ")

    answer = guarded.post("/signin", data=form(guarded, "/signin", key=key, next=place), follow_redirects=False)

    assert answer.headers["location"] == "/"


@pytest.mark.parametrize("headers", [{"sec-fetch-site": "cross-site"}, {"origin": "https://evil.example"}])
def test_another_site_cannot_use_a_signed_in_browser(
    guarded: TestClient, new_key: Callable[..., dict[str, str]], headers: dict[str, str]
) -> None:
    guarded.cookies.set("chai_key", new_key("a")["Authorization"].removeprefix("Bearer "))

    assert guarded.post("/v1/videos", json={"prompt": "x"}, headers=headers).status_code == 403
    assert guarded.post("/v1/videos", json={"prompt": "x"}).status_code == 200


def test_the_reference_names_every_route(client: TestClient) -> None:
    page = client.get("/docs").text

    for path in client.get("/openapi.json").json()["paths"]:
        assert path in page


def test_a_run_is_paused_goes_on_and_is_made_again_by_buttons(client: TestClient) -> None:
    run = client.post("/v1/bulk-runs", json={"manifest_key": "m", "name": "tonight"}).json()["id"]
    client.post(f"/v1/bulk-runs/{run}/items", json={"items": [{"custom_id": "1", "prompt": "a red circle"}]})
    client.post(f"/v1/bulk-runs/{run}/seal")

    def press(act: str) -> str:
        path = f"/nights/{run}"
        assert f'action="{path}/{act}"' in client.get(path).text
        client.post(f"{path}/{act}", data=form(client, path, back=path))
        return client.get(f"/v1/bulk-runs/{run}").json()["status"]

    assert [press(act) for act in ("pause", "resume", "cancel", "retry")] == [
        "paused",
        "in_progress",
        "cancelled",
        "in_progress",
    ]


def test_a_run_shows_what_was_expected_beside_what_came_and_its_results(
    client: TestClient, session_factory: sessionmaker[Session], storage: Storage
) -> None:
    run = client.post("/v1/bulk-runs", json={"manifest_key": "m", "name": "tonight"}).json()["id"]
    items = {"items": [{"custom_id": str(n), "prompt": f"a red circle {n}"} for n in range(3)]}
    lines = client.post(f"/v1/bulk-runs/{run}/items", json=items).json()["data"]
    forecast = {"order": "planned", "num_fast": 2, "num_full": 1, "low_h": 0.01, "likely_h": 0.02, "high_h": 0.1}
    client.post(f"/v1/bulk-runs/{run}/seal", json={"forecast": forecast | {"ends_at": 1_900_000_000}})
    work(session_factory, storage, UUID(lines[0]["id"].removeprefix("video_")), mp4())

    page = client.get(f"/nights/{run}").text

    table = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in re.findall(r"<tr>.*?</tr>", page)]
    assert ["Fast lines", "2", "1"] in table
    assert ["Full lines", "1", "0"] in table
    assert any(row[:2] == ["Time of work", "1 min 12 s (36 s to 6 min)"] for row in table)
    (course,) = re.findall('<svg class="course".*?</svg>', page)
    assert re.findall(r'<rect class="(\w+)"[^>]* height="([\d.]+)"', course) == [("fast", "100.00")]
    forms = line_results.forms()
    assert {"csv", "jsonl"} <= forms.keys()  # and Parquet, where pyarrow is
    for form_ in forms:
        assert client.get(f"/v1/bulk-runs/{run}/results?format={form_}").is_success
        assert f'href="/v1/bulk-runs/{run}/results?format={form_}"' in page
    assert f'href="/videos/{lines[0]["id"]}" title="a red circle 0"' in page


def test_times_of_a_run_are_set_by_a_form_and_what_running_lines_do_then_stays(client: TestClient) -> None:
    run = client.post("/v1/bulk-runs", json={"manifest_key": "m", "name": "tonight"}).json()["id"]
    path, asked = f"/nights/{run}", {"start": "22:00", "end": "06:00", "tz": "Europe/Berlin"}
    client.post(f"/v1/bulk-runs/{run}/window", json={"window": {**asked, "at_end": "stop"}})

    def set_window(**fields: str) -> object:
        client.post(f"{path}/window", data=form(client, path, back=path, **fields))
        return client.get(f"/v1/bulk-runs/{run}").json()["window"]

    assert '<option value="stop" selected>' in client.get(path).text
    assert set_window(**{**asked, "start": "23:00"}) == {**asked, "start": "23:00", "at_end": "stop"}
    assert set_window(**asked, at_end="finish") == {**asked, "at_end": "finish"}
    assert set_window() is None
    refused = client.post(f"{path}/window", data=form(client, path, **{**asked, "tz": "Mars"}))
    assert "is no time zone; write it like Europe/Berlin or UTC" in refused.text


def test_failed_lines_alone_are_made_again(client: TestClient, session_factory: sessionmaker[Session]) -> None:
    run = client.post("/v1/bulk-runs", json={"manifest_key": "m", "name": "tonight"}).json()["id"]
    items = {"items": [{"custom_id": str(n), "prompt": "a red circle"} for n in range(2)]}
    lines = client.post(f"/v1/bulk-runs/{run}/items", json=items).json()["data"]
    client.post(f"/v1/bulk-runs/{run}/seal")
    with transaction(session_factory) as session:
        claim = jobs.claim(session, UUID(lines[0]["id"].removeprefix("video_")), owner="w", lease_s=30)
        assert claim is not None
        jobs.fail(session, claim, code="out_of_memory", message="too large")
    client.post(f"/v1/videos/{lines[1]['id']}/cancel")
    path = f"/nights/{run}"

    assert "Retry 1 failed" in client.get(path).text
    client.post(f"{path}/retry", data=form(client, path, back=path, only="failed"))

    counts = client.get(f"/v1/bulk-runs/{run}").json()["request_counts"]
    assert (counts["queued"], counts["failed"], counts["cancelled"]) == (1, 0, 1)


def test_the_same_is_asked_for_again_with_all_that_shapes_it(client: TestClient) -> None:
    shape = {"size": "64x48", "num_frames": 16, "seed": 7, "num_inference_steps": 5, "guidance_scale": 3.0, "fps": 4}
    words = {"prompt": "a red circle", "negative_prompt": "a square", "mode": "full", "metadata": {"scene": "12"}}
    id_ = client.post("/v1/videos", json=shape | words).json()["id"]
    assert f'action="/videos/{id_}/again"' not in client.get(f"/videos/{id_}").text
    first = client.post(f"/v1/videos/{id_}/cancel").json()
    assert f'action="/videos/{id_}/again"' in client.get(f"/videos/{id_}").text

    answer = client.post(f"/videos/{id_}/again", data=form(client, f"/videos/{id_}"), follow_redirects=False)

    again = client.get(f"/v1{answer.headers['location']}").json()
    assert (first["status"], again["status"], again["id"] == id_) == ("cancelled", "queued", False)
    same = [*shape, *words, "seconds"]
    assert {name: again[name] for name in same} == {name: first[name] for name in same}
    twice = client.post(f"/videos/{id_}/again", data=form(client, f"/videos/{id_}"), follow_redirects=False)
    assert twice.headers["location"] == answer.headers["location"]
    client.post(f"/v1/videos/{again['id']}/cancel")
    path = f"/videos/{again['id']}"
    thrice = client.post(f"{path}/again", data=form(client, path), follow_redirects=False)
    assert thrice.headers["location"] not in (path, answer.headers["location"])


def test_asking_again_counts_against_the_limits_of_the_key(
    guarded: TestClient, new_key: Callable[..., dict[str, str]]
) -> None:
    key = new_key("a", max_queued=1)
    guarded.cookies.set("chai_key", key["Authorization"].removeprefix("Bearer "))
    id_ = guarded.post("/v1/videos", json={"prompt": "a red circle"}, headers=key).json()["id"]

    answer = guarded.post(f"/videos/{id_}/again", data=form(guarded, f"/videos/{id_}"))

    assert answer.status_code == 429
    assert "1 videos wait and this key allows 1; try again when some have run" in answer.text


def test_a_line_of_a_run_is_made_again_by_its_run(client: TestClient) -> None:
    run = client.post("/v1/bulk-runs", json={"manifest_key": "night"}).json()["id"]
    items = {"items": [{"custom_id": "1", "prompt": "a red circle"}]}
    id_ = client.post(f"/v1/bulk-runs/{run}/items", json=items).json()["data"][0]["id"]

    assert f'action="/videos/{id_}/cancel"' in client.get("/queue").text
    assert f"/videos/{id_}/again" not in client.get("/queue").text


def test_a_deleted_video_is_gone_from_the_library(client: TestClient) -> None:
    id_ = client.post("/v1/videos", json={"prompt": "a red circle"}).json()["id"]
    client.post(f"/v1/videos/{id_}/cancel")

    client.post(f"/videos/{id_}/delete", data=form(client, f"/videos/{id_}"))

    assert client.get("/v1/videos").json()["data"] == []


def test_the_cache_is_for_operators(guarded: TestClient, new_key: Callable[..., dict[str, str]]) -> None:
    operator, user = new_key("a", scopes=["jobs", "admin"]), new_key("a")

    assert (
        guarded.get("/v1/cache", headers=user).status_code,
        guarded.get("/v1/cache", headers=operator).json()["object"],
    ) == (403, "cache")
    for headers, status in ((user, 403), (operator, 200)):
        guarded.cookies.set("chai_key", headers["Authorization"].removeprefix("Bearer "))
        assert guarded.get("/cache").status_code == status
        assert ('href="/cache"' in guarded.get("/queue").text) == (status == 200)


@pytest.mark.parametrize("first", ["page", "first_waiting"])
def test_a_video_that_moves_on_while_the_queue_is_read_is_there_once(
    client: TestClient, session_factory: sessionmaker[Session], monkeypatch: pytest.MonkeyPatch, first: str
) -> None:
    video = client.post("/v1/videos", json={"prompt": "a quick circle"}).json()["id"]
    read = getattr(job_lists, first)

    def read_then_move(*args: object, **kwargs: object) -> list[Job]:
        rows = read(*args, **kwargs)
        monkeypatch.undo()
        with transaction(session_factory) as session:
            assert jobs.claim(session, UUID(video.rpartition("_")[2]), owner="w1", lease_s=60)
        return rows

    monkeypatch.setattr(job_lists, first, read_then_move)
    shown = client.get("/queue").text

    assert shown.count(f'class="prompt" dir="auto" href="/videos/{video}"') == 1


def test_a_video_that_ends_while_the_queue_is_read_is_there_once(
    client: TestClient, session_factory: sessionmaker[Session], monkeypatch: pytest.MonkeyPatch
) -> None:
    video = client.post("/v1/videos", json={"prompt": "a quick circle"}).json()["id"]
    read = job_lists.last_ended

    def end_then_read(session: Session, tenant: str, *, limit: int) -> list[Job]:
        monkeypatch.undo()
        assert client.post(f"/v1/videos/{video}/cancel").is_success
        return read(session, tenant, limit=limit)

    monkeypatch.setattr(job_lists, "last_ended", end_then_read)
    shown = client.get("/queue").text

    assert shown.count(f'class="prompt" dir="auto" href="/videos/{video}"') == 1
