"""Forwards of one job on several devices: two processes on the CPU make what one makes; none outlives its worker.

What is relied upon in diffusers (plans to split a network, the place in its attention that exchanges, hooks) has no
test of its own: without any of it the parts would attend to themselves alone, and the numbers would be others.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from shared.generation import GenerationParams
from shared.model_cards import ModelCard
from tests import tiny_pipelines
from tests.processes import is_running
from worker.jobs import faults as blame
from worker.models import device_faults, registry
from worker.models.diffusers import parallel
from worker.models.diffusers.loading import compile_blocks
from worker.models.registry import EngineOptions
from worker.models.video_model import RequestError, Sampling

pytestmark = pytest.mark.filterwarnings("ignore:.*all_gather_tensor:FutureWarning")  # diffusers' own affair
STEPS = 4
PATIENCE_S = 60  # of a test, with whatever else a machine does


def load(folder: Path, name: str, **values: Any) -> Any:
    if not (folder / name).exists():
        tiny_pipelines.save(name, folder / name / "pipeline")
    width, height, frames = tiny_pipelines.SIZES[name]
    size = {"sizes": (f"{width}x{height}",), "fps": 8, "frames": (frames,)}
    card = ModelCard(name=name, title=name, source="pipeline", family="diffusers", **size | values)
    return registry.load(card, folder, EngineOptions(device="cpu"))


def steps(model: Any, **values: int) -> Iterator[Any]:
    width, height = (int(side) for side in model.card.default_size.split("x"))
    size = {"width": width, "height": height, "num_frames": model.card.default_frames} | values
    params = GenerationParams(prompt="a red fox runs", model=model.card.name, fps=8, **size)
    sampling = Sampling(num_steps=STEPS, guidance_scale=5.0)
    return model.sample(model.encode(params), params, sampling, seed=3)


def made(model: Any, **values: int) -> torch.Tensor:
    """The latents of a whole run."""
    *_, last = steps(model, **values)
    return last.latents


def follower() -> psutil.Process:
    """The one process that makes forwards for this one."""
    children = (child for child in psutil.Process().children() if is_running(child))  # others' may wait to be reaped
    (found,) = (child for child in children if parallel.FOLLOWER in child.cmdline())
    return found


def wait_until(is_true: Callable[[], bool]) -> None:
    until = time.monotonic() + PATIENCE_S
    while not is_true():
        assert time.monotonic() < until, "not within a minute"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def pair(folder: Path) -> Iterator[Any]:
    """A tiny Wan on two processes."""
    with torch.no_grad():
        return load(folder, "wan", context_parallel=2)


def test_two_processes_make_half_of_the_tokens_each_and_what_one_makes(pair, folder) -> None:
    expected, seen = made(load(folder, "wan")), []
    block = pair.pipeline.transformer.blocks[1]
    watching = block.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape[1]))

    found = made(pair)

    watching.remove()
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    assert seen == [4] * 2 * STEPS  # of 2 x 2 x 2 tokens, guided
    assert pair.engine == {"context parallel": "on 2 devices, whose seconds count once"}


def test_a_run_that_is_left_between_two_steps_leaves_the_follower_ready_for_the_next(pair) -> None:
    expected, process = made(pair), follower()

    left = steps(pair)
    next(left)
    left.close()

    assert torch.equal(made(pair), expected)
    assert follower() == process


def test_a_length_without_equal_parts_is_refused_and_nobody_is_lost(pair) -> None:
    expected, process = made(pair), follower()

    with pytest.raises(RequestError, match="its 9 tokens have no 2 equal parts; ask for another size or length"):
        made(pair, width=48, height=48, num_frames=1)

    assert torch.equal(made(pair), expected)
    assert follower() == process


def test_a_follower_without_memory_is_a_job_that_does_not_fit_and_the_next_has_a_new_one(pair) -> None:
    expected, process = made(pair), follower()
    most = process.memory_info().vms + (8 << 20)
    process.rlimit(psutil.RLIMIT_AS, (most, most))

    with pytest.raises(torch.OutOfMemoryError, match=r"another device of this model .* can't allocate memory") as broke:
        made(pair, width=2048, height=2048, num_frames=33)  # latents of 38 MB

    assert blame.sort(broke.value).code == "out_of_memory"
    assert not is_running(process)
    assert torch.equal(made(pair), expected)


@pytest.mark.parametrize(("by", "exchange_s"), [(signal.SIGKILL, 60.0), (signal.SIGSTOP, 5.0)], ids=["dead", "hung"])
def test_a_follower_lost_within_a_forward_is_a_lost_device(pair, monkeypatch, by, exchange_s) -> None:
    if exchange_s < parallel.EXCHANGE_S["cpu"]:
        monkeypatch.setitem(parallel.EXCHANGE_S, "cpu", exchange_s)
        parallel.end_all()  # what is there has longer
    made(pair)
    process, block = follower(), pair.pipeline.transformer.blocks[1]
    losing = block.register_forward_pre_hook(lambda *_: process.send_signal(by))

    with pytest.raises(device_faults.DeviceLost, match="its process died, or did not answer in time") as broke:
        made(pair)

    losing.remove()
    fault = blame.sort(broke.value)
    assert (fault.blame, fault.is_free) == (blame.Blame.MACHINE, True)
    assert device_faults.is_broken(broke.value)  # so the worker ends this process, and begins a new one
    assert not is_running(process)


KILLED = """
import sys, time
from pathlib import Path
from tests.unit.models import test_parallel
for _ in test_parallel.steps(test_parallel.load(Path(sys.argv[1]), "wan", context_parallel=2)):
    print(test_parallel.follower().pid, flush=True)
    time.sleep(60)
