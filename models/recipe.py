#!/usr/bin/env python3
"""Writes any network of the residual family as ONNX, with random weights that behave like trained ones.

usage: models/recipe.py NAME -o NET.onnx --pictures DATA [--size 224] [--opset 13] ...
example: models/recipe.py cifar-resnet56 -o resnet56.onnx --pictures models/calibration.bin
         models/recipe.py resnext50 --groups 32 --group-width 4 -o resnext50.onnx --pictures photos/
         models/recipe.py kws-res8 -o res8.onnx
         models/recipe.py signal-resnet20 --shape 9,1000 -o ecg.onnx

NAME is [cifar-]FAMILY and the depth: resnet50, wide50, seresnet101, cifar-resnet1202, cifar-preact110. cifar- means a stem for small pictures, three stages, ten classes.
Networks that read no pictures are kws-res8, kws-res15, kws-res26 (Tang and Lin; -narrow for 19 channels) over one channel of 101 x 40 features, and signal-resnet8, 14, 20 ...
over 12 channels of 1,000 values. Their statistics come from --signals, or else from generated patterns, which stand for no real data.
Weights are drawn after He. The statistics of every batch normalization come from one forward pass over 64 real pictures, no branch is silent (scales lie in 0.5 to 1.5), and
the mean score of each class is taken away. A random network counts only if it tells pictures apart: over 100 pictures its first class must take 20 values or more, or half of the
classes where there are fewer than 40; where it does not, nothing is written and the exit code is 1. Batch normalization stays a node of its own.

The environment: pip install -r models/requirements.txt (PyTorch for CPUs is enough).
"""
import argparse, os
from common import COUNTED, PRESETS, STATISTICS, Problem, array, export, halve, normalized, pictures, randomize, say, script, settle, variety


def positive(text):
    if not text.isascii() or not text.isdigit() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text} is no number over 0")
    return int(text)


def arguments():
    from networks import ACTIVATIONS, FAMILIES
    families = "\n".join(f"  {name:10} {what}" for name, what in FAMILIES.items())
    parser = argparse.ArgumentParser(description=__doc__, epilog=f"families:\n{families}", formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name")
    parser.add_argument("-o", "--output", required=True)
    parser.add_argument("--pictures", help="a CIFAR-10 .bin file, or a folder of JPEG and PNG files; 64 at least")
    parser.add_argument("--signals", help="for a network that reads no pictures: an .npy of f32 with the shape [n, ...], n 64 or more")
    parser.add_argument("--shape", help="its input, as 1,101,40 or 12,1000")
    parser.add_argument("--preprocess", choices=PRESETS, help="default: cifar10 for cifar- networks, imagenet for others")
    parser.add_argument("--size", type=positive, help="pixels a side of the input (32 or 224)")
    parser.add_argument("--opset", type=int, default=13, choices=(13, 17))
    parser.add_argument("--half", action="store_true", help="weights as f16")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=positive)
    shape = parser.add_argument_group("shape (what is not given is the family's own)")
    shape.add_argument("--classes", type=positive)
    shape.add_argument("--width", type=positive, help="channels of the first stage")
    shape.add_argument("--stages", help="blocks a stage, as 3,4,6,3")
    shape.add_argument("--groups", type=positive)
    shape.add_argument("--group-width", type=positive, help="channels of a group (ResNeXt) or part (Res2Net) in the first stage")
    shape.add_argument("--scales", type=positive, default=4, help="parts of a Res2Net block")
    shape.add_argument("--growth", type=positive, help="channels that a DenseNet layer adds")
    shape.add_argument("--widen", type=positive, help="factor of a wide network")
    shape.add_argument("--activation", choices=ACTIVATIONS, default="relu")
    shape.add_argument("--shortcut", choices=("projection", "pad", "pool"), help="where a block changes the shape: 1x1 convolution, zeros for new channels, average pool before the 1x1")
    shape.add_argument("--stride-in", choices=("1x1", "3x3"), default="3x3", help="which convolution of a bottleneck strides")
    shape.add_argument("--squeeze", choices=("conv", "dense"), default="conv", help="layers of squeeze and excitation")
    shape.add_argument("--gate", choices=("sigmoid", "hard"), default="sigmoid")
    return argparse.Namespace(**vars(parser.parse_args()), defaults=vars(parser.parse_args(["x", "-o", "x"])))


