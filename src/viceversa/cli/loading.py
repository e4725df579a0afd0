"""Load the translator that the options of `viceversa translate` request."""

from __future__ import annotations

from pathlib import Path

from ..checkpoint import read_header
from ..checkpoint.exported import is_exported
from ..environment import launched
from ..errors import UserError
from ..inference import Translator
from ..inference.exported import format_of
from ..runtime.device import local_device
from .translate_options import TranslateOptions


def load_translator(model: Path, options: TranslateOptions) -> Translator:
    """Load the translator of a model file or an exported file. Raises UserError."""
    runtime, process = _other_runtime(model, options), launched()
    if runtime is not None:
        device = "cpu"
    elif is_exported(model):
        device = options.device
    else:
        device = local_device(options.device, process.local, process.size)
    translator = Translator.load(
        model,
        device,
        options.policy,
        options.seed,
        options.max_megapixels,
        options.size,
        options.flips,
        options.precision if runtime is None else "fp32",
    )
    if runtime is None:
        return translator
    from ..export.exporting import with_runtime

    return with_runtime(translator, read_header(model), runtime)


def _other_runtime(model: Path, options: TranslateOptions) -> str | None:
    """Return the runtime to export a model file to, or None for no export. Raises UserError."""
    runtime, own = options.runtime, format_of(model).name if is_exported(model) else "torch"
    if runtime in (None, own):
        return None
    if own != "torch":
        raise UserError(
            f"{model} is a file for --runtime {own}; name the .safetensors file for others",
            option="--runtime",
            path=model,
        )
    if options.precision not in ("auto", "fp32"):
        raise UserError(
            f"--runtime {runtime} computes in fp32; leave out --precision", option="--precision"
        )
    if options.device not in ("auto", "cpu"):
        raise UserError(f"--runtime {runtime} uses the CPU; leave out --device", option="--device")
    if options.spread:
        raise UserError(
            f"--runtime {runtime} computes one output for an image; leave out --spread",
            option="--spread",
        )
    return runtime
