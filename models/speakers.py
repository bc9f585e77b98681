#!/usr/bin/env python3
"""Trains a network that tells nine speakers apart by two spoken vowels, on real speech, and writes it as ONNX and its data as .npy.

usage: models/speakers.py NAME -o NET.onnx --train JapaneseVowels_TRAIN.ts --test JapaneseVowels_TEST.ts [--arrays FOLDER] [--epochs 200] [--seed 0] [--half]
example: models/speakers.py kws-res8-narrow -o speakers-res8.onnx --train JapaneseVowels_TRAIN.ts --test JapaneseVowels_TEST.ts --arrays . --half

NAME is one of recipe.py's networks that read no pictures. The data are the Japanese Vowels of Kudo, Toyama and Shimbo (1999), UCI Machine Learning Repository, CC BY 4.0: 270 and 370
utterances as 12 coefficients of linear prediction over 7 to 29 frames; shorter ones are followed by zeros. As .ts files they lie in the wheel of the package aeon (pip download --no-deps aeon),
in aeon/datasets/data/JapaneseVowels. kws- networks read [1][29 frames][12 coefficients], signal- networks [12][29]. The training: utterances shifted in time, scaled and
disturbed by chance, Adam with a cosine down to zero, smoothed labels. The same seed and kind of CPU give the same weights.

--arrays FOLDER writes what the network reads: speakers-calibration.npy (f32, every second utterance of --train), speakers-test.npy (--test) and speakers-test-classes.npy.
The environment: pip install -r models/requirements.txt (PyTorch for CPUs is enough).
"""
import argparse, math, os
import numpy as np
from common import Problem, export, halve, say, script

COEFFICIENTS, FRAMES, SPEAKERS = 12, 29, 9


def utterances(path):
    """f32 [n][12][29] and the speakers from 0, of a .ts file"""
    try:
        with open(path, encoding="utf-8") as file:
            lines = file.read().split("@data", 1)[1].split()
    except (OSError, IndexError, UnicodeDecodeError) as error:
        raise Problem(f"cannot read {path} as a .ts file: {error}") from error
    x, speakers = np.zeros((len(lines), COEFFICIENTS, FRAMES), np.float32), np.zeros(len(lines), np.int64)
    for line, out, i in zip(lines, x, range(len(lines))):
        *rows, speaker = line.split(":")
        try:
            values = np.array([row.split(",") for row in rows], np.float32)
            out[:, :values.shape[1]], speakers[i] = values, int(speaker) - 1
        except ValueError as error:
            raise Problem(f"{path}: utterance {i} is not {COEFFICIENTS} rows of at most {FRAMES} numbers and a speaker") from error
    return x, speakers


def disturbed(x, random):
    """shifted by up to four frames, scaled by up to 15 percent, with noise, parts of the frames left out"""
    shifts = random.integers(-4, 5, len(x))
    moved = np.stack([np.roll(one, shift, 1) for one, shift in zip(x, shifts)])
    for one, shift in zip(moved, shifts):
        one[:, :max(shift, 0)] = 0
        one[:, FRAMES + min(shift, 0):] = 0
    moved *= random.uniform(0.85, 1.15, (len(x), 1, 1)).astype(np.float32)
    return (moved + random.normal(0, 0.06, x.shape) * (moved != 0)).astype(np.float32)


def learn(net, laid, train, test, args):
    import torch
    from torch.nn import functional as F
    (x, y), random, batch = train, np.random.default_rng(args.seed), 32
    optimizer = torch.optim.AdamW(net.parameters(), 3e-3, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda epoch: 0.5 * (1 + math.cos(math.pi * epoch / args.epochs)))
    for epoch in range(args.epochs):
        net.train()
        for chosen in np.array_split(random.permutation(len(x)), math.ceil(len(x) / batch)):
            loss = F.cross_entropy(net(torch.from_numpy(laid(disturbed(x[chosen], random)))), torch.from_numpy(y[chosen]), label_smoothing=0.1)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
        schedule.step()
        if (epoch + 1) % 20 == 0:
            say(f"epoch {epoch + 1} of {args.epochs}: loss {loss.item():.3f}, top-1 {accuracy(net, laid, *test):.2f} %")


def accuracy(net, laid, x, y):
    import torch
    net.eval()
    with torch.no_grad():
        return 100 * (net(torch.from_numpy(laid(x))).argmax(1).numpy() == y).mean()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name")
    parser.add_argument("-o", "--output", required=True)
    parser.add_argument("--train", required=True, metavar="FILE.ts")
    parser.add_argument("--test", required=True, metavar="FILE.ts")
    parser.add_argument("--arrays", metavar="FOLDER", help="where the data go as .npy")
    parser.add_argument("--epochs", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--half", action="store_true", help="weights as f16")
    args = parser.parse_args()
    import torch
    from networks import RecipeError
    from signals import build
    torch.manual_seed(args.seed)
    keyword = args.name.startswith("kws-")
    laid = (lambda x: np.ascontiguousarray(x.transpose(0, 2, 1)[:, None])) if keyword else np.ascontiguousarray
    try:
        net = build(args.name, (1, FRAMES, COEFFICIENTS) if keyword else (COEFFICIENTS, FRAMES), SPEAKERS)
    except RecipeError as error:
        raise Problem(error) from error
    train, test = utterances(args.train), utterances(args.test)
    learn(net, laid, train, test, args)
    net.eval()
    export(net, laid(test[0][:1]).shape[1:], args.output)
    if args.half:
        halve(args.output, args.output)
    if args.arrays:
        for name, values in (("calibration", laid(train[0][::2])), ("test", laid(test[0])), ("test-classes", test[1].astype(np.int32))):
            np.save(os.path.join(args.arrays, f"speakers-{name}.npy"), values)
    print(f"{args.output}: {os.path.getsize(args.output):,} bytes, top-1 {accuracy(net, laid, *test):.2f} % (n = {len(test[1]):,})")


if __name__ == "__main__":
    script(main)
