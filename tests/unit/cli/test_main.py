"""The command line itself."""

import os
import subprocess
import sys
from pathlib import Path

import commands
import psycopg2
import pytest
from scripted_service import Script

from cli import videos
from cli.client import Client
from cli.failures import of_database

ROOT = Path(__file__).parents[3]
HEAVY = ("torch", "numpy", "fastapi", "celery", "sqlalchemy", "pydantic", "transformers", "psutil")


VIDEO = f"video_{0:032x}"
FOREIGN = b"\xff".decode("utf-8", "surrogateescape")  # as a byte that is not UTF-8 comes


def chai(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return commands.run(arguments, {"PATH": "/usr/bin:/bin", "NO_COLOR": "1", "COLUMNS": "200", **variables})


def test_a_client_command_imports_nothing_heavy() -> None:
    code = f"import cli.main, sys; print([name for name in {HEAVY!r} if name in sys.modules])"

    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )

    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("variables", "turns"),
    [({}, "1000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "active"}, "None")],
)
def test_a_worker_says_how_threads_wait_before_torch_is_loaded(variables: dict[str, str], turns: str) -> None:
    code = """
import os, sys, types
app = types.ModuleType("worker.app")
app.main = lambda queues, name: print(os.environ.get("GOMP_SPINCOUNT"), "torch" in sys.modules)
sys.modules["worker.app"] = app
from cli.main import app as chai
chai(["worker"])
"""
    environment = {"PATH": "/usr/bin:/bin", "DATABASE_URL": "postgresql://localhost/chai", **variables}

    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60
    )

    assert done.stdout.strip() == f"{turns} False", done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("status", "video_1"), "error: no answer from http://127.0.0.1:9 "),
        (("status", "../x"), "error: id '../x' is not an id; `chai list` and `chai bulk status` show them"),
        (
            ("submit", FOREIGN),
            "error: prompt holds U+DCFF: half of a surrogate pair, or",
        ),
        (("list", "--prompt", FOREIGN), "error: prompt holds U+DCFF: half of a surrogate pair, or a byte that is"),
        (("list", "--metadata", f"a={FOREIGN}"), "error: metadata holds U+DCFF: half of a surrogate pair, or a byte"),
        (
            ("worker", "--queues", "fast"),
            "error: --queues 'fast' is unknown; choose from interactive, bulk, with commas",
        ),
        (("migrate", ""), "error: REVISION is empty; write head, base or a revision"),
        (("keys", "create", "a\nb"), "error: TENANT 'a\\nb' holds a character that cannot be printed; use letters"),
        (("keys", "create", "a" * 201), "error: TENANT has 201 characters; use at most 200"),
        (("bulk", "run", ""), "error: FILE is empty; name a file or folder, or . for this one"),
        (("submit", "a", "--out", ""), "error: --out is empty; name a file or folder, or . for this one"),
        (("cache", "export", ""), "error: DIR is empty; name a file or folder, or . for this one"),
        (("keys", "create", " "), "error: TENANT is empty; name who will use the key"),
        (("keys", "create", "a "), "error: TENANT 'a ' begins or ends with a space; write 'a'"),
        (("keys", "create", "a", "--group", ""), "error: --group is empty; write something, or leave it out"),
        (("keys", "set", "a", "--life", ""), "error: --life is empty; write something, or leave it out"),
        (("keys", "set", "a", "--life", "2y"), "error: --life '2y' is not a time; write it like 12h, 30d or 8w"),
        (("submit", "a", "--seed", "1_0"), "error: --seed '1_0' is not a whole number"),
        (("submit", "a", "--steps", "\u0663"), "error: --steps '\u0663' is not a whole number"),
        (("submit", "a", "--fps", "2.5"), "error: --fps '2.5' is not a whole number"),
        (("submit", "a", "--guidance", "1_0"), "error: --guidance '1_0' is not a number"),
        (("submit", "a", "--guidance", "nan"), "error: --guidance 'nan' is not a finite number; write one"),
        (("bulk", "ls", "--limit", "1_0"), "error: --limit '1_0' is not a whole number"),
        (("list", "--limit", "0"), "error: --limit 0 is too small; use 1 or more"),
        (("list", "--limit", "10001"), "error: --limit 10001 is too large; use 10000 or less"),
        (("list", "--limit", "9" * 4000), f"error: --limit {'9' * 59}… is too large; use 10000 or less"),
        (("submit", "a", "--metadata", "x" * 4000), f"error: --metadata '{'x' * 58}… is neither KEY=VALUE nor a"),
        (("status", "?" * 4000), f"error: id '{'?' * 58}… is not an id; `chai list` and `chai bulk status` show"),
        (("list", "--status", ""), "error: --status is empty; write something, or leave it out"),
        (("cache", "stats", "--days", "nan"), "error: --days 'nan' is not a finite number; write one"),
        (("cache", "simulate", "--recorded", "--policy", ""), "error: --policy is empty; write something, or leave it"),
        (("submit", "a", "--metadata", "shelf"), "error: --metadata 'shelf' is neither KEY=VALUE nor a JSON object"),
        (("submit", "a", "--metadata", "{"), "error: --metadata '{' is not JSON (Expecting property name"),
        (
            ("submit", "a", "--metadata", '{"k": "v", "k": "w"}'),
            """error: --metadata '{"k": "v", "k": "w"}': k is given twice; keep one""",
        ),
        (("bulk", "run", "missing.txt"), "error: missing.txt cannot be read: No such file or directory"),
        (("model", "ls", "--models-dir", "/nope"), "error: --models-dir /nope is no folder; name the one that holds"),
        (("lab", "reuse", "--device", "potato"), "error: --device: device 'potato' is unknown; give auto, cpu, cuda"),
        (("cache", "try", " "), "error: PROMPT is empty; say in a sentence what the video shows"),
        (("cache", "try", FOREIGN), "error: PROMPT holds U+DCFF: half of a surrogate pair, or a byte that is not"),
        (
            ("cache", "try", "a", "--negative-prompt", FOREIGN),
            "error: --negative-prompt holds U+DCFF: half of a surrogate pair, or a byte that is not UTF-8",
        ),
        (("keys", "ls"), "error: no database: start the service with `chai up`, or set DATABASE_URL"),
        (
            ("keys", "create", "me", "--scope", "root"),
            "error: --scope 'root' is unknown; choose from jobs, read, admin",
        ),
        (("migrate",), "error: no database: start the service with `chai up`, or set DATABASE_URL"),
    ],
)
def test_a_failure_is_one_line_on_stderr(arguments: tuple[str, ...], message: str, tmp_path: Path) -> None:
    done = chai(*arguments, CHAI_URL="http://127.0.0.1:9", CHAI_VAR_DIR=str(tmp_path))

    assert done.stderr.startswith(message)
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout == ""
    assert done.returncode in (1, 2)


