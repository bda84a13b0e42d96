"""How long a job waits after a machine could not run it, and who may have it meanwhile.

The pause doubles with each fault. Other machines may take the job at once, until so many have failed at it that the
fault may be the job's own or common to them: then all machines wait.
"""

from datetime import timedelta

from sqlalchemy import ColumnElement, and_, func, or_

from db.models import Job

FAULT_PAUSE_S = 5.0  # from a machine's fault to the next attempt on that machine; doubles with each
EVERYBODY_WAITS = 3  # faults of machines after which every machine waits


def after(num_faults: int) -> timedelta:
    """Return the pause after this number of machine faults."""
    return timedelta(seconds=FAULT_PAUSE_S * 2 ** (num_faults - 1))


def may_take(owner: str) -> ColumnElement[bool]:
    """The condition that faults of machines do not keep this worker from a queued job."""
    is_early = and_(Job.num_faults < EVERYBODY_WAITS, ~Job.excluded.contains([owner]))
    return or_(Job.retry_at.is_(None), Job.retry_at <= func.clock_timestamp(), is_early)
