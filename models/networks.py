"""The residual family in PyTorch: every topology at any depth, width and size, from one description (`Recipe`)."""
import dataclasses, math, re
import torch
from torch import nn
from torch.nn import functional as F

# depth -> blocks a stage, of networks for large pictures
BASIC = {10: [1, 1, 1, 1], 18: [2, 2, 2, 2], 34: [3, 4, 6, 3]}
BOTTLENECK = {26: [2, 2, 2, 2], 50: [3, 4, 6, 3], 101: [3, 4, 23, 3], 152: [3, 8, 36, 3], 200: [3, 24, 36, 3]}
DENSE = {121: ([6, 12, 24, 16], 32, 64), 161: ([6, 12, 36, 24], 48, 96), 169: ([6, 12, 32, 32], 32, 64), 201: ([6, 12, 48, 32], 32, 64)}
FAMILIES = {
    "resnet": "He et al. 2015; depth 18, 34 of basic blocks, 50, 101, 152 of bottlenecks",
    "plain": "the same without skips",
    "preact": "pre-activation (ResNet-v2)",
    "resnext": "grouped 3x3 convolutions; --groups, --group-width",
    "seresnet": "squeeze and excitation; --squeeze, --gate",
    "ecaresnet": "efficient channel attention; --gate",
    "res2net": "hierarchical 3x3 convolutions; --scales, --group-width",
    "densenet": "concatenation; 121, 161, 169, 201, or cifar-densenet of 3n + 4 layers; --growth",
    "wide": "wide ResNet; --widen",
    "resnetd": "ResNet-D: deep stem, average pool in the shortcut",
}
# which families a flag is for, where it is not for all
OWN = {
    "groups": ("resnext",), "group_width": ("resnext", "res2net"), "scales": ("res2net",), "growth": ("densenet",), "widen": ("wide", "preact"), "squeeze": ("seresnet",),
    "gate": ("seresnet", "ecaresnet"),
}
ACTIVATIONS = {"relu": nn.ReLU, "relu6": nn.ReLU6, "silu": nn.SiLU, "hardswish": nn.Hardswish, "leaky": lambda: nn.LeakyReLU(0.1)}


class RecipeError(Exception):
    """a network that cannot be; its text says which part"""


@dataclasses.dataclass
class Recipe:
    """One network. `name` is [cifar-]FAMILY DEPTH, such as resnet50 or cifar-resnet20; None where the family's own value holds."""
    name: str
    classes: int | None = None
    width: int | None = None
    stages: list[int] | None = None
    groups: int | None = None
    group_width: int | None = None
    scales: int = 4
    growth: int | None = None
    widen: int | None = None
    activation: str = "relu"
    shortcut: str | None = None
    stride_in: str = "3x3"
    squeeze: str = "conv"
    gate: str = "sigmoid"

    def __post_init__(self):
        match = re.fullmatch(r"(cifar-)?([a-z0-9]*[a-z])(\d+)", self.name)
        if not match or match[2] not in FAMILIES:
            raise RecipeError(f"no network `{self.name}`: a name is [cifar-]FAMILY and the depth, the families are {', '.join(FAMILIES)}")
        self.cifar, self.family, self.depth = bool(match[1]), match[2], int(match[3])
        self.classes = self.classes or (10 if self.cifar else 1000)

    @property
    def size(self):
        """pixels a side of the pictures that it is made for"""
        return 32 if self.cifar else 224


def conv(inputs, outputs, kernel=3, stride=1, groups=1):
    return nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)


def conv_norm(*shape, **more):
    layer = conv(*shape, **more)
    return nn.Sequential(layer, nn.BatchNorm2d(layer.out_channels))


