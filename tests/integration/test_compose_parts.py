"""The compose file without an engine: its commands, variables and health checks, as processes of this machine.

What only an engine can show (images, networks, limits, users) is in `tests/acceptance/test_containers.py`.
"""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import yaml

from cli.services import binaries
from cli.services.process import listening

ROOT = Path(__file__).parents[2]
SECRETS = {name: f"{name.lower()}Of17Letters" for name in ("POSTGRES_PASSWORD", "REDIS_PASSWORD", "FLOWER_PASSWORD")}
PARTS = ("api", "relay", "worker", "flower")
HEALTHY_S = 120.0
VARIABLE = re.compile(r"\$\$|\$\{(\w+)(?::-([^}]*)|:\?[^}]*)?\}")


@dataclass(slots=True, kw_only=True)
class Composition:
    """The services of the file, with what a container would give them: names of hosts, folders, a search path."""

    folder: Path
    places: Mapping[str, str]  # of containers → of this machine
    services: Mapping[str, Any] = field(default_factory=dict)
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        loaded = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
        self.services = self._here(loaded)["services"]

    def _here(self, value: Any) -> Any:
        """Do with a value what compose does, then put this machine's places into it."""
        if isinstance(value, dict):
            return {key: self._here(one) for key, one in value.items()}
        if isinstance(value, list):
            return [self._here(one) for one in value]
        if not isinstance(value, str):
            return value
        text = VARIABLE.sub(lambda m: "$" if m[0] == "$$" else SECRETS.get(m[1]) or m[2] or "", value)
        for there, here in self.places.items():
            text = text.replace(there, here)
        return text

    def environment(self, name: str) -> dict[str, str]:
        paths = [str(self.folder / "bin"), str(Path(sys.executable).parent), "/usr/bin", "/bin"]
        given = {key: str(value) for key, value in self.services[name]["environment"].items()}
        own = {"HOME": str(self.folder), "HOSTNAME": socket.gethostname(), "OMP_NUM_THREADS": "1"}
        python = {"PYTHONPATH": ":".join(filter(None, sys.path))}  # as if it were installed
        return {"PATH": ":".join(paths), **own, **python, **given}

    def command(self, name: str, *arguments: str) -> list[str]:
        """Return what a container of this service would start."""
        given = [*arguments] or [str(word) for word in self.services[name]["command"]]
        return given if name == "redis" else ["chai", *given]  # the entry point of our images

    def run(self, name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = self._found(self.command(name, *arguments))
        return subprocess.run(
            command, env=self.environment(name), cwd=self.folder, capture_output=True, text=True, timeout=120
        )

    def up(self, *names: str) -> None:
        for name in names:
            with (self.folder / f"{name}.log").open("wb") as log:
                self.running[name] = subprocess.Popen(
                    self._found(self.command(name)),
                    env=self.environment(name),
                    cwd=self.folder,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )

    def _found(self, command: list[str]) -> list[str]:
        if command[0] == "chai":
            return [sys.executable, "-m", "cli.main", *command[1:]]
        return command

    def is_healthy(self, name: str) -> bool:
        """Return what the health check of the file says."""
        kind, *words = self.services[name]["healthcheck"]["test"]
        command = ["sh", "-c", *words] if kind == "CMD-SHELL" else self._found([str(word) for word in words])
        done = subprocess.run(command, env=self.environment(name), cwd=self.folder, capture_output=True, timeout=60)
        return done.returncode == 0

    def wait(self, name: str, *, healthy: bool = True) -> None:
        deadline = time.monotonic() + HEALTHY_S
        while self.is_healthy(name) is not healthy:
            log = (self.folder / f"{name}.log").read_text()
            assert time.monotonic() < deadline, f"{name} is not {'healthy' if healthy else 'ill'}:\n{log[-3000:]}"
            time.sleep(1)  # a look starts a process

    def down(self) -> None:
        for process in reversed(self.running.values()):
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
        for process in reversed(self.running.values()):
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def arguments(self) -> list[str]:
        """Return the arguments of every process that runs."""
        roots = [psutil.Process(process.pid) for process in self.running.values()]
        family = [one for root in roots for one in (root, *root.children(recursive=True))]
        return [" ".join(process.cmdline()) for process in family]


@pytest.fixture
def composition(empty_database_url: str, tmp_path: Path) -> Iterator[Composition]:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "valkey-server").symlink_to(binaries.redis_server())
    _valkey_cli(tmp_path / "bin" / "valkey-cli")
    with ExitStack() as doors:  # all at once, so that they differ; closed before they are used
        api, flower, redis = (str(doors.enter_context(listening(0)).getsockname()[1]) for _ in range(3))
    composed = Composition(
        folder=tmp_path,
        places={
            f"postgresql+psycopg2://chai:{SECRETS['POSTGRES_PASSWORD']}@postgres:5432/chai": empty_database_url,
            "@redis:6379": f"@127.0.0.1:{redis}",
            "valkey-cli ping": f"valkey-cli -p {redis} ping",
            "--appendonly": f"--port {redis} --dir {tmp_path} --appendonly",
            "/tmp/valkey.conf": str(tmp_path / "valkey.conf"),
            "file:///storage": tmp_path.as_uri() + "/storage",
            "/models": str(tmp_path / "models"),
            "0.0.0.0": "127.0.0.1",
            "--port=8000": f"--port={api}",
            "127.0.0.1:8000": f"127.0.0.1:{api}",
            "--port=5555": f"--port={flower}",
            "127.0.0.1:5555": f"127.0.0.1:{flower}",
        },
    )
    yield composed
    composed.down()


def _valkey_cli(place: Path) -> None:
    """Valkey's client where there is none: what the health check of the file asks of it."""
    if found := shutil.which("valkey-cli") or shutil.which("redis-cli"):
        place.symlink_to(found)
        return
    place.write_text(
        f"#!{sys.executable}\n"
        "import os, sys, redis\n"
        "print('PONG' if redis.Redis(port=int(sys.argv[2]), password=os.environ['REDISCLI_AUTH']).ping() else '')\n"
    )
    place.chmod(0o755)


def test_every_part_of_the_compose_file_starts_is_found_healthy_and_makes_videos(composition: Composition) -> None:
    composition.up("redis")
    composition.wait("redis")
    migrated = composition.run("migrate")
    assert migrated.returncode == 0, migrated.stderr
    composition.up(*PARTS)
    for name in PARTS:
        composition.wait(name)

    key = composition.run("api", "keys", "create", "ada", "--json")
    url = composition.environment("flower")["CHAI_URL"]
    with httpx.Client(base_url=url, trust_env=False, timeout=120) as client:
        refused = client.get("/v1/videos")
        client.headers["Authorization"] = f"Bearer {json.loads(key.stdout)['key']}"
        request = {"prompt": "a red circle", "num_inference_steps": 2}
        video = client.post("/v1/videos", json=request, headers={"Prefer": "wait=60"}).json()
        page = client.get("/workers", headers={"accept": "text/html"})
    said = [line for name in PARTS for line in (composition.folder / f"{name}.log").read_text().splitlines()]
    spoken = composition.arguments()
    for name in ("redis", "flower", "api"):
        composition.running[name].kill()
        composition.wait(name, healthy=False)

    assert (refused.status_code, video["status"]) == (401, "completed"), video
    assert page.status_code == 200
    assert [line for line in said if not isinstance(_json(line), dict)] == []  # one JSON object a line, of every part
    assert not [line for line in spoken for secret in SECRETS.values() if secret in line]


def _json(line: str) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return None
