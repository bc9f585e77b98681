"""Residual networks over spectra and signals in PyTorch, and patterns to run them on: `kws-res8`, `kws-res15`, `kws-res26` (Tang and Lin 2018) and `signal-resnetN` in one dimension."""
import re
import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from networks import RecipeError

# layers -> convolutions behind the first, average pool in front of them, dilation 2^(i // 3)
KEYWORD = {"8": (6, (4, 3), False), "15": (13, None, True), "26": (24, (2, 2), False)}
NAMES = "kws-res8, kws-res15, kws-res26 (with -narrow behind it: 19 channels instead of 45), signal-resnetN with N = 6n + 2"
# A signal longer than this is read with stride 2 and pooled before the first block.
LONG = 200


def known(name):
    return name.startswith(("kws-", "signal-"))


class Keyword(nn.Module):
    """Convolutions of 3x3 over [time][frequency]; every second one is added to the stream behind its ReLU, the normalization stands behind the sum."""

    def __init__(self, convolutions, pool, dilated, channels, inputs, classes):
        super().__init__()
        self.first = nn.Conv2d(inputs, channels, 3, padding=1, bias=False)
        self.pool = nn.AvgPool2d(pool) if pool else nn.Identity()
        steps = [2 ** (i // 3) if dilated else 1 for i in range(convolutions)]
        self.convs = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=d, dilation=d, bias=False) for d in steps)
        self.norms = nn.ModuleList(nn.BatchNorm2d(channels, affine=False) for _ in steps)
        self.classifier = nn.Linear(channels, classes)

    def forward(self, x):
        stream = x = self.pool(F.relu(self.first(x)))
        for i, (conv, norm) in enumerate(zip(self.convs, self.norms)):
            x = F.relu(conv(x))
            if i % 2:
                stream = x = x + stream
            x = norm(x)
        return self.classifier(x.mean((2, 3)))


def conv_norm(inputs, outputs, kernel, stride=1):
    return nn.Sequential(nn.Conv1d(inputs, outputs, kernel, stride, kernel // 2, bias=False), nn.BatchNorm1d(outputs))


class Block(nn.Module):
    """The basic block in one dimension."""

    def __init__(self, inputs, outputs, kernel, stride):
        super().__init__()
        self.branch = nn.Sequential(conv_norm(inputs, outputs, kernel, stride), nn.ReLU(), conv_norm(outputs, outputs, kernel))
        self.shortcut = nn.Identity() if stride == 1 and inputs == outputs else conv_norm(inputs, outputs, 1, stride)

    def forward(self, x):
        return F.relu(self.branch(x) + self.shortcut(x))


class Signal(nn.Module):
    """Three stages of basic blocks over [channels][length]."""

    def __init__(self, blocks, width, kernel, inputs, length, classes):
        super().__init__()
        layers = [conv_norm(inputs, width, kernel, 2 if length > LONG else 1), nn.ReLU()]
        if length > LONG:
            layers.append(nn.MaxPool1d(3, 2, 1))
        channels = width
        for stage in range(3):
            for i in range(blocks):
                layers.append(Block(channels, width << stage, kernel, 2 if stage and not i else 1))
                channels = width << stage
        self.layers, self.classifier = nn.Sequential(*layers), nn.Linear(channels, classes)

    def forward(self, x):
        return self.classifier(self.layers(x).mean(2))


def shape_of(name):
    """the input that a network is made for: one channel of 101 x 40 features, or 12 channels of 1,000 values"""
    return (1, 101, 40) if name.startswith("kws-") else (12, 1000)


def build(name, shape, classes=12, width=None, kernel=7):
    """the network of that name over an input [channels][time][frequency] or [channels][length], with PyTorch's own initial weights"""
    keyword, signal = re.fullmatch(r"kws-res(8|15|26)(-narrow)?", name), re.fullmatch(r"signal-resnet(\d+)", name)
    if not keyword and not (signal and int(signal[1]) > 2 and int(signal[1]) % 6 == 2):
        raise RecipeError(f"no network `{name}`: there are {NAMES}")
    if len(shape) != (3 if keyword else 2):
        raise RecipeError(f"{name} reads {'channels, time and frequency' if keyword else 'channels and length'}, not {tuple(shape)}")
    if keyword:
        return Keyword(*KEYWORD[keyword[1]], width or (19 if keyword[2] else 45), shape[0], classes)
    return Signal((int(signal[1]) - 2) // 6, width or 16, kernel, *shape, classes)


def patterns(shape, count, classes, seed):
    """Generated inputs f32 [count, *shape] and their classes: lines and waves whose pitch rises or falls with the class, among noise. They stand for no real data."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, classes, count)
    x = random.normal(0, 0.5, (count, *shape)).astype(np.float32)
    time = np.linspace(0, 1, shape[1], dtype=np.float32)
    for i, label in enumerate(labels):
        slope, pitch, phase = label % 3 - 1, (label // 3 + 1) / (classes // 3 + 2), random.uniform(-0.05, 0.05)
        course = np.clip(pitch + slope * 0.25 * (time - 0.5) + phase, 0.02, 0.98)
        loud = np.clip(1.5 - 4 * np.abs(time - random.uniform(0.35, 0.65)), 0, 1)
        if len(shape) == 3:
            bins = np.arange(shape[2], dtype=np.float32)
            x[i] += 2.5 * loud[:, None] * np.exp(-0.5 * ((bins - course[:, None] * shape[2]) / 1.5) ** 2)
        else:
            angle = 2 * np.pi * np.cumsum(course) / 4 + random.uniform(0, 6)
            x[i] += loud * np.sin(angle + np.linspace(0, 1.5, shape[0])[:, None])
    return x, labels.astype(np.int64)
