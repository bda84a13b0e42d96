"""What everybody may see of a job while it runs."""

from worker.cache.latent_cache import CachePlan
from worker.jobs.context import JobContext


def report_plan(job: JobContext, plan: CachePlan) -> None:
    """Note a plan in the figures and in the job's progress."""
    chosen, figures = plan.plan, job.figures
    num_steps = chosen.recipe.num_evaluated_steps
    figures.path, figures.reason, figures.num_steps = chosen.path.value, chosen.reason.value, num_steps
    figures.namespace_id = plan.namespace_id
    figures.entry_id = plan.donors[0] if plan.donors else None
    job.lease.check(path=chosen.path.value, num_steps=num_steps, receipt=plan.receipt())
