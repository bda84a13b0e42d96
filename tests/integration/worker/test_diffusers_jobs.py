"""Pipelines of diffusers served by a worker: real Postgres, storage, embedder and loader; random weights."""

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from db import acceptance, jobs, metrics
from db.models import Job, Namespace, PlanRow
from db.session import transaction
from shared.storage import Storage
from tests import tiny_pipelines
from tests.integration.worker.conftest import Service
from worker.cache.namespaces import plan_key
from worker.jobs.attempt import generate
from worker.models.diffusers.model import DiffusersModel
from worker.runtime import Runtime
from worker.settings import WorkerSettings

Frames = NDArray[np.uint8]
FOX, SAME_FOX, WHALE = "a red fox runs in the forest", "a red fox sleeps in the sea", "an old blue whale"
FULL, FAST = 6, 5


@pytest.fixture(scope="session")
def models_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models folder as operators have it: pipelines as diffusers saves them, beside their cards."""
    folder = tmp_path_factory.mktemp("models")
    for name in ("wan", "ltx", "cogvideox"):
        tiny_pipelines.save(name, folder / name / "pipeline")
        write_card(folder, name)
    return folder


def write_card(folder: Path, name: str, **values: Any) -> None:
    width, height, frames = tiny_pipelines.SIZES.get(name, (32, 32, 5))
    card = {"name": name, "title": name, "family": "diffusers", "source": "pipeline", "fps": 8, "guidance_scale": 5.0}
    card |= {"sizes": [f"{width}x{height}"], "frames": [frames], "full_steps": FULL, "fast_steps": FAST}
    (folder / name).mkdir(exist_ok=True)
    (folder / name / "chai.json").write_text(json.dumps(card | values))


@pytest.fixture
def start_in(
    database_url: str,
    session_factory: sessionmaker[Session],
    storage_url: str,
    embedder: Any,
    ending: threading.Event,
) -> Callable[..., Service]:
    def start(models_dir: Path) -> Service:
        given = {"DATABASE_URL": database_url, "STORAGE_URL": storage_url, "models_dir": models_dir}
        settings = WorkerSettings.model_validate(given | {"device": "cpu", "progress_s": 0.01, "preload": False})
        runtime = Runtime(
            settings=settings,
            owner="w1",
            factory=session_factory,
            storage=Storage(storage_url),
            embedder=embedder,
            ending=ending,
        )
        folder = Path(storage_url.removeprefix("file://"))
        return Service(runtime=runtime, factory=session_factory, storage=runtime.storage, folder=folder)

    return start


@pytest.fixture
def service(start_in: Callable[..., Service], models_dir: Path) -> Service:
    return start_in(models_dir)


def run(service: Service, model: str, prompt: str, **values: Any) -> Job:
    width, height, frames = tiny_pipelines.SIZES.get(model, (32, 32, 5))
    return service.run(prompt, model=model, width=width, height=height, num_frames=frames, **values)


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[Frames]:
    """Collect the frames of every video on their way to the MP4, whose bytes are not the same twice."""
    frames: list[Frames] = []
    decode = DiffusersModel.decode

    def collect(self: DiffusersModel, *args: Any) -> Frames:
        frames.append(decode(self, *args))
        return frames[-1]

    monkeypatch.setattr(DiffusersModel, "decode", collect)
    return frames


@pytest.mark.parametrize("name", ["wan", "ltx", "cogvideox"])
def test_a_served_video_is_that_of_the_pipeline_called_directly(
    service: Service, models_dir: Path, decoded: list[Frames], name: str
) -> None:
    job = run(service, name, FOX, seed=7)

    kind = type(service.runtime.model(name).pipeline)
    pipeline = kind.from_pretrained(models_dir / name / "pipeline")
    call = {"frame_rate": 8} if name == "ltx" else {}
    generator = torch.Generator().manual_seed(7)
    direct = pipeline(
        FOX,
        width=job.width,
        height=job.height,
        num_frames=job.num_frames,
        num_inference_steps=FULL,
        guidance_scale=5.0,
        generator=generator,
        output_type="np",
        **call,
    )
    frames = (np.asarray(direct.frames[0]) * 255).round().astype(np.uint8)
    assert (job.status, job.path, job.receipt["reason"]) == ("completed", "full", "empty_cache")
    assert np.array_equal(decoded[0], frames)


@pytest.mark.parametrize("name", ["wan", "ltx"])
def test_an_entity_hit_runs_fast_with_cache_attention_and_leaves_nothing(
    service: Service, decoded: list[Frames], name: str
) -> None:
    first = run(service, name, FOX, seed=7)
    plain = run(service, name, SAME_FOX, seed=7, mode="fast", tenant="eve")  # whose cache is empty

    fast = run(service, name, SAME_FOX, seed=7)
    again = run(service, name, SAME_FOX, seed=7, mode="fast", tenant="eve")

    assert (fast.path, fast.receipt["reason"], fast.receipt["reuse"]) == ("fast", "entity_hit", "cache_attention")
    assert (fast.receipt["steps"], fast.receipt["donors"]) == (FAST, [f"video_{first.id.hex}"])
    assert (plain.receipt["reason"], plain.receipt["steps"]) == ("fast_requested_no_hit", FAST)
    assert again.status == "completed"
    assert not np.array_equal(decoded[2], decoded[1])
    assert np.array_equal(decoded[3], decoded[1])
    service.check_ledger()


@pytest.mark.parametrize("name", ["wan", "ltx", "cogvideox"])  # UniPC, Euler steps of a flow, DDIM
def test_a_layout_is_taken_wherever_the_scheduler_draws_no_noise(service: Service, name: str) -> None:
    run(service, name, FOX, seed=7, num_inference_steps=2)  # makes the namespace, leaves nothing
    entering = {"path": "fast", "num_steps": FULL, "reuse": "own_trajectory", "reuse_options": {"skipped_steps": 1}}
    with transaction(service.factory) as session:
        (space,) = session.scalars(select(Namespace))
        space.settings = {"layout_share": 1.0}
        row = PlanRow(kind="layout", plan={"recipes": [entering]}, quality={}, cost={}, namespace_key=plan_key(space))
        metrics.set_plans(session, row.namespace_key, [row])
    run(service, name, FOX, seed=7)

    job = run(service, name, "a red fox runs")

    assert (job.status, job.receipt["reason"], job.receipt["layout"]) == ("completed", "layout_hit", "donor")
    assert job.receipt["steps"] == FULL - 1


def test_joint_attention_runs_in_full_and_the_receipt_says_why(service: Service) -> None:
    run(service, "cogvideox", FOX)

    job = run(service, "cogvideox", SAME_FOX)

    assert (job.status, job.path, job.receipt["reason"]) == ("completed", "full", "not_on_this_model")
    assert "attends to text and video together" in job.receipt["explanation"]


def test_joint_attention_resumes_where_its_card_asks_for_such_plans(service: Service, models_dir: Path) -> None:
    write_card(models_dir, "cogvideox", plans="nirvana")
    try:
        first = run(service, "cogvideox", FOX, tenant="zoe", seed=7)
        job = run(service, "cogvideox", FOX, tenant="zoe", seed=8)
    finally:
        write_card(models_dir, "cogvideox")

    assert (job.path, job.receipt["reason"], job.receipt["reuse"]) == ("fast", "prompt_hit", "resume")
    assert (job.receipt["steps"], job.receipt["steps_saved"]) == (FULL - 3, 3)
    assert job.receipt["donors"] == [f"video_{first.id.hex}"]


def test_a_card_of_few_steps_without_guidance_uses_no_donor(start_in: Callable[..., Service], tmp_path: Path) -> None:
    tiny_pipelines.save("wan", tmp_path / "wan" / "pipeline")
    write_card(tmp_path, "wan", full_steps=4, fast_steps=4, guidance_scale=1.0, plans="plain")
    service = start_in(tmp_path)
    run(service, "wan", FOX)

    job = run(service, "wan", SAME_FOX)

    assert (job.status, job.path, job.receipt["steps"]) == ("completed", "full", 4)
    assert job.receipt["reason"] == "no_donor_plans"


def test_jobs_of_several_models_in_turn_leave_no_state(service: Service, decoded: list[Frames]) -> None:
    order = ["wan", "ltx", "wan", "cogvideox", "ltx", "wan"]

    for name in order:
        assert run(service, name, FOX, seed=7, mode="full").status == "completed"

    assert len({(name, frames.tobytes()) for name, frames in zip(order, decoded, strict=True)}) == 3


def test_a_job_that_is_cancelled_in_the_middle_stops_there(service: Service, decoded: list[Frames]) -> None:
    model = service.runtime.model("wan")
    run(service, "wan", WHALE, seed=7, mode="full")
    forwards: list[float] = []
    with transaction(service.factory) as session:
        size = {"width": 32, "height": 32, "num_frames": 5, "fps": 8}
        job, _ = acceptance.accept(session, Job(tenant="ada", prompt=FOX, model="wan", **size))

    def cancel(*_: Any) -> None:
        forwards.append(time.monotonic())
        if len(forwards) == 3:  # in the second step: two halves of guidance a step
            with transaction(service.factory) as session:
                jobs.request_cancel(session, "ada", job.id)
        time.sleep(0.1)

    hook, threads = model.pipeline.transformer.register_forward_hook(cancel), threading.active_count()
    generate(service.runtime, job.id)
    hook.remove()

    with service.factory() as session:
        assert session.get_one(Job, job.id).status == "cancelled"
    assert 4 <= len(forwards) < 2 * FULL
    assert threading.active_count() == threads
    run(service, "wan", WHALE, seed=7, mode="full")
    assert np.array_equal(*decoded)


def test_a_job_that_does_not_fit_fails_alone(service: Service) -> None:
    model = service.runtime.model("wan")

    def out_of_memory(*_: Any) -> None:
        hook.remove()  # what the worker tries by itself afterwards fits
        raise torch.OutOfMemoryError("CUDA out of memory")

    hook, threads = model.pipeline.transformer.register_forward_hook(out_of_memory), threading.active_count()
    failed = run(service, "wan", FOX)

    assert (failed.status, failed.error_code) == ("failed", "out_of_memory")
    assert threading.active_count() == threads
    assert run(service, "wan", FOX).status == "completed"


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda at: (at / "vae" / "config.json").unlink(), "could not be loaded as WanPipeline"),
        (lambda at: (at / "model_index.json").write_text('{"_class_name": "Kolors"}'), "is not in diffusers"),
        (lambda at: write_card(at.parents[1], "wan", offload="cloud"), "offload 'cloud' is unknown; there are none"),
    ],
    ids=["broken", "unknown pipeline", "wrong card"],
)
def test_a_model_that_cannot_be_loaded_is_the_operators_fault_not_the_jobs(
    start_in: Callable[..., Service],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    damage: Callable[[Path], object],
    says: str,
) -> None:
    tiny_pipelines.save("wan", tmp_path / "wan" / "pipeline")
    write_card(tmp_path, "wan")
    damage(tmp_path / "wan" / "pipeline")

    job = run(start_in(tmp_path), "wan", FOX)

    assert (job.status, job.attempt) == ("queued", 1)
    assert says in caplog.text
