"""A job is a prompt that becomes entities, a lookup, a mode, denoising steps, latents, a video and metrics."""

import logging
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared import prompts
from shared.generation import RunPath
from shared.logs import first_line
from shared.reasons import Reason
from shared.storage import StorageError, StoredFile
from worker.cache.decisions.planning import Case, Recipe
from worker.cache.latent_cache import CachePlan, Kept, LatentCache, Lent
from worker.errors import GiveUp
from worker.jobs import pace, video
from worker.jobs.context import JobContext, Parts, Run, RunResult, VideoStore
from worker.jobs.outages import DATABASE_AWAY, retry, retry_database
from worker.jobs.preview import Previews
from worker.jobs.progress import report_plan
from worker.models.video_model import Sampling, VideoModel
from worker.reuse import registry as ways
from worker.reuse.recorder import Recorder, kept_steps

logger = logging.getLogger(__name__)


def run(job: JobContext, parts: Parts) -> None:
    """The sentence above, one verb a line."""
    model = load(job, parts)
    read(job, model)
    plan = decide(job, model, parts.cache)
    if not model.prepares_aside:
        wait(job, model)
    ready = borrow(job, model, parts.cache, plan)
    encoding = encode(job, model)
    wait(job, model)
    latents, recorder = denoise(job, model, ready, encoding, parts.previews)
    frames, film = decode(job, model, latents)
    job.turn.free()  # the next job may have the device now
    mp4 = compress(job, film)
    parts.previews.learn(job.params.model, latents, frames)
    pictures = picture(job, frames)
    file = store(job, parts.storage, mp4, patience_s=parts.storage_patience_s)
    shown = show(job, parts.storage, pictures)
    kept = keep(job, parts.cache, ready.plan, recorder)
    saved = measure(job, model, ready, parts.pace)
    parts.publish(
        job,
        RunResult(
            plan=ready.plan,
            file=file,
            frames=frames.shape[:3],
            pictures=shown,
            seed=ready.seed,
            kept=kept,
            seconds_saved=saved,
        ),
    )


def load(job: JobContext, parts: Parts) -> VideoModel:
    """Return the model of the job; the last job's stays loaded."""
    with job.figures.stage("load"):
        model = parts.model(job.params.model)
    job.figures.versions = dict(model.engine)
    job.lease.check()
    return model


def read(job: JobContext, model: VideoModel) -> None:
    """Raise `GiveUp` if the text encoder would receive nothing of the prompts.

    Every such prompt would give the same video, that of an empty prompt.
    """
    for name, prompt in (("prompt", job.params.prompt), ("negative_prompt", job.params.negative_prompt)):
        if prompt and (reason := prompts.refusal(name, prompt, left=model.reads(prompt), model=model.card.name)):
            raise GiveUp("invalid_prompt", reason)


def decide(job: JobContext, model: VideoModel, cache: LatentCache) -> CachePlan:
    """Find the entities, look them up, choose how the job runs, and report that."""

    def look_up() -> CachePlan:
        return cache.plan(job.claim, job.params, model.card, model.fingerprint, reads=model.reads)

    with job.figures.stage("decide"):
        plan = retry_database(look_up, until=lambda: job.lease.is_expired)
    plan = replace(plan, ignored=ignored(job, model, plan))
    report_plan(job, plan)
    return plan


def ignored(job: JobContext, model: VideoModel, plan: CachePlan) -> tuple[str, ...]:
    """Return the parts of a request that have no effect: a negative prompt works only in guided steps."""
    away = job.params.negative_prompt
    if not away or max(model.guidance(sampling_of(job, model, plan))) > 1:
        return ()
    return (f"negative prompt, for guidance is off: {away}",)


def borrow(job: JobContext, model: VideoModel, cache: LatentCache, plan: CachePlan) -> Run:
    """Read the donors and bind them; one that cannot be used makes the run slower but never fails it."""
    if not plan.donors:
        return Run(plan=plan, sampling=sampling_of(job, model, plan), seed=job.seed)
    recipe = plan.plan.recipe
    if refusal := model.refuses(recipe.reuse or "", recipe.reuse_options):
        return _without_donors(job, model, plan, Reason.NOT_ON_THIS_MODEL, refusal)
    shape = model.latent_shape(job.params)
    with job.figures.stage("fetch"):
        lent = _fetch(job, cache, plan, shape)
        job.figures.bytes_read += lent.num_bytes
        timesteps = model.timesteps(job.params, sampling_of(job, model, plan))
        donors = [donor.to(model.device) for donor in lent.donors]
        try:
            hooks = ways.bind(recipe.reuse or "", recipe.reuse_options, donors, timesteps) if donors else []
        except (KeyError, ValueError) as error:  # the donor is older than the settings that the plan follows
            logger.warning("cache entry %s is of no use to plan %s: %s", plan.donors[0], recipe.reuse, error.args[0])
            hooks = []
    if not hooks:
        return _without_donors(job, model, plan, Reason.DONOR_UNUSABLE)
    takes_noise = job.params.seed is None and recipe.reuse_options.get("noise") == "donor"
    seed = donors[0].seed if takes_noise and donors[0].seed is not None else job.seed
    return Run(plan=plan, sampling=sampling_of(job, model, plan), seed=seed, hooks=tuple(hooks))


