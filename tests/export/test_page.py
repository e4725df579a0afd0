"""Pages without a server: bundling, files, refused models and options."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from support import command_exception, raises_user_error, small_model

from viceversa import Translator
from viceversa.checkpoint import read_header, read_weights, save_network
from viceversa.errors import UserError
from viceversa.export.onnxruntime_web import FILES
from viceversa.export.page import PageModel, page_model, write_page
from viceversa.images.domain import Domain, DomainConfig
from viceversa.page.bundle import bundle
from viceversa.page.examples import Example
from viceversa.page.models import NamedModel, named_models

RUNTIME = {name: name.encode() for name in FILES}
GREY_16 = Domain(DomainConfig(channels=1), "uint16", (0.0,), (65535.0,))
LIGHTNESS = Domain(DomainConfig(kind="lab-l"), low=(0.0,), high=(255.0,))
MANY = Domain(DomainConfig(kind="labels", ids=257), "uint16", (0.0,), (255.0,))


def loaded(path: Path, method: str = "pix2pix") -> PageModel:
    header = read_header(path) | {"trained": {"method": {"name": method}}}
    examples = [Example(b"tiff", "image/tiff"), Example(b"png", "image/png")]
    named, translator = NamedModel("mine", path, header, None), Translator.load(path, "cpu")
    return page_model(named, translator, examples)


# -- bundling


def test_modules_become_one_script_in_the_order_of_their_imports() -> None:
    script = bundle(
        {
            "main.js": 'import { one, Two } from "./parts.js";\nnew Two(one());\n',
            "parts.js": "// Parts.\nconst own = 1;\nexport const three = 3;\n"
            "export async function one() { return own; }\nexport class Two {}\n",
        }
    )
    assert script == (
        '"use strict";\n(() => {\nconst modules = {};\n'
        'modules["parts.js"] = (() => {\n// Parts.\nconst own = 1;\nconst three = 3;\n'
        "async function one() { return own; }\nclass Two {}\nreturn { three, one, Two };\n})();\n"
        'modules["main.js"] = (() => {\nconst { one, Two } = modules["parts.js"];\n'
        "new Two(one());\nreturn {  };\n})();\n})();\n"
    )


@pytest.mark.parametrize(
    "line",
    [
        "export default 1;",
        "export { one };",
        "export let one = 1;",
        'import * as one from "./other.js";',
        'import one from "./other.js";',
        "const one = import.meta.url;",
        'const one = await import("./other.js");',
    ],
)
def test_other_imports_and_exports_are_refused(line: str) -> None:
    with pytest.raises(ValueError, match=r"main\.js cannot be bundled"):
        bundle({"main.js": line, "other.js": ""})


def test_a_missing_export_is_refused() -> None:
    modules = {
        "main.js": 'import { one, two } from "./other.js";',
        "other.js": "export const one = 1;",
    }
    with pytest.raises(ValueError, match=r"main\.js: other\.js does not export two"):
        bundle(modules)


# -- files


def test_the_files_of_a_page(tmp_path: Path) -> None:
    """The description of a model cannot end its script, and contains no path."""
    model = loaded(small_model(tmp_path / "secret", Domain(), Domain()), "</script>")
    networks = {"mine": b"network"}
    for hosted in (True, False):
        folder = tmp_path / f"page-{hosted}"
        write_page([model], networks, RUNTIME, folder, hosted)
        ending = "" if hosted else ".b64.js"
        names = {
            file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()
        }
        assert names == {
            "index.html",
            "page/page.css",
            "page/page.js",
            "runtime/LICENSE.txt",
            "runtime/ort.wasm.min.js",
            f"runtime/loader.js{ending}",
            f"runtime/ort.wasm{ending}",
            f"models/mine.onnx{ending}",
            f"examples/mine/1.png{ending}",
        }
        html = (folder / "index.html").read_text()
        (listed,) = re.findall(r'<script type="application/json" id="models">(.*?)</script>', html)
        about = json.loads(listed)
        assert about["embedded"] is not hosted
        (described,) = about["models"]
        assert described["examples"] == ["1.png"]
        assert described["description"] == "</script>, A to B, unet"
        assert (described["name"], described["multiple"], described["smallest"]) == ("mine", 8, 8)
        assert "secret" not in html and str(tmp_path) not in html
        assert "'wasm-unsafe-eval'" in html and ("connect-src 'none'" in html) is not hosted
    assert (tmp_path / "page-True/models/mine.onnx").read_bytes() == b"network"
    text = (tmp_path / "page-False/models/mine.onnx.b64.js").read_text()
    assert text == ('(globalThis.embeddedFiles ??= {})["models/mine.onnx"] = "bmV0d29yaw==";\n')


def test_a_page_is_complete_or_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, folder = loaded(small_model(tmp_path, Domain(), Domain())), tmp_path / "page"
    write, count = Path.write_bytes, 0

    def failing(path: Path, data: bytes) -> int:
        nonlocal count
        count += 1
        if count == 4:
            raise OSError(28, "No space left on device")
        return write(path, data)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", failing)
        with pytest.raises(UserError, match="the disk is full"):
            write_page([model], {"mine": b""}, RUNTIME, folder, False)
    assert count == 4 and {one.name for one in tmp_path.iterdir()} == {"ab.safetensors"}


# -- refused


@pytest.mark.parametrize(
    ("source", "target", "problem"),
    [
        (LIGHTNESS, Domain(), "only models of images and label maps can be exported; the source"),
        (Domain(), MANY, "label maps of more than 256 classes cannot be exported"),
        (
            Domain(DomainConfig(channels=2), low=(0.0,) * 2, high=(255.0,) * 2),
            Domain(),
            "not 2 and 3",
        ),
        (Domain(), GREY_16, "results of 8 bits, not uint16"),
        (Domain(DomainConfig(nodata=0.0)), Domain(), "does not support pixels without data"),
    ],
)
def test_models_that_the_page_does_not_support(
    source: Domain, target: Domain, problem: str, tmp_path: Path, capsys: Any
) -> None:
    path = small_model(tmp_path, source, target)
    words = ("export", path, "--to", "page", "-o", tmp_path / "page", "--onnxruntime_web", tmp_path)
    error = command_exception(capsys, *words)
    assert problem in str(error) and (error.option, error.path) == ("--to", path)
    assert {one.name for one in tmp_path.iterdir()} == {"ab.safetensors"}


def test_a_model_of_16_bits_takes_images_of_8(tmp_path: Path) -> None:
    source = loaded(small_model(tmp_path, GREY_16, Domain())).translator.source
    assert (source.dtype, source.high) == ("uint8", (255.0,))


def test_options_that_do_not_fit(tmp_path: Path, capsys: Any) -> None:
    model, page = small_model(tmp_path, Domain(), Domain()), tmp_path / "page"

    def option(*words: object) -> str:
        error = command_exception(capsys, "export", *words)
        return f"{error.option}: {error}"

    assert option(model, "-o", "x.onnx", "--hosted").startswith(
        "--hosted: --hosted is for --to page"
    )
    named = option(model, "-o", "x.onnx", "--onnxruntime_web", model)
    assert named.startswith("--onnxruntime_web: --onnxruntime_web is for --to page")
    assert "only a page can have several" in option(model, model, "-o", "x.onnx")
    assert "name the models of the page" in option("--to", "page", "-o", page)
    named = option(model, "--to", "page", "-o", page, "--onnxruntime_web", tmp_path / "none.tgz")
    assert named.startswith("--onnxruntime_web: ") and not page.exists()


def test_only_pages_are_replaced(tmp_path: Path, capsys: Any) -> None:
    model, folder = small_model(tmp_path, Domain(), Domain()), tmp_path / "page"
    words = ("export", model, "--to", "page", "-o", folder, "--onnxruntime_web", "none.tgz")

    def problem(*more: object) -> str:
        error = command_exception(capsys, *words, *more)
        assert error.option == ("--onnxruntime_web" if "none.tgz: " in str(error) else "-o")
        return str(error)

    folder.write_text("")
    assert "is a file" in problem("--overwrite")
    folder.unlink()
    (folder / "photos").mkdir(parents=True)
    assert "contains other files" in problem("--overwrite")
    (folder / "page").mkdir()
    (folder / "page" / "page.js").write_text("")
    assert "contains other files" in problem("--overwrite")  # beside those of a page
    (folder / "photos").rmdir()
    assert "add --overwrite" in problem()
    assert "none.tgz: " in problem("--overwrite")  # the folder may be replaced
    shutil.rmtree(folder)
    folder.mkdir()
    assert "none.tgz: " in problem()  # an empty folder may be used


@pytest.mark.parametrize("direction", ["/../../escaped", 'x"]=1;alert(1);//', "", "aa"])
def test_a_model_with_another_direction_is_refused(direction: str, tmp_path: Path) -> None:
    """The name of a model contains it, and becomes the name of a file and a part of a script."""
    path = small_model(tmp_path, Domain(), Domain())
    header = read_header(path)
    assert named_models([f"m={path}"])[0].name == "m"
    save_network(path, read_weights(path), header | {"direction": direction})
    with raises_user_error(path=path):
        named_models([f"m={path}"])
