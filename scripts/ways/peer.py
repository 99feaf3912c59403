"""Time pythae (the extra `peers`) on the same models: its trainer, or its get_nll."""

import argparse
import tempfile
from itertools import pairwise

import torch
from nets import LATENT, NETS, digits, mlp
from pythae.data.datasets import BaseDataset
from pythae.models import VAE, VAEConfig
from pythae.models.base.base_utils import ModelOutput
from pythae.models.nn import BaseDecoder, BaseEncoder
from pythae.trainers import BaseTrainer, BaseTrainerConfig
from pythae.trainers.training_callbacks import TrainingCallback
from report import now, report

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("net", choices=[*NETS, "nll"])
parser.add_argument("--epochs", type=int, default=5)
parser.add_argument("--batches", type=int, default=469)
parser.add_argument("--images", type=int, default=8)
parser.add_argument("--samples", type=int, default=5000)
args = parser.parse_args()


class Encoder(BaseEncoder):
    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        mean, log_variance = self.net(x).chunk(2, dim=-1)
        return ModelOutput(embedding=mean, log_covariance=log_variance)


class Decoder(BaseDecoder):
    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, z):
        return ModelOutput(reconstruction=self.net(z).sigmoid())


class Clock(TrainingCallback):
    def __init__(self):
        self.starts = []

    def on_epoch_begin(self, training_config, **kwargs):
        self.starts.append(now())

    def on_train_end(self, training_config, **kwargs):
        self.starts.append(now())


def build_vae(nets, latent):
    config = VAEConfig(input_dim=(1, 28, 28), latent_dim=latent, reconstruction_loss="bce")
    return VAE(config, Encoder(nets[0]), Decoder(nets[1]))


x = digits(args.batches).float() / 255
if args.net == "nll":
    vae, x = build_vae(mlp((200, 200), 50), 50), x[: args.images]
    vae.eval()
    seconds = []
    with torch.no_grad():
        for _ in range(8):
            started = now()
            vae.get_nll(x, args.samples)
            seconds.append((now() - started) / len(x))
    report(seconds=seconds)
else:
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        settings = BaseTrainerConfig(
            output_dir=folder,
            num_epochs=args.epochs,
            learning_rate=1e-3,
            per_device_train_batch_size=128,
        )
        data = BaseDataset(x, torch.zeros(len(x)))
        BaseTrainer(
            build_vae(NETS[args.net](), LATENT), data, training_config=settings, callbacks=[clock]
        ).train()
    report(seconds=[end - start for start, end in pairwise(clock.starts)])
