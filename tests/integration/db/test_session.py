"""What a connection to Postgres is opened with."""

import os
import socket

from sqlalchemy import Engine

from shared.settings import Settings


def test_a_connection_gives_up_what_nobody_acknowledges_and_asks_when_it_is_quiet(engine: Engine) -> None:
    """Where packets vanish, TCP by itself would wait for a quarter of an hour."""
    with engine.connect() as connection:
        fd = connection.connection.driver_connection.fileno()
        with socket.socket(fileno=os.dup(fd)) as line:
            unanswered_ms = line.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
            is_kept = line.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            quiet_s = line.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE)
            probes_s = line.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL) * line.getsockopt(
                socket.IPPROTO_TCP, socket.TCP_KEEPCNT
            )
        rows = connection.exec_driver_sql(
            "SELECT name, setting::int FROM pg_settings WHERE name IN "
            "('statement_timeout', 'lock_timeout', 'idle_in_transaction_session_timeout', 'tcp_user_timeout')"
        )
        limits = dict(map(tuple, rows))

        assert 0 < unanswered_ms <= 10_000
        assert is_kept
        assert quiet_s + probes_s <= 10
        assert all(0 < setting <= 60_000 for setting in limits.values())
        lease_ms = 1000 * Settings.model_fields["lease_s"].default
        assert limits["idle_in_transaction_session_timeout"] <= lease_ms / 2  # then others have what a lost one held
