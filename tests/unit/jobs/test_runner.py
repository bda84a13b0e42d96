"""The runner knows two interfaces: a model and a cache that do nothing run a job in memory, without services."""

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from numpy.typing import NDArray

from db.jobs import Claim
from db.models import Job
from shared.generation import GenerationParams
from shared.model_cards import ModelCard
from shared.reasons import Reason
from shared.storage import StorageError, StoredFile
from worker.cache.decisions import planning
from worker.cache.latent_cache import CachePlan, Kept, Lent
from worker.errors import GiveUp
from worker.jobs import video
from worker.jobs.context import JobContext, Parts, RunResult
from worker.jobs.pipeline import Pipeline, Turn
from worker.jobs.progress import report_plan
from worker.jobs.runner import run, sampling_of, store
from worker.jobs.video import Encoder
from worker.models.video_model import Fingerprint, Step
from worker.prompts.entities import extract
from worker.reuse.donor import Donor

CARD = ModelCard(name="idle", title="Idle", source="", sizes=("16x16",), fps=8, frames=(2,), full_steps=30)
CLEANED = {"H2O": "", "一只红色的猫！": "!", "4x4, a fox": ", a fox"}  # what the idle model reads of prompts


class IdleModel:
    """A model whose latents are numbers and whose frames are black."""

    card, device, fingerprint = CARD, "nowhere", Fingerprint(revision="0", latent_dtype="none")
    engine = MappingProxyType({"compile": "off: there is nothing to compile"})
    prepares_aside = True

    def refuses(self, way, options):
        return "It was made for nothing." if way == "resume" else None

    def latent_shape(self, params):
        return (1, 1, 1, 1)

    def timesteps(self, params, sampling):
        return [1000 * (1 - i / sampling.num_steps) for i in range(sampling.num_steps)]

    def guidance(self, sampling):
        return [sampling.guidance_scale] * sampling.num_steps

    def reads(self, prompt):
        return CLEANED.get(prompt, prompt)

    def encode(self, params):
        return params.prompt

    def sample(self, encoding, params, sampling, *, seed, hooks=()) -> Iterator[Step]:
        n, ends = sampling.num_steps, [*self.timesteps(params, sampling)[1:], 0.0]
        for i, (t, end) in enumerate(zip(self.timesteps(params, sampling), ends, strict=True)):
            step = Step(
                index=i, num_steps=n, timestep=t, next_timestep=end, entered=0.0, latents=float(i), velocity=0.0
            )
            for hook in hooks:
                hook.finished(step)
            yield step

    def decode(self, latents, params):
        return np.zeros((params.num_frames, params.height, params.width, 3), np.uint8)

    def decode_parts(self, latents, params):
        yield from self.decode(latents, params)[:, None]

    def finish(self):
        pass

    reset_peak_memory = finish

    def peak_memory(self):
        return 0


@dataclass
class IdleCache:
    """A cache that finds what it is told to find, and keeps what it is given in a list."""

    chosen: planning.Plan
    lent: tuple[Donor, ...] = ()
    given: list[Donor] = field(default_factory=list)

    def plan(self, claim, params, card, model, *, reads=None):
        extraction = extract(params.prompt, reads=reads)
        donors = (UUID(int=1),) if self.chosen.recipe.reuse else ()
        return CachePlan(plan=self.chosen, extraction=extraction, donors=donors, keep=("nearest",))

    def fetch(self, plan, shape):
        return Lent(donors=self.lent, num_bytes=7)

    def put(self, claim, plan, donor, *, full_seconds):
        self.given.append(donor)
        return Kept(entry_id=UUID(int=2), num_bytes=5)

    def commit(self, session, claim, plan, kept):
        raise AssertionError("nothing is published in memory")


class Memory(dict[str, bytes]):
    """A storage in memory."""

    def write(self, name: str, content: bytes) -> StoredFile:
        self[name] = content
        return StoredFile(name=name, num_bytes=len(content), sha256="")


class Free:
    """A lease that nobody takes away."""

    is_expired = False

    def __init__(self) -> None:
        self.told: list[dict[str, Any]] = []

    def check(self, **progress: Any) -> None:
        self.told.append(progress)


