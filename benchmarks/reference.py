"""Models of the public implementation (junyanz/pytorch-CycleGAN-and-pix2pix), for comparison."""

from __future__ import annotations

import sys
from argparse import Namespace
from typing import Any

import torch


def depth(size: int) -> int:
    """Return the depth of the U-Net: 8 at 256 px, so that the bottleneck has 1 pixel."""
    return min(8, (size & -size).bit_length() - 1)


def reference_model(
    path: str, method: str, width: int, size: int, device: str, epochs: int = 200
) -> tuple[Any, dict[str, Any]]:
    """Return a model of the public implementation with its defaults and initial weights.

    Args:
        path: Checkout of the public implementation.
        method: `pix2pix` or `cyclegan`.
        width: Channels of the first layer of each network.
        size: Side of the images in pixels.
        device: The device.
        epochs: Number of epochs; the learning rate decays in the second half.

    Returns:
        The model, and the options that depend on the method.
    """
    if path not in sys.path:
        sys.path.insert(0, path)
    import models.cycle_gan_model
    import models.pix2pix_model

    common = {
        "isTrain": True,
        "checkpoints_dir": "unused",
        "name": "unused",
        "preprocess": "none",
        "device": torch.device(device),
        "direction": "AtoB",
        "input_nc": 3,
        "output_nc": 3,
        "ngf": width,
        "ndf": width,
        "n_layers_D": 3,
        "netD": "basic",
        "init_type": "normal",
        "init_gain": 0.02,
        "lr": 2e-4,
        "beta1": 0.5,
        "lr_policy": "linear",
        "epoch_count": 1,
        "n_epochs": epochs // 2,
        "n_epochs_decay": epochs - epochs // 2,
        "continue_train": False,
        "verbose": False,
    }
    if method == "pix2pix":
        own: dict[str, Any] = {
            "netG": f"unet_{2 ** depth(size)}",
            "norm": "batch",
            "no_dropout": False,
            "gan_mode": "vanilla",
            "lambda_L1": 100.0,
        }
        model = models.pix2pix_model.Pix2PixModel(Namespace(**common, **own))
    else:
        own = {
            "netG": "resnet_9blocks",
            "norm": "instance",
            "no_dropout": True,
            "gan_mode": "lsgan",
            "lambda_A": 10.0,
            "lambda_B": 10.0,
            "lambda_identity": 0.5,
            "pool_size": 50,
        }
        model = models.cycle_gan_model.CycleGANModel(Namespace(**common, **own))
    model.setup(model.opt)
    return model, own
