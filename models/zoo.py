#!/usr/bin/env python3
"""Makes the rows of models/zoo.toml: converts, verifies, times and measures every network of the zoo.

usage: models/zoo.py --train TRAIN.bin --test TEST.bin [--imagenet FOLDER] [--validation FOLDER --truth TRUTH.csv] [--external FOLDER] [NAME...]
example: models/zoo.py --train data_batch_1.bin --test test_batch.bin resnet20 densenet22

Without names every row is made whose data are given. TRAIN and TEST are CIFAR-10 .bin files (500 pictures calibrate, the first 1,000 test), --imagenet a folder of pictures
of its training set (100 calibrate), --validation one of labelled ones, --external a folder with the networks that are not ours and do not ship (the table says where each is from).
Random networks are written by recipe.py first. A row that fails gets the error in `failed`; other rows of the table stay as they are. Timing is the median of `skipstone bench` on one
thread, the lowest of five runs: measure on a quiet machine, --time measures only this again. What is made stays in --work, and is used again unless --fresh is given.

The environment: pip install -r models/requirements.txt. The program: --skipstone, or target/release/skipstone.
"""
import argparse, json, lzma, os, subprocess, sys, threading, time, tomllib
from common import Problem, array, replacing, say, script

HERE = os.path.dirname(os.path.abspath(__file__))
TABLE = os.path.join(HERE, "zoo.toml")
OURS = "MIT OR Apache-2.0"
IMAGENET_NORM = ["--mean", "0.485,0.456,0.406", "--std", "0.229,0.224,0.225"]
CIFAR10, IMAGENET, RAW, TENSOR = (["--preprocess", name] for name in ("cifar10", "imagenet", "raw255", "tensor"))

SHIPPED = {
    "resnet8": "basic blocks, one a stage, shortcuts by 1x1 convolution",
    "resnet20": "basic blocks, three a stage",
    "plain20": "the same without skips",
    "seresnet20": "squeeze and excitation",
    "preact20": "pre-activation",
    "densenet22": "concatenation, growth 12",
    "res2net29": "bottlenecks in 4 parts",
    "resnext29": "bottlenecks with 8 groups",
}
# what they are, whether the channels are the features
SPEAKERS = {
    "speakers-res8": ("res8 over 29 frames of 12 coefficients", False),
    "speakers-signal8": ("residual blocks in one dimension, 12 channels of 29 values", True),
}
# file, source, licence, preprocessing, pictures
EXTERNAL = {
    "mlperf-tiny-resnet8": ("resnet8-cifar10.onnx", "mlcommons/tiny", "Apache-2.0", RAW, "cifar"),
    "mlperf-tiny-resnet8-int8": ("resnet8-cifar10-qdq.onnx", "mlcommons/tiny_results_v1.3, int8 QDQ", "Apache-2.0", RAW, "cifar"),
    "akamaster-resnet20": ("resnet20-cifar10.onnx", "akamaster/pytorch_resnet_cifar10", "BSD-style", IMAGENET_NORM, "cifar"),
    "akamaster-resnet56": ("resnet56-cifar10.onnx", "akamaster/pytorch_resnet_cifar10", "BSD-style", IMAGENET_NORM, "cifar"),
    "onnc-resnet20": ("resnet20-cifar10-pytorch.onnx", "onnc", "none stated", IMAGENET_NORM, "cifar"),
    "titu1994-densenet40": ("densenet40-cifar10.onnx", "titu1994/DenseNet", "MIT", RAW, "cifar"),
    "resnet18-imagenet": ("resnet18-imagenet.onnx.xz", "uber-research/permute-quantize-finetune, decoded", "non-commercial", IMAGENET, "imagenet"),
    "resnet50-imagenet": ("resnet50-imagenet.onnx.xz", "uber-research/permute-quantize-finetune, decoded", "non-commercial", IMAGENET, "imagenet"),
}
# arguments of recipe.py, pictures
RANDOM = {
    "random-resnet34": (["resnet34"], "imagenet"),
    "random-resnet101": (["resnet101"], "imagenet"),
    "random-resnet152": (["resnet152"], "imagenet"),
    "random-resnext50-32x4d": (["resnext50"], "imagenet"),
    "random-seresnet50": (["seresnet50"], "imagenet"),
    "random-res2net50-26w-4s": (["res2net50"], "imagenet"),
    "random-densenet121": (["densenet121"], "imagenet"),
    "random-wide50-2": (["wide50"], "imagenet"),
    "random-cifar-resnet1202": (["cifar-resnet1202", "--shortcut", "pad"], "cifar"),
}
# pictures to calibrate with, where the usual number would take minutes
FEWER = {"random-cifar-resnet1202": 100}


