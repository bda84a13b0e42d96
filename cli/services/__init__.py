"""Real Postgres and Redis servers without Docker, apt or root: our own launcher over binaries that wheels bring."""
