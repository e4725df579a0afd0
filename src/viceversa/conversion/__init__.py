"""Weights of other implementations: junyanz/pytorch-CycleGAN-and-pix2pix, CUT and pix2pixHD.

`architecture` recognizes a network by the names and shapes of its tensors, `weights` renames them,
`options` reads what was saved beside them, and `importing` and `exporting` read and write folders.
"""
