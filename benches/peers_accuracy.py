#!/usr/bin/env python3
"""Accuracy of post-training int8 quantization: skipstone beside ONNX Runtime and NNCF (OpenVINO's quantizer), with the same pictures, as a Markdown table.

usage: benches/peers_accuracy.py [--calibration 100,500] [--full-bias] [--quick] [--skipstone PROGRAM] [--json FILE] --net NAME ONNX CALIBRATION TEST PREPROCESS [--net …]

CALIBRATION and TEST are CIFAR-10 .bin files or folders of pictures, PREPROCESS cifar10, imagenet, unit or raw255, or mean:std (as 0.485,0.456,0.406:0.229,0.224,0.225). The
first N pictures calibrate, for each N of --calibration that CALIBRATION has. Pictures of a folder CALIBRATION are resized (shorter side to 8/7 of the input) and
cropped, those of a folder TEST only cropped; classes are those of the .bin, or of TEST.csv (file,class). All programs get the same bytes: skipstone reads them
from .npy files that this script makes. A row appears on stdout as soon as it is measured, progress on stderr; FILE has every variant, not just the best.

A cell is agreement with the float network (ONNX Runtime) / SQNR of the scores / top-1. SQNR: 10 log10 of the sum of squares of the float scores over that of the
differences, all pictures and classes, as `skipstone eval --against` measures. The variants of a peer are below; the one with the best SQNR *on the test pictures*
is shown and named, which favours the peers. skipstone has its default options.

* ONNX Runtime: `quantize_static`, QDQ, u8 activations, s8 weights per channel; minmax, entropy, percentile (99.999) as the tool sets them, and percentile 99.99.
  The tool's entropy has as many bins before as after quantization and so finds no range better than minmax's.
* NNCF: `nncf.quantize` of the ONNX with all calibration pictures (`subset_size`). Its defaults with the presets performance (its choice) and mixed have a column of
  their own. Beyond them: *minmax*, ranges by minimum and maximum instead of means of maxima, and 8 bits of weights in the first layer as well (without the overflow
  fix for CPUs without VNNI); also without bias correction; with --full-bias also with fast_bias_correction=False, which takes minutes for deep networks.
* Both begin from the ONNX after `quant_pre_process` (batch normalizations folded). Neither runs on integer kernels here: ONNX Runtime executes the QDQ networks with all
  graph optimizations disabled, also inside of NNCF, so that quantize and dequantize nodes are done in float, exactly: on AVX2 its products of u8 and s8 saturate, which
  costs such networks over 10 dB there. (ResNet-20 by NNCF in OpenVINO's own format, on its CPU plugin with LP_TRANSFORMS_MODE=NO, is within 0.05 dB of this.) NNCF keeps
  some tensors in float, among them the scores (as skipstone does) and biases; ONNX Runtime makes bytes of the scores.

The script makes its own virtual environment with these versions under target/peers_accuracy. Memory: entropy and percentile keep all tensors of all pictures.
"""
import argparse, contextlib, json, math, os, subprocess, sys, time
from onnxruntime_quantizer import ROOT, environment, normalization, normalized, prepared, quantize

WORK = os.path.join(ROOT, "target", "peers_accuracy")
COLUMNS = {"skipstone": ("skipstone",), "ONNX Runtime": ("ONNX Runtime",), "NNCF, defaults": ("NNCF defaults",), "NNCF, best": ("NNCF defaults", "NNCF")}
ONNX_RUNTIME = {"minmax": ("MinMax", {}), "entropy": ("Entropy", {}), "percentile": ("Percentile", {}), "percentile 99.99": ("Percentile", {"CalibPercentile": 99.99})}
# preset, beyond the defaults, bias correction
NNCF = {"performance": ("PERFORMANCE", False, "fast"), "mixed": ("MIXED", False, "fast"), "minmax": ("PERFORMANCE", True, "fast"),
        "minmax, no bias correction": ("PERFORMANCE", True, None), "mixed, minmax, no bias correction": ("MIXED", True, None)}
NNCF_FULL = {"performance, full bias correction": ("PERFORMANCE", False, "full"), "minmax, full bias correction": ("PERFORMANCE", True, "full")}
QUICK = ("minmax", "percentile"), ("performance", "mixed", "mixed, minmax, no bias correction")


