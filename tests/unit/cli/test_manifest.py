"""Lists of prompts for bulk runs."""

import bz2
import gzip
import io
import json
import lzma
import os
import sys
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


def test_null_is_left_out_of_a_line_whatever_the_field(tmp_path: Path) -> None:
    file = written(tmp_path, "list.jsonl", '{"prompt": "x", "seed": null, "input_reference": null}')

    assert [line.request for line in manifest.read(file, {}).lines] == [{"prompt": "x"}]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", "broken JSON (Expecting property name enclosed in double quotes: line 1 column 2 (char 1))"),
        ("[]", 'not a JSON object; write {"prompt": …}'),
        ("{}", "prompt is empty; say what the video shows"),
        ('{"prompt": true}', "prompt True is not text"),
        ('{"prompt": "a", "prompt": "b"}', "'prompt' is given twice; keep one"),
        ('{"prompt": "a", "metadata": {"k": "v", "k": "v"}}', "'metadata.k' is given twice; keep one"),
        ('{"body": {"prompt": "a", "seed": 1, "seed": 1}}', "'body.seed' is given twice; keep one"),
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
        ("list.xml", "a", "{file}: cannot tell what a .xml file is; use .txt, .csv, .jsonl, .tsv, .ndjson, .parquet"),
        (
            "Makefile",
            "a",
            "{file}: cannot tell what a nameless file is; use .txt, .csv, .jsonl, .tsv, .ndjson, .parquet",
        ),
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
        (
            "list.csv",
            "prompt,metadata.shelf,metadata.shelf\na,1,2\n",
            "{file}: the CSV header names the column metadata.shelf twice; keep one",
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

    with pytest.raises(BadInput, match=r"byte 0xc4 is not UTF-8; convert the file from what it is: iconv -t utf-8 -f "):
        manifest.read(file, {})


@pytest.mark.parametrize("column", ["größe", "metadata.größe"])
def test_a_header_in_another_encoding_is_refused_with_the_way_out(tmp_path: Path, column: str) -> None:
    file = tmp_path / "list.csv"
    file.write_bytes(f"prompt,{column}\na ball,3\n".encode("latin-1"))

    with pytest.raises(BadInput, match=r"list.csv: the CSV header: byte 0xf6 is not UTF-8; convert the file "):
        manifest.read(file, {})


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32"])
def test_a_file_of_wide_characters_is_named_with_the_command_that_converts_it(tmp_path: Path, encoding: str) -> None:
    file = tmp_path / "list.txt"
    file.write_bytes("a red circle\na blue square\n".encode(encoding))

    with pytest.raises(BadInput) as refused:
        manifest.read(file, {})

    kind = "utf-32" if encoding == "utf-32" else "utf-16"
    assert str(refused.value) == (f"{file} is {kind.upper()}, not UTF-8; convert it: iconv -f {kind} -t utf-8 {file}")


def test_wide_characters_from_stdin_are_converted_on_their_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cli.prompt_lists.from_stdin", lambda: "a red circle\n".encode("utf-16"))

    with pytest.raises(BadInput) as refused:
        manifest.read(Path("-"), {})

    assert str(refused.value) == (
        "stdin is UTF-16, not UTF-8; convert what you send: ... | iconv -f utf-16 -t utf-8 | ..."
    )


GOOD = '{"prompt": "good"}'
DEEP = '{"prompt": "a", "metadata": ' + '{"a":' * 100_000 + "1" + "}" * 100_000 + "}"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"prompt": "a", "guidance_scale": NaN}', "guidance_scale nan is not a finite number"),
        (b'{"prompt": "a", "guidance_scale": 1e999}', "guidance_scale inf is not a finite number"),
        (b'{"prompt": "a", "guidance_scale": 1' + b"0" * 400 + b"}", "guidance_scale 1000"),  # no float holds it
        (b'{"prompt": "a", "metadata": {"a": -Infinity}}', "metadata {'a': -inf} is nothing that JSON can carry"),
        (b'{"prompt": "a", "metadata": {"a": [NaN]}}', "metadata {'a': [nan]} is nothing that JSON can carry"),
        (b'{"prompt": "a", "seconds": Infinity}', "seconds inf is nothing that JSON can carry"),
        (b'{"prompt": NaN}', "prompt nan is nothing that JSON can carry"),
        (b'{"prompt": "a", "seed": ' + b"9" * 5000 + b"}", "a number of thousands of digits"),
        (b'{"prompt": "\\ud800"}', "prompt holds U+D800: half of a surrogate pair"),
        (b'{"prompt": "a", "metadata": {"\\udfff": "b"}}', "metadata holds U+DFFF: half of a surrogate pair"),
        (b'{"prompt": "a", "custom_id": "\\ud83d"}', "custom_id holds U+D83D: half of a surrogate pair"),
        (b'{"prompt": "caf\xe9"}', "byte 0xe9 is not UTF-8"),
        (b'{"prompt": "\xed\xa0\x80"}', "byte 0xed is not UTF-8"),  # a surrogate, written as UTF-8 forbids
        (b'{"prompt": "\xc0\x80"}', "byte 0xc0 is not UTF-8"),  # NUL in two bytes
        (b'{"prompt": "a"', "broken JSON (Expecting"),
        (b'{"prompt": "a\x00"}', "broken JSON (Invalid control character"),
        (DEEP.encode(), "a number of thousands of digits, or brackets in thousands of brackets"),
        (b'{"prompt": "' + b"a" * 2**20 + b'"}', "has 1048"),
        (b'"a prompt"', "not a JSON object"),
        (b'{"prompt": {"text": "a"}}', "prompt {'text': 'a'} is not text"),
    ],
)
def test_whatever_cannot_be_sent_is_named_and_the_lines_around_it_are_kept(
    tmp_path: Path, line: bytes, reason: str
) -> None:
    file = tmp_path / "list.jsonl"
    file.write_bytes(b"\n".join([GOOD.encode(), line.replace(rb"\\u", rb"\u"), b'{"prompt": "good too"}']))

    read = manifest.read(file, {})

    assert [good.number for good in read.lines] == [1, 3]
    ((number, said),) = [(bad.number, bad.reason) for bad in read.bad]
    assert number == 2
    assert said.startswith(reason)
    assert len(said) < 300


