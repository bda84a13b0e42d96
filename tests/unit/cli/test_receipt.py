"""Facts about a video, read from the API's object."""

import pytest

from cli.receipt import Receipt, state


def test_a_receipt_takes_its_facts_from_the_cache_and_usage_blocks() -> None:
    video = {
        "status": "completed",
        "mode": "auto",
        "path": "fast",
        "num_steps": 8,
        "seed": 3,
        "cache": {"matched": [{"entity": "red circle"}, {"entity": "blue field"}], "similarity": 0.97},
        "usage": {"queue_wait_s": 0.1, "run_s": 1.5, "seconds_saved": 2.0},
        "error": None,
    }

    receipt = Receipt.of(video)

    assert (receipt.matched, receipt.similarity, receipt.num_steps) == ("red circle, blue field", 0.97, 8)
    assert (receipt.queue_wait_s, receipt.run_s, receipt.saved_s) == (0.1, 1.5, 2.0)


def test_a_full_run_saves_nothing_however_quick_it_was() -> None:
    usage = {"queue_wait_s": 0.1, "run_s": 1.5, "seconds_saved": 0.4}

    receipt = Receipt.of({"status": "completed", "path": "full", "cache": {}, "usage": usage})

    assert receipt.saved_s is None


def test_a_video_that_has_not_run_has_an_empty_receipt() -> None:
    receipt = Receipt.of({"status": "queued", "mode": "auto", "cache": None, "usage": None, "error": None})

    assert (receipt.path, receipt.matched, receipt.run_s, receipt.error) == (None, "", None, None)


@pytest.mark.parametrize(
    ("video", "text"),
    [
        ({"status": "queued", "queue_position": 3}, "queued, 3 before it"),
        ({"status": "queued", "queue_position": None}, "queued"),
        ({"status": "in_progress", "step": 4, "num_steps": 30}, "step 4 of 30"),
        ({"status": "in_progress", "step": None}, "in_progress"),
        ({"status": "completed", "step": 30}, "completed"),
    ],
)
def test_the_state_says_what_a_person_waits_for(video: dict[str, object], text: str) -> None:
    assert state(video) == text
