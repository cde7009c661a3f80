"""The tables of No & Park (ECCV 2022), for any data set: used by the benchmarks beside this folder."""