def _fetch(job: JobContext, cache: LatentCache, plan: CachePlan, shape: tuple[int, ...]) -> Lent:
    try:
        return cache.fetch(plan, shape)
    except DATABASE_AWAY as error:  # a broken donor that cannot be quarantined now: the next job will find it too
        logger.warning("job %s runs without its donors: %s", job.job_id, first_line(error))
        return Lent(donors=())


def _without_donors(job: JobContext, model: VideoModel, plan: CachePlan, reason: Reason, note: str = "") -> Run:
    plan = plan.without_donors(job.params.mode, reason, note)
    report_plan(job, plan)
    return Run(plan=plan, sampling=sampling_of(job, model, plan), seed=job.seed)


def sampling_of(job: JobContext, model: VideoModel, plan: CachePlan) -> Sampling:
    """Return what the model needs of a plan.

    A plan may guide no step at all; a request with a guidance or a negative prompt of its own is guided all the same.
    """
    recipe, params = plan.plan.recipe, job.params
    options = dict(recipe.schedule)
    if params.guidance_scale is not None or params.negative_prompt:
        options.pop("guidance_scales", None)
        if options.get("unguided_steps", 0) >= recipe.num_steps:
            options.pop("unguided_steps")
    return Sampling(num_steps=recipe.num_steps, guidance_scale=params.guidance_on(model.card), options=options)


def encode(job: JobContext, model: VideoModel) -> object:
    """Return the text encodings of the prompt and of the negative prompt."""
    with job.figures.stage("encode"), job.turn.aside():
        encoding: object = model.encode(job.params)
        model.finish()
    job.lease.check()
    return encoding


def wait(job: JobContext, model: VideoModel) -> None:
    """Wait until the device is this job's."""
    with job.figures.stage("turn"):
        is_new = job.turn.take()
    if is_new:
        model.reset_peak_memory()


