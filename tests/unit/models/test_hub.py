"""The released repositories at a tiny size, with their file names and key layout, and what can be wrong with them."""

import json
import shutil
import struct
from pathlib import Path

import pytest
import sentencepiece
import torch
from safetensors.torch import load_file, save_file
from transformers import T5Config, T5EncoderModel
from typer.testing import CliRunner, Result

from cli.model import app as model_commands
from worker.models.opensora import hub
from worker.models.opensora.hub import NotEnoughMemory, arrange, check_memory, inspect_model
from worker.models.opensora.pipeline import ChaiPipeline
from worker.models.opensora.presets import tiny, tiny_transformer
from worker.models.opensora.stdit3 import STDiT3
from worker.models.opensora.weights import ModelFilesError, convert_pickle, key_difference

VAE = Path(__file__).parents[2] / "golden" / "opensora12" / "vae"
FOLDERS = {"transformer": "OpenSora-STDiT-v3", "vae": "OpenSora-VAE-v1.2", "text-encoder": "t5-v1_1-xxl"}
OLD_NAMES = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}


@pytest.fixture(scope="module")
def released(tmp_path_factory) -> Path:
    """A folder with copies of the three repositories; the spatial VAE has the older attention names."""
    root = tmp_path_factory.mktemp("released")
    transformer(root / "OpenSora-STDiT-v3")
    vae(root / "OpenSora-VAE-v1.2")
    t5(root / "t5-v1_1-xxl")
    return root


def transformer(folder: Path) -> None:
    folder.mkdir()
    model = tiny_transformer()
    names = ("hidden_size", "depth", "num_heads", "caption_channels", "model_max_length", "qk_norm", "input_sq_size")
    config = {name: model.config[name] for name in names}
    config |= {
        "_name_or_path": "x",
        "architectures": ["STDiT3"],
        "model_type": "STDiT3",
        "in_channels": 4,
        "torch_dtype": "float32",
    }
    (folder / "config.json").write_text(json.dumps(config))
    save_file(model.state_dict(), folder / "model.safetensors")


def vae(folder: Path) -> None:
    folder.mkdir()
    config = json.loads((VAE / "config.json").read_text())
    config |= {
        "architectures": ["VideoAutoencoderPipeline"],
        "vae_2d": {"type": "VideoAutoencoderKL"},
        "cal_loss": False,
    }
    (folder / "config.json").write_text(json.dumps(config))
    state = {}
    for key, tensor in load_file(VAE / "weights.safetensors").items():
        for new, old in OLD_NAMES.items():
            key = key.replace(f"attentions.0.{new}.", f"attentions.0.{old}.")
        state[key] = tensor
    save_file(state, folder / "model.safetensors")


def t5(folder: Path) -> None:
    folder.mkdir()
    text = folder / "text.txt"
    text.write_text("a cat and a dog walk in the park at night\n" * 20)
    sentencepiece.SentencePieceTrainer.train(
        input=str(text), model_prefix=str(folder / "spiece"), vocab_size=40, hard_vocab_limit=False,
        pad_id=0, eos_id=1, unk_id=2, bos_id=-1, minloglevel=2,
    )  # fmt: skip
    text.unlink()
    (folder / "spiece.vocab").unlink()
    torch.manual_seed(0)
    config = T5Config(vocab_size=160, d_model=16, d_ff=32, d_kv=8, num_layers=1, num_heads=2)
    T5EncoderModel(config).save_pretrained(folder)
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "T5Tokenizer", "extra_ids": 100}))


@pytest.fixture
def copy(released, tmp_path) -> Path:
    """The same folder for a test to break."""
    return Path(shutil.copytree(released, tmp_path / "copy"))


def test_the_released_repositories_load_from_their_folders(released):
    pipeline = ChaiPipeline.from_pretrained(released / "OpenSora-STDiT-v3")

    *_, step = pipeline.steps("a cat", pipeline.schedule(2), height=32, width=32, num_frames=17, seed=1)
    assert pipeline.decode(step.latents, 17).shape == (17, 32, 32, 3)
    assert pipeline.config.aesthetic_score == 6.5
    assert pipeline.schedule().time_shift == "opensora"


