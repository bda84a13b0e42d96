"""A program of the operator's as a judge."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest

from worker.quality.command import JudgeError, Scorer
from worker.quality.judges import Command
from worker.quality.videos import Video

VIDEO = Video.of(np.zeros((2, 16, 16, 3), np.uint8))


def script(folder: Path, text: str) -> Scorer:
    file = folder / "score.py"
    file.write_text(text)
    return Scorer.parse(f"{sys.executable} {file} {{video}} {{prompt}}", timeout_s=30)


def test_the_last_line_is_the_score_of_the_file(tmp_path: Path) -> None:
    scorer = script(tmp_path, "import sys, pathlib\nprint('a word')\nprint(pathlib.Path(sys.argv[1]).stat().st_size)")

    assert scorer.score(VIDEO.mp4, "a red fox") == len(VIDEO.mp4)


def test_more_is_better_and_full_mode_is_asked_about_once(tmp_path: Path) -> None:
    log = tmp_path / "log"
    text = f"import sys\nopen({str(log)!r}, 'a').write('x')\nprint(len(open(sys.argv[1], 'rb').read()))"
    judge = Command(scorer=script(tmp_path, text))
    larger = Video.of(np.random.default_rng(0).integers(0, 255, (9, 64, 64, 3)).astype(np.uint8))

    found = judge.judge("a red fox", VIDEO, larger)
    again = judge.judge("a red fox", Video(VIDEO.mp4), larger)

    assert found == again
    assert (found.fast_score, found.full_score) == (len(VIDEO.mp4), len(larger.mp4))
    assert found.loss == len(larger.mp4) - len(VIDEO.mp4) > 0
    assert log.read_text() == "xxx"


@pytest.mark.parametrize("prompt", ["; touch owned", "$(touch owned)", "{video} {prompt}", "a 'quote\" \\ and\nline"])
def test_a_prompt_arrives_as_it_is_and_runs_nothing(
    prompt: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "expected").write_text(prompt)
    scorer = script(tmp_path, "import sys\nprint(int(sys.argv[2] == open('expected').read()))")

    assert scorer.score(VIDEO.mp4, prompt) == 1
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("print('good')", "said 'good' on its last line; it has to print a number"),
        ("print('nan')", "said 'nan' on its last line; it has to print a number"),
        ("", "said '' on its last line; it has to print a number"),
        ("import sys\nsys.exit('no weights')", "ended with 1: no weights"),
    ],
)
def test_a_program_that_gives_no_number_says_why(text: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(JudgeError, match=re.escape(says)):
        script(tmp_path, text).score(VIDEO.mp4, "a red fox")


def test_a_program_that_hangs_is_ended_with_all_it_started(tmp_path: Path) -> None:
    scorer = Scorer(arguments=("sh", "-c", "sleep 600 & sleep 600", "{video}"), timeout_s=0.2)

    with pytest.raises(JudgeError, match=r"^sh took longer than 0\.2 s for one video; it was ended$"):
        scorer.score(VIDEO.mp4, "a red fox")


def test_a_program_that_is_not_there_is_named() -> None:
    with pytest.raises(JudgeError, match=r"^no-such-judge cannot be started .*; give its whole path$"):
        Scorer.parse("no-such-judge {video}").score(VIDEO.mp4, "a red fox")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("score.py {prompt}", "does not say where the file goes; write as 'score.py {video} {prompt}'"),
        ("{video}", "does not say where the file goes"),
        ("score.py '{video}", "No closing quotation; close the quotes"),
    ],
)
def test_a_command_that_cannot_work_is_refused_before_anything_runs(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=re.escape(says)):
        Scorer.parse(text)
