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


def make_constant_image(item):
    return torch.full(SHAPE, item % 256, dtype=torch.uint8)


def encode_process_id(item):
    digits = torch.tensor(list(os.getpid().to_bytes(3, "big")), dtype=torch.uint8)
    return digits[:, None, None].expand(SHAPE)


def refuse_odd(item):
    if item % 2:
        raise ValueError(f"item {item} is odd")
    return make_constant_image(item)


def fail_to_decode(item):
    raise AssertionError("decoded again")


def build_numbers(
    folder, decode=make_constant_image, shape=SHAPE, count=COUNT, key="key", skip=False
):
    return open_cached(folder, "numbers", shape, range(count), decode, key, skip)


def read_values(images):
    assert (images.flatten(1) == images.flatten(1)[:, :1]).all()
    return images[:, 0, 0, 0].tolist()


def test_images_are_in_the_order_of_the_items(tmp_path):
    images, kept = build_numbers(tmp_path / "new" / "folder")
    assert images.shape == (COUNT, *SHAPE)
    assert images.dtype == torch.uint8
    assert read_values(images) == list(range(COUNT))
    assert kept.dtype == torch.bool
    assert kept.all()


def test_second_call_decodes_nothing(tmp_path):
    first = build_numbers(tmp_path)
    assert torch.equal(build_numbers(tmp_path, decode=fail_to_decode).images, first.images)


@pytest.mark.parametrize(
    "change", [{"key": "other"}, {"shape": (3, 5, 4)}, {"count": COUNT - 1}, {"skip": True}]
)
def test_file_name_depends_on_everything_that_the_images_depend_on(tmp_path, change):
    build_numbers(tmp_path)
    build_numbers(
        tmp_path,
        decode=lambda item: make_constant_image(item).view(change.get("shape", SHAPE)),
        **change,
    )
    assert len(list(tmp_path.iterdir())) == 2
    build_numbers(tmp_path, decode=fail_to_decode)


def test_file_is_mapped_and_cannot_be_changed_through_the_tensor(tmp_path):
    images = build_numbers(tmp_path).images
    with open(next(tmp_path.iterdir()), "r+b") as file:
        file.write(bytes([255] * math.prod(SHAPE)))
    changed = [255, *range(1, COUNT)]
    assert read_values(images) == changed
    images.zero_()
    assert read_values(build_numbers(tmp_path).images) == changed


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_processes_share_the_work_and_keep_the_order(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "count_usable_cores", lambda: 2)
    count = 5 * 64 + 1
    assert read_values(build_numbers(tmp_path, count=count).images) == [
        i % 256 for i in range(count)
    ]
    workers = (
        build_numbers(tmp_path, encode_process_id, count=count, key="process")
        .images[..., 0, 0]
        .unique(dim=0)
    )
    assert len(workers) == 2
    assert encode_process_id(0)[:, 0, 0].tolist() not in workers.tolist()


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("count", [COUNT, 200])
def test_build_does_not_change_the_random_state(tmp_path, count):
    before = torch.get_rng_state()
    build_numbers(tmp_path, count=count)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("count", [COUNT, 200])
