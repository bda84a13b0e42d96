"""Results of bulk runs."""

import csv
import json
from pathlib import Path

import pytest
from scripted_service import Script
from typer.testing import CliRunner

from chai_client import transport
from cli import night, outages, places, results
from cli.bulk import commands, submission
from cli.client import Client
from cli.errors import BadInput, Refused, Unreachable
from cli.manifest import BadLine, Line, Manifest, Order, read
from cli.places import NoPlace
from cli.results import exit_code, write
from shared.results import Result

ID = "batch_" + "0" * 32


def video(**more: object) -> dict:
    """A video as the service lists it in `batch_1`."""
    known = {"id": "video_1", "custom_id": "x", "batch_id": "batch_1", "line": "3", "prompt": "a", "mode": "auto"}
    made = {"status": "completed", "path": "full", "seed": 1, "num_steps": 30, "usage": {"run_s": 2.5}}
    return {**known, **made, **more}


def result(status: str = "completed", prompt: str = "a", **more: object) -> Result:
    return Result.of(video(status=status, prompt=prompt, **more), "batch_1", file="v.mp4")


def test_results_say_the_same_in_both_forms(tmp_path: Path) -> None:
    write(tmp_path, [result(prompt='red, "big"\nball')])

    (from_json,) = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()]
    with (tmp_path / "results.csv").open(newline="") as stream:
        (from_csv,) = csv.DictReader(stream)
    assert list(from_json) == list(from_csv)
    assert from_json["prompt"] == from_csv["prompt"] == 'red, "big"\nball'
    assert from_json["seconds"] == float(from_csv["seconds"]) == 2.5
    forms = {"results.csv", "results.jsonl"}
    assert {file.name for file in tmp_path.iterdir()} - {"results.parquet"} == forms


def test_a_result_tells_where_a_video_came_from_and_what_it_took() -> None:
    cache = {"matched": [{"entity": "ball", "similarity": 0.97}], "similarity": 0.97, "donors": ["video_0"]}
    usage = {"run_s": 2.0, "queue_wait_s": 5.0, "seconds_saved": 1.5, "stage_s": {"denoise": 1.25, "keep": 0.1}}

    made = result(path="fast", cache=cache, usage=usage, batch_id="batch_0")

    assert (made.line, made.video, made.reused) == ("3", "video_1", True)  # of another run than the one listed
    assert (made.matched, made.similarity, made.donor) == ("ball", 0.97, "video_0")
    assert (made.seconds, made.wait_s, made.saved_s, made.denoise_s, made.keep_s) == (2.0, 5.0, 1.5, 1.25, 0.1)
    assert made.fetch_s is None


def test_results_are_written_to_where_a_link_leads(tmp_path: Path) -> None:
    link = tmp_path / "results.csv"
    link.symlink_to(tmp_path / "elsewhere.csv")

    with results.replacing(link) as stream:
        stream.write("a")

    assert link.is_symlink()
    assert (tmp_path / "elsewhere.csv").read_text() == "a"


def test_two_commands_that_write_the_same_results_do_not_write_into_each_others(tmp_path: Path) -> None:
    """`chai bulk run` and `chai bulk attach` see the same end of a run, and write to the same folder."""
    file = tmp_path / "results.csv"

    with results.replacing(file) as one:
        one.write("a, ")
        with results.replacing(file) as other:
            other.write("all of the other")
        one.write("b")

    assert file.read_text() == "a, b"
    assert list(tmp_path.iterdir()) == [file]


def test_results_that_cannot_be_written_leave_those_that_are_there(tmp_path: Path) -> None:
    file = tmp_path / "results.csv"
    file.write_text("before")

    def write() -> None:
        with results.replacing(file) as stream:
            stream.write("a")
            raise OSError("full")

    with pytest.raises(OSError, match="full"):
        write()

    assert file.read_text() == "before"
    assert list(tmp_path.iterdir()) == [file]


def test_results_stand_in_the_order_of_the_list() -> None:
    lines = ["10", "b.txt:2", None, "9", "a.txt:11", "second", "b.txt:1"]

    ordered = sorted((result(line=line) for line in lines), key=lambda made: made.place)

    assert [made.line for made in ordered] == ["9", "10", "a.txt:11", "b.txt:1", "b.txt:2", None, "second"]


