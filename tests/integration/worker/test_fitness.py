"""What a worker finds wrong with its surroundings before it takes a job."""

from collections.abc import Callable
from typing import Any

from sqlalchemy import text

from db.session import transaction
from worker import fitness


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
