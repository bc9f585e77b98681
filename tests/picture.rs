//! Resizing and cropping against Pillow's results (tests/pictures, made by make.py there), and the rest against formulas written down again.

use std::fs;

use skipstone::crc::crc32;
use skipstone::picture::{Format, Geometry, Picture, PictureError, Resize, fill, scratch_bytes};

const NONE: Geometry = Geometry { resize: Resize::None, crop: None, bgr: false };

/// xorshift32; the high byte of each state is a byte of a picture.
struct Random(u32);

impl Random {
    fn next(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        self.0
    }

    fn bytes(&mut self, n: usize) -> Vec<u8> {
        (0..n).map(|_| self.next().to_le_bytes()[3]).collect()
    }

    fn range(&mut self, from: u32, to: u32) -> u32 {
        from + self.next() % (to - from + 1)
    }
}

/// The pictures of make.py: noise for odd seeds, ramps for even ones.
fn picture(w: u32, h: u32, seed: u32) -> Vec<u8> {
    if seed % 2 == 1 {
        return Random(seed).bytes((w * h * 3) as usize);
    }
    let at = |y: u32, x: u32, k: u32| (x * 3 + y * 5 + k * 70).to_le_bytes()[0];
    (0..h).flat_map(|y| (0..w).flat_map(move |x| (0..3).map(move |k| at(y, x, k)))).collect()
}

fn made(bytes: &[u8], [width, height]: [u32; 2], format: Format, geometry: &Geometry, network: [u32; 3]) -> Vec<u8> {
    let size = scratch_bytes(width, height, geometry, network).unwrap();
    let (mut input, mut scratch) = (vec![0xAA; network.iter().product::<u32>() as usize], vec![0x55; size]);
    fill(&mut input, &Picture { bytes, width, height, format }, geometry, network, &mut scratch).unwrap();
    input
}

fn vectors(name: &str) -> Vec<Vec<String>> {
    let text = fs::read_to_string(format!("tests/pictures/{name}")).unwrap();
    text.lines().map(|line| line.split(' ').map(str::to_owned).collect()).collect()
}

fn numbers<const N: usize>(words: &[String]) -> [u32; N] {
    core::array::from_fn(|k| words[k].parse().unwrap())
}

#[test]
fn resizing_equals_pillow() {
    for line in vectors("resize.txt") {
        let [w, h, ow, oh, seed] = numbers(&line);
        let source = picture(w, h, seed);
        let colour = made(&source, [w, h], Format::Rgb24, &Geometry::default(), [oh, ow, 3]);
        let grey = made(&source, [w, h], Format::Rgb24, &Geometry::default(), [oh, ow, 1]);
        assert_eq!([format!("{:08x}", crc32(&colour)), format!("{:08x}", crc32(&grey))], line[5..], "{w}x{h} to {ow}x{oh}");
    }
}

#[test]
fn small_results_equal_pillow() {
    for line in vectors("small.txt") {
        let [w, h, ow, oh, seed] = numbers(&line);
        let got = made(&picture(w, h, seed), [w, h], Format::Rgb24, &Geometry::default(), [oh, ow, 3]);
        assert_eq!(got.iter().map(|b| format!("{b:02x}")).collect::<String>(), line[5], "{w}x{h} to {ow}x{oh}");
    }
}

#[test]
fn shorter_side_and_crop_equal_torchvision() {
    for line in vectors("crop.txt") {
        let [w, h, seed, n, ch, cw] = numbers(&line);
        let resize = if n == 0 { Resize::None } else { Resize::Shorter(n) };
        let geometry = Geometry { resize, crop: Some([ch, cw]), bgr: false };
        let got = made(&picture(w, h, seed), [w, h], Format::Rgb24, &geometry, [ch, cw, 3]);
        assert_eq!(format!("{:08x}", crc32(&got)), line[6], "{w}x{h} to {n}, crop {cw}x{ch}");
    }
}
/// The ramps of Pillow's own making, at the sizes of photographs.
#[test]
fn imagenet_geometry() {
    for (w, h, known) in [(333, 500, 0x2539_a296), (1024, 683, 0x1c93_92be), (227, 227, 0x2464_13d4)] {
        let got = made(&picture(w, h, 2), [w, h], Format::Rgb24, &Geometry::IMAGENET, [224, 224, 3]);
        assert_eq!(crc32(&got), known, "{w}x{h}");
    }
}

