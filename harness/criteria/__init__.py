"""Pruning criteria: a spec class per file that scores weights."""
