"""Lists of prompts for bulk runs."""

import json
from pathlib import Path

import pytest

from cli import manifest
from cli.errors import BadInput
from cli.manifest import BadLine

PROMPT = "a large red circle drifts right over a blue striped field"


def written(tmp_path: Path, name: str, content: str) -> Path:
    file = tmp_path / name
    file.write_text(content)
    return file


def test_text_gives_one_request_a_line_without_blanks_and_comments(tmp_path: Path) -> None:
    file = written(tmp_path, "list.txt", f"# a list\n\n{PROMPT}\r\n  a blue ball  \n")

    read = manifest.read(file, {})

    assert [(line.number, line.request) for line in read.lines] == [
        (3, {"prompt": PROMPT}),
        (4, {"prompt": "a blue ball"}),
    ]
    assert read.bad == read.duplicates == ()


def test_csv_cells_become_typed_fields_and_empty_cells_are_left_to_the_defaults(tmp_path: Path) -> None:
    file = written(
        tmp_path, "list.csv", 'custom_id,prompt,seed,guidance_scale,mode\na,"one, two",7,2.5,full\nb,three,,,\n'
    )

    read = manifest.read(file, {})

    assert [line.item for line in read.lines] == [
        {"custom_id": "a", "prompt": "one, two", "seed": 7, "guidance_scale": 2.5, "mode": "full"},
        {"custom_id": "b", "prompt": "three"},
    ]


def test_a_quoted_cell_may_span_lines_and_later_numbers_still_count_lines(tmp_path: Path) -> None:
    file = written(tmp_path, "list.csv", 'prompt,seed\n"one\ntwo",1\nthree,x\n')

    read = manifest.read(file, {})

    assert [line.request["prompt"] for line in read.lines] == ["one\ntwo"]
    assert read.bad == (BadLine(number=4, reason="seed 'x' is not a whole number"),)


def test_jsonl_takes_the_openai_batch_form_too(tmp_path: Path) -> None:
    body = {"prompt": PROMPT, "seconds": "4"}
    line = {"custom_id": "a", "method": "POST", "url": "/v1/videos", "body": body}
    file = written(
        tmp_path, "list.jsonl", json.dumps(line) + "\n" + json.dumps({"prompt": "x", "metadata": {"k": "v"}})
    )

    read = manifest.read(file, {})

    assert read.lines[0].item == {"custom_id": "a", **body}
    assert read.lines[1].request == {"prompt": "x", "metadata": {"k": "v"}}


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", "broken JSON (Expecting property name enclosed in double quotes: line 1 column 2 (char 1))"),
        ("[]", 'not a JSON object; write {"prompt": …}'),
        ("{}", "prompt is empty; say what the video shows"),
        ('{"prompt": " "}', "prompt is empty; say what the video shows"),
        ('{"prompt": ["a"]}', "prompt ['a'] is not text"),
        ('{"prompt": "a", "seed": 1.5}', "seed 1.5 is not a whole number"),
        ('{"prompt": "a", "seed": true}', "seed True is not a whole number"),
        (
            '{"prompt": "a", "colour": "red"}',
            "unknown fields colour; known are custom_id, prompt, negative_prompt, model, size, seconds, mode, seed, "
            "num_inference_steps, fps, guidance_scale, metadata",
        ),
    ],
)
def test_a_bad_line_is_left_out_with_its_number_and_the_reason(tmp_path: Path, line: str, reason: str) -> None:
    file = written(tmp_path, "list.jsonl", f'{{"prompt": "good"}}\n{line}\n')

    read = manifest.read(file, {})

    assert [good.request["prompt"] for good in read.lines] == ["good"]
    assert read.bad == (BadLine(number=2, reason=reason),)


