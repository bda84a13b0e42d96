"""The tree of folders in the architecture page. Run this file to bring it up to date."""

from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "architecture.md"
BEGIN, END = "<!-- tree: begin -->\n", "<!-- tree: end -->"
PACKAGES = {
    "api": "HTTP in, job row and job id out",
    "chai_client": "a client of the service, for any program",
    "cli": "the `chai` command",
    "db": "tables, states, queries",
    "migrations": "one reversible step a file",
    "lab": "research: imported by nobody but its commands",
    "shared": "what API and worker share and is no table",
    "worker": "the job",
}
FOLDERS = {
    "api/routes": "endpoints",
    "api/schemas": "what goes over the wire",
    "api/web": "the page: templates, words, one style sheet, one script",
    "cli/bulk": "`chai bulk`: hand a list over, follow it, write results",
    "cli/cache": "`chai cache`: ask, replay, report, purge",
    "cli/lab": "commands of research",
    "cli/services": "embedded Postgres and Redis",
    "migrations/versions": "the steps",
    "lab/baselines": "what others do within one run",
    "lab/benchmarks": "speed of the engine",
    "lab/chaos": "a service of its own, attacked, and the rules after it",
    "lab/experiments": "quality against cost",
    "lab/toy_world": "the procedural world",
    "lab/toy_world/rich": "a richer one, of larger clips",
    "lab/training": "the small model",
    "shared/storage": "whole files on a disk or in a bucket, and their names",
    "worker/cache": "latents kept and found again",
    "worker/cache/decisions": "pure: prompt to plan",
    "worker/cache/decisions/english": "prompts in English",
    "worker/cache/decisions/readers": "prompts in other languages",
    "worker/cache/decisions/vocabulary": "lists of words",
    "worker/cache/eviction": "who goes when room is needed",
    "worker/cache/simulation": "the cache without the service: what if",
    "worker/jobs": "run one job",
    "worker/models": "video models",
    "worker/models/diffusers": "pipelines of diffusers",
    "worker/models/opensora": "Open-Sora 1.2",
    "worker/quality": "optional: plans by evidence, and what donors cost in quality",
    "worker/reuse": "what a donor does to a run",
}


def render() -> str:
    """Return the block between the markers."""
    return "```text\n" + "\n".join(_lines()) + "\n```\n"


def _lines() -> Iterator[str]:
    known = PACKAGES | FOLDERS
    for folder in sorted(_folders(), key=lambda path: path.parts):
        name = "  " * (len(folder.parts) - 1) + f"{folder.name}/"
        yield f"{name:<22}{known.get(str(folder), '')}".rstrip()


def _folders() -> set[Path]:
    files = (file for package in PACKAGES for file in (ROOT / package).rglob("*.py") if file.name != "__init__.py")
    return {folder for file in files for folder in (file.relative_to(ROOT)).parents if folder != Path()}


def written() -> str:
    """Return the block as the page has it."""
    return PAGE.read_text().split(BEGIN)[1].split(END)[0]


def main() -> None:
    """Write the block into the page."""
    before, rest = PAGE.read_text().split(BEGIN)
    PAGE.write_text(before + BEGIN + render() + END + rest.split(END)[1])


if __name__ == "__main__":
    main()
