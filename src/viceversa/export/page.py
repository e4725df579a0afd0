"""Write the page to draw on as a folder, with models that compute in the browser."""

from __future__ import annotations

import base64
import copy
import json
import tempfile
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import UserError
from ..files import folder_atomically, writing_errors
from ..inference import Translator
from ..networks.sizes import smallest_of
from ..page.bundle import bundle
from ..page.examples import Example
from ..page.models import NamedModel, describe
from .exporting import Deviation, Pixels, export
from .graph import unsupported
from .onnxruntime_web import LOADER, SCRIPT, VERSION, WASM

CHANNELS = (1, 3, 4)  # numbers of channels that PNG supports
MODULES, STYLE = '<script type="module" src="page/main.js"></script>', "page/page.css"
POLICY = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'{scripts}; style-src 'self'{files}; "
    "img-src 'self'{files} blob: data:; connect-src {connect}; form-action 'none'; base-uri 'none'"
)
HOSTED = POLICY.format(scripts="", files="", connect="'self'")
EMBEDDED = POLICY.format(scripts=" file: blob:", files=" file:", connect="'none'")
LICENCE = f"""\
The files in this folder are those of onnxruntime-web {VERSION}, in part as Base64.

Copyright (c) Microsoft Corporation

Permission is hereby granted, free of charge, to any person obtaining a copy of this software
and associated documentation files (the "Software"), to deal in the Software without
restriction, including without limitation the rights to use, copy, modify, merge, publish,
distribute, sublicense, and/or sell copies of the Software, and to permit persons to whom the
Software is furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or
substantial portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING
BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND
NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM,
DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM,
OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
"""


class PageModel(NamedTuple):
    """A model of a page."""

    named: NamedModel
    translator: Translator
    """Translator on the CPU, for 8-bit images."""
    examples: dict[str, bytes]
    """Example inputs by name, as PNG files."""


def page_model(
    model: NamedModel, translator: Translator, examples: Sequence[Example] = ()
) -> PageModel:
    """Return a model for a page. Raises UserError if the page does not support it.

    Args:
        model: The model file.
        translator: The translator of this file, on the CPU.
        examples: Example inputs of the model. Examples that are not PNG files are not used.
    """
    if problem := unsupported(translator) or _unsupported_by_page(translator):
        raise UserError(f"{model.path}: {problem}", option="--to", path=model.path)
    eight_bit = copy.copy(translator)
    eight_bit.source = translator.source.of_dtype("uint8")  # Translator does the same
    files = [one.content for one in examples if one.media_type == "image/png"]
    return PageModel(
        model, eight_bit, {f"{number}.png": one for number, one in enumerate(files, start=1)}
    )


def _unsupported_by_page(translator: Translator) -> str:
    """Return the reason why the page does not support a translator, or ""."""
    source, target = translator.source, translator.target
    channels = source.config.file_channels, target.config.file_channels
    if not set(channels) <= set(CHANNELS):
        return f"the page supports 1, 3 or 4 channels, not {channels[0]} and {channels[1]}"
    if target.dtype != "uint8":
        return f"the page supports results of 8 bits, not {target.dtype}"
    return "the page does not support pixels without data" if source.may_lack_data else ""


def export_models(
    models: Sequence[PageModel], images: Sequence[Sequence[Pixels]]
) -> tuple[dict[str, bytes], list[Deviation]]:
    """Return the models as ONNX files by name, and their deviations from PyTorch.

    Args:
        models: The models.
        images: For each model, images to compare results with.

    Raises:
        UserError: See `export`.
    """
    files, deviations = {}, []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        for model, compared in zip(models, images, strict=True):
            # No header: it may contain paths of this machine.
            deviations.append(export(model.translator, {}, path, compared))
            files[model.named.name] = path.read_bytes()
    return files, deviations


def write_page(
    models: Sequence[PageModel],
    networks: Mapping[str, bytes],
    runtime: Mapping[str, bytes],
    folder: Path,
    hosted: bool,
) -> None:
    """Write a page.

    Args:
        models: The models.
        networks: The ONNX files of the models by name.
        runtime: The files of onnxruntime-web by name.
        folder: The folder of the page. An existing folder is replaced. If writing fails, the folder
            does not exist, or is unchanged.
        hosted: Whether a web server will deliver the page. Otherwise scripts contain the models and
            the runtime, so that the page can be opened as a file.

    Raises:
        UserError: The folder could not be written.
    """
    contents = page_files(models, hosted)
    contents["runtime/ort.wasm.min.js"] = runtime[SCRIPT]
    contents["runtime/LICENSE.txt"] = LICENCE.encode()
    large = {"runtime/loader.js": runtime[LOADER], "runtime/ort.wasm": runtime[WASM]}
    large |= {f"models/{name}.onnx": content for name, content in networks.items()}
    for model in models:
        folder_name = f"examples/{model.named.name}"
        large |= {f"{folder_name}/{name}": file for name, file in model.examples.items()}
    for name, content in large.items():
        contents |= {name: content} if hosted else {f"{name}.b64.js": embedded(name, content)}
    with folder_atomically(folder) as new, writing_errors(folder):
        for name, content in contents.items():
            (new / name).parent.mkdir(parents=True, exist_ok=True)
            (new / name).write_bytes(content)


def page_files(models: Sequence[PageModel], hosted: bool) -> dict[str, bytes]:
    """Return the files of a page by name, without the models and the runtime."""
    page = resources.files("viceversa") / "page"
    modules = {
        path.name: path.read_text("utf-8")
        for path in (page / "web").iterdir()
        if path.name.endswith(".js")
    }
    modules["service.js"] = (page / "session.js").read_text("utf-8")
    about = {"embedded": not hosted, "models": [_describe(model) for model in models]}
    listed = json.dumps(about).replace("<", "\\u003c")  # so that the text cannot end the script
    html, head = (page / "web" / "index.html").read_text("utf-8"), '<meta charset="utf-8">'
    policy = HOSTED if hosted else EMBEDDED
    scripts = (
        f'<script type="application/json" id="models">{listed}</script>\n'
        '<script defer src="page/page.js"></script>'
    )
    assert html.count(MODULES) == html.count(head) == 1
    html = html.replace(MODULES, scripts)
    html = html.replace(
        head, f'{head}\n<meta http-equiv="Content-Security-Policy" content="{policy}">'
    )
    return {
        "index.html": html.encode(),
        "page/page.js": bundle(modules).encode(),
        STYLE: (page / "web" / "page.css").read_bytes(),
    }


def embedded(name: str, content: bytes) -> bytes:
    """Return a script that contains a file as Base64."""
    text = base64.b64encode(content)
    return b'(globalThis.embeddedFiles ??= {})["%s"] = "%s";\n' % (name.encode(), text)


def _describe(model: PageModel) -> dict[str, Any]:
    return {
        **describe(model.named, model.translator),
        "smallest": smallest_of(model.translator.network),
        "examples": list(model.examples),
    }
