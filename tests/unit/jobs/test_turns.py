"""Who has the device, and how many jobs a process holds."""

import threading
import time
from uuid import uuid4

import pytest

from db.jobs import Claim
from db.models import Job
from worker.jobs.pipeline import AHEAD_S, MOST_HELD, Pipeline, Turn


def claim() -> Claim:
    return Claim(job=Job(id=uuid4()), fence=1, attempt=1, owner="w", queue_wait_s=0.0)


def in_thread(act: object) -> threading.Thread:
    thread = threading.Thread(target=act)
    thread.start()
    return thread


def test_one_job_at_a_time_has_the_device() -> None:
    pipeline = Pipeline()
    first, second = Turn(pipeline.device), Turn(pipeline.device)
    had: list[str] = []

    assert first.take()
    assert not first.take(), "it has it already"
    waits = in_thread(lambda: (second.take(), had.append("second"), second.free()))
    had.append("first")
    first.free()
    first.free()  # it has it no more
    waits.join(30)

    assert had == ["first", "second"]


def test_a_job_that_waits_for_the_device_hears_that_it_is_not_wanted() -> None:
    pipeline = Pipeline()
    first = Turn(pipeline.device)
    raised: list[BaseException] = []

    def refuse() -> None:
        raise RuntimeError("cancelled")

    def wait() -> None:
        with pytest.raises(RuntimeError) as error:
            Turn(pipeline.device, check=refuse).take()
        raised.append(error.value)

    first.take()
    in_thread(wait).join(30)

    assert [str(error) for error in raised] == ["cancelled"]


def test_a_job_hears_what_happened_to_the_machine_when_its_turn_comes() -> None:
    """And may give the device on, though it does not run."""
    pipeline, is_fit = Pipeline(), threading.Event()

    def check() -> None:
        if not is_fit.is_set():
            raise RuntimeError("unfit")

    turn = Turn(pipeline.device, check=check)
    with pytest.raises(RuntimeError, match="unfit"):
        turn.take()
    turn.free()

    in_thread(lambda: is_fit.set() if Turn(pipeline.device).take() else None).join(30)
    assert is_fit.is_set()


def test_the_next_job_is_looked_for_when_the_steps_are_nearly_over_and_there_is_a_place() -> None:
    pipeline, looked = Pipeline(), threading.Event()

    pipeline.look(looked.set, AHEAD_S * 2)
    assert not looked.wait(0.2)
    pipeline.look(looked.set, AHEAD_S / 2)
    assert looked.wait(30)


def test_a_third_job_is_not_looked_for() -> None:
    pipeline, looked = Pipeline(), threading.Event()
    for _ in range(MOST_HELD):
        pipeline.add(claim())

    pipeline.look(looked.set, 0.0)

    assert not looked.wait(0.2)


def test_the_end_of_a_job_begun_ahead_is_found_once_by_its_own_message() -> None:
    pipeline = Pipeline()
    ahead = claim()

    end = pipeline.begin(ahead)

    assert pipeline.find(uuid4(), 1) is None
    assert pipeline.find(ahead.job.id, 2) is None
    assert pipeline.find(ahead.job.id, 1) is end
    assert pipeline.find(ahead.job.id, 1) is None
    assert not pipeline.wait_empty(0)
    pipeline.remove(ahead)
    assert pipeline.wait_empty(30)


def test_two_texts_that_are_read_at_once_count_as_the_time_that_passed() -> None:
    """Two jobs that begin together both read before one has the device."""
    beside = Pipeline().beside
    first, second = beside.reading(), beside.reading()

    began = time.perf_counter()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    ended_first = beside.seconds(time.perf_counter())
    time.sleep(0.01)  # what the second reads alone
    second.__exit__(None, None, None)
    passed_s = time.perf_counter() - began

    assert ended_first + 0.01 <= beside.seconds(time.perf_counter()) <= passed_s
