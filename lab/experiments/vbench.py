"""Videos in VBench's naming, its scores if it is installed, and the distance of fast videos from full ones.

VBench (github.com/Vchitect/VBench) reads `<prompt>-<index>.mp4`, five of each prompt with seeds of their own, and
writes `*_eval_results.json` with `{dimension: [score, ...]}`.
"""

import json
import shutil
import subprocess
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from worker.jobs import video
from worker.models.opensora.pipeline import ChaiPipeline, Frames
from worker.models.opensora.schedule import Schedule
from worker.quality.clip import ClipScorer
from worker.quality.lpips import Lpips
from worker.quality.nearness import psnr, ssim

DIMENSIONS = (  # those that VBench can judge for any prompts
    "subject_consistency",
    "background_consistency",
    "motion_smoothness",
    "dynamic_degree",
    "aesthetic_quality",
    "imaging_quality",
)
WITH_WEIGHTS = {  # scores whose weights do not come with the project
    "lpips": "LPIPS: name a file with AlexNet's ImageNet weights as --lpips",
    "clip": "CLIPScore: name a folder with a CLIP model as --clip",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """Of the videos; None leaves it to the model."""

    height: int | None = None
    width: int | None = None
    num_frames: int | None = None


def file_name(prompt: str, index: int) -> str:
    """The name that VBench looks for. Raises ValueError for a prompt that cannot be a file name."""
    if "/" in prompt or "\0" in prompt or len(prompt.encode()) > 240:
        raise ValueError(f"prompt {prompt[:60]!r} cannot be a file name; take out slashes or shorten it")
    return f"{prompt}-{index}.mp4"


def write_videos(
    pipeline: ChaiPipeline,
    prompts: Sequence[str],
    schedule: Schedule,
    folder: Path,
    *,
    samples: int,
    size: Size,
    made: Callable[[Path], object],
) -> None:
    """Make `samples` videos of each prompt, with seeds 0, 1, ...; existing ones are kept, so that a run can resume."""
    folder.mkdir(parents=True, exist_ok=True)
    own: Any = pipeline.config  # diffusers declares a dict and returns one with attributes
    num_frames = size.num_frames or own.num_frames
    for prompt in prompts:
        for index in range(samples):
            target = folder / file_name(prompt, index)
            if not target.exists():
                *_, last = pipeline.steps(
                    [prompt], schedule, seed=index, height=size.height, width=size.width, num_frames=num_frames
                )
                partial = target.with_suffix(".part")
                partial.write_bytes(video.encode(pipeline.decode(last.latents, num_frames), fps=round(own.fps)))
                partial.replace(target)
            made(target)


def scores(folder: Path, results: Path, dimensions: Sequence[str], *, own_prompts: bool) -> dict[str, float]:
    """Run `vbench evaluate` on a folder and return the score of each dimension.

    Raises RuntimeError if VBench is not installed or fails.
    """
    command = shutil.which("vbench")
    if command is None:
        raise RuntimeError("VBench is not installed; `pip install vbench` (it needs CUDA), then run this again")
    results.mkdir(parents=True, exist_ok=True)
    call = [command, "evaluate", "--videos_path", str(folder), "--output_path", str(results)]
    call += ["--dimension", *dimensions]
    if own_prompts:
        call += ["--mode", "custom_input"]
    done = subprocess.run(call, check=False, capture_output=True, text=True)  # noqa: S603  # found by `which`
    if done.returncode != 0:
        raise RuntimeError(f"vbench ended with {done.returncode}: {done.stderr.strip()[-400:]}")
    return collect(results)


def collect(results: Path) -> dict[str, float]:
    """The scores in VBench's result files, the newest of each dimension."""
    found: dict[str, float] = {}
    for file in sorted(results.glob("*_eval_results.json"), key=lambda path: path.stat().st_mtime):
        for dimension, value in json.loads(file.read_text()).items():
            found[dimension] = float(value[0] if isinstance(value, list) else value)
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """The fast and the full video of one prompt and seed, as their files show them."""

    prompt: str
    fast: Frames
    full: Frames


def read_pairs(out: Path, prompts: Sequence[str], *, samples: int) -> Iterator[Pair]:
    """Read the videos in `out`/fast and `out`/full, one pair at a time.

    Raises ValueError for a pair of different sizes: one of the folders is from an earlier run.
    """
    for prompt in prompts:
        for index in range(samples):
            name = file_name(prompt, index)
            fast, full = (video.decode((out / folder / name).read_bytes()) for folder in ("fast", "full"))
            if fast.shape != full.shape:
                raise ValueError(
                    f"{name}: fast is {_shown(fast)}, full {_shown(full)}; delete the one that is not wanted"
                )
            yield Pair(prompt=prompt, fast=fast, full=full)


def _shown(frames: Frames) -> str:
    num_frames, height, width, _ = frames.shape
    return f"{num_frames} frames of {width}x{height}"


def against_full(
    pairs: Iterable[Pair], *, lpips: Lpips | None = None, clip: ClipScorer | None = None
) -> dict[str, Any]:
    """Mean PSNR and SSIM of the fast videos against the full ones; LPIPS and CLIPScore where their models are given.

    PSNR is None if a pair is equal: it would be infinite, which JSON cannot hold.
    """
    found: dict[str, list[float]] = {"psnr": [], "ssim": []}
    fits: list[tuple[float, float]] = []  # CLIPScore of full and of fast
    if lpips is not None:
        found["lpips"] = []
    for pair in pairs:
        found["psnr"].append(psnr(pair.fast, pair.full))
        found["ssim"].append(ssim(pair.fast, pair.full))
        if lpips is not None:
            found["lpips"].append(lpips.distance(pair.fast, pair.full))
        if clip is not None:
            fits.append((clip.score(pair.prompt, pair.full), clip.score(pair.prompt, pair.fast)))
    result: dict[str, Any] = {"videos": len(found["psnr"])}
    result |= {name: mean if np.isfinite(mean := float(np.mean(values))) else None for name, values in found.items()}
    return result | {"clip": _clip_scores(fits)} if clip is not None else result


def _clip_scores(fits: Sequence[tuple[float, float]]) -> dict[str, float | None]:
    """The mean of each set, the mean of fast less full, and its standard error, which one pair does not have."""
    full, fast = np.array(fits).T
    error = float(np.std(fast - full, ddof=1) / len(fits) ** 0.5) if len(fits) > 1 else None
    return {
        "full": float(full.mean()),
        "fast": float(fast.mean()),
        "difference": float((fast - full).mean()),
        "standard_error": error,
    }
