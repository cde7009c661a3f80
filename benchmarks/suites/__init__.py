"""What all benchmarks make their suites with; a folder, because every file of `benchmarks/` itself is a benchmark."""
