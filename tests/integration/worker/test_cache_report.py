"""The report of a run that a service really made, as JSON and as a page in a browser."""

import base64
import json
import os
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import browser
import pytest

from cli.cache.report import Trial, _recommendations
from cli.main import main

Start = Callable[..., Any]  # Any: the Service of conftest
THINGS = ("red fox", "wooden boat", "old castle", "robot", "tiger", "lighthouse", "violin", "snowman")
PLACES = ("in a snowy forest", "on a lake at night", "in a library", "on a beach")


@pytest.fixture
def chai(
    database_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Callable[..., tuple[int, str, str]]:
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("CHAI_VAR_DIR", str(tmp_path / "var"))

    def run(*args: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["chai", "cache", *args])
        try:
            code = main()
        except SystemExit as end:
            code = end.code  # type: ignore[assignment]
        written = capsys.readouterr()
        return int(code or 0), written.out, written.err

    return run


def test_the_report_of_a_real_run_says_what_hit_what_missed_and_what_to_change(
    start: Start, chai: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    service, rng = start(), random.Random(5)
    for number in range(24):
        tenant = ("ada", "eve")[number % 2]
        service.run(f"a {rng.choice(THINGS)} {rng.choice(PLACES)}", tenant=tenant)
    service.run("an animal <b>&</b> a vessel")
    file = tmp_path / "report.html"

    code, out, err = chai("report", "--out", str(file))

    told = json.loads(file.with_suffix(".json").read_text())
    assert code == 0
    assert "they quote prompts" in err
    assert file.stat().st_mode & 0o077 == 0
    assert told["decisions"] == 25
    assert told["hits"] == told["reasons"]["entity_hit"] > 5
    assert sum(told["nearest_of_misses"].values()) >= 5
    assert all("met" in miss["sentence"] for miss in told["near_misses"])
    assert told["trials"][0]["hit_rate"] == told["hit_rate"]
    shared = next(trial for trial in told["trials"] if trial["what"] == "sharing")
    assert shared["hit_rate"] > told["hit_rate"]
    assert told["recommendations"] == [out.strip()]
    assert "25 decisions say too little" in out
    if browser.CHROMIUM:
        _look(file, told)


def _look(file: Path, told: dict[str, Any]) -> None:
    with browser.tab("--window-size=900,2600") as page:
        page.open(file.as_uri())
        assert page.run("document.querySelectorAll('svg').length") >= 3  # of savings only where there are any
        bars = page.run("document.querySelector('svg').querySelectorAll('rect').length")
        assert bars == len(told["over_time"])
        assert page.run("document.body.scrollWidth <= window.innerWidth")
        assert "<b>&</b>" in page.run("document.body.innerText")  # as text, not as a mark
        assert f"25 decisions, {told['hits']} hits" in page.run("document.body.innerText")
        assert page.errors == []
        if folder := os.environ.get("CHAI_TEST_SCREENSHOTS"):
            shot = page.call("Page.captureScreenshot", captureBeyondViewport=True)["data"]
            (Path(folder) / "cache-report.png").write_bytes(base64.b64decode(shot))


def test_a_report_of_nothing_says_what_to_do(chai: Callable[..., tuple[int, str, str]]) -> None:
    code, out, err = chai("report")

    assert (code, out) == (2, "")
    assert "no decision is recorded there; run some prompts first" in err


def test_a_page_is_not_written_where_its_json_goes(chai: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    code, _, err = chai("report", "--out", str(tmp_path / "r.json"))

    page = tmp_path / "r.html"
    assert code == 2
    assert f"--out '{tmp_path}/r.json' is the place of the JSON; name the page, as {page}" in err


TRIAL = Trial(
    what="policy",
    value="lfu",
    command="--policy lfu",
    hit_rate=0.5,
    gain=0.035,
    interval=(0.021, 0.049),
    steps_saved=0.3,
)


def test_namespaces_of_several_policies_are_told_under_which_of_them_they_were_replayed() -> None:
    found: Any = SimpleNamespace(decisions=range(500), full_seconds=10.0, policies={"sieve", "gdsf"})

    said, _ = _recommendations(found, [replace(TRIAL, what="as it was", value="gdsf", gain=0.0), TRIAL])

    assert said == (
        "The namespaces have different policies (gdsf, sieve), and gains are against all of them under gdsf: name a "
        "NAMESPACE for what it would gain itself."
    )


def test_enough_decisions_bring_a_recommendation_with_its_gain_and_how_sure_it_is() -> None:
    found: Any = SimpleNamespace(decisions=range(500), full_seconds=10.0, policies={"lru"})
    unsure = replace(TRIAL, what="budget", value="2 times", command=None, gain=0.02, interval=(-0.01, 0.05))
    small = replace(TRIAL, what="admission", gain=0.001)

    base = replace(TRIAL, what="as it was", gain=0.0, steps_saved=0.275)

    said = list(_recommendations(found, [base, TRIAL, unsure, small]))

    assert [line.split(" would")[0] for line in said] == ["Policy lfu", "Budget 2 times"]
    gain = "+3.5 points of hit rate (+2.1 to +4.9, sure), about 250 GPU seconds in 1,000 videos"
    assert f"{gain}: `chai cache set NAMESPACE --policy lfu`" in said[0]
    assert "not sure: the interval holds 0" in said[1]