/// The filter in fractions, slowly: what resample.rs computes in pieces.
fn slow(source: &[u8], [w, h]: [usize; 2], [ow, oh]: [usize; 2]) -> Vec<u8> {
    let pass = |source: &[u8], count: usize, from: usize, to: usize, step: usize, other: usize| -> Vec<u8> {
        let mut out = vec![0; count * to];
        for line in 0..count {
            for i in 0..to {
                let weight = |x: usize| (2 * from.max(to)).saturating_sub(((2 * x + 1) * to).abs_diff((2 * i + 1) * from)) as u64;
                let sum: u64 = (0..from).map(weight).sum();
                let value: u64 = (0..from).map(|x| ((weight(x) << 23) + sum) / (2 * sum) * u64::from(source[line * other + x * step])).sum();
                out[line * if step == 1 { to } else { 1 } + i * step] = u8::try_from((value + (1 << 21)) >> 22).unwrap();
            }
        }
        out
    };
    let horizontal = |s: &[u8], rows: usize| pass(s, rows, w, ow, 1, w);
    let vertical = |s: &[u8], columns: usize| pass(s, columns, h, oh, columns, 1);
    if h > oh && h + 2 * ow > oh + 2 * w { horizontal(&vertical(source, w), oh) } else { vertical(&horizontal(source, h), ow) }
}

#[test]
fn resizing_equals_the_filter_written_slowly() {
    let mut random = Random(77);
    for _ in 0..2000 {
        let [w, h, ow, oh] = core::array::from_fn(|_| random.range(1, 24));
        let source = random.bytes((w * h) as usize);
        let got = made(&source, [w, h], Format::Gray8, &Geometry::default(), [oh, ow, 1]);
        assert_eq!(got, slow(&source, [w as usize, h as usize], [ow as usize, oh as usize]), "{w}x{h} to {ow}x{oh}");
    }
}

#[test]
fn a_flat_picture_stays_flat() {
    let mut random = Random(5);
    for _ in 0..300 {
        let [w, h, ow, oh] = core::array::from_fn(|_| random.range(1, 200));
        for value in [0, 1, 127, 254, 255] {
            let got = made(&vec![value; (w * h) as usize], [w, h], Format::Gray8, &Geometry::default(), [oh, ow, 3]);
            assert!(got.iter().all(|&b| b == value), "{w}x{h} to {ow}x{oh}");
        }
    }
}

#[test]
fn cropping_alone_copies_bytes() {
    let source = picture(9, 7, 3);
    let crop = |h, w| made(&source, [9, 7], Format::Rgb24, &Geometry { crop: Some([h, w]), ..NONE }, [h, w, 3]);
    let pixel = |y: usize, x: usize| &source[(y * 9 + x) * 3..][..3];
    let got = crop(4, 4);
    for (k, p) in got.chunks_exact(3).enumerate() {
        assert_eq!(p, pixel(2 + k / 4, 2 + k % 4), "offsets 1.5 and 2.5 are both 2");
    }
    let got = crop(10, 5);
    for (k, p) in got.chunks_exact(3).enumerate() {
        let (y, x) = (k / 5, k % 5 + 2);
        assert_eq!(p, if (1..8).contains(&y) { pixel(y - 1, x) } else { &[0; 3] }, "one row of padding above, two below");
    }
}

#[test]
fn channels_convert_as_documented() {
    let source = picture(5, 3, 9);
    let grey = made(&source, [5, 3], Format::Rgb24, &NONE, [3, 5, 1]);
    for (p, &l) in source.chunks_exact(3).zip(&grey) {
        let sum = u32::from(p[0]) * 19595 + u32::from(p[1]) * 38470 + u32::from(p[2]) * 7471 + 0x8000;
        assert_eq!(u32::from(l), sum >> 16);
    }
    let colour = made(&grey, [5, 3], Format::Gray8, &NONE, [3, 5, 3]);
    assert!(colour.chunks_exact(3).zip(&grey).all(|(p, &l)| p == [l; 3]));
    assert_eq!(made(&colour, [5, 3], Format::Rgb24, &NONE, [3, 5, 1]), grey, "grey in colours has its own value as luma");
    let mut swapped = made(&source, [5, 3], Format::Rgb24, &Geometry { bgr: true, ..NONE }, [3, 5, 3]);
    swapped.as_chunks_mut::<3>().0.iter_mut().for_each(|p| p.reverse());
    assert_eq!(swapped, source);
}

