"""The tables. Queries are in the modules beside this one, one per subject; states in `db.states`."""

from datetime import date, datetime
from typing import Any, ClassVar
from uuid import UUID

from pgvector.sqlalchemy import HALFVEC
from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Computed,
    DateTime,
    Float,
    ForeignKey,
    Identity,
    Index,
    Integer,
    MetaData,
    SmallInteger,
    Text,
    TextClause,
    UniqueConstraint,
    Uuid,
    func,
    literal_column,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, BIT, JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from db.states import BatchStatus, CheckStatus, EntryStatus, FileBatchStatus, JobStatus, Queue
from shared.generation import Mode

Json = dict[str, Any]  # Any: whatever JSON holds


class Base(DeclarativeBase):
    """Common naming of constraints, so that migrations can name what they drop."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        },
    )
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        datetime: DateTime(timezone=True),
        str: Text,
        Json: JSONB,
        UUID: Uuid,
        list[str]: ARRAY(Text),
    }


def _one_of(column: str, values: type[Any]) -> CheckConstraint:
    allowed = ", ".join(f"'{value}'" for value in values)
    return CheckConstraint(f"{column} IN ({allowed})", name=column)


def _backlog(more: str) -> TextClause:
    return text(f"status = 'queued' AND published_at IS NULL AND {more}")


_BY_AGE = ("priority", "created_at", "id")
_IN_RUN = "batch_id IS NOT NULL"
_HANDED = "status = 'queued' AND published_at IS NOT NULL"

_NOW = func.now()
_NEW_ID = text("gen_random_uuid()")
_EMPTY = text("'{}'::jsonb")
_FALSE = text("false")
_TRANSACTION = text("(pg_current_xact_id()::text)::bigint")


class Job(Base):
    """One prompt on its way to a video."""

    __tablename__ = "jobs"
    __table_args__ = (
        _one_of("status", JobStatus),
        _one_of("mode", Mode),
        _one_of("queue", Queue),
        CheckConstraint("priority BETWEEN 0 AND 9", name="priority"),
        CheckConstraint("progress BETWEEN 0 AND 100", name="progress"),
        CheckConstraint("(status = 'in_progress') = (lease_until IS NOT NULL)", name="lease"),
        CheckConstraint("(status = 'completed') = (output IS NOT NULL)", name="output"),
        UniqueConstraint("tenant", "idempotency_key"),
        UniqueConstraint("batch_id", "custom_id"),
        Index("ix_jobs_tenant_created", "tenant", "created_at", "id"),
        Index("ix_jobs_batch_status", "batch_id", "status"),
        Index("ix_jobs_line_key", "tenant", "line_key", postgresql_where=text("line_key IS NOT NULL")),
        Index("ix_jobs_lease", "lease_until", postgresql_where=text("status = 'in_progress'")),
        Index(
            "ix_jobs_cancel_at",
            "cancel_at",
            postgresql_where=text("cancel_at IS NOT NULL AND status IN ('queued', 'in_progress')"),
        ),
        Index("ix_jobs_waiting", "queue", "priority", "created_at", postgresql_where=text("status = 'queued'")),
        # Jobs that wait for the relay: of each run, of each tenant outside runs, and returned by workers.
        Index("ix_jobs_backlog_runs", "queue", "tenant", "batch_id", *_BY_AGE, postgresql_where=_backlog(_IN_RUN)),
        Index("ix_jobs_backlog_alone", "queue", "tenant", *_BY_AGE, postgresql_where=_backlog("batch_id IS NULL")),
        Index("ix_jobs_backlog_returned", "queue", *_BY_AGE, postgresql_where=_backlog("attempt > 0")),
        Index("ix_jobs_handed", "queue", "published_at", postgresql_where=text(_HANDED)),
        Index("ix_jobs_deleted", "deleted_at", postgresql_where=text("deleted_at IS NOT NULL")),
        Index("ix_jobs_changed", "changed"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=_NEW_ID)
    tenant: Mapped[str]
    group: Mapped[str | None]  # of the caller's key: whose latents it may share if the operator allows it
    prompt: Mapped[str]
    negative_prompt: Mapped[str | None]
    model: Mapped[str]
    width: Mapped[int]
    height: Mapped[int]
    num_frames: Mapped[int]
    fps: Mapped[int]
    seed: Mapped[int | None] = mapped_column(BigInteger)  # null: the worker chooses, possibly the donor's
    num_inference_steps: Mapped[int | None]  # null: as in the plan
    guidance_scale: Mapped[float | None]
    mode: Mapped[str] = mapped_column(server_default=Mode.AUTO)
    user_metadata: Mapped[Json] = mapped_column(server_default=_EMPTY)  # the caller's `metadata`
    request: Mapped[Json] = mapped_column(server_default=_EMPTY)  # size and seconds as the caller wrote them

    queue: Mapped[str] = mapped_column(server_default=Queue.INTERACTIVE)
    priority: Mapped[int] = mapped_column(SmallInteger, server_default="5")  # 0 is first, 9 is last
    batch_id: Mapped[UUID | None] = mapped_column(ForeignKey("batches.id"))
    custom_id: Mapped[str | None]  # the caller's name for this line, unique in its run
    line: Mapped[str | None]  # position in the list of its run: 12, or cats.txt:12
    line_key: Mapped[str | None]  # hash of what the line asks for, without its name
    webhook_url: Mapped[str | None]  # notified when it ends
    idempotency_key: Mapped[str | None]
    request_hash: Mapped[str | None]  # of the body sent with `idempotency_key`
    traceparent: Mapped[str | None]  # span of the request, if tracing is on

    status: Mapped[str] = mapped_column(server_default=JobStatus.QUEUED)
    attempt: Mapped[int] = mapped_column(server_default="0")  # claims so far
    num_lost: Mapped[int] = mapped_column(server_default="0")  # expired leases and broken attempts; limited
    num_faults: Mapped[int] = mapped_column(server_default="0")  # attempts broken by a machine's fault; not lost
    excluded: Mapped[list[str]] = mapped_column(server_default=text("'{}'"))  # workers on which those attempts ran
    retry_at: Mapped[datetime | None]  # until then, `excluded` workers do not take it; after a few faults, none does
    fence: Mapped[int] = mapped_column(BigInteger, server_default="0")  # rises with every claim, release and expiry
    lease_owner: Mapped[str | None]
    lease_until: Mapped[datetime | None]  # on the database clock
    cancel_requested: Mapped[bool] = mapped_column(server_default=text("false"))
    cancel_at: Mapped[datetime | None]  # when it is cancelled unless it has ended (`Cancel-After`)
    progress: Mapped[int] = mapped_column(SmallInteger, server_default="0")  # per cent
    step: Mapped[int | None]
    num_steps: Mapped[int | None]
    path: Mapped[str | None]  # full or fast, once decided
    receipt: Mapped[Json] = mapped_column(server_default=_EMPTY)  # why this path, and what it saved; `cache` in the API
    output: Mapped[Json | None]  # {name, bytes, sha256, …} of the published video
    error_code: Mapped[str | None]
    error_message: Mapped[str | None]

    created_at: Mapped[datetime] = mapped_column(server_default=_NOW)
    queued_at: Mapped[datetime | None]  # last time a worker gave it back; null: waiting since it was accepted
    published_at: Mapped[datetime | None]  # when it was last handed to the broker; null: waiting for the relay
    claimed_at: Mapped[datetime | None]  # start of the latest attempt
    finished_at: Mapped[datetime | None]
    expires_at: Mapped[datetime | None]  # when the output may be removed
    deleted_at: Mapped[datetime | None]  # when the tenant deleted it, which hides it; purged once ended
    # number of the transaction that last wrote the row; `db.changes` reads by it
    changed: Mapped[int] = mapped_column(BigInteger, server_default=_TRANSACTION, onupdate=_TRANSACTION)


class RemovedRow(Base):
    """Position of a removed job, file or run in lists, so that paging continues after it."""

    __tablename__ = "removed_jobs"
    __table_args__ = (Index("ix_removed_jobs_removed", "removed_at"),)

    id: Mapped[UUID] = mapped_column(primary_key=True)
    tenant: Mapped[str]
    created_at: Mapped[datetime]  # of the job, file or run
    removed_at: Mapped[datetime] = mapped_column(server_default=_NOW)


class RetriedJob(Base):
    """A job that a retry replaced: its id leads to the job that now makes the line."""

    __tablename__ = "retried_jobs"
    __table_args__ = (Index("ix_retried_jobs_job", "job_id"),)

    id: Mapped[UUID] = mapped_column(primary_key=True)  # of the removed job
    tenant: Mapped[str]
    job_id: Mapped[UUID] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"))


class Batch(Base):
    """One bulk run."""

    __tablename__ = "batches"
    __table_args__ = (
        _one_of("status", BatchStatus),
        UniqueConstraint("tenant", "manifest_key"),
        Index("ix_batches_series", "tenant", "series", postgresql_where=text("series IS NOT NULL")),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=_NEW_ID)
    tenant: Mapped[str]
    name: Mapped[str]
    manifest_key: Mapped[str]  # the same list finds the same run
    series: Mapped[str | None]  # runs of one series make a line once; null: every line is made
    run_window: Mapped[Json | None]  # {start, end, tz, at_end}; null: any time
    is_held: Mapped[bool] = mapped_column(server_default=text("false"))  # no line starts: paused, or outside the window
    num_bad_lines: Mapped[int] = mapped_column(server_default="0")
    forecast: Mapped[Json | None]  # {order, num_fast, ...} as estimated by its sender
    status: Mapped[str] = mapped_column(server_default=BatchStatus.OPEN)
    created_at: Mapped[datetime] = mapped_column(server_default=_NOW)
    sealed_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]


class ReusedLine(Base):
    """A line of a run whose video comes from an earlier run of its series."""

    __tablename__ = "reused_lines"
    __table_args__ = (UniqueConstraint("batch_id", "job_id"), Index("ix_reused_lines_job", "job_id"))

    batch_id: Mapped[UUID] = mapped_column(ForeignKey("batches.id", ondelete="CASCADE"), primary_key=True)
    custom_id: Mapped[str] = mapped_column(primary_key=True)  # in this run
    job_id: Mapped[UUID] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"))  # the job of the earlier run
    line: Mapped[str | None]  # position in this run's list
    request_hash: Mapped[str]  # of this run's request, so that a line sent twice counts once


class File(Base):
    """A file of a tenant: the requests of a batch, or its results."""

    __tablename__ = "files"
    __table_args__ = (
        CheckConstraint("purpose IN ('batch', 'batch_output')", name="purpose"),
        UniqueConstraint("tenant", "idempotency_key"),
        Index("ix_files_tenant_created", "tenant", "created_at", "id"),
        Index("ix_files_expires", "expires_at"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=_NEW_ID)
    tenant: Mapped[str]
    purpose: Mapped[str]
    filename: Mapped[str]  # as the caller named it; never used as a path
    name: Mapped[str] = mapped_column(unique=True)  # in the storage, chosen by the server
    num_bytes: Mapped[int] = mapped_column(BigInteger)
    num_lines: Mapped[int]  # non-empty lines
    created_at: Mapped[datetime] = mapped_column(server_default=_NOW)
    expires_at: Mapped[datetime]  # from then on the API does not know it; removed soon after
    idempotency_key: Mapped[str | None]
    request_hash: Mapped[str | None]


class FileBatch(Base):
    """A batch: a bulk run whose lines come from a file."""

    __tablename__ = "file_batches"
    __table_args__ = (
        _one_of("status", FileBatchStatus),
        Index("ix_file_batches_tenant_created", "tenant", "created_at", "id"),
        Index(
            "ix_file_batches_open",
            "created_at",
            postgresql_where=text("status IN ('validating', 'in_progress', 'finalizing', 'cancelling')"),
        ),
    )

    id: Mapped[UUID] = mapped_column(ForeignKey("batches.id", ondelete="CASCADE"), primary_key=True)  # of its run
    tenant: Mapped[str]
    group: Mapped[str | None]  # of the caller's key
    input_file_id: Mapped[UUID]  # no foreign key: a batch outlives its files
    user_metadata: Mapped[Json] = mapped_column(server_default=_EMPTY)
    output_life_s: Mapped[int]  # how long the files of its results are kept
    status: Mapped[str] = mapped_column(server_default=FileBatchStatus.VALIDATING)
    ends_as: Mapped[str | None]  # expired or cancelled, once that is certain
    errors: Mapped[Json | None]  # why it failed
    num_lines: Mapped[int]  # lines of the file
    offset: Mapped[int] = mapped_column(BigInteger, server_default="0")  # bytes read
    line: Mapped[int] = mapped_column(server_default="0")  # lines read, including empty ones
    num_completed: Mapped[int | None]  # completed lines, set at the end
    output_file_id: Mapped[UUID | None]
    error_file_id: Mapped[UUID | None]
    created_at: Mapped[datetime] = mapped_column(server_default=_NOW)
    expires_at: Mapped[datetime]  # when what has not ended is cancelled
    in_progress_at: Mapped[datetime | None]
    finalizing_at: Mapped[datetime | None]
    completed_at: Mapped[datetime | None]
    failed_at: Mapped[datetime | None]
    expired_at: Mapped[datetime | None]
    cancelling_at: Mapped[datetime | None]
    cancelled_at: Mapped[datetime | None]


class RefusedLine(Base):
    """A line of a file that is not a valid request, and why."""

    __tablename__ = "refused_lines"

    batch_id: Mapped[UUID] = mapped_column(ForeignKey("file_batches.id", ondelete="CASCADE"), primary_key=True)
    line: Mapped[int] = mapped_column(primary_key=True)  # from 1
    custom_id: Mapped[str | None]  # if it could be read
    error: Mapped[Json]  # message, type, param and code


class WaitingCheck(Base):
    """A check of the monitor that waits for the broker. Jobs have no rows here: they are their own outbox."""

    __tablename__ = "outbox"

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    job_id: Mapped[UUID] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), index=True)
    queue: Mapped[str]
    priority: Mapped[int] = mapped_column(SmallInteger)
    created_at: Mapped[datetime] = mapped_column(server_default=_NOW)


class Namespace(Base):
    """A set of latents that can be shared: everything that shapes them, and who may use them."""

    __tablename__ = "namespaces"
    __table_args__ = (
        CheckConstraint("bytes_used >= 0 AND bytes_used <= byte_budget", name="budget"),
        CheckConstraint("scope IN ('tenant', 'group', 'shared')", name="scope"),
        CheckConstraint("tenant_share > 0 AND tenant_share <= 1", name="tenant_share"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=_NEW_ID)
    fingerprint: Mapped[str] = mapped_column(unique=True)  # sha256 of `identity`
    identity: Mapped[Json]  # model + revision, VAE, schedule, size, frames, dtype, embedder, scope, owner
    scope: Mapped[str]
    owner: Mapped[str]  # the tenant, the group's name, or 'all'
    dims: Mapped[int]  # length of the embedder's vectors
    byte_budget: Mapped[int] = mapped_column(BigInteger)
    bytes_used: Mapped[int] = mapped_column(BigInteger, server_default="0")  # the ledger: reserved and resident bytes
    num_entities: Mapped[int] = mapped_column(server_default="0")  # findable now; chooses exact or indexed search
    policy: Mapped[str] = mapped_column(server_default="lru")
    eviction_age: Mapped[float] = mapped_column(Float, server_default="0")  # gdsf: the highest priority evicted so far
    sieve_round: Mapped[int] = mapped_column(server_default="0")  # sieve: how often the hand has gone round
    sieve_at: Mapped[datetime | None]  # sieve: position of the hand in the queue, after the last evicted entry
    sieve_id: Mapped[UUID | None]
    queues: Mapped[Json] = mapped_column(server_default=_EMPTY)  # s3fifo: bytes and places
    tenant_share: Mapped[float | None] = mapped_column(Float)  # share of the budget that one tenant may use; null: all
    admission: Mapped[str] = mapped_column(server_default="all")
    settings: Mapped[Json] = mapped_column(server_default=_EMPTY)  # thresholds and what an entry keeps
    created_at: Mapped[datetime] = mapped_column(server_default=_NOW)


EVICTION_ORDERS = {  # policy → columns of an entry, the first to go first; see db/eviction.py
    "fifo": ("published_at", "id"),
    "lru": ("last_used", "id"),
    "lfu": ("hits", "last_used", "id"),
    "lcbfu": ("use", "last_used", "id"),
    "gdsf": ("priority", "last_used", "id"),
    "sieve": ("sieve_round", "published_at", "id"),
    "s3fifo": ("queue", "queue_place"),
    "random": ("lot",),
}


class CacheEntry(Base):
    """The stored latents of one run: a file of named tensors."""

    __tablename__ = "cache_entries"
    __table_args__ = (
        _one_of("status", EntryStatus),
        CheckConstraint("num_bytes > 0", name="num_bytes"),
        UniqueConstraint("donor_job_id", "donor_fence"),
        Index("ix_cache_entries_namespace_status", "namespace_id", "status"),
        Index(
            "ix_cache_entries_tenant",
            "namespace_id",
            "tenant",
            postgresql_include=["num_bytes"],
            postgresql_where=text("status <> 'gone'"),
        ),
        # The order of eviction, by policy.
        *(
            Index(
                f"ix_cache_entries_{policy}",
                "namespace_id",
                *columns,
                postgresql_where=text("status = 'resident'"),
            )
            for policy, columns in EVICTION_ORDERS.items()
        ),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=_NEW_ID)
    namespace_id: Mapped[UUID] = mapped_column(ForeignKey("namespaces.id"))
    tenant: Mapped[str]  # tenant of the donor job; receipts name only a tenant's own donors
    donor_job_id: Mapped[UUID] = mapped_column(index=True)  # no foreign key: the entry may outlive the job
    donor_fence: Mapped[int] = mapped_column(BigInteger)
    prompt: Mapped[str]
    name: Mapped[str] = mapped_column(unique=True)  # name of the file, chosen by the server
    num_bytes: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str | None]  # set once the file is written
    schema_version: Mapped[int]
    tensors: Mapped[Json]  # name → {shape, dtype, timestep}
    seed: Mapped[int] = mapped_column(BigInteger)  # of the initial noise
    chain: Mapped[int] = mapped_column(SmallInteger, server_default="0")  # fast runs between this one and a full run
    written_for: Mapped[str | None]  # fingerprint in its file if not its namespace's: that of another embedder
    full_seconds: Mapped[float] = mapped_column(Float)  # seconds of the full run
    status: Mapped[str] = mapped_column(server_default=EntryStatus.WRITING)
    reason: Mapped[str | None]  # why it was evicted or quarantined
    created_at: Mapped[datetime] = mapped_column(server_default=_NOW)
    ended_at: Mapped[datetime | None]  # when it stopped serving
    # What eviction orders by; kept for every policy, so that another may take over at any time.
    published_at: Mapped[datetime | None]  # when it became resident
    last_used: Mapped[datetime | None]  # when it last lent, or else became resident
    hits: Mapped[int] = mapped_column(server_default="0")
    seconds_saved: Mapped[float] = mapped_column(Float, server_default="0")  # GPU seconds saved per hit
    use: Mapped[float] = mapped_column(Float, server_default="0")  # lcbfu: (hits + 1) x seconds_saved
    priority: Mapped[float] = mapped_column(Float, server_default="0")  # gdsf: the lowest is evicted first
    sieve_round: Mapped[int] = mapped_column(server_default="0")  # sieve: round in which the hand takes the entry
    queue: Mapped[int] = mapped_column(SmallInteger, server_default="0")  # s3fifo: 0 small, 1 main
    queue_uses: Mapped[int] = mapped_column(SmallInteger, server_default="0")  # s3fifo: uses, up to 3
    queue_place: Mapped[int] = mapped_column(BigInteger, server_default="0")  # s3fifo: position in the queue
    lot: Mapped[UUID] = mapped_column(Computed("md5(id::text)::uuid", persisted=True))  # order of the policy `random`


class CacheEntity(Base):
    """One entity of an entry; or, without an entry, the vector that all entities of a namespace with this text share.

    Only rows that are not copies are found by their vector. Such a row with an entry is both: an operator loaded it.
    """

    __tablename__ = "cache_entities"
    __table_args__ = (
        Index("ix_cache_entities_entry", "entry_id"),
        Index("ix_cache_entities_vector", "namespace_id", "text", postgresql_where=text("NOT is_copy")),
        Index(
            "ix_cache_entities_code",
            "namespace_id",
            postgresql_include=["id", "code"],
            postgresql_where=text("NOT is_copy"),
        ),
        Index("ix_cache_entities_text", "namespace_id", "text", "id"),
        # One HNSW index for each vector size in use; a look-up names the same expression and predicate.
        *(
            Index(
                f"ix_cache_entities_hnsw_{dims}",
                literal_column(f"(embedding::halfvec({dims}))").label("embedding"),
                postgresql_ops={"embedding": "halfvec_cosine_ops"},
                postgresql_using="hnsw",
                postgresql_where=text(f"dims = {dims} AND NOT is_copy"),
            )
            for dims in (384, 512, 768)
        ),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    entry_id: Mapped[UUID | None] = mapped_column(ForeignKey("cache_entries.id", ondelete="CASCADE"))
    namespace_id: Mapped[UUID] = mapped_column(ForeignKey("namespaces.id"))  # repeated here: the look-up filters on it
    text: Mapped[str]
    head: Mapped[str]
    attributes: Mapped[list[str]]
    kind: Mapped[str]  # object, scene or prompt; vector: not an entity
    dims: Mapped[int] = mapped_column(Integer)
    embedding: Mapped[list[float] | None] = mapped_column(HALFVEC())  # of unit length
    code: Mapped[str | None] = mapped_column(  # the signs of `embedding`: what is far by them is far
        BIT(varying=True), Computed("binary_quantize(embedding)", persisted=True)
    )
    is_copy: Mapped[bool] = mapped_column(server_default=_FALSE)  # the vector of this text is in another row


class Ghost(Base):
    """An entity of an entry that s3fifo evicted recently."""

    __tablename__ = "cache_ghosts"
    __table_args__ = (Index("ix_cache_ghosts_place", "namespace_id", "place"),)

    namespace_id: Mapped[UUID] = mapped_column(ForeignKey("namespaces.id"), primary_key=True)
    text: Mapped[str] = mapped_column(primary_key=True)
    place: Mapped[int] = mapped_column(BigInteger, primary_key=True)  # rises with every entry


class Pin(Base):
    """An entry in use by a running attempt, which protects it from eviction."""

    __tablename__ = "cache_pins"

    entry_id: Mapped[UUID] = mapped_column(ForeignKey("cache_entries.id", ondelete="CASCADE"), primary_key=True)
    job_id: Mapped[UUID] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    fence: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    created_at: Mapped[datetime] = mapped_column(server_default=_NOW)


class Lookup(Base):
    """One decision of the cache, with everything needed to replay it."""

    __tablename__ = "lookups"
    __table_args__ = (UniqueConstraint("job_id", "fence"), Index("ix_lookups_namespace", "namespace_id", "id"))

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    job_id: Mapped[UUID] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"))
    fence: Mapped[int] = mapped_column(BigInteger)
    attempt: Mapped[int]
    namespace_id: Mapped[UUID] = mapped_column(ForeignKey("namespaces.id"))
    entities: Mapped[list[Any]] = mapped_column(JSONB)  # entities of the prompt
    neighbours: Mapped[Any] = mapped_column(JSONB)  # nearest stored entities, packed; in older rows a list
    settings: Mapped[Json]  # thresholds and plans in force
    plan: Mapped[Json]
    reason: Mapped[str]
    occupancy: Mapped[Json]  # entities, bytes and budget at the time
    timings: Mapped[Json]  # seconds: extract, embed, search, decide
    created_at: Mapped[datetime] = mapped_column(server_default=_NOW)


class CacheEvent(Base):
    """An event of an entry; append-only, in order of `id`."""

    __tablename__ = "cache_events"
    __table_args__ = (
        CheckConstraint("kind IN ('insert', 'hit', 'evict', 'quarantine', 'refuse')", name="kind"),
        Index("ix_cache_events_namespace", "namespace_id", "id"),
        Index("ix_cache_events_entry", "entry_id"),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    namespace_id: Mapped[UUID] = mapped_column(ForeignKey("namespaces.id"))
    entry_id: Mapped[UUID | None]
    job_id: Mapped[UUID | None]
    fence: Mapped[int | None] = mapped_column(BigInteger)
    kind: Mapped[str]
    num_bytes: Mapped[int] = mapped_column(BigInteger)
    policy: Mapped[str | None]
    detail: Mapped[Json] = mapped_column(server_default=_EMPTY)  # what the policy received
    created_at: Mapped[datetime] = mapped_column(server_default=_NOW)


class Veto(Base):
    """A match that an operator marked as wrong; see `db.vetoes`."""

    __tablename__ = "vetoes"
    __table_args__ = (UniqueConstraint("job_id", "text", "entry_id"), Index("ix_vetoes_pair", "namespace_id", "text"))

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    job_id: Mapped[UUID]  # job of the match; no foreign key: the verdict outlives it
    namespace_id: Mapped[UUID] = mapped_column(ForeignKey("namespaces.id"))
    text: Mapped[str]  # text of the prompt's entity
    donor_text: Mapped[str]  # text of the stored entity
    entry_id: Mapped[UUID]  # entry of the stored entity
    created_at: Mapped[datetime] = mapped_column(server_default=_NOW)


class CacheDay(Base):
    """Sums of one day (UTC) of a namespace; kept when the rows that they sum up are deleted."""

    __tablename__ = "cache_days"

    day: Mapped[date] = mapped_column(primary_key=True)  # day that has ended
    namespace_id: Mapped[UUID] = mapped_column(ForeignKey("namespaces.id"), primary_key=True)
    decisions: Mapped[int] = mapped_column(BigInteger)  # decisions taken
    hits: Mapped[int] = mapped_column(BigInteger)  # decisions that chose a donor
    steps_saved: Mapped[int] = mapped_column(BigInteger)  # by donors in completed videos, against full mode
    inserts: Mapped[int] = mapped_column(BigInteger)  # entries made resident, or moved here from another embedder
    evictions: Mapped[int] = mapped_column(BigInteger)  # entries evicted, purged, or moved to another embedder
    refusals: Mapped[int] = mapped_column(BigInteger)  # entries that were refused
    videos: Mapped[int] = mapped_column(BigInteger)  # completed videos
    bytes_read: Mapped[int] = mapped_column(BigInteger)  # bytes of donors
    bytes_written: Mapped[int] = mapped_column(BigInteger)  # bytes of new entries
    by_reason: Mapped[Json]  # decisions by reason
    gpu_seconds: Mapped[float] = mapped_column(Float)  # GPU seconds of completed attempts
    seconds_saved: Mapped[float] = mapped_column(Float)  # GPU seconds saved, against measured full runs


class PlanRow(Base):
    """The plan that calibration found for one kind of hit."""

    __tablename__ = "plans"
    __table_args__ = (UniqueConstraint("namespace_key", "kind"),)

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=_NEW_ID)
    namespace_key: Mapped[str]  # fingerprint of a namespace's `identity` without scope and owner
    kind: Mapped[str]  # none, scene, object, both
    plan: Mapped[Json]  # steps, schedule, reuse, thresholds
    quality: Mapped[Json]  # measured, with intervals, against full mode
    cost: Mapped[Json]  # model evaluations and seconds
    created_at: Mapped[datetime] = mapped_column(server_default=_NOW)


class JobMetric(Base):
    """Measurements of one attempt."""

    __tablename__ = "job_metrics"
    __table_args__ = (
        UniqueConstraint("job_id", "attempt"),
        Index("ix_job_metrics_namespace", "namespace_id", "path", "id"),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    job_id: Mapped[UUID]  # no foreign key: the row outlives a deleted job and holds nothing of its prompt
    attempt: Mapped[int]
    fence: Mapped[int] = mapped_column(BigInteger)
    tenant: Mapped[str]
    namespace_id: Mapped[UUID | None] = mapped_column(ForeignKey("namespaces.id"))
    outcome: Mapped[str]  # completed, failed, cancelled, released, lost
    path: Mapped[str | None]
    reason: Mapped[str | None]
    entry_id: Mapped[UUID | None]  # the donor
    num_steps: Mapped[int | None]
    model_evaluations: Mapped[float | None] = mapped_column(Float)  # an unguided step counts as half
    queue_wait_s: Mapped[float | None] = mapped_column(Float)
    stage_s: Mapped[Json] = mapped_column(server_default=_EMPTY)  # seconds by stage
    gpu_seconds: Mapped[float | None] = mapped_column(Float)  # encode + denoise + decode
    seconds_saved: Mapped[float | None] = mapped_column(Float)  # against measured full runs of the namespace
    bytes_read: Mapped[int | None] = mapped_column(BigInteger)
    bytes_written: Mapped[int | None] = mapped_column(BigInteger)
    peak_memory: Mapped[int | None] = mapped_column(BigInteger)  # bytes
    wrong_match: Mapped[bool] = mapped_column(server_default=_FALSE)  # an operator's verdict on the donor
    versions: Mapped[Json] = mapped_column(server_default=_EMPTY)
    worker: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(server_default=_NOW)


class QualityCheck(Base):
    """A check of the monitor: a job made a second time, and what the donor cost in quality."""

    __tablename__ = "quality_checks"
    __table_args__ = (
        _one_of("status", CheckStatus),
        CheckConstraint("(status = 'done') = (loss IS NOT NULL)", name="loss"),
        Index("ix_quality_checks_case", "namespace_key", "kind", "id"),
        Index("ix_quality_checks_open", "status", postgresql_where=text("status IN ('waiting', 'running')")),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    job_id: Mapped[UUID] = mapped_column(unique=True)  # no foreign key: the row outlives a deleted job
    namespace_id: Mapped[UUID] = mapped_column(ForeignKey("namespaces.id"))
    namespace_key: Mapped[str]  # key of its plans
    kind: Mapped[str]  # kind of the hit
    similarity: Mapped[float] = mapped_column(Float)  # similarity of the hit
    is_refused: Mapped[bool]  # the hit was refused as too weak; the check runs it with the donor
    status: Mapped[str] = mapped_column(server_default=CheckStatus.WAITING)
    owner: Mapped[str | None]  # the worker that runs it
    num_starts: Mapped[int] = mapped_column(SmallInteger, server_default="0")
    judge: Mapped[str | None]
    fast_score: Mapped[float | None] = mapped_column(Float)  # score of the run with the donor; a distance has no scores
    full_score: Mapped[float | None] = mapped_column(Float)
    loss: Mapped[float | None] = mapped_column(Float)
    seconds: Mapped[float] = mapped_column(Float, server_default="0")  # additional GPU seconds of the check
    reason: Mapped[str | None]  # why the check was lost
    created_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    started_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]


class ApiKey(Base):
    """An API key, hashed, and what it may do."""

    __tablename__ = "api_keys"

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=_NEW_ID)
    prefix: Mapped[str] = mapped_column(unique=True)  # beginning of the key, shown in lists; used to find the row
    hash: Mapped[str]  # SHA-256 of the whole key, hex
    tenant: Mapped[str]
    group: Mapped[str | None]  # group whose namespaces it may share
    scopes: Mapped[list[str]]
    limits: Mapped[Json] = mapped_column(server_default=_EMPTY)
    minute_left: Mapped[float | None]  # what was left of `max_per_minute` after its last video
    minute_at: Mapped[datetime | None]  # when it made its last video
    created_at: Mapped[datetime] = mapped_column(server_default=_NOW)
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]


class Webhook(Base):
    """An address that is notified about a tenant's videos."""

    __tablename__ = "webhooks"
    __table_args__ = (UniqueConstraint("tenant", "idempotency_key"),)

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=_NEW_ID)
    tenant: Mapped[str] = mapped_column(index=True)
    key: Mapped[str | None]  # prefix of the API key that registered it; notifications stop when that key ends
    url: Mapped[str]
    events: Mapped[list[str]]
    created_at: Mapped[datetime] = mapped_column(server_default=_NOW)
    idempotency_key: Mapped[str | None]
    request_hash: Mapped[str | None]


