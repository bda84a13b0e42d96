"""The checkers as a judge of the quality monitor: what share of a prompt of a procedural world a clip shows."""

from dataclasses import dataclass

from lab.toy_world import caption_parser, checker, world
from lab.toy_world.rich import caption_parser as rich_parser
from lab.toy_world.rich import checker as rich_checker
from lab.toy_world.rich import world as rich_world
from worker.quality.judges import Judged
from worker.quality.nearness import Frames
from worker.quality.videos import Video

_SMALL = (world.NUM_FRAMES, world.SIDE, world.SIDE, 3)
_RICH = (rich_world.NUM_FRAMES, rich_world.SIDE, rich_world.SIDE, 3)


@dataclass(frozen=True, slots=True, kw_only=True)
class Checker:
    """The analytic checkers of both worlds; the shape of the clips says which world is meant."""

    name: str = "checker"
    tolerance: float | None = 0.02  # share of attributes
    ranks: bool = True

    def judge(self, prompt: str, fast: Video, full: Video) -> Judged | None:
        """Compare the shares of attributes that hold."""
        if fast.frames.shape != full.frames.shape:
            return None
        ours, theirs = (_share(prompt, clip.frames) for clip in (fast, full))
        if ours is None or theirs is None:
            return None
        return Judged(judge=self.name, loss=theirs - ours, fast_score=ours, full_score=theirs)


def _share(prompt: str, clip: Frames) -> float | None:
    """The share of what a prompt asks for that a clip shows; None for the prompt or the clip of no world."""
    if clip.shape == _SMALL and (asked := caption_parser.spec_of(prompt)):
        return checker.check(clip, asked).accuracy
    if clip.shape == _RICH and (wanted := rich_parser.spec_of(prompt)):
        return rich_checker.check(clip, wanted).accuracy
    return None
