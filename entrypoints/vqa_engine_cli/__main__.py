"""Where the program starts: so early that Ctrl-C may come while it is still being imported."""

from __future__ import annotations

import sys


def main() -> None:
    """Import the commands and run the one that the command line names."""
    try:
        from vqa_engine_cli.main import main as commands
    except KeyboardInterrupt:
        sys.exit(130)
    commands()


if __name__ == "__main__":
    main()
