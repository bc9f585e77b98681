"""Makes the vectors of tests/picture.rs and tests/datasets.rs with Pillow: `python tests/pictures/make.py`."""

import io, os, random, struct, zlib
from PIL import Image

HERE = os.path.dirname(os.path.abspath(__file__))


def noise(n, seed):
    """xorshift32, the high byte of each state, as in tests/picture.rs"""
    x, out = seed, bytearray(n)
    for i in range(n):
        x ^= x << 13 & 0xFFFFFFFF
        x ^= x >> 17
        x ^= x << 5 & 0xFFFFFFFF
        out[i] = x >> 24
    return bytes(out)


def ramp(w, h):
    return bytes((x * 3 + y * 5 + k * 70) & 255 for y in range(h) for x in range(w) for k in range(3))


def picture(w, h, seed):
    return Image.frombytes("RGB", (w, h), noise(w * h * 3, seed) if seed % 2 else ramp(w, h))


def resized(im, n):
    """torchvision's Resize(n)"""
    w, h = im.size
    short, long = (w, h) if w <= h else (h, w)
    new = int(n * long / short)
    return im.resize((n, new) if w <= h else (new, n), Image.Resampling.BILINEAR)


def cropped(im, ch, cw):
    """torchvision's CenterCrop((ch, cw))"""
    w, h = im.size
    if cw > w or ch > h:
        left, top = (cw - w) // 2 if cw > w else 0, (ch - h) // 2 if ch > h else 0
        right, bottom = (cw - w + 1) // 2 if cw > w else 0, (ch - h + 1) // 2 if ch > h else 0
        padded = Image.new(im.mode, (w + left + right, h + top + bottom))
        padded.paste(im, (left, top))
        im = padded
        w, h = im.size
        if (w, h) == (cw, ch):
            return im
    top, left = int(round((h - ch) / 2.0)), int(round((w - cw) / 2.0))
    return im.crop((left, top, left + cw, top + ch))


def resizes():
    """exact resizes: from, to, seed, crc of RGB, crc of Pillow's L first and then resized"""
    pairs = [(1, 1, 1, 1), (1, 1, 5, 3), (1, 9, 4, 4), (9, 1, 4, 4), (2, 3, 3, 2), (7, 5, 7, 5), (7, 5, 7, 3), (7, 5, 3, 5), (7, 5, 8, 6), (31, 17, 16, 9), (32, 32, 224, 224), (33, 47, 32, 32), (64, 64, 32, 32), (96, 96, 64, 64),
             (100, 3, 7, 50), (255, 1, 1, 255), (300, 200, 1, 1), (160, 120, 96, 96), (320, 240, 32, 32), (227, 227, 224, 224), (113, 241, 199, 77), (640, 480, 224, 224), (1000, 2, 3, 3), (2, 1000, 3, 3), (1, 700, 13, 13), (65, 64, 64, 65),
             (20, 40, 10, 20), (20, 40, 10, 19), (20, 41, 10, 20), (9, 40, 30, 10), (30, 900, 20, 20), (240, 960, 224, 224)]
    r = random.Random(7)
    pairs += [tuple(r.randint(1, 90) for _ in range(4)) for _ in range(60)]
    for k, (w, h, ow, oh) in enumerate(pairs):
        im = picture(w, h, k + 1)
        grey = im.convert("L").resize((ow, oh), Image.Resampling.BILINEAR)
        yield f"{w} {h} {ow} {oh} {k + 1} {zlib.crc32(im.resize((ow, oh), Image.Resampling.BILINEAR).tobytes()):08x} {zlib.crc32(grey.tobytes()):08x}"


def crops():
    """shorter side (0: none) and crop: width, height, seed, resize, crop height, crop width, crc"""
    cases = [(500, 375, 256, 224, 224), (333, 500, 256, 224, 224), (256, 256, 256, 224, 224), (1024, 683, 256, 224, 224), (100, 80, 256, 224, 224), (227, 227, 256, 224, 224), (1600, 201, 256, 224, 224), (227, 227, 0, 224, 224), (225, 226, 0, 224, 224),
             (229, 231, 0, 224, 224), (33, 34, 0, 32, 28), (20, 50, 0, 32, 32), (50, 21, 0, 32, 32), (5, 6, 0, 10, 10), (7, 300, 36, 32, 40), (37, 53, 40, 32, 32), (9, 9, 20, 25, 24), (40, 40, 40, 41, 39), (3, 2, 7, 7, 9), (120, 500, 100, 96, 96), (300, 900, 256, 224, 224)]
    for k, (w, h, n, ch, cw) in enumerate(cases):
        im = picture(w, h, k + 1)
        yield f"{w} {h} {k + 1} {n} {ch} {cw} {zlib.crc32(cropped(resized(im, n) if n else im, ch, cw).tobytes()):08x}"


def small():
    """raw results, hexadecimal: what a reader can look at"""
    for w, h, ow, oh, seed in [(4, 4, 2, 2, 3), (2, 2, 4, 4, 5), (5, 3, 3, 5, 7), (3, 1, 7, 2, 2)]:
        yield f"{w} {h} {ow} {oh} {seed} {picture(w, h, seed).resize((ow, oh), Image.Resampling.BILINEAR).tobytes().hex()}"


def write(name, lines):
    with open(os.path.join(HERE, name), "w") as f:
        f.writelines(line + "\n" for line in lines)


if __name__ == "__main__":
    write("resize.txt", resizes())
    write("crop.txt", crops())
    write("small.txt", small())
