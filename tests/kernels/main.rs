//! Every kernel set of this CPU returns the bits of the scalar one, and the scalar one those of a naive loop.

#![expect(clippy::cast_possible_truncation, clippy::cast_possible_wrap, clippy::cast_sign_loss, reason = "numbers that are known to fit, or that are to wrap")]

mod elementwise;
#[cfg(unix)]
mod fence;
mod narrow;
#[path = "../support/rounds.rs"]
mod rounds;
mod textbook;

use rounds::rounds;
use skipstone::kernels::{BlockSecond, ConvBlock, Kernels, Set, Source, cycles_loop};
use skipstone::pack::{LANES, Narrow, Taps, panels, params};
use skipstone::quant::DataType;

const KINDS: [DataType; 4] = [DataType::U8, DataType::S8, DataType::S16, DataType::I32];
/// Types of what is added.
const ADDED: [DataType; 3] = [DataType::U8, DataType::S8, DataType::S16];
const GUARD: usize = 96;

/// Numbers that look random, by xorshift.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 >> 11
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    fn between(&mut self, from: usize, to: usize) -> usize {
        from + self.below(to - from + 1)
    }

    fn flag(&mut self) -> bool {
        self.below(2) == 1
    }

    fn word(&mut self) -> i32 {
        self.next() as u32 as i32
    }

    /// A byte that is often an extreme.
    fn byte(&mut self) -> u8 {
        match self.below(8) {
            0 => 0,
            1 => 255,
            2 => 128,
            _ => self.next() as u8,
        }
    }

    /// Bytes of weights: never -128.
    fn weights(&mut self, n: usize) -> Vec<u8> {
        self.bytes(n).into_iter().map(|w| if w == 0x80 { 0x81 } else { w }).collect()
    }

    fn bytes(&mut self, n: usize) -> Vec<u8> {
        (0..n).map(|_| self.byte()).collect()
    }
}

/// The sets to compare with the scalar one; says which are skipped.
fn sets() -> Vec<(String, Kernels)> {
    #[cfg_attr(not(target_arch = "x86_64"), expect(unused_mut, reason = "the twin comes on x86 only"))]
    let mut found: Vec<(String, Kernels)> = Kernels::all().filter(|k| k.set() != Set::Scalar).map(|k| (k.set().to_string(), k)).collect();
    for set in Set::built().filter(|&s| Kernels::for_set(s).is_none()) {
        eprintln!("skipped: this CPU has no {set}");
    }
    #[cfg(target_arch = "x86_64")]
    match Kernels::avxvnni_twin() {
        Some(twin) => found.push(("avxvnni's twin".into(), twin)),
        None => eprintln!("skipped: this CPU has no AVX512-VNNI to run avxvnni's twin"),
    }
    found
}

fn lines(bytes: &[u8]) -> Vec<[u8; 64]> {
    bytes.as_chunks().0.to_vec()
}

/// Bytes at an odd address, as those of a file may lie.
struct Odd {
    memory: Vec<u8>,
    from: usize,
}

impl Odd {
    fn new(bytes: &[u8]) -> Self {
        let mut memory = vec![0; bytes.len() + 1];
        let from = usize::from(memory.as_ptr().addr().is_multiple_of(2));
        memory[from..][..bytes.len()].copy_from_slice(bytes);
        Self { memory, from }
    }

    fn bytes(&self) -> &[u8] {
        &self.memory[self.from..]
    }

    fn lines(&self) -> &[[u8; 64]] {
        self.bytes().as_chunks().0
    }
}

/// A source with its memory and its packed weights.
#[derive(Clone)]
struct Operand {
    bytes: Vec<u8>,
    taps: Taps,
    out_row: usize,
    out_pixel: usize,
    tap_row: usize,
    tap_col: usize,
    signed: bool,
    weights: Vec<[u8; 64]>,
}

impl Operand {
    fn new(noise: &mut Noise, taps: Taps, [rows, pixels, channels]: [usize; 3], signed: bool) -> Self {
        let mut operand = Self {
            bytes: Vec::new(),
            taps,
            out_row: noise.below(200),
            out_pixel: noise.below(80),
            tap_row: noise.below(100),
            tap_col: noise.below(50),
            signed,
            weights: lines(&noise.weights(panels(channels) * taps.total() * 64)),
        };
        let reach = operand.source(&[]).reach(&taps, rows, pixels);
        operand.bytes = noise.bytes(reach);
        operand
    }