class WebhookSecret(Base):
    """The secret that signs a tenant's notifications."""

    __tablename__ = "webhook_secrets"

    tenant: Mapped[str] = mapped_column(primary_key=True)
    secret: Mapped[str]  # in plain text: a hash could not sign
    previous: Mapped[str | None]
    previous_until: Mapped[datetime | None]  # until then, the previous secret signs too


class WebhookCursor(Base):
    """How far ended videos have been notified; one row."""

    __tablename__ = "webhook_cursor"

    id: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    horizon: Mapped[int] = mapped_column(BigInteger)


class Delivery(Base):
    """A notification, delivered or not."""

    __tablename__ = "webhook_deliveries"
    __table_args__ = (
        UniqueConstraint("key", "url"),
        Index("ix_webhook_deliveries_due", "due_at", postgresql_where=text("due_at IS NOT NULL")),
        Index("ix_webhook_deliveries_webhook", "webhook_id", "tried_at"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=_NEW_ID)
    key: Mapped[str]  # of the event; each address is notified of it at least once
    tenant: Mapped[str]
    webhook_id: Mapped[UUID | None] = mapped_column(ForeignKey("webhooks.id", ondelete="CASCADE"))  # null: a job's own
    url: Mapped[str]
    payload: Mapped[Json]
    attempt: Mapped[int] = mapped_column(server_default="0")
    due_at: Mapped[datetime | None] = mapped_column(server_default=_NOW)  # next attempt; null: no more
    created_at: Mapped[datetime] = mapped_column(server_default=_NOW)
    tried_at: Mapped[datetime | None]
    delivered_at: Mapped[datetime | None]
    status: Mapped[int | None]  # HTTP status of the last answer
    error: Mapped[str | None]  # why the last attempt failed


class ServiceId(Base):
    """The id of something that a service has one of, such as its storage."""

    __tablename__ = "service_ids"

    name: Mapped[str] = mapped_column(primary_key=True)
    id: Mapped[UUID]
    created_at: Mapped[datetime] = mapped_column(server_default=_NOW)


class Question(Base):
    """A question to the cache, kept for seconds; see `db.questions`."""

    __tablename__ = "questions"
    __table_args__ = ({"prefixes": ["UNLOGGED"]},)

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    tenant: Mapped[str]
    group: Mapped[str | None]
    asked: Mapped[Json]  # the parameters of a job
    answer: Mapped[Json | None]
    created_at: Mapped[datetime] = mapped_column(server_default=_NOW)


class Preview(Base):
    """Preview of a running attempt; see `db.previews`. Unlogged: lost in a crash and made again."""

    __tablename__ = "previews"
    __table_args__ = ({"prefixes": ["UNLOGGED"]},)

    job_id: Mapped[UUID] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    fence: Mapped[int] = mapped_column(BigInteger)
    content: Mapped[bytes]  # JPEG
    created_at: Mapped[datetime] = mapped_column(server_default=_NOW)


class Heartbeat(Base):
    """The latest sign of life of a part of the service."""

    __tablename__ = "heartbeats"

    name: Mapped[str] = mapped_column(primary_key=True)  # relay:NAME, worker:NAME, api
    seen_at: Mapped[datetime] = mapped_column(server_default=_NOW)  # on the database clock
    detail: Mapped[Json] = mapped_column(server_default=_EMPTY)  # what the part reports about itself
