"""What a folder or repository in the form of diffusers holds, by its `model_index.json`, before anything is loaded."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

INDEX = "model_index.json"
_LIBRARIES = ("diffusers", "transformers")  # diffusers imports whatever library an index names
_OTHER_INPUTS = ("image", "video", "mask", "mask_image", "audio", "control_video", "conditions", "animate")


class SourceError(OSError):
    """A source that cannot be a model of the service; the message names the way out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A pipeline's own description."""

    name: str  # folder or repository
    pipeline: str  # class in diffusers
    parts: Mapping[str, tuple[str, str]]  # name → library, class; absent parts are left out


def read(source: str, *, pipeline: str | None = None, revision: str | None = None) -> Source:
    """Return what a folder or repository holds.

    Args:
        source: a folder, or `owner/name` on the hub.
        pipeline: class to use in place of the one that is named there.
        revision: of a repository.

    Raises:
        SourceError: missing, broken, gated, foreign, unsafe, or no text-to-video pipeline.
    """
    index = json_file(source, INDEX, revision=revision)
    name = pipeline or index.get("_class_name")
    if not isinstance(name, str):
        raise SourceError(f"{source}: {INDEX} names no pipeline (_class_name); it is not of diffusers")
    parts = {part: tuple(kind) for part, kind in index.items() if isinstance(kind, list) and len(kind) == 2 and kind[0]}
    for part, (library, kind) in parts.items():
        if library not in (*_LIBRARIES, *_own_modules()):
            raise SourceError(
                f"{source}: {INDEX} wants {part} ({kind}) from {library!r}, which is code of others; "
                f"only parts of {' and '.join(_LIBRARIES)} are loaded"
            )
    check_pipeline(source, name)
    return Source(name=source, pipeline=name, parts=parts)


def check_pipeline(source: str, name: str) -> type:
    """Return the class of a pipeline that makes a video of a text alone; raise SourceError for any other."""
    import diffusers

    kind = getattr(diffusers, name, None)
    if kind is None:
        raise SourceError(
            f"{source}: {name} is not in diffusers {diffusers.__version__}; update diffusers, "
            "or name a class that it has with --pipeline"
        )
    takes = inspect.signature(kind.__call__).parameters
    if "prompt" not in takes or not {"num_frames", "video_length"} & set(takes):
        raise SourceError(f"{source}: {name} makes no video of a text; a text-to-video pipeline is needed")
    if "num_frames" not in takes:
        raise SourceError(f"{source}: {name} takes its length as video_length, which is not supported")
    if others := [other for other in _OTHER_INPUTS if other in takes]:
        raise SourceError(
            f"{source}: {name} makes videos of {' and '.join(others)}, not of a text alone; "
            "name the text-to-video pipeline of the same parts with --pipeline, such as WanPipeline or LTXPipeline"
        )
    found: type = kind
    return found


def json_file(source: str, name: str, *, revision: str | None = None) -> dict[str, Any]:
    """Return a JSON file of a folder or repository; raise SourceError as `read` does."""
    folder = Path(source)
    path = folder / name if folder.is_dir() else _fetch(source, name, revision)
    try:
        content: dict[str, Any] = json.loads(path.read_text())
    except FileNotFoundError:
        raise SourceError(f"{source} has no {name}; give a pipeline saved by diffusers' save_pretrained") from None
    except ValueError as error:
        raise SourceError(f"{path} is no JSON ({error}); fetch or save the pipeline again") from error
    return content


def _own_modules() -> tuple[str, ...]:
    """Return the names under which old indexes know parts of pipelines that diffusers itself has."""
    import diffusers.pipelines

    return tuple(name for name in dir(diffusers.pipelines) if not name.startswith("_") and name.islower())


def _fetch(source: str, name: str, revision: str | None) -> Path:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import (
        EntryNotFoundError,
        GatedRepoError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    at = "" if revision is None else f" at {revision}"
    try:
        return Path(hf_hub_download(source, name, revision=revision))
    except HFValidationError as error:
        raise SourceError(f"{source} is no folder here, and no repository name; give one of the two") from error
    except GatedRepoError as error:
        raise SourceError(
            f"{source} is gated; accept its terms on https://huggingface.co/{source}, then run `hf auth login`"
        ) from error
    except RevisionNotFoundError as error:
        raise SourceError(f"{source} has no revision {revision!r}; give a commit, tag or branch of it") from error
    except RepositoryNotFoundError as error:
        raise SourceError(
            f"{source} is no folder here, and no repository that you may read; check the name, or run `hf auth login`"
        ) from error
    except LocalEntryNotFoundError as error:
        raise SourceError(
            f"{source} is no folder here, and the hub cannot be reached; give a folder, or try again with a network"
        ) from error
    except EntryNotFoundError as error:
        raise SourceError(f"{source}{at} has no {name}; give a repository in the form of diffusers") from error
