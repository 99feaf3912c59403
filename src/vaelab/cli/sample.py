"""Sample images from a finished run: `vaelab sample runs/<run> sampler=gmm n=64`.

They are written to <run>/samples/<sampler>.png and <sampler>.npz, which holds the latent vectors z,
the images x, their labels y and the settings. conf/sample.yaml lists the keys and conf/sampler the
samplers. The folder of a model.safetensors is a run as well; its data set is only read if needed.
"""

import sys
from pathlib import Path
from typing import Any

from vaelab.cli.overrides import compose_checked
from vaelab.runtime.errors import UserError
from vaelab.runtime.files import expand_home


def main() -> None:
    """Sample images as the command line says."""
    folder, words = _parse_words(sys.argv[1:])
    cfg = compose_checked("sample", words)

    import torch
    from omegaconf import OmegaConf

    from vaelab.inference.sampling import SamplingConfig, save_samples
    from vaelab.runs import weights
    from vaelab.runs.config_types import check_types
    from vaelab.runs.run import RunParts
    from vaelab.runtime.build import build_from_config

    check_types(cfg)
    config: SamplingConfig = build_from_config(cfg)
    run = RunParts.open(folder, config.checkpoint, with_data=False)
    if config.needs_data(run.vae):
        run.load_data()
    run.module.to("cuda" if torch.cuda.is_available() else "cpu")
    samples = config.generate_samples(run.vae, run.data)
    arguments: Any = OmegaConf.to_container(cfg, resolve=True)
    settings = {"run": str(folder), "step": run.step} | arguments
    default = weights.results_folder(folder) / "samples"
    output = default if config.out is None else Path(config.out)
    print(*save_samples(samples, output, config.sampler.name, settings))


def _parse_words(words: list[str]) -> tuple[Path, list[str]]:
    """Return the folder of the run, which comes first, and the overrides."""
    if not words or ("=" in words[0] and not Path(words[0]).is_dir()):
        raise UserError("name a run folder first: vaelab sample <run> sampler=gmm")
    return expand_home(words[0]), words[1:]
