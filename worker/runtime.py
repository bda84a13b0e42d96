"""What the child process of a worker owns: database, storage and one loaded model; and its hold on the job it runs."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol, Self, TypeVar
from uuid import UUID

import numpy as np
from numpy.typing import NDArray
from sqlalchemy.exc import InterfaceError, InternalError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session, sessionmaker

from db import jobs
from db.errors import LeaseLost
from db.jobs import Claim
from db.session import connect, sessions, transaction
from shared import model_cards
from shared.model_cards import ModelCard
from shared.storage import Storage
from worker.cache.planner import Embedder
from worker.cache.read_through_cache import Nearby
from worker.cache.store import Histories
from worker.errors import Cancelled, GiveUp, TryAgain
from worker.models import device as devices
from worker.models.fingerprint import ModelIdentity, identify
from worker.models.opensora.compilation import optimize, options
from worker.models.opensora.pipeline import ChaiPipeline
from worker.models.opensora.presets import tiny
from worker.models.opensora.sampler import Step
from worker.models.opensora.schedule import Schedule
from worker.settings import WorkerSettings

T = TypeVar("T")

logger = logging.getLogger(__name__)

# A restart, a cut line, a full disk, a read-only standby, a spent pool: worth another try.
DATABASE_AWAY = (OperationalError, InterfaceError, InternalError, PoolTimeout)
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 5.0


class Pipeline(Protocol):
    """What a job needs of a model. Tensors are Any: only the engine knows them."""

    @property
    def device(self) -> Any:
        """The device that the model runs on."""

    def encode_prompt(self, prompt: list[str]) -> Any:
        """Return the caption of prompts, which `steps` takes."""

    @property
    def noise(self) -> Callable[..., Any]:
        """Draw the initial noise of a seed."""

    def schedule(self, num_steps: int = 30, guidance_scale: float = 7.0, **options: Any) -> Schedule:
        """Return the timesteps and guidance of a run."""

    @property
    def steps(self) -> Callable[..., Iterator[Step]]:
        """Denoise; yield after every step."""

    @property
    def latent_shape(self) -> Callable[..., tuple[int, int, int, int]]:
        """Return channels, frames, height and width of the latents of a size."""

    def decode(self, latents: Any, num_frames: int) -> NDArray[np.uint8]:
        """Return the frames (T, H, W, 3) of latents."""


Load = Callable[[ModelCard, WorkerSettings], Pipeline]


def load_pipeline(card: ModelCard, settings: WorkerSettings) -> Pipeline:
    """Load the model of a card: a folder beside the card, a hub name, or `random-tiny`, which needs neither."""
    device = devices.choose(settings.device)
    if card.source == "random-tiny":
        return tiny().to(device)
    folder = settings.models_dir / card.name / card.source
    pipeline = ChaiPipeline.from_pretrained(folder if folder.is_dir() else card.source)
    wanted = options(
        device,
        mode=settings.engine_mode,
        dtype=settings.engine_dtype,
        fp8=settings.engine_fp8,
        text=settings.engine_text,
    )
    optimize(pipeline, wanted, device)
    return pipeline


@dataclass(slots=True, kw_only=True)
class Runtime:
    """What jobs share, one after the other."""

    settings: WorkerSettings
    owner: str  # names this worker in the leases it holds
    factory: sessionmaker[Session]
    storage: Storage
    load: Load = load_pipeline
    histories: Histories = field(default_factory=dict)  # what this process has read of each namespace's events
    _cards: dict[str, ModelCard] = field(default_factory=dict)
    _loaded: tuple[str, Pipeline] | None = None
    _identity: ModelIdentity | None = None
    _embedder: Embedder | None = None
    _loading: threading.Lock = field(default_factory=threading.Lock)

    def card(self, model: str) -> ModelCard:
        """Return the card of a model; raise `GiveUp`."""
        if model not in self._cards:
            self._cards = model_cards.load(self.settings.models_dir)
        if model not in self._cards:
            known = ", ".join(sorted(self._cards)) or "none"
            raise GiveUp("model_not_found", f"model {model!r} is not installed on the workers; there is {known}")
        return self._cards[model]

    def pipeline(self, model: str) -> Pipeline:
        """Return a loaded model, in place of the one before; raise `GiveUp` and `TryAgain`."""
        card = self.card(model)
        with self._loading:
            if self._loaded is None or self._loaded[0] != model:
                self._loaded = None  # one at a time: its memory must be free before the next comes
                self._loaded = self._load(card)
            return self._loaded[1]

    @property
    def loaded(self) -> str | None:
        """Name the model that is loaded."""
        return None if self._loaded is None else self._loaded[0]

    @property
    def identity(self) -> ModelIdentity:
        """Say which model is loaded: latents of another are of no use to it."""
        assert self._identity is not None, "load a pipeline first"
        return self._identity

    @property
    def nearby(self) -> Nearby:
        """Read donors through copies on this machine's disk, where the settings name a folder for them."""
        return Nearby(self.storage, self.settings.read_cache_dir, max_bytes=self.settings.read_cache_bytes)

    @property
    def embedder(self) -> Embedder:
        """Return what compares phrases; raise `GiveUp` when the setting names none that is here."""
        with self._loading:
            if self._embedder is None:
                from worker.models.embedders import EmbedderError, load_embedder  # the parent process has no use for it

                try:
                    self._embedder = load_embedder(self.settings.embedder)
                except EmbedderError as error:
                    raise GiveUp("embedder_unavailable", f"{error}; tell the operator") from error
            return self._embedder

    def _load(self, card: ModelCard) -> tuple[str, Pipeline]:
        try:
            pipeline = self.load(card, self.settings)
        except OSError as error:
            message = f"model {card.name!r} could not be read from {card.source!r} ({error}); tell the operator"
            raise TryAgain("model_unavailable", message) from error
        self._identity = identify(pipeline)
        return card.name, pipeline

    def warm(self) -> None:
        """Load the default model ahead of its first job; what goes wrong is that job's to report.

        Runs beside jobs: where the first of them has brought its own model, that one stays.
        """
        try:
            card = self.card(self.settings.default_model)
            with self._loading:
                if self._loaded is None:
                    self._loaded = self._load(card)
            self.embedder.embed(["a warm-up phrase"])
        except Exception:
            logger.warning("model %s is not ready yet", self.settings.default_model, exc_info=True)


