"""What a folder or repository in diffusers' format holds, according to `model_index.json`, before it is loaded."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared.logs import first_line

INDEX = "model_index.json"
_LIBRARIES = ("diffusers", "transformers")  # diffusers imports whatever library an index names
_OTHER_INPUTS = (
    *("image", "cond_image", "video", "mask", "mask_image", "audio", "animate", "reference_conditions"),
    *("control_video", "controls", "conditions", "conditioning_frames"),
)
_UNFOLLOWED = {  # pipelines whose steps are not their scheduler's, and what to use instead
    "SkyReelsV2DiffusionForcingPipeline": "gives frames clocks of their own; name SkyReelsV2Pipeline with --pipeline",
    "TextToVideoSDPipeline": "steps frames as pictures of their own; a newer pipeline is needed",
    "TextToVideoZeroPipeline": "steps twice through a part of its schedule; another pipeline is needed",
    "TextToVideoZeroSDXLPipeline": "steps twice through a part of its schedule; another pipeline is needed",
    "LTX2Pipeline": "makes sound along with the picture, in steps of its own; another pipeline is needed",
}
LENGTHS = ("num_frames", "frames", "video_length")  # what pipelines call the number of frames


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
        pipeline: class to use instead of the one named there.
        revision: of a repository.

    Raises:
        SourceError: missing, broken, gated, foreign, unsafe, or no text-to-video pipeline.
    """
    index = json_file(source, INDEX, revision=revision)
    name = pipeline or index.get("_class_name")
    if isinstance(name, list):
        raise SourceError(
            f"{source}: {INDEX} wants its pipeline ({name[-1]}) from a file of its own, which is code of others; "
            "only pipelines of diffusers are loaded: name one for the same parts with --pipeline"
        )
    if not isinstance(name, str):
        raise SourceError(f"{source}: {INDEX} names no pipeline (_class_name); it is not of diffusers")
    parts = {part: tuple(kind) for part, kind in index.items() if isinstance(kind, list) and len(kind) == 2 and kind[0]}
    for part, (library, kind) in parts.items():
        if not part.isidentifier():  # diffusers reads a part from the folder with its name, wherever that leads
            raise SourceError(f"{source}: {INDEX} has a part {part!r}, which is no name of one; fetch it again")
        if not isinstance(library, str) or not isinstance(kind, str):
            raise SourceError(
                f"{source}: {INDEX} says of {part} {[library, kind]}, no library and class; fetch it again"
            )
        if library not in (*_LIBRARIES, *_own_modules()):
            raise SourceError(
                f"{source}: {INDEX} wants {part} ({kind}) from {library!r}, which is code of others; "
                f"only parts of {' and '.join(_LIBRARIES)} are loaded"
            )
    check_pipeline(source, name)
    return Source(name=source, pipeline=name, parts=parts)


def check_pipeline(source: str, name: str) -> type:
    """Return the class of a pipeline that makes a video from a text alone; raise SourceError for any other."""
    import diffusers

    kind = getattr(diffusers, name, None)
    if kind is None:
        raise SourceError(
            f"{source}: {name} is not in diffusers {diffusers.__version__}; update diffusers, "
            "or name a class that it has with --pipeline"
        )
    takes = inspect.signature(kind.__call__).parameters
    if "prompt" not in takes or not set(LENGTHS) & set(takes):
        raise SourceError(f"{source}: {name} makes no video of a text; a text-to-video pipeline is needed")
    if name in _UNFOLLOWED:
        raise SourceError(f"{source}: {name} {_UNFOLLOWED[name]}")
    if lacking := [value for value in ("latents", "output_type", "num_inference_steps") if value not in takes]:
        raise SourceError(
            f"{source}: {name} takes no {' and no '.join(lacking)}, without which its steps cannot be followed; "
            "another pipeline is needed"
        )
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
    if folder.is_file():
        raise SourceError(
            f"{source} is a single file, which does not say what pipeline it belongs to; load it with diffusers "
            "(from_single_file) into its pipeline once, and give the folder that save_pretrained writes"
        )
    path = folder / name if folder.is_dir() else _fetch(source, name, revision)
    try:
        content = json.loads(path.read_text())
        if not isinstance(content, dict):
            raise ValueError("no object, but a list or a single value")
    except FileNotFoundError:
        raise SourceError(f"{source} has no {name}; give a pipeline saved by diffusers' save_pretrained") from None
    except (ValueError, RecursionError, IsADirectoryError) as error:
        raise SourceError(f"{path} is no JSON ({first_line(error)}); {again(path)}") from error
    found: dict[str, Any] = content
    return found


