"""The tables of EPSD (Chen et al., AAAI 2024), for any data set: used by the benchmarks beside this folder."""
