"""Translators as files for other runtimes: ONNX, OpenVINO, packages for
bioimage.io, and pages without a server.

`graph` contains the network with the conversion from and to pixels, `exporting` compares the
results of a file with those of PyTorch, and the other modules write the formats.
"""
