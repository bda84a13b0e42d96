"""Environment variables meant for other programs that our libraries would act on.

Celery prefers CELERY_BROKER_URL to the configured broker, and imports the module in CELERY_CONFIG_MODULE; libpq
completes an address from PGSERVICE, PGSSLMODE and two dozen more. A shell or image shared with another program may set
them, and none of our messages would explain their effects.
"""

import os

CELERY = "CELERY_"
LIBPQ = "PG"  # these may complete a DATABASE_URL of the user's; the embedded server's is complete


def forget(prefix: str) -> None:
    """Remove the variables with this prefix from the environment of this process and its children."""
    for name in [name for name in os.environ if name.startswith(prefix)]:
        del os.environ[name]
