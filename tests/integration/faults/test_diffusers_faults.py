"""A pipeline of diffusers in real workers that die in the middle of a bulk run."""

import json
from pathlib import Path
from uuid import UUID

import tiny_pipelines
from processes import LEASE_S, SWEEP_S, Process, Service, wait_until

STEPS = 100  # of 0.05 s: long enough to be hit in the middle


def write_model(folder: Path) -> None:
    """Add a pipeline as diffusers saves it, and its card, to the models of a service."""
    tiny_pipelines.save("wan", folder / "wan" / "pipeline")
    card = {"name": "wan", "title": "wan", "family": "diffusers", "source": "pipeline", "sizes": ["32x32"], "fps": 8}
    card |= {"frames": [5], "full_steps": STEPS, "fast_steps": 5, "guidance_scale": 5.0}
    (folder / "wan" / "chai.json").write_text(json.dumps(card))


def test_a_worker_killed_in_the_middle_of_a_bulk_run_costs_an_attempt_and_no_job(
    service: Service, relay: Process
) -> None:
    write_model(Path(service.env["CHAI_MODELS_DIR"]))
    workers = service.start_workers("first", "second")
    ids = service.submit("wan", number=4, num_frames=5, queue="bulk")  # at once, so any of them may be the first

    def running() -> list[UUID]:
        return [id_ for id_ in ids if service.running(id_, step=STEPS // 10)]

    wait_until(running, 120, service.folder)
    (killed, *_) = running()
    workers[service.holder(killed)].kill()

    wait_until(lambda: service.job(killed).attempt == 2, LEASE_S + 2 * SWEEP_S + 30, service.folder)
    service.wait_ended(ids, timeout_s=180)
    assert [service.job(id_).status for id_ in ids] == ["completed"] * 4
    assert service.outcomes(killed) == ["lost", "completed"]
    service.check()
