"""Pipelines of diffusers that are held, called, guided or scheduled in ways of their own: none is silently another."""

import inspect
import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import PNDMScheduler
from safetensors.torch import load_file, save_file

from shared.generation import GenerationParams
from shared.model_cards import Lora, ModelCard
from tests import more_tiny_pipelines as tiny
from tests import tiny_pipelines
from worker.models import registry
from worker.models.diffusers import cards, quantization, schedule, source
from worker.models.diffusers.loading import identify
from worker.models.diffusers.model import DiffusersModel
from worker.models.diffusers.source import SourceError
from worker.models.registry import EngineOptions
from worker.models.video_model import Fingerprint, RequestError, Sampling

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:diffusers")  # its schedulers' with NumPy

FOX = "a red fox runs in the forest"
STEPS = 4
SIZES = {**tiny_pipelines.SIZES, **tiny.SIZES}
FLOW = {"use_flow_sigmas": True, "prediction_type": "flow_prediction", "flow_shift": 3.0}


def load(folder: Path, name: str, **values: Any) -> Any:
    width, height, frames = SIZES[name]
    given = {"sizes": (f"{width}x{height}",), "fps": 8, "frames": (frames,), "call": tiny.CALLS.get(name, {})}
    given |= {"full_steps": STEPS, "fast_steps": 2, "guidance_scale": 5.0, "family": "diffusers", "source": str(folder)}
    return registry.load(ModelCard(name=name, title=name, **given | values), folder, EngineOptions(device="cpu"))


def params_of(model: Any, **values: Any) -> GenerationParams:
    width, height, frames = SIZES[model.card.name]
    given = {"width": width, "height": height, "num_frames": frames, "fps": 8}
    return GenerationParams(prompt=FOX, model=model.card.name, **given | values)


def sampled(model: Any, *, guidance: float = 5.0, seed: int = 3) -> list[Any]:
    params, sampling = params_of(model, guidance_scale=guidance), Sampling(num_steps=STEPS, guidance_scale=guidance)
    return list(model.sample(model.encode(params), params, sampling, seed=seed))


def direct(folder: Path, model: Any, output: str) -> Any:
    """Call the pipeline as its own documentation does."""
    pipeline = type(model.pipeline).from_pretrained(folder)
    pipeline.scheduler = schedule.replaced(pipeline.scheduler, model.card.scheduler)
    if model.card.name == "allegro":
        pipeline.vae.enable_tiling()
    if hasattr(pipeline, "guider"):
        pipeline.guider = pipeline.guider.new(guidance_scale=5.0)
    width, height, frames = SIZES[model.card.name]
    call = {"width": width, "height": height, **dict.fromkeys(source.LENGTHS, frames), **model.card.call}
    call |= {"num_inference_steps": STEPS, "guidance_scale": 5.0, "output_type": output}
    takes = inspect.signature(pipeline.__call__).parameters
    given = {name: value for name, value in call.items() if name in takes}
    return pipeline(FOX, generator=torch.Generator().manual_seed(3), **given).frames


@pytest.mark.parametrize(
    ("name", "scheduler"),
    [
        *((name, {}) for name in tiny.KINDS),
        ("animatediff", {"class": "EulerDiscreteScheduler"}),
        ("animatediff", {"class": "LCMScheduler"}),
        ("wan", {"class": "DPMSolverMultistepScheduler", **FLOW}),
    ],
)
def test_it_is_the_pipeline_called_directly_to_the_bit(folder_of, name, scheduler) -> None:
    model = load(folder_of(name), name, scheduler=scheduler)

    steps = sampled(model)
    frames = model.decode(steps[-1].latents, params_of(model))

    layout = model._ask(params_of(model), 2).layout
    assert torch.equal(steps[-1].latents, layout.told(torch.as_tensor(direct(folder_of(name), model, "latent"))))
    pixels = np.asarray(direct(folder_of(name), model, "np")[0])
    assert np.array_equal(frames, (pixels * 255).round().astype(np.uint8))
    levels = [step.timestep for step in steps]
    assert levels == sorted(levels, reverse=True)
    assert levels[0] > 900


