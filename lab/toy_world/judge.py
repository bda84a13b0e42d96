"""The checkers as a judge for the quality monitor: the share of a procedural world's prompt that a clip shows."""

from dataclasses import dataclass

from lab.toy_world.worlds import share_shown
from worker.quality.judges import Judged
from worker.quality.videos import Video


@dataclass(frozen=True, slots=True, kw_only=True)
class Checker:
    """The analytic checkers of both worlds; the shape of the clips tells the world."""

    name: str = "checker"
    tolerance: float | None = 0.02  # share of attributes
    ranks: bool = True

    def judge(self, prompt: str, fast: Video, full: Video) -> Judged | None:
        """Compare the shares of attributes that hold."""
        if fast.frames.shape != full.frames.shape:
            return None
        ours, theirs = (share_shown(prompt, clip.frames) for clip in (fast, full))
        if ours is None or theirs is None:
            return None
        return Judged(judge=self.name, loss=theirs - ours, fast_score=ours, full_score=theirs)
