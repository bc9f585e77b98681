"""Makes the vectors of tests/picture.rs and tests/datasets.rs with Pillow: `python tests/pictures/make.py`."""

import io, os, random, struct, zlib
from PIL import Image, ImageOps

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


def smooth(w, h):
    """soft colours with an edge, so that JPEGs of it are ordinary"""
    im = Image.frombytes("RGB", (5, 4), noise(60, 99)).resize((w, h), Image.Resampling.BICUBIC)
    im.paste((250, 240, 30), (w // 2, h // 3, w // 2 + 5, h // 3 + 6))
    return im


def png(name, w, h, depth, kind, rows):
    """a PNG of a kind that Pillow does not write"""
    chunk = lambda t, b: struct.pack(">I", len(b)) + t + b + struct.pack(">I", zlib.crc32(t + b))
    data = zlib.compress(b"".join(b"\0" + row for row in rows), 9)
    save(name, b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", w, h, depth, kind, 0, 0, 0)) + chunk(b"IDAT", data) + chunk(b"IEND", b""))


def save(name, data):
    with open(os.path.join(HERE, "decode", name), "wb") as f:
        f.write(data)


def encoded(im, kind, **how):
    b = io.BytesIO()
    im.save(b, kind, **how)
    return b.getvalue()


def segment(data, marker):
    """where a segment of a JPEG's header begins and ends"""
    at = 2
    while data[at + 1] != marker:
        at += 2 + struct.unpack_from(">H", data, at + 2)[0]
    return at, at + 2 + struct.unpack_from(">H", data, at + 2)[0]


def files():
    w, h = 21, 18
    rgb = smooth(w, h)
    alpha = Image.frombytes("L", (w, h), noise(w * h, 5))
    for name, im in {"rgb": rgb, "grey": rgb.convert("L"), "bilevel": rgb.convert("1"), "rgba": Image.merge("RGBA", (*rgb.split(), alpha)), "grey-alpha": Image.merge("LA", (rgb.convert("L"), alpha)), "palette": rgb.quantize(100), "palette4": rgb.quantize(13)}.items():
        save(name + ".png", encoded(im, "PNG"))
    save("palette-alpha.png", encoded(rgb.quantize(50), "PNG", transparency=bytes(range(50))))
    save("grey-key.png", encoded(rgb.convert("L"), "PNG", transparency=200))
    deep = noise(w * h * 6, 17)
    png("rgb16.png", w, h, 16, 2, [deep[y * w * 6 : (y + 1) * w * 6] for y in range(h)])
    png("grey16.png", w, h, 16, 0, [deep[y * w * 2 : (y + 1) * w * 2] for y in range(h)])
    png("grey-alpha16.png", w, h, 16, 4, [deep[y * w * 4 : (y + 1) * w * 4] for y in range(h)])
    png("grey2.png", w, h, 2, 0, [deep[y * 6 : (y + 1) * 6] for y in range(h)])

    save("grey.jpg", encoded(rgb.convert("L"), "JPEG", quality=85))
    save("rgb444.jpg", encoded(rgb, "JPEG", quality=92, subsampling=0))
    save("rgb422.jpg", encoded(rgb, "JPEG", quality=85, subsampling=1))
    save("rgb420.jpg", encoded(rgb, "JPEG", quality=85, subsampling=2))
    save("restarts.jpg", encoded(rgb, "JPEG", quality=85, restart_marker_blocks=1))
    save("progressive.jpg", encoded(rgb, "JPEG", quality=85, progressive=True))
    save("plain-rgb.jpg", encoded(rgb, "JPEG", quality=92, keep_rgb=True))
    ink = Image.merge("CMYK", (*[Image.eval(band, lambda v: 255 - v) for band in rgb.split()], alpha.resize((3, 3)).resize((w, h), Image.Resampling.BICUBIC)))
    cmyk = encoded(ink, "JPEG", quality=90)
    save("cmyk.jpg", cmyk)
    start, end = segment(cmyk, 0xEE)
    save("cmyk-no-adobe.jpg", cmyk[:start] + cmyk[end:])
    save("ycck.jpg", cmyk[: end - 1] + b"\2" + cmyk[end:])
    for k in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = k
        save(f"exif{k}.jpg", encoded(smooth(9, 7), "JPEG", quality=85, exif=exif))
    exif = Image.Exif()
    exif[0x0112] = 6
    save("exif6.png", encoded(smooth(9, 7), "PNG", exif=exif))


def decoded():
    """name, width, height, the RGB bytes that Pillow reads, with and for exif*: turned"""
    for name in sorted(os.listdir(os.path.join(HERE, "decode"))):
        im = Image.open(os.path.join(HERE, "decode", name))
        if name == "grey16.png":  # Pillow clips these to white; ours is the high byte
            im = Image.frombytes("L", im.size, bytes(v >> 8 for v in struct.unpack(f"<{im.width * im.height}H", im.tobytes())))
        rgb = im.convert("RGB")
        yield f"{name} plain {rgb.width} {rgb.height} {rgb.tobytes().hex()}"
        if name.startswith("exif"):
            turned = ImageOps.exif_transpose(im).convert("RGB")
            yield f"{name} turned {turned.width} {turned.height} {turned.tobytes().hex()}"


def write(name, lines):
    with open(os.path.join(HERE, name), "w") as f:
        f.writelines(line + "\n" for line in lines)


if __name__ == "__main__":
    write("resize.txt", resizes())
    write("crop.txt", crops())
    write("small.txt", small())
    os.makedirs(os.path.join(HERE, "decode"), exist_ok=True)
    files()
    write("decode.txt", decoded())
