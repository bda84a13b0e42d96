"""The compose files hold to the specification and name only commands and variables that exist.

`compose_spec.json` is the schema of the Compose Specification as shipped in docker-compose 1.29.2 (Apache-2.0).
"""

import json
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft201909Validator
from pydantic_settings import BaseSettings
from typer.main import get_command

from api.settings import ApiSettings
from cli import flower
from cli.main import app
from shared.settings import Settings
from worker.settings import WorkerSettings

ROOT = Path(__file__).resolve().parents[2]
FILES = ["docker-compose.yml", "docker-compose.gpu.yml"]
SERVICES = {"postgres", "redis", "migrate", "api", "relay", "worker", "flower"}
OURS = SERVICES - {"postgres", "redis"}
FOREIGN_VARIABLES = {
    "HF_HOME",
    "CELERY_BROKER_URL",
    "CHAI_URL",
    flower.ADDRESS_VARIABLE,
    flower.PASSWORD_VARIABLE,
}  # not of settings
SECRETS = ("PASSWORD", "_AUTH", "REDIS_URL", "DATABASE_URL", "BROKER_URL")


def load(name: str) -> dict[str, Any]:
    return yaml.safe_load((ROOT / name).read_text())


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    return load("docker-compose.yml")["services"]


@pytest.mark.parametrize("name", FILES)
def test_the_file_follows_the_compose_specification(name: str) -> None:
    schema = json.loads((Path(__file__).parent / "compose_spec.json").read_text())
    schema["properties"]["name"] = {"type": "string"}  # newer than this edition of the schema

    assert [error.message for error in Draft201909Validator(schema).iter_errors(load(name))] == []


def test_all_parts_of_the_service_are_there(services: dict[str, Any]) -> None:
    assert set(services) == SERVICES


@pytest.mark.parametrize("name", sorted(OURS))
def test_the_command_of_a_service_is_a_command_of_chai_with_options_that_it_has(
    services: dict[str, Any], name: str
) -> None:
    command, *options = services[name]["command"]

    get_command(app).commands[command].make_context(command, options)  # raises on what it does not know


def test_flower_is_started_with_a_password_that_must_be_given(services: dict[str, Any]) -> None:
    given = services["flower"]["environment"]

    assert given[flower.PASSWORD_VARIABLE].startswith("${FLOWER_PASSWORD:?")
    assert given[flower.ADDRESS_VARIABLE] == "0.0.0.0"


def test_the_page_and_flower_link_to_each_other_where_a_browser_finds_them(services: dict[str, Any]) -> None:
    """Both addresses follow the published ports, which .env may move."""
    for asks, variable, leads_to in (("api", "CHAI_FLOWER_URL", "flower"), ("flower", "CHAI_URL", "api")):
        (published,) = services[leads_to]["ports"]

        assert services[asks]["environment"][variable] == f"http://{published.rpartition(':')[0]}"


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_no_password_is_an_argument_of_a_process(services: dict[str, Any], name: str) -> None:
    """Compose fills in $NAME before the process starts; $$NAME is left to the shell, whose builtins hide it."""
    service = services[name]
    started = [
        *service.get("command", []),
        *service.get("entrypoint", []),
        *service.get("healthcheck", {}).get("test", []),
    ]

    for argument in started:
        assert not re.search(r"(?<!\$)\$(?!\$)", argument), argument
        for line in argument.splitlines():
            hidden = line.strip().startswith("echo ")  # a builtin
            assert hidden or not any(secret in line for secret in SECRETS), line


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_a_service_has_limits(services: dict[str, Any], name: str) -> None:
    service = services[name]

    assert re.search(r"\d+g(\}|$)", service["mem_limit"])
    assert 0 < service["pids_limit"] <= 1024
    assert all("size=" in place or place == "/var/run/postgresql" for place in service["tmpfs"])
    assert set(service["logging"]["options"]) == {"max-size", "max-file"}


def test_no_index_of_packages_is_named() -> None:
    index = re.compile(r"https?://\S*(?:pypi\.|pythonhosted\.|download\.pytorch\.|registry\.npmjs\.|/simple\b)")
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    files = [ROOT / name for name in tracked.split("\0") if name and (ROOT / name).is_file()]
    texts = {file: file.read_bytes().decode(errors="ignore") for file in files if file.stat().st_size < 1_000_000}

    assert len(texts) > 300
    assert [str(file) for file, text in texts.items() if index.search(text)] == []
    for name in [*FILES, "Dockerfile"]:
        assert not re.search(r"https?://(?!127\.0\.0\.1)", texts[ROOT / name]), name


