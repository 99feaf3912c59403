"""New images of a finished run: `python scripts/sample.py runs/<run> sampler=gmm n=64`.

They go to <run>/samples/<sampler>.png and <sampler>.npz: the codes z, the images x, their labels y
and the settings. conf/sample.yaml has the keys, conf/sampler the ways to draw codes. A folder with
a model.safetensors is a run too, and its data set is read only where it is needed.
"""

import sys
from pathlib import Path
from typing import Any

from vaelab.cli import entry_point

CONF = Path(__file__).parent.parent / "conf"


def main() -> None:
    folder, words = _asked()

    import torch
    from hydra import compose, initialize_config_dir
    from omegaconf import OmegaConf

    from vaelab.inference.sampling import save_samples
    from vaelab.runs import weights
    from vaelab.runs.build import build_from_config
    from vaelab.runs.config_check import check_types
    from vaelab.runs.run import Run

    with initialize_config_dir(str(CONF.resolve()), version_base="1.3"):
        cfg = compose("sample", words)
    check_types(cfg)
    draws = build_from_config(cfg)
    run = Run.open(folder, draws.checkpoint, ready=False)
    if draws.needs_data(run.vae):
        run.load_data()
    run.module.to("cuda" if torch.cuda.is_available() else "cpu")
    samples = draws.of(run.vae, run.data)
    asked: Any = OmegaConf.to_container(cfg, resolve=True)
    settings = {"run": str(folder), "step": run.step} | asked
    out = weights.results_folder(folder) / "samples" if draws.out is None else Path(draws.out)
    print(*save_samples(samples, out, draws.sampler.name, settings))


def _asked() -> tuple[Path, list[str]]:
    """The run folder, or that of a model.safetensors, and the rest of the command line."""
    if len(sys.argv) < 2 or ("=" in sys.argv[1] and not Path(sys.argv[1]).is_dir()):
        raise ValueError("name a run folder first: python scripts/sample.py <run> sampler=gmm")
    return Path(sys.argv[1]), sys.argv[2:]


if __name__ == "__main__":
    entry_point.run_command(main, CONF, "sample")
