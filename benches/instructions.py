#!/usr/bin/env python3
"""Instructions per multiply-accumulate of whole networks, counted in an emulator of ARM cores, step by step.

usage: benches/instructions.py [--json FILE] [--check FILE] [--isa neon,dotprod,i8mm,neon32,scalar] [NET.stone]...

Builds the plugin instructions.c and the program instructions.rs (as for a device), runs a network once under qemu-aarch64 or qemu-arm (Debian: qemu-user; setup of
the toolchain: targets/setup) at one thread, and prints a table a network: a row a kind of layer, a column a kernel set. Without files the networks of models/ are
converted and counted, and layers of a few shapes with and without groups (`groups` instead of a file) and in residual streams of 8 and of 16 bits (`streams`). Everything that a step executes counts: copies of rows, rounding, skips, stores. `floor` is what the multiplications alone need.

The counts are the same in every run. --check compares with a stored file (benches/instructions.json) and fails if a figure grew by over 3 % (another compiler may change a few); the whole network must
lie within 12 % of the sum of its convolutions. --json writes such a file; networks and sets that were not counted keep their figures.
"""
import argparse, json, os, re, subprocess, sys

sys.dont_write_bytecode = True
from emulator import CORES, FLOOR, ROOT, WORK, build, count, fail, table

# What a kind of step may grow by: a share, and what a step costs before its kernel begins.
GROWTH, BEGIN = 1.03, 500
REST = 1.12
# What is no network, but layers side by side.
LAYERS = ("groups", "streams")


def networks():
    """the networks of models/, converted"""
    models, found = os.path.join(ROOT, "models"), []
    os.makedirs(WORK, exist_ok=True)
    for name in ("resnet8", "resnet20"):
        stone = os.path.join(WORK, f"{name}.stone")
        onnx, pictures = os.path.join(models, f"{name}.onnx"), os.path.join(models, "calibration.bin")
        convert = ["convert", onnx, "-o", stone, "--calib", pictures, "--preprocess", "cifar10", "--quiet"]
        subprocess.run(["cargo", "run", "--release", "--quiet", "--", *convert], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        found.append(stone)
    return [*found, *LAYERS]


def shapes(program, stone, isa):
    """steps of the same shape together: {shape: {kind, steps, macs, instructions}}"""
    lines, counts = count(CORES[isa][0], [program, stone, isa], "qemu-arm" if isa in ("neon32", "scalar") else "qemu-aarch64")
    steps = [json.loads(line) for line in lines if line.startswith("{")]
    # The first count is what came before the first mark, the last what came after the last one.
    if len(counts) != len(steps) + 2:
        fail(f"{len(steps)} steps, but {len(counts)} counts", "does instructions.c know the mark of instructions.rs?")
    result = {}
    for step, instructions in zip(steps, counts[1:]):
        if step["kind"] == "not counted":
            continue
        depth = f"{step['ic']} → " if step["ic"] else ""
        shape = f"{step['kind']}, {step['h']}x{step['w']}, {depth}{step['c']}"
        entry = result.setdefault(shape, {"kind": step["kind"], "steps": 0, "macs": 0, "instructions": 0})
        entry["steps"] += 1
        entry["macs"] += step["macs"]
        entry["instructions"] += instructions
    return result


def kinds(entries):
    """the shapes of a kind together, the whole network last"""
    result = {}
    for entry in entries.values():
        for kind in (entry["kind"], "whole network"):
            total = result.setdefault(kind, {"macs": 0, "instructions": 0})
            total["macs"] += entry["macs"]
            total["instructions"] += entry["instructions"]
    result["whole network"] = result.pop("whole network")
    return result


def print_network(name, by_set):
    print(f"\n{name}, instructions per MAC (pools: instructions)\n")
    totals = {isa: kinds(entries) for isa, entries in by_set.items()}
    rows = [["floor", "", *(f"{FLOOR[isa]:.4f}" for isa in by_set)]]
    for kind, first in next(iter(totals.values())).items():
        found = [t[kind] for t in totals.values()]
        cells = [f"{f['instructions'] / f['macs']:.4f}" if f["macs"] else f"{f['instructions']:,}" for f in found]
        rows.append([kind, f"{first['macs']:,}" if first["macs"] else "", *cells])
    rows.append(["all steps / convolutions", "", *(f"{rest(entries):.3f}" for entries in by_set.values())])
    table(["layers", "MACs", *(f"`{isa}`" for isa in by_set)], rows)


def rest(entries):
    """all steps against the convolutions"""
    convolutions = sum(e["instructions"] for e in entries.values() if "x" in e["kind"])
    return sum(e["instructions"] for e in entries.values()) / convolutions


def grown(name, isa, entries, stored):
    """what executes more than the stored figures say"""
    old = kinds(stored)
    for kind, total in kinds(entries).items():
        if kind in old and total["instructions"] > GROWTH * old[kind]["instructions"] + BEGIN:
            yield f"{name} {isa} {kind}: {total['instructions']:,} instructions, {old[kind]['instructions']:,} before"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json")
    parser.add_argument("--check")
    parser.add_argument("--isa", default=",".join(CORES))
    parser.add_argument("files", nargs="*")
    args = parser.parse_args()
    sets = args.isa.split(",")
    if unknown := [s for s in sets if s not in CORES]:
        fail(f"no such set here: {unknown[0]}", f"one of {', '.join(CORES)}")
    programs = {device: build(device) for device in {CORES[s][1] for s in sets}}
    counted = {}
    for stone in args.files or networks():
        name = os.path.basename(stone).removesuffix(".stone")
        for isa in sets:
            counted.setdefault(name, {})[isa] = shapes(programs[CORES[isa][1]], stone, isa)
        print_network(name, counted[name])
    bad = [f"{n} {s}: {rest(e):.2f} times its convolutions" for n, by_set in counted.items() if n not in LAYERS for s, e in by_set.items() if rest(e) > REST]
    if args.check:
        stored = json.load(open(args.check))
        for name, by_set in counted.items():
            for isa, entries in by_set.items():
                bad += grown(name, isa, entries, stored[name][isa]) if isa in stored.get(name, {}) else [f"{name} {isa}: not in {args.check}"]
    if args.json:
        stored = json.load(open(args.json)) if os.path.exists(args.json) else {}
        for name, by_set in counted.items():
            stored[name] = stored.get(name, {}) | by_set
        with open(args.json, "w") as file:
            file.write(re.sub(r"\n {4,}|\n {3}(?=})", " ", json.dumps(stored, indent=1, ensure_ascii=False)) + "\n")
    if bad:
        sys.exit("\n".join(["error: more instructions than allowed", *bad]))


if __name__ == "__main__":
    main()
