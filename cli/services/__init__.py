"""Real Postgres and Redis servers without Docker, apt or root: our own launcher for binaries from wheels."""
