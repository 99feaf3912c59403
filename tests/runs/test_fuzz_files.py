"""Files with a few bytes changed: a clear line, or what a checksum lets pass; never a traceback."""

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
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from test_celeba import write_celeba

from vaelab.data.arrays import Arrays
from vaelab.data.celeba import IMAGES_NAME, CelebA
from vaelab.data.image_file import read_image
from vaelab.data.mnist import MNIST
from vaelab.report.write import write_report as report
from vaelab.runs import jobs, untrusted, weights
from vaelab.runs.history import read_kl_history, read_metric_curves
from vaelab.runs.run import _read
from vaelab.sweeps import job_table

HANG = 20  # seconds after which a reader is taken to hang
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
def damaged(draw, content):
    """The bytes after one to four flips, cuts, insertions, doublings, or numbers made huge."""
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(0, len(content) - 1)))
        end = draw(st.integers(at, min(len(content), at + 40)))
        kind = draw(st.sampled_from(["flip", "cut", "insert", "double", "huge", "leave out"]))
        part = draw(st.sampled_from(HUGE))
        if kind == "flip" and content:
            bit = bytes([content[at] ^ 1 << draw(st.integers(0, 7))])
            content = content[:at] + bit + content[at + 1 :]
        content = {
            "flip": content,
            "cut": content[:at],
            "insert": content[:at] + part + content[at:],
            "double": content[:end] + content[at:],
            "huge": content[:at] + part + content[at + len(part) :],
            "leave out": content[:at] + content[end:],
        }[kind]
    return content


