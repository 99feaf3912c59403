"""Train a variational autoencoder: `python train.py model=conv loss=bce`; see --help."""

from vaelab.cli.commands import start

if __name__ == "__main__":
    start("train")
