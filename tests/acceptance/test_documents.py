"""What the documents say is so."""

import importlib
import inspect
import re
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import folder_tree
import pytest
import typer
from chai_up import ROOT
from pydantic_core import PydanticUndefined
from typer.testing import CliRunner

from api.settings import ApiSettings
from cli.main import MOUNTED, app
from shared.reasons import Reason
from shared.settings import Settings
from worker.cache.decisions.match_settings import MatchSettings
from worker.cache.latent_cache import LatentCache
from worker.jobs import runner
from worker.models.video_model import StepHook, VideoModel
from worker.reuse.registry import WAYS
from worker.settings import WorkerSettings

README = (ROOT / "README.md").read_text()
CHINESE = (ROOT / "README.zh-CN.md").read_text()
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text()
TROUBLESHOOTING = (ROOT / "docs" / "troubleshooting.md").read_text()
OPERATION = (ROOT / "docs" / "operation.md").read_text()
RELIABILITY = (ROOT / "docs" / "reliability.md").read_text()
DOCUMENTS = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "worker" / "cards").rglob("*.md")]
OF_TODAY = [page for page in DOCUMENTS if page.name != "CHANGELOG.md"]  # that one names what is gone
CACHE = (ROOT / "docs" / "cache.md").read_text()
API = (ROOT / "docs" / "api.md").read_text()
LABS = re.findall(r'mount\(\s*app, "(\w+)", "([\w.]+)"', (ROOT / "cli" / "lab" / "group.py").read_text())
MODULES = {(name,): module for name, (module, _) in MOUNTED.items()} | {("lab", name): module for name, module in LABS}


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def commands(text: str = README) -> list[tuple[str, ...]]:
    """The words behind `chai` in the README's table."""
    table = re.findall(r"^\| `chai ([a-z]+(?: [a-z]+)?)", text, re.MULTILINE)
    return [tuple(words.split()) for words in table]


def anchors(text: str) -> set[str]:
    """The names that GitHub gives the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def settings() -> dict[str, Any]:
    """Every variable that a part reads, with its default."""
    fields = {**Settings.model_fields, **ApiSettings.model_fields, **WorkerSettings.model_fields}
    return {field.alias or f"CHAI_{name.upper()}": field.default for name, field in fields.items()}


def test_the_tree_is_true() -> None:
    assert folder_tree.written() == folder_tree.render(), "run `python tests/acceptance/folder_tree.py`"


def test_every_folder_of_the_tree_is_described() -> None:
    assert not [line for line in folder_tree.render().splitlines() if line.rstrip().endswith("/")]


def test_places_that_the_architecture_names_exist() -> None:
    named = re.findall(r"`((?:api|cli|db|lab|migrations|shared|tests|worker)/[\w/.]+)`", ARCHITECTURE)

    assert len(named) > 15
    assert [place for place in named if not (ROOT / place).exists()] == []


def called(page: Path) -> set[str]:
    """Every call of `chai` that a page shows, up to what is no longer its own."""
    text = page.read_text()
    code = re.findall(r"`([^`]+)`", re.sub(r"^```", "", text, flags=re.MULTILINE)) + re.findall(
        r"^    (.*)$", text, re.M
    )
    return {" ".join(call.split()) for part in code for call in re.findall(r"(?:^|[ (/])chai ([^#|;&]+)", part)}


def unknown(call: str) -> list[str]:
    """Return the subcommand or the options of a call of `chai` that do not exist."""
    words = call.replace("'", " ").replace('"', " ").split()
    command: Any = typer.main.get_command(app)
    path: tuple[str, ...] = ()
    for word in words:
        if word not in getattr(command, "commands", {}):
            break
        path = (*path, word)
        module = MODULES.get(path)
        command = typer.main.get_command(importlib.import_module(module).app) if module else command.commands[word]
    if hasattr(command, "commands") and re.match(r"[a-z]", word := (*words, "-")[len(path)]):
        return [word]
    options = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    return [word for word in re.findall(r"(?<=\s)--[a-z][a-z-]*", call) if word not in options | {"--help"}]


@pytest.mark.parametrize("page", OF_TODAY, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_and_options_that_a_page_shows_exist(page: Path) -> None:
    assert {call: missing for call in called(page) if (missing := unknown(call))} == {}


def test_the_pages_show_many_commands() -> None:
    assert len(set().union(*map(called, OF_TODAY))) > 100


def test_the_reasons_of_the_cache_page_are_those_that_there_are() -> None:
    table = CACHE[CACHE.index("| reason |") : CACHE.index("## What to set")]

    assert set(re.findall(r"^\| `(\w+)`", table, re.MULTILINE)) == {reason.value for reason in Reason}


def test_every_way_of_reuse_and_its_options_stand_on_the_cache_page() -> None:
    table = CACHE[CACHE.index("| way of reuse |") : CACHE.index("Several are joined by")]
    found = re.findall(r"^\| `(\w+)` \|.*\| (.*)\|$", table, re.MULTILINE)
    rows = {way: set(re.findall(r"`(\w+)`", options)) for way, options in found}
    inner = {"donors", "course", "enters_at"}  # which no recipe sets

    assert rows == {name: {field.name for field in fields(way)} - inner for name, way in WAYS.items()}


def test_what_counts_as_a_hit_has_the_defaults_of_the_cache_page() -> None:
    """Each setting has a row but for the two weights, which share one; what the embedder says is no number there."""
    table = CACHE[CACHE.index("| of `match` |") : CACHE.index("### What moves")]
    rows = dict(re.findall(r"^\| `(\w+)` \| `?([\w.]+)`? \|", table, re.MULTILINE))
    shown = {name: str(value).lower() for name, value in asdict(MatchSettings()).items()}

    assert len(rows) > 12
    assert rows == {name: shown[name] for name in rows}
    assert {name for name in shown if f"`{name}`" not in table} == set()


def drawn(name: str) -> list[str]:
    """The methods of a class of the architecture's diagram."""
    (block,) = re.findall(rf"^    class {name} \{{\n(.*?)^    \}}", ARCHITECTURE, re.MULTILINE | re.DOTALL)
    return re.findall(r"^ +(\w+)\(", block, re.MULTILINE)