    /// What a set of that flip reads.
    fn turned(&self, flip: u8) -> Vec<u8> {
        self.bytes.iter().map(|b| b ^ flip).collect()
    }

    fn source<'a>(&self, bytes: &'a [u8]) -> Source<'a> {
        Source { bytes, out_row: self.out_row, out_pixel: self.out_pixel, tap_row: self.tap_row, tap_col: self.tap_col, signed: self.signed }
    }

    /// Halves weights until the sums of pairs fit.
    fn make_pair_safe(&mut self) {
        for pair in self.weights.as_flattened_mut().as_chunks_mut::<2>().0 {
            let mut w = pair.map(|w| i32::from(w.cast_signed()));
            while w.iter().map(|w| w.max(&0)).sum::<i32>() > 128 || w.iter().map(|w| w.min(&0)).sum::<i32>() < -128 {
                w = w.map(|w| w / 2);
            }
            *pair = w.map(|w| w as u8);
        }
    }

    /// The sums of the weights of each lane.
    fn sums(&self, panel: usize, narrow: Option<Narrow>) -> [i32; LANES] {
        let total = self.taps.total();
        let lines = &self.weights[panel * total..][..total];
        let weight = |byte: usize| i32::from(lines[byte / 64][byte % 64].cast_signed());
        let Some(narrow) = narrow else { return core::array::from_fn(|lane| (0..total * 4).map(|i| weight(i / 4 * 64 + lane * 4 + i % 4)).sum()) };
        let (mut sums, taps) = ([0; LANES], total / narrow.lines());
        for (o, &lane) in narrow.lanes().iter().enumerate() {
            let at = |i: usize| i / narrow.channels() * narrow.lines() * 64 + narrow.position(o, i % narrow.channels());
            sums[usize::from(lane)] = (0..taps * narrow.channels()).map(|i| weight(at(i))).sum();
        }
        sums
    }
}

#[derive(Clone)]
enum Second {
    None,
    Skip { bytes: Vec<u8>, out_row: usize, out_pixel: usize, first: isize, channels: usize, kind: DataType },
    Projection(Operand),
}

#[derive(Clone)]
struct Case {
    main: Operand,
    narrow: Option<Narrow>,
    params: Vec<[u8; 64]>,
    second: Second,
    pair_safe: bool,
    rows: usize,
    pixels: usize,
    out_row: usize,
    out_pixel: usize,
    channels: usize,
    kind: DataType,
}

impl Case {
    fn new(noise: &mut Noise, taps: Taps, size: [usize; 3]) -> Self {
        let second = match noise.below(3) {
            0 => Second::None,
            1 => {
                let (first, channels) = (noise.below(40).cast_signed() - 20, noise.between(1, size[2] + 20));
                Self::skip(noise, size, first, channels)
            }
            _ => {
                let taps = Taps { rows: noise.between(1, 2), cols: noise.between(1, 2), groups: noise.between(1, 6) };
                let signed = noise.flag();
                Second::Projection(Operand::new(noise, taps, size, signed))
            }
        };
        let kind = KINDS[noise.below(4)];
        let signed = noise.flag();
        let mut case = Self {
            main: Operand::new(noise, taps, size, signed),
            narrow: None,
            params: Vec::new(),
            second,
            pair_safe: noise.flag(),
            rows: size[0],
            pixels: size[1],
            out_row: 0,
            out_pixel: (size[2] + noise.below(3) * 4) * kind.bytes(),
            channels: size[2],
            kind,
        };
        case.out_row = size[1] * case.out_pixel + noise.below(2) * 8;
        if case.pair_safe {
            case.main.make_pair_safe();
            if let Second::Projection(operand) = &mut case.second {
                operand.make_pair_safe();
            }
        }
        let wild = noise.below(4) == 0;
        case.make_params(noise, wild);
        case
    }

    fn skip(noise: &mut Noise, [rows, pixels, _]: [usize; 3], first: isize, channels: usize) -> Second {
        let (out_row, out_pixel) = (noise.below(200), noise.below(100));
        let kind = ADDED[noise.below(3)];
        let bytes = noise.bytes((rows - 1) * out_row + (pixels - 1) * out_pixel + channels * kind.bytes());
        Second::Skip { bytes, out_row, out_pixel, first, channels, kind }
    }