def run_in_memory(cache: IdleCache, **asked: Any) -> tuple[JobContext, RunResult, Memory]:
    beside = {name: asked.pop(name) for name in ("expect_end", "turn") if name in asked}
    words = {"prompt": "a fox", **asked}
    row = Job(id=UUID(int=3), model="idle", width=16, height=16, num_frames=2, fps=8, **words)
    claim = Claim(job=row, fence=4, attempt=1, owner="w", queue_wait_s=0.0)
    job = JobContext(claim=claim, params=GenerationParams.of(row), seed=9, lease=Free(), **beside)
    results: list[RunResult] = []
    storage = Memory()
    parts = Parts(
        model=lambda name: IdleModel(), cache=cache, storage=storage, publish=lambda job, found: results.append(found)
    )
    run(job, parts)
    return job, results[0], storage


FULL = planning.PAPER[planning.Case.NONE][0]
FAST = planning.PAPER[planning.Case.OBJECT][0]


def plan_of(recipe: planning.Recipe) -> planning.Plan:
    return planning.Plan(recipe=recipe, full_num_steps=30, reason=Reason.EMPTY_CACHE)


def test_a_job_runs_from_prompt_to_published_video_in_memory() -> None:
    cache = IdleCache(plan_of(FULL))

    job, result, storage = run_in_memory(cache)

    assert storage[result.file.name][4:8] == b"ftyp"
    assert result.file.name == f"videos/{UUID(int=3)}.4.mp4"
    assert (result.seed, result.seconds_saved, result.kept) == (9, None, Kept(entry_id=UUID(int=2), num_bytes=5))
    assert job.figures.model_evaluations == 30
    assert job.figures.bytes_written == 5  # of the entry: the video and its pictures are no latents
    assert [told["step"] for told in job.lease.told if "step" in told] == list(range(1, 31))


def test_the_steps_on_record_are_those_that_are_run() -> None:
    late = planning.NIRVANA[planning.Case.PROMPT][0]  # 30 steps, entered after the 15th
    job, _, _ = run_in_memory(IdleCache(plan_of(FULL)))

    report_plan(job, CachePlan(plan=plan_of(late)))

    assert (job.figures.num_steps, job.lease.told[-1]["num_steps"]) == (15, 15)


@pytest.mark.parametrize(("engine", "is_told"), [({"compile": "on"}, True), ({"graphs": "on"}, False)], ids=str)
def test_the_next_job_hears_how_long_the_steps_take_unless_kernels_are_recorded(
    monkeypatch: pytest.MonkeyPatch, engine: dict[str, str], is_told: bool
) -> None:
    told: list[tuple[float, bool]] = []
    monkeypatch.setattr(IdleModel, "engine", engine)

    run_in_memory(IdleCache(plan_of(FULL)), expect_end=lambda left_s, *, lends: told.append((left_s, lends)))

    assert [left_s == 0 for left_s, _ in told] == ([False] * 29 + [True]) * is_told
    assert all(lends for _, lends in told)


def test_seconds_of_a_text_read_beside_a_job_are_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline, is_denoising, is_read = Pipeline(), threading.Event(), threading.Event()
    sample = IdleModel.sample

    def encode(model: IdleModel, params: GenerationParams) -> str:
        if params.prompt == "a second fox":
            assert is_denoising.wait(60)
            time.sleep(0.3)
            is_read.set()
        return params.prompt

    def sample_beside(model: IdleModel, encoding: str, *given: Any, **options: Any) -> Iterator[Step]:
        is_denoising.set()
        assert is_read.wait(60)
        yield from sample(model, encoding, *given, **options)

    def run_one(prompt: str) -> JobContext:
        turn = Turn(pipeline.device, beside=pipeline.beside)
        return run_in_memory(IdleCache(plan_of(FULL)), prompt=prompt, turn=turn)[0]

    monkeypatch.setattr(IdleModel, "encode", encode)
    monkeypatch.setattr(IdleModel, "sample", sample_beside)
    extract("a fox")  # reads its lists: in a thread, its filter of warnings would not hold
    began = time.perf_counter()
    with ThreadPoolExecutor(2) as threads:
        first, second = threads.map(run_one, ("a fox", "a second fox"))
    elapsed_s = time.perf_counter() - began

    assert second.figures.stage_s["encode"] >= 0.3
    assert first.figures.gpu_seconds + second.figures.gpu_seconds <= elapsed_s
    assert first.figures.stage_s["turn"] >= 0.3  # which leaves the sum of its stages what it was


