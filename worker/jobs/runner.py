"""A job is a prompt that becomes entities, a lookup, a mode, denoising steps, latents, a video and metrics."""

import logging
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select
from sqlalchemy.orm import Session

from db import jobs, metrics
from db.errors import LeaseLost
from db.jobs import Claim
from db.models import Job
from db.session import transaction
from shared.storage import StorageError, StoredFile, video_name
from worker.cache import planner
from worker.cache import store as donor_store
from worker.cache.decisions import planning
from worker.cache.decisions.types import Path
from worker.cache.planner import Decision
from worker.errors import Cancelled, GiveUp, TryAgain
from worker.jobs import video
from worker.jobs.metrics import Figures
from worker.models import device as devices
from worker.models.opensora.sampler import Conditioning
from worker.models.opensora.schedule import Schedule
from worker.quality import monitor
from worker.reuse.recording import Recording
from worker.reuse.ways import Donor, Reuse
from worker.runtime import DATABASE_AWAY, Hold, Lease, Pipeline, Runtime, claim_job, patiently

logger = logging.getLogger(__name__)

MAX_SEED = 2**31  # what every client can hold


@dataclass(slots=True, kw_only=True)
class Attempt:
    """One try at a job, from its claim to its end."""

    claim: Claim
    lease: Hold
    runtime: Runtime
    figures: Figures = field(default_factory=Figures)
    seed: int
    is_check: bool = False  # of the guard: leaves nothing behind

    @property
    def job(self) -> Job:
        """The job as it was when claimed."""
        return self.claim.job

    @property
    def video_name(self) -> str:
        """The file that this attempt, and no other, writes."""
        return video_name(self.job.id, self.claim.fence)


def generate(runtime: Runtime, job_id: UUID) -> bool:
    """Run a job to an end that its row tells: completed, failed, cancelled or back in the queue.

    Does nothing and returns False when somebody else has the job or it has ended. Raises only what leaves this process
    unusable.
    """
    claim = claim_job(runtime, job_id)
    if claim is None:
        return False
    with Lease(runtime.factory, claim, runtime.settings) as lease:
        seed = secrets.randbelow(MAX_SEED) if claim.job.seed is None else claim.job.seed
        attempt = Attempt(claim=claim, lease=lease, runtime=runtime, seed=seed)
        try:
            run(attempt)
        except LeaseLost as error:
            discard(attempt, error)
        except Cancelled:
            end(attempt, "cancelled", jobs.cancelled)
        except Exception as error:
            end_broken(attempt, error)
    return True


def run(attempt: Attempt) -> None:
    """The sentence above, one verb a line."""
    model = load(attempt)
    decision = decide(attempt, model)
    decision, reuse = fetch(attempt, model, decision)
    captions = encode(attempt, model)
    latents, left = denoise(attempt, model, decision, captions, reuse)
    frames = decode(attempt, model, latents)
    mp4 = compress(attempt, frames)
    file = store(attempt, mp4)
    kept = keep(attempt, decision, left)
    publish(attempt, decision, file, kept)
    monitor.sample(attempt.runtime.factory, attempt.runtime.settings, attempt.claim, decision, file.name)


def load(attempt: Attempt) -> Pipeline:
    """Return the model of the job; the one of the last job is still there."""
    with attempt.figures.stage("load"):
        model = attempt.runtime.pipeline(attempt.job.model)
    devices.reset_peak_memory(model.device)
    attempt.lease.check()
    return model


def decide(attempt: Attempt, model: Pipeline) -> Decision:
    """Find the entities, look them up, choose how the job runs, and let everybody see it."""
    runtime, job = attempt.runtime, attempt.job

    def look_up() -> Decision:
        card = runtime.card(job.model)
        return planner.decide(
            runtime.factory, attempt.claim, card, runtime.identity, runtime.embedder, runtime.settings
        )

    with attempt.figures.stage("decide"):
        decision = patiently(look_up, until=lambda: attempt.lease.is_expired)
    tell(attempt, decision)
    return decision