def open_runtime(settings: WorkerSettings, *, owner: str, load: Load = load_pipeline) -> Runtime:
    """Build what a child process owns; nothing is connected or loaded yet."""
    engine = connect(settings.database_url, pool_size=2, application=f"chai-worker {owner}")
    return Runtime(
        settings=settings,
        owner=owner,
        factory=sessions(engine),
        storage=Storage(settings.storage_url),
        load=load,
    )


class Hold(Protocol):
    """What lets an attempt go on, or stops it by an error."""

    @property
    def is_expired(self) -> bool:
        """Whether others may have the job."""

    def check(self, **progress: Any) -> None:
        """Take note of progress; raise when the attempt is to stop."""


class Lease:
    """The hold on a job while its block runs: a thread extends it, `check` says whether it still stands.

    The thread alone talks to the database, each quarter of a lease and, while steps go by, each `progress_s`; the loop
    of steps only looks at flags. While the database is away the thread tries again until the lease is over by this
    process's own clock.
    """

    def __init__(self, factory: sessionmaker[Session], claim: Claim, settings: WorkerSettings) -> None:
        self.claim = claim
        self._factory = factory
        self._settings = settings
        self._progress: dict[str, Any] = {}
        self._extended_at = time.monotonic()
        self._is_lost = self._is_cancelled = self._is_over = False
        self._wake = threading.Event()
        self._beating = threading.Lock()
        self._thread = threading.Thread(target=self._keep, name=f"lease {claim.job.id}", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over = True
        self._wake.set()
        self._thread.join(timeout=1)  # a beat that hangs in the network ends by itself and changes nothing

    @property
    def silent_s(self) -> float:
        """Seconds since the last beat that is known to have reached the database was sent."""
        return time.monotonic() - self._extended_at

    @property
    def is_expired(self) -> bool:
        """Whether the lease is over by this process's clock: others may have the job."""
        return self.silent_s > self._settings.lease_s

    def check(self, **progress: Any) -> None:
        """Take note of progress (see `db.jobs.beat`); raise `LeaseLost` or `Cancelled` when the attempt is to stop."""
        self._progress.update(progress)
        if self.is_expired:
            self._beat()  # frozen and awake again: the database knows whether the job is still ours
        elif self.silent_s >= self._settings.progress_s:
            self._wake.set()
        if self._is_lost or self.is_expired:
            raise LeaseLost(f"job {self.claim.job.id}: no heartbeat for {self.silent_s:.1f} s, or taken away")
        if self._is_cancelled:
            raise Cancelled(f"job {self.claim.job.id}: cancelled by its user")

    def _keep(self) -> None:
        pause_s = self._settings.heartbeat_s
        while True:
            self._wake.wait(pause_s)
            self._wake.clear()
            if self._is_over or self._is_lost:
                return
            is_well = self._beat()
            pause_s = self._settings.heartbeat_s if is_well else min(self._settings.heartbeat_s, 1.0)
            if not is_well:
                time.sleep(min(pause_s, 0.2))  # steps wake this thread: not in a tight loop

    def _beat(self) -> bool:
        """Extend the lease; return whether the database answered."""
        with self._beating:
            sent_at = time.monotonic()
            try:
                with transaction(self._factory) as session:
                    asked = jobs.beat(session, self.claim, lease_s=self._settings.lease_s, **self._progress)
            except LeaseLost:
                self._is_lost = True
            except DATABASE_AWAY as error:
                logger.warning("job %s: heartbeat failed, trying again: %s", self.claim.job.id, _first_line(error))
                return False
            else:
                self._extended_at, self._is_cancelled = sent_at, asked
            return True


def patiently(act: Callable[[], T], *, until: Callable[[], bool]) -> T:
    """Return what `act` returns, trying again while the database is away and `until()` is false; else its error."""
    pause_s = _FIRST_PAUSE_S
    while True:
        try:
            return act()
        except DATABASE_AWAY as error:
            if until():
                raise
            logger.warning("database away, next try in %.1f s: %s", pause_s, _first_line(error))
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)


def claim_job(runtime: Runtime, job_id: UUID) -> Claim | None:
    """Take a job, waiting for the database as long as it takes: without it a worker can do nothing else.

    None when somebody else has the job or it has ended.
    """

    def take() -> Claim | None:
        with transaction(runtime.factory) as session:
            return jobs.claim(session, job_id, owner=runtime.owner, lease_s=runtime.settings.lease_s)

    return patiently(take, until=lambda: False)


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