def test_parquet_has_the_same_rows_and_typed_columns(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")

    write(tmp_path, [result(), result(status="failed", error={"code": "c", "message": "why"})])

    table = parquet.read_table(tmp_path / "results.parquet")
    lines = (tmp_path / "results.jsonl").read_text().splitlines()
    assert table.to_pylist() == [json.loads(line) for line in lines]
    assert (str(table.schema.field("similarity").type), str(table.schema.field("reused").type)) == ("double", "bool")


def test_a_prompt_cannot_become_a_formula_in_a_spreadsheet(tmp_path: Path) -> None:
    write(tmp_path, [result(prompt='=HYPERLINK("http://x")')])

    with (tmp_path / "results.csv").open(newline="") as stream:
        (row,) = csv.DictReader(stream)
    assert row["prompt"] == '\'=HYPERLINK("http://x")'


@pytest.mark.parametrize(
    ("statuses", "num_bad_lines", "code"),
    [
        (["completed"], 0, 0),
        (["completed", "failed"], 0, 1),
        (["cancelled"], 0, 1),
        (["completed"], 3, 2),
        (["failed"], 3, 1),  # a missing video weighs more than a bad line
        ([], 0, 0),
    ],
)
def test_the_exit_code_sums_up_a_run(statuses: list[str], num_bad_lines: int, code: int) -> None:
    assert exit_code([result(status) for status in statuses], num_bad_lines=num_bad_lines) == code


def lines(number: int) -> list[Line]:
    return [Line(number=index + 1, custom_id=f"c{index}", request={"prompt": f"p{index}"}) for index in range(number)]


def test_lines_that_a_service_refuses_as_a_whole_are_halved_until_the_bad_one_stands_alone(scripted: Script) -> None:
    refusal = (400, {}, {"error": {"message": "not that one"}})
    taken = (200, {}, {"data": []})
    scripted.answers = [refusal, taken, refusal, taken, refusal]  # 4 lines, 2, 2, 1, 1

    with Client(scripted.url) as client:
        (bad,) = submission.send(client, "batch_1", lines(4), pytest.fail).refused

    assert (bad.number, bad.reason) == (4, "not that one")
    assert [len(body["items"]) for *_, body in scripted.requests] == [4, 2, 2, 1, 1]


def test_lines_are_sent_as_the_key_has_room_for_them(scripted: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "FIRST_PAUSE_S", 0.001)
    never = (429, {"x-should-retry": "false"}, {"error": {"message": "not 4", "code": "queue_full"}})
    full = (429, {"Retry-After": "0"}, {"error": {"message": "1 waits", "code": "queue_full"}})
    taken = (200, {}, {"data": []})
    scripted.answers = [never, *[full] * transport.NUM_TRIES, taken]
    waits: list[str] = []

    with Client(scripted.url) as client:
        sent = submission.send(client, "batch_1", lines(4), lambda error: waits.append(str(error)))

    assert (sent.refused, waits) == ([], ["1 waits"])
    assert [len(body["items"]) for *_, body in scripted.requests] == [4, *[2] * transport.NUM_TRIES, 2, 2]


def test_long_lines_go_in_requests_that_a_service_takes() -> None:
    long = [
        Line(number=number, custom_id=str(number), request={"prompt": "a" * (submission.CHUNK_BYTES // 3)})
        for number in range(5)
    ]

    assert [(num_sent, len(chunk)) for num_sent, chunk in submission.chunks(long)] == [(2, 2), (4, 2), (5, 1)]
    assert [num_sent for num_sent, _ in submission.chunks(lines(450))] == [200, 400, 450]


def test_what_has_no_place_goes_to_the_next_and_its_place_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("in the way")
    wanted, own = tmp_path / "file" / "out", tmp_path / "own"

    folder, number = places.put(
        [wanted, own], lambda folder: (folder / "results.csv").write_text("a"), what="results", later="later"
    )

    assert (folder, number, (own / "results.csv").read_text()) == (own, 1, "a")
    assert capsys.readouterr().err == (
        f"results cannot be written to {wanted} (Not a directory); written to {own} instead\n"
    )


def test_a_disk_that_fills_up_on_the_way_sends_what_is_left_to_the_next_place(tmp_path: Path) -> None:
    def write(folder: Path) -> None:
        if folder.name == "full":
            raise OSError(28, "No space left on device")

    folder, _ = places.put([tmp_path / "full", tmp_path / "own"], write, what="results", later="later")

    assert folder == tmp_path / "own"


def test_when_no_place_is_left_the_way_to_have_it_later_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "file"))

    with pytest.raises(NoPlace) as none:
        places.put([tmp_path / "file" / "a"], lambda _: None, what="results", later="attach again")

    assert str(none.value) == (
        f"results cannot be written to {tmp_path / 'file' / 'a'} (Not a directory); attach again"
    )


SHAPES = ("circle", "square", "triangle", "star", "cross", "heart")
WAYS, COLOURS = ("left", "right"), ("red", "blue")
PHRASES = [f"a {colour} {shape} drifts {way}" for way in WAYS for colour in COLOURS for shape in SHAPES]


def sent_in(order: Order, listed: Manifest, monkeypatch: pytest.MonkeyPatch) -> submission.Ordered:
    monkeypatch.setattr(night, "database", lambda: None)
    return submission.Ordered(listed, None, order)


def test_a_list_is_sent_in_the_planned_order_and_with_what_is_expected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "list.csv"
    file.write_text("prompt,mode\n" + "".join(f"{phrase},auto\n" for phrase in PHRASES) + "a blue circle,warp\n")
    listed = read(file, {})

    as_listed = sent_in(Order.FILE, listed, monkeypatch)
    planned = sent_in(Order.PLANNED, listed, monkeypatch)
    sent = list(planned.lines())

    assert list(as_listed.lines()) == list(listed.lines)
    assert sent != list(listed.lines)
    assert sorted(line.number for line in sent) == [line.number for line in listed.lines]
    assert sent[-1].request["mode"] == "warp"  # what this machine cannot judge is the service's to refuse
    assert as_listed.forecast is None
    assert planned.forecast is not None
    assert planned.forecast["order"] == "planned"
    assert planned.forecast["num_fast"] + planned.forecast["num_full"] == len(PHRASES)


def test_a_list_that_cannot_be_planned_is_sent_as_it_stands(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CHAI_EMBEDDER", "nonesuch")
    listed = Manifest(key="k", take=1, lines=tuple(lines(30)), bad=(), duplicates=())
    ordered = sent_in(Order.PLANNED, listed, monkeypatch)

    assert list(ordered.lines()) == list(listed.lines)
    assert ordered.forecast is None
    assert "no plan could be made: CHAI_EMBEDDER" in capsys.readouterr().err


def test_lines_that_the_service_refuses_are_no_lines_to_come(
    scripted: Script, capsys: pytest.CaptureFixture[str]
) -> None:
    refusal, taken = (400, {}, {"error": {"message": "not that one"}}), (200, {}, {"data": []})
    batch = {"id": "batch_1", "status": "open", "request_counts": {"total": 0}, "num_bad_lines": 0}
    scripted.answers = [(200, {}, batch), refusal, taken, refusal, (200, {}, {**batch, "status": "in_progress"})]
    listed = Manifest(key="k", take=1, lines=tuple(lines(2)), bad=(), duplicates=())

    with Client(scripted.url) as client:
        submission.submit(client, "list.txt", listed)

    assert "submitted 1 of 1 lines, 1 refused" in capsys.readouterr().err


def test_the_service_hears_first_how_many_lines_will_come(scripted: Script) -> None:
    scripted.answer({"error": {"message": "num_lines 2 is more than the 1 that a run may have"}}, status=400)
    listed = Manifest(key="k", take=1, lines=tuple(lines(2)), bad=(), duplicates=())

    with Client(scripted.url) as client, pytest.raises(Refused, match="num_lines 2 is more than"):
        submission.submit(client, "list.txt", listed)

    ((method, path, _, asked),) = scripted.requests
    assert (method, path) == ("POST", "/v1/bulk-runs")
    assert asked == {"name": "list.txt", "manifest_key": "k", "series": "list.txt", "num_lines": 2}


def test_a_list_is_sent_on_when_a_service_that_went_away_is_back(
    scripted: Script, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(transport, "FIRST_PAUSE_S", 0.001)
    away = [(503, {"Retry-After": "0"}, {"error": {"message": "the database does not answer"}})] * transport.NUM_TRIES
    batch = {"id": "batch_1", "status": "open", "request_counts": {"total": 0}, "num_bad_lines": 0}
    taken, sealed = (200, {}, {"data": []}), (200, {}, {**batch, "status": "in_progress"})
    scripted.answers = [(200, {}, batch), *away, taken, *away, sealed]
    listed = Manifest(key="k", take=1, lines=tuple(lines(2)), bad=(), duplicates=())

    with Client(scripted.url) as client:
        submitted = submission.submit(client, "list.txt", listed)

    assert submitted["status"] == "in_progress"
    assert capsys.readouterr().err.count("the database does not answer; waiting up to 60 s for it") == 2


@pytest.mark.parametrize("num_taken", [0, 1])
def test_who_loses_the_service_midway_hears_that_the_same_command_goes_on(
    scripted: Script, monkeypatch: pytest.MonkeyPatch, num_taken: int
) -> None:
    monkeypatch.setattr(transport, "FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr(outages, "OUTAGE_S", 0.0)
    batch = {"id": "batch_1", "status": "open", "request_counts": {"total": 0}, "num_bad_lines": 0}
    taken = (200, {}, {"data": []})
    away = (503, {"Retry-After": "0"}, {"error": {"message": "the database does not answer"}})
    scripted.answers = [(200, {}, batch), *[taken] * num_taken, away]  # before the lines, and before the seal
    listed = Manifest(key="k", take=1, lines=tuple(lines(2)), bad=(), duplicates=())

    with Client(scripted.url) as client, pytest.raises(Unreachable) as lost:
        submission.submit(client, "list.txt", listed)

    assert str(lost.value) == (
        f"the database does not answer; stopped after {2 * num_taken} of 2 lines; what was submitted is being made, "
        "and the same command goes on from there; `chai bulk cancel batch_1` ends it"
    )


def test_who_runs_a_list_again_hears_of_lines_that_were_never_sent(
    scripted: Script, capsys: pytest.CaptureFixture[str]
) -> None:
    counts = {"total": 1, "failed": 0, "cancelled": 1}
    scripted.answer(
        {"id": "batch_1", "status": "cancelled", "sealed_at": None, "request_counts": counts, "num_bad_lines": 0}
    )
    listed = Manifest(key="k", take=1, lines=tuple(lines(3)), bad=(), duplicates=())

    with Client(scripted.url) as client:
        submission.submit(client, "list.txt", listed)

    assert "it was cancelled when 1 of its 3 lines had been sent" in capsys.readouterr().err


def test_a_list_of_which_the_service_takes_no_line_leaves_no_run(scripted: Script) -> None:
    refusal = (400, {}, {"error": {"message": "not that one"}})
    batch = {"id": "batch_1", "status": "open", "request_counts": {"total": 0}, "num_bad_lines": 0}
    scripted.answers = [(200, {}, batch), *[refusal] * 3, (200, {}, {"deleted": True})]
    listed = Manifest(key="k", take=1, lines=tuple(lines(2)), bad=(), duplicates=())

    with Client(scripted.url) as client, pytest.raises(BadInput) as refused:
        submission.submit(client, "list.txt", listed)

    assert str(refused.value) == "no line of list.txt can be used; line 1: not that one"
    assert scripted.requests[-1][:2] == ("DELETE", "/v1/bulk-runs/batch_1")


def test_who_runs_a_list_again_hears_of_lines_that_were_refused(
    scripted: Script, capsys: pytest.CaptureFixture[str]
) -> None:
    counts = {"failed": 0, "cancelled": 0}
    scripted.answer({"id": "batch_1", "status": "completed", "request_counts": counts, "num_bad_lines": 3})
    bad = (BadLine(number=7, file="", reason="prompt is empty"),)
    listed = Manifest(key="k", take=1, lines=tuple(lines(4)), bad=bad, duplicates=())

    with Client(scripted.url) as client:
        submission.submit(client, "list.txt", listed)

    assert "the service refused 2 of its lines then; correct them, or add an empty line" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("before", "given", "tz"),
    [
        ({"tz": "Asia/Tokyo", "at_end": "stop"}, [], "Asia/Tokyo"),  # not that of the machine that changes it
        ({"tz": "Asia/Tokyo", "at_end": "stop"}, ["--tz", "UTC"], "UTC"),
        (None, [], "Europe/Berlin"),
    ],
)
def test_a_window_keeps_its_time_zone_unless_another_is_given(
    scripted: Script, monkeypatch: pytest.MonkeyPatch, before: dict | None, given: list[str], tz: str
) -> None:
    monkeypatch.setenv("CHAI_URL", scripted.url)
    monkeypatch.setenv("TZ", "Europe/Berlin")
    counts = dict.fromkeys(("completed", "failed", "cancelled", "total"), 0)
    scripted.answer({"id": ID, "name": "x", "status": "open", "window": before, "request_counts": counts})

    done = CliRunner().invoke(commands.app, ["window", ID, "23:00-05:00", *given, "--json"])

    assert done.exit_code == 0, done.output
    assert scripted.requests[-1][3]["window"]["tz"] == tz
