"""What a calibration keeps in its folder, and reads again after it was cut off."""

import os
from pathlib import Path

import pytest

from worker.quality.calibration_record import Busy, Made, OtherRun, Record, slug
from worker.quality.judges import Judged

RUN = {"model": "wan", "key": "k", "prompts": "p", "seed": 1}


def made(prompt: int) -> Made:
    return Made(plan="8 steps", prompt=prompt, evaluations=8.0, seconds=0.5, hit="scene", donor=3)


def test_what_was_kept_is_read_again(tmp_path: Path) -> None:
    record = Record(tmp_path, RUN)
    record.add(made(0), b"mp4")
    record.judge("8 steps", 0, "clip", Judged(judge="clip", loss=0.1, fast_score=0.5, full_score=0.6))
    record.judge("8 steps", 0, "checker", None)

    again = Record(tmp_path, RUN)

    assert again.made == {("8 steps", 0): made(0)}
    assert again.judged == record.judged
    assert again.judged["8 steps", 0, "checker"] is None
    assert again.video("8 steps", 0).read_bytes() == b"mp4"


def test_a_line_that_was_cut_short_is_as_good_as_none(tmp_path: Path) -> None:
    record = Record(tmp_path, RUN)
    for number in (0, 1):
        record.add(made(number), b"mp4")
    file = tmp_path / "clips.jsonl"
    file.write_bytes(file.read_bytes()[:-9])

    again = Record(tmp_path, RUN)
    again.add(made(2), b"mp4")

    assert list(again.made) == [("8 steps", 0), ("8 steps", 2)]
    assert list(Record(tmp_path, RUN).made) == [("8 steps", 0), ("8 steps", 2)]


def test_a_folder_of_another_calibration_is_refused(tmp_path: Path) -> None:
    Record(tmp_path, RUN)

    with pytest.raises(OtherRun, match=r"another prompts, seed; name another folder$"):
        Record(tmp_path, RUN | {"prompts": "q", "seed": 2})


def test_two_processes_do_not_work_on_one_folder(tmp_path: Path) -> None:
    one, other = Record(tmp_path, RUN), Record(tmp_path, RUN)

    with one.held(), pytest.raises(Busy, match="another process calibrates in"), other.held():
        pass
    with other.held():
        pass


def test_what_another_process_made_meanwhile_is_not_made_again(tmp_path: Path) -> None:
    """The second `chai calibrate` asks whether to start while the first runs, and is answered when that is through."""
    one, other = Record(tmp_path, RUN), Record(tmp_path, RUN)
    with one.held():
        one.add(made(0), b"mp4")

    with other.held():
        known = dict(other.made)

    assert known == {("8 steps", 0): made(0)}


def test_who_has_the_open_lock_keeps_others_away_when_its_first_owner_is_gone(tmp_path: Path) -> None:
    one, other = Record(tmp_path, RUN), Record(tmp_path, RUN)
    with one.held() as lock:
        inherited = os.dup(lock)

    with pytest.raises(Busy), other.held():
        pass
    os.close(inherited)
    with other.held():
        pass


def test_the_name_of_a_plan_becomes_one_that_file_systems_take() -> None:
    assert slug("4 steps + resume skipped_steps=1 of a/b") == "4_steps_resume_skipped_steps=1_of_a_b"