def test_an_unknown_command_leaves_with_2() -> None:
    assert chai("fly").returncode == 2


def test_every_part_and_every_client_verb_is_a_command() -> None:
    help_ = chai("--help").stdout

    for name in [
        "api",
        "worker",
        "relay",
        "migrate",
        "up",
        "demo",
        "flower",
        "submit",
        "status",
        "watch",
        "cancel",
        "delete",
        "list",
        "download",
        "bulk",
        "keys",
    ]:
        assert f" {name} " in help_


def test_the_version_is_told() -> None:
    done = chai("--version")

    assert (done.returncode, done.stdout.split()[0]) == (0, "chai")


def test_a_database_that_is_away_is_a_sentence() -> None:
    done = chai("keys", "ls", DATABASE_URL="postgresql://u:secret@127.0.0.1:9/d")

    assert done.returncode == 1
    assert done.stderr.startswith("error: the database does not answer as it should: ")
    assert len(done.stderr.splitlines()) == 1
    assert "secret" not in done.stderr


@pytest.mark.parametrize("url", ["postgresql://u:secret@h/d?sslmod=require", "mysql://u:secret@h/d"])
def test_what_libpq_does_not_understand_is_a_sentence_without_the_password(url: str) -> None:
    with pytest.raises(psycopg2.ProgrammingError) as error:
        psycopg2.connect(url)

    sentence = of_database(error.value)
    assert sentence is not None
    assert sentence.startswith("DATABASE_URL is not understood: ")
    assert "secret" not in sentence


