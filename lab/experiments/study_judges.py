"""How good a clip of a study is: the first figure ranks plans, and higher is better."""

from pathlib import Path

from lab.experiments.reuse_study import Frames, Judge
from lab.toy_world.worlds import World
from worker.quality.clip import ClipScorer
from worker.quality.lpips import Lpips, weights_in
from worker.quality.nearness import distance, ssim


def checked(world: World) -> Judge:
    """Return a judge by a world's checker, which also reports a clip's distance from full mode's."""

    def judge(prompt: str, clip: Frames, full: Frames) -> dict[str, float]:
        asked = world.read(prompt)
        assert asked is not None, "a caption of the world"
        found = world.check(clip, asked)
        return {"accuracy": found.accuracy, "cond": found.prompt_distance, "d full": distance(clip, full)}

    return judge


def scored(clip_folder: Path | None, alexnet: Path | None) -> Judge:
    """Return a judge by the given weights and by SSIM; raise OSError or ValueError for invalid weights.

    Without CLIP, plans are ranked by nearness to full mode's clip, which says nothing about the use of a donor: look at
    the sheet.
    """
    clips = None if clip_folder is None else ClipScorer.load(clip_folder)
    network = None if alexnet is None else Lpips.load(weights_in(alexnet))

    def judge(prompt: str, clip: Frames, full: Frames) -> dict[str, float]:
        found = {} if clips is None else {"clip": clips.score(prompt, clip)}
        found["ssim"] = ssim(clip, full)
        return found if network is None else found | {"lpips": network.distance(clip, full)}

    return judge