def tell(attempt: Attempt, decision: Decision) -> None:
    """Note the decision in the figures and in the job's progress."""
    plan, figures = decision.plan, attempt.figures
    figures.path, figures.reason, figures.num_steps = plan.path.value, plan.reason.value, plan.recipe.num_steps
    figures.namespace_id = decision.space.id
    figures.entry_id = decision.pinned[0].id if decision.pinned else None
    receipt = planning.receipt(plan, own_donors=donor_store.own_donors(decision, attempt.job.tenant))
    attempt.lease.check(path=plan.path.value, num_steps=plan.recipe.num_evaluated_steps, receipt=receipt)


def fetch(attempt: Attempt, model: Pipeline, decision: Decision) -> tuple[Decision, Reuse | None]:
    """Read the donors; what cannot be used is never a failure, only a slower run."""
    job, runtime = attempt.job, attempt.runtime
    if not decision.pinned:
        return decision, None
    size = {"height": job.height, "width": job.width, "num_frames": job.num_frames}
    timesteps = _schedule(attempt, model, decision).timesteps(job.height, job.width, job.num_frames)
    with attempt.figures.stage("fetch"):
        donors, num_bytes = donor_store.fetch(runtime.nearby, runtime.factory, decision, model.latent_shape(**size))
        reuse = donor_store.bind(decision, donors, timesteps, seed=job.seed) if donors else None
    attempt.figures.bytes_read += num_bytes
    if reuse is None:
        decision = decision.without_donors(job)
        tell(attempt, decision)
    elif job.seed is None and decision.plan.recipe.reuse_options.get("noise") == "donor":
        attempt.seed = attempt.seed if donors[0].seed is None else donors[0].seed
    return decision, reuse


def _schedule(attempt: Attempt, model: Pipeline, decision: Decision) -> Schedule:
    recipe = decision.plan.recipe
    return model.schedule(recipe.num_steps, _guidance_scale(attempt), **recipe.schedule)


def encode(attempt: Attempt, model: Pipeline) -> tuple[Any, Any]:
    """Return what the model reads of the prompt, and of the negative prompt or None."""
    with attempt.figures.stage("encode"):
        caption = model.encode_prompt([attempt.job.prompt])
        away = attempt.job.negative_prompt
        negative = model.encode_prompt([away]) if away else None
        devices.finish(model.device)
    attempt.lease.check()
    return caption, negative


