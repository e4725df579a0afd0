"""The command export."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from ..errors import UserError
from .app import command

SUFFIXES = {"onnx": ".onnx", "openvino": ".xml", "bioimageio": ".zip"}
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
    default, photos of a demo. The first one is the test image of a bioimageio package."""
    policy: Literal["image", "running"] = "image"
    """image: batch norm with the statistics of each image; running: with the running statistics."""
    flips: Switch = False
    """Average the outputs for each image and for its mirror images, as `translate --flips`."""
    overwrite: Switch = False
    """Replace an existing file, or a folder with a page."""
    int8: Switch = False
    """openvino: compute convolutions in INT8 (post-training quantization with nncf)."""
    calibrate: Path | None = None
    """int8: folder of images of the source domain (at most 80 are used). Three quarters calibrate
    the value ranges, the others measure the PSNR relative to fp32."""
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
    """page: write plain files for a static web server; by default, index.html opens as a file, and
    scripts contain the other files."""
    examples: Annotated[tuple[str, ...], Parameter(negative_iterable="")] = ()
    """page: example inputs that become part of it: a folder, file or glob; NAME=FOLDER for one
    model; repeat the option for several."""
    onnxruntime_web: Path | None = None
    """page: the archive of onnxruntime-web from npm, or its unpacked folder; by default, npm
    downloads it to the cache of the user."""

    @property
    def needing(self) -> dict[str, tuple[bool, str]]:
        """Options that need another one: whether they are given, and what they need."""
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
        """Raise UserError for options that do not belong together."""
        given = {f"--to {self.to}", "--int8" if self.int8 else ""}
        for option, (is_given, needed) in self.needing.items():
            if is_given and needed not in given:
                raise UserError(f"{option} is for {needed}; leave it out", option=option)
        if self.int8 and (self.to not in (None, "openvino") or out.suffix != ".xml"):
            raise UserError("--int8 is for OpenVINO; name the file .xml", option="--int8")
        if self.int8 and self.calibrate is None:
            text = "--int8 needs images of the source domain; add --calibrate FOLDER"
            raise UserError(text, option="--calibrate")


@command(
    ("export runs/photos/ab.safetensors -o model.onnx", "an ONNX file"),
    ("export runs/photos/ab.safetensors -o model.xml", "a file of OpenVINO"),
    ("export runs/photos/ab.safetensors -o model.onnx --images photos", "compared on own images"),
    ("export runs/photos/ab.safetensors -o model.xml --int8 --calibrate photos", "in INT8"),
    ("export runs/photos/ab.safetensors --to bioimageio -o model.zip", "a package for bioimage.io"),
    ("export runs/photos/ab.safetensors --to folder -o share", "the model and its card"),
    ("export runs/photos --to page -o page", "a page to draw on that works offline"),
)
def export(
    *models: str,
    out: Annotated[Path, Parameter(name=["--out", "-o"])],
    options: ExportOptions | None = None,
) -> None:
    """Write a generator as a file for other programs, or as a folder, or as a page.

    A file for ONNX Runtime or OpenVINO takes an array of images (n, height, width, channels) with
    the pixel values of image files, and returns translated images in the same layout: it contains
    the conversion to [-1, 1] and back. The batch size is free; height and width must be multiples
    of the number that the command prints. The results are compared with those of PyTorch before the
    file is written. `viceversa translate` accepts the file instead of the model. A bioimageio
    package contains an ONNX file, its description and test arrays, for the programs that read
    models of bioimage.io. A folder contains the model file, without paths of this machine, and
    README.md, the model card. A page is the page of `viceversa serve` without a server: its models
    compute in the browser.

    Parameters
    ----------
    models
        The model file of a generator, such as runs/NAME/ab.safetensors, or a run folder with one.
        A page can have several: model files and run folders, whose translators of both directions
        are used. NAME=PATH sets the name of a model of a page.
    out
        The file: model.onnx for ONNX, model.xml for OpenVINO, with the weights in model.bin next
        to it, or model.zip for bioimageio; or the folder.
    """
    options = options or ExportOptions()
    options.check(out)
    if options.to == "page":
        from .page import export_page

        return export_page(models, out, options)
    if len(models) != 1:
        raise UserError("name one model, such as runs/NAME/ab.safetensors; only a page has several")
    model = Path(models[0])
    if options.to == "folder":
        return _folder(model, out, options)
    _check_name(out, options.to)
    for file in (out, out.with_suffix(".bin")) if out.suffix == ".xml" else (out,):
        if file.exists() and not options.overwrite:
            raise UserError(f"{file} exists; add --overwrite to replace it", option="-o", path=file)
    from ..checkpoint import read_digest, read_header, translator_file
    from ..data.readonly import refuse_output_in_data, training_data
    from ..export.exporting import export as write_file
    from ..export.exporting import sample_images
    from ..inference import Translator
    from ..networks.sizes import multiple_of
    from .export_images import export_int8, read_images

    path = translator_file(model)
    header = read_header(path)
    refuse_output_in_data(out, training_data(header, path), "-o")
    translator = Translator.load(path, "cpu", options.policy, flips=options.flips)
    if options.images is None:
        compared, what = sample_images(translator)
    else:
        compared = read_images(translator, options.images)
        what = f"{len(compared)} images of {options.images}"
    header["model"] = read_digest(path)
    if options.to == "bioimageio":
        from .model_package import write_package

        found = write_package(translator, path, header, out, compared, options)
    elif options.int8:
        found = export_int8(translator, header, out, compared, options)
    else:
        found = write_file(translator, header, out, compared)
    if options.to != "bioimageio":
        multiple = multiple_of(translator.network)
        print(f"{out}: height and width of images must be multiples of {multiple}")
    before = " before quantization" if options.int8 else ""
    print(
        f"compared with PyTorch{before}, {what}, {found.images} results: the largest difference is "
        f"{found.largest:.2g} of the range, {found.changed:.1g} of the values differ"
    )


def _folder(model: Path, out: Path, options: ExportOptions) -> None:
    """Write a folder with a model and its card. Raises UserError."""
    from ..checkpoint import read_header, translator_file
    from ..data.readonly import refuse_output_in_data, training_data
    from .model_folder import write_folder

    if options.images or options.flips or options.policy != "image":
        text = "--images, --policy and --flips do not change a model file; leave them out"
        raise UserError(text, option="--to")
    if out.exists() and not out.is_dir():
        raise UserError(f"-o {out} is a file; name a folder", option="-o", path=out)
    path = translator_file(model)
    refuse_output_in_data(out, training_data(read_header(path), path), "-o")
    write_folder(path, out, options.overwrite)
    print(f"{out}: the model and its card")


def _check_name(out: Path, to: str | None) -> None:
    """Raise UserError if the name of a file does not fit the format."""
    if to is not None and out.suffix != SUFFIXES[to]:
        raise UserError(f"-o {out}: name the file {SUFFIXES[to]}", option="-o", path=out)
    if to is None and out.suffix not in (".onnx", ".xml"):
        text = f"-o {out}: name the file .onnx, or .xml for OpenVINO"
        raise UserError(text, option="-o", path=out)
