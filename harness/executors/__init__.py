"""Where stages run: on Slurm, in local processes, or in this one."""
