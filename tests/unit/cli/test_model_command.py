"""`chai model add`, `ls`, `check`: pipelines of diffusers with random weights, and a hub that says no."""

import inspect
import json
import re
import resource
import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import diffusers
import huggingface_hub.constants
import pytest
import torch
from safetensors.torch import save_file
from typer.testing import CliRunner

from cli import main, model
from cli.errors import BadInput
from shared import model_cards
from tests import tiny_pipelines
from worker.cache.decisions.planning import TABLES
from worker.models.diffusers import attention, cards, schedule

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def pipelines(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pipelines")
    for name in ("wan", "ltx", "cogvideox"):
        tiny_pipelines.save(name, folder / name)
    return folder


def chai(*arguments: str, models_dir: Path) -> Any:
    return CliRunner().invoke(model.app, [*arguments, "--models-dir", str(models_dir)])


def said(result: Any) -> str:
    """Return the message that the command ends with."""
    assert result.exit_code != 0
    return str(result.exception)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("wan", ("832x480", 81, 16, 50, 13, 5.0, "paper", "float32")),
        ("ltx", ("704x512", 161, 24, 50, 13, 3.0, "paper", None)),
        ("cogvideox", ("32x32", 5, 8, 50, 13, 6.0, "nirvana", None)),
    ],
)
def test_a_card_is_read_from_what_the_pipeline_tells(pipelines, tmp_path, name, expected) -> None:
    done = chai("add", name, "--source", str(pipelines / name), models_dir=tmp_path)

    assert done.exit_code == 0, done.exception
    card = model_cards.load(tmp_path)[name]
    assert card.family == "diffusers"
    assert expected == (
        card.default_size,
        card.default_frames,
        card.fps,
        card.full_steps,
        card.fast_steps,
        card.guidance_scale,
        card.plans,
        card.vae_dtype,
    )


def test_sides_are_multiples_of_what_the_decoder_of_the_weights_makes(pipelines, tmp_path) -> None:
    """As of Wan 2.2's 5B model: a factor of 16, and patches of two."""
    shutil.copytree(pipelines / "wan", tmp_path / "coarse")
    config = tmp_path / "coarse" / "vae" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"scale_factor_spatial": 16}))

    done = chai("add", "5b", "--source", str(tmp_path / "coarse"), "--size", "1280x720", models_dir=tmp_path / "cards")

    assert done.exit_code == 0, done.exception
    card = model_cards.load(tmp_path / "cards")["5b"]
    assert (card.side_multiple, card.sizes) == (32, ("1280x704",))


def test_what_is_given_stands_in_the_card(pipelines, tmp_path) -> None:
    given = ["--steps", "4", "--guidance", "1", "--size", "64x64", "--frames", "5", "--fps", "8", "--dtype", "bfloat16"]
    more = ["--scheduler", "shift=5.0", "--call", "max_sequence_length=64", "--lora", "someone/fast=0.7"]
    more += ["--context-parallel", "2"]

    done = chai("add", "quick", "--source", str(pipelines / "wan"), *given, *more, models_dir=tmp_path)

    assert done.exit_code == 0, done.exception
    card = model_cards.load(tmp_path)["quick"]
    assert (card.full_steps, card.fast_steps, card.guidance_scale, card.plans) == (4, 4, 1.0, "plain")
    assert (card.sizes, card.frames, card.fps, card.dtype) == (("64x64",), (5,), 8, "bfloat16")
    assert (card.scheduler, card.call) == ({"shift": 5.0}, {"max_sequence_length": 64})
    assert card.loras == (model_cards.Lora(source="someone/fast", weight=0.7),)
    assert card.context_parallel == 2


def test_a_card_that_was_added_is_listed_and_works(pipelines, tmp_path) -> None:
    small = ["--size", "64x64", "--frames", "5"]
    chai("add", "wan", "--source", str(pipelines / "wan"), *small, models_dir=tmp_path)

    listed = json.loads(chai("ls", "--json", models_dir=tmp_path).stdout)
    checked = chai("check", "wan", "--device", "cpu", "--json", models_dir=tmp_path)

    assert [card["name"] for card in listed] == ["wan"]
    found = json.loads(checked.stdout.splitlines()[-1])
    assert (found["clip"], found["device"], found["dtype"]) == ("64x64, 5 frames", "cpu", "float32")
    assert found["cache_attention"] == "a donor changes what it makes"
    assert found["resume"] == "its scheduler can begin later"
    assert found["peak_memory_bytes"] > 0


def test_a_card_is_not_written_over_unasked(pipelines, tmp_path) -> None:
    source = ["--source", str(pipelines / "wan")]
    chai("add", "wan", *source, models_dir=tmp_path)

    assert "is there already; give another name, or --replace" in said(chai("add", "wan", *source, models_dir=tmp_path))
    assert chai("add", "wan", *source, "--replace", models_dir=tmp_path).exit_code == 0


