#!/usr/bin/env python3
"""Converts one network of every residual architecture of timm and torchvision, as each exporter of PyTorch writes it.

usage: models/sweep.py --pictures FOLDER -o RESULT.json [--exporters old17,old13,new] [--subset] [NAME...]
example: models/sweep.py --pictures photos/ -o target/sweep.json --subset

Names are timm's, torchvision's with tv: before them; without any, all are taken. Weights are random, no branch is silent, the statistics of the normalizations come from 64 pictures of the
folder (or CIFAR-10 .bin file); these calibrate as well, the next 36 measure. For each network and exporter: convert, verify on all kernel sets, eval against the float network. It
passes with the same bits everywhere and an SQNR over 20 dB. Exporters: old13 and old17 (dynamo=False at that opset), new (dynamo=True). An exporter whose file converts to the same bytes
as another's (weights and the check of every step), calibrated with two pictures, is given the other's result.

RESULT.json is written after every network and the sweep goes on where it ended; --again failed does again what has not passed, with --size 96 on larger pictures. Beside it stands RESULT.md with what passed by family
and each failure with its reason. Networks of more than 100 million parameters are left out; those of group or instance normalization or attention across branches may be refused, and what an
exporter does not write cannot be read: these do not count. What is made is removed unless --keep is given.

The environment: pip install -r models/requirements.txt. The program: --skipstone, or target/release/skipstone.
"""
import argparse, fnmatch, hashlib, json, os, re, subprocess, sys
from common import Problem, export, normalized, pictures, randomize, replacing, say, script, settle

HERE = os.path.dirname(os.path.abspath(__file__))
LARGEST, CALIBRATION, MEASURED, PROBE, FLOOR = 100e6, 64, 36, 2, 20.0
NORM = ["--mean", "0.485,0.456,0.406", "--std", "0.229,0.224,0.225"]
QUICK = ["--rounding", "nearest"]
EXPORTERS = {"old13": 13, "old17": 17, "new": None}
# family: patterns of timm's names; the first that fits counts
FAMILIES = {
    "torchvision": ["tv:*"],
    "resnetv2": ["resnetv2*"],
    "seresnet": ["seresne*", "legacy_seresne*", "skresne*"],
    "ecaresnet": ["ecaresne*"],
    "res2net": ["res2ne*"],
    "resnetrs": ["resnetrs*"],
    "resnetaa": ["resnetaa*"],
    "wide": ["wide_resnet*"],
    "resnext": ["resnext*"],
    "resnet": ["resnet[0-9]*", "resnetblur*", "test_resnet*"],
    "regnet": ["regnet*"],
    "densenet": ["densenet*"],
    "cspresnet": ["cspresne*"],
    "dla": ["dla*"],
    "vovnet": ["vovnet*", "ese_vovnet*"],
    "repvgg": ["repvgg*"],
}
TORCHVISION = ["resnet*", "resnext*", "wide_resnet*", "regnet*", "densenet*"]
SUBSET = ["resnet18", "resnetv2_18", "seresnet18", "ecaresnet26t", "res2net50_14w_8s", "resnetrs50", "resnetaa34d", "wide_resnet50_2", "resnext50_32x4d", "regnetx_002", "regnety_002",
          "densenet121", "cspresnet50", "dla34", "ese_vovnet19b_slim", "repvgg_a0", "tv:resnet18", "tv:regnet_y_400mf"]