@pytest.mark.parametrize(
    ("row", "prompts", "bad"),
    [
        ('"' + "a" * 200_000 + '",1', ["first", "last"], []),  # a long cell is the service's to refuse
        ('"' + "a" * 2**20 + '",1', ["first", "last"], [3]),
        ('"a "red" circle",1', ["first", "last"], [3]),  # quotes that are not doubled
        ('"never closed,1', ["first", "last"], [3]),  # swallows nothing behind it
        ('"never closed,1\n"quoted, as it should be",2', ["first", "quoted, as it should be", "last"], [3]),
        ("a\x00b,1", ["first", "a\x00b", "last"], []),  # the service names the NUL
        ("a,inf", ["first", "last"], [3]),
        ("a,1e5", ["first", "last"], [3]),
        (",,,", ["first", "last"], []),
        ("a,b,c", ["first", "last"], [3]),
        ("a,7,", ["first", "a", "last"], []),  # what spreadsheets add
    ],
)
def test_a_bad_row_of_a_table_costs_itself_alone(tmp_path: Path, row: str, prompts: list[str], bad: list[int]) -> None:
    file = written(tmp_path, "list.csv", f"prompt,seed\nfirst,1\n{row}\nlast,2\n")

    read = manifest.read(file, {})

    assert [line.request["prompt"] for line in read.lines if len(line.request["prompt"]) < 100] == prompts
    assert [line.number for line in read.bad] == bad


