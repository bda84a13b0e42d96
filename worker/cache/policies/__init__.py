"""Who goes when room is needed: eviction policies by name, and which entries are let in."""

from worker.cache.policies.admission import ADMISSIONS
from worker.cache.policies.coverage import Coverage
from worker.cache.policies.fifo import Fifo
from worker.cache.policies.gdsf import Gdsf
from worker.cache.policies.lcbfu import Lcbfu
from worker.cache.policies.lfu import Lfu
from worker.cache.policies.lru import Lru
from worker.cache.policies.none import Keep
from worker.cache.policies.policy import Policy, victims
from worker.cache.policies.random import Random
from worker.cache.policies.s3fifo import S3Fifo
from worker.cache.policies.sieve import Sieve

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
