"""``python -m atmorep_lite.training CONFIG ...``: ``atmorep-lite train`` for ``torchrun``."""

from __future__ import annotations

import sys

from atmorep_lite.cli import main

if __name__ == "__main__":
    sys.argv.insert(1, "train")
    main()
