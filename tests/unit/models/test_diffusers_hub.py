"""Pipelines of repositories: a hub that serves a folder, or does not; and what its cache makes of it."""

import hashlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import huggingface_hub.hf_api
import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import save_file

from shared.model_cards import Lora, ModelCard
from tests import tiny_pipelines
from worker.models import registry
from worker.models.diffusers.source import SourceError

COMMIT = "a" * 40
WEIGHTS = "transformer/diffusion_pytorch_model.safetensors"
CARD = ModelCard(
    name="wan", title="", source="them/wan", family="diffusers", sizes=("32x32",), fps=16, frames=(5,),
    full_steps=4, fast_steps=2, guidance_scale=1.0,
)  # fmt: skip


@dataclass
class Hub:
    """A repository of the files of a folder, and which of them are answered with a status in their place."""

    folder: Path
    refusals: dict[str, tuple[int, dict[str, str]]] = field(default_factory=dict)  # by how a path ends

    def answer(self, path: str) -> tuple[int, dict[str, str], bytes]:
        """Return status, headers and content."""
        for ending, (status, headers) in self.refusals.items():
            if path.endswith(ending):
                return status, headers, b""
        if path.startswith("/api/"):
            names = [str(file.relative_to(self.folder)) for file in self.folder.rglob("*") if file.is_file()]
            tree = [{"type": "file", "path": name, "size": 1, "oid": "0" * 40} for name in names]
            info = {"id": "them/wan", "sha": COMMIT, "siblings": [{"rfilename": name} for name in names]}
            return 200, {}, json.dumps(tree if "/tree/" in path else info).encode()
        file = self.folder / path.split("/", 5)[5]
        if not file.is_file():
            return 404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT}, b""
        content = file.read_bytes()
        return 200, {"X-Repo-Commit": COMMIT, "ETag": hashlib.sha256(content).hexdigest()}, content


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_pipelines.save("wan", tmp_path_factory.mktemp("wan"))


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, folder: Path) -> Iterator[Hub]:
    served = Hub(folder)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, headers, content = served.answer(self.path.split("?")[0])
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content)

        do_HEAD = do_GET

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    url = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(constants, "ENDPOINT", url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", url + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(huggingface_hub.hf_api.api, "endpoint", url)
    yield served
    server.shutdown()
    thread.join()
    server.server_close()


def load(card: ModelCard = CARD) -> Any:
    return registry.load(card, Path("nowhere"), registry.EngineOptions(device="cpu"))


def kept(tmp_path: Path, name: str) -> Path:
    return tmp_path / "cache" / "models--them--wan" / "snapshots" / COMMIT / name


def test_a_pipeline_of_the_hub_is_that_of_its_folder_and_needs_the_hub_once(hub, folder, monkeypatch) -> None:
    fetched = load().fingerprint
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)

    assert load().fingerprint == fetched
    assert load(replace(CARD, source=str(folder))).fingerprint == fetched


@pytest.mark.parametrize(
    ("ending", "status", "code", "message"),
    [
        ("text_encoder/model.safetensors", 403, "GatedRepo", "them/wan is gated; accept its terms"),
        (WEIGHTS, 403, "GatedRepo", "them/wan is gated; accept its terms on"),
        ("text_encoder/model.safetensors", 451, "", r"the hub broke off \(.*451.*\); try again, or give a folder"),
        ("model_index.json", 451, "", r"the hub broke off \(.*451.*\); try again, or give a folder"),
    ],
)
def test_weights_that_the_hub_refuses_say_why(hub, ending, status, code, message) -> None:
    hub.refusals[ending] = status, {"X-Error-Code": code}

    with pytest.raises(SourceError, match=message):
        load()


@pytest.mark.parametrize("name", [WEIGHTS, "text_encoder/model.safetensors", "vae/config.json", "model_index.json"])
def test_what_is_half_here_names_what_forbids_the_rest(hub, tmp_path, monkeypatch, name) -> None:
    load()
    kept(tmp_path, name).unlink()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)

    lacks = "" if name == "model_index.json" else rf" whole \(.*{name}.*\)"
    with pytest.raises(SourceError, match=rf"them/wan is not here{lacks}, and HF_HUB_OFFLINE forbids to fetch it; un"):
        load()


@pytest.mark.parametrize("name", [WEIGHTS, "text_encoder/model.safetensors", "vae/config.json", "model_index.json"])
def test_a_file_that_is_cut_in_the_cache_is_named_and_fetched_anew_once_removed(hub, tmp_path, name) -> None:
    """The hub takes a file of the cache for whole, and fetches it no more."""
    load()
    file = kept(tmp_path, name).resolve()
    file.write_bytes(file.read_bytes()[:40])

    with pytest.raises(SourceError, match=rf"{name} is no.*; remove {file}, and it is fetched again"):
        load()
    file.unlink()
    load()


def test_a_cache_that_cannot_be_written_is_named(hub, tmp_path) -> None:
    (tmp_path / "cache").write_text("")

    with pytest.raises(
        SourceError, match=rf"them/wan cannot be kept in {tmp_path}/cache \(.*\); give HF_HOME a folder"
    ):
        load()


def test_a_lora_of_the_hub_is_fetched_by_its_name_and_needs_the_hub_once(hub, folder, monkeypatch, tmp_path) -> None:
    layer, width = "transformer.blocks.0.attn1.to_q", load().pipeline.transformer.blocks[0].attn1.to_q.in_features
    hub.folder = tmp_path / "quick"
    hub.folder.mkdir()
    for name in ("early.safetensors", "late.safetensors"):
        halves = {f"{layer}.lora_A.weight": torch.ones(2, width), f"{layer}.lora_B.weight": torch.ones(width, 2)}
        save_file(halves, hub.folder / name)
    local = replace(CARD, source=str(folder))
    quick = replace(local, loras=(Lora(source="them/quick", file="late.safetensors"),))

    with pytest.raises(SourceError, match=r"early.safetensors and 1 more: give one as its `file`"):
        load(replace(local, loras=(Lora(source="them/quick"),)))
    assert load(quick).fingerprint != load(local).fingerprint
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    load(quick)