def test_a_name_that_a_card_in_another_folder_has_is_not_given_twice(pipelines, tmp_path) -> None:
    """Two cards of one name could not be read, and none beside them."""
    source = ["--source", str(pipelines / "wan")]
    chai("add", "wan", *source, models_dir=tmp_path)
    (tmp_path / "wan").rename(tmp_path / "moved")

    message = said(chai("add", "wan", *source, "--replace", models_dir=tmp_path))

    assert message == f"{tmp_path / 'moved' / 'chai.json'} is a card of that name already; give another name"
    assert list(model_cards.load(tmp_path)) == ["wan"]


def test_a_card_is_never_seen_half_written(pipelines, tmp_path) -> None:
    source = ["--source", str(pipelines / "wan")]
    chai("add", "wan", *source, models_dir=tmp_path)
    was = (tmp_path / "wan" / "chai.json").read_text()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    resource.setrlimit(resource.RLIMIT_FSIZE, (9, hard))  # as a disk that has nine bytes left
    try:
        done = chai("add", "wan", *source, "--replace", models_dir=tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    assert "File too large" in said(done)
    assert (tmp_path / "wan" / "chai.json").read_text() == was


@pytest.mark.parametrize("name", ["", "a b", "a/b", ".a", "a\nb", "\x1b[31mred", "a\u2028b"])
def test_a_name_is_a_plain_word(pipelines, tmp_path, name) -> None:
    message = said(chai("add", name, "--source", str(pipelines / "wan"), models_dir=tmp_path))

    assert message == f"model name {name!r} has to be a plain word, such as wan-1.3b"


def test_what_no_configuration_tells_is_asked_for_by_its_option(pipelines, tmp_path) -> None:
    source = ["--source", str(pipelines / "wan"), "--pipeline", "AnimateDiffPAGPipeline"]
    given: list[str] = []
    for option, value, message in (
        ("--fps", "8", "nothing says at how many frames a second AnimateDiffPAGPipeline was trained; give --fps"),
        ("--size", "64x64", "AnimateDiffPAGPipeline has no usual size; give --size WIDTHxHEIGHT"),
    )[::-1]:
        assert said(chai("add", "pag", *source, *given, models_dir=tmp_path)) == message
        given += [option, value]

    assert chai("add", "pag", *source, *given, models_dir=tmp_path).exit_code == 0
    assert model_cards.load(tmp_path)["pag"].sizes == ("64x64",)


@pytest.mark.parametrize(
    ("pipeline", "message"),
    [
        ("LTX2Pipeline", "LTX2Pipeline makes sound along with the picture, in steps of its own"),
        ("TextToVideoZeroPipeline", "TextToVideoZeroPipeline steps twice through a part of its schedule"),
        ("AnimateDiffControlNetPipeline", "makes videos of conditioning_frames, not of a text alone"),
        ("Cosmos2_5_TransferPipeline", "makes videos of controls, not of a text alone"),
        ("FluxPipeline", "FluxPipeline makes no video of a text; a text-to-video pipeline is needed"),
    ],
)
def test_a_pipeline_that_cannot_be_served_says_why_before_its_weights_are_fetched(
    pipelines, tmp_path, pipeline, message
) -> None:
    source = ["--source", str(pipelines / "wan"), "--pipeline", pipeline]

    assert message in said(chai("add", "x", *source, models_dir=tmp_path))


def test_a_single_file_is_told_how_to_become_a_folder(tmp_path) -> None:
    (tmp_path / "wan.gguf").write_bytes(b"GGUF")

    message = said(chai("add", "x", "--source", str(tmp_path / "wan.gguf"), models_dir=tmp_path))

    assert "is a single file, which does not say what pipeline it belongs to; load it with diffusers" in message


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (["--size", "8x8"], "size '8x8' has a side below 16; use multiples of 16"),
        (["--plans", "best"], "plans 'best' is not one of paper, nirvana, plain, measured"),
        (["--steps", "6", "--fast-steps", "60"], "fast_steps 60 are more than full_steps 6"),
    ],
)
def test_a_card_that_the_service_would_not_read_is_not_written(pipelines, tmp_path, option, message) -> None:
    assert said(chai("add", "x", "--source", str(pipelines / "wan"), *option, models_dir=tmp_path)) == message
    assert model_cards.load(tmp_path) == {}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--scheduler", "shift"], "--scheduler 'shift' is not KEY=VALUE"),
        (["--size", "big"], "size 'big' is not WIDTHxHEIGHT; give for example 832x480"),
        (["--lora", "x=much"], "--lora 'x=much': 'much' is no weight; give SOURCE=0.8"),
        (["--pipeline", "WanImageToVideoPipeline"], "makes videos of image, not of a text alone"),
        (["--dtype", "fp16"], "--dtype 'fp16' is unknown; there are float32, bfloat16, float16"),
        (["--offload", "cloud"], "--offload 'cloud' is unknown; there are none, model, group, sequential"),
        (["--quantization", "fp8"], "--quantization 'fp8' is unknown; there are none, float8"),
        (["--revision", "main"], "--revision 'main' is of a repository, and"),
    ],
)
def test_a_wrong_option_is_named(pipelines, tmp_path, arguments, message) -> None:
    assert message in said(chai("add", "x", "--source", str(pipelines / "wan"), *arguments, models_dir=tmp_path))