def test_a_row_with_too_many_cells_is_bad_and_the_rest_is_read(tmp_path: Path) -> None:
    file = written(tmp_path, "list.csv", "prompt\na, b\nc\n")

    read = manifest.read(file, {})

    assert [line.request["prompt"] for line in read.lines] == ["c"]
    assert read.bad == (BadLine(number=2, reason="more cells than the header names; quote a prompt that holds commas"),)


def test_the_same_request_twice_is_a_duplicate(tmp_path: Path) -> None:
    read = manifest.read(written(tmp_path, "list.txt", "a\nb\na\n"), {})

    assert [line.number for line in read.lines] == [1, 2]
    assert read.duplicates == (BadLine(number=3, reason="the same as line 1"),)


def test_the_same_prompt_with_another_seed_is_another_take(tmp_path: Path) -> None:
    read = manifest.read(written(tmp_path, "list.csv", "prompt,seed\na,1\na,2\n"), {})

    assert len(read.lines) == 2


def test_a_custom_id_that_names_two_requests_is_bad(tmp_path: Path) -> None:
    read = manifest.read(written(tmp_path, "list.csv", "custom_id,prompt\nx,a\nx,b\n"), {})

    assert read.bad == (BadLine(number=3, reason="custom_id 'x' was used on line 2 for another request"),)


def test_options_hold_for_lines_that_do_not_say(tmp_path: Path) -> None:
    read = manifest.read(written(tmp_path, "list.csv", "prompt,mode\na,full\nb,\n"), {"mode": "fast"})

    assert [line.request["mode"] for line in read.lines] == ["full", "fast"]


def test_the_key_is_the_same_for_the_same_content_options_and_take_wherever_the_file_lies(tmp_path: Path) -> None:
    here, there = written(tmp_path, "a.txt", "a\n"), written(tmp_path, "b.txt", "a\n")
    key = manifest.read(here, {}).key

    assert manifest.read(there, {}).key == key
    others = [manifest.read(here, {"mode": "fast"}), manifest.read(here, {}, take=2)]
    assert len({key, *(other.key for other in others)}) == 3


def test_a_line_keeps_its_name_when_lines_are_added_above(tmp_path: Path) -> None:
    before = manifest.read(written(tmp_path, "a.txt", "a\n"), {})
    after = manifest.read(written(tmp_path, "b.txt", "new\na\n"), {})

    assert before.lines[0].custom_id == after.lines[1].custom_id


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("list.txt", "# nothing\n", "{file} holds no prompts; write one a line"),
        ("list.xml", "a", "{file}: cannot tell what a .xml file is; use .txt, .csv, .jsonl"),
        (
            "list.csv",
            "text\na\n",
            "the CSV header ['text'] has no column prompt; known columns are custom_id, prompt, negative_prompt, "
            "model, size, seconds, mode, seed, num_inference_steps, fps, guidance_scale, metadata",
        ),
        (
            "list.csv",
            "prompt,colour\na,b\n",
            "unknown columns colour in the CSV header; known are custom_id, prompt, negative_prompt, model, "
            "size, seconds, mode, seed, num_inference_steps, fps, guidance_scale, metadata",
        ),
        ("list.jsonl", "{}\n", "no line of {file} can be used; line 1: prompt is empty; say what the video shows"),
    ],
)
def test_a_file_of_no_use_is_refused(tmp_path: Path, name: str, content: str, message: str) -> None:
    file = written(tmp_path, name, content)

    with pytest.raises(BadInput) as refused:
        manifest.read(file, {})

    assert str(refused.value) == message.format(file=file)
    assert refused.value.exit_code == 2


def test_a_file_in_another_encoding_is_refused_with_the_way_out(tmp_path: Path) -> None:
    file = tmp_path / "list.txt"
    file.write_bytes("Ägypten".encode("latin-1"))

    with pytest.raises(BadInput, match=r"is not UTF-8 .*; convert it, say with iconv -t utf-8"):
        manifest.read(file, {})


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"list\.txt cannot be read: No such file or directory"):
        manifest.read(tmp_path / "list.txt", {})
