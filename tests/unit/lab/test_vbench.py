"""Videos in VBench's naming, its result files, and PSNR and SSIM against closed forms."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from cli.errors import BadInput, CommandError
from cli.lab import entities, evaluation
from lab.experiments import vbench
from worker.jobs import video
from worker.models.opensora.presets import tiny
from worker.quality.clip import ClipScorer
from worker.quality.lpips import Lpips

RNG = np.random.default_rng(0)
FRAMES = RNG.integers(30, 220, (3, 24, 32, 3), dtype=np.uint8)


def test_a_constant_error_has_the_psnr_of_its_formula() -> None:
    assert vbench.psnr(FRAMES + 5, FRAMES) == pytest.approx(20 * np.log10(255 / 5))


def test_equal_videos_have_infinite_psnr_and_ssim_one() -> None:
    assert vbench.psnr(FRAMES, FRAMES) == float("inf")
    assert vbench.ssim(FRAMES, FRAMES) == pytest.approx(1.0)


def test_ssim_of_two_flat_videos_is_the_brightness_term() -> None:
    a, b = np.full((1, 16, 16, 3), 100, np.uint8), np.full((1, 16, 16, 3), 50, np.uint8)
    c = (0.01 * 255) ** 2

    assert vbench.ssim(a, b) == pytest.approx((2 * 100 * 50 + c) / (100**2 + 50**2 + c))


def test_ssim_falls_with_noise() -> None:
    noisy = np.clip(FRAMES + RNG.normal(0, 40, FRAMES.shape), 0, 255).astype(np.uint8)

    assert vbench.ssim(noisy, FRAMES) < 0.9


def test_videos_get_the_names_that_vbench_looks_for_and_are_not_made_twice(tmp_path: Path) -> None:
    pipeline, seen = tiny(), []

    def write() -> list[int]:
        vbench.write_videos(
            pipeline, ["a red ball"], pipeline.schedule(1), tmp_path, samples=2, size=vbench.Size(), made=seen.append
        )
        return [path.stat().st_ino for path in seen[-2:]]

    assert write() == write()
    assert [path.name for path in seen] == ["a red ball-0.mp4", "a red ball-1.mp4"] * 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a red ball-0.mp4", "a red ball-1.mp4"]


def test_a_prompt_with_a_slash_is_refused() -> None:
    with pytest.raises(ValueError, match="take out slashes or shorten it"):
        vbench.file_name("black/white", 0)


def test_scores_are_read_from_vbenchs_result_files(tmp_path: Path) -> None:
    content = {"motion_smoothness": [0.97, [{"video_path": "a-0.mp4", "video_results": 0.97}]]}
    (tmp_path / "run_eval_results.json").write_text(json.dumps(content))
    (tmp_path / "run_full_info.json").write_text("[]")

    assert vbench.collect(tmp_path) == {"motion_smoothness": 0.97}


def test_without_vbench_the_message_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(RuntimeError, match=r"^VBench is not installed; `pip install vbench`"):
        vbench.scores(tmp_path, tmp_path / "results", vbench.DIMENSIONS, own_prompts=True)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    tiny().save_pretrained(folder)
    return folder


def run(folder: Path, model: Path, prompts: str, *options: object) -> tuple[dict, str]:
    """The result and the notes of a run with one sample and few steps."""
    (folder / "prompts.txt").write_text(prompts)
    arguments = ["vbench", "--prompts", folder / "prompts.txt", "--model", model, "--out", folder / "out"]
    arguments += ["--samples", 1, "--full-steps", 2, "--fast-steps", 1, *options]
    result = CliRunner().invoke(evaluation.app, [str(part) for part in arguments], catch_exceptions=False)
    return json.loads(result.stdout.splitlines()[-1]), result.stderr


@pytest.mark.parametrize(
    "command",
    [(evaluation.app, "vbench", "--model", ".", "--out", ".", "--prompts"), (entities.app,)],
    ids=["vbench", "entities"],
)
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "prompts.jsonl cannot be read: No such file or directory"),
        ("", "prompts.jsonl holds no prompt; write one in each line"),
        ('{"prompt": "a red ball"}\n{"promt": "a cat"}', "prompts.jsonl, line 2: there is no prompt"),
        ('{"prompt": "a red ball"}\n{', "prompts.jsonl, line 2: broken JSON (Expecting property name"),
    ],
)
def test_a_list_that_cannot_be_read_is_named(
    tmp_path: Path, command: tuple[Any, ...], content: str | None, message: str
) -> None:
    file = tmp_path / "prompts.jsonl"
    if content is not None:
        file.write_text(content)

    with pytest.raises(BadInput) as refused:
        CliRunner().invoke(command[0], [*command[1:], str(file)], catch_exceptions=False)

    assert message in str(refused.value)


def test_a_run_that_goes_on_scores_all_pairs(tmp_path: Path, model: Path) -> None:
    first, _ = run(tmp_path, model, "a red ball")
    second, notes = run(tmp_path, model, "a red ball\na blue box")

    pairs = list(vbench.read_pairs(tmp_path / "out", ["a red ball", "a blue box"], samples=1))
    assert first["against_full"]["videos"] == 1
    assert second["against_full"] == {
        "videos": 2,
        "psnr": pytest.approx(np.mean([vbench.psnr(pair.fast, pair.full) for pair in pairs])),
        "ssim": pytest.approx(np.mean([vbench.ssim(pair.fast, pair.full) for pair in pairs])),
    }
    assert "not computed: LPIPS: name a file with AlexNet's ImageNet weights as --lpips" in notes
    assert "not computed: CLIPScore: name a folder with a CLIP model as --clip" in notes


def test_named_weights_add_lpips_and_clipscore(
    tmp_path: Path, model: Path, alexnet_file: Path, clip_folder: Path
) -> None:
    found, notes = run(tmp_path, model, "a red ball\na blue box", "--lpips", alexnet_file, "--clip", clip_folder)

    pairs = list(vbench.read_pairs(tmp_path / "out", ["a red ball", "a blue box"], samples=1))
    lpips, clip = Lpips.load(alexnet_file), ClipScorer.load(clip_folder)
    full, fast = (
        np.array([clip.score(pair.prompt, getattr(pair, name)) for pair in pairs]) for name in ("full", "fast")
    )
    scores = found["against_full"]
    assert scores["lpips"] == pytest.approx(np.mean([lpips.distance(pair.fast, pair.full) for pair in pairs]))
    assert scores["lpips"] > 0
    assert scores["clip"] == {
        "full": pytest.approx(full.mean()),
        "fast": pytest.approx(fast.mean()),
        "difference": pytest.approx((fast - full).mean()),
        "standard_error": pytest.approx(np.std(fast - full, ddof=1) / 2**0.5),
    }
    assert "not computed" not in notes


def test_the_difference_of_one_pair_has_no_standard_error(clip_folder: Path) -> None:
    pair = vbench.Pair(prompt="a red ball", fast=FRAMES, full=FRAMES)

    found = vbench.against_full([pair], clip=ClipScorer.load(clip_folder))["clip"]

    assert (found["difference"], found["standard_error"]) == (0.0, None)


def test_a_pair_of_two_sizes_is_refused(tmp_path: Path) -> None:
    for folder, frames in (("fast", FRAMES), ("full", FRAMES[:2])):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a-0.mp4").write_bytes(video.encode(frames, fps=8))

    with pytest.raises(ValueError, match=r"^a-0\.mp4: fast is 3 frames of 32x24, full 2 frames of 32x24; delete"):
        list(vbench.read_pairs(tmp_path, ["a"], samples=1))


def test_a_pair_without_any_difference_leaves_no_mean_psnr() -> None:
    pair = vbench.Pair(prompt="a", fast=FRAMES, full=FRAMES)

    assert vbench.against_full([pair]) == {"videos": 1, "psnr": None, "ssim": pytest.approx(1)}


@pytest.mark.parametrize(
    ("option", "content", "message"),
    [
        ("--lpips", None, "--lpips {} cannot be read: No such file or directory"),
        ("--lpips", "text", "--lpips {} holds no AlexNet; name torchvision's alexnet-owt-7be5be79.pth"),
        ("--clip", None, "--clip {} holds no CLIP model with its tokenizer: "),
    ],
)
def test_weights_that_cannot_be_used_end_the_run_before_a_video_is_made(
    tmp_path: Path, model: Path, option: str, content: str | None, message: str
) -> None:
    weights = tmp_path / "weights"
    if content is not None:
        weights.write_text(content)

    with pytest.raises(CommandError) as caught:
        run(tmp_path, model, "a red ball", option, weights)

    assert str(caught.value).startswith(message.format(weights))
    assert not (tmp_path / "out").exists()