def test_a_folder_that_is_no_pipeline_says_what_it_lacks(tmp_path) -> None:
    assert "has no model_index.json; give a pipeline saved by diffusers' save_pretrained" in said(
        chai("add", "x", "--source", str(tmp_path), models_dir=tmp_path)
    )


def test_checking_a_broken_model_says_why(pipelines, tmp_path) -> None:
    chai("add", "wan", "--source", str(pipelines / "wan"), models_dir=tmp_path)
    file = tmp_path / "wan" / "chai.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "offload": "cloud"}))

    assert "wan does not work here: wan: offload 'cloud' is unknown" in said(
        chai("check", "wan", "--device", "cpu", models_dir=tmp_path)
    )
    assert "no model 'dream'" in said(chai("check", "dream", models_dir=tmp_path))


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[int, str]]]:
    """A hub that answers every question with one status and error code."""
    answer: list[tuple[int, str]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            status, code = answer[0]
            if not status:  # a proxy that speaks something else
                self.wfile.write(b"no HTTP\r\n\r\n")
                return
            self.send_response(status)
            self.send_header("X-Error-Code", code)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_GET = do_HEAD

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    url, constants = f"http://127.0.0.1:{server.server_port}", huggingface_hub.constants
    monkeypatch.setattr(constants, "ENDPOINT", url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", url + "/{repo_id}/resolve/{revision}/{filename}")
    yield answer
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(
    ("status", "code", "message"),
    [
        (403, "GatedRepo", "them/theirs is gated; accept its terms on https://huggingface.co/them/theirs, then run"),
        (404, "RepoNotFound", "them/theirs is no folder here, and no repository that you may read; check the name"),
        (404, "RevisionNotFound", "them/theirs has no revision 'v9'; give a commit, tag or branch of it"),
        (401, "", "them/theirs is no folder here, and the hub refuses the token; run `hf auth login`, and"),
        (0, "", "them/theirs is no folder here, and the hub broke off (illegal status line"),
        (404, "EntryNotFound", "them/theirs at v9 has no model_index.json; give a repository in the form of diffusers"),
    ],
)
def test_a_repository_that_cannot_be_had_names_the_way_out(hub, tmp_path, status, code, message) -> None:
    hub.append((status, code))

    assert message in said(chai("add", "x", "--source", "them/theirs", "--revision", "v9", models_dir=tmp_path))


def test_a_name_that_is_no_repository_is_said_so(tmp_path) -> None:
    assert "is no folder here, and no repository name; give one of the two" in said(
        chai("add", "x", "--source", "a b/c/d", models_dir=tmp_path)
    )


@pytest.mark.parametrize(
    ("page", "given"),
    [
        ("https://huggingface.co/Them/theirs-1.3B", "--source Them/theirs-1.3B"),
        ("https://huggingface.co/them/theirs.git", "--source them/theirs"),
        ("huggingface.co/them/theirs/tree/main?library=diffusers", "--source them/theirs"),
        ("https://hf.co/them/theirs/blob/v9/model_index.json", "--source them/theirs --revision v9"),
    ],
)
def test_the_page_of_a_repository_is_told_its_name(tmp_path, page, given) -> None:
    told = said(chai("add", "x", "--source", page, models_dir=tmp_path))

    assert told.replace("\n", " ").strip().endswith(f"{page} is the page of a repository; give its name: {given}")


def test_the_cards_of_the_documents_are_cards(tmp_path) -> None:
    blocks = re.findall(r"```json\n(.*?)```", (ROOT / "docs" / "models.md").read_text(), flags=re.DOTALL)
    for block in blocks:
        folder = tmp_path / json.loads(block)["name"]
        folder.mkdir()
        (folder / "chai.json").write_text(block)

    found = model_cards.load(tmp_path)

    assert len(found) == len(blocks) == 5
    assert {card.family for card in found.values()} == {"diffusers"}
    assert all(card.fast_steps <= card.full_steps and card.plans in TABLES for card in found.values())


NAMED = re.compile(r"`([A-Z]\w+(?:Pipeline|Scheduler|Transformer3DModel))`")


def test_every_name_of_diffusers_in_the_documents_is_in_the_installed_one() -> None:
    named = set(NAMED.findall((ROOT / "docs" / "models.md").read_text()))
    known = {*cards._FPS, *cards._SIDES, *attention.PLACES, *schedule.EXACT, *schedule.FORGETFUL}

    assert {name for name in named | known if not hasattr(diffusers, name)} == set()
    assert {"UniPCMultistepScheduler", "WanPipeline"} <= named | known


def test_the_cards_of_the_documents_ask_for_what_their_pipelines_and_schedulers_take() -> None:
    blocks = re.findall(r"```json\n(.*?)```", (ROOT / "docs" / "models.md").read_text(), flags=re.DOTALL)
    for card in map(json.loads, blocks):
        kind = diffusers.LTXPipeline if card["name"] == "ltx" else diffusers.WanPipeline
        takes = inspect.signature(kind.__call__).parameters
        step = cards._SIDES[kind.__name__]

        assert set(card.get("call", {})) <= set(takes)
        schedule.replaced(diffusers.FlowMatchEulerDiscreteScheduler(), card.get("scheduler", {}))
        assert all(int(side) % step == 0 for size in card["sizes"] for side in size.split("x"))
        assert all((count - 1) % (8 if card["name"] == "ltx" else 4) == 0 for count in card["frames"])
        assert card.get("offload", "none") in model_cards.OFFLOADS


def test_a_size_that_the_pipeline_would_refuse_is_rounded_in_the_card(pipelines, tmp_path) -> None:
    chai("add", "odd", "--source", str(pipelines / "wan"), "--size", "72x40", models_dir=tmp_path)

    assert model_cards.load(tmp_path)["odd"].sizes == ("64x32",)


def test_what_of_a_lora_is_left_out_is_found_by_the_check(pipelines, tmp_path) -> None:
    sides = {"A": torch.zeros(2, 24), "B": torch.zeros(24, 2)}
    layers = [f"transformer.blocks.{number}.attn1.to_q" for number in (0, 9)]
    weights = {f"{layer}.lora_{side}.weight": tensor.clone() for layer in layers for side, tensor in sides.items()}
    save_file(weights, lora := tmp_path / "lora.safetensors")
    add = ("add", "wan", "--source", str(pipelines / "wan"), "--lora", str(lora), "--size", "32x32", "--frames", "5")
    chai(*add, models_dir=tmp_path / "models")

    checked = chai("check", "wan", "--device", "cpu", "--json", models_dir=tmp_path / "models")

    found = json.loads(checked.stdout.splitlines()[-1])
    assert found[f"LoRA {lora}"] == "left out, for this WanPipeline has none such: blocks.9.attn1.to_q"


def test_a_length_that_comes_out_otherwise_is_found_by_the_check(pipelines, tmp_path) -> None:
    chai("add", "long", "--source", str(pipelines / "wan"), "--size", "32x32", "--frames", "6", models_dir=tmp_path)

    checked = said(chai("check", "long", "--device", "cpu", models_dir=tmp_path))
    assert "it makes 5 frames where 6 are asked for; write that in its card" in checked


def test_a_card_of_another_family_has_to_give_its_own_steps_and_guidance(tmp_path) -> None:
    (tmp_path / "bare").mkdir()
    card = {"name": "bare", "title": "b", "family": "diffusers", "source": "s", "fps": 8}
    card |= {"sizes": ["32x32"], "frames": [5]}
    (tmp_path / "bare" / "chai.json").write_text(json.dumps(card | {"full_steps": 4}))

    with pytest.raises(ValueError, match="has to give fast_steps, guidance_scale: the defaults are Open-Sora's"):
        model_cards.load(tmp_path)


@pytest.mark.parametrize("words", ["model inspect wan", "model ls", "cache try fox", "bulk run {list} --dry-run"])
def test_a_card_that_cannot_be_read_is_named_by_every_command(monkeypatch, tmp_path, words) -> None:
    card, prompts = tmp_path / "models" / "wan" / "chai.json", tmp_path / "prompts.txt"
    card.parent.mkdir(parents=True)
    card.write_text("[" * 100_000)
    prompts.write_text("a red fox\n")
    monkeypatch.setenv("CHAI_MODELS_DIR", str(card.parent.parent))
    monkeypatch.setenv("CHAI_VAR_DIR", str(tmp_path / "var"))

    with pytest.raises(BadInput, match=rf"^{card}: maximum recursion depth exceeded"):
        main.app(words.format(list=prompts).split(), prog_name="chai", standalone_mode=False)