def test_first_item_that_cannot_be_decoded_stops_the_build(tmp_path, count):
    with pytest.raises(ValueError, match=r"^item 1 is odd$"):
        build_numbers(tmp_path, refuse_odd, count=count)
    assert not list(tmp_path.iterdir())


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("count", [COUNT, 200])
def test_items_that_cannot_be_decoded_can_be_skipped(tmp_path, count):
    for decode in (refuse_odd, fail_to_decode):
        images, kept = build_numbers(tmp_path, decode, count=count, skip=True)
        assert read_values(images) == list(range(0, count, 2))
        assert kept.tolist() == [True, False] * (count // 2)


def test_image_of_another_size_stops_the_build(tmp_path):
    with pytest.raises(RuntimeError, match="invalid for input of size 60"):
        build_numbers(tmp_path, shape=(3, 4, 4))
    assert not list(tmp_path.iterdir())


def test_all_items_can_be_skipped(tmp_path):
    images, kept = open_cached(tmp_path, "odd", SHAPE, [1, 3], refuse_odd, "", skip=True)
    assert images.shape == (0, *SHAPE)
    assert not kept.any()


@pytest.mark.parametrize("stop", [KeyboardInterrupt, MemoryError])
def test_interrupted_build_leaves_no_file(tmp_path, stop):
    def stop_at_item_5(item):
        if item == 5:
            assert [path.suffix for path in tmp_path.iterdir()] == [".part"]
            raise stop
        return make_constant_image(item)

    with pytest.raises(stop):
        build_numbers(tmp_path, stop_at_item_5)
    assert not list(tmp_path.iterdir())


SCRIPT = """
import os, sys
import torch
from vaelab.data.cache import open_cached

def make_constant_image(item):
    if item == 5 and sys.argv[2] == "kill":
        os.kill(os.getpid(), 9)
    return torch.full((3, 4, 5), item, dtype=torch.uint8)

open_cached(sys.argv[1], "numbers", (3, 4, 5), range(10), make_constant_image, "key")
"""


def run_another_process(folder, action):
    command = [sys.executable, "-c", SCRIPT, str(folder), action]
    return subprocess.run(command, capture_output=True, check=False).returncode


def test_killed_build_is_not_mistaken_for_a_complete_one(tmp_path):
    assert run_another_process(tmp_path, "kill") == -signal.SIGKILL
    assert [path.suffix for path in tmp_path.iterdir()] == [".part"]
    assert read_values(build_numbers(tmp_path).images) == list(range(COUNT))
    assert [path.suffix for path in tmp_path.iterdir()] == [".u8"]


@pytest.mark.slow
def test_two_processes_can_build_at_the_same_time(tmp_path):
    inodes = []

    def decode_during_another_build(item):
        if item == 5:
            assert run_another_process(tmp_path, "build") == 0
            assert {path.suffix for path in tmp_path.iterdir()} == {".u8", ".part"}
            inodes.append(next(tmp_path.glob("*.u8")).stat().st_ino)
        return make_constant_image(item)

    assert read_values(build_numbers(tmp_path, decode_during_another_build).images) == list(
        range(COUNT)
    )
    (file,) = tmp_path.iterdir()
    assert file.suffix == ".u8"
    assert file.stat().st_ino not in inodes  # a process that mapped the other file keeps it


def test_part_file_is_deleted_only_when_no_process_writes_it(tmp_path):
    def make_part_file(owner, age):
        path = tmp_path / f"other-123.u8.{owner}.part"
        path.touch()
        os.utime(path, (time.time() - age,) * 2)
        return path

    kept = [make_part_file(f"{platform.node()}.{os.getppid()}", age=2 * cache.SECONDS_PER_DAY)]
    kept += [make_part_file("other.machine.7", age=0)]
    deleted = [make_part_file(f"{platform.node()}.{2**22 + 1}", age=0)]
    deleted += [make_part_file("other.machine.8", age=2 * cache.SECONDS_PER_DAY)]
    build_numbers(tmp_path)
    assert all(path.exists() for path in kept)
    assert not any(path.exists() for path in deleted)


@pytest.mark.parametrize("size", [0, 5, 100, -1])
def test_file_of_another_size_is_decoded_again(tmp_path, size):
    build_numbers(tmp_path)
    file = next(tmp_path.iterdir())
    file.write_bytes(file.read_bytes()[:size])
    assert read_values(build_numbers(tmp_path).images) == list(range(COUNT))
    build_numbers(tmp_path, decode=fail_to_decode)


@contextlib.contextmanager
def limit_file_size():
    """Limit files to 100 bytes, so that writing a larger one fails as on a full disk."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        with contextlib.redirect_stderr(io.StringIO()):  # pytest's stderr is a file too
            yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_full_disk_is_reported_in_one_line_and_leaves_no_file(tmp_path):
    message = (
        r"^the cache file .* GB\) cannot be written \(File too large\): .* data.cache=<folder> "
    )
    with pytest.raises(ValueError, match=message), limit_file_size():
        build_numbers(tmp_path)
    assert not list(tmp_path.iterdir())


def test_unwritable_folder_is_reported_in_one_line(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=r"^the cache file .* set data.cache=<folder> "):
        build_numbers(tmp_path / "file")


def test_complete_file_needs_no_writable_folder(tmp_path, monkeypatch):
    build_numbers(tmp_path)
    monkeypatch.setattr(cache, "_build_cache_file", fail_to_decode)
    build_numbers(tmp_path)
