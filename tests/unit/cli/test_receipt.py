"""Facts about a video, read from the API's object."""

import pytest

from cli.receipt import facts, state
from shared.receipts import Receipt


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
        ({"status": "queued", "queue_position": 0, "waiting_reason": "no worker"}, "queued, 0 before it; no worker"),
        ({"status": "queued", "queue_position": None}, "queued"),
        ({"status": "in_progress", "step": 4, "num_steps": 30}, "step 4 of 30"),
        ({"status": "in_progress", "step": None}, "in_progress"),
        ({"status": "completed", "step": 30}, "completed"),
    ],
)
def test_the_state_says_what_a_person_waits_for(video: dict[str, object], text: str) -> None:
    assert state(video) == text


def test_what_the_object_says_twice_is_told_once_and_stages_in_their_order() -> None:
    stages = {"decode": 0.25, "denoise": 1.5}
    usage = {"run_s": 2.0, "stage_s": stages, "seconds_saved": 0.5}
    again = {"inference_time_s": 2.0, "stage_durations": stages, "peak_memory_mb": 850.9469}
    video = {"id": "video_1", "prompt": "a", "status": "completed", "path": "fast", "usage": usage, **again}

    told = facts({**video, "cache": {"gpu_seconds_saved": 0.5}})

    assert (told["stages"], told["memory"]) == ("denoise 1.50 s, decode 0.25 s", "851 MiB at most")
    assert not {"inference_time_s", "stage_durations", "peak_memory_mb", "gpu_seconds_saved"} & told.keys()


def test_a_person_is_told_all_that_the_object_holds_also_what_this_version_does_not_know() -> None:
    video = {
        "id": "video_1",
        "object": "video",
        "prompt": "a red\ncircle",
        "status": "completed",
        "mode": "auto",
        "path": "fast",
        "size": "64x64",
        "num_frames": 16,
        "fps": 8,
        "num_steps": 8,
        "num_inference_steps": 30,
        "seed": 0,
        "created_at": 0,
        "negative_prompt": "rain",
        "metadata": {"shelf": "b"},
        "cache": {
            "explanation": "an entity is known",
            "matched": [{"entity": "circle", "donor_entity": "red circle", "similarity": 0.97}],
            "donors": ["video_0"],
            "steps_saved": 22,
            "unread": ["4x4", "walrus"],
            "of_tomorrow": {"a": 1},
        },
        "usage": {"run_s": 1.5, "stage_s": {"denoise": 1.0}, "bytes": 1234, "unknown": 3},
        "error": None,
    }

    told = facts(video)

    assert told["prompt"] == "a red circle"
    assert told["why"] == "an entity is known"
    assert told["matched"] == "circle with 'red circle' at 0.97"
    assert told["donors"] == "video_0"
    assert told["not read"] == "4x4 walrus"
    assert told["steps"] == "8 (30 asked for)"
    assert told["size"] == "64x64, 16 frames at 8 a second"
    assert told["stages"] == "denoise 1.00 s"
    assert (told["seed"], told["negative_prompt"], told["bytes"]) == ("0", "rain", "1234")
    assert (told["metadata"], told["of_tomorrow"]) == ('{"shelf": "b"}', '{"a": 1}')
    assert (told["steps_saved"], told["unknown"]) == ("22", "3")
    assert "error" not in told


def test_a_failure_is_told_with_its_code() -> None:
    video = {"id": "v", "prompt": "p", "status": "failed", "error": {"code": "worker_lost", "message": "it died"}}

    assert facts(video)["error"] == "it died (worker_lost)"
