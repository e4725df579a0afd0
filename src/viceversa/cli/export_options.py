"""Options of `viceversa export`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from ..errors import UserError

Switch = Annotated[bool, Parameter(negative="")]


@Parameter(name="*")
@dataclass(frozen=True)
class ExportOptions:
    """Options of `viceversa export` that have a default, in the order of its help."""

    to: Literal["onnx", "openvino", "bioimageio", "folder", "page"] | None = None
    """The format: onnx, openvino, bioimageio, folder or page; by default, the name of the file
    selects onnx or openvino."""
    images: Path | None = None
    """An image, or a folder of images (at most 20 are used), for the comparison with PyTorch; by
    default, photos of a demo. The first image is the test image of a bioimageio package."""
    policy: Literal["image", "running"] = "image"
    """image: batch norm with the statistics of each image; running: with the running statistics."""
    flips: Switch = False
    """Average the outputs for each image and its mirror images, like `translate --flips`."""
    overwrite: Switch = False
    """Replace an existing file, or a folder with a page."""
    int8: Switch = False
    """openvino: compute convolutions in INT8 (post-training quantization with nncf)."""
    calibrate: Path | None = None
    """int8: folder of images of the source domain (at most 80 are used). Three quarters of
    them calibrate the value ranges, the others measure the PSNR relative to fp32."""
    anyway: Switch = False
    """int8: write the file even if the PSNR is below 30 dB."""
    license: str | None = None
    """bioimageio: the licence of the model, as an SPDX identifier such as CC-BY-4.0."""
    author: Annotated[tuple[str, ...], Parameter(negative_iterable="")] = ()
    """bioimageio: name of an author; repeat the option for several authors."""
    description: str | None = None
    """bioimageio: description of the model; by default, its method, direction and data."""
    halo: int | None = None
    """bioimageio: pixels at the borders of tiles that are cropped; by default, the receptive field
    of the network."""
    hosted: Switch = False
    """page: write plain files for a static web server; by default, index.html can be opened
    as a file, and scripts contain the other files."""
    examples: Annotated[tuple[str, ...], Parameter(negative_iterable="")] = ()
    """page: example inputs that become part of it: a folder, file or glob; NAME=FOLDER for one
    model; repeat the option for several."""
    onnxruntime_web: Path | None = None
    """page: the archive of onnxruntime-web from npm, or its unpacked folder; by default, npm
    downloads the package to the cache of the user."""

    @property
    def needing(self) -> dict[str, tuple[bool, str]]:
        """Return options that need another option: whether they are given, and what they need."""
        package = "--to bioimageio"
        return {
            "--license": (self.license is not None, package),
            "--author": (bool(self.author), package),
            "--description": (self.description is not None, package),
            "--halo": (self.halo is not None, package),
            "--calibrate": (self.calibrate is not None, "--int8"),
            "--anyway": (self.anyway, "--int8"),
            "--hosted": (self.hosted, "--to page"),
            "--examples": (bool(self.examples), "--to page"),
            "--onnxruntime_web": (self.onnxruntime_web is not None, "--to page"),
        }

    def check(self, out: Path) -> None:
        """Raise UserError for options that cannot be combined."""
        given = {f"--to {self.to}", "--int8" if self.int8 else ""}
        for option, (is_given, needed) in self.needing.items():
            if is_given and needed not in given:
                raise UserError(f"{option} is for {needed}; leave it out", option=option)
        if self.int8 and (self.to not in (None, "openvino") or out.suffix != ".xml"):
            raise UserError("--int8 is for OpenVINO; name the file .xml", option="--int8")
        if self.int8 and self.calibrate is None:
            text = "--int8 needs images of the source domain; add --calibrate FOLDER"
            raise UserError(text, option="--calibrate")