def test_the_loaded_weights_are_the_files_unchanged(released):
    pipeline = ChaiPipeline.from_pretrained(released / "OpenSora-STDiT-v3")

    wanted = load_file(released / "OpenSora-STDiT-v3" / "model.safetensors")
    assert all(torch.equal(value, wanted[key]) for key, value in pipeline.transformer.state_dict().items())


def test_t5_stays_in_float32_beside_a_bfloat16_transformer(released):
    pipeline = ChaiPipeline.from_pretrained(released / "OpenSora-STDiT-v3", torch_dtype=torch.bfloat16)

    dtypes = (pipeline.transformer.dtype, pipeline.vae.dtype, pipeline.text_encoder.dtype)
    assert dtypes == (torch.bfloat16, torch.bfloat16, torch.float32)


def test_the_arranged_folder_is_a_pipeline_that_makes_the_same_video(released, tmp_path):
    size = {"height": 32, "width": 32, "num_frames": 17, "num_inference_steps": 1, "seed": 1, "output_type": "latent"}

    folder = arrange({part.replace("-", "_"): released / name for part, name in FOLDERS.items()}, tmp_path)

    arranged, direct = (ChaiPipeline.from_pretrained(path) for path in (folder, released / "OpenSora-STDiT-v3"))
    assert torch.equal(arranged("a cat", **size).frames, direct("a cat", **size).frames)
    assert json.loads((tmp_path / "chai.json").read_text())["source"] == "pipeline"
    weights = folder / "transformer" / "diffusion_pytorch_model.safetensors"
    assert weights.samefile(released / "OpenSora-STDiT-v3" / "model.safetensors")


def test_the_card_of_the_released_model_is_one_that_the_catalog_reads(tmp_path):
    from shared import model_cards

    (tmp_path / hub.OPENSORA).mkdir()
    (tmp_path / hub.OPENSORA / "chai.json").write_text(json.dumps(hub.OPENSORA_CARD))

    card = model_cards.load(tmp_path)[hub.OPENSORA]
    assert (card.default_size, card.default_frames, card.full_steps, card.fast_steps) == ("424x240", 72, 30, 8)


def test_every_size_of_the_released_model_is_the_size_of_its_files():
    from worker.models.opensora.sizes import check_size

    for size in hub.OPENSORA_CARD["sizes"]:
        width, height = map(int, size.split("x"))
        assert check_size(height, width, 51).decoded == (height, width)


def drop_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def cut(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def cut_in_header(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:500])


def replace_by_page(folder: Path) -> None:
    (folder / "model.safetensors").write_text("<html>not found</html>")


def replace_by_pointer(folder: Path) -> None:
    (folder / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 9\n")


def only_pickle(folder: Path) -> None:
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def other_model(folder: Path) -> None:
    state = load_file(folder / "model.safetensors")
    del state["rope.freqs"], state["t_block.1.bias"]
    state["extra"] = torch.zeros(1)
    state["x_embedder.proj.bias"] = torch.zeros(7)
    save_file(state, folder / "model.safetensors")


def lost_part(folder: Path) -> None:
    (folder / "model.safetensors.index.json").write_text(
        json.dumps({"weight_map": {"a": "model-00001-of-00002.safetensors"}})
    )


def cut_index(folder: Path) -> None:
    lost_part(folder)
    path = folder / "model.safetensors.index.json"
    path.write_text(path.read_text()[:20])


def other_index(folder: Path) -> None:
    (folder / "model.safetensors.index.json").write_text("{}")


def other_header(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", 5) + b"[1,2]")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (cut_index, "{folder}/model.safetensors.index.json is no list of weight files; download it again"),
        (other_index, "{folder}/model.safetensors.index.json is no list of weight files; download it again"),
        (other_header, "{folder}/model.safetensors is not a safetensors file; download it again"),
        (drop_weights, "{folder} holds no weights; expected diffusion_pytorch_model.safetensors or model.safetensors"),
        (cut, "{folder}/model.safetensors is truncated: {size} bytes of {whole}; download it again"),
        (cut_in_header, "{folder}/model.safetensors is truncated; download it again"),
        (replace_by_page, "{folder}/model.safetensors is not a safetensors file; download it again"),
        (
            replace_by_pointer,
            "{folder}/model.safetensors is a pointer of git-lfs, not the file itself; run `git lfs pull` in its folder",
        ),
        (
            only_pickle,
            "{folder} holds its weights only as pickle (pytorch_model.bin), which can run code when it is read; "
            "convert it once with `chai model convert {folder} TARGET`",
        ),
        (
            other_model,
            "{folder} does not hold a STDiT3: 2 missing (rope.freqs, t_block.1.bias), 1 unexpected (extra), "
            "1 of another shape (x_embedder.proj.bias (7,) for (32,))",
        ),
        (
            lost_part,
            "{folder} lacks model-00001-of-00002.safetensors, which model.safetensors.index.json names; "
            "download it again",
        ),
    ],
)
def test_a_broken_folder_is_refused_with_the_way_out(copy, damage, message):
    folder = copy / "OpenSora-STDiT-v3"
    whole = (folder / "model.safetensors").stat().st_size
    damage(folder)

    with pytest.raises(ModelFilesError) as error:
        ChaiPipeline.from_pretrained(folder)

    file = folder / "model.safetensors"
    size = file.stat().st_size if file.exists() else 0
    assert str(error.value) == message.format(folder=folder, size=size, whole=whole)


