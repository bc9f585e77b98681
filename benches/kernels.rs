//! Speed of the convolution kernels on the layers of known networks: GMAC/s and share of the peak that the same core reaches in registers. Without a network's
//! name pools and additions, too.
//!
//! `cargo bench --no-default-features --bench kernels -- [--json] [--set NAME] [--network NAME] [--passes N]`
//!
//! A pass computes all layers of a network one after the other, so that weights and tensors come from where they lie in a real run. Each figure is the
//! minimum over the passes, and the peak is measured between them.

#![expect(clippy::cast_possible_truncation, reason = "sizes of known networks")]

use skipstone::kernels::{AddRow, Average, BlockSecond, ConvBlock, Kernels, PoolRow, Set, Source, cycles_loop};
use skipstone::pack::{Depth, Narrow, Taps, pack, panels, params};
use skipstone::quant::DataType;
use skipstone::shape::{LINE, Window, round_up};
use std::time::Instant;

/// What a layer adds to its sums.
#[derive(Clone, Copy, PartialEq)]
enum Add {
    Nothing,
    Skip,
    /// A skip of 16 bits, with an output of the same.
    Wide,
    /// A 1x1 projection of that many channels with that stride.
    Projection(usize, usize),
}

#[derive(Clone, Copy, PartialEq)]
struct Layer {
    kernel: usize,
    stride: usize,
    inputs: usize,
    outputs: usize,
    /// Width and height of the output.
    size: usize,
    add: Add,
    /// Groups, if there are any.
    narrow: Option<Narrow>,
}

impl Layer {
    const fn new(kernel: usize, stride: usize, inputs: usize, outputs: usize, size: usize) -> Self {
        Self { kernel, stride, inputs, outputs, size, add: Add::Nothing, narrow: None }
    }

    fn macs(&self) -> usize {
        let second = if let Add::Projection(inputs, _) = self.add { inputs } else { 0 };
        self.size * self.size * self.outputs * (self.kernel * self.kernel * self.narrow.map_or(self.inputs, Narrow::channels) + second)
    }

    /// Type of the output, and of what is added to it.
    fn result(&self) -> DataType {
        match self.add {
            Add::Wide => DataType::S16,
            _ if self.size == 1 => DataType::I32,
            _ => DataType::U8,
        }
    }

    fn kind(&self) -> String {
        if self.size == 1 {
            return "dense".into();
        }
        let add = match self.add {
            Add::Nothing => "",
            Add::Skip => " + skip",
            Add::Wide => " + skip of S16",
            Add::Projection(..) => " + projection",
        };
        let groups = self.narrow.map_or_else(String::new, |n| format!(" groups of {}", n.channels()));
        format!("{0}x{0}/{1}{add}{groups}", self.kernel, self.stride)
    }
}

/// Residual stages of basic blocks: channels and size of each, and the channels that enter.
fn basic(stages: &[(usize, usize)], blocks: usize, mut inputs: usize, layers: &mut Vec<Layer>) {
    for &(channels, size) in stages {
        for _ in 0..blocks {
            let stride = if inputs == channels { 1 } else { 2 };
            layers.push(Layer::new(3, stride, inputs, channels, size));
            let add = if stride == 1 { Add::Skip } else { Add::Projection(inputs, 2) };
            layers.push(Layer { add, ..Layer::new(3, 1, channels, channels, size) });
            inputs = channels;
        }
    }
}

