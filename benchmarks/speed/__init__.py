"""How fast this is beside public code that does the same: `python -m benchmarks.speed`, one module per subject."""
