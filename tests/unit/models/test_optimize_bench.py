"""What `chai lab bench engine` rests on: operation counts, the plain model, and a run of it."""

import json
import weakref

import pytest
import torch
from transformers import T5Config
from typer.testing import CliRunner

from cli.lab import bench
from lab.benchmarks import engine, modes
from lab.benchmarks.operations import decode_operations, text_operations, transformer_operations
from lab.benchmarks.plain import plain_decode, plain_steps
from worker.models.opensora.blocks import Block
from worker.models.opensora.optimization import optimize
from worker.models.opensora.presets import stdit3_xl2_config, tiny
from worker.models.opensora.sampler import Conditioning
from worker.models.opensora.sizes import VideoSize
from worker.models.opensora.stdit3 import STDiT3
from worker.models.opensora.vae import OpenSoraVAE


@pytest.fixture(scope="module")
def roofline(golden) -> dict:
    return golden.json("tables/roofline")


@pytest.fixture(scope="module")
def released() -> STDiT3:
    with torch.device("meta"):
        return STDiT3(**stdit3_xl2_config())


def test_a_forward_at_240p_takes_the_recorded_operations(roofline, released):
    for row in roofline["stdit3_240p_9x16"]:
        size = VideoSize(height=240, width=426, num_frames=row["num_frames"])

        found = transformer_operations(released.config, size, row["caption_tokens"])

        assert found == row["forward_one_branch"]