@pytest.mark.parametrize(
    ("has_warm_up", "asked", "made"),
    [
        (False, 20, 20),
        (False, 3, 3),
        (False, 2, 1),  # 1 or 3 are all there is
        (True, 20, 20),
        (True, 5, 14),  # the warm-up alone is longer
    ],
)
def test_a_scheduler_that_adds_steps_makes_no_more_than_are_asked_for(has_warm_up: bool, asked: int, made: int) -> None:
    course = schedule.Course(PNDMScheduler(skip_prk_steps=not has_warm_up))

    course.scheduler.set_timesteps(asked, device="cpu")

    assert len(course.levels) - 1 == made


@pytest.mark.parametrize("kind", ["FlowMatchLCMScheduler", "LTXEulerAncestralRFScheduler"])
def test_a_scheduler_that_draws_noise_draws_it_from_the_seed(folder_of, kind) -> None:
    """Wan hands its scheduler no generator."""
    model = load(folder_of("wan"), "wan", scheduler={"class": kind})

    first, again, other = (sampled(model, seed=seed)[-1].latents for seed in (3, 3, 4))

    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert "is not known to resume" in model.refuses("resume", {})


def test_a_solver_that_draws_noise_is_not_resumed(folder_of) -> None:
    drawing = {"class": "DPMSolverMultistepScheduler", **FLOW, "algorithm_type": "sde-dpmsolver++"}

    model = load(folder_of("wan"), "wan", scheduler=drawing)

    assert "draws noise at every step (sde-dpmsolver++)" in model.refuses("resume", {})


@pytest.mark.parametrize(
    ("name", "scheduler", "message"),
    [
        ("wan", {"class": "UniPCMultistepScheduler"}, r'which UniPC\w+ expects with "use_flow_sigmas": true'),
        ("wan", {"class": "DDIMScheduler"}, "DDIMScheduler is not for networks that predict a flow, as this one does"),
        ("animatediff", {"class": "FlowMatchEulerDiscreteScheduler"}, "this one does not; name one like its own, DDIM"),
        ("wan", {"shift": "high"}, "FlowMatchEulerDiscreteScheduler takes no shift='high' "),
        ("wan", {"class": ["Euler"]}, "is no scheduler of diffusers"),
    ],
)
def test_a_scheduler_of_another_prediction_or_a_wrong_value_is_refused(folder_of, name, scheduler, message) -> None:
    with pytest.raises(ValueError, match=rf"^scheduler: .*{message}"):
        load(folder_of(name), name, scheduler=scheduler)


@pytest.mark.parametrize(
    ("name", "scheduler", "levels"),
    [
        ("wan", {"shift": -3.0}, "1000, 1201, 3056, 8.929"),
        ("wan", {"shift": 0}, "nan, nan, nan, 0"),
        ("ltx", {"shift_terminal": 2.0}, "1000, .*, 2000"),
        ("wan", {"class": "UniPCMultistepScheduler", **FLOW, "flow_shift": -3.0}, ".*"),
        ("cogvideox", {"beta_start": 5.0}, "nan, nan, nan, nan"),
    ],
)
def test_a_scheduler_whose_noise_does_not_fall_is_refused(folder_of, name, scheduler, levels) -> None:
    said = rf"^{name}: scheduler {{.*}}: the noise levels of 4 steps do not fall from 1000 to 0 but are {levels}; see"

    with pytest.raises(ValueError, match=said):
        load(folder_of(name), name, scheduler=scheduler)


