"""Halves of guidance on two devices: the numbers of one device, and every tensor where its half is made."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from worker.models.opensora.blocks import Block
from worker.models.opensora.optimization import Options, optimize
from worker.models.opensora.pipeline import ChaiPipeline
from worker.models.opensora.presets import stdit3_tiny_config, tiny
from worker.models.opensora.stdit3 import STDiT3, position_embedding
from worker.models.opensora.two_devices import OnTwoDevices
from worker.models.video_model import CachedLatents
from worker.reuse.active_tokens import ActiveTokens
from worker.reuse.cache_attention import CacheAttention
from worker.reuse.donor import CLEAN, Donor
from worker.reuse.resume import Resume

SIZE = {"height": 32, "width": 32, "num_frames": 8}
LEVELS = {"latent_02": 700.0, "latent_03": 400.0}


def rows_of(network: nn.Module) -> list[int]:
    """Collect how many rows each forward of a network makes."""
    seen: list[int] = []
    network.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
    return seen


def made(pipeline: ChaiPipeline, job: dict[str, Any]) -> torch.Tensor:
    """The latents of a job of three steps."""
    hooks = []
    if "way" in job:
        latent = torch.randn(1, *pipeline.latent_shape(**SIZE), generator=torch.Generator().manual_seed(5))
        donor = Donor(tensors=dict.fromkeys((CLEAN, *LEVELS), latent), timesteps=LEVELS)
        hooks = [job["way"].bind([donor], [1000.0, 700.0, 400.0])]
    negative = pipeline.encode_prompt(job["negative"]) if "negative" in job else None
    schedule = pipeline.schedule(3, job.get("guidance", 7.0), unguided_steps=job.get("unguided", 0))
    prompts = job.get("prompts", ["a cat"])
    *_, step = pipeline.steps(prompts, schedule, **SIZE, seed=1, negative=negative, hooks=hooks)
    return step.latents


@pytest.mark.parametrize(
    ("job", "first", "second"),  # rows that each device makes, step by step
    [
        ({}, [1, 1, 1], [1, 1, 1]),
        ({"negative": ["ugly and grey"]}, [1, 1, 1], [1, 1, 1]),
        ({"prompts": ["a cat", "a dog on a mat"]}, [2, 2, 2], [2, 2, 2]),
        ({"unguided": 1}, [1, 1, 1], [1, 1]),
        ({"guidance": 1.0}, [1, 1, 1], []),
        ({"way": CacheAttention(steps=(2, 3))}, [1, 1, 1], [1, 1, 1]),
        ({"way": CacheAttention(steps=(2,), blend=0.5, keys="extend")}, [1, 1, 1], [1, 1, 1]),
        ({"way": CacheAttention(steps=(2,), halves="conditional")}, [1, 1, 1], [1, 1, 1]),
        ({"way": CacheAttention(steps=(2,)), "prompts": ["a cat", "a dog"]}, [2, 2, 2], [2, 2, 2]),
        ({"way": Resume(level=0.7)}, [1, 1], [1, 1]),
        ({"way": ActiveTokens(threshold=5.0, least=0.0)}, [2, 2, 2], []),
    ],
)
def test_two_devices_make_what_one_makes(job, first, second):
    expected = made(tiny(), job)
    pipeline = tiny()
    pipeline.network = OnTwoDevices(pipeline.transformer, torch.device("cpu"))
    seen = rows_of(pipeline.transformer), rows_of(pipeline.network.copy)

    found = made(pipeline, job)

    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    assert seen == (first, second)


def test_each_run_reads_its_own_caption_on_the_second_device():
    pipeline, jobs = tiny(), [{"negative": [words]} for words in ("ugly", "grey and long", "ugly")]
    pipeline.network = OnTwoDevices(pipeline.transformer, torch.device("cpu"))

    for job in jobs:
        torch.testing.assert_close(made(pipeline, job), made(tiny(), job), atol=1e-5, rtol=1e-5)


@pytest.fixture
def nothing_kept() -> Iterator[None]:
    """No positions of other tests, which have numbers, and none for them."""
    position_embedding.cache_clear()
    yield
    position_embedding.cache_clear()


def put_on(module: nn.Module, device: str) -> None:
    """Move what has no numbers."""
    for part in module.modules():
        for held in (part._parameters, part._buffers):
            for name, old in held.items():
                new = old if old is None else torch.empty(old.shape, device=device)
                held[name] = nn.Parameter(new) if isinstance(old, nn.Parameter) else new


@pytest.mark.parametrize("rows", [None, 1])
def test_every_tensor_is_where_its_half_is_made(nothing_kept, rows):
    """Two devices that only shapes are kept of: what lies on the wrong one raises."""
    with torch.device("meta"):
        transformer = STDiT3(**stdit3_tiny_config())
    with FakeTensorMode(), torch.no_grad():
        put_on(transformer, "cpu")
        network = OnTwoDevices(transformer, torch.device("meta"))
        x, ones = torch.empty(2, 4, 2, 8, 8, device="cpu"), torch.ones(1, device="cpu")
        caption = network.pack_caption(network.null_caption(2), None, 2, keep_keys=True)
        caption = replace(caption, mask=torch.ones(2, 1, 1, caption.tokens.shape[1], dtype=bool, device="cpu"))
        donor = torch.empty(1, 4, 2, 8, 8)
        lent = CachedLatents(latents=(donor,), bias=1.0, blend=0.5, rows=rows)

        out = network(x, ones, caption, fps=ones, height=32, width=32, cached=lent)

    assert network.copy.device == torch.device("meta")
    assert (out.device, len(out)) == (torch.device("cpu"), 2)


def test_blocks_on_both_devices_are_compiled(monkeypatch):
    pipeline, compiled = tiny(), []
    monkeypatch.setattr(Block, "compile", lambda block, **_: compiled.append(block))
    pipeline.network = OnTwoDevices(pipeline.transformer, torch.device("cpu"))

    outcome = optimize(pipeline, Options(mode="compile"))

    assert outcome.applied == ("compile",)
    assert compiled == [*pipeline.transformer.blocks, *pipeline.network.copy.blocks]


def test_the_second_device_gets_the_transformer_as_the_first_has_it():
    pipeline = tiny()

    outcome = optimize(pipeline, Options(dtype=torch.bfloat16, second_device="meta"))

    assert outcome.applied == ("second device",)
    assert (pipeline.network.copy.device, pipeline.network.copy.dtype) == (torch.device("meta"), torch.bfloat16)
    assert pipeline.transformer.device == torch.device("cpu")


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (Options(second_device="cpu"), "cpu is the first device already; name another"),
        (Options(second_device="meta", mode="graphs"), "a recording has the kernels of one device"),
        (Options(second_device="nowhere"), "nowhere"),
    ],
)
def test_a_second_device_that_cannot_be_is_left_off_with_its_reason(monkeypatch, options, reason):
    pipeline = tiny()
    monkeypatch.setattr(Block, "compile", lambda block, **_: None)

    outcome = optimize(pipeline, options)

    assert reason in outcome.refused["second device"]
    assert pipeline.network is pipeline.transformer


@torch.no_grad()
def test_a_donor_for_every_row_is_read_on_the_first_device_alone():
    torch.manual_seed(0)
    transformer = STDiT3(**stdit3_tiny_config()).eval()
    network, ones = OnTwoDevices(transformer, torch.device("cpu")), torch.ones(1)
    caption = transformer.pack_caption(transformer.null_caption(2), None, 2, keep_keys=True)
    lent = CachedLatents(latents=(torch.randn(2, 4, 2, 8, 8),))
    there, x = rows_of(network.copy), torch.randn(2, 4, 2, 8, 8)

    found = network(x, ones, caption, fps=ones, height=32, width=32, cached=lent)

    assert torch.equal(found, transformer(x, ones, caption, fps=ones, height=32, width=32, cached=lent))
    assert there == []