    /// The sums of the weights, and the rest as a converter would choose it, or `wild`: of any size.
    fn make_params(&mut self, noise: &mut Noise, wild: bool) {
        let rows = params::rows(matches!(self.second, Second::Skip { .. }), matches!(self.second, Second::Projection(_)));
        let mut words = Vec::new();
        for panel in 0..panels(self.channels) {
            for row in 0..rows {
                let sums = match (row, &self.second) {
                    (params::SUM, _) => Some(self.main.sums(panel, self.narrow)),
                    (params::SUM2, Second::Projection(operand)) => Some(operand.sums(panel, None)),
                    _ => None,
                };
                for lane in 0..LANES {
                    let word = match (row, sums) {
                        (_, Some(sums)) => sums[lane],
                        _ if wild => noise.word(),
                        (params::MULTIPLIER, _) => noise.word() & 0x3FFF_FFFF >> noise.below(12),
                        (params::K1 | params::K2, _) => noise.between(0, 32767) as i32 >> noise.below(15),
                        _ => noise.word() >> noise.between(8, 24),
                    };
                    words.push(word.to_le_bytes());
                }
            }
        }
        self.params = lines(words.as_flattened());
    }

    /// Bytes of the output.
    fn length(&self) -> usize {
        (self.rows - 1) * self.out_row + (self.pixels - 1) * self.out_pixel + self.channels * self.kind.bytes()
    }

    /// The bytes of both operands as a set of these kernels stores them.
    fn stored(&self, kernels: Kernels) -> [Vec<u8>; 2] {
        let mut second = match &self.second {
            Second::None => Vec::new(),
            Second::Skip { bytes, .. } => bytes.clone(),
            Second::Projection(operand) => operand.turned(kernels.flip()),
        };
        if let Second::Skip { kind, .. } = self.second {
            kernels.flip_tensor(kind, &mut second);
        }
        [self.main.turned(kernels.flip()), second]
    }

    /// The output between its guards.
    fn run(&self, kernels: Kernels) -> Vec<u8> {
        let length = self.length();
        let mut out: Vec<u8> = (0..length + 2 * GUARD).map(|i| (i * 7 % 251) as u8).collect();
        kernels.flip_tensor(self.kind, &mut out);
        let operands = self.stored(kernels).map(|bytes| Odd::new(&bytes));
        let weights =
            [&self.main, if let Second::Projection(operand) = &self.second { operand } else { &self.main }].map(|o| Odd::new(o.weights.as_flattened()));
        let params = Odd::new(self.params.as_flattened());
        self.run_in(kernels, operands.each_ref().map(Odd::bytes), weights.each_ref().map(Odd::lines), params.lines(), &mut out[GUARD..GUARD + length]);
        kernels.flip_tensor(self.kind, &mut out);
        out
    }

    /// Runs on these operands, these weights of both and these parameters.
    fn run_in(&self, kernels: Kernels, [bytes, other]: [&[u8]; 2], weights: [&[[u8; 64]]; 2], params: &[[u8; 64]], out: &mut [u8]) {
        let second = match &self.second {
            Second::None => BlockSecond::None,
            &Second::Skip { out_row, out_pixel, first, channels, kind, .. } => BlockSecond::Skip { bytes: other, out_row, out_pixel, first, channels, kind },
            Second::Projection(operand) => BlockSecond::Projection { source: operand.source(other), taps: operand.taps, weights: weights[1] },
        };
        kernels.conv(&mut ConvBlock {
            source: self.main.source(bytes),
            taps: self.main.taps,
            narrow: self.narrow,
            weights: weights[0],
            params,
            second,
            pair_safe: self.pair_safe,
            rows: self.rows,
            pixels: self.pixels,
            out,
            out_row: self.out_row,
            out_pixel: self.out_pixel,
            channels: self.channels,
            kind: self.kind,
        });
    }

    fn describe(&self) -> String {
        let second = match &self.second {
            Second::None => "none".into(),
            Second::Skip { first, channels, kind, .. } => format!("skip first {first} channels {channels} {kind:?}"),
            Second::Projection(operand) => format!("projection {:?} signed {}", operand.taps, operand.signed),
        };
        let Self { main, narrow, rows, pixels, channels, kind, pair_safe, .. } = self;
        format!(
            "{rows} rows of {pixels} pixels, {channels} channels of {kind:?}, {:?}, narrow {narrow:?}, signed {}, pair_safe {pair_safe}, second {second}",
            main.taps, main.signed
        )
    }