fn networks() -> Vec<(&'static str, Vec<Layer>)> {
    let mut resnet8 = vec![Layer::new(3, 1, 3, 16, 32)];
    basic(&[(16, 32), (32, 16), (64, 8)], 1, 16, &mut resnet8);
    resnet8.push(Layer::new(1, 1, 64, 10, 1));
    let mut resnet20 = vec![Layer::new(3, 1, 3, 16, 32)];
    basic(&[(16, 32), (32, 16), (64, 8)], 3, 16, &mut resnet20);
    resnet20.push(Layer::new(1, 1, 64, 10, 1));
    let mut resnet18 = vec![Layer::new(7, 2, 3, 64, 112)];
    basic(&[(64, 56), (128, 28), (256, 14), (512, 7)], 2, 64, &mut resnet18);
    resnet18.push(Layer::new(1, 1, 512, 1000, 1));
    let mut resnet50 = vec![Layer::new(7, 2, 3, 64, 112)];
    let mut inputs = 64;
    for (stage, (middle, size, blocks)) in [(64, 56, 3), (128, 28, 4), (256, 14, 6), (512, 7, 3)].into_iter().enumerate() {
        for block in 0..blocks {
            let stride = if block == 0 && stage > 0 { 2 } else { 1 };
            resnet50.push(Layer::new(1, 1, inputs, middle, size * stride));
            resnet50.push(Layer::new(3, stride, middle, middle, size));
            let add = if block == 0 { Add::Projection(inputs, stride) } else { Add::Skip };
            resnet50.push(Layer { add, ..Layer::new(1, 1, middle, middle * 4, size) });
            inputs = middle * 4;
        }
    }
    resnet50.push(Layer::new(1, 1, 2048, 1000, 1));
    // A layer, and what it is in groups.
    let mut groups = Vec::new();
    for (stride, channels, size) in [(1, 64, 56), (1, 128, 28), (1, 256, 14), (1, 512, 7), (2, 128, 28), (2, 512, 7)] {
        groups.extend([None, Some(Narrow::Eight), Some(Narrow::Four)].map(|narrow| Layer { narrow, ..Layer::new(3, stride, channels, channels, size) }));
    }
    // A layer in a residual stream of 8 and of 16 bits.
    let mut streams = Vec::new();
    for (kernel, inputs, outputs, size) in [(3, 64, 64, 56), (3, 64, 64, 8), (3, 16, 16, 32), (3, 256, 256, 14), (1, 64, 256, 56)] {
        streams.extend([Add::Skip, Add::Wide].map(|add| Layer { add, ..Layer::new(kernel, 1, inputs, outputs, size) }));
    }
    vec![("groups", groups), ("streams", streams), ("resnet8", resnet8), ("resnet20", resnet20), ("resnet18", resnet18), ("resnet50", resnet50)]
}

fn noise(seed: &mut u32) -> u8 {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 17;
    *seed ^= *seed << 5;
    seed.to_le_bytes()[1]
}

/// Where the first line of a tensor begins, as in an arena.
fn origin(bytes: &[u8]) -> usize {
    bytes.as_ptr().align_offset(LINE)
}

fn lines(bytes: &[u8]) -> Vec<[u8; 64]> {
    bytes.as_chunks().0.to_vec()
}

/// Packed weights whose pairs never exceed what 16 bits hold.
fn weights(outputs: usize, depth: usize, seed: &mut u32) -> Vec<[u8; 64]> {
    let plain: Vec<i8> = (0..outputs * depth).map(|_| noise(seed).cast_signed() / 2).collect();
    let mut packed = vec![0; panels(outputs) * depth * 16];
    pack(&plain, depth, &mut packed);
    lines(&packed)
}

/// A layer with its memory: the input with its border, the weights, the output.
struct Bench {
    layer: Layer,
    taps: Taps,
    pixel: usize,
    pitch: usize,
    input: Vec<u8>,
    weights: Vec<[u8; 64]>,
    params: Vec<[u8; 64]>,
    second: Vec<u8>,
    second_weights: Vec<[u8; 64]>,
    output: Vec<u8>,
    block_rows: usize,
    best: f64,
}

impl Bench {
    fn new(layer: Layer, seed: &mut u32) -> Self {
        let (k, s) = (layer.kernel, layer.stride);
        let stored = if layer.inputs == 3 { 3 } else { round_up(layer.inputs, 4) };
        let window = Window { kernel: [k as u32; 2], stride: [s as u32; 2], dilation: [1; 2], pads: [0; 4] };
        let depth = Depth::new(&window, stored);
        let side = (layer.size - 1) * s + k;
        let pitch = if k == 1 { side * stored } else { round_up(side * stored + 3, 16) };
        let outputs = round_up(layer.outputs, 4);
        let taps = layer.narrow.map_or(depth.taps(true), |n| n.taps(&window));
        let (second, second_depth) = match layer.add {
            Add::Nothing => (0, 0),
            Add::Skip | Add::Wide => (1600 + layer.size * layer.size * outputs * layer.result().bytes(), 0),
            Add::Projection(inputs, stride) => (((layer.size - 1) * stride + 1).pow(2) * inputs, inputs),
        };
        let param_rows = params::rows(matches!(layer.add, Add::Skip | Add::Wide), second_depth > 0);
        let mut words = vec![[1u8, 0, 0, 0]; panels(outputs) * param_rows * 16];
        for panel in words.chunks_exact_mut(param_rows * 16) {
            panel[params::MULTIPLIER * 16..][..16].fill(1_000_000i32.to_le_bytes());
        }
        let block_rows = (24 * 1024 / (pitch * s)).max(1).min(layer.size);
        let block_rows = if panels(outputs) * taps.total() * 64 > 400_000 { layer.size } else { block_rows };
        Self {
            layer,
            taps,
            pixel: stored,
            pitch,
            input: (0..side * pitch + 2 * LINE).map(|_| noise(seed)).collect(),
            weights: weights(outputs, taps.total() * 4, seed),
            params: lines(words.as_flattened()),
            second: (0..second + LINE).map(|_| noise(seed)).collect(),
            second_weights: weights(outputs, second_depth.max(4), seed),
            output: vec![0; layer.size * layer.size * outputs * layer.result().bytes() + LINE],
            block_rows,
            best: f64::INFINITY,
        }
    }