def test_indexes_of_packages_come_from_the_builder(services: dict[str, Any]) -> None:
    for name in OURS:
        args = services[name]["build"]["args"]
        wanted = {"PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL"} | ({"TORCH_INDEX"} if name == "worker" else set())
        assert args == {arg: f"${{{arg}:-}}" for arg in wanted}
        for arg in wanted:
            assert f"\nARG {arg}\n" in (ROOT / "Dockerfile").read_text()


def test_the_base_image_is_one_patch_release() -> None:
    assert re.search(r"^ARG PYTHON_IMAGE=python:\d+\.\d+\.\d+-slim-trixie$", (ROOT / "Dockerfile").read_text(), re.M)
    assert re.findall(r"^FROM (\S+)", (ROOT / "Dockerfile").read_text(), re.M) == ["${PYTHON_IMAGE}", "base", "base"]


@pytest.mark.parametrize("name", sorted(OURS))
def test_every_variable_of_a_service_is_a_setting(services: dict[str, Any], name: str) -> None:
    known = FOREIGN_VARIABLES.union(*map(variables, (Settings, ApiSettings, WorkerSettings)))

    assert set(services[name]["environment"]) - known == set()


@pytest.mark.parametrize("name", sorted(OURS))
def test_the_parts_meet_at_the_same_services(services: dict[str, Any], name: str) -> None:
    meeting = {"DATABASE_URL", "REDIS_URL", "STORAGE_URL"}

    assert {key: services[name]["environment"][key] for key in meeting} == {
        key: services["api"]["environment"][key] for key in meeting
    }


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_a_service_has_no_privileges_to_lose(services: dict[str, Any], name: str) -> None:
    service = services[name]

    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]


@pytest.mark.parametrize("name", ["postgres", "redis"])
def test_foreign_images_are_pinned_and_run_without_root(services: dict[str, Any], name: str) -> None:
    assert re.search(r":\d+\.\d+\.\d+", services[name]["image"])
    assert services[name]["user"] != "root"


def test_our_images_run_without_root() -> None:
    stages = (ROOT / "Dockerfile").read_text().split("\nFROM ")

    assert all("\nUSER chai\n" in stage for stage in stages if "ENTRYPOINT" in stage)
    assert {services_target(name) for name in OURS} == {"service", "worker"}


def test_ports_are_published_on_loopback_only(services: dict[str, Any]) -> None:
    ports = [port for service in services.values() for port in service.get("ports", [])]

    assert len(ports) == 2
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_no_password_has_a_default() -> None:
    used = re.findall(r"\$\{(\w*PASSWORD)(:?.)", (ROOT / "docker-compose.yml").read_text())

    assert {name for name, _ in used} == {"POSTGRES_PASSWORD", "REDIS_PASSWORD", "FLOWER_PASSWORD"}
    assert {operator for _, operator in used} == {":?"}


def test_long_running_services_have_health_checks(services: dict[str, Any]) -> None:
    assert {name for name, service in services.items() if "healthcheck" in service} == SERVICES - {"migrate"}


def test_storage_is_shared_by_the_parts_that_read_or_write_videos(services: dict[str, Any]) -> None:
    sharing = {name for name, service in services.items() if "storage:/storage" in service.get("volumes", [])}

    assert sharing == {"api", "relay", "worker"}


def test_the_gpu_override_reserves_one_gpu_for_the_worker() -> None:
    worker = load("docker-compose.gpu.yml")["services"]["worker"]

    assert worker["deploy"]["resources"]["reservations"]["devices"] == [
        {"driver": "nvidia", "count": 1, "capabilities": ["gpu"]}
    ]


def test_the_images_install_extras_that_exist() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    installed = re.findall(r"/src\[([a-z,]+)\]", (ROOT / "Dockerfile").read_text())

    assert installed == ["api,flower", "worker"]
    assert {extra for names in installed for extra in names.split(",")} <= set(extras)


def services_target(name: str) -> str:
    return load("docker-compose.yml")["services"][name]["build"]["target"]


def variables(settings: type[BaseSettings]) -> set[str]:
    """Names of the environment variables that a settings class reads."""
    prefix = settings.model_config.get("env_prefix", "")
    return {field.alias or f"{prefix}{name}".upper() for name, field in settings.model_fields.items()}