@pytest.mark.filterwarnings("ignore:invalid value encountered in divide")
@pytest.mark.parametrize("kind", ["ltx", "mochi"])
def test_a_single_step_that_cannot_be_made_is_refused(folder_of, monkeypatch, kind) -> None:
    """LTX stretches its noise levels and Mochi halves its steps: both divide by those that one step lacks."""
    model = load(folder_of("ltx"), "ltx")
    sampling, params = Sampling(num_steps=1, guidance_scale=1.0), params_of(model)
    if kind == "mochi":
        monkeypatch.setattr(model, "call", lambda *_, **__: 1 // 0)

    with pytest.raises(
        RequestError, match=r"cannot make .* in 1 steps: (the noise levels .* are nan; ask for more|.* by zero)"
    ):
        list(model.sample(model.encode(params), params, sampling, seed=0))


@pytest.mark.filterwarnings("ignore:invalid value encountered in divide")
def test_a_card_of_a_single_step_that_cannot_be_made_is_refused(folder_of) -> None:
    with pytest.raises(ValueError, match=r"^ltx: the noise levels of 1 steps do not fall .* but are nan; give more st"):
        load(folder_of("ltx"), "ltx", fast_steps=1)


def test_a_scheduler_that_wants_more_than_its_pipeline_gives_is_refused(folder_of) -> None:
    said = "CogVideoXDPMScheduler wants old_pred_original_sample and timestep_back in every step, which AnimateDiffPip"

    with pytest.raises(ValueError, match=rf"^scheduler: {said}"):
        load(folder_of("animatediff"), "animatediff", scheduler={"class": "CogVideoXDPMScheduler"})
    load(folder_of("cogvideox"), "cogvideox", scheduler={"class": "CogVideoXDPMScheduler"})


def test_a_scheduler_that_warms_up_makes_videos_of_the_steps_that_it_needs(folder_of) -> None:
    given = {"scheduler": {"class": "PNDMScheduler", "skip_prk_steps": False}, "full_steps": 20}
    with pytest.raises(RequestError, match="animatediff cannot make 16x16, 4 frames, in 2 steps"):
        load(folder_of("animatediff"), "animatediff", **given)
    model = load(folder_of("animatediff"), "animatediff", **given, fast_steps=20)
    params = params_of(model)

    steps = list(model.sample(model.encode(params), params, Sampling(num_steps=20, guidance_scale=1.0), seed=0))

    assert len(steps) == 20
    assert len(model.decode(steps[-1].latents, params)) == params.num_frames


def test_sizes_and_lengths_that_a_card_promises_in_vain_are_named(folder_of, caplog) -> None:
    load(folder_of("wan"), "wan", sizes=("32x32", "40x32"), frames=(5, 9, 6))

    assert [record.getMessage() for record in caplog.records if record.name == "worker.models.diffusers.loading"] == [
        "wan cannot make 40x32, 5 frames: `height` and `width` have to be divisible by 16 but are 32 and 40.; "
        "take it out of its card",
        "wan: frames 6 of its card come out as another number: one more than a multiple of 4; write 5 or 9",
    ]


@pytest.mark.parametrize(
    ("name", "size", "said"),
    [
        ("hunyuan15", "66x68", "hunyuan15: size 66x68 of its card comes out as 64x68; write that"),
        (
            "allegro",
            "24x32",
            "allegro cannot make 24x32: its latents of 3x4 have no whole tokens of 2x2; use multiples of 16; take it "
            "out of its card",
        ),
        (
            "cogvideox",
            "32x24",
            "cogvideox cannot make 32x24: its latents of 4x3 have no whole tokens of 2x2; use multiples of 16; take it "
            "out of its card",
        ),
    ],
)
def test_sizes_that_a_pipeline_rounds_or_breaks_at_are_named(folder_of, caplog, name, size, said) -> None:
    load(folder_of(name), name, sizes=("64x64", size))

    assert [record.getMessage() for record in caplog.records if record.name == "worker.models.diffusers.loading"] == [
        said
    ]


@pytest.mark.parametrize("name", [*tiny_pipelines.FAMILIES, *tiny.KINDS])
def test_sides_in_steps_of_the_card_that_is_written_are_made_as_they_are(folder_of, name) -> None:
    given = {"fps": 8, "sizes": ("64x64",), "frames": (9,), "full_steps": STEPS, "guidance_scale": 1.0}
    step = cards.propose(name, cards.look(source.read(str(folder_of(name)))), given).side_multiple
    model = load(folder_of(name), name)
    params = params_of(model, width=3 * step, height=step)
    steps = model.sample(model.encode(params), params, Sampling(num_steps=STEPS, guidance_scale=1.0), seed=3)

    assert model.decode([*steps][-1].latents, params).shape[1:3] == (step, 3 * step)


@pytest.mark.parametrize(("name", "step"), [("allegro", 16), ("cogvideox", 16), ("animatediff", 8), ("ltx", 32)])
def test_sides_are_multiples_of_what_a_token_shows(folder_of, name, step) -> None:
    known = cards.look(source.read(str(folder_of(name))))
    given = {"fps": 8, "sizes": ("64x64",), "frames": (9,), "full_steps": 4, "guidance_scale": 1.0}

    assert cards.propose(name, known, given).side_multiple == step


@pytest.mark.parametrize("name", tiny.KINDS)
def test_sizes_and_lengths_that_can_be_made_are_nothing_to_tell(folder_of, caplog, name) -> None:
    load(folder_of(name), name)

    assert not [record for record in caplog.records if record.name == "worker.models.diffusers.loading"]


def test_a_part_that_guides_is_told_the_scale_of_the_request(folder_of) -> None:
    model, forwards = load(folder_of("hunyuan15"), "hunyuan15"), []
    own = model.pipeline.guider
    model.pipeline.transformer.register_forward_hook(lambda *_: forwards.append(model.pipeline.guider.guidance_scale))

    sampled(model, guidance=1.0)
    sampled(model, guidance=3.0)

    assert forwards == [1.0] * STEPS + [3.0] * 2 * STEPS
    assert model.pipeline.guider is own


def test_a_negative_prompt_that_nothing_would_read_is_refused(folder_of) -> None:
    model = load(folder_of("hunyuan"), "hunyuan")

    with pytest.raises(RequestError, match=r"hunyuan reads no negative prompt.*`call` a true_cfg_scale above 1"):
        model.encode(params_of(model, negative_prompt="a whale"))

    load(folder_of("hunyuan"), "hunyuan", call={"true_cfg_scale": 2.0}).encode(params_of(model, negative_prompt="x"))


class _Swapped:
    """Encodes as EasyAnimate does: both embeddings, then both masks."""

    def encode_prompt(self, prompt: str) -> tuple[Any, ...]:
        return torch.ones(1, 3, 8), None, torch.ones(1, 3), None

    def __call__(
        self,
        prompt: Any = None,
        prompt_embeds: Any = None,
        negative_prompt_embeds: Any = None,
        prompt_attention_mask: Any = None,
        negative_prompt_attention_mask: Any = None,
    ) -> None: ...

    _execution_device = torch.device("cpu")


def test_embeddings_and_masks_are_told_apart_by_their_shape() -> None:
    card = ModelCard(name="m", title="m", source="m", sizes=("32x32",), fps=8, frames=(5,))
    model = DiffusersModel(_Swapped(), card, Fingerprint(revision="r", latent_dtype="float32"))

    found = model.encode(GenerationParams(prompt=FOX, model="m", width=32, height=32, num_frames=5, fps=8)).arguments

    assert (found["prompt_embeds"].ndim, found["prompt_attention_mask"].ndim) == (3, 2)
    assert (found["prompt"], found["negative_prompt_embeds"]) == (None, None)


def test_a_pipeline_whose_steps_cannot_be_followed_breaks_before_it_makes_another_video(folder_of, monkeypatch) -> None:
    with pytest.raises(SourceError, match="gives frames clocks of their own; name SkyReelsV2Pipeline with --pipeline"):
        load(folder_of("forcing"), "forcing")

    monkeypatch.setattr(source, "_UNFOLLOWED", {})  # as a pipeline that nobody has read would be
    with pytest.raises(ValueError, match=r"steps with several schedulers at once|cannot be followed"):
        sampled(load(folder_of("forcing"), "forcing"))


def changed(folder: Path, file: str, key: str, change: Callable[[torch.Tensor], torch.Tensor | None]) -> None:
    """Change, or leave out, one tensor of a file of weights."""
    tensors = load_file(folder / file)
    name = next(name for name in tensors if key in name)
    made = change(tensors.pop(name))
    save_file(tensors if made is None else tensors | {name: made}, folder / file, metadata={"format": "pt"})


WEIGHTS = "diffusion_pytorch_model.safetensors"


def renamed(folder: Path, word: str) -> None:
    for path in [*folder.glob("*/*.safetensors")]:
        path.rename(path.with_name(path.name.replace(".safetensors", f".{word}.safetensors")))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            lambda at: changed(at, f"transformer/{WEIGHTS}", "to_q", lambda _: None),
            "the weights of transformer are not ",
        ),
        (lambda at: changed(at, f"vae/{WEIGHTS}", "conv_in", lambda _: None), "the weights of vae are not whole: "),
        (
            lambda at: changed(at, "text_encoder/model.safetensors", "SelfAttention.q", lambda _: None),
            "the weights of text_encoder are not whole: encoder.block.0.layer.0.SelfAttention.q.weight is missing",
        ),
        (lambda at: (at / "tokenizer/tokenizer.json").unlink(), r": tokenizer holds no words \(.*tokenizer.json"),
        (lambda at: (at / "text_encoder/model.safetensors").write_bytes(b"short"), r"\(text_encoder: "),
        (lambda at: renamed(at, "fp16"), r'files of fp16: give --variant fp16 \("variant" in the card\)'),
        (lambda at: (at / "model_index.json").write_text("[1]"), "is no JSON"),
        (
            lambda at: (at / "model_index.json").write_text(json.dumps({"_class_name": ["theirs", "Theirs"]})),
            r"wants its pipeline \(Theirs\) from a file of its own, which is code of others",
        ),
    ],
    ids=["network", "decoder", "text encoder", "words", "cut", "variant", "a list", "code of others"],
)
def test_weights_and_indexes_that_are_not_whole_are_named(folder_of, tmp_path, damage, message) -> None:
    shutil.copytree(folder_of("wan"), tmp_path / "wan")
    damage(tmp_path / "wan")

    with pytest.raises(SourceError, match=message):
        load(tmp_path / "wan", "wan")


POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 5135149760\n"


@pytest.mark.parametrize(
    "file", [f"transformer/{WEIGHTS}", "text_encoder/model.safetensors", "tokenizer/tokenizer.json"]
)
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (POINTER, "is a pointer of git-lfs, not the file itself; run `git lfs pull` in its folder"),
        ("short", "is not whole ("),
        ("", "is not whole ("),
    ],
    ids=["pointer", "cut", "empty"],
)
def test_a_file_that_is_not_the_one_it_should_be_is_named(folder_of, tmp_path, file, content, said) -> None:
    shutil.copytree(folder_of("wan"), tmp_path / "wan")
    (tmp_path / "wan" / file).write_text(content)

    with pytest.raises(SourceError, match=re.escape(f"{tmp_path / 'wan' / file} {said}")):
        load(tmp_path / "wan", "wan")


def test_a_variant_that_no_file_has_is_to_be_left_out(folder_of) -> None:
    with pytest.raises(SourceError, match="no file of weights has 'fp16' in its name: leave --variant out"):
        load(folder_of("wan"), "wan", variant="fp16")


def test_weights_of_a_variant_are_the_same_model(folder_of, tmp_path) -> None:
    shutil.copytree(folder_of("wan"), tmp_path / "wan")
    renamed(tmp_path / "wan", "bf16")

    assert load(tmp_path / "wan", "wan", variant="bf16").fingerprint == load(folder_of("wan"), "wan").fingerprint