def make(recipe, bytes_, preset, seed):
    """the network with settled statistics; `bytes_` are pictures as u8"""
    import torch
    from networks import Block, PreBlock, build
    net = build(recipe)
    for block in net.modules():
        if isinstance(block, Block) and block.shortcut is not None:
            torch.nn.init.zeros_(block.branch[-1][1].weight)
        if isinstance(block, PreBlock) and block.shortcut is not None:
            torch.nn.init.zeros_(block.branch[-1].weight)
    randomize(net, seed)
    x = torch.from_numpy(normalized(bytes_, preset))
    settle(net, x[:STATISTICS])
    return net, variety(net, x[-COUNTED:], recipe.classes)


def picture_network(args):
    """a network that reads pictures, their size, and what it tells apart"""
    from networks import OWN, Recipe, build
    stages = [positive(s) for s in args.stages.split(",")] if args.stages else None
    fields = ("classes", "width", "groups", "group_width", "scales", "growth", "widen", "activation", "shortcut", "stride_in", "squeeze", "gate")
    recipe = Recipe(args.name, stages=stages, **{f: getattr(args, f) for f in fields})
    idle = [f"--{flag.replace('_', '-')}" for flag, families in OWN.items() if recipe.family not in families and getattr(args, flag) != args.defaults[flag]]
    idle += [f"--{flag}" for flag in ("shape", "signals") if getattr(args, flag)]
    if idle:
        raise Problem(f"{', '.join(idle)}: not for {args.name}")
    if not args.pictures:
        raise Problem(f"{args.name} needs --pictures")
    size, preset = args.size or recipe.size, args.preprocess or ("cifar10" if recipe.cifar else "imagenet")
    build(recipe)
    say(f"{args.name}: reading pictures")
    bytes_ = pictures(args.pictures, size, STATISTICS + COUNTED)
    if len(bytes_) < STATISTICS:
        raise Problem(f"{args.pictures} has {len(bytes_)} pictures, {STATISTICS} are needed")
    say(f"{args.name}: statistics from {STATISTICS} pictures of {size} x {size}")
    net, counts = make(recipe, bytes_, preset, args.seed)
    return net, size, counts, min(COUNTED, len(bytes_))


def signal_network(args):
    """a network that reads no pictures, its input's shape, and what it tells apart"""
    import torch
    from signals import Block, build, patterns, shape_of
    shape = tuple(positive(n) for n in args.shape.split(",")) if args.shape else shape_of(args.name)
    classes = args.classes or 12
    x = array(args.signals)[:STATISTICS + COUNTED] if args.signals else patterns(shape, STATISTICS + COUNTED, classes, args.seed)[0]
    if x.dtype != "float32" or len(x) < STATISTICS:
        raise Problem(f"{args.signals} is no f32 of {STATISTICS} inputs or more, but {x.dtype} {x.shape}")
    shape = x.shape[1:]
    net = build(args.name, shape, classes, args.width)
    say(f"{args.name}: statistics from {STATISTICS} {'inputs' if args.signals else 'generated patterns'} of {shape}")
    for block in net.modules():
        if isinstance(block, Block):
            torch.nn.init.zeros_(block.branch[-1][1].weight)
    randomize(net, args.seed)
    x = torch.from_numpy(x)
    settle(net, x[:STATISTICS])
    return net, shape, variety(net, x[-COUNTED:], classes), min(COUNTED, len(x))


def main():
    args = arguments()
    import torch
    import signals
    from networks import RecipeError
    if args.threads:
        torch.set_num_threads(args.threads)
    try:
        net, shape, (found, needed), shown = signal_network(args) if signals.known(args.name) else picture_network(args)
    except (RecipeError, argparse.ArgumentTypeError) as error:
        raise Problem(error) from error
    except ValueError as error:
        raise Problem(f"{args.name} cannot have this shape: {error}") from error
    except RuntimeError as error:
        raise Problem(f"{args.name} does not run on inputs of this size: {error}") from error
    if found < needed:
        raise Problem(f"over {shown} inputs the first class of {args.name} takes {found} values, {needed} are needed: try another --seed or more different inputs")
    say(f"{args.name}: the first class takes {found} values over {shown} inputs (needed: {needed}); writing")
    export(net, shape, args.output, args.opset)
    if args.half:
        halve(args.output, args.output)
    parameters = sum(p.numel() for p in net.parameters())
    print(f"{args.output}: {parameters:,} parameters, {os.path.getsize(args.output):,} bytes, opset {args.opset}")


if __name__ == "__main__":
    script(main)
