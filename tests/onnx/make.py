"""Makes the ONNX files of this folder, and beside each what ONNX Runtime computes for the picture of `pixels`.

    python tests/onnx/make.py [by_hand] [torch_exports] [keras_export]

NAME.onnx goes with NAME.txt: a line with the scale and one with the shift of every channel, then one score a line.
`refused/NAME.onnx` goes with NAME.txt: what the error must say.
Needs numpy, onnx and onnxruntime; torch and onnxscript for torch_*.onnx, tensorflow and tf2onnx for keras_*.onnx: what is missing is left out.
The seeds are fixed; other versions of torch and tf2onnx make other bytes.
"""
import os
import sys
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
import family
from build import Net

HERE = os.path.dirname(os.path.abspath(__file__))


def pixels(count):
    i = np.arange(count, dtype=np.int64)
    return (i * 73 + i * i // 7 * 5) % 256


def expected(model, scores, scale, shift, folder=HERE):
    """What ONNX Runtime computes as value `scores`."""
    model = onnx.ModelProto.FromString(model.SerializeToString())
    if scores not in [o.name for o in model.graph.output]:
        model.graph.output.append(helper.make_empty_tensor_value_info(scores))
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    path = os.path.join(folder, "temporary.onnx")
    onnx.save(model, path)
    session = onnxruntime.InferenceSession(path, options)
    os.remove(path)
    feed = [i for i in session.get_inputs()][0]
    dims = [1] + list(feed.shape[1:])
    last = dims[-1] <= 4
    if len(dims) == 3:  # a signal of up to four channels, or features
        dims = [1, 1, *dims[1:]] if last or min(dims[1:]) > 4 else [1, dims[1], 1, dims[2]]
    h, w, c = dims[1:] if last else (dims[2], dims[3], dims[1])
    x = pixels(h * w * c).reshape(1, h, w, c) * np.array(scale) + np.array(shift)
    x = x if last else x.transpose(0, 3, 1, 2)
    batch = feed.shape[0] if isinstance(feed.shape[0], int) else 1
    kind = {"tensor(uint8)": np.uint8, "tensor(float16)": np.float16}.get(feed.type, np.float32)
    x = np.ascontiguousarray(np.repeat(x, batch, 0)).astype(kind).reshape([batch] + list(feed.shape[1:]))
    return session.run([scores], {feed.name: x})[0][:1].astype(np.float64).ravel()


IMAGENET = ([1 / (255 * s) for s in (0.229, 0.224, 0.225)], [-m / s for m, s in zip((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))])
PLAIN = ([1 / 255] * 3, [0.0] * 3)
RAW = ([1.0] * 3, [0.0] * 3)


def save(name, model, scores=None, fed=PLAIN, values=None):
    onnx.save(model, os.path.join(HERE, name + ".onnx"))
    values = expected(model, scores or model.graph.output[0].name, *fed) if values is None else values
    assert np.all(np.isfinite(values)) and np.ptp(values) > 1e-3, (name, values)
    with open(os.path.join(HERE, name + ".txt"), "w") as f:
        f.write(" ".join(map(repr, map(float, fed[0]))) + "\n" + " ".join(map(repr, map(float, fed[1]))) + "\n")
        f.writelines(f"{v:.9g}\n" for v in values)


def outside(model, location, threshold):
    """Moves the tensors of at least `threshold` bytes to a file beside the ONNX."""
    path = os.path.join(HERE, location)
    if os.path.exists(path):
        os.remove(path)
    onnx.external_data_helper.convert_model_to_external_data(model, location=location, size_threshold=threshold)
    onnx.external_data_helper.write_external_data_tensors(model, HERE)
    os.chmod(path, 0o644)


def refuse(name, model, *words):
    os.makedirs(os.path.join(HERE, "refused"), exist_ok=True)
    onnx.save(model, os.path.join(HERE, "refused", name + ".onnx"))
    with open(os.path.join(HERE, "refused", name + ".txt"), "w") as f:
        f.writelines(w + "\n" for w in words)


def stem(n, c=4, **kw):
    return n.relu(n.bn(n.conv("x", 3, c, bias=False, **kw), c))


def residual(opset, **kw):
    n = Net(opset=opset, **kw)
    x = stem(n)
    y = n.relu(n.bn(n.conv(x, 4, 4), 4))
    x = n.relu(n.node("Add", n.bn(n.conv(y, 4, 4), 4), x))
    y = n.relu(n.bn(n.conv(x, 4, 8, strides=[2, 2]), 8))
    main, side = n.bn(n.conv(y, 8, 8), 8), n.bn(n.conv(x, 4, 8, k=1, strides=[2, 2], bias=False), 8)
    return n, n.relu(n.node("Add", side, main))


def accepted():
    # operator sets, IR 3 with initializers among the inputs, nodes without names
    for opset in (7, 9, 11, 13, 18, 21):
        n, x = residual(opset, ir=3 if opset == 7 else 8, names=opset != 7)
        save(f"opset{opset}", n.model(n.head(x, 8), listed=opset == 7), fed=IMAGENET)

    # Shape, Gather, Unsqueeze, Concat, Reshape
    n, x = residual(9, dims=(1, 3, 8, 8))
    x = n.node("GlobalAveragePool", x)
    zero = n.node("Constant", value=numpy_helper.from_array(np.int64(0)))
    batch = n.node("Unsqueeze", n.node("Gather", n.node("Shape", x), zero, axis=0), axes=[0])
    save("shape_chain", n.model(n.dense(n.node("Reshape", x, n.node("Concat", batch, n.ints(-1), axis=0)), 8)))

    # pads of an option A shortcut as PyTorch computes them, from an empty list on
    n = Net()
    x = stem(n)
    y = n.bn(n.conv(x, 4, 8, strides=[2, 2]), 8)
    pads = n.node("Concat", n.ints(0, 0, 0, 0, 2, 2), n.node("ConstantOfShape", n.ints(2), value=numpy_helper.from_array(np.zeros(1, np.int64))), axis=0)
    pads = n.node("Reshape", pads, n.ints(-1, 2))
    pads = n.node("Slice", pads, n.ints(-1), n.ints(-(2**63 - 1)), n.ints(0), n.ints(-1))
    pads = n.node("Cast", n.node("Reshape", n.node("Transpose", pads, perm=[1, 0]), n.ints(-1)), to=TensorProto.INT64)
    s = n.node("Slice", x, n.ints(0), n.ints(2**63 - 1), n.ints(3), n.ints(2))
    s = n.node("Slice", s, n.ints(0), n.ints(8), n.ints(2), n.ints(2))
    save("option_a_computed", n.model(n.head(n.relu(n.node("Add", n.node("Pad", s, pads, n.scalar(0)), y)), 8)))

    # option A, the pads' value of shape [1]
    for name, value in (("option_a", lambda n: n.scalar(0)), ("option_a_vector", lambda n: n.const(np.zeros(1, np.float32)))):
        n = Net()
        x = stem(n)
        y = n.bn(n.conv(n.relu(n.bn(n.conv(x, 4, 8, strides=[2, 2]), 8)), 8, 8), 8)
        s = n.node("Slice", x, n.ints(0, 0), n.ints(2**63 - 1, 2**63 - 1), n.ints(-2, -1), n.ints(2, 2))
        s = n.node("Pad", s, n.ints(0, 2, 0, 0, 0, 2, 0, 0), value(n))
        save(name, n.model(n.head(n.relu(n.node("Add", y, s)), 8)))

    # borders
    n = Net(dims=("N", 3, 9, 8))
    x = n.relu(n.conv("x", 3, 4, auto_pad="SAME_UPPER", strides=[2, 2]))
    x = n.relu(n.conv(x, 4, 4, auto_pad="SAME_LOWER", strides=[2, 1], k=2))
    x = n.relu(n.conv(x, 4, 4, auto_pad="VALID", k=2))
    save("auto_pad", n.model(n.head(x, 4)))
    n = Net(dims=("N", 3, 9, 10))
    x = n.node("MaxPool", stem(n), kernel_shape=[3, 3], strides=[2, 2], auto_pad="SAME_LOWER")
    x = n.node("AveragePool", x, kernel_shape=[2, 2], strides=[1, 2], auto_pad="SAME_UPPER")
    save("auto_pad_pool", n.model(n.head(n.relu(n.conv(x, 4, 4)), 4)))
    n = Net(dims=("N", 3, 10, 11))
    x = n.node("MaxPool", stem(n), kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1)
    x = n.node("AveragePool", x, kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1)
    save("ceil_mode", n.model(n.head(n.relu(n.conv(x, 4, 4)), 4)))
    n = Net()
    x = n.node("AveragePool", stem(n), kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1], count_include_pad=1)
    x = n.node("AveragePool", x, kernel_shape=[3, 3], pads=[1, 0, 0, 1])
    save("average_pads", n.model(n.head(n.relu(n.conv(x, 4, 4)), 4)))
    n = Net(dims=("N", 3, 11, 12))
    x = n.relu(n.node("Conv", "x", n.random(4, 3, 3, 2), pads=[0, 1, 2, 3], dilations=[2, 3], strides=[1, 2]))
    save("dilation", n.model(n.head(x, 4)))
    n = Net()
    x = n.node("Conv", n.node("Pad", "x", n.ints(0, 0, 1, 2, 0, 0, 0, 1)), n.random(4, 3, 3, 3), strides=[2, 2])
    x = n.node("MaxPool", n.node("Pad", n.relu(x), n.ints(0, 0, 1, 1, 0, 0, 1, 1)), kernel_shape=[3, 3], strides=[2, 2])
    x = n.node("AveragePool", n.node("Pad", x, n.ints(0, 0, 1, 1, 0, 0, 0, 0)), kernel_shape=[2, 2])
    save("pad_node", n.model(n.head(n.relu(n.conv(x, 4, 4)), 4)))
    n = Net(opset=18)
    x = n.node("Conv", n.node("Pad", "x", n.ints(1, 1, 1, 1), "", n.ints(-1, 2)), n.random(4, 3, 3, 3))
    save("pad_axes", n.model(n.head(n.relu(x), 4)))

    # dense layers
    n = Net(opset=11)
    x = n.node("Reshape", n.node("GlobalAveragePool", stem(n)), n.ints(4, 1))
    save("gemm", n.model(n.node("Gemm", x, n.random(4, 5), n.random(1, 5), transA=1, alpha=0.5, beta=2.0)))
    n = Net()
    x = n.node("Reshape", n.node("GlobalMaxPool", stem(n)), n.ints(0, -1))
    x = n.relu(n.node("Add", n.node("MatMul", x, n.random(4, 6)), n.random(6)))
    save("matmul", n.model(n.node("Add", n.random(1, 5), n.node("MatMul", x, n.random(6, 5)))))
    n = Net()
    x = n.node("MaxPool", stem(n), kernel_shape=[2, 2], strides=[2, 2])
    save("flatten", n.model(n.dense(n.node("Flatten", x, axis=-3), 64)))
    n = Net()
    x = n.node("Transpose", n.node("MaxPool", stem(n), kernel_shape=[2, 2], strides=[2, 2]), perm=[0, 2, 3, 1])
    save("flatten_nhwc", n.model(n.dense(n.node("Reshape", x, n.ints(-1, 64)), 64)))
    n = Net(dims=(4, 3, 8, 8))
    x = n.node("MaxPool", stem(n), kernel_shape=[4, 4], strides=[4, 4])
    save("batch4", n.model(n.dense(n.node("Reshape", x, n.ints(4, -1)), 16)))

    # means, Squeeze and Unsqueeze, axes as attributes and as inputs, negative
    n = Net(opset=11)
    x = n.node("Squeeze", n.node("ReduceMean", stem(n), axes=[-1, -2], keepdims=1), axes=[3, 2])
    x = n.node("Unsqueeze", n.relu(n.dense(x, 4)), axes=[2, 3])
    x = n.node("Squeeze", n.conv(x, 5, 5, k=1), axes=[-1, -2])
    save("mean_attributes", n.model(n.node("Softmax", n.dense(n.relu(x), 5), axis=1)), scores="v11")
    n = Net(opset=18)
    x = n.node("ReduceMean", stem(n), n.ints(2, -1), keepdims=0)
    x = n.node("Unsqueeze", n.relu(n.dense(x, 4)), n.ints(-1, 2))
    x = n.node("Squeeze", n.conv(x, 5, 5, k=1), n.ints(-1, 2))
    save("mean_inputs", n.model(n.node("Softmax", n.dense(n.relu(x), 5), axis=-1)), scores="v10")

    # the input
    n = Net(dims=("N", 8, 8, 3), kind=TensorProto.UINT8)
    x = n.node("Div", n.node("Cast", "x", to=TensorProto.FLOAT), n.scalar(255))
    x = n.node("Div", n.node("Sub", x, n.const(np.array([0.485, 0.456, 0.406], np.float32))), n.const(np.array([[[[0.229, 0.224, 0.225]]]], np.float32)))
    x = n.relu(n.conv(n.node("Transpose", x, perm=[0, 3, 1, 2]), 3, 4))
    save("u8_input", n.model(n.head(x, 4)), fed=RAW)
    n = Net()
    k = lambda *v: n.const(np.array(v, np.float32).reshape(3, 1, 1))
    x = n.node("Add", n.node("Mul", "x", k(2.0, 1.5, 3.0)), k(-0.5, 0.25, 0.5))
    x = n.bn(x, 3)
    save("input_normalization", n.model(n.head(n.relu(n.conv(x, 3, 4)), 4)))
    n = Net()
    save("input_subtracted", n.model(n.head(n.relu(n.conv(n.node("Sub", n.scalar(1), "x"), 3, 4)), 4)))

    # activations
    n = Net(opset=9)
    x = n.relu(n.relu(n.conv("x", 3, 4)))
    save("clip_attributes", n.model(n.head(n.node("Clip", n.conv(x, 4, 4), min=0.0, max=float(np.finfo(np.float32).max)), 4)))
    n = Net()
    x = n.conv("x", 3, 4)
    x = n.node("Add", n.conv(n.relu(x), 4, 4), n.node("Relu", x))
    save("clip_inputs", n.model(n.head(n.node("Clip", x, n.scalar(0)), 4)))
    n = Net()
    x = n.node("MaxPool", n.bn(n.conv("x", 3, 4), 4), kernel_shape=[2, 2], strides=[2, 2])
    save("relu_behind_pool", n.model(n.head(n.relu(x), 4)))

    # weights as they are found
    n = Net()
    w, b = n.random(4, 4, 3, 3), n.random(4)
    w = n.node("Identity", w)
    x = stem(n)
    x = n.relu(n.node("Conv", x, w, b, pads=[1] * 4))
    x = n.relu(n.node("Conv", x, w, n.node("Identity", b), pads=[1] * 4))
    k = n.node("Constant", value=numpy_helper.from_array((n.rng.standard_normal((4, 4, 1, 1)) * 0.7).astype(np.float32)))
    save("shared_weights", n.model(n.head(n.relu(n.node("Conv", x, k)), 4)))
    n = Net()
    w = n.const((n.rng.standard_normal((3, 3, 3, 4)) * 0.3).astype(np.float32))
    x = n.node("Conv", "x", n.node("Transpose", w, perm=[3, 2, 0, 1]), pads=[1] * 4)
    x = n.relu(n.node("Mul", n.node("Add", x, n.random(1, 4, 1, 1)), n.random(4, 1, 1)))
    save("weights_computed", n.model(n.head(x, 4)))
    n = Net(weight=np.float16)
    f = lambda t: n.node("Cast", t, to=TensorProto.FLOAT)
    x = n.relu(n.node("Conv", "x", f(n.random(4, 3, 3, 3)), f(n.random(4)), pads=[1] * 4))
    x = n.node("Flatten", n.node("GlobalAveragePool", x))
    save("f16_weights", n.model(n.node("Gemm", x, f(n.random(4, 5)), f(n.random(5)))))
    n = Net(weight=np.float16, kind=TensorProto.FLOAT16)
    x = n.node("Flatten", n.node("GlobalAveragePool", n.relu(n.conv("x", 3, 4))))
    save("f16", n.model((n.dense(x, 4), TensorProto.FLOAT16)))
    n, x = residual(13)
    n.const(np.full(3, np.pi, np.float32), "nobody_reads_this")
    x = n.node("Dropout", n.node("Identity", x), outputs=2)
    y = n.head(x, 8)
    save("unused", n.model(y, x))
    n, x = residual(13)
    scores = n.head(x, 8)
    label = n.node("Cast", n.node("ArgMax", n.node("Softmax", scores), axis=1, keepdims=0), to=TensorProto.INT32)
    save("argmax", n.model((label, TensorProto.INT32)), scores=scores)

    # shapes of networks
    n = Net()
    x = n.conv(stem(n), 4, 8, k=1, bias=False)
    x = n.relu(n.bn(n.node("AveragePool", x, kernel_shape=[2, 2], strides=[2, 2]), 8))
    save("transition", n.model(n.head(x, 8)))
    n = Net()
    a, b = stem(n), n.relu(n.conv("x", 3, 4))
    save("plain_add", n.model(n.head(n.relu(n.node("Sum", a, b)), 4)))
    n = Net()
    x = stem(n)
    y, z = n.conv(x, 4, 4), n.conv(x, 4, 4)
    save("two_wide_convs", n.model(n.head(n.relu(n.node("Add", y, z)), 4)))
    n = Net()
    x = n.conv(n.conv("x", 3, 4), 4, 4)
    save("linear", n.model(n.node("Flatten", n.node("Conv", x, n.random(5, 4, 8, 8)))))
    n = Net(dims=("N", 8, 8, 3))
    x = n.node("Transpose", "x", perm=[0, 3, 1, 2])
    w = n.node("Identity", n.random(4, 3, 3, 3))
    x = n.relu(n.node("Add", n.node("Conv", x, w, strides=[2, 2], auto_pad="SAME_UPPER"), n.random(1, 4, 1, 1)))
    x = n.node("ReduceMean", n.node("Transpose", x, perm=[0, 2, 3, 1]), axes=[1, 2], keepdims=1)
    x = n.node("Squeeze", x, n.ints(1, 2))
    x = n.node("Add", n.node("MatMul", x, n.node("Identity", n.random(4, 5))), n.random(5))
    save("nhwc", n.model(n.node("Softmax", x)), scores=x)

    # weights in a file beside the ONNX
    n, x = residual(13)
    model = n.model(n.head(x, 8))
    values = expected(model, model.graph.output[0].name, *PLAIN)
    outside(model, "external.bin", 0)
    save("external", model, values=values)