def test_a_variant_that_some_parts_lack_is_taken_where_it_is(folder_of, tmp_path) -> None:
    shutil.copytree(folder_of("wan"), tmp_path / "wan")
    (tmp_path / "wan" / "transformer" / WEIGHTS).rename(
        tmp_path / "wan" / "transformer" / WEIGHTS.replace(".s", ".bf16.s")
    )

    assert load(tmp_path / "wan", "wan", variant="bf16").fingerprint == load(folder_of("wan"), "wan").fingerprint


def test_embeddings_that_two_names_share_are_whole_under_either(folder_of, tmp_path) -> None:
    shutil.copytree(folder_of("wan"), tmp_path / "wan")
    file = tmp_path / "wan" / "text_encoder" / "model.safetensors"
    tensors = load_file(file)
    shared = tensors.pop("shared.weight")
    save_file({**tensors, "encoder.embed_tokens.weight": shared}, file, metadata={"format": "pt"})

    found, own = load(tmp_path / "wan", "wan"), load(folder_of("wan"), "wan")
    assert torch.equal(found.pipeline.text_encoder.encoder.embed_tokens.weight, shared)
    assert found.fingerprint == own.fingerprint


def test_numbers_out_of_range_are_no_black_video(folder_of) -> None:
    model = load(folder_of("wan"), "wan")
    model.pipeline.vae.decoder.conv_out.weight.data *= torch.nan
    latents = sampled(model)[-1].latents

    for broken in (latents, latents * float("inf")):
        with pytest.raises(FloatingPointError, match="wan made values that are no numbers; float16 has too small a ra"):
            model.decode(broken, params_of(model))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"call": {"no_such": 3}}, "call: 'no_such' is no argument of WanPipeline; there are guidance_scale_2, attent"),
        ({"call": {"height": 64}}, "call: 'height' is for each request to say"),
        (
            {"call": {"max_sequence_length": "many"}},
            "call: max_sequence_length 'many' is a text, and WanPipeline takes",
        ),
        (
            {"call": {"guidance_scale_2": "3"}},
            r"call: guidance_scale_2 '3' is a text, and WanPipeline takes float \| No",
        ),
        ({"attention_backend": "fast"}, "wan: attention_backend 'fast': `backend='fast'` must be one of the following"),
        (
            {"attention_backend": "flash"},
            "wan: attention_backend 'flash': Flash Attention backend 'flash' is not usabl",
        ),
        ({"quantization": {"backend": "quanto", "part": []}}, r"unknown \['part'\]; known are backend, options, parts"),
        (
            {"quantization": {"backend": "quanto", "parts": ["unet"]}},
            "'unet' is no part of this WanPipeline; there are",
        ),
        (
            {"quantization": {"backend": "quantum"}},
            "backend 'quantum' is unknown to diffusers; there are bfl, bitsandb",
        ),
        ({"quantization": {"backend": "quanto", "options": {"weights_dtype": "int9"}}}, "wan: quantization .*int9"),
        ({"loras": (Lora(source="a b/c"),)}, r"wan: LoRA a b/c could not be loaded .*; check `loras`"),
        ({"dtype": "int4"}, "wan: dtype 'int4' is unknown; there are float32, bfloat16, float16"),
        ({"vae_dtype": "half"}, "wan: vae_dtype 'half' is unknown; there are float32, bfloat16, float16"),
    ],
)
def test_a_card_that_asks_for_what_is_not_there_names_the_field(folder_of, values, message) -> None:
    with pytest.raises((ValueError, SourceError), match=message):
        load(folder_of("wan"), "wan", **values)


