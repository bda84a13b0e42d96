"""What a worker's child has loaded, by its preload and by its jobs at the same time."""

import gc
import json
import threading
import weakref
from pathlib import Path

import pytest
from sqlalchemy.orm import sessionmaker

from shared.model_cards import ModelCard
from shared.storage import Storage
from worker.models.opensora.model import OpenSoraModel
from worker.models.opensora.presets import tiny
from worker.models.video_model import VideoModel
from worker.runtime import Runtime
from worker.settings import WorkerSettings


class Loader:
    """Loads one model at a time, and says when it is at it."""

    def __init__(self) -> None:
        self.loaded: list[str] = []
        self.began, self.may_end = threading.Event(), threading.Event()
        self.may_end.set()

    def __call__(self, card: ModelCard, settings: WorkerSettings) -> VideoModel:
        self.began.set()
        assert self.may_end.wait(30)
        self.loaded.append(card.name)
        return OpenSoraModel(tiny(), card)


@pytest.fixture
def loader() -> Loader:
    return Loader()


@pytest.fixture
def runtime(tmp_path: Path, loader: Loader) -> Runtime:
    for name in ("usual", "other"):
        card = {"name": name, "title": name, "source": "random-tiny", "sizes": ["32x32"], "fps": 8, "frames": [8]}
        (tmp_path / name).mkdir()
        (tmp_path / name / "chai.json").write_text(json.dumps(card))
    given = {"DATABASE_URL": "postgresql+psycopg2://nowhere/none", "models_dir": tmp_path, "default_model": "usual"}
    settings = WorkerSettings.model_validate(given)
    storage = Storage(f"file://{tmp_path}")
    return Runtime(settings=settings, owner="w", factory=sessionmaker(), storage=storage, load=loader)


def test_preload_brings_the_default_model(runtime: Runtime, loader: Loader) -> None:
    runtime.warm()

    assert runtime.loaded == "usual"
    runtime.model("usual")
    assert loader.loaded == ["usual"]


def test_preload_that_comes_late_leaves_the_model_of_a_job_in_place(runtime: Runtime, loader: Loader) -> None:
    model = runtime.model("other")

    runtime.warm()

    assert runtime.loaded == "other"
    assert runtime.model("other") is model
    assert loader.loaded == ["other"]


def test_a_job_that_comes_during_the_preload_waits_for_it_and_loads_nothing_twice(
    runtime: Runtime, loader: Loader
) -> None:
    loader.may_end.clear()
    preload = threading.Thread(target=runtime.warm)
    preload.start()
    assert loader.began.wait(30)
    job = threading.Thread(target=runtime.model, args=["usual"])
    job.start()

    loader.may_end.set()
    preload.join()
    job.join()

    assert loader.loaded == ["usual"]


def test_the_model_of_before_is_gone_when_the_next_is_loaded(
    runtime: Runtime, loader: Loader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both do not fit a GPU; networks of diffusers that were run are part of a circle, which stays until looked for."""
    model = runtime.model("usual")
    assert isinstance(model, OpenSoraModel)
    model.pipeline.transformer.itself = [model.pipeline.transformer]
    weight, seen = weakref.ref(next(model.pipeline.transformer.parameters())), []
    del model
    monkeypatch.setattr(runtime, "load", lambda *given: seen.append(weight()) or loader(*given))

    gc.disable()
    try:
        runtime.model("other")
    finally:
        gc.enable()

    assert seen == [None]