"""


def test_a_follower_ends_when_its_worker_is_killed_in_the_middle_of_a_run(folder) -> None:
    command = [sys.executable, "-c", KILLED, str(folder)]
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) as worker:
        process = psutil.Process(int(worker.stdout.readline()))
        assert is_running(process)

        worker.kill()

    wait_until(lambda: not is_running(process))


def test_what_cannot_go_together_with_it_is_off_and_says_why(pair) -> None:
    assert pair.refuses("cache_attention", {}) == (
        "Its forwards are cut into parts for several devices (context_parallel), and a donor's tokens are not."
    )
    assert pair.refuses("resume", {}) is None
    assert compile_blocks(pair, EngineOptions(device="cpu", mode="compile")) == {
        "compile": "off: blocks that exchange with other devices stay as they are"
    }


@pytest.mark.parametrize(
    ("name", "values", "reason"),
    [
        (
            "wan",
            {"context_parallel": 3},
            "the 2 heads of WanTransformer3DModel cannot be shared out evenly; give a divisor of 2",
        ),
        (
            "wan",
            {"offload": "model"},
            "weights that wait elsewhere (offload model) cannot be split; leave one of the two out",
        ),
        (
            "cogvideox",
            {},
            "how to split CogVideoXTransformer3DModel is not known; leave it out, or take a model of Wan or LTX",
        ),
    ],
    ids=["heads", "offload", "family"],
)
def test_a_card_that_cannot_be_shared_is_refused_with_its_reason(folder, name, values, reason) -> None:
    given = {"context_parallel": 2} | values

    with pytest.raises(ValueError, match="context_parallel") as refused:
        load(folder, name, **given)

    assert str(refused.value) == f"{name}: context_parallel {given['context_parallel']}: {reason}"


def test_ltx_is_cut_with_its_text_whole_and_its_follower_ends_with_the_model(folder, caplog) -> None:
    model = load(folder, "ltx", context_parallel=2, sizes=("64x64", "96x96"), frames=(9, 1))
    assert "ltx: 96x96 x 1 will be refused: their tokens have no 2 equal parts (context_parallel);" in caplog.text

    found, process = made(model), follower()

    torch.testing.assert_close(found, made(load(folder, "ltx")), atol=1e-5, rtol=1e-5)
    del model
    assert not is_running(process)
