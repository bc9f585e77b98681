#!/usr/bin/env python3
"""Instructions per multiply-accumulate of XNNPACK and of LiteRT's own kernels (ruy), counted as instructions.py counts ours, on the same shapes.

usage: benches/instruction_peers.py [--json FILE] [--stored FILE] [--core cortex-a53,cortex-a72,cortex-a76,max]

Runs LiteRT's wheel for 64-bit ARM in a Python for 64-bit ARM under qemu-aarch64 with the plugin instructions.c, at one thread. The models are int8 with weights per
channel: single layers of ResNet-18 and -50 (a skip is an ADD behind the convolution, a projection a convolution and an ADD) and whole networks, with random
weights. Counted is one call of the interpreter after two others. Ours are the figures of benches/instructions.json.

Needs Debian's apt-get and pip (no root), qemu-user and gcc; what it fetches lies in target/instructions/peers. --stored takes the peers' counts from a file that
--json wrote (benches/instruction_peers.json) instead.
"""
import ctypes, glob, json, mmap, os, re, subprocess, sys, zipfile

sys.dont_write_bytecode = True
from emulator import ROOT, WORK, count, table

WHEELS = ["ai-edge-litert==2.3.0", "numpy==2.4.6", "flatbuffers==25.12.19", "backports.strenum==1.2.8", "ml_dtypes==0.6.0", "protobuf==7.36.2", "tqdm==4.70.1",
          "typing-extensions==4.16.0"]
PYTHON = "3.11"
PACKAGES = ["libc6", "libgcc-s1", "libstdc++6", "zlib1g", "libexpat1", "libffi8", "libbz2-1.0", "liblzma5", "libuuid1", f"python{PYTHON}-minimal",
            f"libpython{PYTHON}-minimal", f"libpython{PYTHON}-stdlib"]
PEERS = os.path.join(WORK, "peers")
# What the emulator runs, what the peer reads of the core in /proc/cpuinfo (it chooses kernels by the name of the core), and which of our sets runs there.
CORES = {
    "cortex-a53": ("cortex-a53", "0xd03", "", "neon"),
    "cortex-a72": ("cortex-a72", "0xd08", "", "neon"),
    "cortex-a76": ("cortex-a76", "0xd0b", "atomics fphp asimdhp asimdrdm lrcpc dcpop asimddp", "dotprod"),
    "max": ("max,sve=off,sme=off", "0xd49", "atomics fphp asimdhp asimdrdm lrcpc dcpop asimddp i8mm bf16", "i8mm"),
}
KERNELS = {"XNNPACK": "AUTO", "ruy": "BUILTIN_WITHOUT_DEFAULT_DELEGATES"}
# A layer: its name in instructions.json; input side and channels, output channels, kernel, stride; the second input of a sum: channels and stride, None for none.
LAYERS = {
    "resnet18": {
        "stem 7x7/2, 112x112, 3 → 64": (224, 3, 64, 7, 2, None),
        "3x3/1, 56x56, 64 → 64": (56, 64, 64, 3, 1, None),
        "3x3/1 + skip, 56x56, 64 → 64": (56, 64, 64, 3, 1, (64, 1)),
        "3x3/2, 28x28, 64 → 128": (56, 64, 128, 3, 2, None),
        "3x3/1, 28x28, 128 → 128": (28, 128, 128, 3, 1, None),
        "3x3/1 + skip, 28x28, 128 → 128": (28, 128, 128, 3, 1, (128, 1)),
        "3x3/1 + projection, 28x28, 128 → 128": (28, 128, 128, 3, 1, (64, 2)),
        "3x3/1, 14x14, 256 → 256": (14, 256, 256, 3, 1, None),
        "3x3/1, 7x7, 512 → 512": (7, 512, 512, 3, 1, None),
    },
    "resnet50": {
        "1x1/1, 56x56, 256 → 64": (56, 256, 64, 1, 1, None),
        "1x1/1 + skip, 56x56, 64 → 256": (56, 64, 256, 1, 1, (256, 1)),
        "1x1/1, 14x14, 1024 → 256": (14, 1024, 256, 1, 1, None),
        "1x1/1 + skip, 14x14, 256 → 1024": (14, 256, 1024, 1, 1, (1024, 1)),
        "1x1/1, 7x7, 2048 → 512": (7, 2048, 512, 1, 1, None),
    },
}
# A network: side of the input, stem (kernel, stride, pooled), width and blocks of the stages, how many times a block widens, classes.
NETWORKS = {
    "resnet8": (32, (3, 1, False), ((16, 1), (32, 1), (64, 1)), 1, 10),
    "resnet18": (224, (7, 2, True), ((64, 2), (128, 2), (256, 2), (512, 2)), 1, 1000),
    "resnet50": (224, (7, 2, True), ((64, 3), (128, 4), (256, 6), (512, 3)), 4, 1000),
}


