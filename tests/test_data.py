"""Data sets: what is found, in which order it comes, what an image becomes, what is refused."""

from __future__ import annotations

import struct
import zlib
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from viceversa.data import DataConfig, Found, Pictures, batches, find
from viceversa.errors import UserError
from viceversa.images import Pixels, read, size

RAW: dict[str, Any] = {"preprocess": "none", "flip": False}


def noise(seed: int, height: int = 24, width: int = 24) -> Pixels:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (height, width, 3), dtype=np.uint8)


def put(path: Path, pixels: Pixels) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def two_folders(root: Path, a: int, b: int, first: str = "A", second: str = "B") -> Path:
    """`a` and `b` images; a B is the negative of the A of its name."""
    for number in range(a):
        put(root / first / f"{number}.png", noise(number))
    for number in range(b):
        put(root / second / f"{number}.png", 255 - noise(number))
    return root


def opened(root: Path, paired: bool, training: bool = True, seed: int = 0, **data: Any) -> Pictures:
    found = find(root, "train", paired)
    assert found is not None
    return Pictures(found, DataConfig(**data), paired, seed, training)


@pytest.mark.parametrize(
    ("first", "second"), [("A", "B"), ("train/A", "train/B"), ("trainA", "trainB")]
)
@pytest.mark.parametrize("paired", [True, False])
def test_two_folders_are_found_and_said(
    tmp_path: Path, first: str, second: str, paired: bool
) -> None:
    root = two_folders(tmp_path / "set", 2, 2, first, second)
    found = find(root, "train", paired)
    assert found is not None and not found.side_by_side
    assert found.a == (root / first / "0.png", root / first / "1.png")
    assert found.b == (root / second / "0.png", root / second / "1.png")
    names = f"set/{first} and set/{second}"
    assert found.layout == (f"pairs by name in {names}" if paired else f"folders {names}")


@pytest.mark.parametrize("where", ["set", "set/train"])
def test_side_by_side_files_are_found_and_halved(tmp_path: Path, where: str) -> None:
    put(tmp_path / where / "1.png", np.concatenate([noise(1), noise(2)], axis=1))
    found = find(tmp_path / "set", "train", True)
    assert found is not None and found.side_by_side
    assert found.layout == f"side-by-side files in {where}"
    a, b = Pictures(found, DataConfig(**RAW), True, 0, True)[1, 0]
    assert np.array_equal(a, noise(1)) and np.array_equal(b, noise(2))


def test_an_odd_width_is_not_two_images(tmp_path: Path) -> None:
    path = put(tmp_path / "odd.png", noise(0, 8, 9))
    with pytest.raises(UserError, match=r"odd\.png is 9 pixels wide.*even width"):
        opened(tmp_path, True, **RAW)[1, 0]
    assert path.exists()


def test_other_splits_are_found_or_none(tmp_path: Path) -> None:
    root = two_folders(tmp_path, 1, 1)
    assert find(root, "test", False) is None
    two_folders(tmp_path, 1, 2, "testA", "testB")
    found = find(root, "test", False)
    assert found is not None and (len(found.a), len(found.b)) == (1, 2)


def test_hidden_and_other_files_are_passed_over(tmp_path: Path) -> None:
    root = two_folders(tmp_path, 2, 2)
    (root / "A" / ".hidden.png").write_bytes(b"")
    (root / "A" / "notes.txt").write_text("x")
    found = find(root, "train", True)
    assert found is not None and [path.name for path in found.a] == ["0.png", "1.png"]


@pytest.mark.parametrize("paired", [True, False])
def test_direction_swaps_source_and_target(tmp_path: Path, paired: bool) -> None:
    root = two_folders(tmp_path, 1, 1)
    for direction, source in (("ab", noise(0)), ("ba", 255 - noise(0))):
        one, two = opened(root, paired, direction=direction, **RAW)[1, 0]
        assert np.array_equal(one, source) and np.array_equal(two, 255 - source)


def test_direction_swaps_channels_too(tmp_path: Path) -> None:
    root = two_folders(tmp_path, 1, 1)
    one, two = opened(root, True, direction="ba", channels=(1, 3), **RAW)[1, 0]
    assert (one.shape[2], two.shape[2]) == (3, 1)
    batch = opened(root, True, channels=(1, 3), **RAW).batch([(1, 0)])
    assert [side.shape for side in batch] == [(1, 1, 24, 24), (1, 3, 24, 24)]


def negative_epochs(pictures: Pictures, epochs: int = 12) -> list[bool]:
    """Whether source and target are each other's negative: cropped and flipped alike."""
    items = [pictures[epoch, 0] for epoch in range(1, epochs + 1)]
    assert all(one.shape == (16, 16, 3) for one, _ in items)
    assert len({one.tobytes() for one, _ in items}) > epochs // 2  # each epoch another crop
    return [np.array_equal(one, 255 - two) for one, two in items]


