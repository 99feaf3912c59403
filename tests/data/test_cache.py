import contextlib
import io
import math
import os
import platform
import resource
import signal
import subprocess
import sys
import time

import pytest
import torch

from vaelab.data import cache
from vaelab.data.cache import open_cached

SHAPE = (3, 4, 5)
COUNT = 10


def flat(item):
    return torch.full(SHAPE, item % 256, dtype=torch.uint8)


def process(item):
    digits = torch.tensor(list(os.getpid().to_bytes(3, "big")), dtype=torch.uint8)
    return digits[:, None, None].expand(SHAPE)


def refuse_odd(item):
    if item % 2:
        raise ValueError(f"item {item} is odd")
    return flat(item)


def never(item):
    raise AssertionError("decoded again")


def build(folder, decode=flat, shape=SHAPE, count=COUNT, key="key", skip=False):
    return open_cached(folder, "numbers", shape, range(count), decode, key, skip)


def values(images):
    assert (images.flatten(1) == images.flatten(1)[:, :1]).all()
    return images[:, 0, 0, 0].tolist()


def test_the_pictures_come_in_the_order_of_the_items(tmp_path):
    images, kept = build(tmp_path / "new" / "folder")
    assert images.shape == (COUNT, *SHAPE)
    assert images.dtype == torch.uint8
    assert values(images) == list(range(COUNT))
    assert kept.dtype == torch.bool
    assert kept.all()


def test_the_second_time_nothing_is_decoded(tmp_path):
    first = build(tmp_path)
    assert torch.equal(build(tmp_path, decode=never).images, first.images)


@pytest.mark.parametrize(
    "change", [{"key": "other"}, {"shape": (3, 5, 4)}, {"count": COUNT - 1}, {"skip": True}]
)
def test_what_the_pictures_depend_on_is_in_the_name_of_the_file(tmp_path, change):
    build(tmp_path)
    build(tmp_path, decode=lambda item: flat(item).view(change.get("shape", SHAPE)), **change)
    assert len(list(tmp_path.iterdir())) == 2
    build(tmp_path, decode=never)


def test_the_file_is_mapped_and_cannot_be_changed_through_the_tensor(tmp_path):
    images = build(tmp_path).images
    with open(next(tmp_path.iterdir()), "r+b") as file:
        file.write(bytes([255] * math.prod(SHAPE)))
    changed = [255, *range(1, COUNT)]
    assert values(images) == changed
    images.zero_()
    assert values(build(tmp_path).images) == changed


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_processes_share_the_work_and_keep_the_order(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "_cores", lambda: 2)
    count = 5 * 64 + 1
    assert values(build(tmp_path, count=count).images) == [i % 256 for i in range(count)]
    workers = build(tmp_path, process, count=count, key="process").images[..., 0, 0].unique(dim=0)
    assert len(workers) == 2
    assert process(0)[:, 0, 0].tolist() not in workers.tolist()


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("count", [COUNT, 200])
def test_a_build_leaves_the_random_state_alone(tmp_path, count):
    before = torch.get_rng_state()
    build(tmp_path, count=count)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("count", [COUNT, 200])