def pictures(path, shape, limit, resize):
    """u8 [n][h][w][3] and classes [n], None where they are not known"""
    import numpy as np
    from PIL import Image
    if os.path.isfile(path):
        raw = np.fromfile(path, np.uint8).reshape(-1, 3073)[:limit]
        return np.ascontiguousarray(raw[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)), raw[:, 0].astype(np.int64)
    h, w = shape
    found, names = [], sorted(os.listdir(path))[:limit]
    for name in names:
        image = Image.open(os.path.join(path, name)).convert("RGB")
        if resize:
            scale = round(h * 8 / 7) / min(image.size)
            image = image.resize([int(s * scale + 1e-9) for s in image.size], Image.BILINEAR)
        left, top = round((image.width - w) / 2), round((image.height - h) / 2)
        found.append(np.asarray(image.crop((left, top, left + w, top + h))))
    truth = path.rstrip("/") + ".csv"
    if not os.path.exists(truth):
        return np.stack(found), None
    with open(truth) as f:
        classes = dict(line.strip().rsplit(",", 1) for line in f if "," in line)
    return np.stack(found), np.array([int(classes[name]) for name in names])


def read_as_float(bytes_, preprocess):
    """what the float network reads, f32 [n][3][h][w]"""
    import numpy as np
    return np.ascontiguousarray(normalized(bytes_.transpose(0, 3, 1, 2), preprocess))


def exact_options(threads):
    """every node as it stands, so that quantized networks are emulated in float"""
    import onnxruntime as ort
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    return options


def scores(model, x, threads):
    import numpy as np, onnxruntime as ort
    session = ort.InferenceSession(model, exact_options(threads), providers=["CPUExecutionProvider"])
    feed = session.get_inputs()[0]
    batch = feed.shape[0] if isinstance(feed.shape[0], int) else 10
    return np.concatenate([session.run(None, {feed.name: x[i:i + batch]})[0].reshape(len(x[i:i + batch]), -1) for i in range(0, len(x), batch)]).astype(np.float64)


def worth(found, expected, truth):
    result = {"agreement": 100 * float((found.argmax(1) == expected.argmax(1)).mean())}
    noise = float(((found - expected) ** 2).sum())
    result["sqnr_db"] = 10 * math.log10(float((expected ** 2).sum()) / noise) if noise else math.inf
    result["top1"] = None if truth is None else 100 * float((found.argmax(1) == truth).mean())
    return result


def by_onnxruntime(source, name, x, threads, out, method, extra):
    quantize(source, name, x, out, method, extra)


def by_nncf(source, name, x, threads, out, preset, beyond, bias):
    import types, nncf, nncf.onnx.engine, onnx, onnxruntime
    from nncf.quantization.advanced_parameters import AdvancedQuantizationParameters, OverflowFix
    from nncf.quantization.range_estimator import RangeEstimatorParametersSet
    nncf.onnx.engine.rt = types.SimpleNamespace(SessionOptions=lambda: exact_options(threads), InferenceSession=onnxruntime.InferenceSession)
    advanced = AdvancedQuantizationParameters(disable_bias_correction=bias is None)
    if beyond:
        advanced.overflow_fix, advanced.activations_range_estimator_params = OverflowFix.DISABLE, RangeEstimatorParametersSet.MINMAX
    data = nncf.Dataset([{name: picture[None]} for picture in x])
    made = nncf.quantize(onnx.load(source), data, preset=getattr(nncf.QuantizationPreset, preset), subset_size=len(x), fast_bias_correction=bias != "full",
                         advanced_parameters=advanced)
    onnx.save(made, out)


