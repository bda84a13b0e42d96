"""The pipeline: reproducible, observable step by step, and a diffusers pipeline on disk."""

import numpy as np
import pytest
import torch
from PIL import Image

from worker.models.fingerprint import identify
from worker.models.opensora.pipeline import ChaiPipeline
from worker.models.opensora.presets import tiny
from worker.models.opensora.vae import to_uint8

PROMPT = "a corgi surfing a wave"
SMALL = {"num_inference_steps": 4, "num_frames": 9, "output_type": "uint8"}


@pytest.fixture(scope="module")
def pipeline() -> ChaiPipeline:
    made = tiny()
    made.set_progress_bar_config(disable=True)
    return made


def test_a_call_gives_frames_of_the_asked_size(pipeline):
    frames = pipeline(PROMPT, seed=1, height=16, width=24, **SMALL).frames

    assert frames.shape == (1, 9, 16, 24, 3)
    assert frames.dtype == np.uint8
    assert frames.std() > 10


def test_the_same_seed_gives_the_same_video_alone_and_after_other_jobs():
    used, fresh = tiny(), tiny()
    for made in (used, fresh):
        made.set_progress_bar_config(disable=True)
    used("another prompt", seed=9, **SMALL)
    used(PROMPT, seed=2, height=16, width=16, **SMALL)

    assert np.array_equal(used(PROMPT, seed=1, **SMALL).frames, fresh(PROMPT, seed=1, **SMALL).frames)


def test_another_seed_gives_another_video(pipeline):
    assert not np.array_equal(pipeline(PROMPT, seed=1, **SMALL).frames, pipeline(PROMPT, seed=2, **SMALL).frames)


def test_prompts_of_a_batch_make_the_video_they_make_alone(pipeline):
    both = pipeline([PROMPT, "a red car"], seed=1, num_inference_steps=4, output_type="latent").frames
    alone = pipeline("a red car", seed=1, num_inference_steps=4, output_type="latent").frames

    torch.testing.assert_close(both[1:], alone, atol=1e-4, rtol=1e-4)


def test_a_generator_draws_the_noise(pipeline):
    first = pipeline(PROMPT, generator=torch.Generator().manual_seed(5), **SMALL).frames
    again = pipeline(PROMPT, generator=torch.Generator().manual_seed(5), **SMALL).frames

    assert np.array_equal(first, again)
    assert np.array_equal(first, pipeline(PROMPT, seed=5, **SMALL).frames)


def test_without_a_seed_the_noise_is_random(pipeline):
    assert not np.array_equal(pipeline(PROMPT, **SMALL).frames, pipeline(PROMPT, **SMALL).frames)


def test_seed_and_generator_together_are_refused(pipeline):
    with pytest.raises(ValueError, match=r"^seed and generator both name the noise; give one of them$"):
        pipeline(PROMPT, seed=1, generator=torch.Generator(), **SMALL)


def test_latents_take_the_place_of_the_noise(pipeline):
    noise = pipeline.noise(1, num_frames=9)

    assert np.array_equal(pipeline(PROMPT, latents=noise, **SMALL).frames, pipeline(PROMPT, seed=1, **SMALL).frames)


def test_steps_and_decode_are_what_a_call_does(pipeline):
    caption = pipeline.encode_prompt([PROMPT])

    *_, last = pipeline.steps(caption, pipeline.schedule(num_steps=4), num_frames=9, seed=1)

    assert np.array_equal(pipeline.decode(last.latents, 9), pipeline(PROMPT, seed=1, **SMALL).frames[0])


def test_every_step_is_told_to_the_callback(pipeline):
    seen = []

    pipeline(PROMPT, seed=1, callback_on_step_end=lambda *args: seen.append(args), **SMALL)

    assert [(index, timestep) for _, index, timestep, _ in seen] == [(0, 1000.0), (1, 750.0), (2, 500.0), (3, 250.0)]
    assert all(tensors["latents"].shape == (1, 4, 3, 8, 8) for *_, tensors in seen)