    fn run(&mut self, kernels: Kernels) {
        let Layer { stride, outputs, size, kernel, .. } = self.layer;
        let (channels, kind) = (round_up(outputs, 4), self.layer.result());
        let pixel = channels * kind.bytes();
        let flat = kernel == 1 && stride == 1 && !matches!(self.layer.add, Add::Projection(_, 2));
        let (input, other, at) = (&self.input[origin(&self.input)..], &self.second[origin(&self.second)..], origin(&self.output));
        let mut y = 0;
        while y < size {
            let rows = self.block_rows.min(size - y);
            let source =
                |bytes, row, pixel, stride| Source { bytes, out_row: stride * row, out_pixel: stride * pixel, tap_row: row, tap_col: pixel, signed: false };
            let second = match self.layer.add {
                Add::Nothing => BlockSecond::None,
                Add::Skip | Add::Wide => {
                    let bytes = &other[1600 + y * size * pixel..];
                    BlockSecond::Skip { bytes, out_row: size * pixel, out_pixel: pixel, first: 0, channels, kind }
                }
                Add::Projection(inputs, stride) => {
                    let row = ((size - 1) * stride + 1) * inputs;
                    let source = source(&other[y * stride * row..], row, inputs, stride);
                    BlockSecond::Projection { source, taps: Taps { rows: 1, cols: 1, groups: inputs / 4 }, weights: &self.second_weights }
                }
            };
            kernels.conv(&mut ConvBlock {
                source: source(&input[y * stride * self.pitch..], self.pitch, self.pixel, stride),
                taps: self.taps,
                narrow: self.layer.narrow,
                weights: &self.weights,
                params: &self.params,
                second,
                pair_safe: true,
                rows: if flat { 1 } else { rows },
                pixels: if flat { rows * size } else { size },
                out: &mut self.output[at + y * size * pixel..],
                out_row: size * pixel,
                out_pixel: pixel,
                channels,
                kind,
            });
            y += rows;
        }
    }
}

/// Seconds a product takes at the peak, and cycles a second, each the best of a short loop.
fn peak(kernels: Kernels) -> (f64, f64) {
    let start = Instant::now();
    let macs = kernels.peak_loop(2000);
    let peak = start.elapsed().as_secs_f64() / macs as f64;
    let start = Instant::now();
    let cycles = cycles_loop(625);
    (peak, cycles as f64 / start.elapsed().as_secs_f64())
}

struct Options {
    json: bool,
    set: Option<Set>,
    network: Option<String>,
    passes: usize,
}

fn options() -> Options {
    let mut options = Options { json: false, set: None, network: None, passes: 200 };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().unwrap_or_else(|| panic!("{argument} needs a value"));
        match argument.as_str() {
            "--json" => options.json = true,
            "--set" => options.set = Some(Set::from_name(&value()).expect("a kernel set: scalar, avx2, avxvnni, avx512vnni")),
            "--network" => options.network = Some(value()),
            "--passes" => options.passes = value().parse().expect("a number of passes"),
            _ => {}
        }
    }
    options
}

/// The kernels of AVX-VNNI by the dot product of AVX512-VNNI, where only that is there: its figures show how good the tiles are.
#[cfg(target_arch = "x86_64")]
fn twin() -> Option<Kernels> {
    Kernels::avxvnni_twin().filter(|_| Kernels::for_set(Set::AvxVnni).is_none())
}

#[cfg(not(target_arch = "x86_64"))]
const fn twin() -> Option<Kernels> {
    None
}

