"""What may be asked of a worker over the broker: to look at it, and to stop. All else would leave jobs lying.

Celery takes commands of whoever has the broker's password. A revoked task is dropped whenever it comes, and that of a
job comes under one name until it was begun; a queue that is left, a rate and a smaller pool hold what a worker has
taken, or is handed, for as long as it lives. What is to run, and when, is said to the service.
"""

from typing import Any

from celery.worker.control import Panel

CHANGES = (
    "add_consumer",
    "autoscale",
    "cancel_consumer",
    "election",
    "hello",  # brings what others have revoked
    "pool_grow",
    "pool_restart",
    "pool_shrink",
    "rate_limit",
    "revoke",
    "revoke_by_stamped_headers",
    "terminate",
    "time_limit",
)
WAY_OUT = (
    "refused: `chai cancel ID` takes a job back, CHAI_TIME_LIMIT_S limits its time, `chai worker --queues` names queues"
)


def refuse_changes() -> None:
    """Let this process answer those commands with what to do instead."""
    for name in CHANGES:
        Panel.data[name] = _refuse


def _refuse(_state: Any, **_: object) -> dict[str, str]:  # Any: Celery has no types
    return {"error": WAY_OUT}
