"""Check that the code computes what commit 62fc578 computed: `python scripts/compare_versions.py`.

Trains and evaluates the same short runs with the old and with the present code, on this machine
and one after the other, and compares all weights, optimizer states and numbers bit for bit. The old
code is checked out to a temporary worktree. Prints a line for each run; the exit status is 1 if
anything differs.
"""

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).parent.parent
BASE = "62fc578"
SHORT = (
    *("trainer.max_epochs=1", "trainer.limit_train_batches=12", "trainer.limit_val_batches=3"),
    *("trainer.log_every_n_steps=1", "trainer.accelerator=cpu", "samples=4", "logger=csv"),
    "callbacks.pictures.only=[reconstructions,samples]",
)
RUNS = {
    "mlp": "model=mlp loss=bce data.binarize=dynamic",
    "conv": "model=conv model.channels=[8,16] loss=mse",
    "ladder": "model=ladder model.hidden=[32,16] model.latents=[4,2] latent_dim=6 kl=free_bits",
    "ladder_conv": "model=ladder_conv model.channels=[4,8] data.binarize=fixed objective=iwae",
    "vq": "model=vq model.channels=8 model.dim=8 latent_dim=392 posterior.codes=16",
    "pixelcnn": "model=vq model.channels=8 model.dim=8 latent_dim=392 posterior.codes=16 "
    "prior=pixelcnn objective=prior start=vq",
    "vae_gan": "model=mlp objective=vae_gan",
    "iwae_iaf_flow": "objective=iwae posterior=iaf prior=flow data.binarize=dynamic",
    "dreg_vamp": "objective=dreg prior=vamp prior.components=10 loss=continuous_bernoulli",
    "conditional": "model=conditional model.labels=10 loss=bce kl=warmup kl.period=10",
    "dip": "objective=dip loss=gaussian loss.scale=optimal",
    "ema_one_cycle": "callbacks=[default,ema] schedule=one_cycle optimizer=adamw loss=laplace",
    "bf16": "trainer.precision=bf16-mixed model=resnet model.channels=[4,8]",
    "ddp": "trainer=ddp objective=beta_tc on_nan=skip",
    "restore": "on_nan=restore kl=capacity posterior=full loss=student_t data.binarize=none "
    "data.dequantize=true trainer.gradient_clip_val=1",
    "toy": "data=toy2d data.train=2000 loss=gaussian latent_dim=2 posterior=naf "
    "trainer.accumulate_grad_batches=2",
}
TIMES = ("wall_s", "seconds", "evaluation_s")
SENTENCES = ("collapse", "absent", "kl_warning")  # were rewritten
APART = ("command", "git", "cwd", "versions", "parts", *TIMES, *SENTENCES)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=RUNS, default=list(RUNS))
    parser.add_argument("--parts", default="likelihood,latents,reconstructions,codes,neighbours")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        old = Path(folder, "old")
        subprocess.run(["git", "worktree", "add", "-q", old, BASE], cwd=ROOT, check=True)
        try:
            return _compare_all(asked.only, asked.parts, old, Path(folder))
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", old], cwd=ROOT, check=True)


def _compare_all(names: list[str], parts: str, old: Path, folder: Path) -> int:
    failed = 0
    for name in names:
        runs = {}
        for kind, code in (("old", old), ("new", ROOT)):
            runs[kind] = folder / f"{kind}_runs" / name
            _run(code, name, parts, runs[kind])
        compared, unlike = 0, []
        before, after = dict(_values(runs["old"])), dict(_values(runs["new"]))
        for key in {**before, **after}:
            compared += 1
            if not _same(before.get(key), after.get(key)):
                unlike.append(f"{key}: {_short(before.get(key))} -> {_short(after.get(key))}")
        print(
            f"{name}: {compared} values, {len(unlike)} differ", *unlike[:5], sep="\n  ", flush=True
        )
        failed += bool(unlike)
    print(f"{len(names)} runs, {failed} differ")
    return failed > 0


def _run(code: Path, name: str, parts: str, run: Path) -> None:
    words = [f"start={run.parent / 'vq'}" if each == "start=vq" else each for each in _words(name)]
    train = [str(code / "train.py"), *words, f"hydra.run.dir={run}"]
    evaluate = [str(code / "scripts/evaluate.py"), str(run), "--parts", parts, "--images", "64"]
    for command in (train, [*evaluate, "--results", str(run / "results")]):
        subprocess.run(
            [sys.executable, *command],
            env=os.environ | {"PYTHONPATH": str(code / "src"), "OMP_NUM_THREADS": "1"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE if not os.environ.get("VERBOSE") else None,
            cwd=run.parent.parent,
            check=True,
        )


def _words(name: str) -> list[str]:
    return [*RUNS[name].split(), *SHORT]


def _values(run: Path) -> Iterator[tuple[str, Any]]:
    """Everything that a run wrote and that should not depend on the version."""
    for path in sorted((run / "checkpoints").glob("*.ckpt")):
        state = torch.load(path, weights_only=True)
        for key in ("state_dict", "optimizer_states", "lr_schedulers", "global_step", "guard"):
            yield from _flat(state.get(key), f"{path.name}:{key}")
        for kept in state["callbacks"].values():  # whose names may change
            yield from _flat(kept, f"{path.name}:callback with {', '.join(sorted(kept))}")
    numbers = [run / "metrics.json", *run.glob("evaluation/*/numbers.json")]
    for path in numbers:
        yield from _flat(json.loads(path.read_text()), path.name)
    for path in sorted([run / "metrics.csv", *run.glob("figures/*.csv")]):
        with path.open() as file:
            yield from _flat(list(csv.DictReader(file)), path.name)
    for path in sorted(run.glob("figures/*.png")):
        yield path.name, path.read_bytes()


def _flat(value: Any, above: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict | list | tuple):
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        for key, each in pairs:
            if key not in APART:
                yield from _flat(each, f"{above}/{key}")
    else:
        yield above, value


def _same(first: Any, second: Any) -> bool:
    if isinstance(first, torch.Tensor) and isinstance(second, torch.Tensor):
        return first.dtype == second.dtype and torch.equal(first.nan_to_num(), second.nan_to_num())
    return type(first) is type(second) and bool(first == second or first != first)


def _short(value: Any) -> str:
    return str(value)[:80].replace("\n", " ")


if __name__ == "__main__":
    sys.exit(main())
