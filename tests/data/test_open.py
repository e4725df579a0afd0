"""A data set made ready to train on: what settles its domains, and what training then sees."""

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


def ramp(low: float, high: float, dtype: str = "uint16", bands: int = 1, size: int = 32) -> Pixels:
    values = np.linspace(low, high, size * size * bands).reshape(size, size, bands)
    return values.astype(dtype)


def pairs(root: Path, a: list[Pixels], b: list[Pixels], suffix: str = ".tif") -> Path:
    for domain, images in (("A", a), ("B", b)):
        for number, pixels in enumerate(images):
            write(root / domain / f"{number}{suffix}", pixels)
    return root


def opened(root: Path, notes: list[str] | None = None, **data: Any) -> Datasets:
    config = DataConfig(path=str(root), **{"preprocess": "none", "flip": False, **data})
    told = notes.append if notes is not None else (lambda text: None)
    return open_data(config, True, 0, root.parent / "run", told)


def grey(**more: Any) -> DomainConfig:
    return DomainConfig(channels=1, **more)


@pytest.fixture
def deep(tmp_path: Path) -> Path:
    """A: 16 bits, from 100 to 4000 over two images. B: floats, from -2 to 6."""
    return pairs(
        tmp_path / "set",
        [ramp(100, 3000), ramp(200, 4000)],
        [ramp(-2, 3, "float32"), ramp(0, 6, "float32")],
    )


@pytest.mark.parametrize(
    ("given", "low", "high"),
    [
        ("dtype", 0.0, 65535.0),
        ("minmax", 100.0, 4000.0),
        ((50.0, 5000.0), 50.0, 5000.0),
        ("0,8000", 0.0, 8000.0),
    ],
)
def test_each_range_settles_what_becomes_minus_one_and_one(
    deep: Path, given: Any, low: float, high: float
) -> None:
    data = opened(deep, a=grey(range=given), b=grey(range="minmax"))
    domain_a, domain_b = data.train.domains.values()
    assert (domain_a.dtype, domain_a.low, domain_a.high) == ("uint16", (low,), (high,))
    assert (domain_b.dtype, domain_b.low, domain_b.high) == ("float32", (-2.0,), (6.0,))
    source, _ = data.train.first()
    index = data.train.indices(1, 0)[0]
    first, last = ((v - low) / (high - low) * 2 - 1 for v in ((100, 3000), (200, 4000))[index])
    assert float(source[0, 0, 0]) == pytest.approx(first, abs=1e-5)
    assert float(source[0, -1, -1]) == pytest.approx(last, abs=1e-5)


def test_percentiles_leave_out_the_few(tmp_path: Path) -> None:
    spotted = ramp(1000, 2000)
    spotted[0, 0] = 65535  # a hot pixel
    root = pairs(tmp_path / "set", [spotted] * 2, [spotted] * 2)
    config = grey(range="percentiles", percentiles=(1.0, 99.0))
    data = opened(root, a=config, b=grey(range="minmax"))
    domain_a, domain_b = data.train.domains.values()
    assert domain_a.low[0] == pytest.approx(1010, abs=2)
    assert domain_a.high[0] == pytest.approx(1990, abs=2)
    assert domain_b.high == (65535.0,)  # the control: minmax squeezes everything else
    source, target = data.train.first()
    assert source.max() == 1.0 and source.std() > 0.4 and target.std() < 0.1


def test_each_band_and_each_half_has_its_own_range(tmp_path: Path) -> None:
    left = np.concatenate([ramp(0, 10), ramp(0, 200), ramp(5, 500)], axis=2)
    right = np.concatenate([ramp(1, 99), ramp(7, 77), ramp(8, 88)], axis=2)
    write(tmp_path / "set" / "x.tif", np.concatenate([left, right], axis=1))
    config = DomainConfig(channels=3, range="minmax")
    domain_a, domain_b = opened(tmp_path / "set", a=config, b=config).train.domains.values()
    assert (domain_a.low, domain_a.high) == ((0, 0, 5), (10, 200, 500))
    assert (domain_b.low, domain_b.high) == ((1, 7, 8), (99, 77, 88))