def skipstone(program, onnx_path, x, test, truth, how, threads, stem):
    """convert and eval, on .npy files of the same bytes"""
    import numpy as np
    def call(*command):
        result = subprocess.run([program, *command, "--threads", str(threads), "--json", "--quiet"], capture_output=True, text=True)
        if result.returncode:
            sys.exit(f"{' '.join(command)}\n{result.stderr}")
        return json.loads(result.stdout)
    calibration, data, classes = (f"{stem}.{what}.npy" for what in ("calibration", "test", "truth"))
    np.save(calibration, x)
    np.save(data, test)
    command = ["eval", f"{stem}.stone", "--data", data, "--resize", "none", "--against", onnx_path]
    if truth is not None:
        np.save(classes, truth)
        command += ["--truth", classes]
    call("convert", onnx_path, "-o", f"{stem}.stone", "--calib", calibration, "--resize", "none", *how)
    found = call(*command)
    return {key: found[key] for key in ("agreement", "sqnr_db", "top1", "float_top1")}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calibration", default="100,500", help="numbers of calibration pictures")
    parser.add_argument("--test-limit", type=int, help="take the first N pictures of TEST")
    parser.add_argument("--full-bias", action="store_true", help="NNCF also with fast_bias_correction=False")
    parser.add_argument("--quick", action="store_true", help="only the variants that were the best of a peer for smaller networks, and NNCF's defaults")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--skipstone", default=os.path.join(ROOT, "target", "release", "skipstone"), metavar="PROGRAM")
    parser.add_argument("--json")
    parser.add_argument("--net", nargs=5, action="append", required=True, metavar=("NAME", "ONNX", "CALIBRATION", "TEST", "PREPROCESS"))
    args = parser.parse_args()
    os.environ["NNCF_CI"] = "1"  # no telemetry
    environment(WORK, "nncf==3.4.0")
    os.environ["OMP_NUM_THREADS"] = str(args.threads)
    rows = []
    print(f"| network | calibration | n | float top-1 | {' | '.join(COLUMNS)} |")
    print("|---|---|---|---|---|---|---|---|", flush=True)
    for name, onnx_path, calibration, test, preprocess in args.net:
        stem = os.path.join(WORK, name)
        source = f"{stem}.pre.onnx"
        feed, shape = prepared(onnx_path, source)
        shape = shape[2:]
        test_bytes, truth = pictures(test, shape, args.test_limit, False)
        test_x = read_as_float(test_bytes, preprocess)
        expected = scores(onnx_path, test_x, args.threads)
        norm = normalization(preprocess)
        how = ["--mean", norm[0], "--std", norm[1]] if norm else ["--scale", "1"]
        for count in map(int, args.calibration.split(",")):
            bytes_, _ = pictures(calibration, shape, count, True)
            if len(bytes_) < count:
                continue
            x = read_as_float(bytes_, preprocess)
            row = {"network": name, "calibration": count, "pictures": len(test_x), "float_top1": worth(expected, expected, truth)["top1"], "variants": []}
            rows.append(row)

            def keep(variant):
                print(variant, file=sys.stderr, flush=True)
                row["variants"].append(variant)
                if args.json:  # after each, for a run takes long
                    with open(args.json, "w") as f:
                        json.dump(rows, f, indent=1)

            def measure(peer, variant, make, *parameters):
                print(f"{name}, {count} pictures, {peer} {variant}", file=sys.stderr, flush=True)
                out, start = f"{stem}.{count}.onnx", time.monotonic()
                try:
                    with contextlib.redirect_stdout(sys.stderr):
                        make(source, feed, x, args.threads, out, *parameters)
                    seconds = time.monotonic() - start
                    result = worth(scores(out, test_x, args.threads), expected, truth)
                except Exception as error:  # a peer's failure is a result, too
                    print(f"{peer} {variant} failed: {error!r}", file=sys.stderr)
                    return
                keep({"peer": peer, "variant": variant, **result, "seconds": round(seconds, 1)})

            start = time.monotonic()
            result = skipstone(args.skipstone, onnx_path, bytes_, test_bytes, truth, how, args.threads, stem)
            keep({"peer": "skipstone", "variant": "", **result, "seconds": round(time.monotonic() - start, 1)})
            for variant, parameters in ONNX_RUNTIME.items():
                if not args.quick or variant in QUICK[0]:
                    measure("ONNX Runtime", variant, by_onnxruntime, *parameters)
            for variant, parameters in {**NNCF, **(NNCF_FULL if args.full_bias else {})}.items():
                if not args.quick or variant in QUICK[1]:
                    measure("NNCF defaults" if variant in ("performance", "mixed") else "NNCF", variant, by_nncf, *parameters)
            best = [max((v for v in row["variants"] if v["peer"] in peers), key=lambda v: v["sqnr_db"], default=None) for peers in COLUMNS.values()]
            percent = lambda value: "" if value is None else f" / {value:.1f}"
            cell = lambda v: v and f"{v['agreement']:.1f} % / {v['sqnr_db']:.1f} dB{percent(v['top1'])}{v['variant'] and ' (' + v['variant'] + ')'}"
            print(f"| {name} | {count} | {row['pictures']:,} |{percent(row['float_top1'])[2:]} | {' | '.join(cell(v) or '' for v in best)} |", flush=True)


if __name__ == "__main__":
    main()