# what may be refused, by name; what became of a network that then says nothing of the converter
UNCOUNTED = re.compile(r"(_bit$|_gn$|_sgn$|_evos$|_frn$|^skresne|_gn_|gn_)")
UNCOUNTED_STATES = ("large", "refused", "export")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--list", action="store_true", help="print all names")
    parser.add_argument("--subset", action="store_true", help="one small network of each family")
    parser.add_argument("--pictures", help="a folder of JPEG and PNG files or a CIFAR-10 .bin; 100 pictures are read")
    parser.add_argument("-o", "--output", help="the result, JSON")
    parser.add_argument("--exporters", default="old17,old13,new")
    parser.add_argument("--size", type=int, default=64, help="pixels a side")
    parser.add_argument("--again", choices=("failed", "all"), help="do again what has not passed, or all")
    parser.add_argument("--limit-s", type=int, default=1200, help="seconds for a command")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="try first with --rounding nearest, and with the default methods only what does not pass so")
    parser.add_argument("--keep", action="store_true", help="keep the ONNX and .stone files")
    parser.add_argument("--work", default=os.path.join(os.path.dirname(HERE), "target", "sweep"))
    parser.add_argument("--skipstone", default=os.path.join(os.path.dirname(HERE), "target", "release", "skipstone"))
    parser.add_argument("--export", nargs=2, help=argparse.SUPPRESS)
    return parser.parse_args()


def family(name):
    return next((family for family, patterns in FAMILIES.items() if any(fnmatch.fnmatch(name, p) for p in patterns)), None)


def every():
    import timm, torchvision
    names = [name for name in timm.list_models() if family(name)]
    return names + [f"tv:{name}" for name in torchvision.models.list_models(torchvision.models) if any(fnmatch.fnmatch(name, p) for p in TORCHVISION)]


def settled(name, bytes_):
    """the network with weights that behave; its parameters alone where they are too many"""
    import timm, torch, torchvision
    if name.startswith("tv:"):
        first = {} if "regnet" in name or "densenet" in name else {"zero_init_residual": True}
        make = lambda: torchvision.models.get_model(name[3:], weights=None, num_classes=100, **first)
    else:
        make = lambda: timm.create_model(name, pretrained=False, num_classes=100)
    # torchvision computes the widths of a RegNet with tensors, which must have values.
    with torch.device("cpu" if name.startswith("tv:regnet") else "meta"):
        parameters = sum(p.numel() for p in make().parameters())
    if parameters > LARGEST:
        return None, parameters
    net = make()
    for module in net.modules():
        getattr(module, "zero_init_last", lambda: None)()
    randomize(net, 1)
    settle(net, torch.from_numpy(normalized(bytes_[:CALIBRATION], "imagenet")))
    return net, parameters


def child(args):
    """exports one network by the exporters that are wanted; what became of them on stdout"""
    import numpy as np, torch
    name, base = args.export
    torch.set_num_threads(args.threads)
    bytes_ = np.load(os.path.join(args.work, f"calibration-{args.size}.npy")).transpose(0, 3, 1, 2)
    net, parameters = settled(name, bytes_)
    done = {"parameters": parameters}
    for exporter in args.exporters.split(",") if net else []:
        try:
            export(net, args.size, f"{base}-{exporter}.onnx", EXPORTERS[exporter], EXPORTERS[exporter] is None)
            done[exporter] = None
        except Exception as error:  # whatever an exporter throws is a result here
            done[exporter] = f"{type(error).__name__}: {str(error).strip().splitlines()[0][:300] if str(error).strip() else ''}"
    print(json.dumps(done))


def called(command, limit):
    """JSON of a command, or the reason why there is none"""
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=limit)
    except subprocess.TimeoutExpired:
        return None, f"not done in {limit} s"
    lines = [line for line in result.stderr.splitlines() if line.strip()]
    if result.returncode and not result.stdout.startswith("{"):
        said = next((line for line in reversed(lines) if "rror" in line), lines[-1] if lines else "")
        # Without the path of the ONNX file, which is of this machine.
        return None, f"exit {result.returncode}: {said}".split(".onnx: ")[-1][:400]
    return json.loads(result.stdout.strip().splitlines()[-1]), None


def converted(args, onnx, stone, pictures, options):
    """JSON of a conversion, or the reason why there is none"""
    calibration = os.path.join(args.work, f"{pictures}-{args.size}.npy")
    return called([args.skipstone, "convert", onnx, "-o", stone, "--calib", calibration, *NORM, *options, "--threads", str(args.threads), "--json", "--quiet"], args.limit_s)