class Excite(nn.Module):
    """squeeze and excitation: channels weighted by two dense layers over their means"""

    def __init__(self, recipe, channels, reduction):
        super().__init__()
        self.dense = recipe.squeeze == "dense"
        layer = nn.Linear if self.dense else lambda i, o: nn.Conv2d(i, o, 1)
        self.down, self.up = layer(channels, channels // reduction), layer(channels // reduction, channels)
        self.gate = nn.Hardsigmoid() if recipe.gate == "hard" else nn.Sigmoid()

    def forward(self, x):
        mean = F.adaptive_avg_pool2d(x, 1)
        mean = torch.flatten(mean, 1) if self.dense else mean
        gate = self.gate(self.up(F.relu(self.down(mean))))
        return x * (gate.view(-1, x.shape[1], 1, 1) if self.dense else gate)


class Attend(nn.Module):
    """efficient channel attention (Wang et al. 2020): channels weighted by a convolution along their means"""

    def __init__(self, recipe, channels):
        super().__init__()
        kernel = int(abs(math.log2(channels) / 2 + 0.5)) | 1
        self.conv = nn.Conv1d(1, 1, kernel, padding=kernel // 2, bias=False)
        self.gate = nn.Hardsigmoid() if recipe.gate == "hard" else nn.Sigmoid()

    def forward(self, x):
        mean = x.mean((2, 3)).view(x.shape[0], 1, -1)
        return x * self.gate(self.conv(mean)).view(x.shape[0], -1, 1, 1)


def excite(recipe, channels):
    if recipe.family == "seresnet":
        return Excite(recipe, channels, 4 if recipe.cifar else 16)
    return Attend(recipe, channels) if recipe.family == "ecaresnet" else nn.Identity()


class PadShortcut(nn.Module):
    """option A of He et al.: every other pixel, zeros for the new channels"""

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.stride, self.front = stride, (outputs - inputs) // 2
        self.back = outputs - inputs - self.front

    def forward(self, x):
        return F.pad(x[:, :, ::self.stride, ::self.stride], (0, 0, 0, 0, self.front, self.back))


def shortcut(recipe, inputs, outputs, stride, norm=True):
    if recipe.family == "plain":
        return None
    if stride == 1 and inputs == outputs:
        return nn.Identity()
    if recipe.shortcut == "pad":
        return PadShortcut(inputs, outputs, stride)
    layers = []
    if recipe.shortcut == "pool" and stride > 1:
        layers, stride = [nn.AvgPool2d(2, 2, ceil_mode=True, count_include_pad=False)], 1
    layers.append(conv_norm(inputs, outputs, 1, stride) if norm else conv(inputs, outputs, 1, stride))
    return nn.Sequential(*layers)


class Block(nn.Module):
    """A branch beside a shortcut, added, and the activation behind it."""

    def __init__(self, recipe, inputs, outputs, stride, branch):
        super().__init__()
        self.branch, self.shortcut = branch, shortcut(recipe, inputs, outputs, stride)
        self.excite = excite(recipe, outputs)
        self.act = ACTIVATIONS[recipe.activation]()

    def forward(self, x):
        y = self.excite(self.branch(x))
        return self.act(y if self.shortcut is None else y + self.shortcut(x))


def basic(recipe, inputs, outputs, stride):
    act = ACTIVATIONS[recipe.activation]
    branch = nn.Sequential(conv_norm(inputs, outputs, 3, stride), act(), conv_norm(outputs, outputs))
    return Block(recipe, inputs, outputs, stride, branch)


def bottleneck(recipe, inputs, middle, outputs, stride, groups=1):
    act = ACTIVATIONS[recipe.activation]
    first, second = (stride, 1) if recipe.stride_in == "1x1" else (1, stride)
    branch = nn.Sequential(conv_norm(inputs, middle, 1, first), act(), conv_norm(middle, middle, 3, second, groups=groups), act(), conv_norm(middle, outputs, 1))
    return Block(recipe, inputs, outputs, stride, branch)


class Hierarchy(nn.Module):
    """Res2Net's middle: the channels in parts, each part's 3x3 convolution reads the one before it as well"""

    def __init__(self, recipe, width, stride, first):
        super().__init__()
        act = ACTIVATIONS[recipe.activation]
        self.width, self.first = width, first
        self.convs = nn.ModuleList(nn.Sequential(conv_norm(width, width, 3, stride), act()) for _ in range(recipe.scales - 1))
        self.last = nn.AvgPool2d(3, stride, 1) if stride > 1 else nn.Identity()

    def forward(self, x):
        parts = torch.split(x, self.width, 1)
        made = []
        for part, layer in zip(parts, self.convs):
            made.append(layer(part if self.first or not made else made[-1] + part))
        return torch.cat([*made, self.last(parts[-1])], 1)


def res2(recipe, inputs, width, outputs, stride):
    act = ACTIVATIONS[recipe.activation]
    middle, first = width * recipe.scales, stride > 1 or inputs != outputs
    branch = nn.Sequential(conv_norm(inputs, middle, 1), act(), Hierarchy(recipe, width, stride, first), conv_norm(middle, outputs, 1))
    return Block(recipe, inputs, outputs, stride, branch)


class PreBlock(nn.Module):
    """Pre-activation: normalization and activation before each convolution; the stream itself is signed."""

    def __init__(self, recipe, inputs, middle, outputs, stride):
        super().__init__()
        act = ACTIVATIONS[recipe.activation]
        self.pre = nn.Sequential(nn.BatchNorm2d(inputs), act())
        if middle is None:
            layers = [conv(inputs, outputs, 3, stride), nn.BatchNorm2d(outputs), act(), conv(outputs, outputs)]
        else:
            layers = [conv(inputs, middle, 1), nn.BatchNorm2d(middle), act(), conv(middle, middle, 3, stride), nn.BatchNorm2d(middle), act(), conv(middle, outputs, 1)]
        self.branch, self.shortcut = nn.Sequential(*layers), shortcut(recipe, inputs, outputs, stride, norm=False)

    def forward(self, x):
        ready = self.pre(x)
        return self.branch(ready) + (x if isinstance(self.shortcut, nn.Identity) else self.shortcut(ready))


class DenseLayer(nn.Module):
    """What it makes is put behind what it reads."""

    def __init__(self, recipe, inputs, growth, middle):
        super().__init__()
        act = ACTIVATIONS[recipe.activation]
        layers = [nn.BatchNorm2d(inputs), act()]
        if middle:
            layers += [conv(inputs, middle, 1), nn.BatchNorm2d(middle), act()]
        self.branch = nn.Sequential(*layers, conv(middle or inputs, growth))

    def forward(self, x):
        return torch.cat([x, self.branch(x)], 1)


class Net(nn.Module):
    def __init__(self, stem, blocks, channels, classes, end=None):
        super().__init__()
        self.stem, self.blocks = stem, nn.Sequential(*blocks)
        self.end = end or nn.Identity()
        self.classifier = nn.Linear(channels, classes)

    def features(self, x):
        """the means of the last feature map"""
        return torch.flatten(F.adaptive_avg_pool2d(self.end(self.blocks(self.stem(x))), 1), 1)

    def forward(self, x):
        return self.classifier(self.features(x))


def stem(recipe, channels):
    act = ACTIVATIONS[recipe.activation]
    bare = recipe.family in ("preact", "wide") and recipe.cifar
    if recipe.cifar:
        return conv(3, channels) if bare or recipe.family == "densenet" else nn.Sequential(conv_norm(3, channels), act())
    if recipe.family == "resnetd":
        half = channels // 2
        layers = [conv_norm(3, half, 3, 2), act(), conv_norm(half, half), act(), conv_norm(half, channels), act()]
    elif recipe.family == "preact":
        layers = [conv(3, channels, 7, 2)]
    else:
        layers = [conv_norm(3, channels, 7, 2), act()]
    return nn.Sequential(*layers, nn.MaxPool2d(3, 2, 1))


def densenet(recipe):
    act = ACTIVATIONS[recipe.activation]
    if recipe.cifar:
        if (recipe.depth - 4) % 3:
            raise RecipeError("the depth of a cifar-densenet is 3n + 4 (22, 40, 100)")
        blocks, growth, channels = [(recipe.depth - 4) // 3] * 3, 12, 24
    elif recipe.depth in DENSE:
        blocks, growth, channels = DENSE[recipe.depth]
    else:
        raise RecipeError(f"densenet has the depths {', '.join(map(str, DENSE))}")
    blocks, growth, channels = recipe.stages or blocks, recipe.growth or growth, recipe.width or channels
    first, layers = channels, []
    for i, count in enumerate(blocks):
        for _ in range(count):
            layers.append(DenseLayer(recipe, channels, growth, None if recipe.cifar else 4 * growth))
            channels += growth
        if i + 1 < len(blocks):
            layers.append(nn.Sequential(nn.BatchNorm2d(channels), act(), conv(channels, channels // 2, 1), nn.AvgPool2d(2)))
            channels //= 2
    return Net(stem(recipe, first), layers, channels, recipe.classes, nn.Sequential(nn.BatchNorm2d(channels), act()))


def plan(recipe):
    """blocks a stage, and whether the blocks are bottlenecks"""
    grouped = recipe.family in ("resnext", "res2net")
    if recipe.cifar:
        layers, extra = (9, 2) if grouped else (6, 4 if recipe.family == "wide" else 2)
        if (recipe.depth - extra) % layers or recipe.depth <= extra:
            raise RecipeError(f"the depth of a cifar-{recipe.family} is {layers}n + {extra}")
        return [(recipe.depth - extra) // layers] * 3, grouped
    if recipe.depth in BASIC and not grouped and recipe.family != "wide":
        return BASIC[recipe.depth], False
    if recipe.depth in BOTTLENECK:
        return BOTTLENECK[recipe.depth], True
    raise RecipeError(f"{recipe.family} has no depth {recipe.depth}: {', '.join(map(str, [*BASIC, *BOTTLENECK]))} are known; other depths by --stages or as cifar-")


def build(recipe):
    """The network of a recipe, with PyTorch's own initial weights."""
    recipe = dataclasses.replace(recipe)
    if recipe.family == "densenet":
        return densenet(recipe)
    if recipe.cifar and recipe.family == "wide":
        recipe.width, recipe.widen = recipe.width or 16, recipe.widen or 10
    counts, deep = plan(recipe)
    counts = recipe.stages or counts
    recipe.shortcut = recipe.shortcut or ("pool" if recipe.family == "resnetd" else "projection")
    base = recipe.width or (16 if recipe.cifar else 64)
    pre = recipe.family == "preact" or recipe.cifar and recipe.family == "wide"
    channels, blocks = base, []
    for stage, count in enumerate(counts):
        width = base << stage
        for i in range(count):
            stride = 2 if stage and i == 0 else 1
            if recipe.family == "resnext":
                groups = recipe.groups or (8 if recipe.cifar else 32)
                middle = groups * (recipe.group_width or 4) << stage
                outputs = width * 4
                block = bottleneck(recipe, channels, middle, outputs, stride, groups)
            elif recipe.family == "res2net":
                outputs = width * 4
                block = res2(recipe, channels, (recipe.group_width or (8 if recipe.cifar else 26)) << stage, outputs, stride)
            elif pre:
                outputs = width * (recipe.widen or 1) * (4 if deep else 1)
                block = PreBlock(recipe, channels, width if deep else None, outputs, stride)
            elif deep:
                outputs = width * 4
                middle = width * (recipe.widen or 2) if recipe.family == "wide" else width
                block = bottleneck(recipe, channels, middle, outputs, stride)
            else:
                outputs = width
                block = basic(recipe, channels, outputs, stride)
            blocks.append(block)
            channels = outputs
    end = nn.Sequential(nn.BatchNorm2d(channels), ACTIVATIONS[recipe.activation]()) if pre else None
    return Net(stem(recipe, base), blocks, channels, recipe.classes, end)
