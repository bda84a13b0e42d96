"""The service as a person runs it: `chai up` in a process of its own, with the random tiny model."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from chai_up import CARD, Home, Up


@pytest.fixture(scope="session")
def new_home(tmp_path_factory: pytest.TempPathFactory, services_folder: Path) -> Callable[[], Home]:
    """Makes empty homes. Their services end before `leftovers.py` ends what is left."""

    def make() -> Home:
        folder = tmp_path_factory.mktemp("a home of Jürgen, 50%")
        card = folder / "models" / "tiny" / "chai.json"
        card.parent.mkdir(parents=True)
        card.write_text(json.dumps(CARD))
        return Home(folder=folder)

    return make


@pytest.fixture(scope="session")
def bring_up() -> Callable[..., Up]:
    """Starts `chai up` in a home and waits until it says that it is there."""

    def start(home: Home, *arguments: str, **variables: str) -> Up:
        process = home.start("up", *arguments, **variables)
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("Ctrl-C"):
                return Up(home=home, process=process)
        _, said = process.communicate()
        raise AssertionError(f"chai up ended with {process.returncode}:\n{said}")

    return start


@pytest.fixture(scope="module")
def up(new_home: Callable[[], Home], bring_up: Callable[..., Up]) -> Iterator[Up]:
    """One running service for all tests of a file: idle beside all others, it would take a tenth of a core."""
    running = bring_up(new_home())
    yield running
    running.stop()


@pytest.fixture
def home(up: Up) -> Home:
    """The home of the running service."""
    return up.home
