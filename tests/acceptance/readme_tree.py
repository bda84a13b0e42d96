"""The tree in the README, made from the first sentence of every module. Run this file to bring it up to date."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
BEGIN, END = "<!-- tree: begin -->\n", "<!-- tree: end -->"
PACKAGES = {
    "api": "HTTP in, job row and job id out",
    "cli": "the `chai` command",
    "db": "tables, states, queries",
    "migrations": "one reversible step a file",
    "lab": "research: imported by nobody but its commands",
    "shared": "what API and worker share and is no table",
    "worker": "the job",
}
FOLDERS = {
    "api/routes": "endpoints",
    "cli/services": "embedded Postgres and Redis",
    "migrations/versions": "the steps",
    "lab/baselines": "what others do within one run",
    "lab/benchmarks": "speed of the engine",
    "lab/calibration": "plans by evidence",
    "lab/experiments": "quality against cost",
    "lab/toy_world": "the procedural world",
    "lab/toy_world/rich": "a richer one, of larger clips",
    "lab/training": "the small model",
    "worker/cache": "latents kept and found again",
    "worker/cache/decisions": "pure: prompt to plan",
    "worker/cache/eviction": "who goes when room is needed",
    "worker/jobs": "run one job",
    "worker/models": "video models",
    "worker/models/diffusers": "pipelines of diffusers",
    "worker/models/opensora": "Open-Sora 1.2",
    "worker/quality": "optional: what donors cost in quality",
    "worker/reuse": "what a donor does to a run",
}


def render() -> str:
    """Return the block between the markers."""
    return "```text\n" + "\n".join(_lines()) + "\n```\n"


def _lines() -> Iterator[str]:
    modules = sorted(_modules(), key=lambda file: (file.parent.parts, file.name))
    folder = Path()
    for file in modules:
        if file.parent != folder:
            folder = file.parent
            name = "  " * (len(folder.parts) - 1) + f"{folder.name}/"
            yield f"{name:<28}{(PACKAGES | FOLDERS).get(str(folder), '')}"
        name = "  " * len(folder.parts) + file.name
        yield f"{name:<28}{_first_sentence(ROOT / file)}"


def _modules() -> Iterator[Path]:
    for package in PACKAGES:
        for file in (ROOT / package).rglob("*.py"):
            if file.name != "__init__.py":
                yield file.relative_to(ROOT)


def _first_sentence(file: Path) -> str:
    text = " ".join((ast.get_docstring(ast.parse(file.read_text())) or "").split("\n\n")[0].split())
    return re.split(r"(?<=[.!?]) (?=[A-Z`])", text)[0].rstrip(".")


def written() -> str:
    """Return the block as the README has it."""
    return README.read_text().split(BEGIN)[1].split(END)[0]


def main() -> None:
    """Write the block into the README."""
    before, rest = README.read_text().split(BEGIN)
    README.write_text(before + BEGIN + render() + END + rest.split(END)[1])


if __name__ == "__main__":
    main()
