"""Whether this machine can run jobs: it tests itself before the first job and after a failure that may be its own.

A worker that does not pass takes no jobs, gives the reason in its log and heartbeat, and tries again with growing
pauses. It never ends by itself, so that somebody who frees the disk or mounts the storage need not restart it.
"""

import itertools
import logging
import math
import os
import threading
import time
from collections.abc import Callable, Sequence
from uuid import UUID

from db import clock, identities, jobs, migrate
from db.identities import StorageIds
from db.session import transaction
from shared import backoff
from shared.generation import GenerationParams
from shared.logs import first_line
from shared.model_cards import sides
from shared.storage import LATENTS, PICTURES, VIDEOS, Storage, StorageError, check_temporary_folder, shown
from worker.errors import Unfit, no_threads
from worker.jobs import video
from worker.jobs.faults import Blame, Fault
from worker.jobs.outages import DATABASE_AWAY
from worker.models import device_faults
from worker.models.video_model import Sampling, VideoModel
from worker.runtime import Runtime

FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 60.0
NEW_PROCESS_PAUSE_S = 5.0
THREAD = "fitness"
OF_ONE_MODEL = ("model_not_found", "model_unavailable")

logger = logging.getLogger(__name__)

Trial = Callable[[Runtime], None]


def start(runtime: Runtime) -> None:
    """Let a new child test its machine, in a thread; a worker's first child takes no jobs until it has passed.

    A later child of a worker that took jobs takes them at once: its predecessor was hardly killed by the machine, and
    the next job waits for its model either way.
    """
    _prove_later(runtime, pause_s=0.0)


def note(runtime: Runtime, job_id: UUID, fault: Fault) -> None:
    """React to a job that broke: a machine at fault that does not pass its trial takes no more jobs.

    One that passes stops too after `max_faulty_jobs` different jobs in a row: its trial does not show every fault.
    """
    if not fault.is_free:
        return
    if fault.blame is Blame.MACHINE and fault.code not in OF_ONE_MODEL:
        runtime.faulty_jobs.add(job_id)
    most = runtime.settings.max_faulty_jobs
    if (wrong := tried(runtime, WHOLE)) is not None:
        runtime.gate.close(_said(wrong))
        _prove_later(runtime, pause_s=FIRST_PAUSE_S)
    elif len(runtime.faulty_jobs) >= most:
        runtime.gate.close(f"{fault.code}: the last {most} jobs broke here, though the worker's own trial passes")
        _prove_later(runtime, pause_s=_longer(len(runtime.faulty_jobs) + 1))


def prove(runtime: Runtime) -> None:
    """Take no jobs until the machine has passed its trials; if the device is lost, end this process."""
    _prove_later(runtime, pause_s=FIRST_PAUSE_S)


def _prove_later(runtime: Runtime, *, pause_s: float) -> None:
    try:
        threading.Thread(target=_prove, args=(runtime, pause_s), name=THREAD, daemon=True).start()
    except RuntimeError:  # no thread can be started: use this one, which has nothing better to do
        _prove(runtime, pause_s)


def _longer(num_failures: int) -> float:
    return backoff.pause_s(num_failures, first_s=FIRST_PAUSE_S, longest_s=LONGEST_PAUSE_S)


def _prove(runtime: Runtime, pause_s: float) -> None:
    """Repeat the trials until the machine passes, then open the gate."""
    pauses = map(_longer, itertools.count(1))
    trials: Sequence[Trial] = WHOLE if pause_s else AT_START
    if pause_s:
        logger.error("takes no jobs for %.0f s at least: %s", pause_s, runtime.gate.reason)
        if runtime.ending.wait(pause_s):
            return
    while (wrong := tried(runtime, trials)) is not None:
        runtime.gate.close(_said(wrong))
        is_lost = wrong.__cause__ is not None and device_faults.is_broken(wrong.__cause__)
        again_s = NEW_PROCESS_PAUSE_S if is_lost else next(pauses)
        logger.error("takes no jobs: %s; tries itself again in %.0f s", _said(wrong), again_s)
        if runtime.ending.wait(again_s):
            return
        if is_lost:
            os._exit(device_faults.DEVICE_BROKEN)  # only a new process can tell whether the device is back
    runtime.gate.open()
    logger.info("fit: takes jobs")


def _said(wrong: Unfit) -> str:
    return f"{wrong.code}: {wrong.message}"


def tried(runtime: Runtime, trials: Sequence[Trial]) -> Unfit | None:
    """Return what these trials find wrong with this machine; nothing of them stays in memory."""
    wrong = _wrong(runtime, trials)
    if wrong is not None:
        device_faults.forget(wrong)
    return wrong


def _wrong(runtime: Runtime, trials: Sequence[Trial]) -> Unfit | None:
    try:
        for trial in trials:
            trial(runtime)
    except Unfit as wrong:
        return wrong
    except DATABASE_AWAY as error:
        return Unfit("database_unavailable", first_line(error))
    except StorageError as error:
        return Unfit("storage_unavailable", str(error))
    except Exception as error:  # whatever it is, a healthy machine does not raise it
        logger.warning("the trial of this machine broke", exc_info=error)
        unknown = Unfit("machine_fault", f"{type(error).__name__}: {first_line(error)}")
        unknown.__cause__ = error
        return unknown
    return None


