"""The patterns of the residual family beyond the plain ResNet: one small network for each group of them, and what is refused."""
import numpy as np
from onnx import TensorProto, helper
from build import Net


def stem(n, c=4):
    return n.relu(n.bn(n.conv("x", 3, c, bias=False), c))


def split(n, x, *sizes, axis=1, **attributes):
    """All parts of a Split."""
    first = n.node("Split", x, *attributes.pop("inputs", []), outputs=len(sizes), axis=axis, **attributes)
    return [first] + [f"{first}_{i}" for i in range(1, len(sizes))]


def grouped(n, x, c, oc, groups, k=3, bias=False, **attributes):
    return n.node("Conv", x, n.random(oc, c // groups, k, k), *([n.random(oc)] if bias else []), group=groups, pads=[k // 2] * 4, **attributes)


def blur_of(n, c):
    return n.const(np.tile(np.outer([1, 2, 1], [1, 2, 1]).astype(np.float32) / 16, (c, 1, 1, 1)))


def gate(n, x, c, kind, squeezed=4):
    """Squeeze-and-excitation, as different exporters write it."""
    mean = n.node("GlobalAveragePool", x)
    if kind == "gemm":
        y = n.relu(n.dense(n.node("Flatten", mean), c, squeezed))
        y = n.node("Sigmoid", n.dense(y, squeezed, c))
        return n.node("Mul", x, n.node("Reshape", y, n.ints(-1, c, 1, 1)))
    if kind == "matmul":
        y = n.node("ReduceMean", x, axes=[2, 3], keepdims=0)
        y = n.relu(n.node("Add", n.node("MatMul", y, n.random(c, squeezed)), n.random(squeezed)))
        y = n.node("HardSigmoid", n.node("MatMul", y, n.random(squeezed, c)), alpha=0.25)
        return n.node("Mul", n.node("Unsqueeze", n.node("Unsqueeze", y, n.ints(2)), n.ints(3)), x)
    y = n.node("Clip", n.conv(mean, c, squeezed, k=1), n.scalar(0), n.scalar(6))
    y = n.conv(y, squeezed, c, k=1)
    if kind == "clip":
        y = n.node("Div", n.node("Clip", n.node("Add", y, n.scalar(3)), n.scalar(0), n.scalar(6)), n.scalar(6))
    else:
        y = n.node("Expand", n.node("Sigmoid", y), n.ints(1, c, 8, 8))
    return n.node("Mul", x, y)


def along_channels(n, x, c):
    """Efficient channel attention."""
    y = n.node("Reshape", n.node("ReduceMean", x, axes=[2, 3], keepdims=0), n.ints(1, 1, c))
    y = n.node("Sigmoid", n.node("Conv", y, n.random(1, 1, 3), pads=[1, 1]))
    return n.node("Mul", x, n.node("Reshape", y, n.ints(1, c, 1, 1)))


def accepted(save):
    n = Net()
    x = n.relu(n.bn(grouped(n, stem(n, 8), 8, 16, 4), 16))
    x = n.relu(n.bn(grouped(n, x, 16, 16, 16, bias=True, strides=[2, 2]), 16))
    x = n.relu(n.node("Add", n.bn(grouped(n, x, 16, 16, 2), 16), x))
    x = n.node("AveragePool", grouped(n, x, 16, 8, 8, k=1), kernel_shape=[2, 2], strides=[2, 2])
    save("groups", n.model(n.head(n.relu(n.node("Add", grouped(n, x, 8, 8, 4), grouped(n, x, 8, 8, 2, k=1))), 8)))

    for kind in ("gemm", "matmul", "clip", "expand"):
        n = Net()
        x = stem(n, 8)
        y = gate(n, n.bn(n.conv(n.relu(n.conv(x, 8, 8)), 8, 8), 8), 8, kind)
        x = n.relu(n.node("Add", *((y, x) if kind != "clip" else (x, y))))
        y = gate(n, n.bn(n.conv(x, 8, 8), 8), 8, kind)
        x = n.relu(n.node("Add", y, n.conv(x, 8, 8, k=1)))
        save(f"gate_{kind}", n.model(n.head(gate(n, x, 8, kind), 8)))
    n = Net()
    x = stem(n, 8)
    x = n.relu(n.node("Add", along_channels(n, n.conv(x, 8, 8), 8), x))
    save("gate_along_channels", n.model(n.head(along_channels(n, x, 8), 8)))

    n = Net(opset=16)
    x = n.node("LeakyRelu", n.bn(n.conv("x", 3, 8), 8), alpha=0.1)
    x = n.node("HardSwish", n.conv(x, 8, 8))
    x = n.conv(x, 8, 8)
    x = n.node("Mul", x, n.node("Sigmoid", x))
    x = n.conv(x, 8, 8)
    x = n.node("Mul", n.node("HardSigmoid", x, alpha=1 / 6), x)
    x = n.node("Clip", n.bn(n.conv(x, 8, 8), 8), n.scalar(0), n.scalar(1))
    x = n.node("Add", n.node("Clip", n.conv(x, 8, 8), n.scalar(-0.5), n.scalar(0.75)), x)
    x = n.node("PRelu", n.conv(n.node("Clip", x, "", n.scalar(0.8)), 8, 8), n.const(np.array([[[0.3]]], np.float32)))
    scores = n.head(n.node("Sigmoid", x), 8)
    save("functions", n.model(n.node("Sigmoid", scores)), scores=scores)
    n = Net(opset=24, ir=11)
    save("swish", n.model(n.head(n.node("Swish", n.conv("x", 3, 4)), 4)))

    # pre-activation: the stream keeps its sign, two ReLUs read it
    n = Net()
    x = n.conv("x", 3, 8)
    for stride in (1, 2):
        y = n.relu(n.bn(x, 8))
        side = n.conv(y, 8, 8, k=1, strides=[2, 2], bias=False) if stride == 2 else x
        y = n.conv(n.relu(n.bn(n.conv(y, 8, 8, bias=False, strides=[stride] * 2), 8)), 8, 8, bias=False)
        x = n.node("Add", y, side)
    y = n.node("Add", n.conv(n.relu(x), 8, 8), n.conv(n.node("Relu", x), 8, 8, k=1))
    x = n.node("Mul", n.node("Add", n.node("Add", y, x), n.random(8, 1, 1)), n.random(1, 8, 1, 1))
    save("preactivation", n.model(n.head(n.relu(n.bn(x, 8)), 8)))

    # affines without a convolution in front: into the one behind, or a step
    n = Net()
    x = n.conv(n.bn(stem(n, 8), 8), 8, 8, k=1)
    x = n.conv(n.bn(n.node("MaxPool", n.relu(x), kernel_shape=[2, 2], strides=[2, 2]), 8), 8, 8)
    x = grouped(n, n.node("Mul", n.relu(x), n.random(8, 1, 1)), 8, 8, 4)
    x = n.node("Mul", n.node("GlobalAveragePool", n.relu(x)), n.random(8, 1, 1))
    save("affines", n.model(n.dense(n.node("Flatten", n.node("Sub", x, n.random(1, 8, 1, 1))), 8)))

    # DenseNet: ReLU on the concatenation, per layer and behind all; with normalization between
    for norm in (False, True):
        n = Net()
        x = n.conv("x", 3, 8)
        for c in (8, 13, 18):
            y = n.bn(x, c) if norm else x
            x = n.node("Concat", x, n.conv(n.relu(y), c, 5), axis=1)
        x = n.conv(n.relu(x), 23, 12, k=1)
        x = n.node("AveragePool", x, kernel_shape=[2, 2], strides=[2, 2])
        x = n.node("Concat", n.node("Concat", x, n.conv(n.relu(x), 12, 4), axis=1), n.node("MaxPool", x, kernel_shape=[3, 3], pads=[1] * 4), axis=-3)
        save("dense_norm" if norm else "dense", n.model(n.head(n.relu(x), 28)))

    # Res2Net at a width of 6 channels, with every form of Split
    for opset in (11, 13, 18):
        n = Net(opset=opset)
        x = stem(n, 24)
        a, b, c, d = split(n, n.relu(n.conv(x, 24, 24, k=1)), *[6] * 4, **{11: {"split": [6] * 4}, 13: {"inputs": [n.ints(6, 6, 6, 6)]}, 18: {"num_outputs": 4}}[opset])
        a = n.relu(n.conv(a, 6, 6))
        b = n.relu(n.conv(n.node("Add", b, a), 6, 6))
        c = n.relu(n.bn(grouped(n, n.node("Add", b, c), 6, 6, 3 if opset == 11 else 6), 6))
        d = n.node("AveragePool", d, kernel_shape=[3, 3], pads=[1] * 4, count_include_pad=1)
        y = n.conv(n.node("Concat", a, b, c, d, axis=1), 24, 24, k=1)
        save(f"split{opset}", n.model(n.head(n.relu(n.node("Add", y, x)), 24)))
    n = Net()
    x = n.node("LeakyRelu", n.conv("x", 3, 10), alpha=0.01)
    a = n.node("Slice", x, n.ints(0), n.ints(3), n.ints(1))
    b = n.node("Slice", x, n.ints(3), n.ints(2**63 - 1), n.ints(1), n.ints(1))
    y = n.node("Concat", gate(n, b, 7, "gemm"), n.node("LeakyRelu", n.conv(a, 3, 3), alpha=0.2), b, axis=1)
    save("slices", n.model(n.head(n.conv(y, 17, 6), 6)))

    # RepVGG: parallel linear branches
    n = Net()
    x = stem(n, 8)
    for stride, groups in ((1, 1), (2, 1), (1, 2)):
        y = n.node("Add", n.bn(grouped(n, x, 8, 8, groups, strides=[stride] * 2), 8), n.bn(grouped(n, x, 8, 8, groups, k=1, strides=[stride] * 2), 8))
        x = n.relu(n.node("Add", n.bn(x, 8), y) if stride == 1 else y)
    y = n.node("Conv", x, n.random(8, 8, 3, 3), pads=[0, 2, 2, 0])
    z = n.node("Conv", x, n.random(8, 8, 2, 1), pads=[0, 0, 1, 0])
    save("branches", n.model(n.head(n.relu(n.node("Add", z, y)), 8)))

    # ResNet-D: a pool with a ceiling in the shortcut, a deep stem; a blur as a convolution
    n = Net(dims=("N", 3, 13, 13))
    x = n.relu(n.conv(n.relu(n.conv("x", 3, 4, strides=[2, 2])), 4, 8))
    blur = blur_of(n, 8)
    y = n.node("Conv", n.node("Pad", n.relu(n.conv(x, 8, 8)), n.ints(0, 0, 1, 1, 0, 0, 1, 1)), blur, group=8, strides=[2, 2])
    s = n.node("AveragePool", x, kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1, count_include_pad=1)
    x = n.relu(n.node("Add", n.conv(y, 8, 8), n.conv(s, 8, 8, k=1)))
    x = n.node("AveragePool", n.conv(x, 8, 8, dilations=[2, 2], pads=[2] * 4), kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4, count_include_pad=1)
    save("pools", n.model(n.head(n.relu(n.node("MaxPool", x, kernel_shape=[2, 2])), 8)))

    # borders that mirror: around a blur, with several readers, in front of a pool, of a plain convolution and of a ReLU
    n = Net(dims=("N", 3, 13, 10))
    x = n.node("Pad", stem(n, 8), n.ints(0, 0, 1, 1, 0, 0, 1, 1), mode="reflect")
    y = n.node("Conv", x, blur_of(n, 8), group=8, strides=[2, 2])
    z = n.node("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2])
    x = n.node("Add", n.conv(y, 8, 8), n.conv(z, 8, 8, k=1))
    x = n.node("Conv", n.node("Pad", x, n.ints(0, 0, 2, 0, 0, 0, 1, 3), mode="reflect"), n.random(8, 8, 3, 3))
    x = n.relu(n.node("Pad", x, n.ints(0, 0, 0, 1, 0, 0, 3, 0), mode="reflect"))
    save("mirror", n.model(n.head(n.relu(n.conv(x, 8, 8)), 8)))
    n = Net(opset=9, dims=("N", 3, 12))
    x = n.node("Pad", n.node("LeakyRelu", n.node("Conv", "x", n.random(8, 3, 3)), alpha=0.1), mode="reflect", pads=[0, 0, 2, 0, 0, 1])
    save("mirror_attributes", n.model(n.dense(n.node("Flatten", n.node("GlobalAveragePool", n.relu(n.node("Conv", x, n.random(6, 8, 4))))), 6)))
    n = Net(opset=18)
    x = n.node("Pad", stem(n), n.ints(1, 2, 0, 3), n.scalar(7), n.ints(-1, 2), mode="reflect")
    save("mirror_axes", n.model(n.head(n.relu(n.node("Conv", x, n.random(4, 4, 3, 3))), 4)))

    # signals: [n][channels][length], [n][length][channels], and features as a picture of one channel
    n = Net(dims=("N", 3, 20))
    x = n.relu(n.bn(n.node("Conv", "x", n.random(8, 3, 5), pads=[2, 2], strides=[2]), 8))
    x = n.node("MaxPool", x, kernel_shape=[3], strides=[2], pads=[1, 1])
    y = n.bn(n.node("Conv", x, n.random(8, 4, 3), n.random(8), dilations=[2], pads=[2, 2], group=2, kernel_shape=[3]), 8)
    x = n.node("AveragePool", n.relu(n.node("Add", y, x)), kernel_shape=[2], strides=[1])
    save("signal", n.model(n.dense(n.node("Flatten", n.node("GlobalAveragePool", x)), 8)))
    n = Net(dims=("N", 20, 3))
    x = n.relu(n.node("Conv", n.node("Transpose", "x", perm=[0, 2, 1]), n.random(8, 3, 3), auto_pad="SAME_UPPER"))
    save("signal_transposed", n.model(n.dense(n.node("ReduceMean", x, axes=[2], keepdims=0), 8)))
    n = Net(dims=("N", 10, 8))
    x = n.node("Unsqueeze", "x", n.ints(1))
    x = n.relu(n.conv(x, 1, 6))
    save("signal_features", n.model(n.head(n.relu(n.node("Add", n.bn(n.relu(n.conv(x, 6, 6)), 6), x)), 6)), fed=([1 / 255], [0.0]))


def refusals(refuse):
    for op, word in (("GroupNormalization", "batch normalization"), ("LayerNormalization", "batch normalization")):
        n = Net(opset=21)
        more = {"num_groups": 2} if op == "GroupNormalization" else {"axis": 1}
        k = [n.random(4), n.random(4)] if op == "GroupNormalization" else [n.random(4, 8, 8)]
        refuse(op.lower(), n.model(n.head(n.node(op, n.conv("x", 3, 4), *k, **more), 4)), "not supported", f"node `{op}_1` ({op})")
    n = Net()
    refuse("convtranspose", n.model(n.head(n.node("ConvTranspose", stem(n), n.random(4, 4, 2, 2), strides=[2, 2]), 4)), "node `ConvTranspose_3` (ConvTranspose)")
    n = Net()
    x = n.node("Resize", stem(n), "", n.const(np.array([1, 1, 2, 2], np.float32)))
    refuse("resize", n.model(n.head(x, 4)), "node `Resize_3` (Resize)")
    n = Net()
    best = n.node("TopK", n.head(stem(n), 4), n.ints(3), outputs=2)
    refuse("topk", n.model(n.node("Cast", best + "_1", to=TensorProto.FLOAT)), "not supported", "(TopK)")
    n = Net()
    x = n.node("Reshape", stem(n), n.ints(1, 4, 64))
    x = n.node("MatMul", x, n.node("Transpose", x, perm=[0, 2, 1]))
    refuse("attention", n.model(n.dense(n.node("Flatten", x), 16)), "both operands depend on the picture", "node `MatMul_5` (MatMul)")
    n = Net()
    x = stem(n)
    y = n.node("Sigmoid", n.conv(x, 4, 1))
    refuse("spatial_gate", n.model(n.head(n.node("Mul", x, y), 4)), "a product of two tensors", "node `Mul_5` (Mul)")
    n = Net()
    x = stem(n)
    refuse("concat_rows", n.model(n.head(n.node("Concat", x, x, axis=2), 4)), "along axis 2", "node `Concat_3` (Concat)")
    n = Net()
    a, b = split(n, stem(n), 3, 2, inputs=[n.ints(3, 2)])
    refuse("split_sizes", n.model(n.head(n.conv(a, 3, 4), 4)), "splits 4 elements", "node `Split_3` (Split)")
    n = Net()
    x = n.node("Conv", stem(n), n.random(4, 2, 3, 3), group=3)
    refuse("groups_uneven", n.model(n.head(x, 4)), "3 groups of 4 input", "node `Conv_3` (Conv)")
    n = Net()
    x = n.node("Concat", "x", n.relu(n.conv("x", 3, 4)), axis=1)
    refuse("concat_picture", n.model(n.head(n.conv(x, 7, 4), 4)), "multiple of 4", "node `Concat_2`")
