"""Models by name or folder: the released Open-Sora 1.2 as it was published, and saved pipelines.

The released model is three repositories. They load unchanged; `arrange` puts them into one folder in the form of
diffusers, so that a worker loads it like any other pipeline.
"""

import inspect
import json
import shutil
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import torch
import transformers
from huggingface_hub import snapshot_download
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer, T5Config, T5EncoderModel

from shared import model_cards
from shared.logs import first_line
from worker.models import prompt_text
from worker.models.opensora.caption import DEFAULT_AESTHETIC_SCORE
from worker.models.opensora.small_vae import SmallVAE
from worker.models.opensora.stdit3 import STDiT3
from worker.models.opensora.vae import OpenSoraVAE, PatchVAE
from worker.models.opensora.weights import (
    ModelFilesError,
    check_keys,
    key_difference,
    link_or_copy,
    load_weights,
    read_headers,
    weight_files,
)

OPENSORA = "opensora-1.2"
OPENSORA_REPOS = {
    "transformer": "hpcai-tech/OpenSora-STDiT-v3",
    "vae": "hpcai-tech/OpenSora-VAE-v1.2",
    "text_encoder": "DeepFloyd/t5-v1_1-xxl",
}
# Kept with the pipeline; see ChaiPipeline.
OPENSORA_DEFAULTS = {
    "time_shift": "opensora",
    "aesthetic_score": DEFAULT_AESTHETIC_SCORE,
    "height": 240,
    "width": 426,
    "num_frames": 51,
    "fps": 24,
}
OPENSORA_CARD = {
    "name": OPENSORA,
    "title": "Open-Sora 1.2",
    "source": "pipeline",
    # Sizes of the decoded video: the decoder cuts the 426 columns of 240p and the 854 of 480p to multiples of 8.
    "sizes": ["424x240", "240x424", "320x320", "640x360", "848x480", "1280x720", "256x144"],
    "fps": 24,
    "frames": [72, 51, 68, 102, 204],
}
COMPONENTS = {  # what a saved pipeline may name; diffusers finds our modules only if they are imported already
    "transformer": (STDiT3.__module__,),
    "vae": (OpenSoraVAE.__module__, SmallVAE.__module__),
    "text_encoder": ("transformers",),
    "tokenizer": ("transformers",),
}
_PATTERNS = ("*.json", "*.safetensors", "*.model", "*.txt")
_PICKLES = ("*.bin",)
_TOKENIZER_FILES = ("spiece.model", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")


class NotEnoughMemory(MemoryError):
    """A model that does not fit into the free memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """One part of a model, from its files alone."""

    name: str
    kind: str  # class name in config.json, or the file name
    num_bytes: int
    num_parameters: int
    dtypes: tuple[str, ...]


def is_opensora(source: str) -> bool:
    """Whether a name or folder means the released transformer (a saved pipeline has model_index.json instead)."""
    if source in (OPENSORA, OPENSORA_REPOS["transformer"]):
        return True
    config = Path(source) / "config.json"
    return config.is_file() and "STDiT3" in (_read_json(config).get("architectures") or ["STDiT3"])


def load_opensora(
    source: str,
    *,
    vae: str | None = None,
    text_encoder: str | None = None,
    revision: str | None = None,
    dtype: torch.dtype | Mapping[str, torch.dtype] | None = None,
    local_files_only: bool = False,
) -> dict[str, Any]:
    """The arguments of ChaiPipeline for the released model.

    Args:
        source: "opensora-1.2", the name of the transformer's repository, or its folder.
        vae, text_encoder: names or folders; None = beside the transformer's folder under the repository's name, or
            the published repositories.
        revision: of the transformer's repository.
        dtype: of transformer and VAE, or a dict by component. T5 stays float32 unless the dict says otherwise,
            as in the released program.
        local_files_only: never download.

    Raises:
        ModelFilesError: files are missing, truncated, foreign or pickle.
        NotEnoughMemory: the weights do not fit.
    """
    names = {"transformer": source, "vae": vae, "text_encoder": text_encoder}
    folders = {
        part: fetch(_place(part, name, source), revision if part == "transformer" else None, local_files_only)
        for part, name in names.items()
    }
    dtypes = {part: _dtype(part, dtype) for part in folders}
    check_memory({part: num_bytes(folder, dtypes[part]) for part, folder in folders.items()})
    return {
        "transformer": load_transformer(folders["transformer"], dtypes["transformer"]),
        "vae": load_vae(folders["vae"], dtypes["vae"]),
        "text_encoder": load_text_encoder(folders["text_encoder"], dtypes["text_encoder"]),
        "tokenizer": load_tokenizer(folders["text_encoder"]),
        **OPENSORA_DEFAULTS,
    }


def _place(part: str, name: str | None, source: str) -> str:
    if name is not None and name != OPENSORA:
        return name
    beside = Path(source).parent / OPENSORA_REPOS[part].split("/")[1]
    return str(beside) if Path(source).is_dir() and beside.is_dir() else OPENSORA_REPOS[part]


def _dtype(part: str, dtype: torch.dtype | Mapping[str, torch.dtype] | None) -> torch.dtype:
    if isinstance(dtype, torch.dtype):
        return torch.float32 if part == "text_encoder" else dtype
    given = dtype or {}
    return given.get(part, given.get("default", torch.float32))


def fetch(
    source: str, revision: str | None = None, local_files_only: bool = False, *, with_pickles: bool = False
) -> Path:
    """The folder of a model: the given one, or a download of the repository of that name.

    Pickled weights are downloaded only when asked for. Raises ModelFilesError if it is neither folder nor repository.
    """
    if Path(source).is_dir():
        return Path(source)
    patterns = [*_PATTERNS, *(_PICKLES if with_pickles else ())]
    try:
        path = snapshot_download(source, revision=revision, allow_patterns=patterns, local_files_only=local_files_only)
    except Exception as error:  # of the hub, its HTTP library, or its library for large files
        raise ModelFilesError(
            f"{source!r} is no folder here and could not be downloaded ({first_line(error)}); "
            "check the name and the network, or give the folder of a copy"
        ) from error
    return Path(path)


def load_transformer(folder: Path, dtype: torch.dtype = torch.float32) -> STDiT3:
    """STDiT3 of a folder with config.json and weights under the released key names."""
    model: STDiT3 = _empty(STDiT3, folder)
    load_weights(model, folder, dtype)
    return model


def load_vae(folder: Path, dtype: torch.dtype = torch.float32) -> OpenSoraVAE:
    """The two-stage VAE of a folder; the published config names no layer sizes, so those of the release are used."""
    model: OpenSoraVAE = _empty(OpenSoraVAE, folder)
    load_weights(model, folder, dtype)
    return model


def load_text_encoder(folder: Path, dtype: torch.dtype = torch.float32) -> Any:
    """A T5 encoder of a folder; the decoder of a full T5 is left out."""
    check_text_encoder(folder)
    return T5EncoderModel.from_pretrained(folder, dtype=dtype, use_safetensors=True, local_files_only=True)


def load_tokenizer(folder: Path) -> Any:
    """The tokenizer beside a T5 encoder."""
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # each kind of tokenizer has its own errors for a bad file
        files = ", ".join(_TOKENIZER_FILES)
        raise ModelFilesError(
            f"{folder} has no tokenizer that can be read ({first_line(error)}); download {files} again"
        ) from error
    _require_words(folder, tokenizer)
    return tokenizer


def _require_words(folder: Path, kind: Any) -> None:
    if names := prompt_text.lacking(folder, kind):
        raise ModelFilesError(f"{folder} holds no words of its tokenizer ({' or '.join(names)}); download it again")


def check_text_encoder(folder: Path) -> None:
    """Raise ModelFilesError unless a folder has all weights of a T5 encoder; transformers would invent missing ones."""
    found = read_headers(weight_files(folder))
    model = _empty(T5EncoderModel, folder)
    model.tie_weights()
    names: dict[int, list[str]] = {}  # names of each weight: a shared one has several, and is stored under one of them
    for name, weight in model.named_parameters(remove_duplicate=False):
        names.setdefault(id(weight), []).append(name)
    wanted = {next((name for name in one if name in found), one[0]): () for one in names.values()}
    if difference := key_difference(wanted, dict.fromkeys(wanted.keys() & found.keys(), ())):
        raise ModelFilesError(f"{folder} does not hold a T5EncoderModel: {difference}")


def _empty(kind: type, folder: Path) -> Any:
    """A model of the folder's config without memory for its weights."""
    config = _read_config(folder)
    try:
        with torch.device("meta"):
            return T5EncoderModel(T5Config(**config)) if kind is T5EncoderModel else kind(**_known(kind, config))
    except Exception as error:  # each part has its own errors for a wrong value
        reason = first_line(error)
        raise ModelFilesError(
            f"{folder}/config.json is not of a {kind.__name__} ({reason}); download it again"
        ) from error


def _known(model: type, config: dict[str, Any]) -> dict[str, Any]:
    names = inspect.signature(model.__init__).parameters  # type: ignore[misc]
    return {name: value for name, value in config.items() if name in names}


def _read_config(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    if not path.is_file():
        raise ModelFilesError(f"{folder} has no config.json; give the folder that holds it and the weights")
    return _read_json(path)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text())
    except ValueError as error:
        raise ModelFilesError(f"{path} is not JSON ({error}); download it again") from error
    if not isinstance(content, dict):
        raise ModelFilesError(f"{path} is not a JSON object; download it again")
    return content


def num_bytes(folder: Path, dtype: torch.dtype) -> int:
    """Memory in bytes that the weights of a folder take as `dtype`."""
    return sum(tensor.num_values for tensor in read_headers(weight_files(folder)).values()) * dtype.itemsize


def check_memory(needed: Mapping[str, int], device: torch.device | str = "cpu") -> None:
    """Raise NotEnoughMemory if these parts together exceed what is free on the device."""
    device = torch.device(device)
    free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else psutil.virtual_memory().available
    total = sum(needed.values())
    if total > free:
        parts = ", ".join(f"{part} {size / 1e9:.1f} GB" for part, size in needed.items())
        raise NotEnoughMemory(
            f"the model needs {total / 1e9:.1f} GB ({parts}) and {free / 1e9:.1f} GB are free on {device}; "
            "load in bfloat16 (dtype=torch.bfloat16), off-load the text encoder, or free memory"
        )


def check_pipeline(folder: Path) -> None:
    """Check a saved pipeline before it is loaded.

    Raises ModelFilesError if a part is missing, truncated or of a library that this engine does not load, and
    NotEnoughMemory if the weights do not fit.
    """
    sizes = {}
    index = _read_index(folder)
    for part, libraries in COMPONENTS.items():
        library, name = _component(folder, index, part)
        if library not in libraries:
            raise ModelFilesError(
                f"{folder}/model_index.json takes its {part} from {library}.{name}; "
                f"this engine loads {' or '.join(libraries)} only"
            )
        if part == "tokenizer":
            _require_words(folder / part, getattr(transformers, name, None))
        else:
            sizes[part] = num_bytes(folder / part, torch.get_default_dtype())
            _check_whole(folder / part, name)
    check_memory(sizes)


def _check_whole(folder: Path, kind: str) -> None:
    """Raise ModelFilesError for a part of a pipeline that lacks weights: its library would make them up, or fail."""
    if kind == T5EncoderModel.__name__:
        check_text_encoder(folder)
    elif kind in _OURS:
        shapes = {key: tensor.shape for key, tensor in read_headers(weight_files(folder)).items()}
        check_keys(_empty(_OURS[kind], folder), shapes, folder, in_parts=any(folder.glob("*.index.json")))


def _read_index(folder: Path) -> dict[str, Any]:
    path = folder / "model_index.json"
    if not path.is_file():
        raise ModelFilesError(
            f"{folder} has no model_index.json and no STDiT3 config.json; "
            "give a saved pipeline or the folder of the transformer"
        )
    return _read_json(path)


def _component(folder: Path, index: dict[str, Any], part: str) -> tuple[str, str]:
    entry = index.get(part)
    if not isinstance(entry, list) or len(entry) != 2:
        raise ModelFilesError(f"{folder}/model_index.json names no {part}")
    if not (folder / part).is_dir():
        raise ModelFilesError(f"{folder} lacks the folder {part}; download it again")
    return str(entry[0]), str(entry[1])


def inspect_model(folder: Path) -> list[Component]:
    """What a model folder or saved pipeline holds, from the headers alone; raise ModelFilesError as loading would."""
    if not (folder / "model_index.json").is_file():
        return [_inspect(folder, folder.name)]
    return [_inspect(folder / part, part) for part in COMPONENTS if part != "tokenizer"]


_OURS: dict[str, type] = {kind.__name__: kind for kind in (STDiT3, OpenSoraVAE, PatchVAE, SmallVAE)}
_OURS["VideoAutoencoderPipeline"] = OpenSoraVAE  # as it was published


def _inspect(folder: Path, name: str) -> Component:
    config = _read_config(folder)
    kind = _kind(config)
    files = weight_files(folder)
    tensors = read_headers(files)
    if kind in _OURS:
        check_keys(_empty(_OURS[kind], folder), {key: tensor.shape for key, tensor in tensors.items()}, folder)
    return Component(
        name=name,
        kind=kind,
        num_bytes=sum(path.stat().st_size for path in files),
        num_parameters=sum(tensor.num_values for tensor in tensors.values()),
        dtypes=tuple(sorted({tensor.dtype for tensor in tensors.values()})),
    )


def _kind(config: Mapping[str, Any]) -> str:
    """The class that a config names, in the format of diffusers, of transformers, or of neither."""
    architectures = config.get("architectures") or [config.get("model_type", "unknown")]
    return str(config.get("_class_name") or architectures[0])


def arrange(folders: Mapping[str, Path], target: Path) -> Path:
    """Put the three released repositories into `target/pipeline` as one saved pipeline, with the card beside it.

    Weight files are linked, not copied, where the disk allows it. Returns the pipeline's folder.
    """
    pipeline = target / "pipeline"
    for part, model in (("transformer", STDiT3), ("vae", OpenSoraVAE)):
        config = {"_class_name": model.__name__, **_known(model, _read_config(folders[part]))}
        model_cards.write(pipeline / part / "config.json", config)
        _put_weights(folders[part], pipeline / part / "diffusion_pytorch_model.safetensors")
    text = folders["text_encoder"]
    _put_text_weights(text, pipeline / "text_encoder")
    (pipeline / "tokenizer").mkdir(exist_ok=True)
    shutil.copy2(text / "config.json", pipeline / "text_encoder" / "config.json")
    for name in _TOKENIZER_FILES:
        if (text / name).is_file():
            shutil.copy2(text / name, pipeline / "tokenizer" / name)
    model_cards.write(pipeline / "model_index.json", _index(type(load_tokenizer(text)).__name__))
    model_cards.write(target / "chai.json", OPENSORA_CARD)
    return pipeline


def _put_weights(source: Path, target: Path) -> None:
    """Put the weights of our network or VAE where diffusers finds them; of split files it reads no older key names."""
    files = weight_files(source)
    if len(files) == 1:
        link_or_copy(files[0], target)
    else:
        state = {key: tensor for path in files for key, tensor in load_file(path).items()}
        save_file(state, target, metadata={"format": "pt"})
    _remove_others(target.parent, {target.name})


def _put_text_weights(source: Path, target: Path) -> None:
    """Put the weights of a text encoder where transformers finds them, in one file or in parts."""
    target.mkdir(exist_ok=True)
    files = {path.name: path for path in (*weight_files(source), *source.glob("*.safetensors.index.json"))}
    for name, path in files.items():
        link_or_copy(path, target / name)
    _remove_others(target, files)


def _remove_others(folder: Path, names: Collection[str]) -> None:
    """Remove weights left from earlier: their index would be read before the file that replaces them."""
    for path in folder.glob("*.safetensors*"):
        if path.name not in names:
            path.unlink()


def _index(tokenizer: str) -> dict[str, Any]:
    return {
        "_class_name": "ChaiPipeline",
        "transformer": ["worker.models.opensora.stdit3", "STDiT3"],
        "vae": ["worker.models.opensora.vae", "OpenSoraVAE"],
        "text_encoder": ["transformers", "T5EncoderModel"],
        "tokenizer": ["transformers", tokenizer],
        **OPENSORA_DEFAULTS,
    }
