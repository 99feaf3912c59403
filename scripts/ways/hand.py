"""Train with a hand-written loop over tensors in memory and fused Adam, compiled or not."""

import argparse

import torch
from nets import NETS, PlainVAE, digits
from report import now, report

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("net", choices=NETS)
parser.add_argument("--epochs", type=int, default=5)
parser.add_argument("--batches", type=int, default=469)
parser.add_argument("--compile", action="store_true")
parser.add_argument("--bf16", action="store_true")
parser.add_argument("--channels-last", action="store_true")
args = parser.parse_args()

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
images = digits(args.batches).to(device)
vae = PlainVAE(*NETS[args.net]()).to(device)
if args.channels_last:
    vae.to(memory_format=torch.channels_last)
if args.compile:
    vae.compile()
optimizer = torch.optim.Adam(vae.parameters(), 1e-3, fused=True)
seconds = []
for _ in range(args.epochs):
    started = now()
    for index in torch.randperm(len(images), device=device).split(128):
        x = images[index].float() / 255
        with torch.autocast(device.type, torch.bfloat16, enabled=args.bf16):
            loss = vae(x)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    seconds.append(now() - started)
report(seconds=seconds)