def test_the_diagram_draws_the_interfaces_as_they_are() -> None:
    for interface in (StepHook, LatentCache):
        methods = [name for name, value in vars(interface).items() if callable(value) and not name.startswith("_")]
        assert drawn(interface.__name__) == methods
    assert set(drawn("VideoModel")) <= set(dir(VideoModel))


def test_the_diagram_tells_the_verbs_of_a_job_in_order() -> None:
    (sentence,) = re.findall(r"load → .*?publish", ARCHITECTURE, re.DOTALL)
    verbs = re.findall(r"^    (?:[\w, ]+ = )?(?:parts\.)?(\w+)\(\s*job\b", inspect.getsource(runner.run), re.MULTILINE)

    assert re.split(r"\s*→\s*", sentence) == verbs


def test_a_newcomer_reads_a_short_readme() -> None:
    assert len(README.splitlines()) < 120


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_a_command_of_the_table_exists(words: tuple[str, ...]) -> None:
    assert CliRunner().invoke(app, [*words, "--help"]).exit_code == 0


def test_the_table_names_every_command() -> None:
    names = {info.name or info.callback.__name__.rstrip("_") for info in app.registered_commands if info.callback}
    names |= {group.name or "" for group in app.registered_groups}
    (table,) = re.findall(r"^## Commands\n(.*?)^## ", README, re.MULTILINE | re.DOTALL)

    assert [name for name in sorted(names) if not re.search(rf"[` ]{name}[` ]", table)] == []


def test_make_targets_of_the_documents_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))

    assert {"check", "demo", "test"} <= set(re.findall(r"\bmake ([a-z]+)\b`", README)) <= targets


def test_links_lead_somewhere() -> None:
    """To a file that exists, and to a heading of it where they name one."""
    for document in DOCUMENTS:
        for target, part in re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", document.read_text()):
            page = document.parent / target if target else document
            assert page.exists(), f"{document.name}: {target}"
            assert not part or part in anchors(page.read_text()), f"{document.name}: {target}#{part}"


