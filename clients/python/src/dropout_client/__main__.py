"""The command ``dropout``."""

from __future__ import annotations

import sys
from importlib.util import find_spec

__all__ = ["main"]

_NEEDED = ("rich", "typer", "yaml")
_WRONG_USE = 2


def main() -> None:
    """Run the command line; it needs the extra ``cli``."""
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        needed = ", ".join(missing)
        sys.stderr.write(f"dropout: the command line needs {needed}; install: pip install 'dropout-client[cli]'\n")
        sys.exit(_WRONG_USE)

    from dropout_client.cli.app import run

    sys.exit(run())


if __name__ == "__main__":
    main()
