"""The wheel holds src and conf, and works in a folder that is not the clone."""

import csv
import os
import shutil
import signal
import subprocess
import sys
import time
import tomllib
import urllib.request
import zipfile
from pathlib import Path

import pytest
from conftest import ROOT

SMALL = ["trainer.max_epochs=1", "model.hidden=[8]", "latent_dim=2", "samples=2", "logger=csv"]


def list_packages():
    """Return the packages of src, and that of conf."""
    source = ROOT / "src"
    folders = (path.parent.relative_to(source) for path in source.rglob("__init__.py"))
    return {"vaelab.conf", *(".".join(folder.parts) for folder in folders)}


def test_every_package_is_listed():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    assert set(settings["packages"]) == list_packages()


def list_files(folder, kinds):
    """Return the files that git tracks in a folder and that a wheel needs."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", folder],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    return {Path(name).relative_to(folder) for name in listed if Path(name).suffix in kinds}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Build the wheel in a copy of the repository."""
    folder, copy = tmp_path_factory.mktemp("wheel"), tmp_path_factory.mktemp("copy")
    for name in ("src", "conf"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("*.egg-info"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    words = ["--no-deps", "--quiet", "--wheel-dir", str(folder), str(copy)]
    subprocess.run([sys.executable, "-m", "pip", "wheel", *words], check=True)
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """Install the wheel beside the packages of this environment, without the clone."""
    folder = tmp_path_factory.mktemp("installed")
    words = ["--no-deps", "--quiet", "--target", str(folder), str(wheel)]
    subprocess.run([sys.executable, "-m", "pip", "install", *words], check=True)
    return folder


@pytest.fixture
def run_vaelab(installed, tmp_path):
    """Run the installed command in an empty folder; return its standard output."""
    environment = os.environ | {"PYTHONPATH": str(installed)}
    program = [sys.executable, str(installed / "bin" / "vaelab")]

    def run(*words, wait=True):
        process = subprocess.Popen(
            [*program, *words],
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        if not wait:
            return process
        output, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors[-2000:]
        return output

    return run


@pytest.mark.slow
def test_wheel_holds_src_and_conf(wheel):
    with zipfile.ZipFile(wheel) as file:
        names = {Path(name) for name in file.namelist() if ".dist-info" not in name}
    source = {".py", ".typed", ".safetensors", ".html", ".css", ".js", ".jinja", ".md", ".yaml"}
    vega = Path("vaelab", "report", "vega", "LICENSE")
    assert names == list_files("src", source) | {vega} | {
        Path("vaelab", "conf", name) for name in list_files("conf", {".yaml"})
    }


@pytest.mark.slow
def test_wheel_trains_and_uses_a_run(run_vaelab, tmp_path):
    output = run_vaelab("train", *SMALL, "hydra.run.dir=runs/a")
    assert output.splitlines()[-1] == str(tmp_path / "runs" / "a")
    assert "runs/a" in run_vaelab("evaluate", "runs/a", "--samples", "2")
    assert "samples" in run_vaelab("sample", "runs/a", "n=4")
    assert "traversals" in run_vaelab("figures", "runs/a", "--only", "traversals")
    assert "report.html" in run_vaelab("report", "runs/a")
    assert "encoder.onnx" in run_vaelab("export", "runs/a")
    assert ".parquet" in run_vaelab("encode", "runs/a")
    assert "bit-identical" in run_vaelab("rerun", "runs/a")


@pytest.mark.slow
def test_wheel_sweeps(run_vaelab, tmp_path):
    output = run_vaelab("train", "-m", "loss=bce,mse", *SMALL, "hydra.sweep.dir=sweep")
    assert "vaelab train resume=" in output
    with (tmp_path / "sweep" / "table.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 2


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="it kills a process by SIGKILL")
def test_wheel_resumes_a_killed_run(run_vaelab, tmp_path):
    long = [*SMALL, "trainer.max_epochs=1000", "hydra.run.dir=killed"]
    process = run_vaelab("train", *long, wait=False)
    checkpoint = tmp_path / "killed" / "checkpoints" / "last.ckpt"
    for _ in range(600):
        if checkpoint.is_file() or process.poll() is not None:
            break
        time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert "resuming after step" in run_vaelab("resume", "killed", "trainer.max_epochs=1")
    assert (tmp_path / "killed" / "metrics.json").is_file()


@pytest.mark.slow
def test_wheel_explores(run_vaelab, free_port):
    run_vaelab("train", *SMALL, "hydra.run.dir=run")
    process = run_vaelab("explore", "run", "--port", str(free_port), wait=False)
    try:
        for _ in range(600):
            if process.poll() is not None:
                raise AssertionError(process.communicate()[1])
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{free_port}", timeout=1) as page:
                    assert page.status == 200
                return
            except OSError:
                time.sleep(0.1)
        raise TimeoutError("the explorer does not answer")
    finally:
        process.kill()
        process.communicate()
