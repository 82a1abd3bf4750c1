"""Times training steps of PyTorch on random images, and prints one line of JSON, as examples/throughput does.

    python3 tests/device/peer.py WORK PRECISION VARIANT BATCH DEVICE SECONDS

WORK is tutorial or densenet121, PRECISION is f32, tf32 or bf16, and VARIANT is eager, channels-last or compile (which is
channels-last too).
"""

import contextlib
import json
import sys
import time

import torch
from torch import nn

SIZES = {"tutorial": (1, 96, 96), "densenet121": (3, 224, 224)}


class Block(nn.Module):
    """A dense block of norm, ReLU and 3×3 convolution."""

    def __init__(self, channels, growth, layers):
        super().__init__()
        self.layers = nn.ModuleList()
        for layer in range(layers):
            width = channels + layer * growth
            self.layers.append(nn.Sequential(nn.BatchNorm2d(width), nn.ReLU(True), nn.Conv2d(width, growth, 3, padding=1)))

    def forward(self, x):
        for layer in self.layers:
            x = torch.cat([x, layer(x)], 1)
        return x


def tutorial():
    """The network of the tutorial on Fashion-MNIST: four plain blocks of four layers with growth rate 32."""
    channels = 64
    parts = [nn.Conv2d(1, channels, 7, stride=2, padding=1), nn.BatchNorm2d(channels), nn.ReLU(True), nn.MaxPool2d(3, 2, 1)]
    for number in range(4):
        parts.append(Block(channels, 32, 4))
        channels += 4 * 32
        parts += [nn.BatchNorm2d(channels), nn.ReLU(True)]
        if number < 3:
            parts += [nn.Conv2d(channels, channels // 2, 1), nn.AvgPool2d(2)]
            channels //= 2
    return nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 10))


def network(work):
    """The network, and its number of classes."""
    if work == "tutorial":
        return tutorial(), 10
    import torchvision

    return torchvision.models.densenet121(weights=None), 1000


def main():
    work, precision, variant, batch, device, seconds = sys.argv[1:]
    batch, seconds = int(batch), float(seconds)
    torch.manual_seed(0)
    for backend in (torch.backends.cuda.matmul, torch.backends.cudnn):
        backend.allow_tf32 = precision == "tf32"
    torch.backends.cudnn.benchmark = True
    net, classes = network(work)
    layout = torch.contiguous_format if variant == "eager" else torch.channels_last
    net = net.to(device).to(memory_format=layout)
    x = torch.randn(batch, *SIZES[work], device=device).to(memory_format=layout)
    y = torch.randint(classes, (batch,), device=device)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.0 if work == "tutorial" else 0.9)
    run = torch.compile(net) if variant == "compile" else net
    kind = device.split(":")[0]
    bf16 = torch.autocast(kind, torch.bfloat16) if precision == "bf16" else contextlib.nullcontext()

    def step():
        started = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        with bf16:
            outputs = run(x)
        loss = nn.functional.cross_entropy(outputs.float(), y)
        loss.backward()
        optimizer.step()
        return loss.item(), time.perf_counter() - started

    _, first = step()
    step()
    step()
    if kind == "cuda":
        torch.cuda.reset_peak_memory_stats()
    times = []
    while len(times) < 7 or sum(times) < seconds:
        loss, took = step()
        times.append(took)
    median = sorted(times)[len(times) // 2]
    peak = torch.cuda.max_memory_allocated() / 1e6 if kind == "cuda" else None
    print(json.dumps({
        "peer": "pytorch", "device": device, "variant": variant, "work": work, "precision": precision, "batch": batch,
        "img_per_s": batch / median, "step_ms_median": 1e3 * median, "steps": len(times), "first_step_s": first,
        "peak_device_mb": peak, "loss_last": loss, "torch": torch.__version__,
    }))


main()
