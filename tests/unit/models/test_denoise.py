"""The sampling loop against recorded runs of Open-Sora 1.2, and properties of its steps."""

from types import SimpleNamespace

import pytest
import torch

from worker.models.opensora.sampler import Conditioning, Velocity, denoise
from worker.models.opensora.schedule import Schedule

RUNS = ["sample_steps8_cfg7", "sample_steps30_cfg7", "sample_steps8_cfg7_noqknorm", "sample_steps8_cfg7_framemask"]


def recorded_run(golden, name):
    facts, tensors = golden.json(f"rflow/{name}"), golden.tensors(f"rflow/{name}")
    transformer = golden.stdit3(facts["weights"].split("/")[1])
    noise = iter(tensors.get("in.step_noise", []))
    arguments = {
        "transformer": transformer,
        "noise": tensors["in.z"],
        "caption": golden.caption(tensors["in.y"], tensors["in.mask"]),
        "schedule": Schedule(num_steps=facts["steps"], guidance_scale=facts["cfg_scale"]),
        "conditioning": Conditioning(
            height=facts["height"], width=facts["width"], num_frames=facts["num_frames"], fps=facts["fps"]
        ),
        "frame_mask": tensors.get("in.frame_mask"),
        "renoise": lambda _: next(noise),
    }
    return arguments, tensors


def network_inputs(transformer):
    """Collect what enters the network at every step."""
    seen = []
    transformer.register_forward_pre_hook(lambda _, args, kwargs: seen.append((*args, kwargs)), with_kwargs=True)
    return seen


