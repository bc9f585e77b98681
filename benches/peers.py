#!/usr/bin/env python3
"""Latency of skipstone beside ONNX Runtime's int8 and tract's float, interleaved in one run, as the README's table.

usage: benches/peers.py [--threads 1,2] [--rounds 12] [--seconds 0.4] [--json FILE] [--net NAME ONNX CALIBRATION PREPROCESS]...

Without --net the networks of models/ are measured. CALIBRATION is a CIFAR-10 .bin file or a folder of pictures, PREPROCESS a name that
`skipstone convert --preprocess` knows, or mean:std (as 0.485,0.456,0.406:0.229,0.224,0.225). Every timing is a process of its own, pinned to the first cores;
the rounds alternate between the programs, the table gives the minimum and the median of all runs of all rounds, in milliseconds.

ONNX Runtime quantizes with its own tool: QDQ, u8 activations, s8 weights per channel, MinMax over the same 100 pictures.
The script makes its own virtual environment with these versions under target/peers.
"""
import argparse, json, os, statistics, subprocess, sys, time
import onnxruntime_quantizer
from onnxruntime_quantizer import PRESETS, ROOT, environment, normalization, normalized, prepared

WORK = os.path.join(ROOT, "target", "peers")
PICTURES = 100


def pictures(path, shape):
    """u8 [n][3][h][w]"""
    import numpy as np
    from PIL import Image
    if os.path.isfile(path):
        raw = np.fromfile(path, np.uint8).reshape(-1, 3073)[:PICTURES, 1:]
        return raw.reshape(-1, 3, 32, 32)
    h, w = shape
    found = []
    for name in sorted(os.listdir(path))[:PICTURES]:
        image = Image.open(os.path.join(path, name)).convert("RGB")
        scale = 256 / min(image.size)
        image = image.resize([round(s * scale) for s in image.size], Image.BILINEAR)
        left, top = (image.width - w) // 2, (image.height - h) // 2
        found.append(np.asarray(image.crop((left, top, left + w, top + h))).transpose(2, 0, 1))
    return np.stack(found)


def quantize(onnx_path, calibration, preprocess, out):
    """ONNX Runtime's own static quantization"""
    source = out + ".pre.onnx"
    feed, shape = prepared(onnx_path, source)
    onnxruntime_quantizer.quantize(source, feed, normalized(pictures(calibration, shape[2:]), preprocess), out)


def child_ort(model, threads, seconds):
    """times ONNX Runtime in this process"""
    import numpy as np, onnxruntime as ort
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    feed = session.get_inputs()[0]
    shape = [d if isinstance(d, int) else 1 for d in feed.shape]
    x = {feed.name: np.random.default_rng(1).standard_normal(shape).astype(np.float32)}
    return timed(lambda: session.run(None, x), seconds)


def timed(run, seconds):
    end = time.perf_counter() + seconds / 4
    while time.perf_counter() < end:
        run()
    samples, end = [], time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        run()
        samples.append(1e3 * (time.perf_counter() - start))
    return samples


def pinned(command, threads):
    result = subprocess.run(command, capture_output=True, text=True, preexec_fn=lambda: os.sched_setaffinity(0, range(threads)))
    if result.returncode:
        sys.exit(f"{' '.join(map(str, command))}\n{result.stderr}")
    return json.loads(result.stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--seconds", type=float, default=0.4)
    parser.add_argument("--json")
    parser.add_argument("--net", nargs=4, action="append", metavar=("NAME", "ONNX", "CALIBRATION", "PREPROCESS"))
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    environment(WORK)
    if args.child:
        model, threads, seconds = args.child
        print(json.dumps(child_ort(model, int(threads), float(seconds))))
        return
    models = os.path.join(ROOT, "models")
    calibration = os.path.join(models, "calibration.bin")
    nets = args.net or [(n, os.path.join(models, f"{n}.onnx"), calibration, "cifar10") for n in ("resnet8", "resnet20")]
    build = ["cargo", "build", "--release", "--bin", "skipstone", "--bench", "float"]
    subprocess.run(build, cwd=ROOT, check=True)
    ours = os.path.join(ROOT, "target", "release", "skipstone")
    listing = subprocess.run([*build, "--message-format=json"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    tract = next(m["executable"] for m in map(json.loads, listing.splitlines()) if m.get("executable") and m["target"]["name"] == "float")
    rows = []
    for name, onnx_path, calib, preprocess in nets:
        stone, qdq = (os.path.join(WORK, f"{name}.{e}") for e in ("stone", "qdq.onnx"))
        how = ["--preprocess", preprocess] if preprocess in PRESETS else ["--mean", normalization(preprocess)[0], "--std", normalization(preprocess)[1]]
        subprocess.run([ours, "convert", onnx_path, "-o", stone, "--calib", calib, "--limit", str(PICTURES), *how, "--quiet"], check=True, stdout=subprocess.DEVNULL)
        quantize(onnx_path, calib, preprocess, qdq)
        for threads in map(int, args.threads.split(",")):
            samples = {"skipstone int8": [], "ONNX Runtime int8": [], "tract float": []}
            for number in range(args.rounds):
                print(f"{name}, {threads} threads, round {number + 1} of {args.rounds}", file=sys.stderr)
                bench = pinned([ours, "bench", stone, "--threads", str(threads), "--time", str(args.seconds), "--json"], threads)
                samples["skipstone int8"] += [(bench["min_ms"], bench["p50_ms"])]
                other = pinned([sys.executable, os.path.abspath(__file__), "--child", qdq, str(threads), str(args.seconds)], threads)
                samples["ONNX Runtime int8"] += [(min(other), statistics.median(other))]
                if threads == 1:
                    other = pinned([tract, onnx_path, str(args.seconds)], 1)
                    samples["tract float"] += [(min(other), statistics.median(other))]
            row = {"network": name, "threads": threads}
            for peer, s in samples.items():
                if s:
                    row[peer] = {"min_ms": min(m for m, _ in s), "p50_ms": statistics.median(m for _, m in s)}
            rows.append(row)
    cell = lambda row, peer: f"{row[peer]['min_ms']:.3f} / {row[peer]['p50_ms']:.3f}" if peer in row else ""
    peers = ["skipstone int8", "ONNX Runtime int8", "tract float"]
    print(f"| network | threads | {' | '.join(peers)} | against ONNX Runtime | against tract |")
    print("|---|---|---|---|---|---|---|")
    for row in rows:
        faster = lambda peer: f"{row[peer]['p50_ms'] / row['skipstone int8']['p50_ms']:.2f}x" if peer in row else ""
        print(f"| {row['network']} | {row['threads']} | {' | '.join(cell(row, p) for p in peers)} | {faster('ONNX Runtime int8')} | {faster('tract float')} |")
    if args.json:
        with open(args.json, "w") as f:
            json.dump(rows, f, indent=1)


if __name__ == "__main__":
    main()