#[test]
fn yuv420_converts_as_documented() {
    let (w, h) = (5usize, 3usize);
    let frame = Random(21).bytes(w * h + 2 * 3 * 2);
    let got = made(&frame, [5, 3], Format::Yuv420, &NONE, [3, 5, 3]);
    for (k, p) in got.chunks_exact(3).enumerate() {
        let chroma = k / w / 2 * 3 + k % w / 2;
        let [y, u, v] = [frame[k], frame[w * h + chroma], frame[w * h + 6 + chroma]].map(f64::from);
        let exact = [
            1.164_383 * (y - 16.0) + 1.596_027 * (v - 128.0),
            1.164_383 * (y - 16.0) - 0.391_762 * (u - 128.0) - 0.812_968 * (v - 128.0),
            1.164_383 * (y - 16.0) + 2.017_232 * (u - 128.0),
        ];
        for (got, exact) in p.iter().zip(exact) {
            assert!((f64::from(*got) - exact.clamp(0.0, 255.0)).abs() < 1.5, "pixel {k}: {got} for {exact}");
        }
    }
    assert_eq!(["rgb24", "gray8", "yuv420", "nv12"].map(Format::named), [Some(Format::Rgb24), Some(Format::Gray8), Some(Format::Yuv420), None]);
    let one = |y, u, v| made(&[y, u, v], [1, 1], Format::Yuv420, &NONE, [1, 1, 3]);
    assert_eq!(
        [one(16, 128, 128), one(235, 128, 128), one(81, 90, 240), one(145, 54, 34), one(41, 240, 110)],
        [[0, 0, 0], [255, 255, 255], [255, 0, 0], [0, 255, 1], [0, 0, 255]].map(Vec::from)
    );
    assert_eq!(made(&frame, [5, 3], Format::Yuv420, &Geometry::default(), [6, 4, 3]), made(&got, [5, 3], Format::Rgb24, &Geometry::default(), [6, 4, 3]));
}

#[test]
fn mistakes_are_named_and_nothing_is_written() {
    let bytes = [1; 12];
    let good = Picture { bytes: &bytes, width: 2, height: 2, format: Format::Rgb24 };
    let attempt = |picture: &Picture<'_>, geometry: &Geometry, network, input: usize, scratch: usize| {
        let mut buffer = vec![7; input];
        let error = fill(&mut buffer, picture, geometry, network, &mut vec![0; scratch]).unwrap_err();
        assert!(buffer.iter().all(|&b| b == 7) && !error.to_string().is_empty() && !error.help().is_empty());
        error
    };
    let fit = Geometry::default();
    assert_eq!(attempt(&Picture { width: 0, ..good }, &fit, [4, 4, 3], 48, 9999), PictureError::Source { width: 0, height: 2 });
    assert_eq!(attempt(&Picture { height: 65_536, ..good }, &fit, [4, 4, 3], 48, 9999), PictureError::Source { width: 2, height: 65_536 });
    assert_eq!(attempt(&Picture { width: 3, ..good }, &fit, [4, 4, 3], 48, 9999), PictureError::Bytes { needed: 18, given: 12 });
    assert_eq!(attempt(&good, &fit, [4, 4, 2], 32, 9999), PictureError::Network { input: [4, 4, 2] });
    assert_eq!(attempt(&good, &fit, [0, 4, 3], 0, 9999), PictureError::Network { input: [0, 4, 3] });
    assert_eq!(attempt(&good, &NONE, [4, 4, 3], 48, 9999), PictureError::Result { made: [2, 2], input: [4, 4] });
    let shorter = |n| Geometry { resize: Resize::Shorter(n), ..NONE };
    assert_eq!(attempt(&good, &shorter(5), [4, 4, 3], 48, 9999), PictureError::Result { made: [5, 5], input: [4, 4] });
    assert!(matches!(attempt(&good, &shorter(0), [4, 4, 3], 48, 9999), PictureError::Result { .. }));
    assert!(matches!(attempt(&good, &shorter(u32::MAX), [4, 4, 3], 48, 9999), PictureError::Result { .. }));
    assert_eq!(attempt(&good, &fit, [4, 4, 3], 47, 9999), PictureError::Input { needed: 48, given: 47 });
    let needed = scratch_bytes(2, 2, &fit, [4, 4, 3]).unwrap();
    assert_eq!(attempt(&good, &fit, [4, 4, 3], 48, needed - 1), PictureError::Scratch { needed, given: needed - 1 });
}

/// Extreme sizes neither overflow nor panic, and use no more scratch than they asked for.
#[test]
fn extreme_sizes() {
    let long = vec![200; 65_535];
    for (size, network) in
        [([65_535, 1], [1, 1, 1]), ([1, 65_535], [3, 2, 1]), ([65_535, 1], [2, 65_535, 3]), ([1, 65_535], [65_535, 1, 1]), ([1, 65_535], [16_384, 2, 1])]
    {
        let got = made(&long, size, Format::Gray8, &Geometry::default(), network);
        assert!(got.iter().all(|&b| b == 200));
    }
    let geometry = Geometry { resize: Resize::Shorter(65_535), crop: Some([8, 8]), bgr: false };
    for size in [[65_535, 1], [1, 65_535]] {
        assert_eq!(made(&long, size, Format::Gray8, &geometry, [8, 8, 1]), [200; 64]);
    }
}
