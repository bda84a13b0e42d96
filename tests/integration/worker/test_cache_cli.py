"""`chai cache` on the rows and files of a service that has run."""

import io
import json
import signal
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import create_engine, select, text

from cli.cache import commands, questions
from cli.main import main
from db.models import Namespace
from db.session import transaction
from worker.cache import reembed, room
from worker.models.embedders import load_embedder

Start = Callable[..., Any]  # Any: the Service of conftest
RED_FOX, ELSE = "a red fox runs through a snowy forest", "two robots play chess in a library"


@pytest.fixture
def chai(
    database_url: str,
    storage_url: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Any,
) -> Callable[..., tuple[int, str]]:
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("STORAGE_URL", storage_url)
    monkeypatch.setenv("CHAI_VAR_DIR", str(tmp_path / "var"))

    def run(*args: str) -> tuple[int, str]:
        monkeypatch.setattr("sys.argv", ["chai", "cache", *args])
        try:
            code = main()
        except SystemExit as end:
            code = end.code  # type: ignore[assignment]
        written = capsys.readouterr()
        return int(code or 0), written.out + written.err

    return run


def test_ls_shows_namespaces_then_their_entries(start: Start, chai: Callable[..., tuple[int, str]]) -> None:
    service = start()
    service.run(RED_FOX)

    (space,) = json.loads(chai("ls", "--json")[1])
    (entry,) = json.loads(chai("ls", space["namespace"], "--json")[1])

    assert (space["shared by"], space["entries"], space["policy"]) == ("ada", 1, "gdsf")
    assert (entry["prompt"], entry["status"]) == (RED_FOX, "resident")


def test_show_tells_what_an_entry_holds_and_served(start: Start, chai: Callable[..., tuple[int, str]]) -> None:
    service = start()
    service.run(RED_FOX)
    service.run("a red fox sleeps")

    shown = json.loads(chai("show", str(service.entries()[0].id), "--json")[1])

    assert shown["hits"] == 1
    assert "red fox" in shown["entities"]
    assert "clean" in shown["tensors"]


def test_purge_of_a_tenant_removes_rows_files_and_bytes_of_that_tenant_only(
    start: Start, chai: Callable[..., tuple[int, str]]
) -> None:
    service = start()
    service.run(RED_FOX, tenant="ada")
    service.run(RED_FOX, tenant="eve")

    code, text = chai("purge", "--tenant", "ada")

    assert (code, text.strip().startswith("purged 1 entries")) == (0, True)
    service.check_ledger()
    assert [(entry.tenant, entry.status) for entry in service.entries()] == [("ada", "gone"), ("eve", "resident")]
    assert service.run(RED_FOX, tenant="ada").path == "full"


def test_purge_without_a_choice_is_refused(chai: Callable[..., tuple[int, str]]) -> None:
    code, text = chai("purge")

    assert code == 2
    assert "purge takes --tenant, --job or --before, or --all for everything" in text


def test_policy_budget_and_thresholds_change_while_the_service_runs(
    start: Start, chai: Callable[..., tuple[int, str]]
) -> None:
    service = start()
    service.run(RED_FOX)
    space = json.loads(chai("ls", "--json")[1])[0]["namespace"]

    code, _ = chai(
        "set",
        space,
        "--policy",
        "gdsf",
        "--budget-mib",
        "5",
        "--settings",
        '{"match": {"same_threshold": 1}}',
        "--tenant-share",
        "0.5",
    )

    assert code == 0
    changed = json.loads(chai("ls", "--json")[1])[0]
    assert (changed["policy"], changed["budget"], changed["tenant share"]) == ("gdsf", 5.0, 0.5)
    assert service.run("a red fox sleeps").status == "completed"


