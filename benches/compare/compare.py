#!/usr/bin/env python3
"""Times training steps, or predictions, of this crate and of PyTorch, interleaved on the same machine.

    ./setup --dev && benches/compare/compare.py [--work densenet121] [--precision bf16] [--rounds 5] [--skip compile-nhwc]

Each measurement is a process of its own; a round has one of each, so that a slow phase of the machine affects all. Prints
a table of medians over the rounds: images/s, memory above the process's base, and both as ratios to PyTorch's.
"""

import argparse
import json
import pathlib
import platform
import statistics
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
PYTORCH = ["eager-nchw", "eager-nhwc", "compile-nhwc", "efficient-nhwc"]


def run(command):
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--work", default="tutorial", choices=["tutorial", "densenet121", "bc100"])
    parser.add_argument("--batch")
    parser.add_argument("--precision", default="f32", choices=["f32", "bf16"])
    parser.add_argument("--inference", action="store_true")
    parser.add_argument("--skip", action="append", default=[], choices=["reference", "recompute", *PYTORCH])
    args = parser.parse_args()

    subprocess.run(["cargo", "build", "--quiet", "--example", "throughput"], cwd=ROOT, check=True)
    options = (["--batch", args.batch] if args.batch else []) + (["--inference"] if args.inference else [])
    ours = ["cargo", "run", "--quiet", "--example", "throughput", "--", "--work", args.work, "--precision", args.precision]
    script = [".venv/bin/python", "benches/compare/pytorch_step.py", args.work]
    commands = {f"densenet {how}": [*ours, *options, "--execution", how] for how in ("fused", "reference")}
    commands["densenet recompute"] = [*ours, *options, "--memory", "recompute"]
    commands |= {f"pytorch {variant}": [*script, variant, args.precision, *options] for variant in PYTORCH}
    # Left out where it changes nothing: plain layers have one stage, and predictions save no activations.
    without = set(args.skip)
    if args.work == "tutorial" or args.inference:
        without |= {"recompute", "efficient-nhwc"}
    commands = {name: command for name, command in commands.items() if name.split()[1] not in without}

    rows = {name: [] for name in commands}
    for _ in range(args.rounds):
        for name, command in commands.items():
            rows[name].append(run(command))
    median = lambda name, of: statistics.median(of(row) for row in rows[name])
    speed = {name: median(name, lambda row: row["img_per_s"]) for name in rows}
    memory = {name: median(name, lambda row: row["peak_rss_mb"] - row["base_rss_mb"]) for name in rows}
    theirs = [name for name in rows if name.startswith("pytorch")]
    fastest = max(theirs, key=speed.get)
    first = rows["densenet fused"][0]
    what = "predictions" if args.inference else "training steps"
    print(f"{args.work}, {what}, {args.precision}, {args.rounds} rounds, batch {first['batch']}, {first['threads']} threads, {cpu()}")
    print(f"libtorch {first['versions']['libtorch']}, PyTorch {rows[theirs[0]][0]['versions']['torch']}\n")
    print(f"| | images/s | of {fastest} | MB above base | of {theirs[0]} |")
    print("|---|---|---|---|---|")
    for name in rows:
        print(f"| {name} | {speed[name]:.1f} | {speed[name] / speed[fastest]:.2f} "
              f"| {memory[name]:.0f} | {memory[name] / memory[theirs[0]]:.2f} |")
    share = median("densenet fused", lambda row: row["fraction_of_gemm"])
    print(f"\nfused: {share:.2f} of the matrix-product rate")


def cpu():
    lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.split(": ")[1] for line in lines if line.startswith("model name")), platform.machine())


if __name__ == "__main__":
    main()
