"""Test datasets open_datasets for training: fitted domains, and the values of batches."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from bad_files import bad_files
from PIL import Image

from viceversa.checkpoint import read_header
from viceversa.config.recipes import merge, read_recipe
from viceversa.config.run import RunConfig, resolve
from viceversa.data import DataConfig
from viceversa.data.open import Datasets, open_data
from viceversa.errors import UserError
from viceversa.images import Pixels, read, write
from viceversa.images.domain import DomainConfig
from viceversa.inference import Translator
from viceversa.training import loop as training


def ramp(
    low: float, high: float, dtype: str = "uint16", channels: int = 1, size: int = 32
) -> Pixels:
    values = np.linspace(low, high, size * size * channels).reshape(size, size, channels)
    return values.astype(dtype)


def pairs(root: Path, a: list[Pixels], b: list[Pixels], suffix: str = ".tif") -> Path:
    for domain, images in (("A", a), ("B", b)):
        for number, pixels in enumerate(images):
            write(root / domain / f"{number}{suffix}", pixels)
    return root


def open_datasets(root: Path, notes: list[str] | None = None, **data: Any) -> Datasets:
    config = DataConfig(path=str(root), **{"preprocess": "none", "flip": False, **data})
    report = notes.append if notes is not None else (lambda text: None)
    return open_data(config, True, 0, root.parent / "run", report)


def grey(**more: Any) -> DomainConfig:
    return DomainConfig(channels=1, **more)


@pytest.fixture
def deep(tmp_path: Path) -> Path:
    """Two pairs: A of 16 bits, with values from 100 to 4000; B of floats, from -2 to 6."""
    return pairs(
        tmp_path / "set",
        [ramp(100, 3000), ramp(200, 4000)],
        [ramp(-2, 3, "float32"), ramp(0, 6, "float32")],
    )


@pytest.mark.parametrize(
    ("value_range", "low", "high"),
    [
        ("dtype", 0.0, 65535.0),
        ("minmax", 100.0, 4000.0),
        ((50.0, 5000.0), 50.0, 5000.0),
        ("0,8000", 0.0, 8000.0),
    ],
)
def test_range_defines_the_values_mapped_to_minus_one_and_one(
    deep: Path, value_range: Any, low: float, high: float
) -> None:
    data = open_datasets(deep, a=grey(range=value_range), b=grey(range="minmax"))
    domain_a, domain_b = data.train.domains.values()
    assert (domain_a.dtype, domain_a.low, domain_a.high) == ("uint16", (low,), (high,))
    assert (domain_b.dtype, domain_b.low, domain_b.high) == ("float32", (-2.0,), (6.0,))
    source, _ = data.train.first()
    index = data.train.indices(1, 0)[0]
    first, last = ((v - low) / (high - low) * 2 - 1 for v in ((100, 3000), (200, 4000))[index])
    assert float(source[0, 0, 0]) == pytest.approx(first, abs=1e-5)
    assert float(source[0, -1, -1]) == pytest.approx(last, abs=1e-5)


def test_percentiles_ignore_outliers(tmp_path: Path) -> None:
    spotted = ramp(1000, 2000)
    spotted[0, 0] = 65535  # a hot pixel
    root = pairs(tmp_path / "set", [spotted] * 2, [spotted] * 2)
    config = grey(range="percentiles", percentiles=(1.0, 99.0))
    data = open_datasets(root, a=config, b=grey(range="minmax"))
    domain_a, domain_b = data.train.domains.values()
    assert domain_a.low[0] == pytest.approx(1010, abs=2)
    assert domain_a.high[0] == pytest.approx(1990, abs=2)
    assert domain_b.high == (65535.0,)  # negative control: minmax includes the outlier
    source, target = data.train.first()
    assert source.max() == 1.0 and source.std() > 0.4 and target.std() < 0.1


def test_each_channel_and_each_half_has_its_own_range(tmp_path: Path) -> None:
    left = np.concatenate([ramp(0, 10), ramp(0, 200), ramp(5, 500)], axis=2)
    right = np.concatenate([ramp(1, 99), ramp(7, 77), ramp(8, 88)], axis=2)
    write(tmp_path / "set" / "x.tif", np.concatenate([left, right], axis=1))
    config = DomainConfig(channels=3, range="minmax")
    domain_a, domain_b = open_datasets(tmp_path / "set", a=config, b=config).train.domains.values()
    assert (domain_a.low, domain_a.high) == ((0, 0, 5), (10, 200, 500))
    assert (domain_b.low, domain_b.high) == ((1, 7, 8), (99, 77, 88))


def test_what_has_no_range_is_refused_by_option(deep: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"values of B.*data\.b\.range|data\.b\.range|no range"):
        open_datasets(deep, a=grey(), b=grey())
    flat = pairs(tmp_path / "flat", [ramp(5, 5)] * 2, [ramp(0, 9)] * 2)
    with pytest.raises(UserError, match=r"set data\.a\.range to numbers"):
        open_datasets(flat, a=grey(range="minmax"), b=grey(range="minmax"))


def test_mixed_depths_need_a_range_in_numbers(tmp_path: Path) -> None:
    root = pairs(tmp_path / "set", [ramp(0, 255, "uint8"), ramp(0, 4000)], [ramp(0, 9)] * 2)
    with pytest.raises(UserError, match=r"A"):
        open_datasets(root, a=grey(), b=grey())
    data = open_datasets(root, a=grey(range=(0.0, 4000.0)), b=grey())
    assert data.train.domains["a"].dtype == "uint16"  # which holds 8 bits too
    for position in range(2):
        index = data.train.indices(1, position)[0]
        batch = data.train.batch([(1, position)], torch.device("cpu"))
        assert batch is not None
        highest = (255, 4000)[index] / 4000 * 2 - 1
        assert float(batch[0].max()) == pytest.approx(highest, abs=1e-3)


def test_unknown_class_is_refused_before_training(tmp_path: Path) -> None:
    maps = [np.full((32, 32, 3), 255, np.uint8) for _ in range(3)]
    maps[1][4, 5] = (255, 254, 255)
    maps[2][:] = 0
    root = pairs(tmp_path / "set", [ramp(0, 255, "uint8")] * 3, maps, ".png")
    labels = DomainConfig(kind="labels", classes=("#ffffff", "#000000"))
    with pytest.raises(UserError, match=r"B/1\.png contains the colour #fffeff"):
        open_datasets(root, a=grey(), b=labels)
    tolerant = DomainConfig(kind="labels", classes=("#ffffff", "#000000"), tolerance=1)
    _, target = open_datasets(root, a=grey(), b=tolerant).train.first()
    assert target.shape[0] == 2 and set(target.unique().tolist()) == {-1.0, 1.0}


def test_files_that_are_not_read_are_reported_before_training(tmp_path: Path) -> None:
    images = [ramp(0, 255, "uint8", 3)] * 2
    root = pairs(tmp_path / "set", images, [255 - image for image in images], ".png")
    for name in ("A/7.dcm", "A/8.dcm", "B/7.dcm", "B/8.dcm", "B/9", "notes.txt"):
        (root / name).touch()
    notes: list[str] = []
    open_datasets(root, notes)
    not_read = [note for note in notes if "not read" in note]
    assert not_read == [
        "warning: files ending in .dcm, which are not read: 4 (A/7.dcm, A/8.dcm, B/7.dcm and 1 "
        "more)",
        "warning: files without an ending, which are not read: 1 (B/9)",
    ]
    assert next(note for note in notes if "notes.txt" in note).startswith("note: ")


def test_photos_are_split_into_lightness_and_colour(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for number in range(3):
        photo = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
        write(tmp_path / "set" / f"{number}.png", photo)
    config = read_recipe("colourise")["data"]
    domains = {side: DomainConfig(**config[side]) for side in "ab"}
    source, target = open_datasets(
        tmp_path / "set", layout=config["layout"], **domains
    ).train.first()
    assert source.shape[0] == 1 and target.shape[0] == 2


def test_zip_is_opened_without_unpacking(tmp_path: Path, deep: Path) -> None:
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        for path in sorted(deep.rglob("*.tif")):
            archive.write(path, path.relative_to(deep))
    ranges = {"a": grey(range="minmax"), "b": grey(range="minmax")}
    one, two = open_datasets(deep, **ranges), open_datasets(tmp_path / "set.zip", **ranges)
    assert one.train.domains == two.train.domains
    assert all(map(torch.equal, one.train.first(), two.train.first()))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["set", "set.zip"]


# -- training runs


def settings(data: Path, run: Path, /, **more: Any) -> RunConfig:
    tiny: dict[str, Any] = {
        "generator": {"width": 4, "depth": 3, "norm": "instance"},
        "discriminator": {"width": 4, "layers": 1, "norm": "instance"},
        "data": {"path": str(data), "preprocess": "crop", "crop_size": 16},
        "train": {"run": str(run), "epochs": 1, "device": "cpu", "precision": "fp32", "samples": 1},
    }
    return resolve(merge(merge(read_recipe("pix2pix"), tiny), more))


def digest(root: Path) -> str:
    sums = [
        (str(p.relative_to(root)), hashlib.sha256(p.read_bytes()).hexdigest())
        for p in sorted(root.rglob("*"))
        if p.is_file()
    ]
    return hashlib.sha256(repr(sums).encode()).hexdigest()


@pytest.mark.parametrize("cache", ["memory", "disk", "off"])
def test_run_on_16_bit_images_and_floats(deep: Path, cache: str) -> None:
    before = digest(deep)
    run = deep.parent / "run"
    data = {
        "a": {"channels": 1, "range": "minmax"},
        "b": {"channels": 1, "range": [-2, 6]},
        "cache": cache,
    }
    training.train(settings(deep, run, data=data))
    header = read_header(run / "ab.safetensors")
    assert header["source"]["dtype"] == "uint16" and header["source"]["low"] == [100.0]
    output = Translator.load(run / "ab.safetensors", "cpu")(deep / "A" / "0.tif")
    assert output.dtype == np.float32 and output.shape == (32, 32, 1)
    assert -2 <= output.min() < output.max() <= 6 and len(np.unique(output)) > 256
    assert (run / "cache" / "images.bin").exists() == (cache == "disk")
    assert digest(deep) == before


def test_run_with_a_changed_value_range_cannot_be_resumed(deep: Path) -> None:
    run = deep.parent / "run"
    data = {"a": {"channels": 1, "range": "minmax"}, "b": {"channels": 1, "range": [-2, 6]}}
    training.train(settings(deep, run, data=data))
    write(deep / "A" / "0.tif", ramp(0, 50000))
    with pytest.raises(UserError, match=r"another value range or kind of domain A.*data\.a\.range"):
        training.train(settings(deep, run, data=data, train={"epochs": 2}))
    fixed = {"a": {"channels": 1, "range": [100, 4000]}, "b": data["b"]}
    training.train(settings(deep, run, data=fixed, train={"epochs": 2}))  # as the error advises
    assert read_header(run / "ab.safetensors")["images_processed"] == 4


def test_run_resumes_with_names_of_classes(tmp_path: Path) -> None:
    maps = [np.full((32, 32, 1), value, np.uint8) for value in (0, 1)]
    root, run = pairs(tmp_path / "set", [ramp(0, 255, "uint8")] * 2, maps, ".png"), tmp_path / "run"
    data: dict[str, Any] = {"a": {"channels": 1}, "b": {"kind": "labels", "ids": 2}}
    training.train(settings(root, run, data=data))
    assert read_header(run / "ab.safetensors")["target"]["config"]["class_names"] == []
    data["b"]["class_names"] = ["sky", "wall"]
    training.train(settings(root, run, data=data, train={"epochs": 2}))
    header = read_header(run / "ab.safetensors")
    assert header["target"]["config"]["class_names"] == ["sky", "wall"]
    assert header["images_processed"] == 4


@pytest.mark.slow
def test_run_with_forty_kinds_of_invalid_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "set"
    rng = np.random.default_rng(0)
    for number in range(480):
        pair = rng.integers(0, 256, (24, 48, 3), dtype=np.uint8)
        for domain, half in (("A", pair[:, :24]), ("B", pair[:, 24:])):
            (root / domain).mkdir(parents=True, exist_ok=True)
            Image.fromarray(half).save(root / domain / f"{number}.png")
    invalid = bad_files(root / "A")
    assert len(invalid) == 40
    for name, _ in invalid:  # a valid partner of the same size
        write(root / "B" / f"{Path(name).stem}.png", ramp(0, 255, "uint8", 3, 48))
    run = tmp_path / "run"
    with pytest.raises(UserError) as caught:  # refused by default, before training
        training.train(settings(root, run))
    assert not run.exists()
    skip = {"on_invalid": "skip", "max_invalid": 0.05}
    names = {Path(str(source)).name for source in _invalid_files(root, skip)}
    assert names == {name for name, _ in invalid}
    with pytest.raises(UserError, match=r"more than data\.max_invalid"):
        training.train(settings(root, run, data={"on_invalid": "skip", "max_invalid": 0.01}))
    started = training.Run(settings(root, run, data={**skip, "cache": "off"}))
    late = started.data.train.sources("b")[started.data.train.indices(1, 9)[1]].path
    late.write_bytes(b"damaged after the check")
    capsys.readouterr()
    training.train_run(started)
    output = capsys.readouterr().out
    assert f"left out: {late}" in output
    assert read_header(run / "ab.safetensors")["images_processed"] == 480
    # The other four: number of channels, dtype, range, and NaN that may mean no data.
    assert "files that cannot be read: 36" in str(caught.value)


def _invalid_files(root: Path, skip: dict[str, Any]) -> list[Any]:
    from viceversa.data.check import check_dataset

    config = DataConfig(path=str(root), preprocess="crop", crop_size=16, **skip)
    return list(check_dataset(root, True, config).invalid)


def test_written_files_are_read_exactly(tmp_path: Path) -> None:
    for name, pixels in (("x.png", ramp(0, 65535)), ("x.tif", ramp(-3, 7, "float32", 6))):
        write(tmp_path / name, pixels)
        assert np.array_equal(read(tmp_path / name), pixels)
