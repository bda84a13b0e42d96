"""The report of a bulk run."""

import json
from html.parser import HTMLParser

import pytest

from cli import report
from shared.results import Result

COUNTS = {"total": 40, "queued": 0, "in_progress": 0, "completed": 40, "failed": 0, "cancelled": 0}


def batch(**counts: int) -> dict:
    """A run as the service shows it."""
    known = {"id": "batch_1", "name": "night.txt", "status": "completed", "created_at": 1, "completed_at": 2}
    return {**known, "num_bad_lines": 0, "num_reused": 0, "window": None, "request_counts": COUNTS | counts}


def video(**more: object) -> dict:
    """A video as the service lists it in `batch_1`."""
    known = {"id": "video_1", "custom_id": "x", "batch_id": "batch_1", "line": "3", "prompt": "a", "mode": "auto"}
    made = {"status": "completed", "path": "full", "seed": 1, "num_steps": 30, "usage": {"run_s": 2.5}}
    return {**known, **made, **more}


def result(status: str = "completed", prompt: str = "a", **more: object) -> Result:
    return Result.of(video(status=status, prompt=prompt, **more), "batch_1", file="v.mp4")


def fast(similarity: float = 0.9, saved_s: float = 1.0) -> Result:
    cache = {"matched": [{"entity": "ball"}], "similarity": similarity, "donors": ["video_0"]}
    return result(path="fast", cache=cache, usage={"run_s": 1.0, "seconds_saved": saved_s, "stage_s": {"denoise": 0.8}})


def failed(code: str, message: str, line: str, status: str = "failed") -> Result:
    return result(status, error={"code": code, "message": message}, line=line, path=None)


def test_hits_and_savings_are_those_of_videos_that_this_run_made() -> None:
    reused = result(path="fast", batch_id="batch_0", usage={"run_s": 9.0, "seconds_saved": 99.0})

    made = report.of(batch(), [fast(0.8), fast(0.9), fast(1.0, saved_s=2.0), result(), reused])["made"]

    assert (made["number"], made["fast"], made["full"], made["hits"], made["hit_share"]) == (4, 3, 1, 3, 0.75)
    assert (made["saved_s"], made["median_similarity"]) == (4.0, 0.9)
    assert made["seconds"] == {"total": 5.5, "median_fast": 1.0, "median_full": 2.5}
    assert made["stages"] == {"denoise": 2.4}


def test_failures_are_gathered_by_reason_with_the_way_out() -> None:
    lines = [failed("out_of_memory", "does not fit", str(n)) for n in (4, 7)]

    found = report.of(batch(failed=3), [failed("new_code", "odd", "1"), *lines])["failures"]

    assert [(row["reason"], row["number"], row["lines"]) for row in found] == [
        ("out_of_memory", 2, ["4", "7"]),
        ("new_code", 1, ["1"]),
    ]
    assert found[0]["way_out"] == "run these lines at a smaller size, or on a GPU with more memory"
    assert found[1]["way_out"] == "`chai doctor` looks at the machine; then retry"


@pytest.mark.parametrize(
    ("shown", "results", "advice"),
    [
        (batch(), [fast()] * 40, []),
        (batch(failed=2), [], ["2 lines have no video: see the reasons, then `chai bulk retry batch_1 --only failed`"]),
        (batch(failed=2, cancelled=1), [], ["3 lines have no video: see the reasons, then `chai bulk retry batch_1`"]),
        ({**batch(), "status": "paused"}, [], ["the run is paused: `chai bulk resume batch_1`"]),
        (
            {**batch(queued=9), "window": {"start": "22:00"}},
            [],
            ["9 lines wait for the next window; a longer one or another worker would end them sooner"],
        ),
        (
            batch(),
            [fast()] * 30 + [result(mode="full")] * 10,
            ["10 lines asked for full mode, which uses no donor; with auto, those with one run faster"],
        ),
        (
            batch(),
            [fast()] * 30 + [result(usage={"run_s": 40.0, "stage_s": {"load": 30.0}})],
            ["30 s of 1 min 10 s went into loading models: sort the list by model"],
        ),
        (
            batch(),
            [result()] * 40,
            [
                "only 0 of 40 lines met something known: name things alike (one word for one thing), "
                "or give the cache more room (`chai cache ls`)"
            ],
        ),
        (batch(), [result()] * 5, []),  # too few to say anything
    ],
)
def test_what_to_change_tonight(shown: dict, results: list[Result], advice: list[str]) -> None:
    assert report.of(shown, results)["tonight"] == advice


def test_the_page_says_what_the_json_says_and_no_prompt_becomes_markup() -> None:
    found = report.of(batch(failed=1), [result(prompt="<script>alert(1)</script>"), failed("deadline", "a & b", "9")])

    page = report.page(found)

    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "a &amp; b" in page
    assert "http" not in page  # nothing is loaded from elsewhere
    assert json.loads(report.text(found)) == found
    assert open_tags(page) == []


def open_tags(page: str) -> list[str]:
    stack: list[str] = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: object) -> None:
            if tag not in ("meta", "img"):
                stack.append(tag)

        def handle_endtag(self, tag: str) -> None:
            assert stack.pop() == tag

    Reader().feed(page.removeprefix("<!doctype html>"))
    return stack


def test_a_run_that_made_nothing_has_a_report_too() -> None:
    found = report.of(batch(total=0, completed=0), [])

    assert (found["made"]["hit_share"], found["made"]["seconds"]["median_fast"]) == (None, None)
    assert "<h1>night.txt</h1>" in report.page(found)


def test_what_was_expected_stands_beside_what_came() -> None:
    expected = {"order": "planned", "num_fast": 3, "num_full": 1, "low_h": 0.1, "likely_h": 0.2, "high_h": 0.4}
    shown = {**batch(), "forecast": {**expected, "ends_at": 1_800_000_000}, "completed_at": 1_800_003_600}

    found = report.of(shown, [fast(), fast(), result(usage={"run_s": 355.5}), failed("deadline", "late", "9")])

    assert found["forecast"]["came"] == {"num_fast": 2, "num_full": 1, "work_h": 0.1, "ends_at": 1_800_003_600}
    page = report.page(found)
    assert "<td>lines in the fast path</td><td>3</td><td>2</td>" in page
    assert "<td>6 min to 24 min, likely 12 min</td><td>6 min</td>" in page
    assert "<td>2027-01-15 08:00 UTC</td><td>2027-01-15 09:00 UTC</td>" in page
    assert "Expected and come" not in report.page(report.of(batch(), [fast()]))
    cut_short = {**shown, **batch(cancelled=2), "status": "cancelled", "completed_at": None}
    page = report.page(report.of(cut_short, [result("cancelled")]))
    assert "<td>2027-01-15 08:00 UTC</td><td>cancelled</td>" in page
    assert "<code>chai bulk retry batch_1 --only cancelled</code>" in page


def test_the_contact_sheet_shows_videos_from_all_over_the_list() -> None:
    many = [result(id=f"video_{number}", line=str(number), prompt="a <fox>") for number in range(200)]

    found = report.of(batch(), many)
    page = report.page(found, {row["video"]: b"jpeg" for row in found["sheet"][1:]})

    lines = [int(row["line"]) for row in found["sheet"]]
    assert (len(lines), lines[0], lines[-1]) == (report.NUM_PICTURES, 0, 195)
    assert page.count('src="data:image/jpeg;base64,anBlZw=="') == report.NUM_PICTURES - 1  # one had none
    assert "47 of 200 videos" in page
    assert 'alt="a &lt;fox&gt;"' in page
    assert "Contact sheet" not in report.page(found)
