"""A chaos run that is ended on the way leaves nothing behind."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from lab.chaos import run as chaos
from lab.chaos.run import Target


def test_a_run_that_is_ended_while_it_waits_ends_its_worker_beside_the_service(monkeypatch) -> None:
    done: list[str] = []
    link = SimpleNamespace(close=lambda: done.append("closed"))
    far = SimpleNamespace(start=lambda: done.append("started"), stop=lambda: done.append("stopped"), links=(link,))
    monkeypatch.setattr(chaos, "_far_worker", lambda _: far)
    monkeypatch.setattr(chaos.audit, "watch", lambda _: None)

    def told_to_end(_: str) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(chaos.audit, "num_fit_workers", told_to_end)
    target = Target(url="http://x", database_url="", redis_url="", storage=Path(), folder=Path(), pids=dict)

    with pytest.raises(KeyboardInterrupt):
        chaos.run(target, seed=1, duration_s=1.0, pause_s=1.0, say=done.append)

    assert done == ["started", "waiting for 2 workers", "stopped", "closed"]