def test_a_pair_shares_crop_and_flip_and_unpaired_images_do_not(tmp_path: Path) -> None:
    root = two_folders(tmp_path, 1, 1)
    data: dict[str, Any] = {"preprocess": "crop", "crop_size": 16}
    assert all(negative_epochs(opened(root, True, **data)))
    assert sum(negative_epochs(opened(root, False, **data))) < 4


def test_half_of_the_images_are_flipped_and_none_without(tmp_path: Path) -> None:
    root = two_folders(tmp_path, 1, 1)
    seen = Counter(
        opened(root, True, preprocess="none")[epoch, 0][0].tobytes() for epoch in range(200)
    )
    assert set(seen) == {noise(0).tobytes(), noise(0)[:, ::-1].tobytes()}
    assert 70 < seen[noise(0).tobytes()] < 130
    plain = opened(root, True, **RAW)
    assert {plain[epoch, 0][0].tobytes() for epoch in range(50)} == {noise(0).tobytes()}


def test_every_crop_position_occurs_and_none_beyond(tmp_path: Path) -> None:
    root = two_folders(tmp_path, 1, 1)
    pictures = opened(root, True, preprocess="crop", crop_size=22, flip=False)
    seen = {pictures[epoch, 0][0].tobytes() for epoch in range(150)}
    assert seen == {noise(0)[y : y + 22, x : x + 22].tobytes() for y in range(3) for x in range(3)}


def test_outside_training_the_crop_is_central_and_unflipped(tmp_path: Path) -> None:
    root = two_folders(tmp_path, 3, 3)
    pictures = opened(root, True, training=False, preprocess="crop", crop_size=16)
    for position in range(3):
        for epoch in (1, 7):
            assert np.array_equal(pictures[epoch, position][0], noise(position)[4:20, 4:20])


@pytest.mark.parametrize(("a", "b"), [(5, 3), (3, 5), (1, 4)])
@pytest.mark.parametrize("direction", ["ab", "ba"])
def test_an_unpaired_epoch_is_as_long_as_the_larger_domain(
    tmp_path: Path, a: int, b: int, direction: str
) -> None:
    pictures = opened(two_folders(tmp_path, a, b), False, direction=direction, **RAW)
    sources, targets = (a, b) if direction == "ab" else (b, a)
    assert len(pictures) == max(a, b)
    orders, partners = set(), Counter[int]()
    for epoch in range(1, 41):
        places = [pictures.indices(epoch, position) for position in range(len(pictures))]
        seen = Counter(source for source, _ in places)
        assert set(seen) == set(range(sources))  # every source, as evenly as it goes
        assert max(seen.values()) - min(seen.values()) <= 1
        orders.add(tuple(places))
        partners.update(target for _, target in places)
    assert len(orders) > 10
    assert set(partners) == set(range(targets))  # drawn at random, with replacement
    share = sum(partners.values()) / targets
    assert all(0.5 * share < count < 1.5 * share for count in partners.values())


def test_paired_epochs_are_permutations_of_pairs(tmp_path: Path) -> None:
    pictures = opened(two_folders(tmp_path, 5, 5), True, **RAW)
    epochs = [[pictures.indices(epoch, p) for p in range(5)] for epoch in range(1, 21)]
    assert all(sorted(order) == [(i, i) for i in range(5)] for order in epochs)
    assert len({tuple(order) for order in epochs}) > 10


def test_seed_epoch_and_position_decide_everything_whoever_loads(tmp_path: Path) -> None:
    root = two_folders(tmp_path, 5, 3)
    data: dict[str, Any] = {"preprocess": "crop", "crop_size": 16}

    def epoch(number: int, start: int = 0, **more: Any) -> list[bytes]:
        pictures = opened(root, False, **{"seed": 7, **data, **more})
        made = batches(pictures, 2, number, start)
        return [side.numpy().tobytes() for batch in made for side in batch]

    reference = epoch(3)
    assert len(reference) == 2 * 3  # batches of 2, 2 and 1
    before = torch.get_rng_state()
    assert epoch(3, workers=2) == reference
    assert torch.equal(torch.get_rng_state(), before)  # training's own generator was left alone
    assert epoch(3, start=1) == reference[2:]
    assert epoch(3, cache=0) == reference
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
def test_each_preprocess_makes_its_size(
    tmp_path: Path, data: dict[str, Any], shape: tuple[int, int]
) -> None:
    put(tmp_path / "A" / "x.png", noise(0, 30, 40))
    put(tmp_path / "B" / "x.png", noise(1, 30, 40))
    for training in (True, False):
        one, two = opened(tmp_path, True, training, **data)[1, 0]
        assert one.shape == two.shape == (*shape, 3)