def test_the_chinese_readme_shows_what_the_english_one_does() -> None:
    """Its examples are those that run here, its commands and options are there."""
    for language in ("sh", "python"):
        assert blocks(CHINESE, language) == blocks(README, language)
    assert set(commands(CHINESE)) <= set(commands())
    options = set(re.findall(r"--[a-z][a-z-]+", CHINESE))
    helps = "".join(CliRunner().invoke(app, [*words, "--help"]).output for words in commands(CHINESE))
    assert {option for option in options if option not in helps} == set()


def test_every_long_page_begins_with_ten_plain_lines() -> None:
    pages = {page.name: page.read_text().splitlines() for page in (ROOT / "docs").rglob("*.md")}
    without = [
        name
        for name, lines in pages.items()
        if len(lines) > 100 and not any(line.startswith("In ten lines") for line in lines[:32])
    ]

    assert without == []


def test_prose_fits_into_a_terminal() -> None:
    """Tables and code may be wider; Chinese has no blanks to break a line at."""
    for page in (page for page in OF_TODAY if page.name != "README.zh-CN.md"):
        prose = re.sub(r"^```(?s:.*?)^```|^(?:\||    |!\[).*", "", page.read_text(), flags=re.MULTILINE)
        assert [line for line in prose.splitlines() if len(line) > 120] == [], page.name


def test_every_reason_of_a_job_or_a_worker_has_its_way_out() -> None:
    """The codes are those that the worker and the sweep of leases give."""
    sources = "".join(file.read_text() for file in (*(ROOT / "worker").rglob("*.py"), ROOT / "db" / "jobs.py"))
    raised = re.findall(r"\b(?:Unfit|GiveUp|_of_machine|_of_surroundings)\(\s*\"([a-z_]+)\"", sources)
    said = re.findall(r"\b(?:error_)?code(?:, message)? ?= ?\"([a-z_]+)\"", sources)

    assert len({*raised, *said}) > 12
    assert {code for code in {*raised, *said} if f"`{code}`" not in TROUBLESHOOTING} == set()


def test_every_code_of_a_refusal_stands_on_the_api_page() -> None:
    files = [*(ROOT / "api").rglob("*.py"), ROOT / "db" / "errors.py", ROOT / "db" / "files.py"]
    sources = "".join(file.read_text() for file in files)
    codes = set(re.findall(r"\bcode(?:: ClassVar\[str\])? ?= ?\"([a-z_]+)\"", sources))

    assert len(codes) > 40
    assert {code for code in codes if f"`{code}`" not in API} == set()


def test_the_list_of_settings_is_complete_and_has_the_defaults() -> None:
    rows = dict(re.findall(r"^\| `([A-Z0-9_]+)` \| `?([^`|]*?)`? +\|", OPERATION.replace("| |", "|  |"), re.MULTILINE))
    shown = {name: "" if default in (PydanticUndefined, None) else str(default) for name, default in settings().items()}
    for name, folder in (("STORAGE_URL", "var/storage"), ("CHAI_MODELS_DIR", "worker/cards")):
        assert shown[name].endswith(folder)
        shown[name] = folder

    assert rows == shown


def test_every_fault_of_the_list_has_a_test_that_exists() -> None:
    rows = re.findall(r"^\| (F\d+) \| [^|]+ \| (.+) \|$", RELIABILITY, re.MULTILINE)
    files = list((ROOT / "tests").rglob("test_*.py"))
    known = {name for file in files for name in re.findall(r"^def (test_\w+)", file.read_text(), re.MULTILINE)}
    named = {fault: set(re.findall(r"`(?:[\w/]+/)?(test_\w+)(?:\.py)?`", tests)) for fault, tests in rows}

    assert [fault for fault, _ in rows] == [f"F{number}" for number in range(1, 28)]
    assert [fault for fault, tests in named.items() if not tests] == []
    assert set(re.findall(r"`(test_\w+)`", RELIABILITY)) - known == set()
    assert [place for place in re.findall(r"`(tests/[\w/.]+)`", RELIABILITY) if not (ROOT / place).exists()] == []


def test_the_statements_for_alerts_run(database_url: str) -> None:
    import psycopg2

    (block,) = blocks(OPERATION, "sql")
    connection = psycopg2.connect(database_url.replace("+psycopg2", ""))
    with connection, connection.cursor() as cursor:
        for statement in block.split(";"):
            if statement.strip() and not statement.strip().startswith("--"):
                cursor.execute(statement)
    connection.close()
