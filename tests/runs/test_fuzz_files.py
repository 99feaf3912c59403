"""Damaged files are read correctly or refused in one line, never with another exception."""

import io
import shutil
import signal
import struct
import zipfile
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import slow
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from test_celeba import write_celeba

from vaelab.data.arrays import Arrays
from vaelab.data.celeba import IMAGES_NAME, CelebA
from vaelab.data.image_file import read_image
from vaelab.data.mnist import MNIST
from vaelab.report.write import write_report
from vaelab.runs import jobs, untrusted, weights
from vaelab.runs.history import read_kl_history, read_metric_curves
from vaelab.runs.run import _read_weights
from vaelab.runtime import trusted_config
from vaelab.sweeps import job_table

MAX_SECONDS = 20  # of reading a file, before the test fails
HUGE = [b"\xff" * 4, b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f", b"\x00" * 4, b"\x80\x00\x00\x00"]
HUGE += [
    b"9" * 30,
    b"-",
    b"nan",
    b"${oc.env:HOME}",
    b"\n",
    b",",
    b'"',
    b"{",
    b"'",
    b"\x00",
    b"..//",
]


@st.composite
def damaged_bytes(draw, content):
    """Draw bytes with one to four flips, cuts, insertions, duplications or huge numbers."""
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, max(0, len(content) - 1)))
        end = draw(st.integers(start, min(len(content), start + 40)))
        kind = draw(st.sampled_from(["flip", "cut", "insert", "duplicate", "huge", "remove"]))
        part = draw(st.sampled_from(HUGE))
        if kind == "flip" and content:
            flipped = bytes([content[start] ^ 1 << draw(st.integers(0, 7))])
            content = content[:start] + flipped + content[start + 1 :]
        content = {
            "flip": content,
            "cut": content[:start],
            "insert": content[:start] + part + content[start:],
            "duplicate": content[:end] + content[start:],
            "huge": content[:start] + part + content[start + len(part) :],
            "remove": content[:start] + content[end:],
        }[kind]
    return content


@contextmanager
def time_limit():
    """Raise AssertionError if the context takes longer than MAX_SECONDS."""

    def fail(*_):
        raise AssertionError(f"it takes longer than {MAX_SECONDS} s")

    previous = signal.signal(signal.SIGALRM, fail)
    signal.alarm(MAX_SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, previous)


def fuzz_file(path, read, examples, is_correct=None):
    """Read damaged versions of a file, which must be refused in one line or read correctly.

    Arguments:
        read: Reads the file.
        examples: The number of damaged versions.
        is_correct: True if the result of `read` is that of the intact file; None accepts any.
    """
    intact = path.read_bytes()

    @settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(damaged_bytes(intact))
    def check_file(content):
        path.write_bytes(content)
        with time_limit():
            try:
                result = read()
            except (ValueError, OSError) as error:
                message = str(error)
                assert message
                assert "\n" not in message, message
                return
        is_accepted = content == intact or is_correct is None or is_correct(result)
        assert is_accepted, "wrong data were read without an error"

    check_file()
    path.write_bytes(intact)


EXAMPLES = pytest.mark.parametrize("examples", [40, *slow(600)], ids=["few", "many"])


@EXAMPLES
@pytest.mark.parametrize("name", ["train-images-idx3-ubyte", "t10k-labels-idx1-ubyte"])
def test_idx_files(idx, name, examples):
    def read():
        data = MNIST(idx.root, validation=10)
        data.prepare_data()
        data.setup()
        return data

    fuzz_file(Path(idx.root, "MNIST/raw", name), read, examples, lambda data: False)


@EXAMPLES
@pytest.mark.parametrize("kind", ["jpeg", "png", "gif", "bmp", "tiff", "webp", "ppm"])
def test_image_files(tmp_path, kind, examples):
    values = np.random.default_rng(0).integers(0, 256, (20, 16, 3), dtype=np.uint8)
    Image.fromarray(values).save(tmp_path / "x", kind)

    def read():
        return read_image(
            "x", lambda _: (tmp_path / "x").read_bytes(), (3, 8, 8), None, "replace it"
        )

    fuzz_file(tmp_path / "x", read, examples, lambda x: x.shape == (3, 8, 8))


def zip_images(root):
    with zipfile.ZipFile(root / f"{IMAGES_NAME}.zip", "w") as file:
        for path in sorted((root / IMAGES_NAME).iterdir()):
            file.write(path, f"{IMAGES_NAME}/{path.name}")
    shutil.rmtree(root / IMAGES_NAME)


def read_celeba(root):
    """Read CelebA without its cache."""
    data = CelebA(str(root), (3, 8, 8), 140)
    shutil.rmtree(data.cache, ignore_errors=True)
    data.setup()
    return data


@EXAMPLES
def test_zip_file_of_celeba(tmp_path, examples):
    write_celeba(tmp_path)
    zip_images(tmp_path)
    splits = read_celeba(tmp_path).splits
    expected = {name: split.images.clone() for name, split in splits.items()}

    def is_correct(data):
        return all(torch.equal(data.splits[name].images, expected[name]) for name in expected)

    fuzz_file(
        tmp_path / f"{IMAGES_NAME}.zip", lambda: read_celeba(tmp_path), examples // 4, is_correct
    )


