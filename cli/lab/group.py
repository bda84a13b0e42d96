"""`chai lab`: research on the shipped model, and measurements of the engine."""

from cli.arguments import App
from cli.mounting import mount

app = App(help="Research: evaluate, train, measure. The service needs none of it.", no_args_is_help=True)

mount(app, "eval", "cli.lab.evaluation", "Measure quality and time of plans.")
mount(app, "reuse", "cli.lab.reuse", "Measure what a donor is worth, on the small model or your own.")
mount(app, "train", "cli.lab.train", "Train the small model.")
mount(app, "bench", "cli.lab.bench", "Measure speed of the engine.")
mount(app, "entities", "cli.lab.entities", "Measure how prompts are taken apart and matched.")
mount(
    app, "rehearse", "cli.lab.rehearse", "Rehearse a night of bulk generation in two windows, parts killed on the way."
)
mount(app, "policies", "cli.lab.policies", "Compare eviction policies, thresholds and sharing on traces.")
mount(app, "chaos", "cli.lab.chaos", "Attack a service of its own, and check that no job is lost.")
