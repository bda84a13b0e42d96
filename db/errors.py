"""What can go wrong between a caller and a row.

DatabaseError
├── LeaseLost          the attempt no longer owns its job: stop, write nothing
├── IllegalTransition  the state table has no such transition: a bug, or a request that came too late
├── NotFound           no such row for this tenant
├── InUse              the same key is in use by a request that has not ended
└── Conflict           the same key was used for something else
"""


class DatabaseError(Exception):
    """Base of everything this package raises on purpose."""


class LeaseLost(DatabaseError):
    """The lease expired, was released, or the job ended elsewhere."""


class IllegalTransition(DatabaseError):
    """A job or cache entry was asked for a transition that its state does not allow."""


class NotFound(DatabaseError):
    """No row with this id belongs to this tenant."""


class InUse(DatabaseError):
    """A request with the same idempotency key has not ended yet."""

    param = "Idempotency-Key"
    code = "idempotency_key_in_use"


class Conflict(DatabaseError):
    """An idempotency key or custom id came back with a different request; `param` says which of the two."""

    def __init__(self, message: str, *, param: str = "Idempotency-Key") -> None:
        super().__init__(message)
        self.param = param
        self.code = "custom_id_reused" if param == "custom_id" else "idempotency_key_reused"
