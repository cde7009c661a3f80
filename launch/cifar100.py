"""The CIFAR-100 benchmark: `python launch/cifar100.py`. What it holds is in `benchmarks/cifar100.py`."""

import sys
from pathlib import Path

# The project instead of this folder, whose files would hide packages of the same name.
sys.path[0] = str(Path(__file__).resolve().parent.parent)

from harness.cli import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main(["launch", "cifar100", *sys.argv[1:]]))