def test_what_has_no_range_is_refused_by_option(deep: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"values of B.*data\.b\.range|data\.b\.range|no range"):
        opened(deep, a=grey(), b=grey())
    flat = pairs(tmp_path / "flat", [ramp(5, 5)] * 2, [ramp(0, 9)] * 2)
    with pytest.raises(UserError, match=r"set data\.a\.range to numbers"):
        opened(flat, a=grey(range="minmax"), b=grey(range="minmax"))


def test_mixed_depths_need_a_range_in_numbers(tmp_path: Path) -> None:
    root = pairs(tmp_path / "set", [ramp(0, 255, "uint8"), ramp(0, 4000)], [ramp(0, 9)] * 2)
    with pytest.raises(UserError, match=r"A"):
        opened(root, a=grey(), b=grey())
    data = opened(root, a=grey(range=(0.0, 4000.0)), b=grey())
    assert data.train.domains["a"].dtype == "uint16"  # which holds 8 bits too
    for position in range(2):
        index = data.train.indices(1, position)[0]
        batch = data.train.batch([(1, position)], torch.device("cpu"))
        assert batch is not None
        highest = (255, 4000)[index] / 4000 * 2 - 1
        assert float(batch[0].max()) == pytest.approx(highest, abs=1e-3)


def test_an_unknown_class_is_refused_before_training(tmp_path: Path) -> None:
    maps = [np.full((32, 32, 3), 255, np.uint8) for _ in range(3)]
    maps[1][4, 5] = (255, 254, 255)
    maps[2][:] = 0
    root = pairs(tmp_path / "set", [ramp(0, 255, "uint8")] * 3, maps, ".png")
    labels = DomainConfig(kind="labels", classes=("#ffffff", "#000000"))
    with pytest.raises(UserError, match=r"B/1\.png contains the colour #fffeff"):
        opened(root, a=grey(), b=labels)
    tolerant = DomainConfig(kind="labels", classes=("#ffffff", "#000000"), tolerance=1)
    _, target = opened(root, a=grey(), b=tolerant).train.first()
    assert target.shape[0] == 2 and set(target.unique().tolist()) == {-1.0, 1.0}


def test_files_that_are_not_read_are_named_before_training(tmp_path: Path) -> None:
    images = [ramp(0, 255, "uint8", 3)] * 2
    root = pairs(tmp_path / "set", images, [255 - image for image in images], ".png")
    for name in ("A/7.dcm", "A/8.dcm", "B/7.dcm", "B/8.dcm", "B/9", "notes.txt"):
        (root / name).touch()
    notes: list[str] = []
    opened(root, notes)
    told = [note for note in notes if "not read" in note]
    assert told == [
        "warning: files ending in .dcm, which are not read: 4 (A/7.dcm, A/8.dcm, B/7.dcm and 1 "
        "more)",
        "warning: files without an ending, which are not read: 1 (B/9)",
    ]
    assert next(note for note in notes if "notes.txt" in note).startswith("note: ")