def test_metadata_of_a_table_is_json_in_its_column_or_a_column_each(tmp_path: Path) -> None:
    table = 'prompt,metadata,metadata.Row\na,"{""shelf"": ""b""}",7\nb,,8\nc,shelf b,\nd,[1],\n'
    table += 'e,"{""k"": ""a"", ""k"": ""a""}"\n'

    read = manifest.read(written(tmp_path, "list.csv", table), {})

    assert [line.request.get("metadata") for line in read.lines] == [{"shelf": "b", "Row": "7"}, {"Row": "8"}]
    assert [(line.number, line.reason) for line in read.bad] == [
        (4, """metadata 'shelf b' is not a JSON object; write {"shelf": "b"}"""),
        (5, """metadata '[1]' is not a JSON object; write {"shelf": "b"}"""),
        (6, "'metadata.k' is given twice; keep one"),
    ]


@pytest.mark.parametrize(
    "table",
    [
        "\ufeffprompt,seed\na,1\n",  # what Excel writes
        "prompt;seed\na;1\n",  # where the comma is a decimal sign
        "prompt\tseed\na\t1\n",
        "\n\n Prompt , SEED \na,1\n",
        "prompt,seed\r\na,1\r\n",
        "prompt,seed\ra,1\r",
        "prompt,seed,\na,1,\n",
        "sep=;\nprompt;seed\na;1\n",
        "prompt,seed\na,1.0\n",  # a column of numbers and empty cells
        "prompt;seed\na;1,0\n",  # the same where the comma is a decimal sign
        "prompt\tseed\na\t1,0\n",
    ],
)
def test_tables_of_all_spreadsheets_are_read_alike(tmp_path: Path, table: str) -> None:
    file = tmp_path / "list.csv"
    file.write_bytes(table.encode())

    assert [line.request for line in manifest.read(file, {}).lines] == [{"prompt": "a", "seed": 1}]


def test_a_decimal_comma_is_one_where_no_comma_parts_cells(tmp_path: Path) -> None:
    file = tmp_path / "list.csv"
    file.write_text(
        "prompt;seconds;guidance_scale;num_inference_steps\na 1,5 m wall;1,5;7,5;20\nb;2;7.5;1,0\nc;2;7;1,000\n"
    )

    read = manifest.read(file, {})

    assert [line.request for line in read.lines] == [
        {"prompt": "a 1,5 m wall", "seconds": "1.5", "guidance_scale": 7.5, "num_inference_steps": 20},
        {"prompt": "b", "seconds": "2", "guidance_scale": 7.5, "num_inference_steps": 1},
    ]
    assert [bad.reason for bad in read.bad] == ["num_inference_steps '1,000' is not a whole number"]


def test_a_line_in_another_encoding_is_left_out_of_a_text(tmp_path: Path) -> None:
    file = tmp_path / "list.txt"
    file.write_bytes("good\ncafé\nnaïve\n".encode().replace("é".encode(), b"\xe9"))

    read = manifest.read(file, {})

    assert [line.request["prompt"] for line in read.lines] == ["good", "naïve"]
    assert [line.number for line in read.bad] == [2]


def test_a_folder_is_all_its_lists_and_a_file_of_no_use_costs_itself_alone(tmp_path: Path) -> None:
    folder = tmp_path / "lists"
    folder.mkdir()
    written(folder, "b.txt", "a\nb\n")
    written(folder, "a.jsonl", '{"prompt": "a"}\n{}\n')
    written(folder, "c.csv", "colour\nred\n")
    written(folder, "notes.md", "not a list")

    read = manifest.read(folder, {})

    assert [(Path(line.file).name, line.number) for line in read.lines] == [("a.jsonl", 1), ("b.txt", 2)]
    assert [(Path(line.file).name, line.number) for line in read.bad] == [("a.jsonl", 2), ("c.csv", 1)]
    assert read.duplicates[0].place == f"line 1 of {folder / 'b.txt'}"
    assert read.duplicates[0].reason == f"the same as line 1 of {folder / 'a.jsonl'}"


@pytest.mark.timeout(20)
def test_a_pipe_in_a_folder_is_not_waited_for(tmp_path: Path) -> None:
    written(tmp_path, "b.txt", "a\n")
    os.mkfifo(tmp_path / "a.txt")

    read = manifest.read(tmp_path, {})

    assert [line.request["prompt"] for line in read.lines] == ["a"]
    assert read.bad == ()


