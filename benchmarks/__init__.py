"""Recipes only: each module holds functions that return complete suites, listed in its `SUITES`, the default first."""
