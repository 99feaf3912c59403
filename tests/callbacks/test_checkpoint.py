"""Checkpoints are written atomically, and the latest intact one is found."""

import errno
import io
import subprocess

import pytest
import torch

from vaelab.callbacks.checkpoint import Checkpoint
from vaelab.runs.checkpoints import AtomicCheckpointIO, find_latest_checkpoint, read_checkpoint


def make_checkpoint(step):
    return {"state_dict": {"x": torch.arange(500.0)}, "global_step": step}


@pytest.fixture
def folder(tmp_path):
    for name, step in (("best", 3), ("last", 5)):
        AtomicCheckpointIO().save_checkpoint(make_checkpoint(step), tmp_path / f"{name}.ckpt")
    return tmp_path


def test_latest_checkpoint_has_the_most_steps(folder):
    assert find_latest_checkpoint(folder) == folder / "last.ckpt"
    (folder / "last.ckpt").unlink()
    assert find_latest_checkpoint(folder) == folder / "best.ckpt"


@pytest.mark.parametrize("fraction", [0, 0.1, 0.5, 0.9, 0.999])
def test_truncated_checkpoint_is_refused_and_not_the_latest(folder, fraction):
    content = (folder / "last.ckpt").read_bytes()
    (folder / "last.ckpt").write_bytes(content[: int(fraction * len(content))])
    assert find_latest_checkpoint(folder) == folder / "best.ckpt"
    with pytest.raises(ValueError, match=r"last\.ckpt is truncated, or not a checkpoint"):
        read_checkpoint(folder / "last.ckpt")


def test_checkpoint_with_a_flipped_bit_is_refused(folder):
    path = folder / "last.ckpt"
    content = bytearray(path.read_bytes())
    content[content.index(torch.tensor(321.0).numpy().tobytes())] ^= 1
    path.write_bytes(content)
    assert torch.load(path, weights_only=True)  # torch.load does not check it
    with pytest.raises(ValueError, match="truncated"):
        read_checkpoint(path)


def test_there_is_no_latest_checkpoint_without_an_intact_one(folder, tmp_path):
    for path in folder.iterdir():
        path.write_bytes(b"PK")
    assert find_latest_checkpoint(folder) is None
    assert find_latest_checkpoint(tmp_path / "missing") is None


def test_failed_write_keeps_the_old_checkpoint_and_no_other_file(folder, monkeypatch):
    def fail(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OSError, match="No space left"):
        AtomicCheckpointIO().save_checkpoint(make_checkpoint(9), folder / "last.ckpt")
    assert read_checkpoint(folder / "last.ckpt")["global_step"] == 5
    assert {path.name for path in folder.iterdir()} == {"best.ckpt", "last.ckpt"}


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 300 kB, if this user is allowed to mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(folder)]
    try:
        done = subprocess.run(words, capture_output=True, check=False)
    except FileNotFoundError:
        pytest.skip("mount is not installed")
    if done.returncode:
        pytest.skip("this user may not mount a file system")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_full_disk_keeps_the_last_intact_checkpoint(small_disk):
    path = small_disk / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint(make_checkpoint(5), path)
    large = make_checkpoint(6) | {"state_dict": {"x": torch.zeros(100_000)}}
    with pytest.raises(OSError, match="No space left"):
        AtomicCheckpointIO().save_checkpoint(large, path)
    assert read_checkpoint(path)["global_step"] == 5
    assert [path.name for path in small_disk.iterdir()] == ["last.ckpt"]


def test_file_without_a_training_state_is_refused(tmp_path):
    content = io.BytesIO()
    torch.save({"x": 1}, content)
    (tmp_path / "x.ckpt").write_bytes(content.getvalue())
    with pytest.raises(ValueError, match="not a checkpoint of vaelab"):
        read_checkpoint(tmp_path / "x.ckpt")


@pytest.mark.parametrize("minutes", [0, -1, float("nan")])
def test_minutes_must_be_positive(minutes):
    with pytest.raises(ValueError, match=r"callbacks.checkpoint.minutes="):
        Checkpoint("x", minutes)


def test_best_and_last_checkpoint_are_separate_files(train):
    folder = train("model.hidden=[4]", "trainer.limit_train_batches=2")["folder"] / "checkpoints"
    best, last = folder / "best.ckpt", folder / "last.ckpt"
    assert best.read_bytes() == last.read_bytes()
    with last.open("r+b") as file:
        file.seek(last.stat().st_size // 2)
        file.write(bytes([last.read_bytes()[last.stat().st_size // 2] ^ 1]))
    assert find_latest_checkpoint(folder) == best
