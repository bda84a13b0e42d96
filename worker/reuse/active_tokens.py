"""Computing only what differs: tokens that turn out like the donor's are led to its values and not computed.

The first forward is full and starts from the donor's noise (or in its own trajectory). Where it predicts the donor's
clean latent, nothing more is computed; everywhere else the run goes on, with the keys and values that the inactive
tokens had in the last full forward. A donor that shares nothing differs everywhere: then every token is active, and the
run is the plain one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Self

from worker.models.video_model import Computed
from worker.reuse.donor import CLEAN, Donor
from worker.reuse.way import Way, check_fraction

if TYPE_CHECKING:
    from torch import Tensor

TOGETHER = 2  # side, in latent cells, of the squares that are compared, whatever the network's token size


@dataclass(slots=True, kw_only=True)
class _Course:
    """The state of one run."""

    computed: Computed = field(default_factory=Computed)
    last_full: int | None = None  # step, 0-based
    is_plain: bool = False  # all tokens differ, and will to the end
    shares: list[float] = field(default_factory=list)  # of the cells that each step computed


@dataclass(frozen=True, slots=True, kw_only=True)
class ActiveTokens(Way):
    """Compute what differs from the first donor's latent by more than `threshold`, and its neighbours."""

    threshold: float = 0.3  # RMS difference of four cells, in standard deviations of the donor's latent
    refresh: int = 3  # all tokens are computed, and differences found again, every that many steps
    dilation: int = 0  # squares of four cells around an active one, in its frame, that are active too
    least: float = 0.05  # with a smaller share of active cells, all are computed: equal prompts must not copy a video
    course: _Course = field(default_factory=_Course, compare=False)  # set by `bind`

    def __post_init__(self) -> None:
        check_fraction("ActiveTokens.least", self.least)
        if self.refresh < 1:
            raise ValueError(f"ActiveTokens.refresh {self.refresh} is below 1; 1 computes all tokens at every step")
        if self.threshold < 0:
            raise ValueError(f"ActiveTokens.threshold {self.threshold} is below 0; 0 makes every token active")
        if self.dilation < 0:
            raise ValueError(f"ActiveTokens.dilation {self.dilation} is below 0; 0 adds no neighbours")

    def bind(self, donors: Sequence[Donor], timesteps: Sequence[float]) -> Self:
        """Return this way with its donors, for one run; raise KeyError for one without its clean latent."""
        donors[0].get(CLEAN)
        bound = super(ActiveTokens, self).bind(donors, timesteps)  # slots: the class is made twice
        return replace(bound, course=_Course())

    def computes(self, index: int) -> Computed | None:
        """Return what step `index` computes: all tokens now and then, otherwise the active ones."""
        course = self.course
        if course.is_plain:
            return None
        if course.last_full is None or index - course.last_full >= self.refresh or course.computed.active is None:
            course.last_full = index
            return replace(course.computed, active=None)  # keeps the same list of keys and values
        return course.computed

    def velocity(self, velocity: Tensor, latents: Tensor, index: int, timestep: float) -> Tensor:
        """Return the velocity, in which inactive tokens are led straight to the donor's result."""
        course, clean, t = self.course, self.donors[0].get(CLEAN).to(latents), timestep / 1000
        if course.is_plain:
            course.shares.append(1.0)
            return velocity
        if course.last_full == index:
            course.shares.append(1.0)
            self._note(self._differing(latents + t * velocity, clean))
        else:
            course.shares.append(float(_share(course.computed.active)))
        if course.is_plain or course.computed.active is None:
            return velocity
        return velocity.where(course.computed.active, (clean - latents) / t)

    def _note(self, differs: Tensor) -> None:
        course, before = self.course, self.course.computed.active
        if before is None and float(_share(differs)) <= self.least:
            differs = differs.new_ones(differs.shape)
        active = differs if before is None else before | differs
        course.computed.active, course.is_plain = active, bool(active.all())
        if course.is_plain:
            course.computed.kept.clear()

    @property
    def shares(self) -> Sequence[float]:
        """The share of cells that each step computed."""
        return self.course.shares

    def differing_share(self, velocity: Tensor, latents: Tensor, timestep: float) -> float:
        """Return the share of the cells whose predicted clean latent differs from the donor's."""
        clean = self.donors[0].get(CLEAN).to(latents)
        return float(_share(self._differing(latents + timestep / 1000 * velocity, clean)))

    def _differing(self, predicted: Tensor, clean: Tensor) -> Tensor:
        """Return which cells differ from the donor's, bool (T, H, W)."""
        difference = (predicted - clean).square().mean((0, 1))  # (T, H, W)
        frames, height, width = difference.shape
        padded = difference.new_zeros(frames, height + height % TOGETHER, width + width % TOGETHER)
        padded[:, :height, :width] = difference
        squares = padded.view(frames, padded.shape[1] // TOGETHER, TOGETHER, -1, TOGETHER).mean((2, 4))  # (T, h, w)
        active: Tensor = squares > (self.threshold * clean.std()) ** 2
        for _ in range(self.dilation):
            active = _grown(active)
        cells = active.repeat_interleave(TOGETHER, 1).repeat_interleave(TOGETHER, 2)
        return cells[:, :height, :width]


def _share(active: Tensor | None) -> Tensor | float:
    return 1.0 if active is None else active.float().mean()


def _grown(active: Tensor) -> Tensor:
    """Return a mask (T, h, w) extended by the eight neighbours in the same frame."""
    rows = active.clone()
    rows[:, 1:] |= active[:, :-1]
    rows[:, :-1] |= active[:, 1:]
    grown = rows.clone()
    grown[..., 1:] |= rows[..., :-1]
    grown[..., :-1] |= rows[..., 1:]
    return grown