@contextmanager
def awake():
    """Fails where what is inside takes longer than any of these files can."""

    def stop(*_):
        raise AssertionError(f"it takes longer than {HANG} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(HANG)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def fuzz(path, use, examples, same=None, content=None):
    """Let `use` read damaged versions of a file: a line, or what `same` takes for right."""
    whole = content or path.read_bytes()

    @settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(damaged(whole))
    def each(changed):
        path.write_bytes(changed)
        with awake():
            try:
                found = use()
            except (ValueError, OSError) as error:
                line = str(error)
                assert line
                assert "\n" not in line, line
                return
        assert changed == whole or same is None or same(found), "wrong data, and no word of it"

    each()
    path.write_bytes(whole)


EXAMPLES = pytest.mark.parametrize(
    "examples", [40, pytest.param(600, marks=pytest.mark.slow)], ids=["some", "many"]
)


@EXAMPLES
@pytest.mark.parametrize("name", ["train-images-idx3-ubyte", "t10k-labels-idx1-ubyte"])
def test_idx(idx, name, examples):
    def use():
        data = MNIST(idx.root, validation=10)
        data.prepare_data()
        data.setup()
        return data

    fuzz(Path(idx.root, "MNIST/raw", name), use, examples, same=lambda data: False)


@EXAMPLES
@pytest.mark.parametrize("kind", ["jpeg", "png", "gif", "bmp", "tiff", "webp", "ppm"])
def test_pictures(tmp_path, kind, examples):
    values = np.random.default_rng(0).integers(0, 256, (20, 16, 3), dtype=np.uint8)
    Image.fromarray(values).save(tmp_path / "x", kind)

    def use():
        return read_image(
            "x", lambda _: (tmp_path / "x").read_bytes(), (3, 8, 8), None, "replace it"
        )

    fuzz(tmp_path / "x", use, examples, same=lambda x: x.shape == (3, 8, 8))


def zipped(root):
    with zipfile.ZipFile(root / f"{IMAGES_NAME}.zip", "w") as file:
        for path in sorted((root / IMAGES_NAME).iterdir()):
            file.write(path, f"{IMAGES_NAME}/{path.name}")
    shutil.rmtree(root / IMAGES_NAME)


def faces(root):
    data = CelebA(str(root), (3, 8, 8), 140)
    shutil.rmtree(data.cache, ignore_errors=True)
    data.setup()
    return data


@EXAMPLES
def test_the_zip_of_celeba(tmp_path, examples):
    write_celeba(tmp_path)
    zipped(tmp_path)
    right = {name: split.images.clone() for name, split in faces(tmp_path).splits.items()}

    def same(data):
        return all(torch.equal(data.splits[name].images, right[name]) for name in right)

    fuzz(tmp_path / f"{IMAGES_NAME}.zip", lambda: faces(tmp_path), examples // 4, same)


@EXAMPLES
@pytest.mark.parametrize("name", ["list_eval_partition.txt", "list_attr_celeba.txt"])
def test_the_tables_of_celeba(tmp_path, name, examples):
    write_celeba(tmp_path)
    fuzz(tmp_path / name, lambda: faces(tmp_path), examples // 4)


@EXAMPLES
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz(tmp_path, save, examples):
    path = tmp_path / "x.npz"
    save(path, x=np.random.default_rng(0).random((40, 1, 4, 4)), y=np.arange(40))
    right = Arrays(str(path)).arrays

    def same(arrays):
        return all(np.array_equal(arrays[name], right[name]) for name in arrays)

    fuzz(path, lambda: Arrays(str(path)).arrays, examples, same)


def headers(shape, dtype="<f8"):
    """An npz whose array says that it has this shape."""
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
        headers((10**15, 4)),
        headers((10**30, 4)),
        headers((-1, 4)),
        headers((2, 4), "|O"),
        headers((2, 4), "<U4"),
        headers("__import__('os').system('touch started')"),
    ],
)
def test_an_npz_that_says_too_much_is_one_line(tmp_path, content, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.npz").write_bytes(content)
    with pytest.raises(ValueError, match=r"x\.npz"):
        Arrays("x.npz").setup()
    assert not (tmp_path / "started").exists()


@EXAMPLES
def test_checkpoints(tmp_path, examples):
    path = tmp_path / "best.ckpt"
    right = {"a": torch.arange(6.0).view(2, 3), "b": torch.ones(2, dtype=torch.long)}
    torch.save({"state_dict": right, "global_step": 7}, path)

    def same(found):
        tensors, step = found
        equal = all(torch.equal(tensors[name], right[name]) for name in right)
        return tensors.keys() == right.keys() and equal and step == 7

    fuzz(path, lambda: _read(path), examples, same)


@EXAMPLES
def test_weights_in_one_file(tmp_path, examples):
    from safetensors.torch import save

    said = '{"config": "data: {}\\nmodule: {}", "step": 3, "choices": {}, "overrides": []}'
    path = tmp_path / weights.FILE_NAME
    path.write_bytes(save({"a": torch.ones(3)}, {weights.KEY: said}))
    fuzz(path, lambda: (weights.read_header(path), weights.load_weights(path)), examples)


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
def test_the_files_of_a_run_folder(tmp_path, name, examples):
    """No report ends at any of them, alone or in a multirun; figures say what is damaged."""
    for job in ("0", "1"):
        for file, content in FILES.items():
            path = tmp_path / job / file
            path.parent.mkdir(parents=True, exist_ok=True)
            if file != "failed.txt" or name == file:
                path.write_bytes(content)
    run = tmp_path / "0"

    def use():
        report(run)
        report(tmp_path)
        job_table.print_job_tables(jobs.read_jobs(tmp_path))
        for read in (
            lambda: read_metric_curves(run / "metrics.csv"),
            lambda: read_kl_history(run / "figures" / "kl_per_dimension.csv"),
            lambda: untrusted.check_config(untrusted.read_config(run / ".hydra" / "config.yaml")),
        ):
            line = ""
            try:
                read()
            except (ValueError, OSError) as error:
                line = str(error)
            assert "\n" not in line
        return True

    def pages():
        try:
            return use()
        except (ValueError, OSError) as error:  # of a report none is right
            raise AssertionError(f"the report ends at {error}") from error

    fuzz(run / name, pages, examples // 4)