def test_the_schedule_has_the_models_time_shift_and_spacing(pipeline):
    quadratic = ChaiPipeline(**pipeline.components, spacing="quadratic")

    assert (pipeline.schedule().time_shift, pipeline.schedule(time_shift=2.0).time_shift) == ("none", 2.0)
    assert (pipeline.schedule().spacing, pipeline.schedule(spacing="quadratic").spacing) == ("uniform", "quadratic")
    assert (quadratic.schedule().spacing, quadratic.schedule(spacing="uniform").spacing) == ("quadratic", "uniform")
    assert identify(quadratic).revision != identify(pipeline).revision, "other latents lie at the same steps"


@pytest.mark.parametrize(("output_type", "kind"), [("pil", Image.Image), ("np", np.ndarray)])
def test_frames_come_in_the_types_of_diffusers(pipeline, output_type, kind):
    frames = pipeline(PROMPT, seed=1, num_inference_steps=1, output_type=output_type, return_dict=False)[0]

    assert len(frames[0]) == 17
    assert isinstance(frames[0][0], kind)


def test_float_frames_are_in_zero_to_one(pipeline):
    frames = pipeline(PROMPT, seed=1, num_inference_steps=1, output_type="np").frames

    assert frames.dtype == np.float32
    assert 0 <= frames.min() < frames.max() <= 1


def test_saved_and_loaded_it_makes_the_same_video(pipeline, tmp_path):
    pipeline.save_pretrained(tmp_path)

    again = ChaiPipeline.from_pretrained(tmp_path)

    again.set_progress_bar_config(disable=True)
    assert np.array_equal(again(PROMPT, seed=1, **SMALL).frames, pipeline(PROMPT, seed=1, **SMALL).frames)
    assert again.schedule().time_shift == "none"


def test_it_loads_in_the_asked_dtype(pipeline, tmp_path):
    pipeline.save_pretrained(tmp_path)

    again = ChaiPipeline.from_pretrained(
        tmp_path, torch_dtype={"transformer": torch.bfloat16, "default": torch.float32}
    )

    assert (again.transformer.dtype, again.text_encoder.dtype) == (torch.bfloat16, torch.float32)
    assert again.noise(1).dtype == torch.bfloat16


def test_the_score_of_the_training_captions_is_appended(pipeline):
    scored = tiny()
    scored.register_to_config(aesthetic_score=6.5)

    plain = pipeline.encode_prompt("cat aesthetic score: 6.5.")

    assert torch.equal(scored.encode_prompt("cat").embeds, plain.embeds)


def test_decode_takes_one_video_at_a_time(pipeline):
    with pytest.raises(ValueError, match=r"^decode takes the latents of one video, got 2; call it for each$"):
        pipeline.decode(torch.zeros(2, 4, 3, 8, 8), 9)


def test_decoded_parts_are_the_whole_video(pipeline):
    latents = pipeline.noise(1)

    parts = list(pipeline.decode_parts(latents, 17))

    whole = to_uint8(pipeline.vae.decode(latents, 17))[0].numpy()
    assert np.array_equal(np.concatenate(parts), whole)


def test_a_size_that_does_not_fit_is_named(pipeline):
    with pytest.raises(ValueError, match=r"^height 30 is not a multiple of 4; try 32$"):
        pipeline(PROMPT, seed=1, height=30, num_inference_steps=1)


@pytest.mark.parametrize("jobs", [20, pytest.param(200, marks=pytest.mark.bench)])
def test_many_jobs_in_one_process_repeat_themselves_in_flat_memory(pipeline, jobs):
    prompts = [f"a {thing}" for thing in ("cat", "dog", "car", "tree")]
    first = [pipeline(prompt, seed=seed, **SMALL).frames for seed, prompt in enumerate(prompts)]
    before = resident_bytes()

    for job in range(jobs):
        seed = job % len(prompts)
        assert np.array_equal(pipeline(prompts[seed], seed=seed, **SMALL).frames, first[seed])

    assert resident_bytes() - before < 20e6


def resident_bytes() -> int:
    import psutil

    return psutil.Process().memory_info().rss
