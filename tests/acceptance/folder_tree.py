"""The tree of folders in the architecture page. Run this file to bring it up to date."""

from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "architecture.md"
BEGIN, END = "<!-- tree: begin -->\n", "<!-- tree: end -->"
PACKAGES = {
    "api": "HTTP in, job row and job id out",
    "chai_client": "Python client of the service",
    "cli": "the `chai` command",
    "db": "tables, states, queries",
    "migrations": "one reversible step per file",
    "lab": "research: imported only by its own commands and the demo",
    "shared": "what API and worker share besides tables",
    "worker": "runs the jobs",
}
FOLDERS = {
    "api/routes": "endpoints",
    "api/schemas": "request and response bodies",
    "api/web": "the web page: templates, texts, one style sheet, one script",
    "cli/bulk": "`chai bulk`: submit a list, follow it, write results",
    "cli/cache": "`chai cache`: ask, replay, report, purge",
    "cli/lab": "research commands",
    "cli/services": "embedded Postgres and Redis",
    "migrations/versions": "the steps",
    "lab/baselines": "AdaCache, to compare with",
    "lab/benchmarks": "engine speed",
    "lab/chaos": "starts a service, attacks it and checks its rules",
    "lab/experiments": "quality against cost",
    "lab/toy_world": "the procedural world",
    "lab/toy_world/rich": "a richer world with larger clips",
    "lab/training": "trains the two models that ship",
    "shared/storage": "whole files on disk or in a bucket, and their names",
    "worker/cache": "stores latents and finds them again",
    "worker/cache/decisions": "pure: from what a prompt names to a plan",
    "worker/prompts": "pure: what a prompt names, excludes and how it wants to look",
    "worker/prompts/english": "prompts in English",
    "worker/prompts/readers": "prompts in other languages",
    "worker/prompts/vocabulary": "word lists",
    "worker/cache/eviction": "eviction policies",
    "worker/cache/simulation": "replays the cache without the service",
    "worker/jobs": "runs one job",
    "worker/models": "video models",
    "worker/models/diffusers": "diffusers pipelines",
    "worker/models/opensora": "Open-Sora 1.2",
    "worker/quality": "optional: calibrated plans, and the quality cost of donors",
    "worker/reuse": "ways in which a run uses a donor",
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