GOOD = "postgresql+psycopg2://u@127.0.0.1:9/d"


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"DATABASE_URL": "mysql://u:secret@h/d"}, "error: DATABASE_URL 'mysql://u:***@h/d': must begin"),
        (
            {"DATABASE_URL": GOOD, "STORAGE_URL": "s4://u:secret@b"},
            "error: STORAGE_URL 's4://u:***@b': names no storage that fsspec knows; use file://, s3://",
        ),
        ({"DATABASE_URL": GOOD, "STORAGE_URL": "s3://"}, "error: STORAGE_URL 's3://': names no folder or bucket; "),
        ({"DATABASE_URL": GOOD, "STORAGE_URL": "az://b"}, "error: STORAGE_URL 'az://b': needs a driver: "),
        (
            {"DATABASE_URL": GOOD, "STORAGE_URL": "ftp://u:secret@127.0.0.1:1/x"},
            "error: STORAGE_URL cannot be opened: ftp://u:***@127.0.0.1:1/x: ConnectionRefusedError: ",
        ),
    ],
)
def test_a_server_that_is_none_is_named_without_its_password(variables: dict[str, str], said: str) -> None:
    done = chai("relay", **variables)

    assert done.returncode == 2
    assert done.stderr.startswith(said)
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("command", ["submit -", "bulk run -"])
def test_a_closed_stdin_is_a_sentence(command: str, tmp_path: Path) -> None:
    line = f"{sys.executable} -m cli.main {command} <&-"

    done = subprocess.run(["sh", "-c", line], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)

    assert (done.returncode, done.stderr) == (2, "error: - reads stdin, which is closed\n")


def test_a_video_that_is_deleted_while_it_is_watched_did_not_complete(scripted: Script) -> None:
    error = {"message": "no video", "type": "not_found_error", "param": None, "code": "not_found"}
    scripted.answer({"id": VIDEO, "status": "queued", "progress": 0, "estimate": None})
    scripted.answer({"error": error}, status=404)
    scripted.answer({"error": error}, status=404)

    deleted, unknown = (chai("watch", VIDEO, CHAI_URL=scripted.url) for _ in range(2))

    assert (deleted.returncode, unknown.returncode) == (1, 2)
    assert deleted.stderr.endswith(f"error: video {VIDEO} was deleted while it was watched\n")
    assert unknown.stderr == "error: no video\n"


def test_a_closed_stdout_swallows_what_is_printed(scripted: Script, tmp_path: Path) -> None:
    scripted.answer({"data": [], "has_more": False})
    line = f"{sys.executable} -m cli.main list >&-"
    environment = {"PATH": "/usr/bin:/bin", "CHAI_URL": scripted.url, "CHAI_VAR_DIR": str(tmp_path)}

    done = subprocess.run(
        ["sh", "-c", line], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False
    )

    assert (done.returncode, done.stderr) == (0, "")


def test_a_video_goes_into_a_pipe_with_a_name_and_does_not_replace_it(scripted: Script, tmp_path: Path) -> None:
    scripted.answer(b"0123456789")
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)

    with pipe.open("r+b", buffering=0) as reader, Client(scripted.url) as client:
        assert videos.save(client, "video_1", pipe) == pipe
        assert reader.read(10) == b"0123456789"

    assert pipe.is_fifo()


def test_a_pipe_without_a_name_is_a_list(tmp_path: Path) -> None:
    line = f"printf 'a\nb\n' | {sys.executable} -m cli.main bulk run /dev/stdin --detach"
    environment = {"PATH": "/usr/bin:/bin", "CHAI_URL": "http://127.0.0.1:9", "CHAI_VAR_DIR": str(tmp_path)}

    done = subprocess.run(
        ["sh", "-c", line], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False
    )

    assert done.stderr.startswith("error: no answer from")  # it was read, and would have been sent


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"CHAI_DEFAULT_MODEL": "nope"}, "error: CHAI_DEFAULT_MODEL 'nope' has no card in "),
        ({"CHAI_MODELS_DIR": "/nowhere"}, "error: CHAI_DEFAULT_MODEL 'small' has no card in /nowhere; there are: none"),
    ],
)
def test_a_setting_that_does_not_fit_what_is_there_is_a_sentence(variables: dict[str, str], said: str) -> None:
    done = chai("api", DATABASE_URL="postgresql://chai@127.0.0.1:1/chai", **variables)

    assert (done.returncode, done.stderr.startswith(said)) == (2, True), done.stderr
    assert len(done.stderr.splitlines()) == 1
