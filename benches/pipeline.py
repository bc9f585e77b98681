#!/usr/bin/env python3
"""MACs per cycle of the inner loops on models of ARM cores, and the time of a network that follows: modelled, nothing here ran on such a core.

usage: benches/pipeline.py [--json FILE] [--check FILE] [--boards]

Takes the inner loops out of the built program (the one that instructions.py counts) and gives them to llvm-mca of LLVM 19 (Debian: llvm-19). Other versions model
the cores otherwise. --check compares with a stored file (benches/pipeline.json) and fails where a loop became slower by over 1 % or misses what is asked of its core.
--boards computes times of whole networks from these figures and from the counts of benches/instructions.json.
"""
import argparse, json, os, re, subprocess, sys

sys.dont_write_bytecode = True
from emulator import CORES, ROOT, build, fail, table, tool

LLVM = 19
# MACs of an instruction; the first that a loop has tells its set.
MULTIPLY = {"smmla": 32, "sdot": 16, "smull": 8, "smull2": 8, "smlal": 8, "smlal2": 8}
SETS = {"smmla": "i8mm", "sdot": "dotprod", "smull": "neon"}
# MACs of a pixel in an iteration: four groups of four depths by sixteen lanes.
PIXEL = 256
# A model of LLVM, its options, the core it stands for, the set, the most that the core's multipliers can do, what is asked.
MODELS = [
    ("cortex-a53", [], "Cortex-A53", "neon", 8, 3.5),
    ("cortex-a55", [], "Cortex-A55", "dotprod", 16, 0),
    ("cortex-a57", [], "Cortex-A57", "neon", 8, 7.5),
    ("neoverse-n1", ["-dispatch=4"], "Cortex-A76", "dotprod", 32, 28),
    ("neoverse-v1", [], "Neoverse V1", "dotprod", 64, 0),
    ("neoverse-v1", [], "Neoverse V1", "i8mm", 128, 0),
]
# A board: core, GHz, set, where MACs per cycle come from, instructions per cycle outside the inner loops (assumed); of all instructions where there is no model.
BOARDS = {
    "Raspberry Pi Zero W": ("1x ARM1176", 1.0, "scalar", None, 0.5),
    "Raspberry Pi 2": ("4x Cortex-A7", 0.9, "neon32", None, 0.5),
    "Raspberry Pi Zero 2 W": ("4x Cortex-A53", 1.0, "neon", "cortex-a53", 1),
    "Raspberry Pi 3B+": ("4x Cortex-A53", 1.4, "neon", "cortex-a53", 1),
    "Raspberry Pi 4": ("4x Cortex-A72", 1.8, "neon", "by hand", 2),
    "Raspberry Pi 5": ("4x Cortex-A76", 2.4, "dotprod", "neoverse-n1", 3),
    "Jetson Nano": ("4x Cortex-A57", 1.43, "neon", "cortex-a57", 2),
    "Jetson Orin Nano": ("6x Cortex-A78AE", 1.5, "dotprod", "neoverse-n1", 3),
}
NETWORKS = ("resnet20", "resnet18", "resnet50")


