#!/usr/bin/env python3
"""Trains a CIFAR member of the family from random weights on a CPU, and writes it as ONNX.

usage: models/train.py NAME -o NET.onnx --train data_batch_*.bin --test test_batch.bin [--epochs 20] [--seed 0] [--half] ...
example: models/train.py cifar-resnet20 -o resnet20.onnx --train cifar/data_batch_*.bin --test cifar/test_batch.bin --epochs 30

NAME is one of recipe.py's (cifar-resnet8, cifar-plain20, cifar-preact20, cifar-seresnet20, cifar-resnext29, cifar-res2net29, cifar-densenet22 ...). The same seed, number of threads and
kind of CPU give the same weights. The training: pictures shifted by up to four pixels and mirrored, stochastic gradient descent with Nesterov momentum, one warm-up
and then a cosine down to zero, weight decay on the weights alone, smoothed labels. --steps N ends early, to try that all works.

The environment: pip install -r models/requirements.txt (PyTorch for CPUs is enough).
"""
import argparse, math, os, time
import numpy as np
from common import PRESETS, Problem, cifar, export, halve, say, script

MEAN, DEVIATION = PRESETS["cifar10"]
SHIFT = 4


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name")
    parser.add_argument("-o", "--output", required=True)
    parser.add_argument("--train", nargs="+", required=True, metavar="BIN", help="CIFAR-10 .bin files to learn from")
    parser.add_argument("--test", required=True, metavar="BIN", help="CIFAR-10 .bin file to measure on")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--steps", type=int, help="stop after this many batches")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rate", type=float, default=0.2, help="the highest learning rate")
    parser.add_argument("--decay", type=float, default=5e-4)
    parser.add_argument("--smoothing", type=float, default=0.05)
    parser.add_argument("--bfloat16", action="store_true", help="convolutions in bfloat16, faster where the CPU has it")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--opset", type=int, default=13, choices=(13, 17))
    parser.add_argument("--half", action="store_true", help="weights as f16")
    return parser.parse_args()


def batch(padded, chosen, random):
    """the chosen pictures, each shifted and mirrored by chance, as the network reads them"""
    import torch
    count = len(chosen)
    rows = torch.from_numpy(random.integers(0, 2 * SHIFT + 1, (count, 1))) + torch.arange(32)
    columns = torch.from_numpy(random.integers(0, 2 * SHIFT + 1, (count, 1))) + torch.arange(32)
    mirrored = torch.from_numpy(random.random((count, 1)) < 0.5)
    columns = torch.where(mirrored, columns.flip(1), columns)
    pictures = padded[chosen].permute(0, 2, 3, 1)[torch.arange(count).view(-1, 1, 1), rows.unsqueeze(2), columns.unsqueeze(1)]
    return normalized(pictures.permute(0, 3, 1, 2))


def normalized(pictures):
    import torch
    mean, deviation = (torch.tensor(v).view(1, 3, 1, 1) for v in (MEAN, DEVIATION))
    return ((pictures.float() / 255 - mean) / deviation).contiguous(memory_format=torch.channels_last)


def rate(step, steps, warm):
    """share of the highest learning rate"""
    return min(1, (step + 1) / warm) * 0.5 * (1 + math.cos(math.pi * step / steps))


def accuracy(net, pictures, labels):
    import torch
    with torch.no_grad():
        right = sum((net(normalized(p)).argmax(1) == l).sum().item() for p, l in zip(pictures.split(250), labels.split(250)))
    return 100 * right / len(labels)


def learn(net, train, test, args):
    import torch
    from torch.nn import functional as F
    pictures, labels = train
    padded, random = F.pad(pictures, (SHIFT,) * 4), np.random.default_rng(args.seed)
    groups = [{"params": [p for p in net.parameters() if p.ndim > 1], "weight_decay": args.decay}, {"params": [p for p in net.parameters() if p.ndim == 1], "weight_decay": 0.0}]
    optimizer = torch.optim.SGD(groups, args.rate, momentum=0.9, nesterov=True)
    each = len(labels) // args.batch
    if not each:
        raise Problem(f"{len(labels)} pictures are fewer than a batch of {args.batch}")
    steps, step, start = args.epochs * each, 0, time.monotonic()
    stop = min(steps, args.steps or steps)
    while step < stop:
        net.train()
        order, loss_sum, first = torch.from_numpy(random.permutation(len(labels))), 0.0, step
        for chosen in order[:each * args.batch].split(args.batch)[:stop - step]:
            for group in optimizer.param_groups:
                group["lr"] = args.rate * rate(step, steps, min(2 * each, steps))
            with torch.autocast("cpu", torch.bfloat16, enabled=args.bfloat16):
                scores = net(batch(padded, chosen, random))
            loss = F.cross_entropy(scores.float(), labels[chosen], label_smoothing=args.smoothing)
            if not math.isfinite(loss.item()):
                raise Problem(f"the loss is no longer finite at step {step}: try a lower --rate")
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            loss_sum, step = loss_sum + loss.item(), step + 1
        net.eval()
        say(f"step {step} of {stop}: loss {loss_sum / (step - first):.3f}, top-1 {accuracy(net, *test):.2f} %, {time.monotonic() - start:.0f} s")


def main():
    args = arguments()
    import torch
    from networks import Recipe, RecipeError, build
    if args.threads:
        torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    try:
        recipe = Recipe(args.name)
        net = build(recipe).to(memory_format=torch.channels_last)
    except RecipeError as error:
        raise Problem(error) from error
    if not recipe.cifar:
        raise Problem(f"{args.name} is not made for CIFAR-10: take a cifar- name")
    found = [cifar(path) for path in args.train]
    train = tuple(torch.from_numpy(np.concatenate(parts)) for parts in zip(*found))
    test = tuple(torch.from_numpy(part) for part in cifar(args.test))
    say(f"{args.name}: {sum(p.numel() for p in net.parameters()):,} parameters, {len(train[1]):,} pictures")
    learn(net, train, test, args)
    net = net.to(memory_format=torch.contiguous_format).eval()
    export(net, 32, args.output, args.opset)
    if args.half:
        halve(args.output, args.output)
    print(f"{args.output}: {os.path.getsize(args.output):,} bytes, top-1 {accuracy(net, *test):.2f} % (n = {len(test[1]):,})")


if __name__ == "__main__":
    script(main)
