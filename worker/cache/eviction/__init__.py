"""Eviction policies by name, and admission of entries.

The classes read a history: simulations and replays run them, and tests compare the service with them. The service
itself runs `db.eviction`, which reads an index instead of the history; only `coverage` (`worker.cache.room`) runs as it
is.
"""

from worker.cache.eviction.admission import ADMISSIONS
from worker.cache.eviction.coverage import Coverage
from worker.cache.eviction.fifo import Fifo
from worker.cache.eviction.gdsf import Gdsf
from worker.cache.eviction.lcbfu import Lcbfu
from worker.cache.eviction.lfu import Lfu
from worker.cache.eviction.lru import Lru
from worker.cache.eviction.none import Keep
from worker.cache.eviction.policy import Policy, victims
from worker.cache.eviction.random import Random
from worker.cache.eviction.s3fifo import S3Fifo
from worker.cache.eviction.sieve import Sieve

__all__ = ["ADMISSIONS", "POLICIES", "Policy", "victims"]

POLICIES: dict[str, type[Policy]] = {
    "none": Keep,
    "fifo": Fifo,
    "lru": Lru,
    "lfu": Lfu,
    "lcbfu": Lcbfu,
    "gdsf": Gdsf,
    "sieve": Sieve,
    "s3fifo": S3Fifo,
    "random": Random,
    "coverage": Coverage,
}
