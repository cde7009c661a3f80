"""The CUB-200-2011 benchmark: `python launch/cub200.py`. What it holds is in `benchmarks/cub200.py`."""

import sys
from pathlib import Path

# The project instead of this folder, whose files would hide packages of the same name.
sys.path[0] = str(Path(__file__).resolve().parent.parent)

from harness.cli import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main(["launch", "cub200", *sys.argv[1:]]))