class Failed(Exception):
    """a command that did not do what it should; its text goes into the table"""


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--list", action="store_true", help="the names of all rows")
    parser.add_argument("--train", help="CIFAR-10 .bin to calibrate with")
    parser.add_argument("--test", help="CIFAR-10 .bin to test with")
    parser.add_argument("--imagenet", help="folder to calibrate with")
    parser.add_argument("--validation", help="folder of labelled pictures, 224 pixels a side at least")
    parser.add_argument("--truth", help="file,class a line")
    parser.add_argument("--external", help="folder of the networks that are not ours")
    parser.add_argument("--calibrate", type=int, help="pictures (default: 500 of CIFAR-10, 100 of them for 1202 layers, 100 of ImageNet)")
    parser.add_argument("--threads", type=int, default=2, help="of the conversion")
    parser.add_argument("--time", action="store_true", help="measure only the latency again")
    parser.add_argument("--fresh", action="store_true", help="convert again what lies in --work")
    parser.add_argument("--work", default=os.path.join(os.path.dirname(HERE), "target", "zoo"))
    parser.add_argument("--skipstone", default=os.path.join(os.path.dirname(HERE), "target", "release", "skipstone"))
    return parser.parse_args()


def called(command):
    """stdout of a command, its seconds (wall, CPU) and its largest memory in MiB"""
    start = time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        errors = []
        reader = threading.Thread(target=lambda: errors.append(child.stderr.read()))
        reader.start()
        output = child.stdout.read()
        reader.join()
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        lines = [line for line in errors[0].splitlines() if line.strip()]
        what = next((line for line in lines if line.startswith(("error", "Error"))), lines[-1] if lines else output.strip()[:400])
        raise Failed(f"{os.path.basename(command[0])} {command[1]}: exit {child.returncode}: {what}")
    return output, time.monotonic() - start, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def converted(args, name, onnx, how, calibration, limit):
    """the .stone file and what the conversion said, from --work where it is there"""
    stone, record = (os.path.join(args.work, f"{name}.{e}") for e in ("stone", "json"))
    if args.fresh or not (os.path.exists(stone) and os.path.exists(record)):
        say(f"{name}: convert")
        command = [args.skipstone, "convert", onnx, "-o", stone, "--calib", calibration, "--limit", str(limit), *how, "--threads", str(args.threads), "--json", "--quiet"]
        output, wall, cpu, memory = called(command)
        facts = json.loads(output) | {"wall": wall, "cpu": cpu, "memory": memory}
        with replacing(record) as partial, open(partial, "w") as file:
            json.dump(facts, file)
    with open(record) as file:
        return stone, json.load(file)


def latency(args, stone):
    """the lowest median of several runs, so that what else runs on the machine disturbs least"""
    runs = [json.loads(called([args.skipstone, "bench", stone, "--time", "1", "--threads", "1", "--json"])[0]) for _ in range(5)]
    bench = min(runs, key=lambda run: run["p50_ms"])
    return {"ms": round(bench["p50_ms"], 4), "arena_bytes": bench["arena_bytes"], "set": bench["isa"], "cpu": bench["host"]["cpu"]}


def speakers(args, features):
    """the speakers' calibration and test utterances, as [n][12][29] in --work if the channels are the features"""
    paths = [os.path.join(HERE, f"speakers-{kind}.npy") for kind in ("calibration", "test")]
    if not features:
        return paths
    import numpy as np
    turned = [os.path.join(args.work, os.path.basename(path)) for path in paths]
    for path, out in zip(paths, turned):
        np.save(out, np.ascontiguousarray(array(path)[:, 0].transpose(0, 2, 1)))
    return turned


def data(args, name, kind, trained):
    """what a row calibrates with and how many of it, in words too, and the arguments that name what it is measured with"""
    some = ["--limit", "1000" if trained else "100"]
    if kind == "cifar":
        return args.train, args.calibrate or FEWER.get(name, 500), "pictures of CIFAR-10", ["--data", args.test, *some]
    if kind == "imagenet":
        return args.imagenet, args.calibrate or 100, "pictures of ImageNet", ["--data", args.validation, "--truth", args.truth, "--resize", "none", "--crop", "224", *some]
    calibration, test = speakers(args, SPEAKERS[name][1])
    return calibration, args.calibrate or 135, "utterances of the Japanese Vowels", ["--data", test, "--truth", os.path.join(HERE, "speakers-test-classes.npy")]


def measured(args, name, onnx, how, kind, trained):
    """all numbers of a row"""
    calibration, limit, words, measure = data(args, name, kind, trained)
    stone, facts = converted(args, name, onnx, how, calibration, limit)
    say(f"{name}: verify")
    verify = json.loads(called([args.skipstone, "verify", stone, "--isa", "all", "--json"])[0])
    if not verify["ok"]:
        raise Failed(f"verify: {verify['first_difference'] or verify['broken_proofs']}")
    say(f"{name}: bench and eval")
    row = {"parameters": facts["parameters"], "macs": facts["macs"], "file_bytes": os.path.getsize(stone), **latency(args, stone)}
    result = json.loads(called([args.skipstone, "eval", stone, *measure, "--against", onnx, "--json"])[0])
    if trained:
        row |= {"float_top1": round(result["float_top1"], 2), "top1": round(result["top1"], 2)}
    row |= {"n": result["pictures"], "agreement": round(result["agreement"], 2), "sqnr_db": round(result["sqnr_db"], 1)}
    row |= {"calibration": f"{facts.get('calibrated', limit)} {words}", "verified": verify["isa"]}
    return row | {"convert_s": round(facts["wall"], 1), "convert_cpu_s": round(facts["cpu"], 1), "convert_mib": round(facts["memory"])}