@pytest.mark.parametrize(
    "data",
    [
        {"preprocess": "crop", "crop_size": 32},
        {"preprocess": "scale_width_and_crop", "load_size": 40, "crop_size": 32},
    ],
)
def test_a_crop_larger_than_the_image_is_refused(tmp_path: Path, data: dict[str, Any]) -> None:
    for domain in "AB":
        put(tmp_path / domain / "x.png", noise(0, 30, 40))
    with pytest.raises(UserError, match=r"x\.png is 40x30, smaller than data\.crop_size 32"):
        opened(tmp_path, True, **data)[1, 0]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"load_size": 200}, "load_size 200 is smaller than data.crop_size 256"),
        ({"crop_size": 0}, "sizes start at 1"),
        ({"workers": -1}, "workers"),
        ({"channels": (2, 3)}, "channels are 1 or 3"),
    ],
)
def test_impossible_settings_are_refused(data: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        DataConfig(**data)


def test_empty_and_missing_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"there is no data folder .*nowhere"):
        find(tmp_path / "nowhere", "train", True)
    with pytest.raises(UserError, match="holds no images to train on; it needs"):
        find(tmp_path, "train", True)
    put(tmp_path / "A" / "x.png", noise(0))
    with pytest.raises(UserError, match="has no folder B"):
        find(tmp_path, "train", False)
    (tmp_path / "B").mkdir()
    with pytest.raises(UserError, match="B holds no images"):
        find(tmp_path, "train", False)


def test_names_without_a_partner_are_listed_ten_and_counted(tmp_path: Path) -> None:
    root = two_folders(tmp_path, 15, 2)
    with pytest.raises(UserError) as caught:
        find(root, "train", True)
    assert str(caught.value).startswith("13 of the images")
    assert str(caught.value).count(".png") == 10 and "and 3 more" in str(caught.value)
    assert find(root, "train", False) is not None


def test_pairs_may_differ_in_their_ending_but_not_stand_twice(tmp_path: Path) -> None:
    put(tmp_path / "A" / "x.png", noise(0))
    put(tmp_path / "B" / "x.bmp", noise(1))
    found = find(tmp_path, "train", True)
    assert found is not None and found.b == (tmp_path / "B" / "x.bmp",)
    put(tmp_path / "A" / "x.bmp", noise(2))
    with pytest.raises(UserError, match=r"x\.bmp and x\.png have the same name"):
        find(tmp_path, "train", True)


def test_different_sizes_in_a_pair_are_refused(tmp_path: Path) -> None:
    put(tmp_path / "A" / "x.png", noise(0, 24, 24))
    put(tmp_path / "B" / "x.png", noise(1, 24, 26))
    with pytest.raises(UserError, match=r"A/x\.png.* and .*B/x\.png.* of different sizes"):
        opened(tmp_path, True, **RAW)[1, 0]


def test_different_sizes_in_a_batch_are_refused(tmp_path: Path) -> None:
    for domain in "AB":
        put(tmp_path / domain / "0.png", noise(0, 24, 24))
        put(tmp_path / domain / "1.png", noise(1, 24, 26))
    pictures = opened(tmp_path, True, **RAW)
    assert pictures.batch([(1, 0)])[0].shape[0] == 1
    with pytest.raises(UserError, match=r"24x24, 26x24.*cannot share a batch"):
        pictures.batch([(1, 0), (1, 1)])


def test_one_image_is_a_data_set(tmp_path: Path) -> None:
    pictures = opened(two_folders(tmp_path, 1, 1), True, **RAW)
    assert len(pictures) == 1
    ((source, target),) = batches(pictures, 4, 1, 0)
    assert source.shape == target.shape == (1, 3, 24, 24)
    expected = torch.from_numpy(noise(0)).movedim(-1, 0) / 127.5 - 1
    assert torch.equal(source[0], expected)


def test_the_cache_holds_what_fits_and_no_more(tmp_path: Path) -> None:
    for domain in "AB":
        put(tmp_path / domain / "0.png", noise(0, 600, 600))
    pictures = Pictures(
        Found("", (tmp_path / "A/0.png",), (tmp_path / "B/0.png",), False),
        DataConfig(cache=2, **RAW), True, 0, True,
    )  # fmt: skip
    first = pictures.picture("a", 0)
    assert pictures.picture("a", 0) is first  # 1.03 of 2 MiB
    other = pictures.picture("b", 0)
    assert pictures.picture("b", 0) is not other


# -- reading files


def test_a_truncated_jpeg_is_refused_by_name(tmp_path: Path) -> None:
    whole = tmp_path / "whole.jpg"
    put(whole, noise(0, 64, 64))
    assert read(whole).shape == (64, 64, 3)
    (tmp_path / "half.jpg").write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    with pytest.raises(UserError, match=r"half\.jpg is damaged or cannot be read"):
        read(tmp_path / "half.jpg")


