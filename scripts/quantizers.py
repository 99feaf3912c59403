"""Compare the quantizers: how many codes they use, and how well they reconstruct images.

`python scripts/quantizers.py --root <folder of color images>` trains each quantizer with 64, 512
and 4,096 codes, on one code (residual_vq: three) at each position of an 8x8 grid, and prints a
table. A run that is already in --runs is not trained again, so that `--split test` afterwards
prints the table of the same runs on the test images. Choose settings by the validation images.

The runs last some minutes each. They show which codebooks collapse early in a training, not what a
long training reaches.
"""

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import vaelab
from vaelab.cli import entry_point
from vaelab.distributions.codebook import compute_code_perplexity
from vaelab.runs.run import RunParts

BATCH = 256
SIZES = {64: 2, 512: 3, 4096: 4}  # the number of levels of 8 whose product it is
# The words that choose each quantizer with 8^n codes.
QUANTIZERS = {
    "vq-no-revival": "posterior.codes={codes} posterior.revive=0",
    "vq": "posterior.codes={codes}",
    "vq-cosine": "posterior.codes={codes} posterior.cosine=true",
    "vq-rotation": "posterior.codes={codes} posterior.rotation=true",
    "vq-simvq": "posterior.codes={codes} posterior.simvq=true",
    "fsq": "posterior=fsq posterior.levels={levels}",
    "lfq": "posterior=lfq posterior.bits={bits}",
    "residual_vq": "posterior=residual_vq posterior.codes={root} posterior.depth=3",
}


@dataclass
class Row:
    """A row of the table.

    Attributes:
        use: The fraction of the codes that occur in the split; residual_vq: mean over codebooks.
        perplexity: exp of the entropy of the code frequencies; residual_vq: mean over codebooks.
        possible: The largest perplexity.
        psnr: Of the reconstructions in decibels, from the mean squared error over all pixels.
    """

    name: str
    codes: int
    use: float
    perplexity: float
    possible: int
    psnr: float


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--root", required=True, help="a folder of images, see data=image_folder")
    parser.add_argument("--runs", type=Path, default=Path("runs/quantizers"))
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--split", choices=("val", "test"), default="val")
    parser.add_argument("--codes", type=int, nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--only", nargs="+", choices=QUANTIZERS, default=list(QUANTIZERS))
    parser.add_argument(
        "--set", nargs="+", default=[], help="more settings, such as optimizer.lr=1e-4"
    )
    args = parser.parse_args()
    rows = [
        measure_run(open_run(args, name, codes), name, codes, args.split)
        for codes in args.codes
        for name in args.only
    ]
    print(f"{args.steps} steps, seed {args.seed}, {args.split} images {' '.join(args.set)}")
    print_table(rows)


def open_run(args: Any, name: str, codes: int) -> RunParts:
    """Open the run of a quantizer, which is trained before if it is missing."""
    levels = SIZES[codes]
    own = QUANTIZERS[name].format(
        codes=codes, levels=str([8] * levels).replace(" ", ""), bits=3 * levels, root=2**levels
    )
    words = [*list_words(args), *own.split(), *args.set]
    label = "_".join([name, str(codes), *args.set])
    folder = args.runs / f"{label}_steps={args.steps}_seed={args.seed}".replace("/", "")
    if not (folder / "metrics.json").exists():
        vaelab.run_training(*words, folder=folder)
    return RunParts.open(folder)


def list_words(args: Any) -> Sequence[str]:
    """Return the settings that all runs share."""
    return (
        f"model=vq model.dim=16 model.channels=32 model.residual=16 data=image_folder "
        f"data.root={args.root} data.shape=[3,32,32] data.batch_size=64 loss=gaussian "
        f"loss.scale=optimal optimizer.lr=1e-3 trainer.max_steps={args.steps} "
        f"trainer.max_epochs=-1 trainer.accelerator=cpu seed={args.seed} samples=1 "
        f"evaluate.images=100 logger=none ~callbacks.pictures"
    ).split()


@torch.no_grad()
def measure_run(run: RunParts, name: str, codes: int, split: str) -> Row:
    """Measure the codes and reconstructions of all images of a split."""
    vae, counts, error, pixels = run.vae.eval(), torch.zeros(1), 0.0, 0
    for images in run.data.splits[split].images.split(BATCH):
        x = run.data.prepare(images)
        q: Any = vae.encode(x)
        counts = counts + q.code_counts
        error += (vae.decode(q.mean).mean - x).square().sum().item()
        pixels += x.numel()
    return Row(
        name,
        codes,
        use=(counts > 0).float().mean().item(),
        perplexity=compute_code_perplexity(counts).item(),
        possible=counts.shape[-1],
        psnr=-10 * math.log10(error / pixels),
    )


def print_table(rows: Sequence[Row]) -> None:
    print("| codes | quantizer | codes used | perplexity | PSNR |")
    print("|---|---|---|---|---|")
    for row in rows:
        books = f" of {row.possible} (3 codebooks)" if row.possible < row.codes else ""
        print(
            f"| {row.codes:,} | {row.name} | {row.use:.1%} | {row.perplexity:,.1f}{books} | "
            f"{row.psnr:.2f} dB |"
        )


if __name__ == "__main__":
    entry_point.run_command(main)