def network(args, name):
    """where the ONNX file of a row is, its preprocessing, kind of pictures, and what is known of it beforehand; the file is made or unpacked where it has to be"""
    if name in SHIPPED:
        source = f"models/{name}.onnx: {SHIPPED[name]}; trained for this project"
        return os.path.join(HERE, f"{name}.onnx"), CIFAR10, "cifar", {"source": source, "licence": OURS, "kind": "shipped"}
    if name in SPEAKERS:
        source = f"models/{name}.onnx: {SPEAKERS[name][0]}; trained for this project"
        return os.path.join(HERE, f"{name}.onnx"), TENSOR, "speakers", {"source": source, "licence": OURS, "kind": "shipped"}
    if name in EXTERNAL:
        file, source, licence, how, kind = EXTERNAL[name]
        path = os.path.join(args.external or "", file)
        if path.endswith(".xz"):
            plain = os.path.join(args.work, file[:-3])
            if not os.path.exists(plain):
                with lzma.open(path) as packed, replacing(plain) as partial, open(partial, "wb") as out:
                    out.write(packed.read())
            path = plain
        return path, how, kind, {"source": source, "licence": licence, "kind": "external, not shipped"}
    recipe, kind = RANDOM[name]
    path = os.path.join(args.work, f"{name}.onnx")
    if not os.path.exists(path):
        say(f"{name}: models/recipe.py {' '.join(recipe)}")
        pictures = args.train if kind == "cifar" else args.imagenet
        called([sys.executable, os.path.join(HERE, "recipe.py"), *recipe, "-o", path, "--pictures", pictures, "--threads", str(args.threads)])
    return path, CIFAR10 if kind == "cifar" else IMAGENET, kind, {"source": f"random weights: models/recipe.py {' '.join(recipe)}", "licence": OURS, "kind": "random"}


def can(args, name):
    """whether the data that a row needs are given"""
    if name in SPEAKERS:
        return True
    kind = "cifar" if name in SHIPPED else EXTERNAL[name][4] if name in EXTERNAL else RANDOM[name][1]
    data = [args.train, args.test] if kind == "cifar" else [args.imagenet, args.validation, args.truth]
    return all(data) and (name not in EXTERNAL or bool(args.external))


def every():
    return [*SHIPPED, *SPEAKERS, *EXTERNAL, *RANDOM]


def load():
    if not os.path.exists(TABLE):
        return {}
    with open(TABLE, "rb") as file:
        return {row["name"]: row for row in tomllib.load(file)["network"]}


def save(rows):
    text = lambda value: json.dumps(value, ensure_ascii=False)
    cells = lambda value: text(value) if not isinstance(value, int) or isinstance(value, bool) else f"{value:_}"
    order = every()
    with replacing(TABLE) as partial, open(partial, "w") as file:
        file.write("# Made by models/zoo.py; models/README.md says what the fields mean.\n")
        for row in sorted(rows.values(), key=lambda row: order.index(row["name"])):
            file.write("\n[[network]]\n" + "".join(f"{key} = {cells(value)}\n" for key, value in row.items()))


def main():
    args = arguments()
    if args.list:
        return print("\n".join(every()))
    unknown = [name for name in args.names if name not in every()]
    if unknown:
        raise Problem(f"no row {', '.join(unknown)}: --list names them")
    if not os.path.exists(args.skipstone):
        raise Problem(f"no program {args.skipstone}: build it with `cargo build --release`, or name it with --skipstone")
    missing = [name for name in args.names if not args.time and not can(args, name)]
    if missing:
        raise Problem(f"the data for {', '.join(missing)} are not all given: see --help")
    os.makedirs(args.work, exist_ok=True)
    failures = 0
    for name in args.names or [name for name in every() if args.time or can(args, name)]:
        rows, known = load(), {}
        try:
            if args.time:
                stone = os.path.join(args.work, f"{name}.stone")
                if name in rows and os.path.exists(stone):
                    say(f"{name}: bench")
                    rows[name] |= latency(args, stone)
                    save(rows)
                continue
            onnx, how, kind, known = network(args, name)
            row = {"name": name, **known, **measured(args, name, onnx, how, kind, name not in RANDOM)}
        except Failed as failure:
            row = {"name": name, **known, "failed": str(failure)}
            failures += 1
        rows = load()
        rows[name] = row
        save(rows)
        say(f"{name}: {row.get('failed') or 'done'}")
    if failures:
        raise Problem(f"{failures} networks failed: see `failed` in {TABLE}")


if __name__ == "__main__":
    script(main)
