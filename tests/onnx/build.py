"""A small network in ONNX, node by node."""
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


class Net:
    """Weights are random from a seed; every method returns the name of the value that it makes."""

    def __init__(self, dims=("N", 3, 8, 8), opset=13, ir=8, kind=TensorProto.FLOAT, seed=1, names=True, weight=np.float32):
        self.rng, self.opset, self.ir, self.names, self.weight = np.random.default_rng(seed), opset, ir, names, weight
        self.inputs, self.nodes, self.tensors, self.outputs, self.count = [helper.make_tensor_value_info("x", kind, list(dims))], [], [], [], 0

    def const(self, value, name=None):
        name = name or f"k{len(self.tensors)}"
        self.tensors.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def random(self, *dims, scale=None):
        fan = int(np.prod(dims[1:])) if len(dims) > 1 else 4
        return self.const((self.rng.standard_normal(dims) * (scale or 1.4 / fan**0.5)).astype(self.weight))

    def node(self, op, *inputs, outputs=1, **attributes):
        made = [f"v{self.count}" + ("" if i == 0 else f"_{i}") for i in range(outputs)]
        self.nodes.append(helper.make_node(op, list(inputs), made, name=f"{op}_{self.count}" if self.names else "", **attributes))
        self.count += 1
        return made[0]

    def conv(self, x, ic, oc, k=3, bias=True, **attributes):
        if "auto_pad" not in attributes:
            attributes.setdefault("pads", [k // 2] * 4)
        b = [self.random(oc)] if bias else []
        return self.node("Conv", x, self.random(oc, ic, k, k), *b, kernel_shape=[k, k], **attributes)

    def bn(self, x, c, **attributes):
        k = lambda lo, hi: self.const(self.rng.uniform(lo, hi, c).astype(np.float32))
        return self.node("BatchNormalization", x, k(0.6, 1.4), k(-0.3, 0.3), k(-0.3, 0.3), k(0.5, 1.5), **attributes)

    def relu(self, x):
        return self.node("Relu", x)

    def ints(self, *values):
        return self.const(np.array(values, np.int64))

    def scalar(self, value):
        return self.const(np.float32(value))

    def dense(self, x, n, classes=5, **attributes):
        return self.node("Gemm", x, self.random(classes, n), self.random(classes), transB=1, **attributes)

    def head(self, x, c, classes=5):
        return self.dense(self.node("Flatten", self.node("GlobalAveragePool", x), axis=1), c, classes)

    def model(self, *outputs, listed=False):
        infos = [helper.make_tensor_value_info(o, kind, None) for o, kind in (o if isinstance(o, tuple) else (o, TensorProto.FLOAT) for o in outputs)]
        extra = [helper.make_tensor_value_info(t.name, t.data_type, list(t.dims)) for t in self.tensors] if listed else []
        graph = helper.make_graph(self.nodes, "tiny", self.inputs + extra, infos, self.tensors)
        return helper.make_model(graph, ir_version=self.ir, opset_imports=[helper.make_opsetid("", self.opset)])