def test_a_text_encoder_in_pickle_is_refused_and_loads_once_converted(copy, tmp_path):
    folder = copy / "t5-v1_1-xxl"
    expected = load_file(folder / "model.safetensors")
    only_pickle(folder)
    with pytest.raises(ModelFilesError, match="only as pickle"):
        ChaiPipeline.from_pretrained(copy / "OpenSora-STDiT-v3")

    convert_pickle(folder, tmp_path / "converted")

    pipeline = ChaiPipeline.from_pretrained(copy / "OpenSora-STDiT-v3", text_encoder=str(tmp_path / "converted"))
    assert torch.equal(pipeline.text_encoder.shared.weight, expected["shared.weight"])
    assert pipeline.encode_prompt("a cat").mask.sum() > 1


def test_a_pickle_in_parts_becomes_safetensors_in_parts(tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    shared = torch.arange(4.0)
    torch.save({"a": shared, "b": shared}, source / "pytorch_model-00001-of-00002.bin")
    torch.save({"c": torch.ones(2, 3).T}, source / "pytorch_model-00002-of-00002.bin")
    (source / "pytorch_model.bin.index.json").write_text("{}")
    (source / "config.json").write_text('{"model_type": "t5"}')

    files = convert_pickle(source, tmp_path / "target")

    assert [path.name for path in files] == ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    (report,) = inspect_model(tmp_path / "target")
    assert (report.kind, report.num_parameters, report.dtypes) == ("t5", 14, ("F32",))
    assert not (tmp_path / "target" / "pytorch_model.bin.index.json").exists()


@pytest.mark.parametrize("parts", [[""], ["-00001-of-00002", "-00002-of-00002"]], ids=["one", "two"])
def test_a_pickled_part_of_a_pipeline_is_found_by_diffusers_once_converted(tmp_path, parts):
    tiny().transformer.save_pretrained(tmp_path / "source")
    whole = tmp_path / "source" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(whole)
    whole.unlink()
    for number, part in enumerate(parts):
        state = dict(list(tensors.items())[number :: len(parts)])
        torch.save(state, tmp_path / "source" / f"diffusion_pytorch_model{part}.bin")

    convert_pickle(tmp_path / "source", tmp_path / "target")

    found = STDiT3.from_pretrained(tmp_path / "target", use_safetensors=True).state_dict()
    assert all(torch.equal(found[key], tensor) for key, tensor in tensors.items())
    assert inspect_model(tmp_path / "target")[0].kind == "STDiT3"


def split(folder: Path, name: str) -> Path:
    """Turn the weights of a folder into two parts and their index; return the folder."""
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = [f"{name}-{number}-of-2.safetensors" for number in (1, 2)]
    for number, part in enumerate(names):
        state = dict(list(tensors.items())[number::2])
        save_file(state, folder / part, metadata={"format": "pt"})
    weight_map = {key: names[number % 2] for number, key in enumerate(tensors)}
    index = {"metadata": {"total_size": 0}, "weight_map": weight_map}
    (folder / f"{name}.safetensors.index.json").write_text(json.dumps(index))
    return folder


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, r"holds no words of its tokenizer \(spiece.model or tokenizer.json\); download it again"),
        (b"cut", r"has no tokenizer that can be read \(.*\); download spiece.model, "),
    ],
    ids=["missing", "cut"],
)
def test_a_tokenizer_without_its_words_is_not_given_others(copy, tmp_path, content, said):
    folder = copy / "t5-v1_1-xxl"
    (folder / "spiece.model").unlink()
    if content is not None:
        (folder / "spiece.model").write_bytes(content)

    with pytest.raises(ModelFilesError, match=f"{folder} {said}"):
        arrange({part.replace("-", "_"): copy / name for part, name in FOLDERS.items()}, tmp_path)


