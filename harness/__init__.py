"""The benchmark harness for pruning and knowledge distillation at full scale."""

__version__ = "0.1.0"
