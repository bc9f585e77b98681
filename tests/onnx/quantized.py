"""Makes the ONNX files of tests/onnx/quantized, and beside each what ONNX Runtime computes for a few pictures.

    python tests/onnx/quantized.py

NAME.onnx goes with NAME.txt: a line with the scale and one with the shift of every channel, then for each picture a line of scores.
Needs numpy, onnx and onnxruntime, whose quantizer makes most of the files; other versions of it make other bytes.
"""
import os
import tempfile
import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from build import Net

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "quantized")
PICTURES = 4
FED = ([1 / (255 * s) for s in (0.229, 0.224, 0.225)], [-m / s for m, s in zip((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))])
RAW = ([1.0] * 3, [0.0] * 3)


def picture(k, shape=(8, 8, 3)):
    """Bytes [h][w][c]; picture `k` of the tests."""
    i = np.arange(int(np.prod(shape)), dtype=np.int64)
    return ((i * 73 + i * i // 7 * 5 + 31 * k + i // 11 * k) % 256).reshape(shape)


def fed(k, fed, nhwc=False):
    x = (picture(k) * np.array(fed[0]) + np.array(fed[1])).astype(np.float32)[None]
    return x if nhwc else np.ascontiguousarray(x.transpose(0, 3, 1, 2))


class Reader(CalibrationDataReader):
    def __init__(self, pictures):
        self.left = iter([{"x": x} for x in pictures])

    def get_next(self):
        return next(self.left, None)


def save(name, model, preprocessing=FED, nhwc=False):
    os.makedirs(HERE, exist_ok=True)
    path = os.path.join(HERE, name + ".onnx")
    del model.metadata_props[:], model.graph.value_info[:]
    onnx.save(model, path)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options)
    rows = [session.run(None, {"x": fed(k, preprocessing, nhwc)})[0].ravel() for k in range(PICTURES)]
    assert np.ptp(rows) > 1e-3 and len({r.tobytes() for r in rows}) == PICTURES, (name, rows)
    with open(os.path.join(HERE, name + ".txt"), "w") as f:
        for row in [*preprocessing, *rows]:
            f.write(" ".join(repr(float(v)) if len(row) == 3 else f"{v:.9g}" for v in row) + "\n")


def quantized(name, model, form, channels, activation, **options):
    with tempfile.TemporaryDirectory() as folder:
        before, after = os.path.join(folder, "a.onnx"), os.path.join(folder, "b.onnx")
        onnx.save(model, before)
        quantize_static(before, after, Reader([fed(k, FED) for k in range(12)]), quant_format=form, per_channel=channels, activation_type=activation,
                        weight_type=QuantType.QInt8, extra_options=options)
        save(name, onnx.load(after))


def residual(seed=1):
    """Two blocks, the second with a projection."""
    n = Net(dims=(1, 3, 8, 8), seed=seed)
    x = n.relu(n.conv("x", 3, 8))
    y = n.relu(n.conv(x, 8, 8))
    x = n.relu(n.node("Add", n.conv(y, 8, 8), x))
    y = n.relu(n.conv(x, 8, 12, strides=[2, 2]))
    x = n.relu(n.node("Add", n.conv(y, 12, 12), n.conv(x, 8, 12, k=1, strides=[2, 2])))
    return n.model(n.head(x, 12))


def option_a():
    """A shortcut of every other pixel and channels of zeros."""
    n = Net(dims=(1, 3, 8, 8), seed=2)
    x = n.relu(n.conv("x", 3, 8))
    y = n.conv(n.relu(n.conv(x, 8, 16, strides=[2, 2])), 16, 16)
    short = n.node("Slice", x, n.ints(0, 0), n.ints(8, 8), n.ints(2, 3), n.ints(2, 2))
    short = n.node("Pad", short, n.ints(0, 4, 0, 0, 0, 4, 0, 0), n.scalar(0))
    return n.model(n.head(n.relu(n.node("Add", y, short)), 16, classes=8))


def linear():
    """Pools, a concatenation and a sum of values with a sign, a matrix product."""
    n = Net(dims=(1, 3, 8, 8), seed=3)
    x = n.conv("x", 3, 8)
    a = n.node("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    b = n.node("AveragePool", x, kernel_shape=[2, 2], strides=[2, 2])
    x = n.node("Concat", a, b, axis=1)
    x = n.node("LeakyRelu", n.conv(x, 16, 8), alpha=0.1)
    x = n.node("GlobalAveragePool", n.node("Add", x, n.conv(x, 8, 8)))
    return n.model(n.node("MatMul", n.node("Flatten", x, axis=1), n.random(8, 5)))


def mirror():
    """Borders that mirror, behind a ReLU and of values with a sign."""
    n = Net(dims=(1, 3, 8, 8), seed=5)
    x = n.node("Pad", n.relu(n.conv("x", 3, 8)), n.ints(0, 0, 1, 1, 0, 0, 1, 1), mode="reflect")
    x = n.node("Pad", n.node("Conv", x, n.random(8, 8, 3, 3), strides=[2, 2]), n.ints(0, 0, 1, 0, 0, 0, 0, 1), mode="reflect")
    return n.model(n.head(n.relu(n.node("Conv", x, n.random(8, 8, 2, 2))), 8))


def gated():
    """Squeeze-and-excitation in front of a shortcut."""
    n = Net(dims=(1, 3, 8, 8), seed=6)
    x = n.relu(n.conv("x", 3, 8))
    y = n.conv(x, 8, 8)
    gates = n.node("Sigmoid", n.conv(n.relu(n.conv(n.node("GlobalAveragePool", y), 8, 4, k=1)), 4, 8, k=1))
    return n.model(n.head(n.relu(n.node("Add", n.node("Mul", y, gates), x)), 8))


def by_hand():
    """As other quantizers write it: [h][w][c], weights of -128, weights with their own QuantizeLinear, a ReLU behind bytes, ReLU6, a shortcut in float."""
    n = Net(dims=(1, 8, 8, 3), opset=15, seed=4)

    def stored(x, scale, zero):
        pair = [n.scalar(scale), n.const(np.int8(zero))]
        return n.node("DequantizeLinear", n.node("QuantizeLinear", x, *pair), *pair)

    def weights(oc, ic, k, quantize):
        w = n.rng.standard_normal((oc, ic, k, k)) * 1.4 / (ic * k * k) ** 0.5
        s = (np.abs(w).max((1, 2, 3)) / 127.5).astype(np.float32)
        q = np.clip(np.round(w / s[:, None, None, None]), -128, 127)
        pair = [n.const(s), n.const(np.zeros(oc, np.int8))]
        if quantize:
            w = n.node("QuantizeLinear", n.const((q * s[:, None, None, None]).astype(np.float32)), *pair, axis=0)
        else:
            q[:, 0, 0, 0] = -128
            w = n.const(q.astype(np.int8))
        return n.node("DequantizeLinear", w, *pair, axis=0), s

    def conv(x, scale, ic, oc, k=3, quantize=False, **attributes):
        w, s = weights(oc, ic, k, quantize)
        bias = n.const((n.rng.standard_normal(oc) * 0.2 / (s * scale)).astype(np.int32))
        b = n.node("DequantizeLinear", bias, n.const((s * np.float32(scale)).astype(np.float32)), n.const(np.zeros(oc, np.int32)), axis=0)
        return n.node("Conv", x, w, b, pads=[k // 2] * 4, **attributes)

    x = stored(n.node("Transpose", "x", perm=[0, 3, 1, 2]), 1.0, -128)
    x = stored(n.node("Div", conv(x, 1.0, 3, 8), n.scalar(64)), 0.02, -10)
    x = stored(n.relu(x), 0.015, -100)
    y = stored(n.node("Clip", conv(x, 0.015, 8, 8, quantize=True), n.scalar(0), n.scalar(6)), 0.03, -128)
    y = conv(y, 0.03, 8, 8)
    x = stored(n.relu(n.node("Add", y, x)), 0.02, -128)
    x = stored(n.node("GlobalAveragePool", x), 0.01, -90)
    w = n.node("DequantizeLinear", n.const(n.rng.integers(-127, 128, (5, 8)).astype(np.int8)), n.scalar(0.01), n.const(np.int8(0)))
    return n.model(stored(n.node("Gemm", n.node("Flatten", x, axis=1), w, n.random(5), transB=1), 0.02, 3))


if __name__ == "__main__":
    for form, word in ((QuantFormat.QDQ, "qdq"), (QuantFormat.QOperator, "qoperator")):
        quantized(f"{word}_tensor_u8", residual(), form, False, QuantType.QUInt8)
        quantized(f"{word}_channel_s8", residual(), form, True, QuantType.QInt8)
        quantized(f"{word}_option_a", option_a(), form, True, QuantType.QUInt8)
        quantized(f"{word}_linear", linear(), form, True, QuantType.QInt8)
    quantized("qdq_mirror", mirror(), QuantFormat.QDQ, True, QuantType.QUInt8)
    quantized("qdq_symmetric", residual(), QuantFormat.QDQ, True, QuantType.QInt8, ActivationSymmetric=True)
    quantized("qdq_gated", gated(), QuantFormat.QDQ, True, QuantType.QInt8)
    quantized("qoperator_gated", gated(), QuantFormat.QOperator, True, QuantType.QUInt8)
    save("by_hand", by_hand(), RAW, nhwc=True)
