"""Environment variables that are meant for other programs, but that libraries here would act on.

Celery lets CELERY_BROKER_URL go before the broker that it is given, and imports what CELERY_CONFIG_MODULE names; libpq
completes an address from PGSERVICE, PGSSLMODE and two dozen more. A shell or an image that serves another program too
has them, and what they do here no message of ours explains.
"""

import os

CELERY = "CELERY_"
LIBPQ = "PG"  # whoever gives a DATABASE_URL of their own may complete it so; the embedded server's is complete


def forget(prefix: str) -> None:
    """Take the variables that begin like this out of this process, and of those that it starts."""
    for name in [name for name in os.environ if name.startswith(prefix)]:
        del os.environ[name]