def again(path: Path) -> str:
    """Return how to replace a broken file: the hub's cache never downloads again what it already has."""
    from huggingface_hub import constants

    is_kept = Path(constants.HF_HUB_CACHE) in path.parents
    return f"remove {path.resolve()}, and it is fetched again" if is_kept else "fetch or save it again"


_PAGE = re.compile(
    r"(?:https?://)?(?:www\.)?(?:huggingface\.co|hf\.co)/([\w.-]+/[\w.-]+?)(?:\.git)?"
    r"(?:/(?:tree|blob|resolve)/([^/?#]+)[^?#]*)?/?(?:[?#].*)?"
)


def _of_page(source: str) -> str | None:
    """Return what to give instead of the address of a repository's page; None if it is not such an address."""
    if (page := _PAGE.fullmatch(source)) is None:
        return None
    name, revision = page.groups()
    at = f" --revision {revision}" if revision and revision != "main" else ""
    return f"is the page of a repository; give its name: --source {name}{at}"


def _own_modules() -> tuple[str, ...]:
    """Return the module names that old indexes use for parts that diffusers itself has."""
    import diffusers.pipelines

    return tuple(name for name in dir(diffusers.pipelines) if not name.startswith("_") and name.islower())


def fetched(source: str, kind: Any, *, revision: str | None, variant: str | None) -> str:
    """Return the folder of all files of a pipeline; missing ones of a repository are fetched.

    Raises:
        SourceError: the hub refuses them, cannot be reached, or there is no room for them.
    """
    if Path(source).is_dir():
        return source
    try:
        return str(kind.download(source, revision=revision, variant=variant, use_safetensors=True))
    except ValueError:  # there are no such files
        raise
    except Exception as error:
        raise _refused(error, source, revision, "all its files") from error


def _fetch(source: str, name: str, revision: str | None) -> Path:
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(source, name, revision=revision))
    except Exception as error:  # of the hub, its HTTP library, or the disk
        raise _refused(error, source, revision, name) from error


def _refused(error: Exception, source: str, revision: str | None, name: str) -> SourceError:
    """Return what to do if a file cannot be fetched because of the hub, the network or the disk."""
    from huggingface_hub import constants, errors

    http = error.__cause__ if isinstance(error.__cause__, errors.HfHubHTTPError) else error
    unmet = next((one for one in (error, error.__context__) if isinstance(one, errors.LocalEntryNotFoundError)), None)
    absent = f"{source} is no folder here"
    match http:
        case errors.HFValidationError():
            said = f"{source} {_of_page(source) or 'is no folder here, and no repository name; give one of the two'}"
        case errors.GatedRepoError():
            said = f"{source} is gated; accept its terms on https://huggingface.co/{source}, then run `hf auth login`"
        case errors.RevisionNotFoundError():
            said = f"{source} has no revision {revision!r}; give a commit, tag or branch of it"
        case errors.RepositoryNotFoundError():
            said = f"{absent}, and no repository that you may read; check the name, or run `hf auth login`"
        case errors.HfHubHTTPError() if http.response.status_code == 401:
            said = f"{absent}, and the hub refuses the token; run `hf auth login`, and set HF_TOKEN anew or not at all"
        case _ if unmet is not None and http is error and constants.is_offline_mode():
            lacks = f" whole ({unmet})" if isinstance(unmet, errors.IncompleteSnapshotError) else ""
            said = f"{source} is not here{lacks}, and HF_HUB_OFFLINE forbids to fetch it; unset it, or give a folder"
        case _ if unmet is not None and http is error:
            said = f"{absent}, and the hub cannot be reached; give a folder, or try again with a network"
        case errors.EntryNotFoundError():
            at = "" if revision is None else f" at {revision}"
            said = f"{source}{at} has no {name}; give a repository in the form of diffusers"
        case OSError(errno=int()):
            said = f"{source} cannot be kept in {constants.HF_HUB_CACHE} ({http}); give HF_HOME a folder with room"
        case _:
            said = f"{absent}, and the hub broke off ({first_line(http)}); try again, or give a folder"
    return SourceError(said)