    #[track_caller]
    fn check(&self, sets: &[(String, Kernels)]) {
        let expected = self.run(Kernels::scalar());
        for (name, kernels) in sets {
            let found = self.run(*kernels);
            if let Some(at) = expected.iter().zip(&found).position(|(a, b)| a != b) {
                panic!(
                    "{name} differs at byte {} of the output ({} for {}): {}",
                    at.cast_signed() - GUARD.cast_signed(),
                    found[at],
                    expected[at],
                    self.describe()
                );
            }
        }
    }
}

#[test]
fn all_widths_and_channels() {
    let (sets, mut noise) = (sets(), Noise(1));
    for pixels in 1..=40 {
        for channels in (4..=80).step_by(4) {
            let taps = Taps { rows: noise.between(1, 3), cols: noise.between(1, 3), groups: noise.between(1, 5) };
            let rows = noise.between(1, 3);
            Case::new(&mut noise, taps, [rows, pixels, channels]).check(&sets);
        }
    }
}

#[test]
fn all_depths() {
    let (sets, mut noise) = (sets(), Noise(2));
    for groups in 1..=5 {
        for rows in 1..=7 {
            for cols in 1..=7 {
                let size = [noise.between(1, 3), noise.between(1, 20), noise.between(1, 20) * 4];
                Case::new(&mut noise, Taps { rows, cols, groups }, size).check(&sets);
            }
        }
    }
}

#[test]
fn all_edges_of_a_skip() {
    let (sets, mut noise) = (sets(), Noise(3));
    for first in -36..=36 {
        for channels in 1..=36 {
            let size = [noise.between(1, 2), noise.between(1, 14), noise.between(1, 9) * 4];
            let mut case = Case::new(&mut noise, Taps { rows: 1, cols: 1, groups: 2 }, size);
            case.second = Case::skip(&mut noise, size, first, channels);
            case.make_params(&mut noise, false);
            case.check(&sets);
        }
    }
}

/// Bytes, weights and multipliers at the ends of their ranges, in every combination, deep enough that sums wrap.
#[test]
fn extremes() {
    let (sets, mut noise) = (sets(), Noise(4));
    for kind in KINDS {
        for x in [0, 255] {
            for w in [-127i8, -1, 1, 127] {
                for m in [0, 1, (1 << 30) - 1, 1 << 30, i32::MAX, -1, -(1 << 30), -(1 << 30) - 1, i32::MIN] {
                    let mut case = Case::new(&mut noise, Taps { rows: 3, cols: 1, groups: 30 }, [1, 7, 36]);
                    case.second = Second::None;
                    case.kind = kind;
                    (case.out_pixel, case.out_row) = (36 * kind.bytes(), 0);
                    case.main.bytes.fill(x);
                    case.main.weights.as_flattened_mut().fill(w.cast_unsigned());
                    case.pair_safe = w.unsigned_abs() == 1;
                    case.make_params(&mut noise, false);
                    for (panel, rows) in case.params.chunks_exact_mut(3).enumerate() {
                        for lane in 0..LANES {
                            rows[params::MULTIPLIER][lane * 4..][..4].copy_from_slice(&m.to_le_bytes());
                            let bias = [i32::MIN, i32::MAX, 0, 1 << 30][(lane + panel) % 4];
                            rows[params::BIAS][lane * 4..][..4].copy_from_slice(&bias.to_le_bytes());
                        }
                    }
                    case.check(&sets);
                }
            }
        }
    }
}

/// Skips and their factors at the ends of their ranges, of which every set takes its fast path, for all lanes and for a part of them.
#[test]
fn extremes_of_a_skip() {
    let (sets, mut noise) = (sets(), Noise(16));
    for (kind, added) in KINDS.into_iter().flat_map(|kind| ADDED.map(|added| (kind, added))) {
        for element in [[0, 128], [255, 127], [255, 255], [0, 0]] {
            for (first, pixels) in [(0, 13), (-4, 6), (-17, 3), (5, 1)] {
                let size = [2, pixels, 68];
                let mut case = Case::new(&mut noise, Taps { rows: 1, cols: 1, groups: 3 }, size);
                let bytes = element.repeat(64 * 2 * pixels * added.bytes() / 2);
                let step = 64 * added.bytes();
                case.second = Second::Skip { bytes, out_row: pixels * step, out_pixel: step, first, channels: 64, kind: added };
                (case.kind, case.out_pixel, case.out_row) = (kind, 68 * kind.bytes(), 68 * kind.bytes() * pixels);
                case.make_params(&mut noise, false);
                for panel in case.params.chunks_exact_mut(params::rows(true, false)) {
                    for lane in 0..LANES {
                        let (k, m) = ([32767, -32768, 1, 0, -1][noise.below(5)], [(1 << 30) - 1, 1 << 15][noise.below(2)]);
                        panel[params::K2][lane * 4..][..4].copy_from_slice(&i32::to_le_bytes(k));
                        panel[params::MULTIPLIER][lane * 4..][..4].copy_from_slice(&i32::to_le_bytes(m));
                    }
                }
                case.check(&sets);
            }
        }
    }
}