def tried(args, onnx, stone, options):
    """what became of one ONNX file, converted with these options"""
    made, failed = converted(args, onnx, stone, "calibration", options)
    if failed:
        return {"state": "convert", "reason": failed}
    facts = {"size": args.size, "options": " ".join(options), "convert_s": round(made["seconds"], 1), "notes": made["notes"]}
    verify, failed = called([args.skipstone, "verify", stone, "--isa", "all", "--json"], args.limit_s)
    if failed or not verify["ok"]:
        return {"state": "verify", "reason": failed or f"differs: {verify['broken_proofs'] or verify['first_difference']}", **facts}
    data = os.path.join(args.work, f"measured-{args.size}.npy")
    measured, failed = called([args.skipstone, "eval", stone, "--data", data, "--against", onnx, "--json"], args.limit_s)
    if failed:
        return {"state": "eval", "reason": failed, **facts}
    facts |= {"sqnr_db": measured["sqnr_db"] and round(measured["sqnr_db"], 1), "agreement": measured["agreement"]}
    if measured["sqnr_db"] is None or measured["sqnr_db"] <= FLOOR:
        return {"state": "sqnr", "reason": f"SQNR {facts['sqnr_db']} dB", **facts}
    return {"state": "passed", **facts}


def content(stone):
    """SHA-256 of what a .stone file computes, its names and origin left out (docs/FORMAT.md)"""
    with open(stone, "rb") as file:
        bytes_ = file.read()
    digest = hashlib.sha256()
    for at in range(64, 64 + 32 * int.from_bytes(bytes_[16:20], "little"), 32):
        offset, length = (int.from_bytes(bytes_[at + word : at + word + 4], "little") for word in (16, 20))
        if bytes_[at : at + 8].rstrip(b"\0") in (b"weights", b"checks"):
            digest.update(bytes_[offset : offset + length])
    return digest.hexdigest()


def result(args, onnx, stone, known):
    """what became of one ONNX file; known: results of the same run for other exporters, one that converts to the same bytes will do"""
    _, failed = converted(args, onnx, stone, "probe", QUICK)
    # What two pictures are too few for may work with all.
    bytes_ = None if failed else content(stone)
    same = next((exporter for exporter, other in known.items() if bytes_ and other.get("bytes") == bytes_), None)
    if same:
        return known[same] | {"same_as": same}
    # Another exporter's file of this network needs what the first one needed.
    quick = args.quick and all(other.get("options") != "" for other in known.values())
    made = tried(args, onnx, stone, QUICK if quick else [])
    if quick and made["state"] == "sqnr":
        made = tried(args, onnx, stone, [])
    return made | {"bytes": bytes_}


def swept(args, name, wanted):
    """the row of a network, of the exporters that are wanted"""
    base = os.path.join(args.work, name.replace(":", "-"))
    again = [sys.executable, os.path.abspath(__file__), "--export", name, base, "--exporters", ",".join(wanted), "--size", str(args.size), "--threads", str(args.threads), "--work", args.work]
    exported, failed = called(again, args.limit_s)
    if failed:
        return {exporter: {"state": "build", "reason": failed} for exporter in wanted}
    row = {}
    for exporter in wanted:
        onnx, stone = (f"{base}-{exporter}.{e}" for e in ("onnx", "stone"))
        if exported["parameters"] > LARGEST:
            row[exporter] = {"state": "large"}
        elif exported[exporter]:
            row[exporter] = {"state": "export", "reason": exported[exporter]}
        else:
            row[exporter] = result(args, onnx, stone, row)
            if row[exporter]["state"] == "convert" and UNCOUNTED.search(name):
                row[exporter]["state"] = "refused"
        for made in (onnx, stone):
            if os.path.exists(made) and not args.keep:
                os.remove(made)
    return row | {"parameters": exported["parameters"]}