def denoise(
    job: JobContext, model: VideoModel, ready: Run, encoding: object, previews: Previews | None = None
) -> tuple[object, Recorder | None]:
    """Return the latents and, if the run may enter the cache, the recorder that watched it.

    Now and then a preview is made. After each step the lease is checked, with progress and cancellation, and the
    remaining time is estimated for the next job.
    """
    recorder = recording(job, model, ready)
    hooks = ready.hooks if recorder is None else (*ready.hooks, recorder)
    guidance = model.guidance(ready.sampling)
    num_steps = ready.plan.plan.recipe.num_evaluated_steps
    may_have_company = model.engine.get("graphs") != "on"  # no other thread may use the GPU while kernels are recorded
    began = time.perf_counter()
    with job.figures.stage("denoise", lent_s=job.turn.beside.seconds):
        sampled = model.sample(encoding, job.params, ready.sampling, seed=ready.seed, hooks=hooks)
        with closing(sampled) as steps:  # a job that is cancelled here leaves no run open
            for done, step in enumerate(steps, start=1):
                job.figures.model_evaluations += pace.evaluations(guidance[step.index : step.index + 1])
                left_s = (num_steps - done) * (time.perf_counter() - began) / done
                if may_have_company:
                    job.expect_end(left_s, lends=recorder is not None)
                picture = None if previews is None else previews.picture(job.params.model, step)
                seen = {} if picture is None else {"preview": picture}
                job.lease.check(step=done, progress=100 * done // (num_steps + 1), **seen)  # 100 is the published video
        model.finish()
    return step.latents, recorder


def recording(job: JobContext, model: VideoModel, ready: Run) -> Recorder | None:
    """Return the recorder that collects a run's latents as a donor; None for a run that may not lend."""
    plan, card = ready.plan, model.card
    if job.is_rerun or not (plan.leaves and job.params.is_canonical(card) and plan.extraction.entities):
        return None
    full, steps, levels = model.timesteps(job.params, ready.sampling), set[int](), set[float]()
    for recipe in plan.reusing:  # each recipe reads at its own noise levels
        name, options, lent_for = recipe.reuse or "", recipe.reuse_options, _levels_of(job, model, recipe)
        if read := ways.read_steps(name, options):
            steps |= set(kept_steps(plan.keep, full, lent_for, read=read))
        if "entry" in plan.keep and (level := ways.entry(name, options, lent_for)):
            levels.add(level)
    return Recorder(steps or kept_steps(plan.keep, full, _levels_of(job, model)), levels=levels, seed=ready.seed)


def _levels_of(job: JobContext, model: VideoModel, recipe: Recipe | None = None) -> list[float]:
    """Return the timesteps of the runs that a recipe makes of requests like this one; None: the card's fast ones."""
    sampling = Sampling(
        num_steps=recipe.num_steps if recipe else model.card.fast_steps,
        guidance_scale=model.card.guidance_scale,
        options=recipe.schedule if recipe else {},
    )
    return model.timesteps(job.params, sampling)


def decode(job: JobContext, model: VideoModel, latents: object) -> tuple[NDArray[np.uint8], video.Film]:
    """Return the frames (T, H, W, 3) and their film: frames are compressed while the next ones are decoded."""
    film, frames = video.Film(fps=job.params.fps), []
    with job.figures.stage("decode", lent_s=job.turn.beside.seconds):
        for part in model.decode_parts(latents, job.params):  # type: ignore[arg-type]  # its own tensors
            frames.append(part)
            film.add(part)
        model.finish()
    job.figures.peak_memory = model.peak_memory()
    job.lease.check()
    return np.concatenate(frames), film


def compress(job: JobContext, film: video.Film) -> bytes:
    """Return the MP4, once the last frames are compressed."""
    with job.figures.stage("compress"):
        return film.finish()


def picture(job: JobContext, frames: NDArray[np.uint8]) -> Mapping[str, tuple[bytes, Mapping[str, Any]]]:
    """Return the pictures that represent the video in lists, by kind: a JPEG and its layout."""
    with job.figures.stage("compress"):
        sheet = video.spritesheet(frames)
        layout = {"columns": sheet.columns, "rows": sheet.rows, "tiles": sheet.num_tiles}
        return {"thumbnail": (video.poster(frames), {}), "spritesheet": (sheet.content, layout)}


def store(job: JobContext, storage: VideoStore, mp4: bytes, *, patience_s: float) -> StoredFile:
    """Write the file under this attempt's own name; while storage is away, wait and keep the lease."""
    give_up_at = time.monotonic() + patience_s

    def write() -> StoredFile:
        job.lease.check()
        return storage.write(job.video_name, mp4)

    with job.figures.stage("store"):
        what = f"job {job.job_id}: storage away"
        return retry(write, (StorageError,), until=lambda: time.monotonic() > give_up_at, what=what)


def show(
    job: JobContext, storage: VideoStore, pictures: Mapping[str, tuple[bytes, Mapping[str, Any]]]
) -> Mapping[str, Mapping[str, Any]]:
    """Write the pictures beside the video; one that cannot be written is left out and does not delay the video."""
    found: dict[str, Mapping[str, Any]] = {}
    with job.figures.stage("store"):
        for kind, (content, layout) in pictures.items():
            try:
                file = storage.write(job.picture_names[kind], content)
            except StorageError as error:
                logger.warning("job %s has no %s: %s", job.job_id, kind, error)
                continue
            found[kind] = {"name": file.name, "bytes": file.num_bytes, "sha256": file.sha256, **layout}
    return found


def keep(job: JobContext, cache: LatentCache, plan: CachePlan, recorder: Recorder | None) -> Kept | None:
    """Store a full run's latents in the cache; one that is full or away does not harm the job."""
    if recorder is None:
        return None
    kept = None
    with job.figures.stage("keep"):
        try:
            kept = cache.put(job.claim, plan, recorder.donor(), full_seconds=job.figures.gpu_seconds)
        except DATABASE_AWAY as error:
            logger.warning("latents of job %s are not kept: %s", job.job_id, error)
    job.figures.bytes_written = kept.num_bytes if kept else 0
    job.lease.check()
    return kept


def measure(job: JobContext, model: VideoModel, ready: Run, known: pace.Pace) -> float | None:
    """Return the GPU seconds that donors saved, at this process's own pace; None if none shortened the run."""
    figures, params = job.figures, job.params
    kind = (params.model, params.width, params.height, params.num_frames)
    ran = pace.Denoised(evaluations=figures.model_evaluations, seconds=figures.stage_s["denoise"])
    is_first = known.note(kind, ran, reads_donor=bool(ready.hooks))
    if is_first or not ready.hooks or ready.plan.plan.path is RunPath.FULL:
        return None
    whole = ready.plan.table[Case.FULL][0]
    full = Sampling(num_steps=whole.num_steps, guidance_scale=ready.sampling.guidance_scale, options=whole.schedule)
    in_full, full_seconds = pace.evaluations(model.guidance(full)), ready.plan.full_seconds
    paces = known.of(kind) or pace.of_rows(
        ran,
        in_full=in_full,
        beside_s=figures.gpu_seconds - ran.seconds,
        full_seconds=full_seconds,
        fast_seconds=ready.plan.fast_seconds or figures.gpu_seconds,
    )
    overhead_s = sum(figures.stage_s.get(stage, 0.0) for stage in ("decide", "fetch"))
    saved = pace.seconds_saved(ran, paces, in_full=in_full, overhead_s=overhead_s, full_seconds=full_seconds)
    figures.seconds_saved = None if saved is None else round(saved, 3)
    return figures.seconds_saved