def test_the_row_says_what_the_file_has_not_what_was_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A decoder drops what a side has beyond its step."""
    monkeypatch.setattr(IdleModel, "decode", lambda *_: np.zeros((3, 16, 8, 3), np.uint8))

    job, result, _ = run_in_memory(IdleCache(plan_of(FULL)))

    output = result.output(job.params)
    assert (output["num_frames"], output["height"], output["width"]) == (3, 16, 8)


def test_frames_are_compressed_while_the_next_are_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    is_compressed = threading.Event()
    add = Encoder.add

    def watched(encoder: Encoder, frames: NDArray[np.uint8]) -> None:
        add(encoder, frames)
        is_compressed.set()

    def decode_parts(model: IdleModel, latents: float, params: GenerationParams) -> Iterator[NDArray[np.uint8]]:
        first, second = np.split(model.decode(latents, params), 2)
        yield first
        assert is_compressed.wait(60), "the first frames wait for the last"
        yield second

    monkeypatch.setattr(Encoder, "add", watched)
    monkeypatch.setattr(IdleModel, "decode_parts", decode_parts)

    _, result, storage = run_in_memory(IdleCache(plan_of(FULL)))

    assert len(video.decode(storage[result.file.name])) == 2


@pytest.mark.parametrize(
    ("asked", "is_guided"), [({}, False), ({"negative_prompt": "rain"}, True), ({"guidance_scale": 3.0}, True)]
)
def test_a_plan_without_guidance_never_drops_what_the_user_asked_of_it(asked: dict[str, Any], is_guided: bool) -> None:
    schedule = {"unguided_steps": 4, "shift": 2.0}
    recipe = planning.Recipe(path=planning.RunPath.FAST, num_steps=4, schedule=schedule)
    row = Job(id=UUID(int=3), model="idle", width=16, height=16, num_frames=2, fps=8, prompt="a fox", **asked)
    claim = Claim(job=row, fence=4, attempt=1, owner="w", queue_wait_s=0.0)
    job = JobContext(claim=claim, params=GenerationParams.of(row), seed=9, lease=Free())
    plan = CachePlan(plan=plan_of(recipe), extraction=extract("a fox"), keep=())

    sampling = sampling_of(job, IdleModel(), plan)

    assert sampling.options == ({"shift": 2.0} if is_guided else schedule)


def test_pictures_stand_beside_the_video() -> None:
    _, result, storage = run_in_memory(IdleCache(plan_of(FULL)))

    names = {kind: picture["name"] for kind, picture in result.pictures.items()}
    assert names == {kind: f"pictures/{UUID(int=3)}.4.{kind}.jpg" for kind in ("thumbnail", "spritesheet")}
    assert all(storage[name].startswith(b"\xff\xd8") for name in names.values())
    assert result.pictures["spritesheet"]["tiles"] == 2


def test_a_video_whose_pictures_cannot_be_written_is_published_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def write(storage: Memory, name: str, content: bytes) -> StoredFile:
        if name.startswith("pictures/"):
            raise StorageError("no room")
        storage[name] = content
        return StoredFile(name=name, num_bytes=len(content), sha256="")

    monkeypatch.setattr(Memory, "write", write)

    _, result, storage = run_in_memory(IdleCache(plan_of(FULL)))

    assert (list(storage), result.pictures) == ([result.file.name], {})


@pytest.mark.parametrize("patience_s", [60.0, 0.0])
def test_a_video_waits_for_its_storage_as_long_as_there_is_patience(
    monkeypatch: pytest.MonkeyPatch, patience_s: float
) -> None:
    monkeypatch.setattr("worker.jobs.outages.time.sleep", lambda _: None)
    row = Job(id=UUID(int=3), model="idle", width=16, height=16, num_frames=2, fps=8, prompt="a fox")
    claim = Claim(job=row, fence=4, attempt=1, owner="w", queue_wait_s=0.0)
    job = JobContext(claim=claim, params=GenerationParams.of(row), seed=9, lease=Free())
    away = iter([StorageError("away"), StorageError("away")])

    class Away(Memory):
        def write(self, name: str, content: bytes) -> StoredFile:
            if (error := next(away, None)) is not None:
                raise error
            return super().write(name, content)

    if patience_s:
        assert store(job, Away(), b"mp4", patience_s=patience_s).num_bytes == 3
        assert len(job.lease.told) == 3  # each try asks whether the job is still this attempt's
    else:
        with pytest.raises(StorageError):
            store(job, Away(), b"mp4", patience_s=patience_s)


def test_a_full_run_leaves_what_the_plan_says_is_kept() -> None:
    cache = IdleCache(plan_of(FULL))

    run_in_memory(cache)

    (donor,) = cache.given
    assert sorted(donor.tensors) == ["clean", "latent_05", "latent_08", "latent_12"]  # nearest to the fast run's levels
    assert donor.seed == 9


def test_a_cache_that_lends_nothing_costs_the_job_a_full_run() -> None:
    job, result, _ = run_in_memory(IdleCache(plan_of(FAST)))

    assert result.plan.plan.reason is Reason.DONOR_UNUSABLE
    assert (job.figures.path, job.figures.model_evaluations, job.figures.bytes_read) == ("full", 30, 7)


def test_a_way_of_reuse_that_the_model_refuses_costs_the_job_nothing_and_the_receipt_says_why() -> None:
    resumed = planning.Recipe(path=planning.RunPath.FAST, num_steps=8, reuse="resume")
    cache = IdleCache(plan_of(resumed), lent=(Donor(tensors={"clean": 1.0}),))

    job, result, _ = run_in_memory(cache)

    receipt = planning.receipt(result.plan.plan)
    assert (receipt["reason"], receipt["path"], receipt["donors"]) == ("not_on_this_model", "full", [])
    assert receipt["explanation"].endswith("this model cannot reuse it so. It was made for nothing.")
    assert job.figures.bytes_read == 0  # no donor was read for nothing
    assert planning.Plan.from_dict(result.plan.plan.to_dict()) == result.plan.plan


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (
            {"prompt": "H2O"},
            "of prompt 'H2O' nothing that idle can read is left, only ''; describe in plain English words what the "
            "video shows, without codes, links or markup",
        ),
        (  # a sign is no picture: every prompt of ideographs that ends in this one would be the same video
            {"prompt": "一只红色的猫！"},
            "of prompt '一只红色的猫！' nothing that idle can read is left, only '!'; describe in plain English words "
            "what the video shows, without codes, links or markup",
        ),
        (
            {"negative_prompt": "H2O"},
            "of negative_prompt 'H2O' nothing that idle can read is left, only ''; describe in plain English words "
            "what the video must not show, without codes, links or markup",
        ),
    ],
)
def test_a_prompt_that_the_encoder_gets_nothing_of_is_given_up(asked: dict[str, str], message: str) -> None:
    cache = IdleCache(plan_of(FULL))

    with pytest.raises(GiveUp) as given_up:
        run_in_memory(cache, **asked)

    assert (given_up.value.code, given_up.value.message) == ("invalid_prompt", message)
    assert cache.given == []


@pytest.mark.parametrize("prompt", ["🐱", "\U0001fae8", "狐狸", "7"])
def test_a_prompt_of_one_picture_letter_or_digit_is_run(prompt: str) -> None:
    _, result, storage = run_in_memory(IdleCache(plan_of(FULL)), prompt=prompt)

    assert result.file.name in storage


def test_the_receipt_names_the_words_that_the_encoder_does_not_get() -> None:
    job, result, _ = run_in_memory(IdleCache(plan_of(FULL)), prompt="4x4, a fox")

    assert result.plan.receipt()["unread"] == ["4x4"]
    assert [told["receipt"]["unread"] for told in job.lease.told if "receipt" in told] == [["4x4"]]


def test_parts_that_only_decide_schedule_or_publish_start_without_torch() -> None:
    modules = ("worker.app", "worker.jobs.attempt", "worker.cache.store", "api.app", "api.outbox_relay", "cli.main")
    modules += ("worker.models.embedders", "cli.night", "cli.forecast")
    code = f"""
import importlib, sys
for name in {modules!r}:
    importlib.import_module(name)
from worker.models.embedders import load_embedder
load_embedder()
print(sorted({{"torch", "diffusers", "transformers", "lab"}} & set(sys.modules)))
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)

    assert found.stdout.strip() == "[]"


@pytest.mark.parametrize(("guidance", "ignored"), [(1.0, ["negative prompt, for guidance is off: rain"]), (1.5, [])])
def test_the_receipt_names_a_negative_prompt_that_no_step_is_guided_by(guidance: float, ignored: list[str]) -> None:
    asked = {"negative_prompt": "rain", "guidance_scale": guidance}

    job, result, _ = run_in_memory(IdleCache(plan_of(FULL)), **asked)

    assert result.plan.receipt()["unread"] == ignored
    assert [told["receipt"]["unread"] for told in job.lease.told if "receipt" in told] == [ignored]
