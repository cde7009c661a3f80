"""What each rank of the all-reduce test runs: prints its host, the world size and the sum of 1 .. world over gloo."""

import socket
from datetime import timedelta

import torch
from torch import distributed

from harness import topology

here = topology.detect()
distributed.init_process_group(
    "gloo",
    init_method=f"tcp://{here.master_address}:{here.master_port}",
    rank=here.rank,
    world_size=here.world,
    timeout=timedelta(seconds=60),
)
total = torch.tensor([here.rank + 1])
distributed.all_reduce(total)
print(socket.gethostname(), here.world, total.item())
distributed.destroy_process_group()
