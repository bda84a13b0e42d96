"""What a worker finds wrong with its surroundings before it takes a job."""

import signal
import weakref
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest
import torch
from sqlalchemy import text

from db.session import transaction
from shared.storage import MARKER, Storage, video_name
from worker import fitness
from worker.app import ANEW_S, prepare_child
from worker.gate import Gate
from worker.models.opensora.model import OpenSoraModel


def test_a_worker_in_front_of_tables_of_an_earlier_version_takes_no_jobs(start: Callable[..., Any]) -> None:
    service = start(preload=False)
    well = fitness.tried(service.runtime, fitness.AT_START)
    with transaction(service.factory) as session:
        session.execute(text("UPDATE alembic_version SET version_num = '0004'"))

    wrong = fitness.tried(service.runtime, fitness.AT_START)

    assert well is None
    assert wrong is not None
    assert (wrong.code, wrong.message.rpartition(": ")[2]) == ("tables", "run `chai migrate`")


def test_a_worker_whose_folder_of_videos_leads_elsewhere_takes_no_jobs(start: Callable[..., Any]) -> None:
    service = start(preload=False)
    service.storage.marker()
    (service.folder.parent / "elsewhere").mkdir()
    (service.folder / "videos").symlink_to(service.folder.parent / "elsewhere")

    wrong = fitness.tried(service.runtime, fitness.SHARED)

    assert wrong is not None
    assert (wrong.code, "lies outside of" in wrong.message) == ("storage_unavailable", True)


def test_a_worker_of_a_new_database_does_not_take_over_the_videos_of_another(start: Callable[..., Any]) -> None:
    """A STORAGE_URL that was copied, or a database that was lost: all files there would be swept as orphans."""
    service = start(preload=False)
    service.storage.marker()
    service.storage.write(video_name(uuid4(), 1), b"theirs")

    wrong = fitness.tried(service.runtime, fitness.SHARED)

    assert wrong is not None
    assert (wrong.code, "holds videos, and this database knows of none" in wrong.message) == ("foreign_storage", True)
    (service.folder / MARKER).unlink()  # its operator gives them up
    service.runtime.storage = Storage(service.storage.url)
    assert fitness.tried(service.runtime, fitness.SHARED) is None


def test_a_child_that_cannot_begin_says_why(start: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    ends_in: list[int] = []
    monkeypatch.setattr(signal, "alarm", ends_in.append)  # this process goes on

    def broken() -> Any:
        raise RuntimeError("no such device")

    gate = Gate()
    gate.close("starting")

    with pytest.raises(RuntimeError):
        prepare_child(start(preload=False).runtime.settings, broken, gate)

    assert ends_in == [ANEW_S]
    assert (gate.is_open, gate.reason) == (
        False,
        "machine_fault: a child cannot begin: RuntimeError: no such device",
    )


class Hoarder:
    """A model whose first runs break with much in their hands; it counts what is still held when the next begins."""

    def __init__(self, model: OpenSoraModel, *, num_broken: int) -> None:
        self._model, self._num_broken = model, num_broken
        self._hoards: list[weakref.ref[torch.Tensor]] = []
        self.num_held: list[int] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def sample(self, *arguments: Any, **options: Any) -> Iterator[Any]:
        self.num_held.append(sum(hoard() is not None for hoard in self._hoards))
        if len(self.num_held) > self._num_broken:
            yield from self._model.sample(*arguments, **options)
            return
        hoard = torch.zeros(8)
        self._hoards.append(weakref.ref(hoard))
        try:
            raise MemoryError
        except MemoryError as error:
            raise RuntimeError("not enough memory") from error


def test_a_machine_tries_itself_with_the_memory_of_the_run_that_broke(start: Callable[..., Any], pipeline: Any) -> None:
    service = start()
    card = service.runtime.card("tiny")
    model = Hoarder(OpenSoraModel(pipeline, card), num_broken=1)
    service.runtime.load = lambda *_: model

    job = service.run("a red fox in a forest")

    assert model.num_held == [0, 0]  # of the job, and of the trial
    assert (job.status, job.error_code) == ("failed", "out_of_memory")


def test_a_trial_begins_with_the_memory_of_the_one_before(start: Callable[..., Any], pipeline: Any) -> None:
    service = start()
    model = Hoarder(OpenSoraModel(pipeline, service.runtime.card("tiny")), num_broken=2)
    service.runtime.load = lambda *_: model

    for _ in range(2):  # `wrong` is what a worker keeps until the next trial has ended
        wrong = fitness.tried(service.runtime, fitness.LOCAL)
        assert wrong is not None
    last = fitness.tried(service.runtime, fitness.LOCAL)

    assert last is None
    assert model.num_held == [0, 0, 0]
