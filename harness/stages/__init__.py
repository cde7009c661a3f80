"""The stages of a pipeline: a spec class per file."""