def table(rows):
    """the result as Markdown"""
    results = [(name, exporter, row[exporter]) for name, row in rows.items() for exporter in EXPORTERS if exporter in row]
    counted = [r for r in results if r[2]["state"] not in UNCOUNTED_STATES]
    passed = [r[2] for r in counted if r[2]["state"] == "passed"]
    sizes = sorted({r.get("size", 64) for r in passed})
    at = ", ".join(f"{sum(r.get('size', 64) == size for r in passed)} at {size}x{size}" for size in sizes)
    share = 100 * len(passed) / max(1, len(counted))
    lines = [f"{len(passed)} of {len(counted)} pass ({share:.1f} %; {at}): convert, the same bits on all kernel sets, SQNR over {FLOOR:.0f} dB.", "",
             f"| family | {' | '.join(EXPORTERS)} | lowest and median SQNR, dB |", "|---|" + "---|" * (len(EXPORTERS) + 1)]
    for kind in FAMILIES:
        own = [r for r in counted if family(r[0]) == kind]
        if own:
            cell = lambda e: f"{sum(r[2]['state'] == 'passed' for r in own if r[1] == e)} of {sum(r[1] == e for r in own)}"
            levels = sorted(r[2]["sqnr_db"] for r in own if r[2].get("sqnr_db") is not None)
            lines.append(f"| {kind} | {' | '.join(map(cell, EXPORTERS))} | {f'{levels[0]}, {levels[len(levels) // 2]}' if levels else ''} |")
    lines += ["", "| network | exporters | stage | reason |", "|---|---|---|---|"]
    for name, row in rows.items():
        for stage in dict.fromkeys(row[e]["state"] for e in EXPORTERS if e in row):
            if stage not in ("passed", "large"):
                at = [e for e in EXPORTERS if e in row and row[e]["state"] == stage]
                reasons = dict.fromkeys(row[e]["reason"].replace("|", "/") for e in at)
                lines.append(f"| {name} | {', '.join(at)} | {stage}{', does not count' if stage in UNCOUNTED_STATES else ''} | {'; '.join(reasons)} |")
    return "\n".join(lines) + "\n"


def save(args, rows):
    with replacing(args.output) as partial, open(partial, "w") as file:
        json.dump(rows, file, indent=1)
    with replacing(os.path.splitext(args.output)[0] + ".md") as partial, open(partial, "w") as file:
        file.write(table(rows))


def prepare(args):
    """the pictures as files that the program reads"""
    import numpy as np
    os.makedirs(args.work, exist_ok=True)
    bytes_ = pictures(args.pictures, args.size, CALIBRATION + MEASURED).transpose(0, 2, 3, 1)
    if len(bytes_) < CALIBRATION + MEASURED:
        raise Problem(f"{args.pictures} has {len(bytes_)} pictures, {CALIBRATION + MEASURED} are needed")
    for kind, part in (("calibration", bytes_[:CALIBRATION]), ("probe", bytes_[:PROBE]), ("measured", bytes_[CALIBRATION:])):
        np.save(os.path.join(args.work, f"{kind}-{args.size}.npy"), part)


def main():
    args = arguments()
    if args.export:
        return child(args)
    if args.list:
        return print("\n".join(every()))
    if not args.pictures or not args.output:
        raise Problem("--pictures and -o are needed: see --help")
    exporters = args.exporters.split(",")
    if unknown := [e for e in exporters if e not in EXPORTERS]:
        raise Problem(f"no exporter {', '.join(unknown)}: there are {', '.join(EXPORTERS)}")
    if not os.path.exists(args.skipstone):
        raise Problem(f"no program {args.skipstone}: build it with `cargo build --release`, or name it with --skipstone")
    prepare(args)
    names = args.names or (SUBSET if args.subset else every())
    rows = {}
    if os.path.exists(args.output):
        with open(args.output) as file:
            rows = json.load(file)
    fresh = lambda state: state is None or args.again == "all" or args.again == "failed" and state not in ("passed", "large")
    for number, name in enumerate(names, 1):
        known = rows.get(name, {})
        wanted = [e for e in exporters if fresh(known.get(e, {}).get("state"))]
        if wanted:
            rows[name] = known | swept(args, name, wanted)
            save(args, rows)
            results = ", ".join(f"{e} {rows[name][e].get('reason') or rows[name][e].get('sqnr_db') or rows[name][e]['state']}" for e in wanted)
            say(f"{number} of {len(names)} {name}: {results}")


if __name__ == "__main__":
    script(main)