def test_a_folder_without_lists_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"holds no lists; put \.txt, "):
        manifest.read(tmp_path, {})


@pytest.mark.parametrize(
    ("content", "prompts"),
    [
        (b"a red circle\na blue square\n", ["a red circle", "a blue square"]),
        (b'{"prompt": "a"}\n', ["a"]),
        (b"prompt,seed\na,1\n", ["a"]),
        (b"a prompt, of two parts\nb\n", ["a prompt, of two parts", "b"]),
        (b"sep=;\nprompt;seed\na;1\n", ["a"]),
        (b",prompt\n0,a\n", ["a"]),
        (b"[a title] a castle\nb\n", ["[a title] a castle", "b"]),
    ],
)
def test_a_list_from_stdin_is_read_for_what_it_is(
    monkeypatch: pytest.MonkeyPatch, content: bytes, prompts: list[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content)))

    assert [line.request["prompt"] for line in manifest.read(Path("-"), {}).lines] == prompts


def test_parquet_is_read_where_pyarrow_is(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    file = tmp_path / "list.parquet"
    columns = {"prompt": ["a", None, "c"], "seed": [1.0, 2.0, float("nan")], "metadata": [{"shelf": "b"}, None, None]}
    parquet.write_table(pyarrow.table(columns), file)

    read = manifest.read(file, {})

    assert [line.request for line in read.lines] == [{"prompt": "a", "seed": 1, "metadata": {"shelf": "b"}}]
    assert [line.number for line in read.bad] == [2, 3]


def test_a_bad_row_of_parquet_costs_itself_alone(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    file = tmp_path / "list.parquet"
    rows = [
        (b"a", None),
        (b"caf\xe9", None),  # written without saying that it is text
        (b"c", [("k", "v"), ("k", "w")]),
        (b"d", [("k", "v")]),
    ]
    metadata = pyarrow.array([pairs for _, pairs in rows], pyarrow.map_(pyarrow.string(), pyarrow.string()))
    parquet.write_table(pyarrow.table({"Prompt": [prompt for prompt, _ in rows], "metadata": metadata}), file)
    lists = tmp_path / "lists.parquet"
    parquet.write_table(pyarrow.table({"prompt": ["a"], "metadata": [["k"]]}), lists)
    texts = tmp_path / "texts.parquet"
    parquet.write_table(pyarrow.table({"prompt": ["a", "b"], "metadata": ["{}", "null"]}), texts)

    read = manifest.read(file, {})

    assert [line.request for line in read.lines] == [{"prompt": "a"}, {"prompt": "d", "metadata": {"k": "v"}}]
    assert [(line.number, line.reason) for line in read.bad] == [
        (
            2,
            "byte 0xe9 is not UTF-8; convert the file from what it is: "
            "iconv -t utf-8 -f cp1252 (western), gb18030 (Chinese), cp932 (Japanese) or cp949 (Korean)",
        ),
        (3, "'metadata.k' is given twice; keep one"),
    ]
    assert manifest.read(lists, {}).lines[0].request["metadata"] == ["k"]  # the service says what is wrong with it
    assert [line.request["metadata"] for line in manifest.read(texts, {}).lines] == [{}, {}]


def test_a_column_that_parquet_has_twice_is_named(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    file, column = tmp_path / "list.parquet", pyarrow.array(["a"])
    parquet.write_table(pyarrow.Table.from_arrays([column, column], names=["prompt", "prompt"]), file)

    with pytest.raises(BadInput) as refused:
        manifest.read(file, {})

    assert str(refused.value) == f"{file}: the table names the column prompt twice; keep one"


@pytest.mark.parametrize("field", ["seed", "guidance_scale"])
@pytest.mark.parametrize("number", ["\u0663", "1_0"])
def test_what_python_alone_reads_is_no_number(tmp_path: Path, field: str, number: str) -> None:
    file = written(tmp_path, "list.csv", f"prompt,{field}\na,{number}\nb,5\n")

    read = manifest.read(file, {})

    assert [line.request["prompt"] for line in read.lines] == ["b"]
    assert read.bad[0].reason.startswith(f"{field} {number!r} is not a ")


def test_parquet_without_pyarrow_is_refused_with_two_ways_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    file = written(tmp_path, "list.parquet", "PAR1")

    with pytest.raises(BadInput) as refused:
        manifest.read(file, {})

    assert str(refused.value) == (
        f"{file} is Parquet, which needs the package pyarrow: pip install pyarrow, or save the list as CSV or JSONL"
    )


def test_the_key_of_a_list_from_before_an_upgrade_is_the_same(tmp_path: Path) -> None:
    file = written(tmp_path, "list.csv", "prompt,seed\na,1\n")

    assert manifest.read(file, {"mode": "full"}).key == (
        "a0ef9220a80b67dac92bae23b6fc3cffeb72326536476468ccd9c81c48b27dfb"
    )


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"list\.txt cannot be read: No such file or directory"):
        manifest.read(tmp_path / "list.txt", {})


@pytest.mark.parametrize(
    "content", [b"id,prompt\n1,a\n", b'[{"prompt": "a"}]\n', b'[\n{"prompt": "a"},\n{"prompt": "b"}\n]\n']
)
def test_a_table_or_an_array_from_stdin_is_no_list_of_sentences(
    monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content)))

    with pytest.raises(BadInput, match=r"unknown columns id|stdin is one JSON array; write an object a line"):
        manifest.read(Path("-"), {})


