"""Speed settings: each gives the same video within its precision, or is left off with the reason."""

import copy
import functools
import logging
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from diffusers.models.resnet import ResnetBlock2D
from einops import rearrange
from torch import nn

from worker.models.opensora import optimization
from worker.models.opensora.blocks import Block, Mlp
from worker.models.opensora.optimization import (
    MAX_VARIANTS,
    Int8Linear,
    Options,
    check_gelu,
    compile_decoder,
    decoder_blocks,
    join_gelu,
    limit_of_variants,
    optimize,
    options,
)
from worker.models.opensora.pipeline import ChaiPipeline
from worker.models.opensora.presets import tiny
from worker.models.opensora.sizes import VideoSize
from worker.models.opensora.vae import OpenSoraVAE
from worker.reuse.cache_attention import CacheAttention
from worker.reuse.donor import Donor


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
@pytest.mark.bench
def test_compiled_blocks_give_the_same_video(fresh_compiler):  # minutes of C++
    pipeline = tiny()
    before = video(pipeline)

    outcome = optimize(pipeline, Options(mode="compile"))

    assert outcome.applied == ("compile",)
    assert outcome.told() == {"compile": "on"}
    torch.testing.assert_close(video(pipeline), before, atol=1e-3, rtol=1e-3)


@pytest.fixture(scope="module")
def fresh_compiler() -> Iterator[None]:
    """A compiler that has seen nothing but this module, and whose settings are put back."""
    shapes = torch.fx.experimental._config.use_duck_shape
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()
    torch.fx.experimental._config.use_duck_shape = shapes


PROMPTS = ("a cat", "a", "a dog and a cat on a mat beside a long red sofa")
SIZES = ((32, 32), (48, 32), (64, 64), (32, 48))
WAYS = (None, {"halves": "both"}, {"halves": "conditional"}, {"source": "same_index"})


def mixed_jobs(count: int) -> list[dict[str, Any]]:
    """Jobs that differ in all that users can vary."""
    draw = random.Random(7)
    return [
        {
            "prompt": draw.choice(PROMPTS),
            "negative": draw.choice((None, "ugly and grey")),
            "size": draw.choice(SIZES),
            "num_frames": draw.choice((1, 8, 12, 17)),
            "guidance": draw.choice((7.0, 3.5, 1.0)),
            "unguided": draw.choice((0, 1)),
            "way": draw.choice(WAYS),
        }
        for _ in range(count)
    ]


def made(pipeline: ChaiPipeline, job: dict[str, Any]) -> torch.Tensor:
    height, width = job["size"]
    measures = {"height": height, "width": width, "num_frames": job["num_frames"]}
    hooks = []
    if job["way"] is not None:
        latent = torch.randn(1, *pipeline.latent_shape(**measures), generator=torch.Generator().manual_seed(5))
        donor = Donor(tensors={"latent_02": latent}, timesteps={"latent_02": 500.0})
        hooks = [CacheAttention(steps=(2,), **job["way"]).bind([donor], [1000.0, 500.0])]
    negative = job["negative"] and pipeline.encode_prompt([job["negative"]])
    schedule = pipeline.schedule(2, job["guidance"], unguided_steps=job["unguided"])
    *_, step = pipeline.steps(job["prompt"], schedule, **measures, seed=1, negative=negative, hooks=hooks)
    return step.latents


