"""The command export."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from ..errors import UserError
from .app import command
from .export_options import ExportOptions

SUFFIXES = {"onnx": ".onnx", "openvino": ".xml", "bioimageio": ".zip"}


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
    package contains an ONNX file, its description and test arrays, for programs that read models of
    bioimage.io. A folder contains the model file, without paths of this machine, and README.md, the
    model card. A page is the page of `viceversa serve`, but its models compute in the browser, so
    that it needs no server.

    Parameters
    ----------
    models
        The model file of a generator, such as runs/NAME/ab.safetensors, or a run folder with one
        generator. A page can have several models: model files and run folders, whose translators
        of both directions are used. NAME=PATH sets the name of a model of a page.
    out
        The file to write: model.onnx for ONNX, model.xml for OpenVINO (the weights are in model.bin
        in the same folder), or model.zip for bioimageio; for other formats, the folder.
    """
    options = options or ExportOptions()
    options.check(out)
    if options.to == "page":
        from .page import export_page

        return export_page(models, out, options)
    if len(models) != 1:
        raise UserError("name one model (runs/NAME/ab.safetensors); only a page can have several")
    model = Path(models[0])
    if options.to == "folder":
        return _folder(model, out, options)
    return _file(model, out, options)


def _file(model: Path, out: Path, options: ExportOptions) -> None:
    """Write a file for other programs, and print its comparison with PyTorch. Raises UserError."""
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