def test_a_saved_pipeline_without_the_words_of_its_tokenizer_is_refused(released, tmp_path):
    folder = arrange({part.replace("-", "_"): released / name for part, name in FOLDERS.items()}, tmp_path)
    for file in (*folder.glob("tokenizer/*.model"), *folder.glob("tokenizer/tokenizer.json")):
        file.unlink()

    with pytest.raises(ModelFilesError, match="tokenizer holds no words of its tokenizer"):
        ChaiPipeline.from_pretrained(folder)


def test_weights_in_parts_are_arranged_and_give_way_to_a_whole_file(copy, released, tmp_path):
    """An index that stayed behind would be read before the file that came in its place."""
    whole = {part.replace("-", "_"): released / name for part, name in FOLDERS.items()}
    parts = {part: split(copy / path.name, "model") for part, path in whole.items()}
    wanted = ChaiPipeline.from_pretrained(arrange(whole, tmp_path / "whole"))

    folder = arrange(parts, tmp_path / "parts")
    found = ChaiPipeline.from_pretrained(folder)
    arrange(whole, tmp_path / "parts")
    arrange(parts, tmp_path / "whole")

    linked = tmp_path / "whole" / "pipeline" / "transformer" / "diffusion_pytorch_model.safetensors"
    assert not linked.samefile(whole["transformer"] / "model.safetensors"), "the released file was written over"
    for part in ("transformer", "vae", "text_encoder"):
        tensors = getattr(wanted, part).state_dict()
        assert all(torch.equal(tensors[key], value) for key, value in getattr(found, part).state_dict().items())
        assert [path.name for path in (folder / part).glob("*safetensors*")] == [
            "model.safetensors" if part == "text_encoder" else "diffusion_pytorch_model.safetensors"
        ]


def test_older_names_in_parts_are_refused_where_diffusers_would_make_the_weights_up(copy, tmp_path):
    folder = arrange({part.replace("-", "_"): copy / name for part, name in FOLDERS.items()}, tmp_path)
    whole = folder / "vae" / "diffusion_pytorch_model.safetensors"
    whole.rename(folder / "vae" / "model.safetensors")
    split(folder / "vae", "diffusion_pytorch_model")

    with pytest.raises(ModelFilesError, match="vae does not hold a OpenSoraVAE: 16 missing"):
        ChaiPipeline.from_pretrained(folder)


def test_arranging_a_model_around_a_part_of_its_own_keeps_the_part(released, tmp_path):
    folders = {part.replace("-", "_"): released / name for part, name in FOLDERS.items()}
    weights = arrange(folders, tmp_path) / "transformer" / "diffusion_pytorch_model.safetensors"
    content = weights.read_bytes()

    arrange({**folders, "transformer": weights.parent}, tmp_path)

    assert weights.read_bytes() == content


class Payload:
    def __reduce__(self):
        return (exec, ("raise SystemExit('code was run')",))


def test_a_pickle_that_runs_code_is_not_converted(tmp_path):
    torch.save({"a": Payload()}, tmp_path / "pytorch_model.bin")

    with pytest.raises(
        ModelFilesError, match=r"pytorch_model.bin holds more than tensors or is damaged \(UnpicklingError\)$"
    ):
        convert_pickle(tmp_path, tmp_path / "target")


