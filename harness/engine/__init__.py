"""What turns losses into updates on many ranks: DeepSpeed, and plain DDP as its oracle."""