def test_photos_are_both_sides_of_lab(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for number in range(3):
        photo = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
        write(tmp_path / "set" / f"{number}.png", photo)
    config = read_recipe("colourise")["data"]
    domains = {side: DomainConfig(**config[side]) for side in "ab"}
    source, target = opened(tmp_path / "set", layout=config["layout"], **domains).train.first()
    assert source.shape[0] == 1 and target.shape[0] == 2


def test_a_zip_is_trained_on_in_place(tmp_path: Path, deep: Path) -> None:
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        for path in sorted(deep.rglob("*.tif")):
            archive.write(path, path.relative_to(deep))
    ranges = {"a": grey(range="minmax"), "b": grey(range="minmax")}
    one, two = opened(deep, **ranges), opened(tmp_path / "set.zip", **ranges)
    assert one.train.domains == two.train.domains
    assert all(map(torch.equal, one.train.first(), two.train.first()))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["set", "set.zip"]


# -- whole runs


def settings(data: Path, run: Path, /, **more: Any) -> RunConfig:
    tiny: dict[str, Any] = {
        "generator": {"width": 4, "depth": 3, "norm": "instance"},
        "discriminator": {"width": 4, "layers": 1, "norm": "instance"},
        "data": {"path": str(data), "preprocess": "crop", "crop_size": 16},
        "train": {"run": str(run), "epochs": 1, "device": "cpu", "samples": 1},
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
def test_sixteen_bits_train_and_translate_as_sixteen_bits(deep: Path, cache: str) -> None:
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
    made = Translator.load(run / "ab.safetensors", "cpu")(deep / "A" / "0.tif")
    assert made.dtype == np.float32 and made.shape == (32, 32, 1)
    assert -2 <= made.min() < made.max() <= 6 and len(np.unique(made)) > 256
    assert (run / "cache" / "images.bin").exists() == (cache == "disk")
    assert digest(deep) == before


def test_a_run_whose_range_would_change_is_not_gone_on_with(deep: Path) -> None:
    run = deep.parent / "run"
    data = {"a": {"channels": 1, "range": "minmax"}, "b": {"channels": 1, "range": [-2, 6]}}
    training.train(settings(deep, run, data=data))
    write(deep / "A" / "0.tif", ramp(0, 50000))
    with pytest.raises(UserError, match=r"another value range or kind of domain A.*data\.a\.range"):
        training.train(settings(deep, run, data=data, train={"epochs": 2}))
    fixed = {"a": {"channels": 1, "range": [100, 4000]}, "b": data["b"]}
    training.train(settings(deep, run, data=fixed, train={"epochs": 2}))  # as the sentence says
    assert read_header(run / "ab.safetensors")["images_seen"] == 4


@pytest.mark.slow
def test_forty_kinds_of_bad_file_among_a_thousand(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "set"
    rng = np.random.default_rng(0)
    for number in range(480):
        pair = rng.integers(0, 256, (24, 48, 3), dtype=np.uint8)
        for domain, half in (("A", pair[:, :24]), ("B", pair[:, 24:])):
            (root / domain).mkdir(parents=True, exist_ok=True)
            Image.fromarray(half).save(root / domain / f"{number}.png")
    planted = bad_files(root / "A")
    assert len(planted) == 40
    for name, _ in planted:  # each has a good partner, of the size that it claims to have
        write(root / "B" / f"{Path(name).stem}.png", ramp(0, 255, "uint8", 3, 48))
    run = tmp_path / "run"
    with pytest.raises(UserError) as caught:  # by default: refused, before anything is trained
        training.train(settings(root, run))
    assert not run.exists()
    skip = {"on_invalid": "skip", "max_invalid": 0.05}
    bad = {Path(str(one)).name for one in _bad(root, skip)}
    assert bad == {name for name, _ in planted}
    with pytest.raises(UserError, match=r"more than data\.max_invalid"):
        training.train(settings(root, run, data={"on_invalid": "skip", "max_invalid": 0.01}))
    started = training.Run(settings(root, run, data={**skip, "cache": "off"}))
    late = started.data.train.sources("b")[started.data.train.indices(1, 9)[1]].path
    late.write_bytes(b"gone bad after the check")
    capsys.readouterr()
    training.train_run(started)
    said = capsys.readouterr().out
    assert f"left out: {late}" in said
    assert read_header(run / "ab.safetensors")["images_seen"] == 480
    # The others: bands, depth, range, and NaN that may mean no data.
    assert "files that cannot be read: 36" in str(caught.value)


def _bad(root: Path, skip: dict[str, Any]) -> list[Any]:
    from viceversa.data.check import check_dataset

    config = DataConfig(path=str(root), preprocess="crop", crop_size=16, **skip)
    return list(check_dataset(root, True, config).invalid)


def test_reading_what_was_written_is_exact(tmp_path: Path) -> None:
    for name, pixels in (("x.png", ramp(0, 65535)), ("x.tif", ramp(-3, 7, "float32", 6))):
        write(tmp_path / name, pixels)
        assert np.array_equal(read(tmp_path / name), pixels)