def test_a_saved_pipeline_is_checked_before_it_is_loaded(tmp_path):
    tiny().save_pretrained(tmp_path)
    cut_file = tmp_path / "vae" / "diffusion_pytorch_model.safetensors"
    cut_file.write_bytes(cut_file.read_bytes()[:-1])

    with pytest.raises(ModelFilesError, match=r"vae/diffusion_pytorch_model.safetensors is truncated: "):
        ChaiPipeline.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    ("file", "key", "kind"),
    [
        ("text_encoder/model.safetensors", "encoder.block.0.layer.0.SelfAttention.k.weight", "T5EncoderModel"),
        ("text_encoder/model.safetensors", "shared.weight", "T5EncoderModel"),
        ("transformer/diffusion_pytorch_model.safetensors", "final_layer.linear.bias", "STDiT3"),
        ("vae/diffusion_pytorch_model.safetensors", "mean", "PatchVAE"),
    ],
)
def test_a_saved_pipeline_that_lacks_weights_is_not_completed_at_random(tmp_path, file, key, kind):
    tiny().save_pretrained(tmp_path)
    path = tmp_path / file
    state = load_file(path)
    del state[key]
    save_file(state, path, metadata={"format": "pt"})

    with pytest.raises(ModelFilesError) as error:
        ChaiPipeline.from_pretrained(tmp_path)

    assert str(error.value) == f"{path.parent} does not hold a {kind}: 1 missing ({key})"


def test_a_pipeline_of_the_hub_is_checked_as_a_folder_is(tmp_path, monkeypatch):
    tiny().save_pretrained(tmp_path)
    file = tmp_path / "vae" / "diffusion_pytorch_model.safetensors"
    save_file(dict(list(load_file(file).items())[1:]), file)
    asked = []
    monkeypatch.setattr(hub, "snapshot_download", lambda name, **options: asked.append((name, options)) or tmp_path)

    with pytest.raises(ModelFilesError, match=r"vae does not hold a .*: 1 missing"):
        ChaiPipeline.from_pretrained("them/theirs", revision="v1")

    (name, options) = asked[0]
    assert (name, options["revision"]) == ("them/theirs", "v1")


def test_a_source_that_is_neither_folder_nor_repository_is_named(monkeypatch):
    monkeypatch.setattr(hub, "snapshot_download", broken_off)

    with pytest.raises(
        ModelFilesError, match=r"'pipeline' is no folder here and could not be downloaded \(peer closed"
    ):
        ChaiPipeline.from_pretrained("pipeline")


@pytest.mark.parametrize(
    ("part", "values"),
    [("transformer", {"depth": "two"}), ("vae", {"patch_space": None}), ("text_encoder", {"d_ff": []})],
)
def test_a_config_of_another_kind_is_named(tmp_path, part, values):
    tiny().save_pretrained(tmp_path)
    config = tmp_path / part / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | values))

    with pytest.raises(ModelFilesError, match=rf"{config} is not of a \w+ \(.*\); download it again"):
        ChaiPipeline.from_pretrained(tmp_path)


def test_a_saved_pipeline_names_no_code_of_others(tmp_path):
    tiny().save_pretrained(tmp_path)
    index = json.loads((tmp_path / "model_index.json").read_text())
    index["transformer"] = ["antigravity", "STDiT3"]
    (tmp_path / "model_index.json").write_text(json.dumps(index))

    with pytest.raises(ModelFilesError) as error:
        ChaiPipeline.from_pretrained(tmp_path)

    assert str(error.value) == (
        f"{tmp_path}/model_index.json takes its transformer from antigravity.STDiT3; "
        "this engine loads worker.models.opensora.stdit3 only"
    )


def test_a_folder_that_is_no_model_says_what_to_give(tmp_path):
    with pytest.raises(ModelFilesError) as error:
        ChaiPipeline.from_pretrained(tmp_path)

    assert str(error.value) == (
        f"{tmp_path} has no model_index.json and no STDiT3 config.json; "
        "give a saved pipeline or the folder of the transformer"
    )


def test_a_download_that_breaks_off_says_what_to_check(monkeypatch):
    """What the hub's client speaks HTTP with has errors of its own, and they are no `OSError`."""
    monkeypatch.setattr(hub, "snapshot_download", broken_off)

    with pytest.raises(ModelFilesError, match=r"^'them/theirs' is no folder here and could not be downloaded \(peer"):
        hub.fetch("them/theirs")


def broken_off(*_: object, **__: object) -> None:
    raise Exception("peer closed connection without sending complete message body")


