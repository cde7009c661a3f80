"""Self-distillation: a spec class per file, a loss by which a network learns from itself."""
