"""Which GPU each worker of one machine gets."""

import pytest

from cli import gpus, up

ALL = {"CUDA_VISIBLE_DEVICES": "2, 3,GPU-8f1e"}


@pytest.mark.parametrize(
    ("value", "names"),
    [("2,3", ["2", "3"]), ("0,-1,1", ["0"]), ("", []), ("-1", []), ("GPU-8f1e, MIG-7", ["GPU-8f1e", "MIG-7"])],
)
def test_gpus_are_those_that_the_environment_allows(value: str, names: list[str]) -> None:
    assert gpus.visible({"CUDA_VISIBLE_DEVICES": value}) == names


def test_without_a_word_of_the_environment_gpus_are_the_machines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpus, "cards", lambda: ["nvidia0", "nvidia1"])

    assert gpus.visible({}) == ["0", "1"]


def test_workers_get_gpus_in_turn() -> None:
    given = [gpus.of_worker(number, 4, ALL)["CUDA_VISIBLE_DEVICES"] for number in (1, 2, 3, 4)]

    assert given == ["2", "3", "GPU-8f1e", "2"]


@pytest.mark.parametrize(
    ("num_workers", "environ"),
    [
        (1, ALL),
        (2, {"CUDA_VISIBLE_DEVICES": "3"}),
        (2, ALL | {"CHAI_DEVICE": "cuda:1"}),
        (2, ALL | {"CHAI_ENGINE_SECOND_DEVICE": "cuda:1"}),
    ],
)
def test_a_worker_sees_all_gpus_where_there_is_nothing_to_share_or_its_settings_name_one(
    num_workers: int, environ: dict[str, str]
) -> None:
    assert gpus.of_worker(1, num_workers, environ) == {}


@pytest.mark.parametrize(("num_workers", "is_told"), [(1, True), (3, False), (4, False)])
def test_a_start_tells_of_gpus_without_a_worker(
    monkeypatch: pytest.MonkeyPatch, num_workers: int, is_told: bool
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", ALL["CUDA_VISIBLE_DEVICES"])

    told = up._idle_gpus(num_workers)

    assert told == (("GPUs     3, workers 1: `chai up --workers 3` starts one for each GPU",) if is_told else ())
