"""A service of real processes, with short leases, to break."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from processes import LEASE_S, SWEEP_S, ForkServer, Process, Service, environment, write_cards
from sqlalchemy.orm import Session, sessionmaker


@pytest.fixture(scope="session")
def fork_server() -> Iterator[ForkServer]:
    """One for all tests: what workers import takes longer than most of what they do here."""
    fork_server = ForkServer()
    yield fork_server
    fork_server.close()


@pytest.fixture
def make_service(fork_server: ForkServer, storage_url: str, tmp_path: Path) -> Iterator[Callable[..., Service]]:
    """Makes services without a process yet; whatever a test leaves running is killed."""
    made: list[Service] = []

    def make(factory: sessionmaker[Session], database_url: str, redis_url: str, **settings: object) -> Service:
        env = environment(database_url, redis_url, storage_url, write_cards(tmp_path / "models"))
        env |= {"CHAI_LEASE_S": str(LEASE_S), "CHAI_SWEEP_S": str(SWEEP_S)}
        env |= {"CHAI_LOST_S": "0.5", "CHAI_PROGRESS_S": "0.1"}
        env |= {name: str(value) for name, value in settings.items()}
        made.append(Service(factory=factory, env=env, folder=tmp_path, fork_server=fork_server))
        return made[-1]

    yield make
    for service in made:
        for process in reversed(service.processes):
            process.kill()


@pytest.fixture
def service(
    make_service: Callable[..., Service], session_factory: sessionmaker[Session], database_url: str, redis_url: str
) -> Service:
    """A service on the shared servers."""
    return make_service(session_factory, database_url, redis_url)


@pytest.fixture
def relay(service: Service) -> Process:
    """A running relay."""
    return service.start_relay()