def test_a_question_holds_no_transaction_while_models_are_loaded(
    start: Start, chai: Callable[..., tuple[int, str]], database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a slow disk that takes longer than the server leaves a transaction idle."""
    service = start()
    service.run(RED_FOX)
    monkeypatch.setenv("CHAI_MODELS_DIR", str(service.runtime.settings.models_dir))
    monkeypatch.setenv("CHAI_DEFAULT_MODEL", "tiny")
    load, seen = questions._embedder, []

    def watched(settings: object) -> object:
        with create_engine(database_url).connect() as connection:
            query = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'chai-cli' AND state ~ 'idle in'"
            seen.append(connection.scalar(text(query)) if not seen else 0)
        return load(settings)

    monkeypatch.setattr(questions, "_embedder", watched)
    code, said = chai("try", RED_FOX)

    assert (code, seen[:1]) == (0, [0]), said


def test_try_says_that_what_is_stored_is_another_embedder_s(
    start: Start, chai: Callable[..., tuple[int, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    service = start()
    service.run(RED_FOX)
    monkeypatch.setenv("CHAI_MODELS_DIR", str(service.runtime.settings.models_dir))
    monkeypatch.setenv("CHAI_EMBEDDER", "minilm")

    code, text = chai("try", RED_FOX, "--model", "tiny", "--json")

    asked = json.loads(next(line for line in text.splitlines() if line.startswith("{")))
    assert (code, asked["reason"], asked["namespace"]) == (0, "empty_cache", None)
    assert (
        "what is stored was embedded by use-multilingual-v3, and CHAI_EMBEDDER names all-MiniLM-L6-v2 here, for which "
        "the cache is empty; set it as the workers have it, or move what is stored with `chai cache reembed`\n"
    ) in text


def test_try_loads_no_embedder_where_nothing_is_stored(
    start: Start, chai: Callable[..., tuple[int, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    service = start()
    service.run(RED_FOX)
    monkeypatch.setenv("CHAI_MODELS_DIR", str(service.runtime.settings.models_dir))
    loaded: list[object] = []
    monkeypatch.setattr(questions, "_embedder", loaded.append)

    code, text = chai("try", RED_FOX, "--model", "tiny", "--tenant", "eve")

    assert (code, loaded) == (0, []), text
    assert "nothing" in text


def test_reembed_moves_every_entry_and_then_has_nothing_to_do(
    start: Start, chai: Callable[..., tuple[int, str]]
) -> None:
    service = start()
    service.run(RED_FOX)
    service.run(ELSE)

    code, text = chai("reembed", "--embedder", "minilm", "--json")

    (row,) = json.loads(text[: text.rindex("]") + 1])  # what follows is progress
    assert (code, row["moved"], row["left"]) == (0, 2, 0)
    assert {str(entry.namespace_id)[:8] for entry in service.entries()} == {row["to"]}
    assert "nothing to do: no entry was stored with another" in chai("reembed", "--embedder", "minilm")[1]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--policy", "mru"], "--policy 'mru' is unknown; choose from none, fifo, lru"),
        (["--settings", '{"search": "best"}'], "--settings search: String should match pattern"),
        (["--settings", '{"match": {"same_threshold": 3}}'], "--settings match: thresholds must rise from 0 to 1"),
        (
            ["--settings", '{"match": {"max_uses": "few"}}'],
            "--settings match.max_uses: Input should be a valid integer",
        ),
        (
            ["--settings", '{"match": {"by_rarity": "no"}}'],
            "--settings match.by_rarity: Input should be a valid boolean",
        ),
        (
            ["--settings", '{"extractor": "nope"}'],
            "--settings extractor: 'nope' is not an entity extractor; use lexicon",
        ),
        (["--settings", '{"keep": ["next"]}'], "--settings keep: 'next' is unknown; choose from nearest, same_index"),
        (["--policy", "none", "--budget-mib", "0"], "bytes are in use, and the policy none gives up too little"),
    ],
)
def test_a_setting_that_cannot_be_is_refused_with_the_way_out(
    start: Start, chai: Callable[..., tuple[int, str]], args: list[str], message: str
) -> None:
    start().run(RED_FOX)
    space = json.loads(chai("ls", "--json")[1])[0]["namespace"]

    before = chai("ls", "--json")[1]

    code, text = chai("set", space, *args)

    assert code == 2
    assert message in " ".join(text.split())
    assert chai("ls", "--json")[1] == before


def test_a_smaller_budget_evicts_by_the_policy_until_it_holds(
    start: Start, chai: Callable[..., tuple[int, str]]
) -> None:
    service = start(cache_policy="lru")
    service.run(RED_FOX)
    service.run(ELSE)
    service.run("a red fox sleeps")  # a hit: the robots are the longest unused
    space = json.loads(chai("ls", "--json")[1])[0]["namespace"]
    one = service.entries()[0].num_bytes / 2**20

    code, text = chai("set", space, "--budget", str(one * 1.5))

    assert (code, "evicted 1 entries" in text) == (0, True)
    assert [(entry.prompt, entry.status) for entry in service.entries()] == [(RED_FOX, "resident"), (ELSE, "gone")]
    service.check_ledger()


def test_who_stops_a_change_half_way_has_changed_nothing(
    start: Start, chai: Callable[..., tuple[int, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    service = start(cache_policy="none")
    for prompt in (RED_FOX, ELSE):
        service.run(prompt)
    before = json.loads(chai("ls", "--json")[1])[0]
    one = service.entries()[0].num_bytes / 2**20
    change = ("set", before["namespace"], "--policy", "lru", "--admission", "second_sighting", "--budget", str(one))
    with monkeypatch.context() as patch:
        patch.setattr(room, "remove", lambda *_: signal.raise_signal(signal.SIGINT))
        assert chai(*change)[0] == 130

    stopped = json.loads(chai("ls", "--json")[1])[0]
    code, text = chai(*change)
    done = json.loads(chai("ls", "--json")[1])[0]

    columns = ("policy", "admission", "budget")
    assert [stopped[name] for name in columns] == [before[name] for name in columns]
    assert (code, done["policy"], done["admission"], done["entries"]) == (0, "lru", "second_sighting", 1), text
    assert [entry.prompt for entry in service.entries() if entry.status == "resident"] == [ELSE]
    service.check_ledger()


def test_purge_takes_what_moves_to_another_embedder_meanwhile(
    start: Start, chai: Callable[..., tuple[int, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    service = start()
    service.run(RED_FOX)
    service.run(ELSE)
    minilm, evict = load_embedder("minilm"), commands._evict
    with transaction(service.factory) as session:
        move = reembed.begin(session, session.scalars(select(Namespace)).one(), minilm)

    def late(*args: Any) -> Any:
        reembed.step(service.factory, move, minilm, limit=1)
        return evict(*args)

    monkeypatch.setattr(commands, "_evict", late)
    code, text = chai("purge", "--all", "--json")

    told = json.loads(next(line for line in text.splitlines() if line.startswith("{")))
    assert (code, told["entries"]) == (0, 2), text
    assert {entry.status for entry in service.entries()} == {"gone"}
    service.check_ledger()


def test_try_says_what_the_next_job_will_do_and_records_nothing(
    start: Start, chai: Callable[..., tuple[int, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    service = start()
    monkeypatch.setenv("CHAI_MODELS_DIR", str(service.runtime.settings.models_dir))
    service.run(RED_FOX)
    prompt = "a red fox sleeps, no people"

    asked = json.loads(chai("try", prompt, "--model", "tiny", "--json")[1].splitlines()[0])
    others = json.loads(chai("try", prompt, "--model", "tiny", "--tenant", "eve", "--json")[1].splitlines()[0])
    stats = json.loads(chai("stats", "--json")[1])
    job = service.run(prompt)

    assert (asked["reason"], asked["plan"]["path"], asked["excluded"]) == (job.receipt["reason"], job.path, ["person"])
    assert [match["entity"] for match in asked["matched"]] == ["red fox"]
    assert asked["entities"] == [{"text": "red fox", "kind": "object", "attributes": ["red"]}]
    assert (others["reason"], others["namespace"]) == ("empty_cache", None)
    assert stats["decisions"] == 1


def test_try_reads_a_prompt_a_line_without_any_service(
    chai: Callable[..., tuple[int, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DATABASE_URL")
    lines = "a red fox in the snow\n\n☂\n".encode() + b"un ni\xf1o\n" + "☺\n".encode()
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(lines)))

    code, text = chai("try", "-", "--json")

    fox, umbrella, smile = (json.loads(line) for line in text.splitlines() if line.startswith("{"))
    assert code == 0
    assert (fox["whole_prompt"], fox["plan"]["path"], fox["reason"]) == (False, "full", "empty_cache")
    assert [entity["text"] for entity in umbrella["entities"]] == ["umbrella"]
    assert smile["whole_prompt"]
    assert "line 4 left out: byte 0xf1 is not UTF-8" in text


def test_stats_tell_rates_donors_bytes_and_savings(start: Start, chai: Callable[..., tuple[int, str]]) -> None:
    service = start()
    service.run(RED_FOX)
    service.run("a red fox sleeps")
    service.run(ELSE)

    found = json.loads(chai("stats", "--json")[1])

    assert (found["decisions"], found["hits"]) == (3, 1)
    assert {row["name"]: row["hits"] for row in found["by_reason"]}["entity_hit"] == 1
    assert sum(row["decisions"] for row in found["by_day"]) == 3
    assert [(row["prompt"], row["hits"], row["share"]) for row in found["donors"]] == [(RED_FOX, 1, 1.0)]
    assert found["space"]["bytes_used"] == sum(entry.num_bytes for entry in service.entries())
    assert found["savings"]["steps_saved"] == 6 - 5
    assert "donor" in chai("stats")[1]


def test_ctrl_c_says_what_has_become_of_a_move(
    start: Start, chai: Callable[..., tuple[int, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    service = start()
    service.run(RED_FOX)
    step = reembed.step

    def interrupted(*args: Any) -> int:
        moved = step(*args)
        signal.raise_signal(signal.SIGINT)
        return moved

    monkeypatch.setattr(reembed, "step", interrupted)
    code, said = chai("reembed", "--embedder", "minilm")

    assert (code, said.splitlines()[-1]) == (130, "stopped: what has moved has moved; the same command moves the rest")