fn main() {
    let options = options();
    for kernels in Kernels::all().chain(twin()).filter(|k| options.set.is_none_or(|s| s == k.set())) {
        for (network, layers) in networks() {
            if options.network.as_ref().is_some_and(|n| n != network) {
                continue;
            }
            let mut seed = 1;
            let mut benches: Vec<Bench> = layers.into_iter().map(|l| Bench::new(l, &mut seed)).collect();
            let (mut best_peak, mut clock) = (f64::INFINITY, 0.0f64);
            let passes = if kernels.set() == Set::Scalar { options.passes.div_ceil(100) } else { options.passes };
            for _ in 0..passes {
                for (i, bench) in benches.iter_mut().enumerate() {
                    if i % 8 == 0 {
                        let (seconds, hertz) = peak(kernels);
                        (best_peak, clock) = (best_peak.min(seconds), clock.max(hertz));
                    }
                    if network == "groups" {
                        // What the step before has just made.
                        bench.run(kernels);
                    }
                    let start = Instant::now();
                    bench.run(kernels);
                    bench.best = bench.best.min(start.elapsed().as_secs_f64());
                }
            }
            print(kernels, network, &benches, best_peak, clock, options.json);
        }
        if !options.json && options.network.is_none() {
            pools(kernels);
            additions(kernels);
        }
    }
}

/// Times pools: kernel, stride, channels, size of the output; a kernel of 0 is the mean of the whole picture.
fn pools(kernels: Kernels) {
    println!("{}: pools", kernels.set());
    for (kernel, stride, channels, size) in [(3, 2, 64, 56), (2, 2, 64, 56), (7, 1, 512, 1), (7, 1, 2048, 1), (8, 1, 64, 1)] {
        let side = (size - 1) * stride + kernel;
        let source: Vec<u8> = (0..side * side * channels).map(|i| (i * 31 % 251) as u8).collect();
        let mut out = vec![0; size * size * channels];
        let multipliers = vec![10_000_000i32.to_le_bytes(); kernel * kernel];
        let mut best = f64::INFINITY;
        for _ in 0..300 {
            let start = Instant::now();
            for y in 0..size {
                let out = &mut out[y * size * channels..];
                let (rows, cols) = ((side * channels, kernel), (channels, side));
                let source = &source[y * stride * side * channels..];
                let mut row = PoolRow {
                    source,
                    rows,
                    cols,
                    horizontal: [kernel, stride, 1, 0],
                    first: 0,
                    pixels: size,
                    out,
                    out_pixel: channels,
                    channels,
                    signed: false,
                };
                if size == 1 { kernels.average_pool(&mut row, Average { multipliers: &multipliers, p: 4, count: None }) } else { kernels.max_pool(&mut row) }
            }
            best = best.min(start.elapsed().as_secs_f64());
        }
        let name = if size == 1 { "mean" } else { "max" };
        println!("{:>20} {channels:>11} {size:>5} {:>6} {:>9.2}", format!("{name} {kernel}x{kernel}/{stride}"), "", best * 1e6);
    }
    println!();
}

/// Times additions: types of the operands and of the result, channels, elements from one pixel to the next in what is read, size. With one operand it is the factor
/// and shift of each channel.
fn additions(kernels: Kernels) {
    println!("{}: additions, elements of the result a nanosecond", kernels.set());
    let (bytes, stream) = (&[DataType::U8; 2], &[DataType::S16; 2]);
    for (kinds, kind, channels, pixel, size) in [
        (&bytes[..], DataType::U8, 16, 16, 32),
        (bytes, DataType::U8, 64, 64, 56),
        (bytes, DataType::U8, 256, 256, 14),
        (bytes, DataType::U8, 512, 512, 7),
        (&[DataType::S8, DataType::S16], DataType::S16, 64, 64, 56),
        (&bytes[..1], DataType::U8, 64, 64, 32),
        (&bytes[..1], DataType::U8, 60, 120, 32),
        (&bytes[..1], DataType::U8, 132, 132, 8),
        (&stream[..1], DataType::U8, 64, 64, 32),
        (&stream[..1], DataType::U8, 60, 120, 32),
        (&stream[..1], DataType::U8, 132, 132, 8),
    ] {
        let (operands, pixels, kinds) = (kinds.len(), size * size, [kinds[0], *kinds.last().expect("one or two operands")]);
        let [x, y]: [Vec<u8>; 2] = [(31, kinds[0]), (57, kinds[1])].map(|(f, kind)| (0..pixels * pixel * kind.bytes()).map(|i| (i * f % 251) as u8).collect());
        let mut out = vec![0; pixels * channels * kind.bytes()];
        let row = |row| match row {
            params::BIAS | params::K1 => 20_000i32,
            params::MULTIPLIER => 100_000,
            params::K2 if operands == 2 => 10_000,
            _ => 0,
        };
        let words: Vec<[u8; 4]> = (0..panels(channels) * params::ADD_ROWS * 16).map(|i| row(i / 16 % params::ADD_ROWS).to_le_bytes()).collect();
        let params = lines(words.as_flattened());
        let mut best = f64::INFINITY;
        for _ in 0..300 {
            let start = Instant::now();
            kernels.add(&mut AddRow {
                x: (&x, pixel * kinds[0].bytes()),
                y: (if operands == 2 { &y } else { &x }, pixel * kinds[1].bytes()),
                kinds,
                params: &params,
                p: 0,
                out: (&mut out, channels * kind.bytes()),
                pixels,
                channels,
                kind,
            });
            best = best.min(start.elapsed().as_secs_f64());
        }
        let name =
            if operands == 2 { format!("{:?} + {:?} → {kind:?}", kinds[0], kinds[1]) } else { format!("factor and shift {:?} → {kind:?}", kinds[0]) };
        println!("{name:>28} {channels:>11} {size:>5} {:>9.2} {:>8.2}", best * 1e6, (pixels * channels) as f64 * 1e-9 / best);
    }
    println!();
}