def test_a_forward_at_larger_sizes_takes_the_recorded_operations(roofline, released):
    for row in roofline["stdit3_other"]:
        found = transformer_operations(released.config, (15, row["tokens"] // 15), row["caption_tokens"])

        assert found == row["forward_one_branch"]


def test_decoding_takes_the_recorded_operations(roofline):
    with torch.device("meta"):
        vae = OpenSoraVAE()
    row = roofline["vae_decode_240p_9x16"][0]

    assert decode_operations(vae, VideoSize(height=240, width=426, num_frames=row["num_frames"])) == row["total"]


def test_t5_takes_the_recorded_operations(roofline):
    config = T5Config(
        vocab_size=32128, d_model=4096, d_ff=10240, num_layers=24, num_heads=64, d_kv=64, feed_forward_proj="gated-gelu"
    )

    assert text_operations(config, 300) == roofline["t5_xxl_encode_300_tokens"]


def test_the_plain_model_is_the_same_model():
    pipeline = tiny()
    size = {"height": 28, "width": 36, "num_frames": 17}  # sides that are padded to whole patches
    caption = pipeline.encode_prompt(["a cat", "dogs"])

    *_, ours = pipeline.steps(caption, pipeline.schedule(4), seed=1, **size)
    noise = pipeline.noise([1, 1], **size)
    *_, plain = plain_steps(pipeline.transformer, noise, caption, pipeline.schedule(4), Conditioning(fps=8, **size))

    torch.testing.assert_close(ours.latents, plain, atol=2e-4, rtol=0)


@pytest.mark.parametrize("model", ["qknorm", "noqknorm"])
def test_the_plain_model_equals_the_recorded_sampling_run(golden, model):
    case = golden.tensors("rflow/sample_steps8_cfg7" + ("" if model == "qknorm" else "_noqknorm"))
    settings = golden.json("rflow/sample_steps8_cfg7" + ("" if model == "qknorm" else "_noqknorm"))

    transformer = golden.stdit3(model)
    assert {"height", "width", "num_frames", "fps"} <= set(settings), settings
    conditioning = Conditioning(**{name: settings[name] for name in ("height", "width", "num_frames", "fps")})
    caption = type("Caption", (), {"embeds": case["in.y"], "mask": case["in.mask"]})
    *_, out = plain_steps(transformer, case["in.z"], caption, tiny().schedule(8, time_shift="opensora"), conditioning)

    torch.testing.assert_close(out, case["out"], atol=2e-4, rtol=0)


def test_plain_decoding_gives_the_same_frames(golden):
    vae = OpenSoraVAE(**golden.json("vae/config")).eval()
    vae.load_state_dict(golden.tensors("vae/weights"))
    case = golden.tensors("vae/decode_T20")

    torch.testing.assert_close(plain_decode(vae, case["in.z"], 20), case["out"], atol=5e-5, rtol=0)


def test_the_benchmark_ends_with_one_line_of_figures():
    result = CliRunner().invoke(bench.app, ["engine", "--preset", "tiny", "--steps", "2,1", "--repeats", "1"])

    assert result.exit_code == 0, result.output
    report = json.loads(result.output.splitlines()[-1])
    assert [(row["path"], row["num_steps"]) for row in report["results"]] == [
        ("engine", 2),
        ("plain", 2),
        ("engine", 1),
        ("plain", 1),
    ]
    for row in report["results"]:
        assert len(row["steps_s"]) == row["num_steps"]
        assert row["total_s"] >= row["denoise_s"] > 0
        assert row["video_bytes"] > 0
    assert report["peak_tflops"] > 0


def compile_at_first_call(block: Block, **_: object) -> None:
    """A compiler for any shape at once, as the real one is after its warm-up (`test_optimize.py` shows that it is)."""
    graphs, is_compiled = torch._dynamo.utils.counters["stats"], False

    def call(*args, **options):
        nonlocal is_compiled
        graphs["unique_graphs"] += not is_compiled
        is_compiled = True
        return block.forward(*args, **options)

    block._compiled_call_impl = call


def test_settings_are_tried_with_prompts_of_ten_lengths_at_two_sizes(monkeypatch):
    monkeypatch.setattr(Block, "compile", compile_at_first_call)

    result = CliRunner().invoke(
        bench.app, ["--preset", "tiny", "--device", "cpu", "--steps", "1", "--settings", "off,compile"]
    )

    assert result.exit_code == 0, result.output
    said = [line for line in result.output.splitlines() if line.startswith("{")]  # others may stand behind it
    rows = json.loads(said[-1])["rows"]
    assert [(row["setting"], row["size"]) for row in rows] == [
        (setting, size) for setting in ("off", "compile") for size in ("32x32 x 17", "48x32 x 1")
    ]
    assert {row["compiled"] for row in rows} == {0}, "a measured step waited for the compiler"
    assert all(row["left_off"] == {} for row in rows)
    assert all(row["slowest_s"] >= row["step_s"] > 0 for row in rows)


def test_what_only_a_gpu_has_is_refused_before_anything_is_compiled_for_it():
    settings = ["off", "graphs"]
    result = CliRunner().invoke(
        bench.app, ["--preset", "tiny", "--device", "cpu", "--steps", "1", "--settings", ",".join(settings)]
    )

    assert result.exit_code == 0, result.output
    report = json.loads(next(line for line in result.output.splitlines() if line.startswith("{")))
    assert {row["setting"] for row in report["rows"]} == {"off"}
    assert list(report["refused"]) == settings[1:]
    assert "graphs is not measured: CUDA graphs need a CUDA device, this is cpu" in result.output


def test_a_setting_that_breaks_leaves_the_others_their_rows(monkeypatch):
    def apply(pipeline, options, device):
        if options.mode == "compile":
            raise MemoryError("too large for this machine")
        return optimize(pipeline, options, device)

    monkeypatch.setattr(modes, "optimize", apply)

    result = CliRunner().invoke(
        bench.app, ["--preset", "tiny", "--device", "cpu", "--steps", "1", "--settings", "compile,off"]
    )

    report = json.loads(next(line for line in result.output.splitlines() if line.startswith("{")))
    assert {row["setting"] for row in report["rows"]} == {"off"}
    assert report["refused"] == {"compile": "it does not fit this device's memory"}


@pytest.mark.parametrize("error", [MemoryError, KeyboardInterrupt])
def test_what_was_measured_before_something_broke_is_kept(monkeypatch, error):
    measure = engine._measure

    def once(*arguments, is_plain):
        if is_plain:
            raise error
        return measure(*arguments, is_plain=False)

    monkeypatch.setattr(engine, "_measure", once)

    result = CliRunner().invoke(bench.app, ["engine", "--steps", "1", "--repeats", "1", "--device", "cpu"])

    assert result.exit_code == 0, result.output
    report = json.loads(next(line for line in result.output.splitlines() if line.startswith("{")))
    assert [(row["path"], row["num_steps"]) for row in report["results"]] == [("engine", 1)]
    assert list(report["refused"]) == ["plain, 1 steps"]


def test_what_a_run_that_broke_held_is_let_go_before_the_next_one(monkeypatch):
    held, alive = [], []

    def breaks(*_, **__):
        latents = torch.zeros(3)
        held.append(weakref.ref(latents))
        raise MemoryError

    monkeypatch.setattr(engine, "_measure", breaks)
    monkeypatch.setattr(engine.device_faults, "free_memory", lambda: alive.append(held[-1]() is not None))

    engine.run(engine.Request(preset="tiny", height=32, width=32, num_frames=5, steps=(2,), device="cpu"))

    assert alive == [False, False]


def test_a_benchmark_that_measured_nothing_fails(monkeypatch):
    monkeypatch.setattr(modes, "build", lambda *_: pytest.fail("no weights"))

    result = CliRunner().invoke(bench.app, ["--preset", "tiny", "--device", "cpu", "--settings", "graphs"])

    assert str(result.exception) == "nothing could be measured; the reasons stand above"
    assert "graphs is not measured: CUDA graphs need a CUDA device, this is cpu" in result.output


def test_the_released_model_is_built_with_random_weights(monkeypatch, golden):
    small_t5 = {"d_model": 4096, "d_ff": 16, "num_layers": 1, "num_heads": 2, "d_kv": 8}
    monkeypatch.setattr(engine, "stdit3_xl2_config", lambda: stdit3_xl2_config() | {"hidden_size": 32, "depth": 1})
    monkeypatch.setattr(engine, "OpenSoraVAE", lambda: OpenSoraVAE(**golden.json("vae/config")))
    monkeypatch.setattr(engine, "T5_XXL", engine.T5_XXL | small_t5)
    request = engine.Request(preset="opensora-1.2", height=32, width=32, num_frames=17, steps=(1,))

    pipeline = engine.build(request, torch.device("cpu"))

    *_, step = pipeline.steps("a cat", pipeline.schedule(1), height=32, width=32, num_frames=17)
    assert step.latents.isfinite().all()
    assert pipeline.decode(step.latents, 17).std() > 0
    assert all(parameter.abs().sum() > 0 for parameter in pipeline.transformer.parameters())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--frames", "3s"], "number of frames '3s' is not a name"),
        (["--size", "huge"], "resolution 'huge' is unknown"),
        (["--steps", "many"], "steps 'many' are not numbers; write them as 30,8"),
        (["--steps", "8,0"], "steps '8,0' are not all 1 or more; write them as 30,8"),
        (["--device", "wow"], "device 'wow' is unknown; give auto, cpu, cuda, cuda:1 or mps"),
        (["--device", "cuda:99"], "device 'cuda:99' is not here: torch "),
        (
            ["--preset", "small", "--models-dir", "/nowhere"],
            "no model 'small' in /nowhere; there is none: fetch it with",
        ),
    ],
)
def test_the_benchmark_names_what_it_cannot_use(arguments, message):
    result = CliRunner().invoke(bench.app, ["engine", "--preset", "tiny", *arguments])

    assert message in str(result.exception)


def test_a_setting_that_is_none_is_named():
    result = CliRunner().invoke(bench.app, ["--settings", "off,fast"])

    assert str(result.exception) == "'fast' is no setting; there are off, compile, graphs"