def loops(program):
    """the innermost loops that multiply and load, without branches inside: {set: {pixels: instructions as text}}"""
    command = [tool(f"llvm-objdump-{LLVM}", f"llvm-{LLVM}"), "-d", "--mattr=+all", "--no-show-raw-insn", program]
    listing = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    code = [(int(m[1], 16), m[2].split("//")[0].split("<")[0].strip()) for m in re.finditer(r"^ *([0-9a-f]+):\s+(.*)$", listing, re.M)]
    place = {address: i for i, (address, _) in enumerate(code)}
    found = {}
    start = 0
    for end, (address, text) in enumerate(code):
        branch = re.match(r"b\.ne\s+0x([0-9a-f]+)", text)
        first = place.get(int(branch[1], 16), end) if branch else end
        if not start < first < end:
            continue
        start = first  # a loop around this one begins before it
        body = [t for _, t in code[first : end + 1]]
        names = [t.split()[0] for t in body]
        macs = sum(MULTIPLY.get(n, 0) for n in names)
        kind = next((SETS[n] for n in SETS if n in names), None)
        straight = not any(n.startswith("b.") or n in ("b", "cbz", "cbnz", "tbz", "tbnz") for n in names[:-1])
        if kind and straight and macs % PIXEL == 0 and any(n in ("ldr", "ldp") for n in names):
            found.setdefault(kind, {}).setdefault(macs // PIXEL, [*body[:-1], "b.ne loop"])
    return found


def analyse(body, core, options):
    """cycles of an iteration, and what the model's units alone would need"""

    def run(iterations):
        command = [tool(f"llvm-mca-{LLVM}", f"llvm-{LLVM}"), "-mtriple=aarch64", f"-mcpu={core}", "-mattr=+dotprod,+i8mm", *options, f"-iterations={iterations}"]
        report = subprocess.run(command, input="loop:\n" + "\n".join(body), capture_output=True, text=True, check=True).stdout
        return int(re.search(r"^Total Cycles: +(\d+)", report, re.M)[1]), float(re.search(r"^Block RThroughput: +([\d.]+)", report, re.M)[1])

    (few, units), (many, _) = run(200), run(400)
    return (many - few) / 200, units


def by_hand(body):
    """Cortex-A72 by Arm's software optimization guide: multiplications on F0, pairwise sums on F1, copies of a lane on either (F1 here), three instructions a cycle"""
    names = [t.split()[0] for t in body]
    multiplications = sum(n in MULTIPLY for n in names)
    others = sum(n in ("sadalp", "dup") for n in names)
    return max(multiplications, others, -(-len(names) // 3))


def model(program):
    """what --json stores: {set: {pixels: {instructions, macs, cycles: {model: cycles}, units: {model: cycles}}}}"""
    result = {}
    for isa, by_pixels in loops(program).items():
        for pixels, body in sorted(by_pixels.items()):
            entry = {"instructions": len(body), "macs": pixels * PIXEL, "cycles": {}, "units": {}}
            for core, options, _, for_set, *_ in MODELS:
                if for_set == isa:
                    entry["cycles"][core], entry["units"][core] = analyse(body, core, options)
            if isa == "neon":
                entry["cycles"]["by hand"] = by_hand(body)
            result.setdefault(isa, {})[str(pixels)] = entry
    return result


def widest(result, isa):
    return result[isa][max(result[isa], key=int)]


def print_models(result):
    rows = []
    for core, options, stands_for, isa, most, _ in MODELS:
        for pixels, entry in result[isa].items():
            cycles, units = entry["cycles"][core], entry["units"][core]
            rates = [f"{entry['macs'] / cycles:.2f}", f"{entry['macs'] / units:.2f}", str(most)]
            rows.append([stands_for, " ".join([core, *options]), isa, pixels, str(entry["instructions"]), f"{cycles:.1f}", *rates])
    for pixels, entry in result["neon"].items():
        cycles = entry["cycles"]["by hand"]
        rows.append(["Cortex-A72", "by hand", "neon", pixels, str(entry["instructions"]), f"{cycles:.1f}", f"{entry['macs'] / cycles:.2f}", "", "8"])
    table(["core", "model", "set", "pixels", "instructions", "cycles", "MACs per cycle", "if only the model's units counted", "limit of the multipliers"], rows)


def times(result, network, isa, core, outside):
    """million cycles of a network: its multiplications in the widest loop, every other instruction at a rate"""
    instructions = sum(e["instructions"] for e in network[isa].values())
    if core is None:
        return instructions / outside / 1e6
    loop = widest(result, isa)
    macs = sum(e["macs"] for e in network[isa].values())
    rest = instructions - macs / loop["macs"] * loop["instructions"]
    return (macs / loop["macs"] * loop["cycles"][core] + rest / outside) / 1e6


def print_boards(result):
    counts = json.load(open(os.path.join(ROOT, "benches", "instructions.json")))
    rows = []
    for board, (cores, clock, isa, core, outside) in BOARDS.items():
        cells = []
        for name in NETWORKS:
            one = times(result, counts[name], isa, core, outside) / clock
            cells.append(" / ".join(f"{t:.0f}" if t >= 100 else f"{t:.3g}" for t in ([one] if cores.startswith("1x") else [one, one / 4])))
        rows.append([board, f"{cores}, {clock} GHz", isa, f"{core or 'no model'}, {outside} a cycle", *cells])
    table(["board", "CPU", "set", "model, other instructions", *(f"{n}, ms at 1 / 4 threads" for n in NETWORKS)], rows)


def slower(result, stored):
    for isa, by_pixels in stored.items():
        for pixels, old in by_pixels.items():
            for core, cycles in old["cycles"].items():
                new = result.get(isa, {}).get(pixels, {"cycles": {}})["cycles"].get(core)
                if new is None or new > 1.01 * cycles:
                    yield f"{isa}, {pixels} pixels, {core}: {new} cycles, {cycles} before"


def too_slow(result):
    for core, _, _, isa, _, asked in MODELS:
        loop = widest(result, isa)
        if (found := loop["macs"] / loop["cycles"][core]) < asked:
            yield f"{isa} on {core}: {found:.2f} MACs per cycle, {asked} asked"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json")
    parser.add_argument("--check")
    parser.add_argument("--boards", action="store_true")
    args = parser.parse_args()
    version = subprocess.run([tool(f"llvm-mca-{LLVM}", f"llvm-{LLVM}"), "--version"], capture_output=True, text=True).stdout
    if f"LLVM version {LLVM}." not in version:
        fail(f"llvm-mca-{LLVM} is another version: {version.strip()}", f"apt-get install llvm-{LLVM}")
    result = model(build(CORES["neon"][1]))
    print_models(result)
    if args.boards:
        print()
        print_boards(result)
    bad = list(too_slow(result))
    if args.check:
        bad += slower(result, json.load(open(args.check)))
    if args.json:
        with open(args.json, "w") as file:
            json.dump(result, file, indent=1)
            file.write("\n")
    if bad:
        sys.exit("\n".join(["error: a loop is slower than allowed", *bad]))


if __name__ == "__main__":
    main()