def test_the_first_item_that_is_no_picture_stops_the_build(tmp_path, count):
    with pytest.raises(ValueError, match=r"^item 1 is odd$"):
        build(tmp_path, refuse_odd, count=count)
    assert not list(tmp_path.iterdir())


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("count", [COUNT, 200])
def test_items_that_are_no_pictures_can_be_left_out(tmp_path, count):
    for decode in (refuse_odd, never):
        images, kept = build(tmp_path, decode, count=count, skip=True)
        assert values(images) == list(range(0, count, 2))
        assert kept.tolist() == [True, False] * (count // 2)


def test_pictures_of_another_size_stop_the_build(tmp_path):
    with pytest.raises(RuntimeError, match="invalid for input of size 60"):
        build(tmp_path, shape=(3, 4, 4))
    assert not list(tmp_path.iterdir())


def test_all_can_be_left_out(tmp_path):
    images, kept = open_cached(tmp_path, "odd", SHAPE, [1, 3], refuse_odd, "", skip=True)
    assert images.shape == (0, *SHAPE)
    assert not kept.any()


@pytest.mark.parametrize("stop", [KeyboardInterrupt, MemoryError])
def test_a_build_that_is_stopped_leaves_no_file(tmp_path, stop):
    def stopped(item):
        if item == 5:
            assert [path.suffix for path in tmp_path.iterdir()] == [".part"]
            raise stop
        return flat(item)

    with pytest.raises(stop):
        build(tmp_path, stopped)
    assert not list(tmp_path.iterdir())


SCRIPT = """
import os, sys
import torch
from vaelab.data.cache import cached

def flat(item):
    if item == 5 and sys.argv[2] == "kill":
        os.kill(os.getpid(), 9)
    return torch.full((3, 4, 5), item, dtype=torch.uint8)

cached(sys.argv[1], "numbers", (3, 4, 5), range(10), flat, "key")
"""


def another_process(folder, action):
    command = [sys.executable, "-c", SCRIPT, str(folder), action]
    return subprocess.run(command, capture_output=True, check=False).returncode


def test_interrupted_build_is_not_taken_for_a_whole_one(tmp_path):
    assert another_process(tmp_path, "kill") == -signal.SIGKILL
    assert [path.suffix for path in tmp_path.iterdir()] == [".part"]
    assert values(build(tmp_path).images) == list(range(COUNT))
    assert [path.suffix for path in tmp_path.iterdir()] == [".u8"]


def test_two_processes_can_build_at_the_same_time(tmp_path):
    theirs = []

    def interleaved(item):
        if item == 5:
            assert another_process(tmp_path, "build") == 0
            assert {path.suffix for path in tmp_path.iterdir()} == {".u8", ".part"}
            theirs.append(next(tmp_path.glob("*.u8")).stat().st_ino)
        return flat(item)

    assert values(build(tmp_path, interleaved).images) == list(range(COUNT))
    (ours,) = tmp_path.iterdir()
    assert ours.suffix == ".u8"
    assert ours.stat().st_ino not in theirs  # which is still there for whoever has mapped it


def test_a_part_goes_only_when_nobody_writes_it_any_more(tmp_path):
    def part(owner, age):
        path = tmp_path / f"other-123.u8.{owner}.part"
        path.touch()
        os.utime(path, (time.time() - age,) * 2)
        return path

    kept = [part(f"{platform.node()}.{os.getppid()}", age=2 * cache.DAY)]
    kept += [part("else.where.7", age=0)]
    gone = [part(f"{platform.node()}.{2**22 + 1}", age=0), part("else.where.8", age=2 * cache.DAY)]
    build(tmp_path)
    assert all(path.exists() for path in kept)
    assert not any(path.exists() for path in gone)


@pytest.mark.parametrize("size", [0, 5, 100, -1])
def test_a_file_of_another_size_is_decoded_anew(tmp_path, size):
    build(tmp_path)
    file = next(tmp_path.iterdir())
    file.write_bytes(file.read_bytes()[:size])
    assert values(build(tmp_path).images) == list(range(COUNT))
    build(tmp_path, decode=never)


@contextlib.contextmanager
def little_room():
    """Like a full disk, to files above 100 bytes."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        with contextlib.redirect_stderr(io.StringIO()):  # pytest's is a file as well
            yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_full_disk_is_one_line_and_leaves_no_file(tmp_path):
    refusal = r"^the cache .* GB cannot be written \(File too large\): .*data.cache=<folder>$"
    with pytest.raises(ValueError, match=refusal), little_room():
        build(tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=r"^the cache .*file.* set data.cache=<folder>$"):
        build(tmp_path / "file")


def test_a_whole_file_needs_no_writable_folder(tmp_path, monkeypatch):
    build(tmp_path)
    monkeypatch.setattr(cache, "_build", never)
    build(tmp_path)
