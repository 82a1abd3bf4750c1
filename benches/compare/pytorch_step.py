#!/usr/bin/env python3
"""Times training steps in PyTorch and prints one line of JSON, as examples/throughput.rs does.

    .venv/bin/python benches/compare/pytorch_step.py WORK VARIANT f32|bf16 [BATCH]

WORK is tutorial, densenet121 or bc100, and VARIANT eager-nchw, eager-nhwc, compile-nhwc or efficient-nhwc: torchvision's
`memory_efficient=True`, which runs most of each layer once more in the backward pass. With `--inference` predictions are timed.
"""

import argparse
import json
import pathlib
import resource
import statistics
import sys
import time

import torch
import torchvision

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "tests" / "fixtures"))
from golden import Plain, bc100  # noqa: E402


def resident_mb():
    return int(pathlib.Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1e6


# Network, shape of an image, classes, usual batch, momentum.
WORKS = {
    "tutorial": (lambda efficient: Plain(), (1, 96, 96), 10, 64, 0.0),
    "densenet121": (lambda efficient: torchvision.models.densenet121(memory_efficient=efficient), (3, 224, 224), 1000, 16, 0.9),
    "bc100": (bc100, (3, 32, 32), 10, 64, 0.9),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", choices=WORKS)
    parser.add_argument("variant")
    parser.add_argument("precision", choices=["f32", "bf16"])
    parser.add_argument("--batch", type=int)
    parser.add_argument("--inference", action="store_true")
    args = parser.parse_args()
    mode, layout = args.variant.split("-")
    make, shape, classes, usual_batch, momentum = WORKS[args.work]
    batch = args.batch or usual_batch
    torch.manual_seed(0)
    # Imports and the first use of the libraries belong to the base, not to the work.
    torch.nn.functional.conv2d(torch.rand(1, 1, 8, 8), torch.rand(1, 1, 3, 3))
    base = resident_mb()
    pathlib.Path("/proc/self/clear_refs").write_text("5")
    net = make(mode == "efficient").train(not args.inference)
    x, y = torch.randn(batch, *shape), torch.randint(classes, (batch,))
    if layout == "nhwc":
        net, x = net.to(memory_format=torch.channels_last), x.contiguous(memory_format=torch.channels_last)
    run = torch.compile(net) if mode == "compile" else net
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=momentum)

    def step():
        started = time.perf_counter()
        if args.inference:
            with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16, enabled=args.precision == "bf16"):
                logits = run(x)
            return time.perf_counter() - started, logits[0, 0].item()
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=args.precision == "bf16"):
            loss = torch.nn.functional.cross_entropy(run(x), y)
        loss.backward()
        optimizer.step()
        loss = loss.item()
        return time.perf_counter() - started, loss

    first, loss_first = step()
    step(), step()
    times = []
    while len(times) < 7 or sum(times) < 3.0:
        seconds, loss_last = step()
        times.append(seconds)
    median = statistics.median(times)
    print(json.dumps({
        "peer": "pytorch", "variant": args.variant, "inference": args.inference, "work": args.work, "precision": args.precision, "layout": layout.upper(),
        "batch": batch, "img_per_s": batch / median, "step_ms_min": 1e3 * min(times), "step_ms_median": 1e3 * median,
        "steps": len(times), "warmup": 3, "first_step_s": first,
        "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6, "base_rss_mb": base,
        "threads": torch.get_num_threads(), "loss_first": loss_first, "loss_last": loss_last,
        "versions": {"torch": torch.__version__},
    }))


if __name__ == "__main__":
    main()
