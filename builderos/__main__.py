"""`python -m builderos`: the same as `builderos`."""

from __future__ import annotations

import sys

from builderos.cli import main

if __name__ == "__main__":
    sys.exit(main())
