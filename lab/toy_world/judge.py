"""The checker as a judge of the quality monitor: what share of a prompt of the procedural world a clip shows."""

from dataclasses import dataclass

from lab.toy_world import checker
from lab.toy_world.caption_parser import spec_of
from lab.toy_world.world import NUM_FRAMES, SIDE
from worker.quality.judges import Frames, Judged


@dataclass(frozen=True, slots=True, kw_only=True)
class Checker:
    """The analytic checker of the small model's world."""

    name: str = "checker"
    tolerance: float | None = 0.02  # share of attributes

    def judge(self, prompt: str, fast: Frames, full: Frames) -> Judged | None:
        """Compare the shares of attributes that hold."""
        asked = spec_of(prompt)
        if asked is None or {fast.shape, full.shape} != {(NUM_FRAMES, SIDE, SIDE, 3)}:
            return None
        ours, theirs = (checker.check(clip, asked).accuracy for clip in (fast, full))
        return Judged(judge=self.name, loss=theirs - ours, fast_score=ours, full_score=theirs)