@pytest.mark.filterwarnings("ignore:`QuantoConfig` is deprecated:FutureWarning")
def test_a_back_end_quantises_all_networks_by_the_library_of_each_part(folder_of) -> None:
    """The options of one back end differ between diffusers and transformers."""
    found = source.read(str(folder_of("wan22")))
    networks = ModelCard(
        name="m", title="m", source="m", sizes=(), fps=8, frames=(5,), quantization={"backend": "quanto"}
    )
    text = replace(
        networks, quantization={"backend": "quanto", "parts": ["text_encoder"], "options": {"weights": "int4"}}
    )

    of_networks, of_text = (quantization.of_parts(card, found) for card in (networks, text))

    assert {name: config.weights_dtype for name, config in of_networks.items()} == {
        "transformer": "int8",
        "transformer_2": "int8",
    }
    assert {name: config.weights for name, config in of_text.items()} == {"text_encoder": "int4"}


@pytest.mark.filterwarnings("ignore:`QuantoConfig` is deprecated:FutureWarning")
@pytest.mark.parametrize(
    ("part", "option", "known"),
    [("transformer", "weights", "weights_dtype"), ("text_encoder", "weights_dtype", "weights, activations")],
)
def test_an_option_that_a_back_end_would_drop_is_named(folder_of, part, option, known) -> None:
    wanted = {"backend": "quanto", "parts": [part], "options": {option: "int4"}}

    with pytest.raises(ValueError, match=f"'{option}' is no option of quanto; there are {known}, modules_to_not_co"):
        load(folder_of("wan"), "wan", quantization=wanted)


