"""Pipelines of diffusers behind the interface of jobs: real classes with random weights, saved and loaded."""

import gc
import json
import shutil
import threading
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import (
    FirstBlockCacheConfig,
    FlowMatchHeunDiscreteScheduler,
    UniPCMultistepScheduler,
    WanTransformer3DModel,
)
from peft import LoraConfig, get_peft_model_state_dict
from safetensors.torch import load_file, save_file

from shared.generation import GenerationParams
from shared.model_cards import Lora, ModelCard
from tests import tiny_pipelines
from worker.models import registry
from worker.models.diffusers.loading import why_donors_are_ignored
from worker.models.diffusers.source import SourceError
from worker.models.registry import EngineOptions
from worker.models.video_model import PlainHook, RequestError, Sampling
from worker.reuse.cache_attention import CacheAttention
from worker.reuse.donor import CLEAN, Donor
from worker.reuse.own_trajectory import OwnTrajectory
from worker.reuse.recorder import Recorder
from worker.reuse.resume import Resume

FOX, WHALE = "a red fox runs in the forest", "an old blue whale sleeps in the sea"
STEPS = 6
READS_DONORS = ["wan", "wan22", "wan5b", "ltx"]


def card_of(name: str, **values: Any) -> ModelCard:
    width, height, frames = tiny_pipelines.SIZES.get(name, (32, 32, 5))
    given = {"full_steps": STEPS, "fast_steps": 5, "guidance_scale": 5.0, "family": "diffusers"}
    size = {"sizes": (f"{width}x{height}",), "fps": 8, "frames": (frames,)}
    return ModelCard(name=name, title=name, source="pipeline", **given | size | values)


