"""Network architectures: a spec class per file, its torch module beside it."""
