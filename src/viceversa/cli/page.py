"""The format `page` of `viceversa export`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..errors import UserError
from ..files import format_bytes
from .export_options import ExportOptions

PARTS = {"index.html", "page", "runtime", "models", "examples"}  # of the folder of a page


def export_page(models: Sequence[str], out: Path, options: ExportOptions) -> None:
    """Write a page. Raises UserError."""
    if not models:
        raise UserError("name the models of the page, such as runs/NAME/ab.safetensors")
    _check_folder(out, options.overwrite)
    from ..data.readonly import refuse_output_in_data, training_data
    from ..export.exporting import sample_images
    from ..export.onnxruntime_web import read_runtime
    from ..export.page import export_models, page_model, write_page
    from ..inference import Translator
    from ..page.examples import example_inputs, read_examples
    from ..page.models import named_models
    from .export_images import read_images

    all_named = named_models(models)
    inputs = example_inputs(options.examples, all_named, demos=False)
    found = []
    for named in all_named:
        refuse_output_in_data(out, training_data(named.header, named.path), "-o")
        translator = Translator.load(named.path, "cpu", options.policy, flips=options.flips)
        found.append(page_model(named, translator, read_examples(inputs[named.name], translator)))
    runtime = read_runtime(options.onnxruntime_web)
    given = options.images
    compared = [
        read_images(one.translator, given) if given else sample_images(one.translator)[0]
        for one in found
    ]
    networks, deviations = export_models(found, compared)
    write_page(found, networks, runtime, out, options.hosted)
    size = sum(file.stat().st_size for file in out.rglob("*") if file.is_file())
    print(f"{out}: a page of {format_bytes(size)}; {_how_to_open(out, options.hosted)}")
    for model, one in zip(found, deviations, strict=True):
        print(
            f"{model.named.name} compared with PyTorch, {one.images} results: the largest "
            f"difference is {one.largest:.2g} of the range"
        )


def _how_to_open(out: Path, hosted: bool) -> str:
    return "let a web server deliver it" if hosted else f"open {out / 'index.html'} in a browser"


def _check_folder(out: Path, overwrite: bool) -> None:
    """Raise UserError if the folder exists and is not a page, or may not be replaced."""
    if not out.exists():
        return
    if not out.is_dir():
        raise UserError(f"-o {out} is a file; name a folder", option="-o", path=out)
    others = sorted({path.name for path in out.iterdir()} - PARTS)
    if others or (any(out.iterdir()) and not (out / "page" / "page.js").is_file()):
        first = f" ({others[0]})" if others else ""
        text = f"-o {out} contains other files{first}; name a new folder"
        raise UserError(text, option="-o", path=out)
    if any(out.iterdir()) and not overwrite:
        raise UserError(f"{out} exists; add --overwrite to replace it", option="-o", path=out)