fn print(kernels: Kernels, network: &str, benches: &[Bench], peak: f64, clock: f64, json: bool) {
    let set = kernels.set();
    let share = |macs: usize, seconds: f64| macs as f64 * peak / seconds * 100.0;
    let mut rows: Vec<(Layer, usize, f64)> = Vec::new();
    for bench in benches {
        match rows.iter_mut().find(|r| r.0 == bench.layer) {
            Some(row) => (row.1, row.2) = (row.1 + 1, row.2 + bench.best),
            None => rows.push((bench.layer, 1, bench.best)),
        }
    }
    let per_cycle = 1.0 / peak / clock;
    if json {
        for (layer, count, seconds) in &rows {
            let macs = layer.macs() * count;
            println!(
                r#"{{"set":"{set}","network":"{network}","layer":"{}","ic":{},"oc":{},"size":{},"count":{count},"us":{:.2},"gmac_per_s":{:.1},"percent_of_peak":{:.1}}}"#,
                layer.kind(),
                layer.inputs,
                layer.outputs,
                layer.size,
                seconds * 1e6,
                macs as f64 / seconds / 1e9,
                share(macs, *seconds)
            );
        }
        return;
    }
    println!("{set}, {network}: peak {:.1} GMAC/s, {per_cycle:.1} MAC per cycle at {:.2} GHz", 1e-9 / peak, clock / 1e9);
    println!("{:>20} {:>11} {:>5} {:>6} {:>9} {:>8} {:>7}", "layer", "channels", "size", "count", "us", "GMAC/s", "% peak");
    // Time of a product against the same layer without groups.
    let against = |layer: &Layer, seconds: f64| {
        let dense = layer.narrow.and_then(|_| rows.iter().find(|r| r.0 == Layer { narrow: None, ..*layer }));
        let each = |layer: &Layer, count: usize, seconds: f64| seconds / (layer.macs() * count) as f64;
        dense.map_or_else(String::new, |d| format!(" {:.2} times its dense layer", each(layer, 1, seconds) / each(&d.0, d.1, d.2)))
    };
    for (layer, count, seconds) in &rows {
        let macs = layer.macs() * count;
        let channels = format!("{}-{}", layer.inputs, layer.outputs);
        println!(
            "{:>20} {channels:>11} {:>5} {count:>6} {:>9.2} {:>8.1} {:>7.1}{}",
            layer.kind(),
            layer.size,
            seconds * 1e6,
            macs as f64 / seconds / 1e9,
            share(macs, *seconds),
            against(layer, seconds / *count as f64)
        );
    }
    for (name, kernel) in [("3x3", 3), ("1x1", 1), ("7x7", 7), ("all", 0)] {
        let of_kind = || rows.iter().filter(|r| kernel == 0 || r.0.kernel == kernel && r.0.size > 1 && r.0.inputs != 3 || kernel == 7 && r.0.kernel == 7);
        let (macs, seconds) = of_kind().fold((0, 0.0), |(m, s), r| (m + r.0.macs() * r.1, s + r.2));
        if macs > 0 {
            println!("{name:>20} {:>11} {:>5} {:>6} {:>9.2} {:>8.1} {:>7.1}", "", "", "", seconds * 1e6, macs as f64 / seconds / 1e9, share(macs, seconds));
        }
    }
    println!();
}
