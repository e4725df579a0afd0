"""Devices, precision, speed, random numbers, signals and distributed training.

Import from the modules: `device` is all that inference needs, `training` and `distributed` are for
training. Only this package imports torch.distributed.
"""
