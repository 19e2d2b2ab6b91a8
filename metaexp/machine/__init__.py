"""Devices, processes, signals and memory; the only room that knows torch.distributed."""
