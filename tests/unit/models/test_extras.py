"""Where a prompt's entities are among its tokens, and what a full run leaves for later ones."""

import pytest
import torch

from worker.models.opensora.presets import tiny
from worker.models.opensora.sampler import Conditioning
from worker.reuse.recorder import Recorder
from worker.reuse.recording import FullRun, extras, token_positions
from worker.reuse.ways import Residual, Reuse, mask_name, residual_name

PROMPT = "two small foxes run over a snowy field"
SHORT = "ox ice"  # fits the eight letters that the tiny model reads


@pytest.fixture(scope="module")
def pipeline():
    return tiny()


@pytest.fixture(scope="module")
def run(pipeline):
    return full_run(pipeline, PROMPT)


def full_run(pipeline, prompt):
    caption = pipeline.encode_prompt([prompt])
    noise = pipeline.noise(3, height=32, width=32, num_frames=8)
    schedule = pipeline.schedule(num_steps=6)
    steps = list(pipeline.steps(caption, schedule, height=32, width=32, num_frames=8, fps=8, noise=noise))
    where = Conditioning(height=32, width=32, num_frames=8, fps=8)
    return FullRun(pipeline=pipeline, prompt=prompt, caption=caption, conditioning=where, noise=noise, steps=steps)


@pytest.mark.parametrize(
    ("phrase", "head", "covered"),
    [
        ("small fox", "fox", "small foxes"),  # kept in the singular, said in the plural
        ("snowy field", "field", "snowy field"),
        ("arctic fox", "fox", "foxes"),  # only the head is in the text
        ("whale", "whale", ""),
    ],
)
def test_a_phrase_is_found_among_the_tokens(pipeline, phrase, head, covered):
    positions = token_positions(pipeline.tokenizer, PROMPT, phrase, head)

    offsets = pipeline.tokenizer(PROMPT, return_offsets_mapping=True)["offset_mapping"]
    start = PROMPT.find(covered)
    inside = [i for i, (a, b) in enumerate(offsets) if a < b and start <= a and b <= start + len(covered)]
    assert list(positions) == (inside if covered else [])


def test_each_entity_gets_a_mask_of_some_tokens(pipeline):
    run = full_run(pipeline, SHORT)
    found = extras(run, ("masks",), {"ox": "ox", "ice": "ice"}, run.pipeline.schedule(3))

    assert set(found) == {mask_name("ox"), mask_name("ice")}
    assert {mask.dtype for mask in found.values()} == {torch.bool}
    assert all(0 < mask.float().mean() < 1 for mask in found.values())


def test_one_entity_alone_gives_no_mask(run):
    assert extras(run, ("masks",), {"small fox": "fox"}, run.pipeline.schedule(3)) == {}


def test_nothing_asked_is_nothing_made(run):
    assert extras(run, ("nearest",), {"small fox": "fox", "snowy field": "field"}, run.pipeline.schedule(3)) == {}


def test_a_fast_run_with_its_own_residuals_arrives_where_the_full_run_did(run):
    fast = run.pipeline.schedule(3)
    recorder = Recorder(seed=3)
    for step in run.steps:
        recorder.add(step)
    found = extras(run, ("residuals",), {}, fast)
    donor = recorder.donor(found)

    *_, last = run.pipeline.steps(
        run.caption,
        fast,
        height=32,
        width=32,
        num_frames=8,
        fps=8,
        noise=run.noise,
        reuse=Reuse(donors=(donor,), residual=Residual()),
    )

    assert set(found) == {residual_name(step) for step in (1, 2, 3)}
    torch.testing.assert_close(last.latents, run.steps[-1].latents, atol=1e-3, rtol=1e-3)
