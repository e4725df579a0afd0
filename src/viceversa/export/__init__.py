"""Translators as files for other runtimes: ONNX.

`graph` contains the network with the conversion from and to pixels, `onnx_file` writes the file and
compares its results with those of PyTorch.
"""
