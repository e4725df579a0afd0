"""Test datasets: order, preprocessing and augmentation, caches, and invalid files."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from support import raises_user_error
from torch import Tensor

from viceversa.data import DataConfig, index_split
from viceversa.data.cache import ImageStore
from viceversa.data.dataset import ImageDataset
from viceversa.data.loader import Batch, Loader
from viceversa.errors import UserError
from viceversa.fields import fill
from viceversa.images import Pixels, Source
from viceversa.images.domain import Domain, DomainConfig

CPU = torch.device("cpu")
RAW: dict[str, Any] = {"preprocess": "none", "flip": False, "workers": 0}


def noise(seed: int, height: int = 24, width: int = 24) -> Pixels:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (height, width, 3), dtype=np.uint8)


def put(path: Path, pixels: Pixels) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def two_folders(root: Path, a: int, b: int) -> Path:
    """Write `a` and `b` images; each image of B is the negative of that of A."""
    for number in range(a):
        put(root / "A" / f"{number}.png", noise(number))
    for number in range(b):
        put(root / "B" / f"{number}.png", 255 - noise(number))
    return root


def open_dataset(
    root: Path, paired: bool, training: bool = True, seed: int = 0, **data: Any
) -> ImageDataset:
    config = DataConfig(path=str(root), **data)
    index = index_split(root, "train", paired, config)
    assert index is not None
    domains = Domain(config.a), Domain(config.b)
    return ImageDataset(index, config, domains, paired, seed, training)


def batches(dataset: ImageDataset, size: int, epoch: int, start: int) -> Iterator[Batch | None]:
    return Loader(dataset, size, CPU).epoch(epoch, start)


def one_batch(dataset: ImageDataset, positions: list[tuple[int, int]]) -> tuple[Tensor, Tensor]:
    batch = dataset.batch(positions, CPU)
    assert batch is not None
    return batch.a, batch.b


def item(dataset: ImageDataset, epoch: int, position: int) -> tuple[Pixels, Pixels]:
    """Return (source, target) at a position as (h, w, channels)."""
    source, target, _ = dataset.item(epoch, position)
    return source.movedim(0, -1).numpy(), target.movedim(0, -1).numpy()


@pytest.mark.parametrize("paired", [True, False])
def test_direction_swaps_source_and_target(tmp_path: Path, paired: bool) -> None:
    root = two_folders(tmp_path, 1, 1)
    for direction, source in (("ab", noise(0)), ("ba", 255 - noise(0))):
        one, two = item(open_dataset(root, paired, direction=direction, **RAW), 1, 0)
        assert np.array_equal(one, source) and np.array_equal(two, 255 - source)


def test_direction_swaps_domains_too(tmp_path: Path) -> None:
    root = two_folders(tmp_path, 1, 1)
    grey = DomainConfig(channels=1)
    one, two = item(open_dataset(root, True, direction="ba", a=grey, **RAW), 1, 0)
    assert (one.shape[2], two.shape[2]) == (3, 1)


def test_side_by_side_files_are_halved(tmp_path: Path) -> None:
    put(tmp_path / "1.png", np.concatenate([noise(1), noise(2)], axis=1))
    one, two = item(open_dataset(tmp_path, True, layout="side-by-side", **RAW), 1, 0)
    assert np.array_equal(one, noise(1)) and np.array_equal(two, noise(2))


def is_negative_by_epoch(dataset: ImageDataset, epochs: int = 12) -> list[bool]:
    """Return for each epoch whether source and target have the same crop and flip."""
    items = [item(dataset, epoch, 0) for epoch in range(1, epochs + 1)]
    assert all(one.shape == (16, 16, 3) for one, _ in items)
    assert len({one.tobytes() for one, _ in items}) > epochs // 2  # crops differ between epochs
    return [np.array_equal(one, 255 - two) for one, two in items]


@pytest.mark.parametrize("more", [{}, {"flip_vertical": True}, {"rotate90": True}])
def test_pairs_share_crop_and_flip_and_unpaired_images_do_not(
    tmp_path: Path, more: dict[str, Any]
) -> None:
    root = two_folders(tmp_path, 1, 1)
    data: dict[str, Any] = {"preprocess": "crop", "crop_size": 16, **more}
    assert all(is_negative_by_epoch(open_dataset(root, True, **data)))
    assert sum(is_negative_by_epoch(open_dataset(root, False, **data))) < 4


@pytest.mark.parametrize(
    ("option", "axes"), [("flip", (1,)), ("flip_vertical", (0,)), ("rotate90", None)]
)
def test_flips_and_rotations_are_equally_frequent(
    tmp_path: Path, option: str, axes: tuple[int, ...] | None
) -> None:
    root = two_folders(tmp_path, 1, 1)
    square = {"preprocess": "resize", "crop_size": 24} if option == "rotate90" else {}
    data = {**RAW, option: True, **square}
    counts = Counter(
        item(open_dataset(root, True, **data), epoch, 0)[0].tobytes() for epoch in range(200)
    )
    if axes is None:
        expected = {np.rot90(noise(0), k).tobytes() for k in range(4)}
    else:
        expected = {noise(0).tobytes(), np.flip(noise(0), axes).tobytes()}
    assert set(counts) == expected
    assert all(0.6 < count * len(expected) / 200 < 1.4 for count in counts.values())
    plain = open_dataset(root, True, **RAW)
    assert {item(plain, epoch, 0)[0].tobytes() for epoch in range(50)} == {noise(0).tobytes()}


def test_crops_are_all_positions_inside_the_image(tmp_path: Path) -> None:
    root = two_folders(tmp_path, 1, 1)
    dataset = open_dataset(root, True, preprocess="crop", crop_size=22, flip=False)
    crops = {item(dataset, epoch, 0)[0].tobytes() for epoch in range(150)}
    assert crops == {noise(0)[y : y + 22, x : x + 22].tobytes() for y in range(3) for x in range(3)}


def test_outside_training_crops_are_central_without_augmentation(tmp_path: Path) -> None:
    root = two_folders(tmp_path, 3, 3)
    augmentation = {
        "rotate": 45.0,
        "zoom": 0.5,
        "jitter": 0.9,
        "rotate90": True,
        "flip_vertical": True,
    }
    dataset = open_dataset(
        root, True, training=False, preprocess="crop", crop_size=16, **augmentation
    )
    for position in range(3):
        for epoch in (1, 7):
            centre = noise(position)[4:20, 4:20]
            assert np.array_equal(item(dataset, epoch, position)[0], centre)
            source, _ = one_batch(dataset, [(epoch, position)])
            expected = torch.from_numpy(centre).movedim(-1, 0) / 127.5 - 1
            assert torch.allclose(source[0], expected, atol=1e-6)


@pytest.mark.parametrize(("a", "b"), [(5, 3), (3, 5), (1, 4)])
@pytest.mark.parametrize("direction", ["ab", "ba"])
def test_unpaired_epoch_has_the_length_of_the_larger_domain(
    tmp_path: Path, a: int, b: int, direction: str
) -> None:
    dataset = open_dataset(two_folders(tmp_path, a, b), False, direction=direction, **RAW)
    sources, targets = (a, b) if direction == "ab" else (b, a)
    assert len(dataset) == max(a, b)
    orders, partners = set(), Counter[int]()
    for epoch in range(1, 41):
        positions = [dataset.indices(epoch, position) for position in range(len(dataset))]
        counts = Counter(source for source, _ in positions)
        assert set(counts) == set(range(sources))  # all sources, equally often
        assert max(counts.values()) - min(counts.values()) <= 1
        orders.add(tuple(positions))
        partners.update(target for _, target in positions)
    assert len(orders) > 10
    assert set(partners) == set(range(targets))  # sampled with replacement
    mean = sum(partners.values()) / targets
    assert all(0.5 * mean < count < 1.5 * mean for count in partners.values())


def test_paired_epochs_are_permutations_of_pairs(tmp_path: Path) -> None:
    dataset = open_dataset(two_folders(tmp_path, 5, 5), True, **RAW)
    epochs = [[dataset.indices(epoch, p) for p in range(5)] for epoch in range(1, 21)]
    assert all(sorted(order) == [(i, i) for i in range(5)] for order in epochs)
    assert len({tuple(order) for order in epochs}) > 10


def test_batches_depend_only_on_seed_epoch_and_position(tmp_path: Path) -> None:
    root = two_folders(tmp_path / "set", 5, 3)
    data: dict[str, Any] = {
        "preprocess": "crop",
        "crop_size": 16,
        "workers": 0,
        "rotate90": True,
        "rotate": 10.0,
        "jitter": 0.2,
    }

    def epoch(number: int, start: int = 0, disk: Path | None = None, **more: Any) -> list[bytes]:
        dataset = open_dataset(root, False, **{"seed": 7, **data, **more})
        if disk is not None:
            dataset.digests = digests(dataset)
            dataset.cache_on_disk(disk, lambda text: None)
        loaded = batches(dataset, 2, number, start)
        return [
            side.numpy().tobytes()
            for batch in loaded
            if batch is not None
            for side in batch.tensors
        ]

    reference = epoch(3)
    assert len(reference) == 2 * 3  # batches of 2, 2 and 1
    before = torch.get_rng_state()
    assert epoch(3, workers=2) == reference
    assert torch.equal(torch.get_rng_state(), before)  # global random state unchanged
    assert epoch(3, start=1) == reference[2:]
    assert epoch(3, cache="off") == reference
    assert epoch(3, disk=tmp_path / "cache") == reference
    assert epoch(4) != reference and epoch(3, seed=8) != reference


@pytest.mark.parametrize(
    ("data", "shape"),
    [
        ({"preprocess": "resize_and_crop", "load_size": 36, "crop_size": 32}, (32, 32)),
        ({"preprocess": "resize", "crop_size": 20}, (20, 20)),
        ({"preprocess": "crop", "crop_size": 16}, (16, 16)),
        ({"preprocess": "scale_width", "load_size": 20}, (15, 20)),
        ({"preprocess": "scale_width_and_crop", "load_size": 36, "crop_size": 20}, (20, 20)),
        ({"preprocess": "scale_shortside", "load_size": 15}, (15, 20)),
        ({"preprocess": "none"}, (30, 40)),
    ],
)
def test_size_of_each_preprocessing(
    tmp_path: Path, data: dict[str, Any], shape: tuple[int, int]
) -> None:
    put(tmp_path / "A" / "x.png", noise(0, 30, 40))
    put(tmp_path / "B" / "x.png", noise(1, 30, 40))
    for training in (True, False):
        one, two = item(open_dataset(tmp_path, True, training, **data), 1, 0)
        assert one.shape == two.shape == (*shape, 3)


@pytest.mark.parametrize(
    "data",
    [
        {"preprocess": "crop", "crop_size": 32},
        {"preprocess": "scale_width_and_crop", "load_size": 40, "crop_size": 32},
    ],
)
def test_crop_larger_than_the_image_is_refused(tmp_path: Path, data: dict[str, Any]) -> None:
    for domain in "AB":
        put(tmp_path / domain / "x.png", noise(0, 30, 40))
    with pytest.raises(UserError, match=r"x\.png is 40x30, smaller than data\.crop_size 32"):
        open_dataset(tmp_path, True, **data).item(1, 0)


def test_rotate90_needs_square_images(tmp_path: Path) -> None:
    for preprocess in ("none", "scale_width", "scale_shortside"):
        with raises_user_error("data.rotate90"):
            DataConfig(rotate90=True, preprocess=preprocess)  # type: ignore[arg-type]
    for domain in "AB":
        put(tmp_path / domain / "x.png", noise(0, 30, 40))
    dataset = open_dataset(tmp_path, True, preprocess="crop", crop_size=16, rotate90=True)
    assert {dataset.item(epoch, 0)[0].shape for epoch in range(9)} == {(3, 16, 16)}


@pytest.mark.parametrize(
    ("data", "option"),
    [
        ({"load_size": 200}, "data.crop_size"),
        ({"crop_size": 0}, "data.crop_size"),
        ({"workers": -1}, "data.workers"),
        ({"zoom": 1.0}, "data.zoom"),
        ({"jitter": -0.1}, "data.jitter"),
        ({"max_invalid": 2.0}, "data.max_invalid"),
        ({"pattern_a": "A"}, "data.pattern_a"),
        ({"jitter": 0.1, "a": {"kind": "lab-l"}}, "data.jitter"),
    ],
)
def test_invalid_settings_are_refused(data: dict[str, Any], option: str) -> None:
    with raises_user_error(option):
        fill(DataConfig, data, "data")


def test_different_sizes_in_a_batch_are_refused(tmp_path: Path) -> None:
    for domain in "AB":
        put(tmp_path / domain / "0.png", noise(0, 24, 24))
        put(tmp_path / domain / "1.png", noise(1, 24, 26))
    dataset = open_dataset(tmp_path, True, **RAW)
    assert one_batch(dataset, [(1, 0)])[0].shape[0] == 1
    with pytest.raises(UserError, match=r"24x24, 26x24.*cannot share a batch"):
        dataset.batch([(1, 0), (1, 1)], CPU)


def test_dataset_of_one_pair(tmp_path: Path) -> None:
    dataset = open_dataset(two_folders(tmp_path, 1, 1), True, **RAW)
    assert len(dataset) == 1
    (batch,) = (batch for batch in batches(dataset, 4, 1, 0) if batch is not None)
    source, target = batch.a, batch.b
    assert source.shape == target.shape == (1, 3, 24, 24)
    expected = torch.from_numpy(noise(0)).movedim(-1, 0) / 127.5 - 1
    assert torch.allclose(source[0], expected, atol=1e-6)


# -- caches


def test_memory_cache_is_limited(tmp_path: Path) -> None:
    for domain in "AB":
        put(tmp_path / domain / "0.png", noise(0, 600, 600))
    dataset = open_dataset(tmp_path, True, cache_megabytes=2, **RAW)
    first = dataset.image("a", 0)
    assert dataset.image("a", 0) is first  # 1.03 of 2 MiB
    other = dataset.image("b", 0)
    assert dataset.image("b", 0) is not other


def digests(dataset: ImageDataset) -> dict[Source, str]:
    """Return the SHA-256 of every file."""
    sources = (*dataset.sources("a"), *dataset.sources("b"))
    return {source: hashlib.sha256(source.read()).hexdigest() for source in sources}


class Cached:
    """A dataset of three pairs; a call returns the first image of A, read from the disk cache."""

    def __init__(self, folder: Path):
        self.root, self.folder = two_folders(folder / "set", 3, 3), folder / "cache"
        self.messages: list[str] = []

    def __call__(self, root: Path | None = None, **data: Any) -> Pixels:
        self.messages.clear()
        dataset = open_dataset(root or self.root, True, **{**RAW, "cache": "disk", **data})
        dataset.digests = digests(dataset)
        dataset.cache_on_disk(self.folder, self.messages.append)
        dataset.store.decode = None  # type: ignore[assignment, method-assign]  # must not be called
        return dataset.image("a", 0).numpy().transpose(1, 2, 0)

    def times(self) -> dict[str, int]:
        return {path.name: path.stat().st_mtime_ns for path in self.folder.iterdir()}


@pytest.fixture
def cached(tmp_path: Path) -> Cached:
    result = Cached(tmp_path)
    assert np.array_equal(result(), noise(0))
    assert result.messages == [f"caching 6 images in {result.folder}"]
    return result


def test_disk_cache_is_reused_when_the_dataset_moves(cached: Cached, tmp_path: Path) -> None:
    times = cached.times()
    assert times.keys() == {"images.bin", "images.json"}
    cached()
    assert cached.messages == [f"images cached in {cached.folder}"] and cached.times() == times
    shutil.move(cached.root, tmp_path / "moved")  # contents decide, not paths or times
    os.utime(tmp_path / "moved" / "A" / "0.png")
    assert np.array_equal(cached(tmp_path / "moved"), noise(0)) and cached.times() == times


def test_outdated_disk_cache_is_rebuilt(cached: Cached) -> None:
    put(cached.root / "A" / "0.png", noise(99))  # another file of the same name
    assert np.array_equal(cached(), noise(99)) and "the images changed" in cached.messages[0]
    assert cached(preprocess="resize", crop_size=8).shape == (8, 8, 3)
    assert "settings of the data changed" in cached.messages[0]
    cached()
    (cached.root / "B" / "2.png").unlink()
    (cached.root / "A" / "2.png").unlink()
    cached()
    assert "the images changed" in cached.messages[0]


def flip_bit(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


def images_of_another_cache(cached: Cached) -> None:
    """Replace the images of a cache with those of another one."""
    other = Cached(cached.folder.parent / "other")
    for number in range(3):
        put(other.root / "A" / f"{number}.png", noise(50 + number))
    other()
    shutil.copy(other.folder / "images.bin", cached.folder / "images.bin")


@pytest.mark.parametrize(
    "damage",
    [
        lambda cached: flip_bit(cached.folder / "images.bin", 100),
        lambda cached: flip_bit(cached.folder / "images.bin", -1),
        lambda cached: os.truncate(cached.folder / "images.bin", 500),
        lambda cached: (cached.folder / "images.bin").unlink(),
        lambda cached: flip_bit(cached.folder / "images.json", 0),
        lambda cached: flip_bit(cached.folder / "images.json", -10),
        lambda cached: os.truncate(cached.folder / "images.json", 300),
        lambda cached: (cached.folder / "images.json").write_text("{"),
        lambda cached: (cached.folder / "images.json").write_text('{"settings": [], "bytes": 1}'),
        images_of_another_cache,
    ],
)
def test_damaged_or_foreign_cache_is_rebuilt(
    cached: Cached, damage: Callable[[Cached], object]
) -> None:
    complete = {path.name: path.read_bytes() for path in cached.folder.iterdir()}
    damage(cached)
    assert np.array_equal(cached(), noise(0))
    assert "rebuilding" in cached.messages[0]
    assert {path.name: path.read_bytes() for path in cached.folder.iterdir()} == complete


def test_damage_while_the_cache_is_written_is_detected(
    cached: Cached, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(cached.root / "A" / "0.png", noise(99))
    replace = Path.replace

    def damaging(self: Path, target: Path) -> Path:
        if Path(target).name == "images.bin":
            self.write_bytes(bytes([self.read_bytes()[0] ^ 1]) + self.read_bytes()[1:])
        return replace(self, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", damaging)
        cached()
    assert np.array_equal(cached(), noise(99)) and "images.bin is damaged" in cached.messages[0]


@pytest.mark.parametrize("fails", ["fsync", "replace"])
@pytest.mark.parametrize("at", [1, 2])
def test_incomplete_cache_is_not_used(
    cached: Cached, fails: str, at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The operating system fails to write the images, or the index."""
    put(cached.root / "A" / "0.png", noise(99))
    owner: Any = os if fails == "fsync" else Path
    real, calls = getattr(owner, fails), []

    def failing(*arguments: Any) -> Any:
        calls.append(arguments)
        # Each file is synced, renamed, and its folder synced.
        if len(calls) == (2 * at - 1 if fails == "fsync" else at):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return real(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(owner, fails, failing)
        with pytest.raises(
            UserError, match=r"images\.(bin|json) could not be written: Input/output"
        ):
            cached()
    assert np.array_equal(cached(), noise(99)) and "rebuilding" in cached.messages[0]
    assert cached.times().keys() == {"images.bin", "images.json"}


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_disk_cache_keeps_the_dtype(tmp_path: Path, dtype: str) -> None:
    pixels = (np.arange(24 * 24).reshape(24, 24) * 100).astype(dtype)
    for domain in "AB":
        (tmp_path / "set" / domain).mkdir(parents=True)
        np.save(tmp_path / "set" / domain / "0.npy", pixels)
    config = DomainConfig(channels=1, range=(0.0, 60000.0))
    dataset = open_dataset(tmp_path / "set", True, a=config, b=config, **RAW)
    dataset.digests = digests(dataset)
    dataset.cache_on_disk(tmp_path / "cache", lambda text: None)
    image = dataset.image("b", 0).numpy()
    assert image.dtype == dtype and np.array_equal(image[0], pixels)


def test_batch_is_valid_until_the_batch_after_the_next(tmp_path: Path) -> None:
    dataset = open_dataset(two_folders(tmp_path, 40, 40), True, **{**RAW, "workers": 2})
    before: tuple[Tensor, Tensor] | None = None
    loader, last = Loader(dataset, 1, CPU), (0, 0)
    for epoch in (1, 2):
        for number, batch in enumerate(loader.epoch(epoch)):
            assert batch is not None
            expected = one_batch(dataset, [(epoch, number)])
            assert torch.equal(batch[0], expected[0]) and torch.equal(batch[1], expected[1])
            if before is not None:
                assert torch.equal(before[0], one_batch(dataset, [last])[0])
            before, last = batch, (epoch, number)


# -- invalid files


def test_invalid_file_is_left_out_and_counted(tmp_path: Path) -> None:
    root = two_folders(tmp_path, 8, 8)
    dataset = open_dataset(root, True, max_invalid=0.2, **RAW)
    (root / "A" / "3.png").write_bytes(b"damaged after the check")
    for epoch in (1, 2):
        loaded = [
            (image + 1) * 127.5
            for batch in batches(dataset, 3, epoch, 0)
            if batch is not None
            for image in batch[0].clone()
        ]
        assert len(loaded) == 7
        images = {image.round().byte().numpy().transpose(1, 2, 0).tobytes() for image in loaded}
        assert images == {noise(number).tobytes() for number in range(8) if number != 3}
    assert len(dataset.invalid.files) == 1 and "3.png" in dataset.invalid.unreported[0]
    position = next(p for p in range(8) if dataset.indices(1, p)[0] == 3)
    assert next(iter(batches(dataset, 1, 1, position))) is None


def test_too_many_invalid_files_are_an_error(tmp_path: Path) -> None:
    root = two_folders(tmp_path, 8, 8)
    (root / "B" / "5.png").write_bytes(b"")
    dataset = open_dataset(root, True, max_invalid=0.01, **{**RAW, "workers": 2})
    with pytest.raises(UserError, match=r"B/5\.png"):
        list(batches(dataset, 3, 1, 0))


def test_image_that_does_not_load_in_time_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = open_dataset(
        two_folders(tmp_path, 3, 3), True, max_invalid=0.3, **{**RAW, "workers": 1}
    )
    real, release = ImageStore.decode, threading.Event()

    def hanging(self: ImageStore, key: tuple[str, int]) -> Tensor:
        if key == ("a", dataset.indices(1, 2)[0]):  # the last: nothing waits behind it
            release.wait(20)
        return real(self, key)

    monkeypatch.setattr(ImageStore, "decode", hanging)
    monkeypatch.setattr("viceversa.data.cache.LOAD_TIMEOUT", 0.5)
    result = list(batches(dataset, 1, 1, 0))
    release.set()
    assert [batch is None for batch in result] == [False, False, True]
    (message,) = dataset.invalid.unreported
    assert "A/" in message and "did not load within" in message
