"""vaelab: experiments with variational autoencoders, every part named on the command line.

data = vaelab.make_data(x)
vae = vaelab.make_model(data.shape, latent_dim=8)
run = vaelab.fit(vae, data, max_epochs=20)
run.metrics["nll"], run.encode(x), run.sample(64)
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vaelab.api.data import make_data
    from vaelab.api.model import make_model
    from vaelab.api.run import Run, load
    from vaelab.api.training import fit, run_training
    from vaelab.module import VAEModule
    from vaelab.runtime.errors import UserError
    from vaelab.vae import VAE

__version__ = "0.2.0"
__all__ = [
    "VAE",
    "Run",
    "UserError",
    "VAEModule",
    "fit",
    "load",
    "make_data",
    "make_model",
    "run_training",
]

_MODULES = {  # where the public names are defined; they are imported when they are first used
    "VAE": "vaelab.vae",
    "Run": "vaelab.api.run",
    "UserError": "vaelab.runtime.errors",
    "VAEModule": "vaelab.module",
    "fit": "vaelab.api.training",
    "load": "vaelab.api.run",
    "make_data": "vaelab.api.data",
    "make_model": "vaelab.api.model",
    "run_training": "vaelab.api.training",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'vaelab' has no attribute '{name}'")
    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return [*globals(), *_MODULES]
