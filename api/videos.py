"""Job rows as video objects."""

from collections.abc import Mapping, Sequence
from uuid import UUID

from api.estimates import Estimate
from api.explain import discreet, without_folders
from api.ids import batch_id, ends, unix
from api.schemas.answers import Usage, Video, VideoError, VideoList
from db.models import Job, JobMetric, ReusedLine
from db.states import FINAL, JobStatus
from shared.ids import video_id

UNKNOWN = Estimate()
CANCELLED = "this video was cancelled; submit the prompt again"


def show(
    job: Job,
    *,
    estimate: Estimate = UNKNOWN,
    metric: JobMetric | None = None,
    reused: ReusedLine | None = None,
) -> Video:
    """Return the video object of a job, named as in the run that reuses it, if given."""
    usage = _usage(job, metric) if job.status == JobStatus.COMPLETED else None
    made = job.output or {}  # the file's real values, once there is one
    return Video(
        id=video_id(job.id),
        model=job.model,
        prompt=job.prompt,
        status=JobStatus(job.status).value,
        progress=job.progress,
        created_at=unix(job.created_at) or 0,
        completed_at=unix(job.finished_at) if job.status in FINAL else None,
        expires_at=unix(job.expires_at),
        seconds=job.request.get("seconds") or f"{job.num_frames / job.fps:.3g}",
        size=f"{made.get('width', job.width)}x{made.get('height', job.height)}",
        error=_error(job),
        inference_time_s=usage.run_s if usage else None,
        stage_durations=usage.stage_s if usage else None,
        peak_memory_mb=metric.peak_memory / 2**20 if usage and metric and metric.peak_memory is not None else None,
        negative_prompt=job.negative_prompt,
        mode=job.mode,  # type: ignore[arg-type]  # text in the row, one of three by a constraint
        path=job.path,  # type: ignore[arg-type]
        attempt=job.attempt,
        step=job.step,
        num_steps=job.num_steps,
        num_inference_steps=job.num_inference_steps,
        guidance_scale=job.guidance_scale,
        seed=made.get("seed", job.seed),
        fps=job.fps,
        num_frames=made.get("num_frames", job.num_frames),
        queue_position=estimate.position,
        eta_seconds=estimate.eta_seconds,
        workers=estimate.workers,
        waiting_reason=estimate.waiting_reason,
        cancel_requested=job.cancel_requested,
        batch_id=batch_id(job.batch_id) if job.batch_id else None,
        custom_id=(reused or job).custom_id,
        line=(reused or job).line,
        cache=job.receipt or None,
        metadata=job.user_metadata,
        usage=usage,
    )


def page(
    rows: Sequence[Job], limit: int, figures: Mapping[UUID, JobMetric], lines: Mapping[UUID, ReusedLine]
) -> VideoList:
    """Return up to `limit` videos; one row more than that means that there is another page.

    `lines` names the videos of other runs as in the listed run.
    """
    data = [show(row, metric=figures.get(row.id), reused=lines.get(row.id)) for row in rows[:limit]]
    return VideoList(data=data, **ends(data, has_more=len(rows) > limit))


def _error(job: Job) -> VideoError | None:
    """Return why a video was not made: every end but completion has a code, so that clients stop waiting."""
    if job.status == JobStatus.CANCELLED:
        return VideoError(code=job.error_code or "cancelled", message=job.error_message or CANCELLED)
    if job.error_code is None or job.status not in FINAL or job.status == JobStatus.COMPLETED:
        return None
    return VideoError(code=job.error_code, message=discreet(without_folders(job.error_message or "")))


def _usage(job: Job, metric: JobMetric | None) -> Usage | None:
    if metric is None or job.claimed_at is None or job.finished_at is None:
        return None
    return Usage(
        queue_wait_s=round((job.claimed_at - job.created_at).total_seconds(), 3),
        run_s=round((job.finished_at - job.claimed_at).total_seconds(), 3),
        gpu_seconds=metric.gpu_seconds,
        seconds_saved=metric.seconds_saved,
        stage_s=metric.stage_s,
        bytes=(job.output or {}).get("bytes"),
    )
