"""Metrics of images: functions of tensors, and the table of all of them.

Images are (n, c, h, w) in [-1, 1]; the result of a metric of single images is (n,). The functions
are in the modules `paired`, `edges`, `perceptual`, `sliced`, `distribution` and `labels`; importing
this package or `registry` loads no torch.
"""
