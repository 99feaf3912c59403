"""Train as pytorch/examples does: torchvision, DataLoader, Adam, loss.item() in each step."""

import os
import sys

import torch
from nets import PlainVAE, mlp
from report import now, report
from torch.utils.data import DataLoader
from torchvision.datasets import MNIST
from torchvision.transforms import ToTensor

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
data = MNIST(os.environ["VAELAB_DATA"], train=True, transform=ToTensor())
loader = DataLoader(data, batch_size=128, shuffle=True)
vae = PlainVAE(*mlp()).to(device)
optimizer = torch.optim.Adam(vae.parameters(), 1e-3)
seconds = []
for _ in range(int(sys.argv[1])):
    started, total = now(), 0.0
    for x, _ in loader:
        optimizer.zero_grad()
        loss = vae(x.to(device))
        loss.backward()
        total += loss.item()
        optimizer.step()
    seconds.append(now() - started)
report(seconds=seconds)