def denoise(
    attempt: Attempt, model: Pipeline, decision: Decision, captions: tuple[Any, Any], reuse: Reuse | None
) -> tuple[Any, Donor | None]:
    """Return the latents and, of a run that may enter the cache, what it leaves behind.

    Progress, cancelling and the lease are looked at after each step.
    """
    job, figures = attempt.job, attempt.figures
    schedule = _schedule(attempt, model, decision)
    noise = model.noise(attempt.seed, height=job.height, width=job.width, num_frames=job.num_frames)
    recording = _recording(attempt, model, decision, captions[0], noise)
    steps = model.steps(
        captions[0],
        schedule,
        height=job.height,
        width=job.width,
        num_frames=job.num_frames,
        fps=job.fps,
        noise=noise,
        negative=captions[1],
        reuse=reuse,
    )
    num_steps = decision.plan.recipe.num_evaluated_steps
    with figures.stage("denoise"):
        for done, step in enumerate(devices.paced(steps, model.device), start=1):
            figures.model_evaluations += 1.0 if schedule.guidance(step.index) != 1.0 else 0.5
            if recording is not None:
                recording.add(step)
            attempt.lease.check(step=done, progress=100 * done // (num_steps + 1))  # 100 is the published video
        devices.finish(model.device)
    with figures.stage("record"):
        left = None if recording is None else recording.donor()
    return step.latents, left


def _recording(attempt: Attempt, model: Pipeline, decision: Decision, caption: Any, noise: Any) -> Recording | None:
    if not _may_be_kept(attempt, decision):
        return None
    job, card = attempt.job, attempt.runtime.card(attempt.job.model)
    fast = donor_store.fast_schedule(model, card, decision)
    return Recording(
        pipeline=model,
        prompt=job.prompt,
        caption=caption,
        conditioning=Conditioning(height=job.height, width=job.width, num_frames=job.num_frames, fps=job.fps),
        noise=noise,
        seed=attempt.seed,
        full=_schedule(attempt, model, decision),
        fast=fast,
        keep=donor_store.kept(decision),
        entities={entity.text: entity.head for entity in decision.extraction.entities},
    )


def _may_be_kept(attempt: Attempt, decision: Decision) -> bool:
    """Only runs with the model's own steps and guidance lend: what a namespace holds must be of one kind."""
    if attempt.is_check:
        return False
    job, card = attempt.job, attempt.runtime.card(attempt.job.model)
    is_usual = job.num_inference_steps in (None, card.full_steps) and _guidance_scale(attempt) == card.guidance_scale
    is_usual = is_usual and not job.negative_prompt
    return decision.plan.path is Path.FULL and is_usual and bool(decision.extraction.entities)


def _guidance_scale(attempt: Attempt) -> float:
    asked = attempt.job.guidance_scale
    return attempt.runtime.card(attempt.job.model).guidance_scale if asked is None else asked


def decode(attempt: Attempt, model: Pipeline, latents: Any) -> NDArray[np.uint8]:
    """Return the frames (T, H, W, 3)."""
    with attempt.figures.stage("decode"):
        frames = model.decode(latents, attempt.job.num_frames)
        devices.finish(model.device)
    attempt.figures.peak_memory = devices.peak_memory(model.device)
    attempt.lease.check()
    return frames


def compress(attempt: Attempt, frames: NDArray[np.uint8]) -> bytes:
    """Return the MP4."""
    with attempt.figures.stage("compress"):
        return video.encode(frames, fps=attempt.job.fps)


def store(attempt: Attempt, mp4: bytes) -> StoredFile:
    """Write the file under this attempt's own name; while storage is away the video waits, the lease goes on."""
    patience_s, storage = attempt.runtime.settings.storage_patience_s, attempt.runtime.storage
    give_up_at = time.monotonic() + patience_s
    pause_s = 0.1
    with attempt.figures.stage("store"):
        while True:
            attempt.lease.check()
            try:
                file = storage.write(attempt.video_name, mp4)
            except StorageError as error:
                if time.monotonic() > give_up_at:
                    raise
                logger.warning("job %s: %s; next try in %.1f s", attempt.job.id, error, pause_s)
            else:
                attempt.figures.bytes_written += file.num_bytes
                return file
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, 5.0)


def keep(attempt: Attempt, decision: Decision, left: Donor | None) -> UUID | None:
    """Write what a full run leaves behind; a cache that is full, or away, costs the job nothing."""
    if left is None:
        return None
    runtime, kept, num_bytes = attempt.runtime, None, 0
    with attempt.figures.stage("keep"):
        try:
            kept, num_bytes = donor_store.keep(
                runtime.storage,
                runtime.factory,
                runtime.histories,
                attempt.claim,
                decision,
                left,
                full_seconds=attempt.figures.gpu_seconds,
            )
        except DATABASE_AWAY as error:
            logger.warning("latents of job %s are not kept: %s", attempt.job.id, error)
    attempt.figures.bytes_written += num_bytes
    attempt.lease.check()
    return kept


