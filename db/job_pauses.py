"""How long a job waits after a machine could not run it, and who may have it meanwhile.

The pause doubles with each fault. Other machines may take the job at once, until so many have failed with it that the
fault may be its own, or theirs together: then everybody waits.
"""

from datetime import timedelta

from sqlalchemy import ColumnElement, and_, func, or_

from db.models import Job

FAULT_PAUSE_S = 5.0  # from a machine's fault to the next try on the same machine; doubles with each
EVERYBODY_WAITS = 3  # faults of machines after which every machine waits before the next try


def after(num_faults: int) -> timedelta:
    """Return the pause after so many faults of machines."""
    return timedelta(seconds=FAULT_PAUSE_S * 2 ** (num_faults - 1))


def may_take(owner: str) -> ColumnElement[bool]:
    """Say of a queued job whether this worker may have it, as far as faults of machines go."""
    is_early = and_(Job.num_faults < EVERYBODY_WAITS, ~Job.excluded.contains([owner]))
    return or_(Job.retry_at.is_(None), Job.retry_at <= func.clock_timestamp(), is_early)
