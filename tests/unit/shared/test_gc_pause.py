"""Importing without a look for garbage."""

import gc
from collections.abc import Iterator

import pytest

from shared.gc_pause import gc_paused


@pytest.fixture
def collections() -> Iterator[list[int]]:
    seen: list[int] = []

    def note(phase: str, info: dict[str, int]) -> None:
        seen.append(info["generation"])

    gc.unfreeze()
    gc.callbacks.append(note)
    yield seen
    gc.callbacks.remove(note)
    gc.freeze()  # as it was: what the tests imported is not looked through again


def many() -> list[list[int]]:
    return [[] for _ in range(10 * gc.get_threshold()[0])]


def test_nothing_is_looked_for_in_the_block_and_again_after_it(collections):
    with gc_paused():
        kept = many()
        assert not collections

    kept += many()

    assert collections


def test_a_block_that_breaks_and_one_in_another_leave_it_as_it_was(collections):
    with gc_paused():
        with pytest.raises(ImportError), gc_paused():
            raise ImportError
        assert not gc.isenabled()

    assert gc.isenabled()


def test_only_what_is_imported_for_good_is_never_looked_through_again(collections):
    with gc_paused():
        kept = many()
    assert gc.get_freeze_count() == 0

    with gc_paused(for_good=True):
        pass

    assert gc.get_freeze_count() > len(kept)
