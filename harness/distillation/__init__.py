"""Distillation losses: a spec class per file."""
