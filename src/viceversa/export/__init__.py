"""Translators as files for other runtimes: ONNX, OpenVINO, and packages for bioimage.io.

`graph` contains the network with the conversion from and to pixels, `exporting` compares the
results of a file with those of PyTorch, and the other modules write the formats.
"""
