"""Videos in VBench's naming, its result files, and PSNR and SSIM against closed forms."""

import json
from pathlib import Path

import numpy as np
import pytest

from worker.engine.presets import tiny
from worker.evaluation import vbench

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

    def write() -> list[str]:
        schedule = pipeline.schedule(1)
        made = vbench.write_videos(
            pipeline, ["a red ball"], schedule, tmp_path, samples=2, size=vbench.Size(), made=seen.append
        )
        return [name for name, _ in made]

    assert write() == ["a red ball-0.mp4", "a red ball-1.mp4"]
    assert write() == []
    assert [path.name for path in seen] == ["a red ball-0.mp4", "a red ball-1.mp4"] * 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a red ball-0.mp4", "a red ball-1.mp4"]


def test_a_prompt_with_a_slash_is_refused() -> None:
    with pytest.raises(ValueError, match="take out slashes or shorten it"):
        vbench.file_name("black/white", 0)


def test_an_empty_list_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "prompts.txt"
    file.write_text("\n \n")

    with pytest.raises(ValueError, match="holds no prompt; write one in each line"):
        vbench.read_prompts(file)


def test_scores_are_read_from_vbenchs_result_files(tmp_path: Path) -> None:
    content = {"motion_smoothness": [0.97, [{"video_path": "a-0.mp4", "video_results": 0.97}]]}
    (tmp_path / "run_eval_results.json").write_text(json.dumps(content))
    (tmp_path / "run_full_info.json").write_text("[]")

    assert vbench.collect(tmp_path) == {"motion_smoothness": 0.97}


def test_without_vbench_the_message_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(RuntimeError, match=r"^VBench is not installed; `pip install vbench`"):
        vbench.scores(tmp_path, tmp_path / "results", vbench.DIMENSIONS, own_prompts=True)
