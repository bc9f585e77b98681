"""ONNX Runtime's own static quantization in a pinned Python environment: what peers.py and peers_accuracy.py share."""
import os, subprocess, sys

PINNED = ["numpy==2.4.6", "onnx==1.23.2", "onnxruntime==1.32.0", "pillow==13.0.0"]
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PRESETS = {"cifar10": ("0.4914,0.4822,0.4465", "0.2470,0.2435,0.2616"), "imagenet": ("0.485,0.456,0.406", "0.229,0.224,0.225"), "unit": ("0,0,0", "1,1,1"), "raw255": None}


def environment(work, *more):
    """runs the script again inside an environment of its own in the folder `work`, with PINNED and `more`"""
    python = os.path.join(work, "venv", "bin", "python")
    if os.path.abspath(sys.prefix) == os.path.dirname(os.path.dirname(python)):
        return
    if not os.path.exists(os.path.join(work, "venv", "ready")):
        print("setting up", work, file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", os.path.join(work, "venv")], check=True)
        subprocess.run([python, "-m", "pip", "install", "-q", *PINNED, *more], check=True)
        open(os.path.join(work, "venv", "ready"), "w").close()
    os.execv(python, [python, os.path.abspath(sys.argv[0]), *sys.argv[1:]])


def normalization(preprocess):
    """mean and deviation as the program's flags take them, None for bytes as they are"""
    if preprocess in PRESETS:
        return PRESETS[preprocess]
    mean, deviation = preprocess.split(":")
    return mean, deviation


def normalized(x, preprocess):
    """f32 [n][3][h][w] as the float network reads it"""
    import numpy as np
    x = x.astype(np.float32)
    if norm := normalization(preprocess):
        mean, deviation = (np.array([float(v) for v in part.split(",")], np.float32).reshape(1, 3, 1, 1) for part in norm)
        x = (x / 255 - mean) / deviation
    return x


def prepared(onnx_path, out):
    """writes the network with its batch normalizations folded; gives the name and the shape of its input"""
    import onnx
    from onnxruntime.quantization.shape_inference import quant_pre_process
    quant_pre_process(onnx_path, out, skip_symbolic_shape=True)
    graph = onnx.load(out).graph
    known = {i.name for i in graph.initializer}
    feed = next(i for i in graph.input if i.name not in known)
    return feed.name, [d.dim_value for d in feed.type.tensor_type.shape.dim]


def quantize(source, name, x, out, method="MinMax", extra=None):
    """QDQ, u8 activations, s8 weights per channel; `name` is the input's, `x` the calibration pictures"""
    from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static

    class Reader(CalibrationDataReader):
        def __init__(self):
            self.rest = iter(x)

        def get_next(self):
            picture = next(self.rest, None)
            return None if picture is None else {name: picture[None]}

    quantize_static(source, out, Reader(), quant_format=QuantFormat.QDQ, activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8, per_channel=True,
                    calibrate_method=getattr(CalibrationMethod, method), extra_options=extra)
