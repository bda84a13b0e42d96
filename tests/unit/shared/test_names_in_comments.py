"""What docstrings and comments name is there."""

import ast
import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[3]
PACKAGES = ("api", "chai_client", "cli", "db", "lab", "migrations", "shared", "tests", "worker")
FILE = re.compile(rf"(?<![\w/.])((?:{'|'.join(PACKAGES)})/[\w/]+\.py)\b")
PATH = re.compile(rf"`((?:{'|'.join(PACKAGES)})(?:\.\w+)+)(?:\([^`]*\))?`")


@cache
def body_of(file: Path) -> list[ast.stmt]:
    return ast.parse(file.read_text()).body


def defined(body: list[ast.stmt]) -> dict[str, list[ast.stmt]]:
    """Return the names that a module or class gives its parts, each with the body behind it."""
    found: dict[str, list[ast.stmt]] = {}
    for node in ast.walk(ast.Module(body=body, type_ignores=[])):
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                found.setdefault(node.name, node.body)
            case ast.Name(ctx=ast.Store()):
                found.setdefault(node.id, [])
            case ast.Attribute(ctx=ast.Store()):
                found.setdefault(node.attr, [])
            case ast.alias():
                found.setdefault((node.asname or node.name).split(".")[0], [])
    return found


def is_there(path: str) -> bool:
    """Whether a dotted path leads to a folder, a module, or something that one defines."""
    names = path.split(".")
    for length in range(len(names), 0, -1):
        place = ROOT.joinpath(*names[:length])
        file = next((file for file in (place.with_suffix(".py"), place / "__init__.py") if file.exists()), None)
        if file is None:
            if place.is_dir() and length == len(names):
                return True
            continue
        body = body_of(file)
        for name in names[length:]:
            if name not in defined(body):
                return False
            body = defined(body)[name]
        return True
    return False


def test_every_path_that_the_code_names_exists() -> None:
    """`a.b.c` in backticks, in a docstring or a comment: whoever moves c finds where it is named."""
    files = [file for package in PACKAGES for file in (ROOT / package).rglob("*.py")]
    named = [(file, path) for file in files for path in PATH.findall(file.read_text())]

    assert named
    assert [f"{file.relative_to(ROOT)}: {path}" for file, path in named if not is_there(path)] == []


def test_every_file_that_the_code_names_exists() -> None:
    files = [file for package in PACKAGES for file in (ROOT / package).rglob("*.py")]
    named = [(file, path) for file in files for path in FILE.findall(file.read_text())]

    assert named
    assert [f"{file.relative_to(ROOT)}: {path}" for file, path in named if not (ROOT / path).exists()] == []