def test_a_name_that_cannot_be_downloaded_says_what_to_check(tmp_path):
    with pytest.raises(
        ModelFilesError, match=r"^'nobody/nothing' is no folder here and could not be downloaded \(.*\); check"
    ):
        hub.fetch("nobody/nothing", local_files_only=True)


def test_a_model_larger_than_the_free_memory_is_not_loaded():
    with pytest.raises(NotEnoughMemory) as error:
        check_memory({"transformer": 2 * 10**15, "vae": 10**9})

    assert str(error.value).startswith("the model needs 2000001.0 GB (transformer 2000000.0 GB, vae 1.0 GB) and ")
    assert str(error.value).endswith(
        "free on cpu; load in bfloat16 (dtype=torch.bfloat16), off-load the text encoder, or free memory"
    )


def test_inspection_reads_sizes_from_the_headers(released):
    (report,) = inspect_model(released / "OpenSora-STDiT-v3")

    assert (report.kind, report.dtypes) == ("STDiT3", ("F32",))
    assert report.num_parameters == sum(t.numel() for t in tiny_transformer().state_dict().values())


def test_a_header_longer_than_the_file_is_truncation(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(struct.pack("<Q", 5000) + b'{"a"')

    with pytest.raises(ModelFilesError, match=r"model.safetensors is truncated; download it again$"):
        inspect_model(tmp_path)


def test_only_some_of_many_differing_keys_are_named():
    assert key_difference({f"k{i}": (1,) for i in range(5)}, {}) == "5 missing (k0, k1, k2, …)"


def test_released_key_tables_have_no_difference_to_the_classes():
    tables = Path(__file__).parents[2] / "golden" / "opensora12" / "tables"
    from worker.models.opensora.presets import stdit3_xl2_config
    from worker.models.opensora.stdit3 import STDiT3

    rows = json.loads((tables / "stdit3_xl2_keys.json").read_text())["keys"]
    with torch.device("meta"):
        wanted = {key: tuple(t.shape) for key, t in STDiT3(**stdit3_xl2_config()).state_dict().items()}

    assert key_difference(wanted, {row["key"]: tuple(row["shape"]) for row in rows}) == ""


def chai(*arguments: object) -> Result:
    return CliRunner().invoke(model_commands, [str(argument) for argument in arguments])


def test_pull_makes_a_model_of_local_copies_that_inspect_finds_by_name(released, tmp_path):
    sources = [f"--{part}={released / name}" for part, name in FOLDERS.items()]

    pulled = chai("pull", *sources, "--models-dir", tmp_path)

    assert pulled.exit_code == 0, pulled.exception
    rows = json.loads(chai("inspect", "opensora-1.2", "--json", "--models-dir", tmp_path).stdout)
    assert [(row["name"], row["kind"]) for row in rows] == [
        ("transformer", "STDiT3"),
        ("vae", "OpenSoraVAE"),
        ("text_encoder", "T5EncoderModel"),
    ]


def test_pull_converts_pickle_only_when_told_to(copy, tmp_path):
    sources = [f"--{part}={copy / name}" for part, name in FOLDERS.items()]
    only_pickle(copy / "t5-v1_1-xxl")

    refused = chai("pull", *sources, "--models-dir", tmp_path)
    pulled = chai("pull", *sources, "--models-dir", tmp_path, "--convert-pickle")

    assert str(refused.exception).endswith("; if it has only .bin files, add --convert-pickle")
    assert pulled.exit_code == 0, pulled.exception
    ChaiPipeline.from_pretrained(tmp_path / "opensora-1.2" / "pipeline")


def test_inspect_fails_on_weights_of_another_model(copy):
    folder = copy / "OpenSora-STDiT-v3"
    other_model(folder)

    assert "does not hold a STDiT3: 2 missing" in str(chai("inspect", folder).exception)


def test_inspect_names_the_installed_models(tmp_path):
    error = chai("inspect", "nothing", "--models-dir", tmp_path).exception

    assert str(error) == "'nothing' is no folder and no installed model; installed: none"


def test_convert_writes_into_a_new_folder_only(copy, tmp_path):
    folder = copy / "t5-v1_1-xxl"
    only_pickle(folder)

    assert chai("convert", folder, tmp_path / "new").exit_code == 0
    assert str(chai("convert", folder, tmp_path / "new").exception).endswith("/new is not empty; give a new folder")
