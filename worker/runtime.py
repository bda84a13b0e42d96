"""What the child process of a worker owns: database, storage, cache and one loaded model."""

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

from sqlalchemy.orm import Session, sessionmaker

from db.jobs import Claim
from db.session import LOCK_PATIENCE_S, connect, sessions
from db.states import Queue
from shared import model_cards
from shared.model_cards import ModelCard
from shared.storage import Storage
from worker.cache.room import Histories
from worker.cache.store import StoredCache
from worker.errors import Unfit
from worker.gate import Gate
from worker.jobs.pace import Pace
from worker.jobs.pipeline import Pipeline
from worker.jobs.preview import Previews
from worker.models import device_faults, registry
from worker.models.embedder import Embedder
from worker.models.registry import EngineOptions
from worker.models.video_model import VideoModel
from worker.settings import WorkerSettings

logger = logging.getLogger(__name__)

POOL_SIZE = 4  # connections kept: two jobs, two leases; as many more for short peaks

Load = Callable[[ModelCard, WorkerSettings], VideoModel]


def load_model(card: ModelCard, settings: WorkerSettings) -> VideoModel:
    """Load the model of a card with the engine that the settings select."""
    options = EngineOptions(
        device=settings.device,
        mode=settings.engine_mode,
        dtype=settings.engine_dtype,
        text=settings.engine_text,
        second_device=settings.engine_second_device,
        text_cache=settings.text_cache_dir,
        text_cache_bytes=settings.text_cache_bytes,
    )
    return registry.load(card, settings.models_dir, options)


def _tell_nobody(claim: Claim) -> None:
    """Announce nothing: the message of a job begun ahead finds it running."""


@dataclass(slots=True, kw_only=True)
class Runtime:
    """What jobs share."""

    settings: WorkerSettings
    owner: str  # names this worker in the leases it holds
    factory: sessionmaker[Session]
    storage: Storage
    load: Load = load_model
    queues: Sequence[str] = tuple(Queue)  # served by this worker
    announce: Callable[[Claim], None] = _tell_nobody  # called when a job is begun ahead of its message
    pipeline: Pipeline = field(default_factory=Pipeline)  # of jobs
    embedder: Embedder | None = None  # None: what the settings name, loaded with the first plan
    histories: Histories = field(default_factory=dict)  # events read so far, by namespace
    pace: Pace = field(default_factory=Pace)
    previews: Previews = field(default_factory=Previews)
    gate: Gate = field(default_factory=Gate)  # whether this worker takes jobs
    faulty_jobs: set[UUID] = field(default_factory=set)  # broken here in a row by the machine's fault
    ending: threading.Event = field(default_factory=threading.Event)  # once set, retries stop waiting and give up
    _cards: dict[str, ModelCard] = field(default_factory=dict)
    _loaded: tuple[str, VideoModel] | None = None
    _loading: threading.Lock = field(default_factory=threading.Lock)

    def card(self, model: str) -> ModelCard:
        """Return the card of a model; raise `Unfit` if it is missing: another machine may have it."""
        folder = self.settings.models_dir
        if model not in self._cards:
            try:
                self._cards = model_cards.load(folder)
            except (OSError, ValueError) as error:
                raise Unfit("model_not_found", f"the cards in {folder} cannot be read: {error}") from error
        if model not in self._cards:
            known = ", ".join(sorted(self._cards)) or "none"
            message = f"{folder} has no model {model!r}, but {known}; install it there, or set CHAI_MODELS_DIR"
            raise Unfit("model_not_found", message)
        return self._cards[model]

    def models(self) -> frozenset[str]:
        """Return the names of the models that are now in this worker's folder; none if it cannot be read."""
        return model_names(self.settings.models_dir)

    @property
    def own_model(self) -> str:
        """The service's default model or, if this worker does not have it, its first one."""
        usual = self.settings.default_model
        here = self.models()
        return usual if usual in here or not here else min(here)

    def model(self, name: str) -> VideoModel:
        """Return a model, loaded in place of the previous one; raise `Unfit`."""
        card = self.card(name)
        with self._loading:
            if self._loaded is None or self._loaded[0] != name:
                if self._loaded is not None:
                    self._loaded = None  # one at a time: free its memory before loading the next
                    device_faults.free_memory()  # networks of diffusers, once run, are in reference cycles
                self._loaded = (name, self._load(card))
            return self._loaded[1]

    @property
    def loaded(self) -> str | None:
        """The name of the loaded model."""
        return None if self._loaded is None else self._loaded[0]

    @property
    def cache(self) -> StoredCache:
        """The latent cache as this process sees it."""
        return StoredCache(
            settings=self.settings,
            factory=self.factory,
            storage=self.storage,
            embedder=self.loaded_embedder,
            histories=self.histories,
        )

    def loaded_embedder(self) -> Embedder:
        """Return the embedder; raise `Unfit` if the configured one cannot be loaded."""
        with self._loading:
            if self.embedder is None:
                from worker.models.embedders import load_embedder  # not needed in the parent process
                from worker.models.keeping_embedder import EmbedderError

                try:
                    self.embedder = load_embedder(self.settings.embedder)
                except EmbedderError as error:
                    raise Unfit("embedder_unavailable", str(error)) from error
            return self.embedder

    def _load(self, card: ModelCard) -> VideoModel:
        try:
            return self.load(card, self.settings)
        except Exception as error:  # files, memory, device, a missing library: no prompt has been read yet
            if device_faults.is_broken(error):
                raise
            message = f"model {card.name!r} could not be loaded from {card.source!r}: {type(error).__name__}: {error}"
            raise Unfit("model_unavailable", message) from error

    def warm(self) -> None:
        """Load `own_model` ahead of the first job; raise `Unfit`.

        Runs beside jobs: if the first job has already loaded another model, that one stays.
        """
        card = self.card(self.own_model)
        with self._loading:
            if self._loaded is None:
                self._loaded = (card.name, self._load(card))
        self.loaded_embedder().embed(["a warm-up phrase"])


def model_names(folder: Path) -> frozenset[str]:
    """Return the names of the models in a folder; none if its cards cannot be read."""
    try:
        return frozenset(model_cards.load(folder))
    except (OSError, ValueError):
        return frozenset()


def open_runtime(
    settings: WorkerSettings,
    *,
    owner: str,
    load: Load = load_model,
    gate: Gate | None = None,
    queues: Sequence[str] = tuple(Queue),
    announce: Callable[[Claim], None] = _tell_nobody,
) -> Runtime:
    """Build a child process's runtime; nothing is connected or loaded yet."""
    engine = connect(
        settings.database_url,
        pool_size=POOL_SIZE,
        application=f"chai-worker {owner}",
        lock_patience_s=min(LOCK_PATIENCE_S, settings.heartbeat_s),  # it may wait while holding its heartbeat's row
    )
    return Runtime(
        settings=settings,
        owner=owner,
        factory=sessions(engine),
        storage=Storage(settings.storage_url, access=settings.storage_access),
        load=load,
        gate=gate or Gate(),
        queues=queues,
        announce=announce,
    )