def refusals():
    for op in ("Elu", "InstanceNormalization"):
        n = Net()
        x = n.conv("x", 3, 4)
        more = [n.random(4), n.random(4)] if op == "InstanceNormalization" else []
        refuse(op.lower(), n.model(n.head(n.node(op, x, *more), 4)), "not supported", f"node `{op}_1` ({op})")
    # Standardized weights are constants that are not computed here; the normalization behind them is what cannot be.
    n = Net()
    weights = n.random(4, 3, 3, 3)
    x = n.node("Conv", "x", n.node("Sub", weights, n.node("ReduceMean", weights, axes=[1, 2, 3])))
    refuse("standardized", n.model(n.head(n.node("InstanceNormalization", x, n.random(4), n.random(4)), 4)), "this operator is not supported", "node `InstanceNormalization_3`")
    n = Net()
    x = n.node("Mul", stem(n), n.conv("x", 3, 4))
    refuse("product", n.model(n.head(x, 4)), "node `Mul_4` (Mul)")
    n = Net(opset=14)
    x = n.bn(n.conv("x", 3, 4), 4, training_mode=1)
    n.nodes[-1].output.extend(["m", "v"])
    refuse("training", n.model(n.head(x, 4)), "training_mode is 1", "node `BatchNormalization_1` (BatchNormalization)")
    n = Net()
    refuse("mirrored_picture", n.model(n.head(n.relu(n.node("Conv", n.node("Pad", "x", n.ints(0, 0, 1, 1, 0, 0, 1, 1), mode="reflect"), n.random(4, 3, 3, 3))), 4)), "mirrors the picture itself", "node `Pad_0` (Pad)")
    for name, mode, pads, words in (("wrap", "wrap", (0, 0, 1, 1, 0, 0, 1, 1), "mode wrap"), ("mirrored_channels", "reflect", (0, 1, 0, 0, 0, 1, 0, 0), "it mirrors [0, 1, 0, 0] in front"), ("wide_mirror", "reflect", (0, 0, 8, 0, 0, 0, 0, 0), "as wide as the picture")):
        n = Net(opset=19)
        x = n.node("Pad", n.conv("x", 3, 4), n.ints(*pads), mode=mode)
        refuse(name, n.model(n.head(x, 6 if name == "mirrored_channels" else 4)), words, "node `Pad_1` (Pad)")
    n = Net()
    x = n.node("AveragePool", n.node("Pad", n.conv("x", 3, 4), n.ints(0, 0, 1, 1, 0, 0, 1, 1), n.scalar(1)), kernel_shape=[3, 3])
    refuse("pad_of_ones", n.model(n.head(x, 4)), "node `AveragePool_2` (AveragePool)")
    n = Net()
    x = n.node("MaxPool", n.node("Pad", n.conv("x", 3, 4), n.ints(0, 0, 1, 1, 0, 0, 1, 1)), kernel_shape=[3, 3])
    refuse("pad_before_max", n.model(n.head(x, 4)), "node `MaxPool_2` (MaxPool)")
    n = Net()
    x = n.node("Softmax", n.head(stem(n), 4))
    refuse("softmax_inside", n.model(n.dense(x, 5)), "reads the result of Softmax", "node `Gemm_7` (Gemm)")
    n = Net()
    x = n.node("Softmax", stem(n), axis=1)
    refuse("softmax_channels", n.model(x), "node `Softmax_3` (Softmax)")
    n = Net()
    refuse("cast_to_int", n.model(n.head(n.node("Cast", n.node("Cast", stem(n), to=TensorProto.INT32), to=TensorProto.FLOAT), 4)), "to ONNX data type 6", "node `Cast_3` (Cast)")
    n = Net(dims=("N", 3, 8, 8), kind=TensorProto.UINT8)
    refuse("u8_without_cast", n.model(n.head(n.conv("x", 3, 4), 4)), "computes with a u8 input", "node `Conv_0` (Conv)")
    n = Net(dims=("N", 3, "H", "W"))
    refuse("open_size", n.model(n.head(stem(n), 4)), "not fixed", "value `x`")
    n = Net()
    refuse("features", n.model(n.relu(n.conv("x", 3, 4))), "the output")
    n = Net()
    w = np.ones((4, 3, 3, 3), np.float32)
    w[1, 2, 0, 1] = np.nan
    refuse("nan", n.model(n.head(n.node("Conv", "x", n.const(w, "bad.weight")), 4)), "element 46 is NaN", "initializer `bad.weight`")
    n = Net()
    x = n.conv("x", 3, 4)
    model = n.model(n.head(x, 4))
    model.graph.initializer[0].raw_data = model.graph.initializer[0].raw_data[:-4]
    refuse("short", model, "12 bytes where dimensions [4] need 16", f"initializer `{model.graph.initializer[0].name}`")
    n = Net()
    model = n.model(n.head(stem(n), 4))
    model.graph.node[1].input[0] = model.graph.node[2].output[0]
    refuse("cycle", model, "depends on its own output")
    n = Net()
    model = n.model(n.head(stem(n), 4))
    model.graph.node[2].input[0] = "nobody"
    refuse("dangling", model, "input `nobody` is made by no node", "node `Relu_2` (Relu)")
    n = Net()
    refuse("huge", n.model(n.head(n.conv("x", 3, 4, pads=[30000] * 4), 4)), "more than 1 GiB", "node `Conv_0` (Conv)")
    n = Net()
    refuse("stride", n.model(n.head(n.conv("x", 3, 4, strides=[0, 1]), 4)), "0 in attribute strides is out of range", "node `Conv_0` (Conv)")
    n = Net()
    refuse("border_only", n.model(n.head(n.node("AveragePool", stem(n), kernel_shape=[2, 2], pads=[2, 0, 0, 0]), 4)), "a window lies wholly in the border")
    for opset in (6, 25):
        n = Net(opset=opset)
        refuse(f"opset{opset}", n.model(n.head(n.conv("x", 3, 4), 4)), f"operator set {opset}, supported are 7 to 24")
    hwc = lambda n, x: n.node("Transpose", x, perm=[0, 2, 3, 1])
    n = Net()
    x = n.node("Add", hwc(n, n.conv("x", 3, 4)), hwc(n, n.conv("x", 3, 4)))
    refuse("layout_sum", n.model(n.dense(n.node("Flatten", x, axis=1), 256)), "node `Add_4` (Add)")
    n = Net()
    x = n.node("AveragePool", hwc(n, n.conv("x", 3, 4, k=1)), kernel_shape=[2, 2], strides=[2, 2])
    refuse("layout_pool", n.model(n.dense(n.node("Flatten", x, axis=1), 64)), "node `AveragePool_2` (AveragePool)")
    n = Net()
    x = n.node("Add", hwc(n, n.conv("x", 3, 4)), n.random(4))
    refuse("layout_bias", n.model(n.dense(n.node("Flatten", x, axis=1), 256)), "node `Add_2` (Add)")
    n = Net()
    x = n.node("AveragePool", n.node("Pad", n.relu(n.conv("x", 3, 4)), n.ints(0, 0, 2, 2, 0, 0, 2, 2)), kernel_shape=[2, 2], strides=[2, 2])
    refuse("wide_pad", n.model(n.head(x, 4)), "a border as wide as the window", "node `AveragePool_3` (AveragePool)")
    n = Net()
    refuse("infinite_weight", n.model(n.head(n.node("Add", n.conv("x", 3, 4), n.const(np.array([np.inf], np.float32))), 4)), "holds inf", "node `")
    n, x = residual(13)
    model = n.model(n.head(x, 8))
    for name, location, word in (("external_missing", "gone.bin", "cannot be read"), ("external_outside", "../external.bin", "may not leave the folder"), ("external_short", "external_short.txt", "beyond its end")):
        m = onnx.ModelProto.FromString(model.SerializeToString())
        t = m.graph.initializer[0]
        t.ClearField("raw_data")
        t.data_location = TensorProto.EXTERNAL
        entry = t.external_data.add()
        entry.key, entry.value = "location", location
        refuse(name, m, word, f"external data `{location}` of initializer `{t.name}`")


if __name__ == "__main__":
    for part in sys.argv[1:] or ["by_hand", "torch_exports", "keras_export"]:
        if part == "by_hand":
            accepted()
            refusals()
            family.accepted(save)
            family.refusals(refuse)
            continue
        try:
            module = __import__(part)
        except ImportError as e:
            print(f"{part} left out: {e}", file=sys.stderr)
            continue
        module.main(save, outside)
