"""A deadline by which every request is answered, whatever hangs behind it.

The database has its own timeouts; network storage has none, and a thread that waits for it cannot be cancelled. So the
request goes on in the background, and its caller is told to try again.
"""

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import Overdue


class Deadline:
    """Runs an application, and abandons requests whose answer has not begun in time."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._left: set[asyncio.Task[None]] = set()  # the event loop holds only weak references

    async def serve(self, scope: Scope, receive: Receive, send: Send, *, timeout_s: float) -> None:
        """Serve a request; raise `Overdue` if no answer has begun after `timeout_s`."""
        has_begun: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        is_over = False

        async def send_in_time(message: Message) -> None:
            if is_over:
                raise asyncio.CancelledError
            if not has_begun.done():
                has_begun.set_result(None)
            await send(message)

        async def run() -> None:
            await self._app(scope, receive, send_in_time)

        task = asyncio.create_task(run())
        try:
            await asyncio.wait({task, has_begun}, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
            if not (task.done() or has_begun.done()):
                is_over = True
                raise Overdue(
                    f"no answer within {timeout_s:g} s: something behind this server hangs; "
                    "what was asked may still be done, so look before you ask again without an Idempotency-Key"
                )
            await task
        finally:
            has_begun.cancel()
            if not task.done():
                self._let_go(task)

    def _let_go(self, task: asyncio.Task[None]) -> None:
        task.cancel()
        self._left.add(task)
        task.add_done_callback(self._forget)

    def _forget(self, task: asyncio.Task[None]) -> None:
        self._left.discard(task)
        if not task.cancelled():
            task.exception()  # mark it as retrieved: nobody waits for it