def _threads(_: Runtime) -> None:
    try:
        threading.Thread(target=lambda: None, name="trial").start()
    except RuntimeError as error:
        raise no_threads(error) from error


def _temporary_folder(_: Runtime) -> None:
    try:
        check_temporary_folder()
    except StorageError as error:
        raise Unfit("temporary_folder", str(error)) from error


def _codec(_: Runtime) -> None:
    """Write two frames as MP4, and read them back."""
    import numpy as np

    frames = np.zeros((2, 16, 16, 3), np.uint8)
    try:
        found = video.decode(video.encode(frames, fps=8))
    except Exception as error:  # the codec's libraries raise their own errors
        raise Unfit("codec", f"this machine cannot write MP4: {type(error).__name__}: {error}") from error
    if found.shape != frames.shape:
        raise Unfit("codec", f"this machine writes MP4 wrongly: {found.shape} came back for {frames.shape}")


def _storage(runtime: Runtime) -> None:
    runtime.storage.check(folders=(VIDEOS, LATENTS, PICTURES))


def _same_storage(runtime: Runtime) -> None:
    """Compare the id that the storage keeps with the one that the database knows; the first worker of all sets both.

    Videos in a storage before the database knew of any are another service's, or all that is left of one whose database
    is lost: as files without a row they would be swept.
    """
    storage = runtime.storage
    ids = identities.of_storage(storage, runtime.factory)
    if ids.known is None:
        if ids.found is not None and any(True for _ in storage.files(VIDEOS)):
            raise _unknown(storage, ids.found)
        found = ids.found or storage.marker()
        with transaction(runtime.factory) as session:
            ids = StorageIds(found=found, known=identities.adopt_storage(session, found))
    if ids.found != ids.known:
        raise _foreign(storage, ids)


def _unknown(storage: Storage, found: UUID) -> Unfit:
    message = (
        f"{shown(storage.url)} has the id {found} and holds videos, and this database knows of none: restore the "
        "database that belongs to them, or set STORAGE_URL to an empty folder; to give them up, which are swept then, "
        "remove service/storage-id there"
    )
    return Unfit("foreign_storage", message)


def _foreign(storage: Storage, ids: StorageIds) -> Unfit:
    has = f"has the id {ids.found}" if ids.found else "has no id"
    message = (
        f"{shown(storage.url)} {has}, the service's storage has {ids.known}: set STORAGE_URL as the other parts have "
        "it and see that it is mounted; for files that moved, write that id into service/storage-id there"
    )
    return Unfit("foreign_storage", message)


def _tables(runtime: Runtime) -> None:
    with transaction(runtime.factory) as session:
        if (said := migrate.behind(session)) is not None:
            raise Unfit("tables", said)


def _clock(runtime: Runtime) -> None:
    """Compare the clocks, half a round trip apart."""
    with transaction(runtime.factory) as session:
        jobs.ping(session)  # connected
        asked_at = time.time()
        theirs = clock.read(session)
        skew_s = (asked_at + time.time()) / 2 - theirs
    most_s = runtime.settings.clock_skew_s
    if abs(skew_s) > most_s:
        message = f"the clock is {skew_s:+.0f} s off the database's, more than {most_s:g} s (CHAI_CLOCK_SKEW_S); set it"
        raise Unfit("clock", message)


def _model(runtime: Runtime) -> None:
    if runtime.settings.preload:
        runtime.warm()


def _clip(runtime: Runtime) -> None:
    """Make the smallest clip of the model that is loaded, from prompt to MP4."""
    with runtime.pipeline.device:
        device_faults.free_memory()
        _make_clip(runtime.model(runtime.loaded or runtime.own_model))


def _make_clip(model: VideoModel) -> None:
    card = model.card
    smallest = min(map(sides, card.sizes), key=math.prod)
    params = GenerationParams.of_card(card, "a red ball", size=smallest, num_frames=min(card.frames))
    sampling = Sampling(num_steps=1, guidance_scale=card.guidance_scale)
    try:
        *_, step = model.sample(model.encode(params), params, sampling, seed=1)
        video.encode(model.decode(step.latents, params), fps=card.fps)
        model.finish()
    except Exception as error:
        message = (
            f"model {card.name!r} cannot make a clip of {params.width}x{params.height}: {type(error).__name__}: {error}"
        )
        raise Unfit("model_fault", message) from error


LOCAL: Sequence[Trial] = (_threads, _temporary_folder, _codec, _clip)
SHARED: Sequence[Trial] = (_tables, _same_storage, _storage, _clock)  # in this order: no writes to a foreign storage
AT_START: Sequence[Trial] = (_temporary_folder, _codec, *SHARED, _model)
WHOLE: Sequence[Trial] = (*LOCAL, *SHARED)
