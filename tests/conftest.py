"""What all tests share: one thread, no network, no colours."""

import os

os.environ.update(OMP_NUM_THREADS="1", WANDB_MODE="offline", CUDA_VISIBLE_DEVICES="")

import torch

torch.set_num_threads(1)
