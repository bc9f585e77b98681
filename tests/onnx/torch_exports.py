"""Exports of PyTorch: the exporter of TorchScript (`dynamo=False`) and that of torch.export (`dynamo=True`)."""
import io
import onnx
import torch
import torch.nn.functional as F
from torch import nn

FED = ([1 / (255 * s) for s in (0.247, 0.2435, 0.2616)], [-m / s for m, s in zip((0.4914, 0.4822, 0.4465), (0.247, 0.2435, 0.2616))])


class Block(nn.Module):
    def __init__(self, ic, oc, stride, option):
        super().__init__()
        self.a, self.an = nn.Conv2d(ic, oc, 3, stride, 1, bias=False), nn.BatchNorm2d(oc)
        self.b, self.bn = nn.Conv2d(oc, oc, 3, 1, 1, bias=False), nn.BatchNorm2d(oc)
        self.side, self.add = None, oc - ic
        if stride > 1 and option == "B":
            self.side = nn.Sequential(nn.Conv2d(ic, oc, 1, stride, bias=False), nn.BatchNorm2d(oc))

    def forward(self, x):
        y = self.bn(self.b(F.relu(self.an(self.a(x)))))
        if self.side is not None:
            x = self.side(x)
        elif self.add:
            x = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.add // 2, self.add // 2))
        return F.relu(y + x)


class Net(nn.Module):
    def __init__(self, option, head):
        super().__init__()
        self.stem, self.norm, self.pool = nn.Conv2d(3, 4, 3, 1, 1), nn.BatchNorm2d(4), nn.MaxPool2d(3, 2, 1)
        self.blocks = nn.Sequential(Block(4, 4, 1, option), Block(4, 8, 2, option))
        self.drop, self.fc, self.head = nn.Dropout(0.2), nn.Linear(8, 5), head

    def forward(self, x):
        x = self.blocks(self.pool(F.relu(self.norm(self.stem(x)))))
        if self.head == "adaptive":
            x = F.adaptive_avg_pool2d(x, 1).flatten(1)
        elif self.head == "view":
            x = F.avg_pool2d(x, x.shape[3])
            x = x.view(x.size(0), -1)
        else:
            x = x.mean((2, 3))
        return self.fc(self.drop(x))


def network(option, head):
    torch.manual_seed(7)
    net = Net(option, head)
    for m in net.modules():
        if isinstance(m, nn.BatchNorm2d):
            nn.init.uniform_(m.weight, 0.6, 1.4)
            nn.init.uniform_(m.bias, -0.3, 0.3)
            nn.init.uniform_(m.running_mean, -0.3, 0.3)
            nn.init.uniform_(m.running_var, 0.5, 1.5)
    return net.eval()


def clean(model):
    """Without paths and stack traces of the machine that exported it."""
    del model.metadata_props[:]
    for g in [model.graph]:
        del g.metadata_props[:]
        for item in [*g.node, *g.value_info, *g.input, *g.output, *g.initializer]:
            item.doc_string = ""
            del item.metadata_props[:]
    return model


def export(net, opset, dynamo, batch):
    x = torch.randn(2, 3, 16, 16)
    if dynamo:
        shapes = {"x": {0: torch.export.Dim("batch", min=1, max=64)}} if batch else None
        program = torch.onnx.export(net, (x if batch else x[:1],), dynamo=True, opset_version=opset, dynamic_shapes=shapes, verbose=False)
        return program.model_proto
    out = io.BytesIO()
    axes = {"x": {0: "batch"}, "y": {0: "batch"}} if batch else None
    torch.onnx.export(net, (x[:1],), out, dynamo=False, opset_version=opset, input_names=["x"], output_names=["y"], dynamic_axes=axes)
    return onnx.load_from_string(out.getvalue())


def main(save, outside):
    for name, option, head, opset, dynamo, batch in (
        ("torch_old_9", "B", "view", 9, False, True),
        ("torch_old_11", "A", "adaptive", 11, False, True),
        ("torch_old_13", "A", "view", 13, False, False),
        ("torch_old_17", "B", "mean", 17, False, True),
        ("torch_new_18", "A", "adaptive", 18, True, True),
        ("torch_new_20", "B", "view", 20, True, False),
        ("torch_new_21", "A", "mean", 21, True, True),
    ):
        save(name, clean(export(network(option, head), opset, dynamo, batch)), fed=FED)
    # The new exporter keeps the weights outside: the same here, in a file of its own.
    model = clean(export(network("B", "adaptive"), 18, True, True))
    outside(model, "torch_external.onnx.data", 256)
    save("torch_external", model, fed=FED)