@EXAMPLES
@pytest.mark.parametrize("name", ["list_eval_partition.txt", "list_attr_celeba.txt"])
def test_tables_of_celeba(tmp_path, name, examples):
    write_celeba(tmp_path)
    fuzz_file(tmp_path / name, lambda: read_celeba(tmp_path), examples // 4)


@EXAMPLES
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz_files(tmp_path, save, examples):
    path = tmp_path / "x.npz"
    save(path, x=np.random.default_rng(0).random((40, 1, 4, 4)), y=np.arange(40))
    expected = Arrays(str(path)).arrays

    def is_correct(arrays):
        return all(np.array_equal(arrays[name], expected[name]) for name in arrays)

    fuzz_file(path, lambda: Arrays(str(path)).arrays, examples, is_correct)


def make_npz(shape, dtype="<f8"):
    """Return the bytes of an npz whose header claims this shape, with 64 bytes of data."""
    header = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    array = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + bytes(64)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as npz:
        npz.writestr("x.npy", array)
    return file.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        make_npz((10**15, 4)),
        make_npz((10**30, 4)),
        make_npz((-1, 4)),
        make_npz((2, 4), "|O"),
        make_npz((2, 4), "<U4"),
        make_npz("__import__('os').system('touch started')"),
    ],
)
def test_npz_with_a_hostile_header_is_refused(tmp_path, content, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.npz").write_bytes(content)
    with pytest.raises(ValueError, match=r"x\.npz"):
        Arrays("x.npz").setup()
    assert not (tmp_path / "started").exists()


@EXAMPLES
def test_checkpoints(tmp_path, examples):
    path = tmp_path / "best.ckpt"
    expected = {"a": torch.arange(6.0).view(2, 3), "b": torch.ones(2, dtype=torch.long)}
    torch.save({"state_dict": expected, "global_step": 7}, path)

    def is_correct(state):
        tensors, step = state
        are_equal = all(torch.equal(tensors[name], expected[name]) for name in expected)
        return tensors.keys() == expected.keys() and are_equal and step == 7

    fuzz_file(path, lambda: _read_weights(path), examples, is_correct)


@EXAMPLES
def test_safetensors_files(tmp_path, examples):
    from safetensors.torch import save

    metadata = '{"config": "data: {}\\nmodule: {}", "step": 3, "choices": {}, "overrides": []}'
    path = tmp_path / weights.FILE_NAME
    path.write_bytes(save({"a": torch.ones(3)}, {weights.METADATA_KEY: metadata}))
    fuzz_file(path, lambda: (weights.read_header(path), weights.load_weights(path)), examples)


METRICS = b"""epoch,step,train/elbo,train/kl,val/elbo,val/kl
0,0,-550.25,12.5,,
0,9,-300.0,11.25,,
0,9,,,-290.5,10.0
1,19,-200.0,nan,-180.25,9e-3
"""
NUMBERS = b"""{"split": "test", "images": 500, "measure": "probability", "elbo": -110.5, "kl": 25.0,
"nll": 104.75, "nll_se": 1.25, "kl_per_dimension": [3.5, null], "active_units": 2, "seed": 0,
"pixels": "binary", "shape": [1, 28, 28], "monitor": "val/elbo", "val_elbo": -109.25, "steps": 64,
"choices": {"data": "mnist5k", "loss": "bce", "model": "mlp"}, "git": {"commit": "ab"},
"parameters_of": {"encoder": 130000}, "versions": {"torch": "2"}, "wall_s": 23.5}"""
CONFIG = b"""data: {_target_: a.B, shape: [1, 28, 28], root: "${oc.env:VAELAB_DATA,data}"}
module: {vae: {prior: "${prior}"}}
objective: {kl: "${kl}"}
model: {hidden: [32, 64], encoder: {_target_: a.E}}
latent_dim: 3
"""
HYDRA = b"""hydra:
  runtime: {cwd: /here, choices: {data: mnist5k, model: mlp, hydra/launcher: basic}}
  overrides: {task: [model=mlp]}
"""
FILES = {
    "metrics.csv": METRICS,
    "figures/kl_per_dimension.csv": b"epoch,step,1,2\n0,9,0.5,1.25\n1,19,0.75,1.5\n",
    "metrics.json": NUMBERS,
    "evaluation/test-best-100/numbers.json": NUMBERS,
    ".hydra/config.yaml": CONFIG,
    ".hydra/hydra.yaml": HYDRA,
    ".hydra/overrides.yaml": b"- model=mlp\n- kl.beta=4\n",
    "failed.txt": b"it failed\n",
}


@EXAMPLES
@pytest.mark.parametrize("name", FILES)
def test_files_of_a_run_folder(tmp_path, name, examples):
    """A damaged file never stops the report of a run or multirun; its reader refuses it."""
    for job in ("0", "1"):
        for file, content in FILES.items():
            path = tmp_path / job / file
            path.parent.mkdir(parents=True, exist_ok=True)
            if file != "failed.txt" or name == file:
                path.write_bytes(content)
    run = tmp_path / "0"

    def read_all():
        write_report(run)
        write_report(tmp_path)
        job_table.print_job_tables(jobs.read_jobs(tmp_path))
        for read in (
            lambda: read_metric_curves(run / "metrics.csv"),
            lambda: read_kl_history(run / "figures" / "kl_per_dimension.csv"),
            lambda: trusted_config.check_config(
                untrusted.read_config(run / ".hydra" / "config.yaml")
            ),
        ):
            message = ""
            try:
                read()
            except (ValueError, OSError) as error:
                message = str(error)
            assert "\n" not in message

    def read_all_without_errors():
        try:
            read_all()
        except (ValueError, OSError) as error:  # fuzz_file would accept it
            raise AssertionError(f"the report stops at {error}") from error

    fuzz_file(run / name, read_all_without_errors, examples // 4)