@pytest.mark.parametrize("content", [b"just text\n", b"", b"\x89PNG\r\n\x1a\n", b"GIF89a"])
def test_what_is_no_image_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.jpg").write_bytes(content)
    with pytest.raises(UserError, match=r"x\.jpg is (not an image|damaged)"):
        read(tmp_path / "x.jpg")


def sixteen_bit_rgb(path: Path) -> None:
    """A 2x1 PNG of 16 bits a channel, which Pillow shows as 8."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(
            ">I", zlib.crc32(kind + data))  # fmt: skip

    header = struct.pack(">IIBBBBB", 2, 1, 16, 2, 0, 0, 0)
    rows = zlib.compress(b"\0" + struct.pack(">6H", *range(0, 60000, 10000)))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows)
                     + chunk(b"IEND", b""))  # fmt: skip


def test_sixteen_bits_are_refused(tmp_path: Path) -> None:
    grey = tmp_path / "grey.png"
    Image.fromarray(np.full((4, 4), 40000, dtype=np.uint16)).save(grey)
    sixteen_bit_rgb(tmp_path / "rgb.png")
    with Image.open(tmp_path / "rgb.png") as image:
        assert image.mode == "RGB" and image.size == (2, 1)  # a sound file, and nothing tells
    for name in ("grey.png", "rgb.png"):
        with pytest.raises(UserError, match=f"{name} has more than 8 bits"):
            read(tmp_path / name)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_turns_upright(tmp_path: Path, orientation: int) -> None:
    upright = noise(0, 6, 4)
    stored = {
        1: upright, 2: upright[:, ::-1], 3: upright[::-1, ::-1], 4: upright[::-1],
        5: upright.swapaxes(0, 1), 6: np.rot90(upright, 1), 7: np.rot90(upright, 2).swapaxes(0, 1),
        8: np.rot90(upright, -1),
    }[orientation]  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "x.png"
    Image.fromarray(np.ascontiguousarray(stored)).save(path, exif=exif)
    assert np.array_equal(read(path), upright)
    assert size(path) == (6, 4)


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "webp"])
def test_a_size_is_read_upright_and_from_the_header_alone(tmp_path: Path, suffix: str) -> None:
    exif = Image.Exif()
    path = tmp_path / f"x.{suffix}"
    for orientation, expected in ((1, (60, 40)), (6, (40, 60))):
        exif[0x0112] = orientation
        Image.fromarray(noise(0, 60, 40)).save(path, exif=exif)
        assert size(path) == read(path).shape[:2] == expected
    Image.fromarray(noise(0, 60, 40)).save(path)
    if suffix in ("png", "jpg"):  # the others keep what they are at the end of the file
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert size(path) == (60, 40)


def test_palettes_become_rgb(tmp_path: Path) -> None:
    image = Image.new("P", (3, 1))
    image.putpalette([10, 20, 30, 200, 100, 50, 0, 255, 0])
    image.putdata([0, 1, 2])
    image.save(tmp_path / "x.png")
    assert read(tmp_path / "x.png").tolist() == [[[10, 20, 30], [200, 100, 50], [0, 255, 0]]]


def test_transparency_lies_over_white(tmp_path: Path) -> None:
    rgba = np.array([[[255, 0, 0, 0], [255, 0, 0, 255], [255, 0, 0, 51]]], dtype=np.uint8)
    Image.fromarray(rgba).save(tmp_path / "rgba.png")
    expected = [[[255, 255, 255], [255, 0, 0], [255, 204, 204]]]
    assert read(tmp_path / "rgba.png").tolist() == expected
    grey = np.array([[[0, 0], [0, 255], [0, 51]]], dtype=np.uint8)
    Image.fromarray(grey).save(tmp_path / "la.png")
    assert read(tmp_path / "la.png", 1).tolist() == [[[255], [0], [204]]]
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.putdata([0, 1])
    image.save(tmp_path / "p.png", transparency=0)
    assert read(tmp_path / "p.png").tolist() == [[[255, 255, 255], [200, 100, 50]]]


def test_cmyk_becomes_rgb(tmp_path: Path) -> None:
    image = Image.new("CMYK", (2, 1), (0, 0, 0, 0))
    image.putpixel((1, 0), (255, 255, 0, 0))
    image.save(tmp_path / "x.tif")
    assert read(tmp_path / "x.tif").tolist() == [[[255, 255, 255], [0, 0, 255]]]


def test_grey_is_luminance(tmp_path: Path) -> None:
    put(tmp_path / "x.png", np.array([[[255, 0, 0], [0, 255, 0]]], dtype=np.uint8))
    assert read(tmp_path / "x.png", 1).tolist() == [[[76], [150]]]
