"""Speed settings: each gives the same video within its precision, or is left off with the reason."""

import logging

import pytest
import torch
from torch import nn

from worker.models.opensora.compilation import Fp8Linear, Int8Linear, Options, optimize
from worker.models.opensora.pipeline import ChaiPipeline
from worker.models.opensora.presets import tiny
from worker.models.opensora.stdit3 import Block


def video(pipeline: ChaiPipeline) -> torch.Tensor:
    *_, step = pipeline.steps("a cat", pipeline.schedule(3), num_frames=8, seed=1)
    return step.latents


def distance(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a - b).norm() / b.norm())


def test_the_default_options_change_no_number():
    pipeline = tiny()
    before = video(pipeline)

    outcome = optimize(pipeline, Options())

    assert (outcome.applied, outcome.refused) == ((), {})
    assert torch.equal(video(pipeline), before)


@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")  # the compiler's own
@pytest.mark.parametrize("backend", ["eager", pytest.param("inductor", marks=pytest.mark.bench)])  # a minute of C++
def test_compiled_blocks_give_the_same_video(monkeypatch, backend):
    pipeline = tiny()
    before = video(pipeline)
    monkeypatch.setattr(Block, "compile", lambda block: nn.Module.compile(block, backend=backend))

    outcome = optimize(pipeline, Options(mode="compile"))

    assert outcome.applied == ("compile",)
    torch.testing.assert_close(video(pipeline), before, atol=1e-3, rtol=1e-3)
    torch._dynamo.reset()


def test_a_compiler_that_fails_is_left_off_with_its_reason(monkeypatch, caplog):
    pipeline = tiny()
    before = video(pipeline)
    monkeypatch.setattr(Block, "compile", lambda block: setattr(block, "_compiled_call_impl", broken_call))

    with caplog.at_level(logging.WARNING):
        outcome = optimize(pipeline, Options(mode="compile"))

    assert outcome.refused == {"compile": "no compiler found"}
    assert "compile is left off: no compiler found" in caplog.text
    assert torch.equal(video(pipeline), before)


def broken_call(*args, **kwargs):
    raise RuntimeError("no compiler found\nwith a long explanation")


@pytest.mark.skipif(torch.cuda.is_available(), reason="graphs work here")
def test_graphs_are_refused_without_a_gpu(monkeypatch):
    pipeline = tiny()
    monkeypatch.setattr(Block, "compile", lambda block: None)

    outcome = optimize(pipeline, Options(mode="graphs"))

    assert outcome.refused == {"graphs": "CUDA graphs need a CUDA device, this is cpu"}
    assert pipeline.network is pipeline.transformer


@pytest.mark.gpu
def test_recorded_steps_give_the_same_video_for_every_prompt():
    pipeline = tiny().to("cuda")
    before = [pipeline(prompt, seed=1, output_type="latent").frames for prompt in ("a cat", "a dog", "a")]

    outcome = optimize(pipeline, Options(mode="graphs"))

    assert outcome.applied == ("compile", "graphs")
    for prompt, expected in zip(("a cat", "a dog", "a"), before, strict=True):
        torch.testing.assert_close(
            pipeline(prompt, seed=1, output_type="latent").frames, expected, atol=1e-3, rtol=1e-3
        )


def test_bfloat16_stays_near_float32():
    pipeline = tiny()
    before = video(pipeline)

    optimize(pipeline, Options(dtype=torch.bfloat16))

    assert pipeline.transformer.dtype == pipeline.vae.dtype == torch.bfloat16
    assert video(pipeline).dtype == torch.float32
    assert distance(video(pipeline), before) < 0.2


def test_fp8_layers_stay_near_bfloat16():
    pipeline = tiny()
    optimize(pipeline, Options(dtype=torch.bfloat16))
    before = video(pipeline)

    outcome = optimize(pipeline, Options(fp8=True))

    assert outcome.applied == ("fp8",)
    assert isinstance(pipeline.transformer.blocks[0].mlp.fc1, Fp8Linear)
    assert 0 < distance(video(pipeline), before) < 0.3


def test_fp8_without_bfloat16_says_what_to_set():
    outcome = optimize(tiny(), Options(fp8=True))

    assert outcome.refused == {
        "fp8": "fp8 layers give bfloat16 and the transformer is torch.float32; set dtype to bfloat16"
    }


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("kind", "tolerance"), [(Int8Linear, 0.01), (Fp8Linear, 0.06)])
def test_an_8_bit_layer_stays_near_its_original(kind, tolerance, bias):
    torch.manual_seed(0)
    linear = nn.Linear(64, 32, bias=bias, dtype=torch.bfloat16 if kind is Fp8Linear else torch.float32)
    x = torch.randn(2, 5, 64, dtype=linear.weight.dtype)

    assert distance(kind(linear)(x).float(), linear(x).float()) < tolerance


def test_a_text_encoder_in_8_bit_stays_near_float32():
    pipeline = tiny()
    before = pipeline.encode_prompt("a cat").embeds
    pipeline = tiny()

    outcome = optimize(pipeline, Options(text="int8"))

    assert outcome.applied == ("text int8",)
    assert 0 < distance(pipeline.encode_prompt("a cat").embeds, before) < 0.02


def test_an_offloaded_text_encoder_gives_the_same_caption():
    pipeline = tiny()
    before = tiny().encode_prompt("a cat").embeds

    optimize(pipeline, Options(text="offload"))

    assert torch.equal(pipeline.encode_prompt("a cat").embeds, before)
