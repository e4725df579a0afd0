"""Options of `viceversa translate`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from ..config.speed import InferencePrecision, InferenceStatistics
from ..networks.config import Policy

Switch = Annotated[bool, Parameter(negative="")]


@Parameter(name="*")
@dataclass(frozen=True)
class TranslateOptions:
    """Options of `viceversa translate` that have a default, in the order of its help."""

    policy: Policy = "image"
    """image: batch norm with the statistics of each image, no dropout; running: with the running
    statistics of training, no dropout; paper: like image, but with dropout (pix2pix, sec. 3.4)."""
    size: str = "own"
    """own: the size of the file; trained: resized as in training, but not cropped; or pixels: 256
    for a square, 256,512 for height,width."""
    half: Literal["left", "right", "whole"] | None = None
    """Half of side-by-side files to translate, or whole."""
    overwrite: Switch = False
    """Replace existing results. Input images are never replaced."""
    resume: Switch = False
    """Continue an interrupted translation: skip existing results of the same image, model and
    options."""
    batch_size: int = 8
    """Number of images of one size, or of frames, translated at once."""
    max_megapixels: int = 64
    """Size limit of images, in megapixels."""
    memory: float | None = None
    """Memory that an image may need, in GB; half of the free memory by default. An image that needs
    more is translated in bands of rows with temporary files; the result is the same within
    rounding. Ensembles, --flips, exported files and networks with unknown layers use overlapping
    tiles instead."""
    statistics: InferenceStatistics = "exact"
    """Statistics of norms. For images that do not fit into the memory: exact (statistics of the
    whole image, in several passes), sampled (statistics of up to 64 crops, in one pass without
    temporary files) or tile (overlapping tiles, each with its own statistics, so that borders may
    be visible). Networks that cannot be computed in bands always use tiles for them. For all
    images: window (statistics of windows around each pixel, as large as the crops in training)."""
    statistics_from: Path | None = None
    """A file or folder of images whose crops give the statistics of norms. All images are then
    translated with the same statistics, which is useful for parts of one slide or series."""
    scratch: Path | None = None
    """Folder for temporary files of images that are translated in bands; by default the folder of
    the result."""
    device: str = "auto"
    """auto, or a torch device such as cpu or cuda."""
    precision: InferencePrecision = "fp32"
    """Precision of the network: fp32; bf16 or fp16 (faster on some devices, less accurate); auto:
    bf16 if results have 8 bits and the device supports it natively, else fp32."""
    runtime: Literal["torch", "onnx", "openvino"] | None = None
    """Runtime of the network: torch, or on the CPU onnx (ONNX Runtime) or openvino. By default
    torch; for a file of `viceversa export`, the runtime of the file."""
    ray: str | None = None
    """Translate with the workers of a Ray cluster: local (started on this machine), auto (the
    cluster that runs on this machine) or its address, such as 10.0.0.1:6379. All machines need
    the same paths."""
    seed: int = 0
    """Seed of the dropout of policy paper."""
    flips: Switch = False
    """Test-time augmentation: average the outputs for each image and for its mirror images."""
    spread: Switch = False
    """Also write the spread of an ensemble or of --flips, the standard deviation of the outputs at
    each pixel: NAME.spread.png (white is a quarter of the value range or more, to compare images)
    and NAME.spread-view.png (white is the largest value of the image, to view it)."""
    masks: Path | None = None
    """Folder of mask images with the names of the images: where a mask is 0, there is no data."""
    alpha: Switch = False
    """Copy the alpha channel of each image to its result, if the result has the same size and a
    format that stores alpha (PNG, WebP, TIFF)."""
    format: str | None = None
    """Format of the results in a folder, such as png, jpg, webp or tif; by default, the format
    of each image if it can store the result."""
    codec: Literal["libx264", "libvpx-vp9", "ffv1"] | None = None
    """Codec of videos: libx264 (H.264; default for .mp4, .mov and .mkv), libvpx-vp9 (VP9; default
    for .webm) or ffv1 (lossless, .mkv)."""
    crf: int | None = None
    """Quality of videos, lower is better: 0 to 51 for libx264 (default 18), 0 to 63 for libvpx-vp9
    (default 24)."""
