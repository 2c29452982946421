"""Where the program starts: so early that Ctrl-C may come while it is still being imported."""

from __future__ import annotations

import atexit
import gc
import sys


def main() -> None:
    """Import the commands and run the one that the command line names."""
    atexit.register(gc.freeze)  # the interpreter's end looks through all that is left otherwise
    try:
        from vqa_engine_cli.main import main as commands
    except KeyboardInterrupt:
        sys.exit(130)
    commands()


if __name__ == "__main__":
    main()