def test_steps_that_a_card_names_are_as_many_as_it_says(folder_of) -> None:
    """A pipeline makes those, whatever number of steps it is asked for."""
    sigmas = [1.0, 0.9, 0.5, 0.1]
    with pytest.raises(ValueError, match="hunyuan: call: sigmas has 4 steps, and fast_steps is 2; give the same"):
        load(folder_of("hunyuan"), "hunyuan", call={"sigmas": sigmas})

    model = load(folder_of("hunyuan"), "hunyuan", call={"sigmas": sigmas}, fast_steps=STEPS)

    assert len(sampled(model)) == STEPS
    with pytest.raises(
        RequestError, match="hunyuan makes the 4 steps of its card's sigmas, not 3; leave num_inference"
    ):
        model.encode(params_of(model, num_inference_steps=3))


def test_two_unets_are_two_models(folder_of, tmp_path) -> None:
    """Their latents must not be lent to each other."""
    shutil.copytree(folder_of("animatediff"), tmp_path / "other")
    changed(tmp_path / "other", f"unet/{WEIGHTS}", "conv_out.weight", lambda tensor: tensor + 1)

    assert (
        load(tmp_path / "other", "animatediff").fingerprint != load(folder_of("animatediff"), "animatediff").fingerprint
    )


def test_a_part_beside_the_networks_makes_another_model(folder_of) -> None:
    model = load(folder_of("animatediff"), "animatediff")
    model.pipeline.image_encoder = part = torch.nn.Linear(2, 2)
    before = identify(model.pipeline, model.card)

    torch.nn.init.ones_(part.weight)

    assert identify(model.pipeline, model.card) != before


def test_finished_latents_are_decoded_as_they_are(folder_of, monkeypatch) -> None:
    """A pipeline takes what it is given for noise and scales it by Euler's largest s, which is 0 when none is left."""
    euler = {"class": "EulerDiscreteScheduler", "timestep_spacing": "linspace"}
    model, seen = load(folder_of("animatediff"), "animatediff", scheduler=euler), []
    vae, latents = model.pipeline.vae, sampled(model)[-1].latents
    decode = vae.decode
    monkeypatch.setattr(vae, "decode", lambda given, *rest, **more: seen.append(given) or decode(given, *rest, **more))

    model.decode(latents, params_of(model))

    torch.testing.assert_close(torch.cat(seen), latents[0].transpose(0, 1) / vae.config.scaling_factor)


def test_a_decoder_may_be_of_a_finer_precision_than_the_networks(folder_of) -> None:
    """As the makers of Wan decode."""
    coarse, fine = (load(folder_of("wan"), "wan", dtype="bfloat16", vae_dtype=kind) for kind in (None, "float32"))
    latents = sampled(coarse)[-1].latents

    assert torch.equal(sampled(fine)[-1].latents, latents)
    assert {part: getattr(fine.pipeline, part).dtype for part in ("transformer", "text_encoder", "vae")} == {
        "transformer": torch.bfloat16,
        "text_encoder": torch.bfloat16,
        "vae": torch.float32,
    }
    exact = load(folder_of("wan"), "wan")
    off = [
        np.abs(model.decode(latents, params_of(model)).astype(int) - exact.decode(latents, params_of(exact))).mean()
        for model in (fine, coarse)
    ]
    assert off[0] < 0.1 < off[1]


def test_a_pipeline_that_cannot_decode_in_another_precision_says_so(folder_of) -> None:
    said = (
        "latte: vae_dtype 'float32': LattePipeline cannot decode in another precision than bfloat16 (.*); leave it out"
    )

    with pytest.raises(ValueError, match=said):
        load(folder_of("latte"), "latte", dtype="bfloat16", vae_dtype="float32")


def test_a_video_may_be_decoded_in_pieces(folder_of) -> None:
    model = load(folder_of("wan"), "wan", vae_tiling=True)

    assert model.pipeline.vae.use_tiling
    assert len(model.decode(sampled(model)[-1].latents, params_of(model))) == 5
