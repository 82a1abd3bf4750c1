"""Reads a folder of images with torchvision, as examples/read_images.rs does with this crate.

    .venv/bin/python benches/image_folder/peer.py FOLDER [--size N] [--train] [--workers N] [--batch N] [--decoder pil|torchvision] [--epochs N]

Prints a line `images/s` for each epoch. With --size images are resized as in evaluation (shorter side to 256/224 of the size, then the
center), with --train as in training (random resized crop and flip). Workers are kept between epochs.
"""

import argparse
import time

import torch
import torchvision
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

parser = argparse.ArgumentParser()
parser.add_argument("folder")
parser.add_argument("--size", type=int)
parser.add_argument("--train", action="store_true")
parser.add_argument("--workers", type=int, default=2)
parser.add_argument("--batch", type=int, default=64)
parser.add_argument("--decoder", choices=["pil", "torchvision"], default="pil")
parser.add_argument("--epochs", type=int, default=3)
args = parser.parse_args()
torch.set_num_threads(1)

steps = []
if args.size and args.train:
    steps = [v2.RandomResizedCrop(args.size, antialias=True), v2.RandomHorizontalFlip()]
elif args.size:
    steps = [v2.Resize(args.size * 256 // 224, antialias=True), v2.CenterCrop(args.size)]
if args.decoder == "pil":
    # Resized as a PIL image, and then converted.
    steps.append(v2.PILToTensor())
    dataset = torchvision.datasets.ImageFolder(args.folder, transform=v2.Compose(steps))
else:
    load = lambda path: torchvision.io.decode_image(path, mode=torchvision.io.ImageReadMode.RGB)
    dataset = torchvision.datasets.ImageFolder(args.folder, loader=load, transform=v2.Compose(steps) if steps else None)
loader = torch.utils.data.DataLoader(
    dataset, batch_size=args.batch, shuffle=True, num_workers=args.workers, persistent_workers=args.workers > 0
)
for _ in range(args.epochs):
    start, images = time.perf_counter(), 0
    for x, _ in loader:
        images += len(x)
    print(f"{images / (time.perf_counter() - start):.0f} images/s", flush=True)
