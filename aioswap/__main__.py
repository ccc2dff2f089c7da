"""The `aioswap` command, also as `python -m aioswap`."""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> int:
    """Run the command that the arguments of this process name, and return its exit code."""
    try:
        from aioswap.cli.app import run
    except ModuleNotFoundError as error:
        if error.name != "click":
            raise
        sys.stderr.write("The aioswap command needs the extra cli: pip install 'aioswap[cli]'\n")
        return 2
    except KeyboardInterrupt:
        return 130
    return run(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
