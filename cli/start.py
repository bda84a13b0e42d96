"""Where `chai` begins: before its imports, which take half a second in which somebody may press Ctrl-C."""

import signal


def main() -> None:
    """Run the command line; Ctrl-C ends it without a word until there is something to say."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from cli.main import main as run

    signal.signal(signal.SIGINT, signal.default_int_handler)
    run()