def test_an_index_that_a_table_was_written_with_is_no_cell_of_a_prompt(tmp_path: Path) -> None:
    read = manifest.read(written(tmp_path, "list.csv", ",prompt,seed\n0,a,5\n1,b,\n"), {})

    assert [line.request for line in read.lines] == [{"prompt": "a", "seed": 5}, {"prompt": "b"}]


@pytest.mark.parametrize(
    ("beside", "reason"),
    [
        ({"url": "/v1/chat/completions"}, "url '/v1/chat/completions' is not /v1/videos, which is what makes videos"),
        ({"method": "GET"}, "method 'GET' is not POST, which is what makes videos"),
        ({"seed": 5}, "'seed' stands beside body; there stand custom_id, method, url, body"),
        ({"body": {"prompt": "a", "custom_id": "b"}}, "custom_id stands inside body; it stands beside it"),
    ],
)
def test_a_line_of_a_batch_that_asks_for_something_else_is_left_out(
    tmp_path: Path, beside: dict[str, object], reason: str
) -> None:
    lines = [{"custom_id": "a", "body": {"prompt": "a"}, **beside}, {"custom_id": "b", "body": {"prompt": "b"}}]

    read = manifest.read(written(tmp_path, "list.jsonl", "\n".join(map(json.dumps, lines))), {})

    assert [bad.reason for bad in read.bad] == [reason]
    assert [line.custom_id for line in read.lines] == ["b"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (gzip.compress(b"a red circle\n"), "packed by gzip; unpack it: gunzip -c {file}"),
        (bz2.compress(b"a red circle\n"), "packed by bzip2; unpack it: bunzip2 -c {file}"),
        (lzma.compress(b"a red circle\n"), "packed by xz; unpack it: xz -dc {file}"),
        (b"PK\x03\x04\x14\0", "a ZIP archive or a spreadsheet; unpack it, or save it as CSV"),
        (b"%PDF-1.7\n", "a PDF; save its text"),
    ],
    ids=["gzip", "bzip2", "xz", "zip", "pdf"],
)
@pytest.mark.parametrize("name", ["prompts.txt", "prompts.csv", "prompts.jsonl", "prompts.parquet"])
def test_a_file_that_is_packed_is_called_so_and_not_another_encoding(
    tmp_path: Path, name: str, content: bytes, said: str
) -> None:
    file = tmp_path / name
    file.write_bytes(content)

    with pytest.raises(BadInput) as refused:
        manifest.read(file, {})

    assert str(refused.value) == f"{file} is {said.format(file=file)}"
