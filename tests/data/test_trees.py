"""Test file trees: hostile folders and archives, read in place without unpacking."""

from __future__ import annotations

import hashlib
import io
import os
import socket
import stat
import sys
import tarfile
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from viceversa.data.index.files import FileTree, read_tree
from viceversa.errors import UserError

opened: list[str] = []  # files that Python opens while `recording`
recording = False


def _listen(event: str, arguments: tuple[Any, ...]) -> None:
    if recording and event == "open":
        opened.append(os.fsdecode(arguments[0]) if not isinstance(arguments[0], int) else "")


sys.addaudithook(_listen)


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(name.encode(errors="surrogateescape"))
    return root


def zipped(path: Path, members: list[tuple[str | zipfile.ZipInfo, bytes]], **how: Any) -> Path:
    with zipfile.ZipFile(path, "w", **how) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return path


def member(name: str, content: bytes = b"x", **fields: Any) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for field, value in fields.items():
        setattr(info, field, value)
    return info, content


def tarred(path: Path, members: list[tuple[tarfile.TarInfo, bytes]], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for info, content in members:
            archive.addfile(info, io.BytesIO(content))
    return path


def unix(name: str, mode: int) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.create_system, info.external_attr = 3, mode << 16
    return info


def skip_reasons(tree: FileTree) -> dict[str, str]:
    assert len(dict(tree.skipped)) == len(tree.skipped)
    return dict(tree.skipped)


def digest(root: Path) -> str:
    """Return the SHA-256 of names, contents, modification times and targets of links."""
    total = hashlib.sha256()
    for path in sorted([root, *root.rglob("*")]):
        status = path.lstat()
        total.update(os.fsencode(path) + f"{status.st_mode} {status.st_mtime_ns}".encode())
        if stat.S_ISREG(status.st_mode):
            total.update(path.read_bytes())
        elif stat.S_ISLNK(status.st_mode):
            total.update(os.fsencode(os.readlink(path)))
    return total.hexdigest()


@pytest.fixture
def hostile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A tree with links, special files and unusual names of images."""
    root = touch(
        tmp_path / "set",
        "1.png",
        "sub/2.JPG",
        "sub/deep/3.tif",
        "notes.txt",
        ".hidden.png",
        "._1.png",
        "Thumbs.db",
        ".git/4.png",
        "__MACOSX/5.png",
        "folder.png/6.png",
        "new\nline.png",
        "\udcff.png",
        "\u202etxt.png",
        "\U0001f600.png",
        "x" * 251 + ".png",
        "Case.png",
        "case.png",
    )
    (root / "empty.png").write_bytes(b"")
    (root / "sub/loop").symlink_to("..")
    (root / "sub/above").symlink_to("../..")
    (root / "sub/disk").symlink_to("/")
    (root / "self.png").symlink_to("self.png")
    (root / "dangling.png").symlink_to("nowhere.png")
    (root / "again.png").symlink_to("1.png")  # a link to a file is read as that file
    (root / "zero.png").symlink_to("/dev/zero")
    os.mkfifo(root / "fifo.png")
    touch(tmp_path / "other", "far.png")
    (root / "linked").symlink_to(tmp_path / "other")
    (root / "second").symlink_to(tmp_path / "other")
    monkeypatch.chdir(root)  # the path of a socket must be short
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind("socket.png")
        yield root


@pytest.mark.timeout(10)
def test_hostile_tree_is_listed_without_opening_files(hostile: Path) -> None:
    global recording
    before = digest(hostile)
    opened.clear()
    recording = True
    tree = read_tree(hostile)
    recording = False
    assert not [path for path in opened if str(hostile) in path]
    assert digest(hostile) == before
    assert set(tree.files) == {
        "1.png",
        "sub/2.JPG",
        "sub/deep/3.tif",
        "new\nline.png",
        "\udcff.png",
        "\u202etxt.png",
        "\U0001f600.png",
        "x" * 251 + ".png",
        "Case.png",
        "case.png",
        "empty.png",
        "again.png",
        "linked/far.png",
    }
    assert list(tree.files) == sorted(tree.files)
    assert skip_reasons(tree) == {
        "folder.png": "a folder with an image's name",
        "self.png": "a link that leads to itself",
        "dangling.png": "a link to nothing",
        "zero.png": "a device",
        "fifo.png": "a FIFO",
        "socket.png": "a socket",
        "sub/loop": "leads to the data's own folder, which is not read twice",
        "sub/above": "leads to a folder above the data, which is not read twice",
        "sub/disk": "leads to a folder above the data, which is not read twice",
        "second": "leads to linked, which is not read twice",
    }
    for source in tree.files.values():
        assert str(source).isprintable() and str(source).encode()


def test_negative_controls_of_the_hostile_tree(tmp_path: Path) -> None:
    """A walk that follows links lists more files, and opened files are recorded."""
    global recording
    touch(tmp_path, "1.png", "sub/2.png")
    (tmp_path / "sub/loop").symlink_to("..")
    walked = [file for _, _, files in os.walk(tmp_path, followlinks=True) for file in files]
    assert len(walked) > 40 and len(read_tree(tmp_path).files) == 2
    opened.clear()
    recording = True
    (tmp_path / "1.png").read_bytes()
    recording = False
    assert str(tmp_path / "1.png") in opened


def test_unreadable_folder_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "1.png", "shut/2.png")
    scandir = os.scandir

    def refuse(path: Path) -> Any:
        if Path(path).name == "shut":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)  # tests may run as root, who can read all
    tree = read_tree(tmp_path)
    assert list(tree.files) == ["1.png"]
    assert skip_reasons(tree) == {"shut": "a folder that cannot be read (Permission denied)"}


def test_linked_folders_are_read_and_real_folders_have_priority(tmp_path: Path) -> None:
    touch(tmp_path / "far", "1.png")
    touch(tmp_path / "set", "z/2.png")
    (tmp_path / "set/a").symlink_to("z")
    (tmp_path / "set/A").symlink_to(tmp_path / "far")
    (tmp_path / "way").symlink_to("set")
    assert list(read_tree(tmp_path / "way").files) == ["A/1.png", "z/2.png"]


@pytest.mark.parametrize(
    ("name", "make", "message"),
    [
        ("nowhere", lambda path: None, "there is no data folder .*nowhere"),
        ("x.txt", Path.touch, r"x\.txt is not a folder, a \.zip or \.tar"),
        ("fifo.zip", os.mkfifo, r"fifo\.zip is a FIFO"),
        ("fifo.csv", os.mkfifo, r"fifo\.csv is a FIFO"),
        ("x.zip", Path.touch, r"x\.zip is not a valid archive"),
        ("x.tar", Path.touch, r"x\.tar is not a valid archive"),
        ("new\nline", lambda path: None, r"new\\nline"),
        ("x" * 300, lambda path: None, "cannot be read"),
        ("n\0l", lambda path: None, r"n\\x00l cannot be read"),
        *(
            (f"x.{end}", Path.touch, "a compressed archive that cannot be read in place; unpack it")
            for end in ("tar.gz", "TGZ", "tar.bz2", "tar.xz", "tar.zst")
        ),
    ],
)
@pytest.mark.timeout(10)
def test_invalid_dataset_path_is_refused_with_a_printable_message(
    tmp_path: Path, name: str, make: Callable[[Path], object], message: str
) -> None:
    make(tmp_path / name)
    with pytest.raises(UserError, match=message) as caught:
        read_tree(tmp_path / name)
    assert str(caught.value).isprintable()


def test_hostile_zip_is_read_in_place(tmp_path: Path) -> None:
    locked = unix("locked.png", stat.S_IFREG)
    path = zipped(
        tmp_path / "set.zip",
        [
            ("A/1.png", b"one"),
            ("./A/2.png", b"two"),
            ("B//3.png", b"three"),
            ("../out.png", b"x"),
            ("A/../../up.png", b"x"),
            ("/abs.png", b"x"),
            ("C:/drive.png", b"x"),
            ("..\\back.png", b"x"),
            ("A\\win.png", b"x"),
            (unix("link.png", stat.S_IFLNK), b"/etc/passwd"),
            (unix("f.png", stat.S_IFIFO), b""),
            (unix("null.png", stat.S_IFCHR), b""),
            ("d.png/", b""),
            ("e.png/1.png", b"x"),
            ("A/.x.png", b"x"),
            ("__MACOSX/A/._1.png", b"x"),
            ("notes.txt", b"x"),
            ("bomb.png", bytes(10**7)),
            ("small.png", bytes(10**5)),
            (locked, b"x"),
            ("\u202enew\nline.png", b"x"),
        ],
        compression=zipfile.ZIP_DEFLATED,
    )
    content = bytearray(path.read_bytes())
    at = content.rindex(b"locked.png") - 46  # its entry in the central directory
    content[at + 8] |= 1
    path.write_bytes(content)
    before = digest(tmp_path)
    tree = read_tree(path)
    assert {name: source.read() for name, source in tree.files.items()} == {
        "A/1.png": b"one",
        "A/2.png": b"two",
        "B/3.png": b"three",
        "small.png": bytes(10**5),
        "\u202enew\nline.png": b"x",
    }
    outside, absolute = "a name that leads out of its archive", "an absolute name in an archive"
    assert skip_reasons(tree) == {
        "../out.png": outside,
        "A/../../up.png": outside,
        "..\\back.png": outside,
        "/abs.png": absolute,
        "C:/drive.png": absolute,
        "A\\win.png": "a backslash in a name of a zip, where only slashes separate folders",
        "link.png": "a link in an archive",
        "f.png": "a FIFO in an archive",
        "null.png": "a device in an archive",
        "d.png": "a folder with an image's name",
        "e.png": "a folder with an image's name",
        "locked.png": "encrypted",
        "bomb.png": "grows more than 200 times when decompressed",
    }
    assert digest(tmp_path) == before


def test_member_of_more_than_a_gigabyte_is_skipped(tmp_path: Path) -> None:
    path = zipped(tmp_path / "x.zip", [("big.png", b"x"), ("1.png", b"x")])
    content = bytearray(path.read_bytes())
    at = content.rindex(b"big.png") - 46
    content[at + 20 : at + 28] = (2**30 + 1).to_bytes(4, "little") * 2
    path.write_bytes(content)
    tree = read_tree(path)
    assert list(tree.files) == ["1.png"] and skip_reasons(tree) == {"big.png": "more than 1 GiB"}


def test_hostile_tar_is_read_in_place(tmp_path: Path) -> None:
    path = tarred(
        tmp_path / "set.tar",
        [
            member("A", b"", type=tarfile.DIRTYPE),
            member("./A/1.png", b"one"),
            member("A/" + "x" * 200 + ".png", b"long"),
            member("../out.png"),
            member("A/../../up.png"),
            member("/abs.png"),
            member("notes.txt"),
            member("link.png", b"", type=tarfile.SYMTYPE, linkname="/etc/passwd"),
            member("hard.png", b"", type=tarfile.LNKTYPE, linkname="A/1.png"),
            member("f.png", b"", type=tarfile.FIFOTYPE),
            member("n.png", b"", type=tarfile.CHRTYPE),
            member("d.png", b"", type=tarfile.DIRTYPE),
            member("._1.png"),
            member("empty.png", b""),
            member("\udcff.png"),
        ],
    )
    before = digest(tmp_path)
    tree = read_tree(path)
    assert {name: source.read() for name, source in tree.files.items()} == {
        "A/1.png": b"one",
        "A/" + "x" * 200 + ".png": b"long",
        "empty.png": b"",
        "\udcff.png": b"x",
    }
    outside, link = "a name that leads out of its archive", "a link or device in an archive"
    assert skip_reasons(tree) == {
        "../out.png": outside,
        "A/../../up.png": outside,
        "/abs.png": "an absolute name in an archive",
        "link.png": link,
        "hard.png": link,
        "f.png": link,
        "n.png": link,
        "d.png": "a folder with an image's name",
    }
    assert digest(tmp_path) == before


def test_negative_control_unpacking_writes_outside_of_the_folder(tmp_path: Path) -> None:
    """Reading in place avoids this."""
    (tmp_path / "to").mkdir()
    path = tarred(tmp_path / "x.tar", [member("../out.png"), member("1.png")])
    with tarfile.open(path) as archive:
        archive.extraction_filter = tarfile.fully_trusted_filter
        archive.extractall(tmp_path / "to")
    assert (tmp_path / "out.png").exists()
    packed = zipped(tmp_path / "x.zip", [("../out.zip.png", b"x")])
    with zipfile.ZipFile(packed) as listed:  # zipfile renames it silently
        listed.extractall(tmp_path / "to")
    assert (tmp_path / "to/out.zip.png").exists()


def test_duplicate_names_in_an_archive_are_skipped(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="Duplicate name"):
        path = zipped(tmp_path / "x.zip", [("1.png", b"a"), ("2.png", b"x"), ("1.png", b"b")])
    twice = [member("1.png", b"a"), member("2.png"), member("./1.png", b"b")]
    for archive in (path, tarred(tmp_path / "x.tar", twice)):
        tree = read_tree(archive)
        assert list(tree.files) == ["2.png"]
        assert skip_reasons(tree) == {
            "1.png": "appears 2 times in the archive; none of them is used"
        }


def damaged_tars(content: bytes) -> Iterator[bytes]:
    yield content[:1500]  # ends in the header of the second member
    yield content[:1700]  # ends in its content
    yield content[:1024] + b"x" * 512 + content[1536:]  # header overwritten
    yield b"x" * 2048
    negative = bytearray(content)
    negative[1024 + 124 : 1024 + 136] = (
        b"\xff" * 10 + b"\xfe\x00"
    )  # a size of -512: points to itself
    total = 256 + sum(negative[1024:1536]) - sum(negative[1024 + 148 : 1024 + 156])
    negative[1024 + 148 : 1024 + 156] = b"%06o\0 " % total
    yield bytes(negative)
    header = tarfile.TarInfo("x").tobuf()
    yield header[:156] + b"L" + header[157:]  # the long name is missing


@pytest.mark.timeout(10)
@pytest.mark.parametrize("kind", range(6))
def test_damaged_tar_is_refused(tmp_path: Path, kind: int) -> None:
    path = tarred(tmp_path / "x.tar", [member("1.png"), member("2.png"), member("3.png")])
    assert len(read_tree(path).files) == 3
    path.write_bytes(list(damaged_tars(path.read_bytes()))[kind])
    with pytest.raises(UserError, match=r"x\.tar is not a valid archive"):
        read_tree(path)


def test_negative_control_tarfile_ignores_damage(tmp_path: Path) -> None:
    """tarfile silently lists only the first half of the third kind of damage."""
    path = tarred(tmp_path / "x.tar", [member("1.png"), member("2.png")])
    path.write_bytes(list(damaged_tars(path.read_bytes()))[2])
    with tarfile.open(path) as archive:
        assert archive.getnames() == ["1.png"]


def test_damaged_zip_and_compressed_tar_are_refused(tmp_path: Path) -> None:
    path = zipped(tmp_path / "x.zip", [("1.png", b"x")])
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(UserError, match=r"x\.zip is not a valid archive"):
        read_tree(path)
    tarred(tmp_path / "x.tar", [member("1.png")], "w:gz")  # the extension is .tar
    with pytest.raises(UserError, match=r"create it again, as a \.zip"):
        read_tree(tmp_path / "x.tar")


def test_shards_are_one_tree_with_splits_by_name(tmp_path: Path) -> None:
    for shard in ("train-000", "train-001", "val-000", "test", "more"):
        tarred(tmp_path / f"{shard}.tar", [member(f"{shard}-k.a.png"), member(f"{shard}-k.b.png")])
    tarred(tmp_path / "deep.tar", [member("../x.png")])
    (tmp_path / "sub").mkdir()
    tarred(tmp_path / "sub" / "train-1.tar", [member("s.png")])
    tree = read_tree(tmp_path)
    assert list(tree.files) == [
        "more-k.a.png",
        "more-k.b.png",
        "sub/train/s.png",
        "test/test-k.a.png",
        "test/test-k.b.png",
        "train/train-000-k.a.png",
        "train/train-000-k.b.png",
        "train/train-001-k.a.png",
        "train/train-001-k.b.png",
        "val/val-000-k.a.png",
        "val/val-000-k.b.png",
    ]
    assert skip_reasons(tree) == {"../x.png": "a name that leads out of its archive"}
    assert tree.files["sub/train/s.png"].read() == b"x"


def test_archives_among_images_are_skipped_and_reported(tmp_path: Path) -> None:
    touch(tmp_path, "A/1.png", "B/1.png", "notes.tar.gz")
    tarred(tmp_path / "all.tar", [member("A/1.png")])
    zipped(tmp_path / "all.zip", [("A/1.png", b"x")])
    tree = read_tree(tmp_path)
    assert list(tree.files) == ["A/1.png", "B/1.png"]
    reason = "an archive in a folder, which is not read"
    assert skip_reasons(tree) == dict.fromkeys(("all.tar", "all.zip", "notes.tar.gz"), reason)


@pytest.mark.slow
def test_large_archive_is_listed_in_seconds(tmp_path: Path) -> None:
    count = 20_000
    path = zipped(tmp_path / "x.zip", [(f"A/{i}.png", b"") for i in range(count)])
    start = time.process_time()
    assert len(read_tree(path).files) == count
    assert time.process_time() - start < 2