@pytest.mark.parametrize("name", RUNS)
def test_run_equals_the_recorded_one(golden, name):
    arguments, recorded = recorded_run(golden, name)
    seen = network_inputs(arguments["transformer"])

    *_, last = denoise(**arguments)

    torch.testing.assert_close(last.latents, recorded["out"], atol=2e-4, rtol=0)
    entered = [x[: len(x) // 2] for x, *_ in seen]
    torch.testing.assert_close(torch.stack(entered), recorded["traj"][:-1], atol=2e-4, rtol=0)
    timesteps = torch.stack([timestep.expand(len(x)) for x, timestep, *_ in seen])
    assert torch.equal(timesteps, recorded["timesteps"])


def test_null_caption_equals_the_recorded_one(golden):
    arguments, recorded = recorded_run(golden, "sample_steps8_cfg7")

    assert torch.equal(arguments["transformer"].null_caption(2), recorded["null_y"])


def test_first_prediction_equals_the_recorded_one(golden):
    arguments, recorded = recorded_run(golden, "sample_steps8_cfg7")
    outputs = []
    arguments["transformer"].register_forward_hook(lambda *call: outputs.append(call[-1]))

    next(denoise(**arguments))

    torch.testing.assert_close(outputs[0], recorded["pred_step0"], atol=2e-5, rtol=1e-5)


def test_frame_mask_marks_the_recorded_frames_at_every_step(golden):
    arguments, recorded = recorded_run(golden, "sample_steps8_cfg7_framemask")
    seen = network_inputs(arguments["transformer"])

    list(denoise(**arguments))

    assert torch.equal(torch.stack([options["x_mask"] for *_, options in seen]), recorded["x_mask_per_step"])


def test_a_frame_mask_of_ones_changes_no_bit(golden):
    arguments, _ = recorded_run(golden, "sample_steps8_cfg7")
    *_, plain = denoise(**arguments)

    arguments |= {"frame_mask": torch.ones(2, 15), "renoise": torch.zeros_like}
    *_, masked = denoise(**arguments)

    assert torch.equal(masked.latents, plain.latents)


def final(**arguments):
    *_, last = denoise(**arguments)
    return last.latents


def test_steps_report_their_place_in_the_run(small_run):
    steps = list(denoise(**small_run()))

    assert [(s.index, s.num_steps, s.timestep, s.next_timestep) for s in steps] == [
        (0, 4, 1000, 750),
        (1, 4, 750, 500),
        (2, 4, 500, 250),
        (3, 4, 250, 0),
    ]
    assert all(s.latents.dtype == torch.float32 and s.latents.shape == (1, 4, 3, 6, 4) for s in steps)


def test_one_step_adds_the_guided_velocity_to_the_noise(small_run):
    run = small_run(schedule=Schedule(num_steps=1, time_shift="none", guidance_scale=3.0))
    model, noise, caption = run["transformer"], run["noise"], run["caption"]
    where = {"fps": torch.tensor([8.0]), "height": 48.0, "width": 32.0}
    timestep = torch.tensor([1000.0])

    (step,) = denoise(**run)

    conditional = model(noise, timestep, caption.embeds, **where)[:, :4]
    unconditional = model(noise, timestep, model.null_caption(1), **where)[:, :4]
    guided = unconditional + 3.0 * (conditional - unconditional)
    torch.testing.assert_close(step.velocity, guided, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(step.latents, noise + guided, atol=1e-4, rtol=1e-4)


def test_null_half_sees_as_many_tokens_as_the_prompt(small_run):
    mask = torch.tensor([[1, 1, 1, 0, 0, 0, 0, 0]])
    run = small_run()
    run["caption"].mask = mask
    before = final(**run)

    run["transformer"].y_embedder.y_embedding[3:] = 50.0

    assert torch.equal(final(**run), before)


def test_an_unguided_step_runs_one_half_only(small_run):
    run = small_run(schedule=Schedule(num_steps=4, time_shift="none", unguided_steps=1))
    seen = network_inputs(run["transformer"])

    list(denoise(**run))

    assert [len(x) for x, *_ in seen] == [1, 2, 2, 2]


def test_an_unguided_step_uses_the_prompts_velocity(small_run):
    run = small_run(schedule=Schedule(num_steps=2, time_shift="none", unguided_steps=1))

    step = next(denoise(**run))

    velocity = Velocity(run["transformer"], run["caption"], run["conditioning"])
    assert torch.equal(step.velocity, velocity(run["noise"], 1000.0, 1.0))


def test_a_run_started_later_from_a_stored_latent_ends_the_same(small_run):
    run = small_run()
    steps = list(denoise(**run))

    resumed = final(**run | {"noise": steps[1].latents, "start": 2})

    assert torch.equal(resumed, steps[-1].latents)


def test_a_schedule_that_skips_lets_the_noise_enter_a_later_step(small_run):
    schedule = Schedule(num_steps=5, time_shift="none", skipped_steps=2)

    steps = list(denoise(**small_run(schedule=schedule)))

    assert [(step.index, step.timestep) for step in steps] == [(2, 600), (3, 400), (4, 200)]
    later = small_run(schedule=Schedule(num_steps=5, time_shift="none"), start=2)
    assert torch.equal(steps[-1].latents, final(**later))


def test_same_inputs_give_the_same_bits_after_other_runs(small_run):
    run = small_run()
    first = final(**run)

    final(**run | {"noise": torch.randn(1, 4, 5, 4, 4)})  # another job, of another size

    assert torch.equal(final(**run), first)


def test_prompts_of_a_batch_do_not_disturb_each_other(golden, small_run):
    run = small_run(batch=2)
    run["caption"].mask = torch.tensor([[1] * 8, [1] * 3 + [0] * 5])

    both = final(**run)

    for i in range(2):
        caption = golden.caption(run["caption"].embeds[i : i + 1], run["caption"].mask[i : i + 1])
        alone = final(**run | {"noise": run["noise"][i : i + 1], "caption": caption})
        torch.testing.assert_close(both[i : i + 1], alone, atol=1e-4, rtol=1e-4)


def test_kept_frames_come_out_as_they_went_in(small_run):
    run = small_run(frame_mask=torch.tensor([[0.0, 1.0, 1.0]]))

    out = final(**run)

    assert torch.equal(out[:, :, 0], run["noise"][:, :, 0])
    assert not torch.equal(out[:, :, 1], run["noise"][:, :, 1])


def test_frame_noise_comes_from_the_generator(small_run):
    run = small_run(frame_mask=torch.tensor([[0.5, 1.0, 1.0]]))

    one, same, other = (final(**run, generator=torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))

    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_bfloat16_runs_keep_float32_latents(small_run):
    run = small_run()
    run["transformer"].bfloat16()

    steps = list(denoise(**run))

    assert steps[-1].latents.dtype == torch.float32
    assert torch.isfinite(steps[-1].latents).all()


def test_caption_of_another_width_is_refused(golden, small_run):
    run = small_run(caption=golden.caption(torch.randn(1, 1, 5, 16)))

    with pytest.raises(ValueError) as error:
        next(denoise(**run))

    assert str(error.value) == (
        "caption features are (5, 16) and this model's null caption (8, 16); "
        "pad the caption to model_max_length with the text encoder of this model"
    )


def test_a_negative_prompt_equal_to_the_null_caption_changes_nothing(small_run):
    run = small_run()
    null = SimpleNamespace(embeds=run["transformer"].null_caption(1), mask=run["caption"].mask)

    assert torch.equal(final(**run, negative=null), final(**run))


def test_guidance_away_from_the_prompt_itself_is_no_guidance(small_run):
    run = small_run(schedule=Schedule(num_steps=2, time_shift="none", guidance_scale=7.0))
    unguided = small_run(schedule=Schedule(num_steps=2, time_shift="none", guidance_scale=1.0))

    torch.testing.assert_close(final(**run, negative=run["caption"]), final(**unguided), atol=2e-4, rtol=1e-4)


def test_another_negative_prompt_gives_another_video(small_run):
    run = small_run()
    other = SimpleNamespace(embeds=run["caption"].embeds.flip(2) + 1, mask=run["caption"].mask)

    assert not torch.equal(final(**run, negative=other), final(**run))