class Graph:
    """An int8 model of LiteRT, built operator by operator; a tensor is its index."""

    def __init__(self):
        import numpy
        from ai_edge_litert import schema_py_generated as schema
        self.np, self.s, self.random = numpy, schema, numpy.random.default_rng(1)
        self.graph, self.model = schema.SubGraphT(), schema.ModelT()
        self.graph.tensors, self.graph.operators, self.graph.inputs = [], [], []
        self.model.version, self.model.subgraphs, self.model.operatorCodes, self.model.buffers = 3, [self.graph], [], [schema.BufferT()]

    def tensor(self, shape, zero=0, data=None, scales=(0.02,)):
        tensor = self.s.TensorT()
        tensor.shape, tensor.type, tensor.buffer = list(shape), self.s.TensorType.INT8, 0
        if data is not None:
            tensor.type = self.s.TensorType.INT32 if data.dtype == self.np.int32 else tensor.type
            tensor.buffer = len(self.model.buffers)
            self.model.buffers.append(self.s.BufferT())
            self.model.buffers[-1].data = self.np.frombuffer(data.tobytes(), self.np.uint8)
        tensor.quantization = self.s.QuantizationParametersT()
        tensor.quantization.scale, tensor.quantization.zeroPoint, tensor.quantization.quantizedDimension = list(scales), [zero] * len(scales), 0
        self.graph.tensors.append(tensor)
        return len(self.graph.tensors) - 1

    def input(self, side, channels):
        self.graph.inputs.append(self.tensor([1, side, side, channels]))
        return self.graph.inputs[-1]

    def operator(self, name, options, inputs, shape, relu=True, **fields):
        code, codes = getattr(self.s.BuiltinOperator, name), [c.builtinCode for c in self.model.operatorCodes]
        if code not in codes:
            entry = self.s.OperatorCodeT()
            entry.builtinCode = entry.deprecatedBuiltinCode = code
            entry.version = {"CONV_2D": 3, "FULLY_CONNECTED": 4}.get(name, 2)
            self.model.operatorCodes.append(entry)
            codes.append(code)
        operator = self.s.OperatorT()
        operator.opcodeIndex, operator.inputs = codes.index(code), inputs
        operator.builtinOptionsType, operator.builtinOptions = getattr(self.s.BuiltinOptions, options), getattr(self.s, f"{options}T")()
        operator.builtinOptions.fusedActivationFunction = int(relu)
        for field, value in fields.items():
            setattr(operator.builtinOptions, field, value)
        operator.outputs = [self.tensor(shape, -128 if relu else 0)]
        self.graph.operators.append(operator)
        return operator.outputs[0]

    def shape(self, tensor):
        return self.graph.tensors[tensor].shape

    def weights(self, shape):
        """random weights and biases, a scale a channel"""
        data = self.random.integers(-127, 128, shape, dtype=self.np.int8)
        bias = self.random.integers(-1000, 1000, shape[:1]).astype(self.np.int32)
        return [self.tensor(shape, 0, data, [1e-3] * shape[0]), self.tensor(shape[:1], 0, bias, [2e-5] * shape[0])]

    def conv(self, x, channels, kernel, stride, relu=True):
        _, h, w, depth = self.shape(x)
        shape, inputs = [1, -(-h // stride), -(-w // stride), channels], [x, *self.weights([channels, kernel, kernel, depth])]
        more = {"padding": self.s.Padding.SAME, "strideH": stride, "strideW": stride, "dilationHFactor": 1, "dilationWFactor": 1}
        return self.operator("CONV_2D", "Conv2DOptions", inputs, shape, relu, **more)

    def add(self, a, b):
        return self.operator("ADD", "AddOptions", [a, b], self.shape(a))

    def pool(self, name, x, side, stride, padding):
        _, h, _, channels = self.shape(x)
        out = -(-h // stride) if padding == self.s.Padding.SAME else 1
        more = {"padding": padding, "strideH": stride, "strideW": stride, "filterHeight": side, "filterWidth": side}
        return self.operator(name, "Pool2DOptions", [x], [1, out, out, channels], **more)

    def file(self, output):
        import flatbuffers
        self.graph.outputs = [output]
        builder = flatbuffers.Builder(1 << 20)
        builder.Finish(self.model.Pack(builder), b"TFL3")
        return bytes(builder.Output())


def layer(side, depth, channels, kernel, stride, second):
    graph = Graph()
    out = graph.conv(graph.input(side, depth), channels, kernel, stride, second is None)
    if second:
        more, more_stride = second
        other = graph.input(side // stride * more_stride, more)
        out = graph.add(out, other if more_stride == 1 else graph.conv(other, channels, 1, more_stride, False))
    return graph.file(out)


def network(side, stem, stages, widening, classes):
    graph = Graph()
    kernel, stride, pooled = stem
    x = graph.conv(graph.input(side, 3), stages[0][0], kernel, stride)
    if pooled:
        x = graph.pool("MAX_POOL_2D", x, 3, 2, graph.s.Padding.SAME)
    for stage, (width, blocks) in enumerate(stages):
        for block in range(blocks):
            stride = 2 if stage and not block else 1
            if widening == 1:
                y = graph.conv(graph.conv(x, width, 3, stride), width, 3, 1, False)
            else:
                y = graph.conv(graph.conv(graph.conv(x, width, 1, 1), width, 3, stride), width * widening, 1, 1, False)
            x = graph.add(y, x if graph.shape(x) == graph.shape(y) else graph.conv(x, width * widening, 1, stride, False))
    x = graph.pool("AVERAGE_POOL_2D", x, graph.shape(x)[1], 1, graph.s.Padding.VALID)
    inputs = [x, *graph.weights([classes, graph.shape(x)[3]])]
    return graph.file(graph.operator("FULLY_CONNECTED", "FullyConnectedOptions", inputs, [1, classes], False))


def models():
    for layers in LAYERS.values():
        for name, arguments in layers.items():
            yield name, lambda: layer(*arguments)
    for name, arguments in NETWORKS.items():
        yield name, lambda: network(*arguments)


def guest():
    """inside the emulator: every model with every kind of kernels, a mark before and behind what is counted"""
    import numpy
    from ai_edge_litert.interpreter import Interpreter, OpResolverType
    code = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    code.write(bytes.fromhex("ff2f03d5 c0035fd6"))  # hint #127; ret
    mark = ctypes.CFUNCTYPE(None)(ctypes.addressof(ctypes.c_char.from_buffer(code)))
    for name, make in models():
        content = make()
        for kernels, resolver in KERNELS.items():
            interpreter = Interpreter(model_content=content, num_threads=1, experimental_op_resolver_type=getattr(OpResolverType, resolver))
            interpreter.allocate_tensors()
            for feed in interpreter.get_input_details():
                interpreter.set_tensor(feed["index"], numpy.random.default_rng(2).integers(-128, 128, feed["shape"], dtype=numpy.int8))
            interpreter.invoke()
            interpreter.invoke()
            mark()
            interpreter.invoke()
            mark()
            print(json.dumps({"model": name, "kernels": kernels}), flush=True)


def fetch():
    """Debian's Python for 64-bit ARM by an apt of its own, LiteRT's wheels beside it"""
    if os.path.exists(os.path.join(PEERS, "ready")):
        return
    print("fetching Python and LiteRT for 64-bit ARM", file=sys.stderr)
    apt = os.path.join(PEERS, "apt")
    for folder in ("state/lists/partial", "cache/archives/partial", "debs"):
        os.makedirs(os.path.join(apt, folder), exist_ok=True)
    open(os.path.join(apt, "status"), "w").close()
    options = {"Dir::State": f"{apt}/state", "Dir::State::status": f"{apt}/status", "Dir::Cache": f"{apt}/cache", "APT::Architecture": "arm64", "APT::Architectures": "arm64"}
    get = ["apt-get", "-qq", *(word for key, value in options.items() for word in ("-o", f"{key}={value}"))]
    subprocess.run([*get, "update"], check=True)
    subprocess.run([*get, "download", *PACKAGES], cwd=os.path.join(apt, "debs"), check=True)
    for package in glob.glob(os.path.join(apt, "debs", "*.deb")):
        subprocess.run(["dpkg", "-x", package, os.path.join(PEERS, "root")], check=True)
    platforms = [word for glibc in ("2014", "_2_17", "_2_27", "_2_28") for word in ("--platform", f"manylinux{glibc}_aarch64")]
    wheels = os.path.join(PEERS, "wheels")
    download = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:", "--python-version", PYTHON, *platforms, "-d", wheels, *WHEELS]
    subprocess.run(download, check=True)
    for wheel in glob.glob(os.path.join(wheels, "*.whl")):
        zipfile.ZipFile(wheel).extractall(os.path.join(PEERS, "site"))
    open(os.path.join(PEERS, "ready"), "w").close()


def measure(core):
    """{model: {kernels: instructions}}"""
    model, part, features, _ = CORES[core]
    root = os.path.join(PEERS, "root")
    os.makedirs(os.path.join(root, "proc"), exist_ok=True)
    with open(os.path.join(root, "proc", "cpuinfo"), "w") as info:  # the emulator shows this file to the program
        for number in range(4):
            info.write(f"processor\t: {number}\nFeatures\t: fp asimd evtstrm aes pmull sha1 sha2 crc32 {features} cpuid\nCPU implementer\t: 0x41\n"
                       f"CPU architecture: 8\nCPU variant\t: 0x1\nCPU part\t: {part}\nCPU revision\t: 0\n\n")
    libraries = os.path.join(root, "usr", "lib", "aarch64-linux-gnu")
    program = [os.path.join(root, "usr", "bin", f"python{PYTHON}"), os.path.abspath(__file__), "--guest"]
    variables = ["-E", f"LD_LIBRARY_PATH={libraries}", "-E", f"PYTHONPATH={os.path.join(PEERS, 'site')}"]
    lines, counts = count(model, ["-L", root, *variables, *program])
    result, entries = {}, [json.loads(line) for line in lines if line.startswith("{")]
    if len(counts) != 2 * len(entries) + 1:
        sys.exit(f"error: {len(counts)} counts for {len(entries)} layers of {model}")
    for entry, instructions in zip(entries, counts[1::2]):
        result.setdefault(entry["model"], {})[entry["kernels"]] = instructions
    return result


def ours(counts, isa):
    """(model, MACs, instructions of one) of the layers and networks"""
    for name, layers in LAYERS.items():
        for shape in layers:
            entry = counts[name][isa][shape]
            yield shape, entry["macs"] // entry["steps"], entry["instructions"] // entry["steps"]
    for name in NETWORKS:
        entries = counts[name][isa].values()
        yield name, sum(e["macs"] for e in entries), sum(e["instructions"] for e in entries)


def print_table(found):
    """a row a layer or network; a column for each of our sets, and behind it the peers' on the cores that run it"""
    counts = json.load(open(os.path.join(ROOT, "benches", "instructions.json")))
    head, columns = ["layer"], []
    for isa in dict.fromkeys(CORES[core][3] for core in found):
        mine = {name: instructions / macs for name, macs, instructions in ours(counts, isa)}
        macs = {name: macs for name, macs, _ in ours(counts, isa)}
        head.append(f"`{isa}`")
        columns.append({name: f"{value:.4f}" for name, value in mine.items()})
        for core in found:
            for kernels in KERNELS if CORES[core][3] == isa else ():
                theirs = {name: found[core][name][kernels] / macs[name] for name in mine}
                head.append(f"{kernels}, {core}")
                columns.append({name: f"{value:.4f} ({value / mine[name]:.2f}x)" for name, value in theirs.items()})
    table(head, [[name, *(column[name] for column in columns)] for name in columns[0]])


def main():
    import argparse
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json")
    parser.add_argument("--stored")
    parser.add_argument("--core", default=",".join(CORES))
    parser.add_argument("--guest", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.guest:
        return guest()
    found = json.load(open(args.stored)) if args.stored else {}
    if not args.stored:
        fetch()
        found = {core: measure(core) for core in args.core.split(",")}
    print_table(found)
    if args.json:
        with open(args.json, "w") as file:
            file.write(re.sub(r"\n {3,}|\n {2}(?=})", " ", json.dumps(found, indent=1, ensure_ascii=False)) + "\n")


if __name__ == "__main__":
    main()
