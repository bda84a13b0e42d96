"""Which remote-control commands a worker obeys: those that inspect it, and shutdown.

Whoever has the broker's password can send commands to Celery's workers, and several of them strand jobs. A revoked task
is dropped whenever its message comes, and all messages of a job share one name until it begins. A cancelled queue, a
rate limit or a smaller pool holds back what the worker has taken for as long as it lives. Jobs are stopped, and workers
configured, through the service instead.
"""

from typing import Any

from celery.worker.control import Panel

CHANGES = (
    "add_consumer",
    "autoscale",
    "cancel_consumer",
    "election",
    "hello",  # carries what other workers have revoked
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
    "refused: `chai cancel ID` stops a job, CHAI_TIME_LIMIT_S limits its time, `chai worker --queues` chooses queues"
)


def refuse_changes() -> None:
    """Make this process answer such commands with what to do instead."""
    for name in CHANGES:
        Panel.data[name] = _refuse


def _refuse(_state: Any, **_: object) -> dict[str, str]:  # Any: Celery has no types
    return {"error": WAY_OUT}