def publish(attempt: Attempt, decision: Decision, file: StoredFile, kept: UUID | None) -> None:
    """Make the video the job's output, with its receipt, metrics, hits and cache entry, in one transaction."""
    job, figures = attempt.job, attempt.figures
    output = {
        "name": file.name,
        "bytes": file.num_bytes,
        "sha256": file.sha256,
        "seed": attempt.seed,
        "width": job.width,
        "height": job.height,
        "num_frames": job.num_frames,
        "fps": job.fps,
    }
    receipt = planning.receipt(
        decision.plan,
        own_donors=donor_store.own_donors(decision, job.tenant),
        gpu_seconds=figures.gpu_seconds,
        full_gpu_seconds=decision.full_seconds,
    )
    figures.seconds_saved = receipt["gpu_seconds_saved"]

    def complete(session: Session, claim: Claim) -> None:
        jobs.complete(session, claim, output=output, receipt=receipt)
        donor_store.settle(session, claim, decision, kept)

    end(attempt, "completed", complete)


def end(attempt: Attempt, outcome: str, write: Callable[[Session, Claim], object]) -> None:
    """End the attempt in one transaction: what `write` says about the job, and the metrics row."""
    attempt.figures.versions = devices.versions()

    def commit() -> None:
        with transaction(attempt.runtime.factory) as session:
            metrics.end(session, attempt.claim, write, outcome=outcome, **attempt.figures.columns())

    try:
        patiently(commit, until=lambda: attempt.lease.is_expired)
    except (LeaseLost, *DATABASE_AWAY) as error:
        discard(attempt, error)
    else:
        logger.info("job %s: attempt %d %s", attempt.job.id, attempt.claim.attempt, outcome)


def end_broken(attempt: Attempt, error: Exception) -> None:
    """End an attempt that raised: the job fails, or goes back to the queue when another attempt may do better."""
    logger.warning("job %s: attempt %d broke", attempt.job.id, attempt.claim.attempt, exc_info=error)
    found = diagnose(error)

    def write(session: Session, claim: Claim) -> None:
        if isinstance(found, GiveUp):
            jobs.fail(session, claim, code=found.code, message=found.message)
        else:
            max_lost = attempt.runtime.settings.max_lost
            jobs.give_back(session, claim, max_lost=max_lost, code=found.code, message=found.message)

    end(attempt, "failed" if isinstance(found, GiveUp) else "released", write)
    if devices.is_broken(error):
        raise error  # the device answers nothing more in this process


def diagnose(error: Exception) -> GiveUp | TryAgain:
    """Say whether another attempt can help, and tell the user what to do if not."""
    if isinstance(error, (GiveUp, TryAgain)):
        return error
    if devices.is_out_of_memory(error):
        return GiveUp(
            "out_of_memory", "the video does not fit the worker's memory; ask for a smaller size or less seconds"
        )
    if isinstance(error, ValueError):
        return GiveUp("invalid_request", f"the model cannot run this request: {error}")
    if isinstance(error, StorageError):
        return TryAgain("storage_unavailable", "the video was made but could not be stored; try again later")
    if isinstance(error, DATABASE_AWAY):
        return TryAgain("database_unavailable", "the database was away during the run; try again later")
    return TryAgain("internal_error", f"the worker failed ({type(error).__name__}); ask the operator for its log")


def discard(attempt: Attempt, error: Exception) -> None:
    """Leave the job to whoever has it now, and take away this attempt's file unless it was published after all.

    A commit whose answer was lost in a restart looks like a lost lease here: the row decides.
    """
    logger.warning("job %s: attempt %d ends without a word: %s", attempt.job.id, attempt.claim.attempt, error)
    name = attempt.video_name
    query = select(Job.id).where(Job.id == attempt.job.id, Job.output["name"].astext == name)
    try:
        with transaction(attempt.runtime.factory) as session:
            is_published = session.scalars(query).first() is not None
        if not is_published:
            attempt.runtime.storage.remove(name)
    except (*DATABASE_AWAY, StorageError) as failure:
        logger.warning("%s is left to the sweep of orphaned files: %s", name, failure)
