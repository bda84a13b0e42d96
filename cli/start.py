"""Entry point of `chai`, before its imports: these take half a second, during which somebody may press Ctrl-C."""

import signal

from cli.utf8 import in_utf8


def main() -> None:
    """Run the command line; until the imports are done, Ctrl-C ends it silently."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    in_utf8()
    from shared.gc_pause import gc_paused

    with gc_paused(for_good=True):
        from cli.main import main as run

    signal.signal(signal.SIGINT, signal.default_int_handler)
    run()
