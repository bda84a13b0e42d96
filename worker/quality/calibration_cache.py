"""The latent cache of a calibration: the service's look-up and codec over a folder of files, without a database."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

from db.jobs import Claim
from shared.generation import GenerationParams
from shared.model_cards import ModelCard
from worker.cache.decisions import planning
from worker.cache.decisions.match_settings import MatchSettings
from worker.cache.decisions.planning import Table
from worker.cache.latent_cache import CachePlan, Kept, Lent
from worker.models.video_model import Fingerprint
from worker.prompts.entities import Reads
from worker.quality.index import Found
from worker.reuse import codec
from worker.reuse.donor import CLEAN, Donor

if TYPE_CHECKING:
    from sqlalchemy.orm import Session


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationCache:
    """A `LatentCache` for one prompt of a list: every other prompt's run may lend to it."""

    found: Found  # what the look-up finds for the prompt among the others
    settings: MatchSettings  # that it was looked up under
    folder: Path  # of donors, one file per prompt
    fingerprint: str  # in the header of every file
    table: Table  # the recipes under test
    number: int  # of the prompt
    lends: Collection[str] = ()  # names of the latents that the recipe's own recorder would have kept

    def plan(
        self, claim: Claim, params: GenerationParams, card: ModelCard, model: Fingerprint, *, reads: Reads | None = None
    ) -> CachePlan:
        """Decide as the service does, among the other prompts of the list."""
        del card, model, reads  # it was looked up for them
        found = self.found
        plan = planning.decide(params.mode, found.extraction, found.neighbours, self.table, self.settings)
        donors = tuple(UUID(int=int(entry)) for entry in plan.donors)
        return CachePlan(plan=plan, table=self.table, extraction=found.extraction, donors=donors)

    def fetch(self, plan: CachePlan, shape: tuple[int, ...]) -> Lent:
        """Return the donors of a plan."""
        found, num_bytes = [], 0
        for donor in plan.donors:
            content = self.file(donor.int).read_bytes()
            num_bytes += len(content)
            known = {"sha256": sha256(content).hexdigest(), "fingerprint": self.fingerprint, "shape": shape}
            found.append(self._own(codec.unpack(content, **known)))  # type: ignore[arg-type]
        return Lent(donors=tuple(found), num_bytes=num_bytes)

    def put(self, claim: Claim, plan: CachePlan, donor: Donor, *, full_seconds: float) -> Kept | None:
        """Keep the latents of a run as the service keeps them."""
        del claim, plan, full_seconds
        packed = codec.pack(donor, fingerprint=self.fingerprint)
        written(self.file(self.number), packed.content)
        return Kept(entry_id=UUID(int=self.number), num_bytes=len(packed.content))

    def commit(self, session: "Session", claim: Claim, plan: CachePlan, kept: Kept | None) -> None:
        """Do nothing: the list of prompts is known beforehand."""

    def file(self, number: int) -> Path:
        """Return where a prompt's latents are."""
        return self.folder / f"{number:04}.safetensors"

    def _own(self, donor: Donor) -> Donor:
        names = {CLEAN, *self.lends}
        return replace(
            donor,
            tensors={name: tensor for name, tensor in donor.tensors.items() if name in names},
            timesteps={name: level for name, level in donor.timesteps.items() if name in names},
        )


def written(file: Path, content: bytes) -> None:
    """Write a file atomically: a kill leaves all of it or nothing."""
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(file.name + ".part")
    partial.write_bytes(content)
    partial.replace(file)
