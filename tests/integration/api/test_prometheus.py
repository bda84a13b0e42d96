"""/metrics: what Prometheus reads, that it is what the database says, and what goes by its names."""

import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from uuid import UUID, uuid4

import pytest
import yaml
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families
from running import mp4, work
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from db import acceptance, heartbeats, jobs, metrics, prometheus
from db.models import Job, JobMetric
from db.session import transaction
from shared.reasons import HITS
from shared.storage import Storage

DEPLOY = Path(__file__).parents[3] / "deploy"


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is kept, and every row is settled."""
    monkeypatch.setattr("api.prometheus.FRESH_S", 0)
    monkeypatch.setattr(prometheus, "SETTLED_S", 0)


def scrape(client: TestClient) -> dict[tuple[str, ...], float]:
    """Name and label values → value, of one scrape."""
    answer = client.get("/metrics")
    assert answer.status_code == 200
    samples = [sample for family in text_string_to_metric_families(answer.text) for sample in family.samples]
    return {(sample.name, *sample.labels.values()): sample.value for sample in samples}


def make(client: TestClient, factory: sessionmaker[Session], storage: Storage) -> None:
    """Have one video asked for, and made."""
    video = client.post("/v1/videos", json={"prompt": "a red circle"}).json()
    assert work(factory, storage, UUID(video["id"].removeprefix("video_")), mp4())


def test_what_waits_and_who_is_there(client: TestClient, session_factory: sessionmaker[Session]) -> None:
    for _ in range(2):
        client.post("/v1/videos", json={"prompt": "a red circle"})
    batch = client.post("/v1/bulk-runs", json={"manifest_key": "m"}).json()["id"]
    client.post(f"/v1/bulk-runs/{batch}/items", json={"items": [{"custom_id": "1", "prompt": "a blue square"}]})
    client.post(f"/v1/bulk-runs/{batch}/seal")
    client.post(f"/v1/bulk-runs/{batch}/pause")
    with transaction(session_factory) as session:
        heartbeats.beat(session, "worker:w1")

    found = scrape(client)

    assert found["chai_jobs", "interactive", "queued"] == 2
    assert (found["chai_jobs", "bulk", "queued"], found["chai_jobs", "bulk", "held"]) == (0, 1)
    assert found["chai_oldest_job_seconds", "interactive", "queued"] > 0
    assert (found["chai_parts_alive", "worker"], found["chai_parts_alive", "relay"]) == (1, 0)
    assert found["chai_outbox_age_seconds",] > 0
    assert {name[2] for name in found if name[:2] == ("chai_decisions_total", "yes")} == set(HITS)


def test_attempts_are_counted_once_and_as_the_database_has_them(
    client: TestClient, session_factory: sessionmaker[Session], storage: Storage
) -> None:
    make(client, session_factory, storage)  # before the first look: no counter knows of it
    scrape(client)
    for _ in range(2):
        make(client, session_factory, storage)

    first, second = scrape(client), scrape(client)
    with session_factory() as session:
        query = "SELECT count(*) AS number, sum(gpu_seconds) AS seconds FROM job_metrics WHERE path = 'fast'"
        row = session.execute(text(query)).one()

    assert first["chai_attempts_total", "completed", "fast"] == row.number - 1
    assert first["chai_gpu_seconds_total", "fast"] == pytest.approx(row.seconds * 2 / 3)
    assert first["chai_stage_seconds_total", "denoise"] == 1.0
    counters = {name: value for name, value in first.items() if name[0].endswith("_total")}
    assert counters == {name: value for name, value in second.items() if name[0].endswith("_total")}


def test_what_may_not_be_committed_yet_is_counted_later(
    client: TestClient, session_factory: sessionmaker[Session], storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    scrape(client)
    monkeypatch.setattr(prometheus, "SETTLED_S", 3600)
    make(client, session_factory, storage)
    early = scrape(client)
    monkeypatch.setattr(prometheus, "SETTLED_S", 0)

    assert early["chai_attempts_total", "completed", "fast"] == 0
    assert scrape(client)["chai_attempts_total", "completed", "fast"] == 1


def test_an_attempt_whose_end_waited_for_a_lock_hides_none_that_is_not_committed_yet(
    session_factory: sessionmaker[Session], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prometheus, "SETTLED_S", 0.5)
    with session_factory() as quick, session_factory() as slow:
        seen = prometheus.latest(slow)  # its transaction begins here
        first, second = (_claimed(session_factory) for _ in range(2))
        time.sleep(0.6)  # longer than figures take to settle
        metrics.end(quick, first, jobs.cancelled, outcome="cancelled")
        metrics.end(slow, second, jobs.cancelled, outcome="cancelled")
        slow.commit()
        with session_factory() as reader:
            counted = prometheus.ended(reader, seen)
        quick.commit()

    monkeypatch.setattr(prometheus, "SETTLED_S", 0)
    with session_factory() as reader:
        later = prometheus.ended(reader, counted.seen)
    assert sum(attempts.number for found in (counted, later) for attempts in found.attempts) == 2


def test_what_donors_saved_is_what_the_completed_attempts_say_together(
    client: TestClient, session_factory: sessionmaker[Session]
) -> None:
    scrape(client)
    told = []
    for outcome, saved in (("completed", 2.0), ("failed", 4.0), ("completed", -1.5), ("completed", 1.0)):
        with transaction(session_factory) as session:
            row = {"attempt": 1, "fence": 1, "tenant": "ada", "path": "fast", "outcome": outcome}
            session.add(JobMetric(job_id=uuid4(), seconds_saved=saved, **row))
        told.append(scrape(client)["chai_gpu_seconds_saved_total",])

    assert told == [2.0, 2.0, 2.0, 2.0]  # 2, less 1.5, and 1: a counter never falls, and does not run ahead either
    with transaction(session_factory) as session:
        session.add(JobMetric(job_id=uuid4(), seconds_saved=1.0, **row))
    assert scrape(client)["chai_gpu_seconds_saved_total",] == 2.5


def _claimed(session_factory: sessionmaker[Session]) -> jobs.Claim:
    asked = {"prompt": "a fox", "model": "tiny", "width": 32, "height": 32, "num_frames": 8, "fps": 8}
    with transaction(session_factory) as session:
        job, _ = acceptance.accept(session, Job(tenant="ada", **asked))
        claim = jobs.claim(session, job.id, owner="w", lease_s=30)
    assert claim is not None
    return claim


def test_only_an_operator_reads_figures_where_keys_are_needed(
    guarded: TestClient, new_key: Callable[..., dict[str, str]]
) -> None:
    assert guarded.get("/metrics").status_code == 401
    assert guarded.get("/metrics", headers=new_key("a")).status_code == 403
    assert guarded.get("/metrics", headers=new_key("a", scopes=["jobs", "admin"])).status_code == 200


def queries() -> dict[str, str]:
    """What the shipped files ask Prometheus for, by name."""
    rules = [rule for group in yaml.safe_load((DEPLOY / "alerts.yml").read_text())["groups"] for rule in group["rules"]]
    panels = json.loads((DEPLOY / "grafana.json").read_text())["panels"]
    keda = yaml.safe_load((DEPLOY / "keda.yaml").read_text())
    found = {rule["alert"]: rule["expr"] for rule in rules}
    found |= {f"{panel['title']} {one['refId']}": one["expr"] for panel in panels for one in panel["targets"]}
    return found | {"keda": keda["spec"]["triggers"][0]["metadata"]["query"]}


def test_alerts_dashboard_and_scaler_go_by_names_and_labels_that_there_are(client: TestClient) -> None:
    families = list(text_string_to_metric_families(client.get("/metrics").text))
    known = {sample.name for family in families for sample in family.samples} | {"chai_stage_seconds_total"}
    labels = {name for family in families for sample in family.samples for name in sample.labels} | {"stage"}
    found = queries()

    assert len(found) > 20
    for title, query in found.items():
        used = set(re.findall(r"\bchai_[a-z_]+", query))
        assert used, title
        assert used <= known, title
        by = re.findall(r"by \(([^)]*)\)", query) + re.findall(r"([a-z]+)=~?\"", query)
        assert {name.strip() for names in by for name in names.split(",")} <= labels, title