/// Weights for which the 16-bit pair sums of `vpmaddubsw` would saturate.
#[test]
fn pairs_that_are_not_safe() {
    let (sets, mut noise) = (sets(), Noise(5));
    for pixels in 1..=8 {
        let mut case = Case::new(&mut noise, Taps { rows: 1, cols: 1, groups: 9 }, [2, pixels, 20]);
        case.pair_safe = false;
        case.kind = DataType::I32;
        (case.out_pixel, case.out_row) = (80, 80 * pixels);
        case.main.bytes.fill(255);
        case.main.weights.as_flattened_mut().iter_mut().for_each(|w| *w = [127, 129][noise.below(2)]);
        case.make_params(&mut noise, false);
        case.check(&sets);
    }
}

#[test]
fn random_blocks() {
    let (sets, mut noise) = (sets(), Noise(6));
    for _ in 0..rounds(6000, 600) {
        let taps = Taps { rows: noise.between(1, 4), cols: noise.between(1, 3), groups: noise.between(1, 12) };
        let size = [noise.between(1, 5), noise.between(1, 60), noise.between(1, 40) * 4];
        Case::new(&mut noise, taps, size).check(&sets);
    }
}

/// Blocks that are cut into pieces: wide rows, many rows, and more weights than are read again and again.
#[test]
fn large_blocks() {
    let (sets, mut noise) = (sets(), Noise(7));
    for (taps, size) in [([1, 1, 16], [1, 900, 64]), ([3, 1, 12], [20, 33, 48]), ([3, 1, 96], [5, 14, 320]), ([1, 1, 128], [1, 49, 600])] {
        for _ in 0..3 {
            let [rows, cols, groups] = taps;
            let mut case = Case::new(&mut noise, Taps { rows, cols, groups }, size);
            case.main.out_pixel = groups * 4 / 3;
            let reach = case.main.source(&[]).reach(&case.main.taps, size[0], size[1]);
            case.main.bytes = noise.bytes(reach);
            case.check(&sets);
        }
    }
}

#[test]
fn loops_count_what_they_do() {
    for kernels in Kernels::all() {
        assert!(kernels.peak_loop(1000) >= 64_000, "{}", kernels.set());
        assert_eq!(kernels.peak_loop(1000) * 2, kernels.peak_loop(2000));
    }
    assert_eq!(cycles_loop(1000), 256_000);
}

/// Distances that wrap around are refused by every set, before anything is read or written.
#[test]
fn distances_that_wrap_are_refused() {
    let mut noise = Noise(8);
    for kernels in Kernels::all() {
        let mut case = Case::new(&mut noise, Taps { rows: 1, cols: 1, groups: 1 }, [2, 1, 16]);
        (case.second, case.kind, case.out_pixel) = (Second::None, DataType::U8, 16);
        case.make_params(&mut noise, false);
        for out_row in [usize::MAX - 15, usize::MAX / 2 + 1] {
            let mut out = vec![0; 4096];
            let bytes = case.main.turned(kernels.flip());
            let mut block = ConvBlock {
                source: case.main.source(&bytes),
                taps: case.main.taps,
                narrow: None,
                weights: &case.main.weights,
                params: &case.params,
                second: BlockSecond::None,
                pair_safe: false,
                rows: 2,
                pixels: 1,
                out: &mut out[2048..],
                out_row,
                out_pixel: 16,
                channels: 16,
                kind: DataType::U8,
            };
            let refused = std::panic::catch_unwind(core::panic::AssertUnwindSafe(|| kernels.conv(&mut block)));
            assert!(refused.is_err(), "{} with {out_row} bytes a row", kernels.set());
        }
    }
}