@pytest.fixture(scope="session")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return the models folder in which a pipeline was saved."""
    folder = tmp_path_factory.mktemp("models")

    @cache
    def save(name: str) -> Path:
        tiny_pipelines.save(name, folder / name / "pipeline")
        return folder

    return save


@pytest.fixture(scope="session")
def model_of(saved: Callable[[str], Path]) -> Callable[[str], Any]:
    return cache(lambda name: load(saved(name), card_of(name)))


def load(folder: Path, card: ModelCard) -> Any:
    return registry.load(card, folder, EngineOptions(device="cpu"))


def params_of(model: Any, prompt: str = FOX, **values: Any) -> GenerationParams:
    width, height = (int(side) for side in model.card.default_size.split("x"))
    size = {"width": width, "height": height, "num_frames": model.card.default_frames, "fps": 8}
    return GenerationParams(prompt=prompt, model=model.card.name, **size | values)


def sampled(
    model: Any, *hooks: Any, prompt: str = FOX, seed: int = 3, guidance: float = 5.0, num_steps: int = STEPS
) -> list[Any]:
    params = params_of(model, prompt, guidance_scale=guidance)
    sampling = Sampling(num_steps=num_steps, guidance_scale=guidance)
    return list(model.sample(model.encode(params), params, sampling, seed=seed, hooks=hooks))


def recorded(model: Any, **values: Any) -> Donor:
    recorder = Recorder(range(2, STEPS + 1), seed=3)
    sampled(model, recorder, **values)
    return recorder.donor()


def lending(model: Any, donor: Donor, **options: Any) -> CacheAttention:
    timesteps = model.timesteps(params_of(model), Sampling(num_steps=STEPS, guidance_scale=5.0))
    return CacheAttention(source="same_index", **options).bind([donor], timesteps)


@pytest.mark.parametrize("guidance", [5.0, 1.0])
@pytest.mark.parametrize("name", tiny_pipelines.FAMILIES)
def test_without_hooks_it_is_the_pipeline_called_directly_to_the_bit(model_of, saved, name, guidance) -> None:
    model = model_of(name)
    pipeline = type(model.pipeline).from_pretrained(saved(name) / name / "pipeline")
    params = params_of(model)
    call = {"width": params.width, "height": params.height, "num_frames": params.num_frames}
    call |= {"frame_rate": 8} if name == "ltx" else {}
    generator = torch.Generator().manual_seed(3)

    frames = model.decode(sampled(model, guidance=guidance)[-1].latents, params)

    direct = pipeline(
        FOX, num_inference_steps=STEPS, guidance_scale=guidance, generator=generator, output_type="np", **call
    )
    assert np.array_equal(frames, (np.asarray(direct.frames[0]) * 255).round().astype(np.uint8))
    assert frames.std() > 1


def test_reading_a_prompt_leaves_the_tokenizer_of_a_running_pipeline_alone(model_of) -> None:
    """It keeps where it cut the last text, and the text of another job is being cut meanwhile."""
    model = model_of("wan")
    rules = model.pipeline.tokenizer.backend_tokenizer
    rules.enable_truncation(3)

    assert model.reads("a red fox in the sea") == "a red fox in the sea"

    assert rules.truncation["max_length"] == 3


@pytest.mark.parametrize("name", ["wan", "ltx"])
def test_a_prompt_is_encoded_once_where_a_folder_keeps_it(saved, monkeypatch, tmp_path, name) -> None:
    options = EngineOptions(device="cpu", text_cache=tmp_path)
    first, second = (registry.load(card_of(name), saved(name), options) for _ in range(2))
    expected = sampled(first)[-1].latents
    monkeypatch.setattr(second.pipeline.text_encoder, "forward", lambda *_, **__: pytest.fail("encoded again"))

    assert torch.equal(sampled(second)[-1].latents, expected)


@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")  # the compiler's own
@pytest.mark.parametrize("name", ["wan", "ltx"])
def test_compiled_blocks_make_the_same_video_with_a_donor_and_without(saved, monkeypatch, name) -> None:
    def compile_eagerly(module: torch.nn.Module, **options: Any) -> None:
        module._compiled_call_impl = torch.compile(module._call_impl, backend="eager", **options)

    monkeypatch.setattr(torch.nn.Module, "compile", compile_eagerly)
    plain = load(saved(name), card_of(name))
    compiled = registry.load(card_of(name), saved(name), EngineOptions(device="cpu", mode="compile"))
    assert (plain.engine, compiled.engine) == ({}, {"compile": "on"})
    donor = recorded(plain, prompt="a lake", seed=4)

    for hooks in ((), (lending(plain, donor, steps=(2,)),), ()):
        expected, found = (sampled(model, *hooks)[-1].latents for model in (plain, compiled))
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    torch._dynamo.reset()


@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")  # the compiler's own
@pytest.mark.parametrize("name", ["wan", "ltx"])
def test_compiled_blocks_stay_whole_after_a_run_with_a_donor(saved, monkeypatch, name) -> None:
    ran: list[int] = []

    def backend(graph: Any, _: Any) -> Callable[..., Any]:
        def run(*inputs: Any) -> Any:
            ran.append(len(graph.graph.nodes))
            return graph.forward(*inputs)

        return run

    def compile_eagerly(module: torch.nn.Module, **options: Any) -> None:
        module._compiled_call_impl = torch.compile(module._call_impl, backend=backend, **options)

    def runs(*hooks: Any) -> list[int]:
        ran.clear()
        sampled(model, *hooks)
        return [*ran]

    monkeypatch.setattr(torch.nn.Module, "compile", compile_eagerly)
    model = registry.load(card_of(name), saved(name), EngineOptions(device="cpu", mode="compile"))
    alone, num_blocks = runs(), 2
    assert len(set(alone)) == 1

    lent = runs(lending(model, recorded(model, prompt=WHALE, seed=4), steps=(2,)))

    forwards_a_step = len(alone) // num_blocks // STEPS
    assert lent == alone[:1] * (len(alone) - forwards_a_step)  # but for the first block, in the step that reads
    assert runs() == alone
    torch._dynamo.reset()


@pytest.mark.parametrize(
    ("values", "reason"),
    [({"quantization": "float8"}, "with offload none and quantization float8"), ({}, "no compiler here")],
)
def test_blocks_that_cannot_be_compiled_run_as_they_are(saved, monkeypatch, values, reason) -> None:
    def fail(*args: object, **options: object) -> None:
        raise RuntimeError("no compiler here")

    monkeypatch.setattr(torch.nn.Module, "compile", fail)

    model = registry.load(card_of("wan", **values), saved("wan"), EngineOptions(device="cpu", mode="compile"))

    assert model.engine["compile"].startswith("off: ")
    assert reason in model.engine["compile"]
    assert len(sampled(model)) == STEPS


def test_a_second_device_is_left_off_with_its_reason(saved) -> None:
    model = registry.load(card_of("wan"), saved("wan"), EngineOptions(device="cpu", second_device="cuda:1"))

    assert model.engine == {"second device": "off: the pipelines of diffusers make the halves of guidance themselves"}


@pytest.mark.parametrize("name", tiny_pipelines.FAMILIES)
def test_steps_are_told_one_by_one_in_one_form(model_of, name) -> None:
    model = model_of(name)

    steps = sampled(model)

    shape = model.latent_shape(params_of(model))
    assert [step.index for step in steps] == list(range(STEPS))
    assert all(step.latents.shape == (1, *shape) and step.latents.dtype == torch.float32 for step in steps)
    levels = [step.timestep for step in steps]
    assert levels == model.timesteps(params_of(model), Sampling(num_steps=STEPS, guidance_scale=5.0))
    assert levels == sorted(levels, reverse=True)
    assert 999 < levels[0] <= 1000
    assert [step.next_timestep for step in steps] == [*levels[1:], 0.0]


@pytest.mark.parametrize("name", ["wan", "ltx", "cogvideox"])
def test_a_run_that_is_left_in_the_middle_leaves_no_thread_and_no_state(model_of, name) -> None:
    model = model_of(name)
    before, threads, scheduler = sampled(model), threading.active_count(), model.pipeline.scheduler
    params = params_of(model)
    run = model.sample(
        model.encode(params),
        params,
        Sampling(num_steps=STEPS, guidance_scale=5.0),
        seed=3,
        hooks=[lending(model, recorded(model, prompt=WHALE))] if name != "cogvideox" else (),
    )
    next(run), next(run)

    run.close()

    assert threading.active_count() == threads
    assert model.pipeline.scheduler is scheduler
    assert torch.equal(sampled(model)[-1].latents, before[-1].latents)
    assert not [hook for part in model.pipeline.transformer.modules() for hook in part._forward_pre_hooks]


def num_tensors() -> int:
    return sum(issubclass(type(one), torch.Tensor) for one in gc.get_objects())


@pytest.mark.parametrize("name", tiny_pipelines.FAMILIES)
def test_a_run_that_is_over_holds_no_tensors_until_rubbish_is_collected(model_of, name) -> None:
    model = model_of(name)
    sampled(model, PlainHook())  # what is kept for good is there now
    gc.collect()
    gc.disable()  # on a GPU nothing tells the collector how large the little that it sees is
    try:
        before = num_tensors()
        sampled(model, PlainHook())
        after = num_tensors()
    finally:
        gc.enable()

    assert after == before


def test_a_decoding_that_breaks_leaves_no_features_of_frames_in_the_vae(model_of, monkeypatch) -> None:
    model = model_of("wan")
    latents = sampled(model)[-1].latents
    own, calls = model.pipeline.vae.decoder.forward, []

    def second_breaks(*args: Any, **options: Any) -> Any:
        calls.append(1)
        if len(calls) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return own(*args, **options)

    monkeypatch.setattr(model.pipeline.vae.decoder, "forward", second_breaks)
    with pytest.raises(torch.OutOfMemoryError):
        model.decode(latents, params_of(model))

    assert not [kept for kept in model.pipeline.vae._feat_map if isinstance(kept, torch.Tensor)]


def test_what_is_known_of_many_schedules_takes_no_room_on_the_device(model_of) -> None:
    model = model_of("wan")
    for num_steps in range(2, 8):
        model.timesteps(params_of(model), Sampling(num_steps=num_steps, guidance_scale=1.0))

    kept = [part for asked in model._asked.values() for part in (asked.noise, asked.layout.like)]

    assert {part.untyped_storage().nbytes() for part in kept} == {kept[0].element_size()}


def test_what_breaks_in_a_step_breaks_the_one_who_iterates_and_leaves_nothing(model_of) -> None:
    class Broken(PlainHook):
        def finished(self, step):
            if step.index == 2:
                raise MemoryError("no room")

    model, threads = model_of("wan"), threading.active_count()

    with pytest.raises(MemoryError, match="no room"):
        sampled(model, Broken())

    assert threading.active_count() == threads
    assert len(sampled(model)) == STEPS


@pytest.mark.parametrize("guidance", [5.0, 1.0])
@pytest.mark.parametrize("name", READS_DONORS)
def test_a_donor_that_is_the_run_itself_gives_the_run_back(model_of, name, guidance) -> None:
    model = model_of(name)
    alone = sampled(model, guidance=guidance)

    lent = sampled(model, lending(model, recorded(model, guidance=guidance)), guidance=guidance)

    assert torch.allclose(lent[-1].latents, alone[-1].latents, atol=2e-5)


@pytest.mark.parametrize("name", READS_DONORS)
def test_a_donor_changes_the_steps_that_read_it_and_nothing_once_it_is_gone(model_of, name) -> None:
    model = model_of(name)
    donor, alone = recorded(model, prompt=WHALE, seed=8), sampled(model)

    lent = sampled(model, lending(model, donor))
    only_fourth = sampled(model, lending(model, donor, steps=(4,)))

    assert torch.equal(lent[0].latents, alone[0].latents)
    assert not torch.equal(lent[1].velocity, alone[1].velocity)
    assert all(torch.equal(a.latents, b.latents) for a, b in zip(only_fourth[:3], alone[:3], strict=True))
    assert not torch.equal(only_fourth[3].velocity, alone[3].velocity)
    assert torch.equal(sampled(model)[-1].latents, alone[-1].latents)


def test_both_networks_of_two_read_the_donor(model_of) -> None:
    model = model_of("wan22")
    donor, alone = recorded(model, prompt=WHALE, seed=8), sampled(model)
    boundary = 1000 * model.pipeline.config.boundary_ratio

    for step, is_first in ((2, True), (6, False)):
        lent = sampled(model, lending(model, donor, steps=(step,)))
        assert (lent[step - 1].timestep >= boundary) is is_first
        assert not torch.equal(lent[step - 1].velocity, alone[step - 1].velocity)


@pytest.mark.parametrize("name", READS_DONORS)
def test_the_half_without_the_prompt_can_be_left_alone(model_of, name) -> None:
    model = model_of(name)
    donor = recorded(model, prompt=WHALE, seed=8)

    both = sampled(model, lending(model, donor, steps=(2,)))[1]
    half = sampled(model, lending(model, donor, steps=(2,), halves="conditional"))[1]
    none = sampled(model)[1]

    # guided = u + 5 (c - u): with the donor in both halves, in one, in none
    assert not torch.allclose(half.velocity, both.velocity)
    assert not torch.allclose(half.velocity, none.velocity)
    unguided = [sampled(model, lending(model, donor, steps=(2,), halves=halves), guidance=1.0)[1].velocity
                for halves in ("both", "conditional")]  # fmt: skip
    assert torch.equal(*unguided)


def lending_all(model: Any, donors: list[Donor], **options: Any) -> CacheAttention:
    timesteps = model.timesteps(params_of(model), Sampling(num_steps=STEPS, guidance_scale=5.0))
    return CacheAttention(source="same_index", steps=(2,), **options).bind(donors, timesteps)


@pytest.mark.parametrize("name", READS_DONORS)
def test_of_several_donors_all_keys_are_read(model_of, name) -> None:
    """As in the first family: one softmax over the tokens of all donors, each at its own positions."""
    model = model_of(name)
    one, other = recorded(model, prompt=WHALE, seed=8), recorded(model, prompt="a lake", seed=9)

    def velocity(*donors: Donor) -> torch.Tensor:
        return sampled(model, lending_all(model, list(donors)))[1].velocity

    both, single = velocity(one, other), velocity(one)
    torch.testing.assert_close(velocity(other, one), both, atol=2e-5, rtol=1e-4)
    torch.testing.assert_close(velocity(one, one), single, atol=2e-5, rtol=1e-4)
    for alone in (single, velocity(other)):
        assert (both - alone).norm() > 1e-3 * both.norm()


@pytest.mark.parametrize("name", READS_DONORS)
def test_a_donors_keys_may_stand_beside_the_runs_own(model_of, name) -> None:
    model = model_of(name)
    alone, other = sampled(model)[1].velocity, recorded(model, prompt=WHALE, seed=8)

    own = sampled(model, lending_all(model, [recorded(model)], keys="extend"))[1].velocity
    beside = sampled(model, lending_all(model, [other], keys="extend"))[1].velocity
    instead = sampled(model, lending_all(model, [other]))[1].velocity

    torch.testing.assert_close(own, alone, atol=2e-5, rtol=1e-4)
    assert (beside - alone).norm() > 0
    assert (beside - instead).norm() > 1e-3 * alone.norm()


def test_a_bias_on_a_donors_keys_is_refused_with_a_reason(model_of) -> None:
    model = model_of("wan")

    assert model.refuses("cache_attention", {"keys": "extend"}) is None
    assert "weighs all keys alike" in model.refuses("cache_attention", {"bias": 0.5})
    with pytest.raises(ValueError, match="bias weighs single keys"):
        sampled(model, lending_all(model, [recorded(model)], bias=0.5))


@pytest.mark.parametrize("name", READS_DONORS)
def test_a_blend_lies_between_and_a_blend_of_nothing_is_the_run_alone(model_of, name) -> None:
    model = model_of(name)
    donor = recorded(model, prompt=WHALE, seed=8)

    runs = [sampled(model, lending(model, donor, steps=(2,), blend=blend))[1].velocity for blend in (0, 0.5, 1)]

    none = sampled(model)[1].velocity
    assert torch.equal(runs[0], none)
    assert 0 < (runs[1] - none).norm() < (runs[2] - none).norm()


@pytest.mark.parametrize(("name", "tolerance"), [("wan", 0.0), ("wan22", 0.0), ("ltx", 0.0), ("cogvideox", 1e-4)])
def test_a_run_resumed_from_its_own_latent_is_the_rest_of_that_run(model_of, name, tolerance) -> None:
    model = model_of(name)
    donor, alone = recorded(model), sampled(model)
    timesteps = [step.timestep for step in alone]

    rest = sampled(model, OwnTrajectory(skipped_steps=3).bind([donor], timesteps))

    assert [step.index for step in rest] == [3, 4, 5]
    assert [step.timestep for step in rest] == timesteps[3:]
    assert (rest[-1].latents - alone[-1].latents).abs().max() <= tolerance


def test_a_scheduler_that_forgets_its_history_resumes_within_two_per_cent(saved) -> None:
    flow = {"class": "UniPCMultistepScheduler", "prediction_type": "flow_prediction", "use_flow_sigmas": True}
    model = load(saved("wan"), card_of("wan", scheduler=flow | {"flow_shift": 3.0}))
    donor, alone = recorded(model), sampled(model)
    timesteps = [step.timestep for step in alone]

    rest = sampled(model, OwnTrajectory(skipped_steps=2).bind([donor], timesteps))

    assert isinstance(model.pipeline.scheduler, UniPCMultistepScheduler)
    assert 0 < (rest[-1].latents - alone[-1].latents).norm() / alone[-1].latents.norm() < 0.02


@pytest.mark.parametrize("name", ["wan", "ltx", "cogvideox"])
def test_a_clean_donor_gets_the_noise_that_the_pipeline_draws(model_of, name) -> None:
    """With the noise and the clean latent of one run, a latent on the straight line between them is entered with."""
    model = model_of(name)
    entered: list[Any] = []

    class Watch(PlainHook):
        def start(self, latents, timesteps, first):
            entered.append(latents)
            return first, latents

    timesteps = [step.timestep for step in sampled(model, Watch())]
    donor = recorded(model)
    sampled(model, Resume(skipped_steps=2).bind([donor], timesteps), Watch())

    noise, latent = entered
    level = timesteps[2] / 1000
    assert torch.allclose(latent, (1 - level) * donor.get(CLEAN) + level * noise)
    assert 0.8 < noise.std() < 1.2


def test_a_hook_may_correct_the_velocity(model_of) -> None:
    class Still(PlainHook):
        def velocity(self, velocity, latents, index, timestep):
            return torch.zeros_like(velocity) if index == 1 else velocity

    for name in ("wan", "ltx"):
        steps = sampled(model_of(name), Still())
        assert torch.equal(steps[1].latents, steps[0].latents)
        assert not torch.equal(steps[2].latents, steps[1].latents)


@pytest.mark.parametrize("name", ["wan", "ltx"])
def test_it_works_together_with_the_first_block_cache_of_diffusers(saved, name) -> None:
    model = load(saved(name), card_of(name))
    donor, alone = recorded(model, prompt=WHALE, seed=8), sampled(model)
    model.pipeline.transformer.enable_cache(FirstBlockCacheConfig(threshold=1e-9))

    lent = sampled(model, lending(model, donor, steps=(2,)))
    again = sampled(model)
    model.pipeline.transformer.disable_cache()

    assert not torch.equal(lent[1].velocity, alone[1].velocity)
    assert torch.allclose(again[-1].latents, alone[-1].latents, atol=1e-5)
    assert torch.equal(sampled(model)[-1].latents, alone[-1].latents)


def test_fused_projections_ignore_donors_and_that_is_said(saved) -> None:
    model = load(saved("wan"), card_of("wan"))
    assert model.refuses("cache_attention", {}) is None
    model.pipeline.transformer.fuse_qkv_projections()

    model.ignores_donors = why_donors_are_ignored(model)

    assert "A donor changes nothing in its networks" in model.refuses("resume+cache_attention", {})
    assert model.refuses("resume", {}) is None


@pytest.mark.parametrize(
    ("way", "options"),
    [
        ("cache_attention", {"blocks": [0, 2, 40]}),
        ("resume+cache_attention", {"skipped_steps": 1, "cache_attention": {"blocks": [0, 2, 40]}}),
    ],
)
def test_a_plan_that_reads_in_blocks_beyond_the_last_is_told_so(model_of, way, options) -> None:
    said = "It has no block 2, 40, which the plan wants to read the donor; they are 0 to 1."

    assert model_of("wan").refuses(way, options) == said


def test_joint_attention_resumes_and_says_why_not_more(model_of) -> None:
    model = model_of("cogvideox")

    assert model.refuses("resume", {"skipped_steps": 2}) is None
    assert model.refuses("cache_attention", {}) == (
        "CogVideoXTransformer3DModel attends to text and video together, "
        "so keys of a donor would stand in for the prompt's as well."
    )


def test_a_network_that_nobody_knows_runs_plain(saved) -> None:
    class Unheard(WanTransformer3DModel):
        pass

    model = load(saved("wan"), card_of("wan"))
    alone = sampled(model)
    model.pipeline.transformer.__class__ = Unheard

    assert torch.equal(sampled(model, Recorder())[-1].latents, alone[-1].latents)
    assert model.refuses("cache_attention", {}) == (
        "Where Unheard could take a donor in is not known; Wan and LTX are."
    )


def test_a_scheduler_that_draws_noise_is_not_resumed(saved) -> None:
    model = load(saved("wan"), card_of("wan", scheduler={"stochastic_sampling": True}))

    assert "draws noise at every step" in model.refuses("resume", {})
    assert len(sampled(model)) == STEPS


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"class": "NoSuchScheduler"}, "scheduler: 'NoSuchScheduler' is no scheduler of diffusers"),
        ({"shfit": 5.0}, "scheduler: 'shfit' is no value of FlowMatchEulerDiscreteScheduler; there are num_train"),
        ({"class": FlowMatchHeunDiscreteScheduler.__name__}, "evaluates the model more than once a step"),
    ],
)
def test_a_scheduler_that_cannot_be_is_refused_by_name(saved, values, message) -> None:
    with pytest.raises(ValueError, match=message):
        load(saved("wan"), card_of("wan", scheduler=values))


def save_lora(folder: Path, *, change: Callable[[dict[str, Any]], object] = lambda layers: None) -> None:
    pipeline = tiny_pipelines.wan()
    torch.manual_seed(1)
    pipeline.transformer.add_adapter(LoraConfig(r=2, target_modules=["to_q", "to_v"], init_lora_weights=False))
    layers = get_peft_model_state_dict(pipeline.transformer)
    change(layers)
    type(pipeline).save_lora_weights(folder, transformer_lora_layers=layers)


def test_a_lora_beside_the_card_changes_the_model_as_much_as_its_weight(tmp_path, model_of) -> None:
    tiny_pipelines.save("wan", tmp_path / "wan" / "pipeline")
    save_lora(tmp_path / "wan" / "quick")
    alone = sampled(model_of("wan"))[-1].latents

    models = [load(tmp_path, card_of("wan", loras=(Lora(source="quick", weight=w),))) for w in (0.0, 0.5, 1.0)]

    none, half, whole = (sampled(model)[-1].latents for model in models)
    assert torch.allclose(none, alone, atol=1e-5)
    assert 0.01 < (half - alone).norm() < (whole - alone).norm()
    assert len({model.fingerprint.revision for model in (*models, model_of("wan"))}) == 4
    assert models[2].refuses("cache_attention", {}) is None
    lent = sampled(models[2], lending(models[2], recorded(models[2], prompt=WHALE), steps=(2,)))
    assert not torch.equal(lent[1].velocity, sampled(models[2])[1].velocity)


@pytest.mark.parametrize("where", ["quick", "quick/pytorch_lora_weights.safetensors"])
def test_a_lora_lies_beside_the_card_wherever_the_pipeline_is(tmp_path, model_of, where) -> None:
    tiny_pipelines.save("wan", tmp_path / "elsewhere" / "pipeline")
    save_lora(tmp_path / "models" / "wan" / "quick")
    card = card_of("wan", loras=(Lora(source=where),))
    elsewhere = replace(card, source=str(tmp_path / "elsewhere" / "pipeline"))

    latents = sampled(load(tmp_path / "models", elsewhere))[-1].latents

    assert (latents - sampled(model_of("wan"))[-1].latents).norm() > 0.01


def test_a_lora_of_another_kind_of_model_is_named(saved, tmp_path) -> None:
    part = {f"unet.mid.to_q.lora_{side}.weight": torch.zeros(shape) for side, shape in (("A", (2, 8)), ("B", (8, 2)))}
    save_file(part, tmp_path / "unet.safetensors")
    lora = str(tmp_path / "unet.safetensors")

    with pytest.raises(SourceError, match=rf"wan: LoRA {lora} has no weights for the networks of a WanPipeline: it "):
        load(saved("wan"), card_of("wan", loras=(Lora(source=lora),)))


QUERIES = [f"blocks.0.attn1.to_q.lora_{side}.weight" for side in "AB"]


@pytest.mark.parametrize("layer", ["blocks.9.attn1.to_q", "blocks.0.attn2.add_k_proj"])
def test_layers_of_a_lora_that_the_network_has_not_are_named(saved, model_of, tmp_path, caplog, layer) -> None:
    """Those of a deeper network, or those for pictures: the others change it all the same."""

    def add(layers: dict[str, Any]) -> None:
        layers.update({name.replace("blocks.0.attn1.to_q", layer): layers[name].clone() for name in QUERIES})

    save_lora(tmp_path / "own")
    save_lora(tmp_path / "more", change=add)
    own, more = (
        load(saved("wan"), card_of("wan", loras=(Lora(source=str(tmp_path / name)),))) for name in ("own", "more")
    )

    said = f"left out, for this WanPipeline has none such: {layer}"
    assert (own.engine, more.engine) == ({}, {f"LoRA {tmp_path / 'more'}": said})
    assert f"wan: LoRA {tmp_path / 'more'}: {said}" in caplog.messages
    assert torch.equal(sampled(own)[-1].latents, sampled(more)[-1].latents)


def test_magnitudes_of_a_lora_that_diffusers_drops_are_named(saved, tmp_path) -> None:
    save_lora(tmp_path)
    file = tmp_path / "pytorch_lora_weights.safetensors"
    layer = "transformer.blocks.0.attn1.to_q"
    save_file({**load_file(file), f"{layer}.dora_scale": torch.ones(24, 1)}, file)

    said = load(saved("wan"), card_of("wan", loras=(Lora(source=str(tmp_path)),))).engine[f"LoRA {tmp_path}"]

    assert said == f"left out, for diffusers reads no DoRA of this form, and adds it as a plain LoRA: {layer}"


def test_of_several_files_of_a_lora_none_is_taken_unasked(saved, tmp_path) -> None:
    save_lora(tmp_path)
    for name in ("early", "late"):
        shutil.copy(tmp_path / "pytorch_lora_weights.safetensors", tmp_path / f"{name}.safetensors")
    load(saved("wan"), card_of("wan", loras=(Lora(source=str(tmp_path)),)))
    (tmp_path / "pytorch_lora_weights.safetensors").unlink()

    with pytest.raises(SourceError, match=r"it holds early.safetensors and 1 more: give one as its `file`"):
        load(saved("wan"), card_of("wan", loras=(Lora(source=str(tmp_path)),)))
    load(saved("wan"), card_of("wan", loras=(Lora(source=str(tmp_path), file="late.safetensors"),)))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda layers: layers.pop(QUERIES[1]),
            r"is not whole: it lacks transformer.blocks.0.attn1.to_q.lora_B\S*; fetch",
        ),
        (
            lambda layers: layers.update({name: tensor.repeat(2, 2) for name, tensor in layers.items()}),
            r"could not be loaded \(Error\(s\) in loading state_dict [^\n]*size mismatch for [^\n]*\); check `loras`$",
        ),
    ],
    ids=["cut", "of a wider network"],
)
def test_a_lora_that_does_not_fit_is_named_in_a_line(saved, tmp_path, change, said) -> None:
    save_lora(tmp_path, change=change)

    with pytest.raises(SourceError, match=rf"^wan: LoRA {tmp_path} {said}"):
        load(saved("wan"), card_of("wan", loras=(Lora(source=str(tmp_path)),)))


def test_each_of_two_networks_may_have_a_lora_of_its_own(saved, tmp_path) -> None:
    save_lora(tmp_path)
    loras = tuple(Lora(source=str(tmp_path), weight=w, network=n) for w, n in ((0.5, None), (1.0, "transformer_2")))

    pipeline = load(saved("wan22"), card_of("wan22", loras=loras)).pipeline

    strengths = [part.blocks[0].attn1.to_q.scaling for part in (pipeline.transformer, pipeline.transformer_2)]
    assert strengths == [{"lora_0": 0.5}, {"lora_1": 1.0}]


def test_a_lora_may_be_for_the_second_of_two_networks(saved, model_of, tmp_path) -> None:
    """Those of few steps for Wan 2.2 are two, one for each; the first network has the early steps."""
    save_lora(tmp_path)
    loras = [Lora(source=str(tmp_path), network=network) for network in (None, "transformer_2")]

    alone, first, second = (
        sampled(model)
        for model in (model_of("wan22"), *(load(saved("wan22"), card_of("wan22", loras=(one,))) for one in loras))
    )

    assert not torch.equal(first[0].latents, alone[0].latents)
    assert torch.equal(second[0].latents, alone[0].latents)
    assert not torch.equal(second[-1].latents, alone[-1].latents)


def test_a_lora_for_a_network_that_there_is_not_is_named(saved, tmp_path) -> None:
    save_lora(tmp_path)

    with pytest.raises(
        ValueError, match=r"network 'transformer_2' is none of this WanPipeline; there are transformer$"
    ):
        load(saved("wan"), card_of("wan", loras=(Lora(source=str(tmp_path), network="transformer_2"),)))


def test_a_lora_that_is_not_there_is_named(saved) -> None:
    (saved("wan") / "wan" / "empty").mkdir(exist_ok=True)

    with pytest.raises(SourceError, match=r"wan: LoRA empty could not be loaded .*; check `loras`"):
        load(saved("wan"), card_of("wan", loras=(Lora(source="empty"),)))


def test_a_fingerprint_tells_what_shapes_latents(saved, model_of) -> None:
    own = model_of("wan").fingerprint

    assert load(saved("wan"), card_of("wan")).fingerprint == own
    for other in ({"scheduler": {"shift": 5.0}}, {"call": {"max_sequence_length": 64}}, {"dtype": "bfloat16"}):
        assert load(saved("wan"), card_of("wan", **other)).fingerprint != own
    assert model_of("wan22").fingerprint != own


@pytest.mark.parametrize("values", [{"dtype": "bfloat16"}, {"quantization": "float8"}], ids=str)
@pytest.mark.parametrize("name", ["wan", "ltx"])
def test_smaller_numbers_still_make_a_video_and_read_donors(saved, name, values) -> None:
    model = load(saved(name), card_of(name, **values))

    steps = sampled(model, lending(model, recorded(model, prompt=WHALE)))

    assert model.refuses("cache_attention", {}) is None
    assert steps[-1].latents.isfinite().all()
    assert model.decode(steps[-1].latents, params_of(model)).ndim == 4


def test_a_negative_prompt_is_heard(model_of) -> None:
    model = model_of("wan")
    params = params_of(model, negative_prompt="a whale")
    sampling = Sampling(num_steps=STEPS, guidance_scale=5.0)

    away = list(model.sample(model.encode(params), params, sampling, seed=3))

    assert not torch.equal(away[-1].latents, sampled(model)[-1].latents)


def test_a_prompt_is_read_as_far_as_the_text_encoder_does(saved) -> None:
    model = load(saved("wan"), card_of("wan", call={"max_sequence_length": 4}))

    assert model.reads("a red fox") == "a red fox"
    assert model.reads("a red fox runs in the forest") == "a red fox runs"
    params = params_of(model, "a red fox runs")
    whole, cut = (model.encode(replace(params, prompt=prompt)) for prompt in (params.prompt, params.prompt + " in sea"))
    assert torch.equal(whole.arguments["prompt_embeds"], cut.arguments["prompt_embeds"])


def test_a_size_that_the_pipeline_refuses_is_refused(model_of) -> None:
    model = model_of("wan")

    with pytest.raises(RequestError, match=r"wan cannot make 40x32, 5 frames: .*divisible by 16"):
        model.latent_shape(replace(params_of(model), width=40))


def broken(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    index = json.loads((folder / "model_index.json").read_text())
    change(index)
    (folder / "model_index.json").write_text(json.dumps(index))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        pytest.param(lambda at: (at / "model_index.json").unlink(), "has no model_index.json", id="no index"),
        pytest.param(lambda at: (at / "model_index.json").write_text("{"), "is no JSON", id="broken index"),
        pytest.param(
            lambda at: (at / "model_index.json").write_text("[" * 100_000),
            r"model_index.json is no JSON \(maximum recursion depth exceeded [^\n]*\); fetch or save it again$",
            id="an index that is too deep",
        ),
        pytest.param(
            lambda at: ((at / "model_index.json").unlink(), (at / "model_index.json").mkdir()),
            r"model_index.json is no JSON \(.*Is a directory.*\); fetch or save it again$",
            id="a folder of the index's name",
        ),
        pytest.param(
            lambda at: broken(at, lambda index: index.update({"../vae": ["diffusers", "AutoencoderKLWan"]})),
            "model_index.json has a part '../vae', which is no name of one; fetch it again$",
            id="a part elsewhere",
        ),
        pytest.param(
            lambda at: (at / "vae" / "config.json").write_text("[" * 100_000),
            r"could not be loaded as WanPipeline .*vae/config.json is not whole \(maximum recursion depth exceeded",
            id="a configuration that is too deep",
        ),
        pytest.param(
            lambda at: (at / "transformer" / "diffusion_pytorch_model.safetensors").write_bytes(b"x" * 99),
            "could not be loaded as WanPipeline",
            id="broken weights",
        ),
        pytest.param(lambda at: shutil.rmtree(at / "vae"), "could not be loaded as WanPipeline", id="a part missing"),
        pytest.param(
            lambda at: broken(at, lambda index: index.update(_class_name="StableDiffusionPipeline")),
            "StableDiffusionPipeline makes no video of a text",
            id="images",
        ),
        pytest.param(
            lambda at: broken(at, lambda index: index.update(_class_name="WanImageToVideoPipeline")),
            "makes videos of image, not of a text alone",
            id="image to video",
        ),
        pytest.param(
            lambda at: broken(at, lambda index: index.update(_class_name="PipelineOfNextYear")),
            "PipelineOfNextYear is not in diffusers",
            id="unknown",
        ),
        pytest.param(
            lambda at: broken(at, lambda index: index.update(vae=["their_code", "Vae"])),
            "wants vae \\(Vae\\) from 'their_code', which is code of others",
            id="code of others",
        ),
    ],
)
def test_a_folder_that_is_no_model_says_what_it_lacks(saved, tmp_path, damage, message) -> None:
    shutil.copytree(saved("wan") / "wan", tmp_path / "wan")
    damage(tmp_path / "wan" / "pipeline")

    with pytest.raises(SourceError, match=message):
        load(tmp_path, card_of("wan"))