@pytest.fixture(scope="module")
def warmed(fresh_compiler: None) -> ChaiPipeline:
    """A pipeline compiled for 17 frames and for a picture, as far as the compiler traces: C++ would take minutes.

    Its attention fills tiles, as on a GPU.
    """
    pipeline = tiny()
    pipeline.transformer.tiled_on = "cpu"
    sizes = tuple(VideoSize(height=32, width=32, num_frames=count) for count in (17, 1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Block, "compile", lambda block, **options: nn.Module.compile(block, backend="eager", **options))
        outcome = optimize(pipeline, Options(mode="compile", warm=sizes))
    assert outcome.applied == ("compile",)
    return pipeline


@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")  # the compiler's own
def test_no_job_waits_for_a_compiler_after_the_warm_up(warmed):
    plain = tiny()
    warm = torch._dynamo.utils.counters["stats"]["unique_graphs"]

    for job in mixed_jobs(30):
        torch.testing.assert_close(made(warmed, job), made(plain, job), atol=1e-4, rtol=1e-4)

    assert warm > 0
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == warm


@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")
def test_what_was_not_warmed_up_is_compiled_too_in_whichever_thread(warmed):
    """Settings of the compiler are a thread's own: one that loads must not be the only one that may compile more."""
    variants = [{"blend": 0.5}, {"keys": "extend"}, {"bias": 1.0}, {"bias": 1.0, "halves": "conditional"}]
    job = {"prompt": "a", "negative": None, "size": (32, 32), "num_frames": 17, "guidance": 7.0, "unguided": 0}
    graphs = torch._dynamo.utils.counters["stats"]

    def run(way: dict[str, Any]) -> bool:
        before = graphs["unique_graphs"]
        made(warmed, {**job, "way": way})
        return graphs["unique_graphs"] > before

    with ThreadPoolExecutor(1) as other:
        assert [other.submit(run, way).result() for way in variants] == [True] * len(variants)


def test_a_rearrangement_is_taken_whole(warmed):
    """Traced, einops would read its pattern symbol by symbol, in each of a dozen variants of a block."""
    calls = []

    def note(graph, _):
        calls.extend(node.target for node in graph.graph.nodes if node.op == "call_function")
        return graph.forward

    torch.compile(lambda x: rearrange(x, "a b -> b a"), backend=note)(torch.ones(2, 3))

    assert calls == [rearrange]


@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch", "ignore:Dynamo detected a call to a `functools")
def test_no_video_waits_for_a_compiler_while_it_is_decoded(fresh_compiler, golden, monkeypatch):
    compile_it = functools.partialmethod(nn.Module.compile, backend="eager")  # C++ would take minutes
    monkeypatch.setattr(ResnetBlock2D, "compile", compile_it, raising=False)
    pipeline, plain = tiny(), OpenSoraVAE(**golden.json("vae/config")).eval()
    pipeline.vae = copy.deepcopy(plain)
    graphs = torch._dynamo.utils.counters["stats"]
    before = graphs["unique_graphs"]

    compile_decoder(pipeline, tuple(VideoSize(height=32, width=32, num_frames=count) for count in (6, 1)))
    warm = graphs["unique_graphs"]

    for height, width, num_frames in ((32, 32, 6), (48, 32, 9), (32, 64, 17), (32, 32, 1)):
        latents = torch.randn(1, *plain.latent_size(num_frames, height, width)).unsqueeze(1).repeat(1, 4, 1, 1, 1)
        found = pipeline.vae.decode(latents, num_frames)
        torch.testing.assert_close(found, plain.decode(latents, num_frames), atol=1e-4, rtol=1e-4)
    assert before < warm == graphs["unique_graphs"]


def test_a_decoder_that_cannot_be_compiled_decodes_as_before(golden, monkeypatch):
    pipeline = tiny()
    pipeline.vae = OpenSoraVAE(**golden.json("vae/config")).eval()
    latents = torch.randn(1, 4, *pipeline.vae.latent_size(1, 32, 32))
    before = pipeline.vae.decode(latents, 1)
    monkeypatch.setattr(
        ResnetBlock2D, "compile", lambda block, **_: setattr(block, "_compiled_call_impl", broken_call), raising=False
    )

    with pytest.raises(RuntimeError, match="no compiler found"):
        compile_decoder(pipeline, (VideoSize(height=32, width=32, num_frames=1),))

    assert torch.equal(pipeline.vae.decode(latents, 1), before)


def test_a_vae_without_a_spatial_decoder_has_nothing_to_compile():
    assert decoder_blocks(tiny().vae) == []


def test_a_torch_that_knows_no_limit_of_one_block_gets_it_for_all(monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda model=None, *, dynamic=None: model)

    with torch._dynamo.config.patch(recompile_limit=8):  # monkeypatch would leave the compiler without a limit
        assert limit_of_variants() == {}
        assert torch._dynamo.config.recompile_limit == MAX_VARIANTS


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_product_that_gives_the_exact_gelu_is_noticed(dtype):
    """As torch's does on a CPU."""
    with pytest.raises(RuntimeError, match="on cpu the GELU of a product is not the tanh form"):
        check_gelu(torch.device("cpu"), dtype)


@pytest.mark.parametrize("error", [0, 5e-4])  # of a GPU's own instruction for tanh
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_product_that_gives_the_tanh_form_is_taken(monkeypatch, dtype, error):
    def product(bias, rows, weight, *, use_gelu):
        inner = rows.float() @ weight.float() + bias.float()
        wrong = error * torch.where(torch.arange(inner.numel()).view_as(inner) % 2 == 0, 1, -1)
        tanh = torch.tanh((2 / torch.pi) ** 0.5 * (inner + 0.044715 * inner**3)) * (1 + wrong)
        return (0.5 * inner * (1 + tanh)).to(dtype)

    monkeypatch.setattr(torch, "_addmm_activation", product)

    check_gelu(torch.device("cpu"), dtype)


def test_a_gelu_stays_a_kernel_of_its_own_where_there_are_gradients_or_another_device():
    part, x = Mlp(32, 64, 32), torch.linspace(-4, 4, 64).view(2, 32)
    plain = part(x)

    join_gelu([part], "cuda")
    assert torch.equal(part(x), plain)
    join_gelu([part], "cpu")
    assert 0 < distance(part(x), plain) < 1e-3  # the exact form: the product's
    with torch.enable_grad():
        assert torch.equal(part(x), plain)


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_gpu_joins_the_gelu_with_its_product(dtype):
    plain, pipeline = tiny().to("cuda", dtype), tiny()

    outcome = optimize(pipeline, Options(dtype=dtype), "cuda")

    assert outcome.applied == ("gelu in product",)
    assert 0 < distance(video(pipeline), video(plain)) < 0.1


def test_auto_compiles_on_a_gpu_only():
    chosen = {device: options(torch.device(device), mode="auto").mode for device in ("cpu", "cuda")}

    assert chosen == {"cpu": "off", "cuda": "compile"}


def test_a_compiler_that_fails_is_left_off_with_its_reason(monkeypatch, caplog):
    pipeline = tiny()
    before = video(pipeline)
    monkeypatch.setattr(Block, "compile", lambda block, **_: setattr(block, "_compiled_call_impl", broken_call))

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
    monkeypatch.setattr(Block, "compile", lambda block, **_: None)

    outcome = optimize(pipeline, Options(mode="graphs"))

    assert outcome.refused == {"graphs": "CUDA graphs need a CUDA device, this is cpu"}
    assert pipeline.network is pipeline.transformer


@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch", "ignore:TensorFloat32")  # the compiler's own
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


@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch", "ignore:TensorFloat32")
@pytest.mark.gpu
def test_a_gpu_decodes_by_compiled_blocks(golden):
    pipeline = tiny()
    pipeline.vae = OpenSoraVAE(**golden.json("vae/config")).eval()
    latents = torch.randn(1, 4, *pipeline.vae.latent_size(5, 32, 32))
    before = pipeline.vae.decode(latents, 5)

    outcome = optimize(pipeline, Options(mode="compile", warm=(VideoSize(height=32, width=32, num_frames=5),)), "cuda")

    assert outcome.applied == ("compile", "compile decoder")
    torch.testing.assert_close(pipeline.vae.decode(latents.cuda(), 5).cpu(), before, atol=1e-2, rtol=1e-2)


class Recorded:
    """A recording that runs the network again."""

    def __init__(self, network, pool, x, timestep, caption, fps, size):
        del pool, x, timestep, caption, fps
        self.network, self.size = network, size

    def replay(self, x, timestep, caption, fps):
        copied = caption.map(torch.clone)
        return self.network(x, timestep, copied, fps=fps, height=self.size[0], width=self.size[1])


@pytest.mark.parametrize(("most", "count"), [(31, 0), (32, 1)])
def test_a_forward_is_recorded_only_where_it_is_small(monkeypatch, most, count):
    """A large one keeps a GPU busy for longer than its launches take: a recording would hold memory for nothing."""
    monkeypatch.setattr(optimization, "RECORDED_TOKENS", most)
    monkeypatch.setattr(optimization, "_Recording", Recorded)
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: None)
    pipeline = tiny()
    before = image(pipeline)
    pipeline.network = network = optimization.RecordedTransformer(pipeline.transformer)

    assert torch.equal(image(pipeline), before)
    assert len(network._recordings) == count


@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")
def test_a_recording_runs_the_code_that_steps_run(warmed, monkeypatch):
    """Of copies: laid out in another way they would be compiled for once more."""
    monkeypatch.setattr(optimization, "_Recording", Recorded)
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: None)
    monkeypatch.setattr(warmed, "network", optimization.RecordedTransformer(warmed.transformer))
    warm = torch._dynamo.utils.counters["stats"]["unique_graphs"]

    image(warmed)

    assert len(warmed.network._recordings) == 1
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == warm


def image(pipeline: ChaiPipeline) -> torch.Tensor:
    """Of 16 tokens in each half of guidance."""
    *_, step = pipeline.steps("a cat", pipeline.schedule(2), height=32, width=32, num_frames=1, seed=1)
    return step.latents


def test_bfloat16_stays_near_float32():
    pipeline = tiny()
    before = video(pipeline)

    optimize(pipeline, Options(dtype=torch.bfloat16))

    assert pipeline.transformer.dtype == pipeline.vae.dtype == torch.bfloat16
    assert video(pipeline).dtype == torch.float32
    assert distance(video(pipeline), before) < 0.2


@pytest.mark.parametrize("bias", [True, False])
def test_an_8_bit_layer_stays_near_its_original(bias):
    torch.manual_seed(0)
    linear, x = nn.Linear(64, 32, bias=bias), torch.randn(2, 5, 64)

    assert distance(Int8Linear(linear)(x), linear(x)) < 0.01


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
