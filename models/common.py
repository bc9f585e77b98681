"""What the scripts of this folder share: pictures, random weights that behave, ONNX files."""
import contextlib, io, os, sys, warnings
import numpy as np

PRESETS = {"cifar10": ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)), "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))}
STATISTICS, COUNTED = 64, 100


class Problem(Exception):
    """what went wrong and what to do about it, for the user"""


def say(text):
    print(text, file=sys.stderr, flush=True)


def script(main):
    """runs a script; a `Problem` becomes one line and exit code 1"""
    try:
        main()
    except Problem as problem:
        sys.exit(f"error: {problem}")


@contextlib.contextmanager
def replacing(path):
    """a temporary name beside `path`; what stands there at the end becomes `path`, after an error it is removed"""
    partial = f"{path}.{os.getpid()}.part"
    try:
        yield partial
        os.replace(partial, path)
    except OSError as error:
        raise Problem(f"cannot write {path}: {error.strerror}") from error
    finally:
        if os.path.exists(partial):
            os.remove(partial)


def cifar(path, limit=None):
    """pictures u8 [n][3][32][32] and labels [n] of a CIFAR-10 .bin file"""
    try:
        raw = np.fromfile(path, np.uint8)
    except OSError as error:
        raise Problem(f"cannot read {path}: {error.strerror}") from error
    if not raw.size or raw.size % 3073:
        raise Problem(f"{path} is no CIFAR-10 .bin file: its {raw.size} bytes are no whole number of records of 3073")
    raw = raw.reshape(-1, 3073)[:limit]
    return raw[:, 1:].reshape(-1, 3, 32, 32), raw[:, 0].astype(np.int64)


def array(path):
    """what an .npy file holds"""
    try:
        return np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise Problem(f"cannot read {path}: {error}") from error


def pictures(path, size, limit):
    """u8 [n][3][size][size] of a CIFAR-10 .bin file or a folder of pictures: shorter side to 8/7 of the size, centre crop (a square of the size itself stays as it is)"""
    from PIL import Image
    if os.path.isdir(path):
        files = sorted(os.path.join(folder, f) for folder, _, found in os.walk(path) for f in found if f.lower().endswith((".jpg", ".jpeg", ".png")))
        if not files:
            raise Problem(f"no .jpg or .png picture in {path}")
        images = (Image.open(f).convert("RGB") for f in files[:limit])
    else:
        images = (Image.fromarray(p.transpose(1, 2, 0)) for p in cifar(path, limit)[0])
    return np.stack([np.asarray(fitted(image, size)).transpose(2, 0, 1) for image in images])


def fitted(image, size):
    from PIL import Image
    if image.size == (size, size):
        return image
    if image.width == image.height and image.width < size:
        return image.resize((size, size), Image.BILINEAR)
    scale = round(size * 8 / 7) / min(image.size)
    image = image.resize([max(size, int(side * scale)) for side in image.size], Image.BILINEAR)
    left, top = (image.width - size) // 2, (image.height - size) // 2
    return image.crop((left, top, left + size, top + size))


def normalized(bytes_, preset):
    """f32, (byte/255 - mean) / deviation"""
    mean, deviation = (np.array(v, np.float32).reshape(1, 3, 1, 1) for v in PRESETS[preset])
    return (bytes_.astype(np.float32) / 255 - mean) / deviation


def randomize(net, seed):
    """He's weights, scales of the normalizations in 0.5 to 1.5, shifts about 1.5: around 0, a random network amplifies whatever is added to its values, rounding as well, by a decibel a
    layer. The last layer of a residual branch, which begins at 0, is smaller, scales in 0.2 to 0.5 and shifts about 0: no branch is silent, and the stream outweighs each branch, as in
    trained networks, without growing by every shift."""
    import torch
    from torch import nn
    torch.manual_seed(seed)
    for module in net.modules():
        last = getattr(module, "weight", None) is not None and not module.weight.any()
        if isinstance(module, (nn.Conv2d, nn.Conv1d, nn.Linear)):
            nn.init.kaiming_normal_(module.weight, mode="fan_in", nonlinearity="relu")
            if last:
                module.weight.data *= 0.35
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            if module.affine:
                nn.init.uniform_(module.weight, *((0.2, 0.5) if last else (0.5, 1.5)))
                nn.init.normal_(module.bias, 0.0 if last else 1.5, 0.2)


def settle(net, x):
    """Statistics of the normalizations from one forward pass over `x`, then the mean score of every class taken away; the net is left ready to run."""
    import torch
    from torch import nn
    for module in net.modules():
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            module.momentum = 1.0
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    with torch.no_grad():
        net.train()(x)
        net.eval()
        scores = net(x)
        last = [m for m in net.modules() if isinstance(m, (nn.Linear, nn.Conv2d)) and m.weight.shape[0] == scores.shape[1] and m.bias is not None][-1]
        last.bias -= scores.mean(0)


def variety(net, x, classes):
    """how many classes come first over the pictures `x`, and how many are needed for a random network to count"""
    import torch
    with torch.no_grad():
        found = len(torch.cat([net(part).argmax(1) for part in x.split(25)]).unique())
    return found, 20 if classes >= 40 else (classes + 1) // 2


def export(net, size, path, opset=13, dynamo=False):
    """Writes ONNX for colour pictures of `size` pixels a side, or for inputs of that shape, by PyTorch's exporter to TorchScript with normalizations as nodes of their own, or by the new one."""
    import torch
    x = torch.zeros(1, *((3, size, size) if isinstance(size, int) else size))
    names = {"input_names": ["input"], "output_names": ["logits"]}
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()), replacing(path) as partial:
        warnings.simplefilter("ignore")
        if dynamo:
            torch.onnx.export(net, (x,), partial, dynamo=True, external_data=False, **names)
        else:
            torch.onnx.export(net, (x,), partial, opset_version=opset, dynamo=False, do_constant_folding=False, training=torch.onnx.TrainingMode.PRESERVE,
                              dynamic_axes={"input": {0: "batch"}, "logits": {0: "batch"}}, **names)


def halve(path, out):
    """Writes the network again with its weights (not biases and statistics) in f16, each behind a Cast."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper
    model = onnx.load(path)
    casts = []
    for tensor in model.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT and len(tensor.dims) > 1:
            name = tensor.name
            values = numpy_helper.to_array(tensor).astype(np.float16)
            if not np.isfinite(values).all():
                raise Problem(f"weights `{name}` of {path} do not fit into f16")
            tensor.CopyFrom(numpy_helper.from_array(values, f"{name}.f16"))
            casts.append(helper.make_node("Cast", [tensor.name], [name], f"{name}.cast", to=TensorProto.FLOAT))
    nodes = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend(casts + nodes)
    onnx.checker.check_model(model)
    with replacing(out) as partial:
        onnx.save(model, partial)


def top1(path, bytes_, labels, preset):
    """percent of the pictures that ONNX Runtime's float network labels right"""
    import onnxruntime
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    feed = session.get_inputs()[0].name
    parts = [session.run(None, {feed: normalized(bytes_[i:i + 50], preset)})[0].argmax(1) for i in range(0, len(bytes_), 50)]
    return 100 * float((np.concatenate(parts) == labels).mean())
