#!/usr/bin/env python3
"""Times training steps of the tutorial's network in PyTorch and prints one line of JSON, as examples/throughput.rs does.

    .venv/bin/python benches/compare/pytorch_step.py eager-nchw|eager-nhwc|compile-nhwc f32|bf16 [BATCH]
"""

import json
import pathlib
import resource
import statistics
import sys
import time

import torch

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "tests" / "fixtures"))
from golden import Plain  # noqa: E402


def resident_mb():
    return int(pathlib.Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1e6


def main():
    variant, precision, batch = sys.argv[1], sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else 64
    mode, layout = variant.split("-")
    torch.manual_seed(0)
    # Imports and the first use of the libraries belong to the base, not to the work.
    torch.nn.functional.conv2d(torch.rand(1, 1, 8, 8), torch.rand(1, 1, 3, 3))
    base = resident_mb()
    pathlib.Path("/proc/self/clear_refs").write_text("5")
    net = Plain().train()
    x, y = torch.randn(batch, 1, 96, 96), torch.randint(10, (batch,))
    if layout == "nhwc":
        net, x = net.to(memory_format=torch.channels_last), x.contiguous(memory_format=torch.channels_last)
    run = torch.compile(net) if mode == "compile" else net
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)

    def step():
        started = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bf16"):
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
        "peer": "pytorch", "variant": variant, "work": "seed", "precision": precision, "layout": layout.upper(),
        "batch": batch, "img_per_s": batch / median, "step_ms_min": 1e3 * min(times), "step_ms_median": 1e3 * median,
        "steps": len(times), "warmup": 3, "first_step_s": first,
        "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6, "base_rss_mb": base,
        "threads": torch.get_num_threads(), "loss_first": loss_first, "loss_last": loss_last,
        "versions": {"torch": torch.__version__},
    }))


if __name__ == "__main__":
    main()
