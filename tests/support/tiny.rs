//! A small network with one step of every kind, written by hand with random weights: the same bytes for the same options.

#![allow(dead_code, reason = "each test file uses what it needs")]

use skipstone::format::write::{Writer, word};
use skipstone::format::{Model, NONE, PlanKind, check, flag, layout, network, op, origin, step, tensor};
use skipstone::ops::rows::Padded;
use skipstone::pack::{Depth, LANES, Narrow, pack, panels, params, position};
use skipstone::quant::DataType;
use skipstone::shape::{View, Window, round_up};
use skipstone::{Kernels, Session};

/// What differs between tiny files.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Seed of the weights.
    pub seed: u64,
    /// Height and width of the input.
    pub size: [u32; 2],
    /// Whether a plan `small` stands beside the plan `fast`.
    pub small: bool,
    /// Rows that a convolution computes together.
    pub block_rows: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self { seed: 1, size: [12, 10], small: false, block_rows: 2 }
    }
}

/// The file of a tiny network.
pub fn file(options: Options) -> Vec<u8> {
    let mut net = Net::new(options);
    let [h, w] = options.size;
    let point = |s| Window::point([s, s]);
    let three = |s| Window { kernel: [3, 3], stride: [s, s], dilation: [1, 1], pads: [1; 4] };
    let picture = net.tensor("picture", View::picture(h, w, 3, 0));
    let stem = net.conv("stem", Conv { largest: 127, padding: &[124, 116, 104], ..Conv::new(picture, three(1), 16, DataType::U8) });
    let pooled = net.pool("maxpool", op::MAX_POOL, stem, Window { kernel: [3, 3], stride: [2, 2], dilation: [1, 1], pads: [1; 4] }, false);
    let a = net.conv("block1.conv1", Conv::new(pooled, three(1), 16, DataType::U8));
    let b = net.conv("block1.conv2", Conv { second: Second::Skip(pooled), block: Some(0), ..Conv::new(a, three(1), 16, DataType::U8) });
    let c = net.conv("block2.conv1", Conv::new(b, three(2), 22, DataType::U8));
    let d = net.conv("block2.conv2", Conv { second: Second::Projection(b, point(2)), block: Some(1), ..Conv::new(c, three(1), 22, DataType::U8) });
    let e = net.conv("block3.conv1", Conv::new(d, point(1), 22, DataType::S8));
    let bordered = net.pool("block3.border", op::MIRROR, e, Window { pads: [1; 4], ..point(1) }, false);
    let f = net.conv("block3.conv2", Conv::new(bordered, Window { pads: [0; 4], ..three(1) }, 22, DataType::U8));
    let g = net.sum("block3.add", op::ADD, [e, f], None);
    let near = net.pool("avgpool", op::AVERAGE_POOL, g, Window { kernel: [2, 2], stride: [1, 1], dilation: [1, 1], pads: [1, 1, 0, 0] }, true);
    // Grouped convolution with a skip, then a concatenation whose parts are made where they belong, read from its middle.
    let wide = net.conv("block4.conv1", Conv::new(near, point(1), 24, DataType::U8));
    let grouped = net.conv("block4.conv2", Conv { groups: 2, second: Second::Skip(wide), ..Conv::new(wide, three(1), 24, DataType::U8) });
    // Narrow groups: 16 channels side by side, the other 8 as one.
    let grouped = net.conv("block4.conv3", Conv { groups: 3, narrow: Some(Narrow::Eight), ..Conv::new(grouped, three(1), 24, DataType::U8) });
    let [h, w] = [net.views[grouped].h, net.views[grouped].w];
    let concat = net.tensor("concat", View::packed(h, w, 36, DataType::U8, 0));
    for (name, input, channels, first) in [("block5.right", wide, 12, 24), ("block5.left", grouped, 24, 0)] {
        let made = net.conv(name, Conv::new(input, point(1), channels, DataType::U8));
        net.parts.push((made, concat, first));
    }
    let middle = net.tensor("middle", View::packed(h, w, 24, DataType::U8, 0));
    net.parts.push((middle, concat, 8));
    // Squeeze-and-excitation, then a normalization of its own.
    let squeezed = net.pool("block6.squeeze", op::AVERAGE_POOL, middle, Window { kernel: [h, w], ..point(1) }, false);
    let excited = net.conv("block6.excite", Conv::new(squeezed, point(1), 24, DataType::S8));
    let gate = net.table("block6.sigmoid", excited);
    let gated = net.sum("block6.gate", op::GATE, [middle, gate], Some(wide));
    let near = net.sum("block6.affine", op::ADD, [gated, gated], None);
    let all = net.views[near];
    let mean = net.pool("mean", op::AVERAGE_POOL, near, Window { kernel: [all.h, all.w], stride: [1, 1], dilation: [1, 1], pads: [0; 4] }, false);
    net.conv("classes", Conv::new(mean, point(1), 10, DataType::I32));
    net.finish()
}

/// What a convolution adds.
#[derive(Clone, Copy)]
enum Second {
    None,
    Skip(usize),
    Projection(usize, Window),
}

#[derive(Clone, Copy)]
struct Conv<'a> {
    input: usize,
    window: Window,
    groups: usize,
    narrow: Option<Narrow>,
    channels: u32,
    kind: DataType,
    second: Second,
    largest: i8,
    padding: &'a [u8],
    block: Option<u32>,
}

impl Conv<'_> {
    const fn new(input: usize, window: Window, channels: u32, kind: DataType) -> Self {
        Self { input, window, groups: 1, narrow: None, channels, kind, second: Second::None, largest: 60, padding: &[], block: None }
    }
}

struct Net {
    options: Options,
    state: u64,
    writer: Writer,
    views: Vec<View>,
    /// Tensors that are channels of another: which, of which, from which channel on.
    parts: Vec<(usize, usize, usize)>,
    /// Inputs and output of each step.
    uses: Vec<Vec<usize>>,
    scratch: usize,
    macs: u64,
    layers: u32,
}

impl Net {
    fn new(options: Options) -> Self {
        let state = options.seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        Self { options, state, writer: Writer::default(), views: Vec::new(), parts: Vec::new(), uses: Vec::new(), scratch: 0, macs: 0, layers: 0 }
    }

    /// A number in `0..below`.
    fn random(&mut self, below: u64) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        (self.state >> 20) % below
    }

    fn tensor(&mut self, name: &str, view: View) -> usize {
        let mut record = [0; tensor::BYTES / 4];
        record[tensor::NAME..][..2].copy_from_slice(&self.writer.name(name));
        record[tensor::TYPE] = match view.kind {
            DataType::U8 => 0,
            DataType::S8 => 1,
            DataType::S16 => 2,
            DataType::I32 => 3,
        };
        record[tensor::SHAPE..][..3].copy_from_slice(&[view.h, view.w, view.c]);
        record[tensor::PIXEL] = word(view.pixel);
        record[tensor::ROW] = word(view.row);
        record[tensor::SCALE] = if view.kind == DataType::I32 { 1e-4f32 } else { 0.02 }.to_bits();
        record[tensor::CHANNEL_SCALES] = NONE;
        self.writer.tensors.push(record);
        self.views.push(view);
        self.views.len() - 1
    }

    fn record(&mut self, name: &str, op: u32, input: usize, second: Option<usize>, output: usize, window: &Window) -> [u32; step::BYTES / 4] {
        let mut record = [0; step::BYTES / 4];
        record[step::NAME..][..2].copy_from_slice(&self.writer.name(name));
        record[step::OP] = op;
        record[step::INPUT] = word(input);
        record[step::SECOND] = second.map_or(NONE, word);
        record[step::OUTPUT] = word(output);
        let ([kh, kw], [sh, sw], [dh, dw], [t, l, b, r]) = (window.kernel, window.stride, window.dilation, window.pads);
        record[step::WINDOW..][..10].copy_from_slice(&[kh, kw, sh, sw, dh, dw, t, l, b, r]);
        record[step::GROUPS] = 1;
        record[step::SECOND_WINDOW..][..4].copy_from_slice(&[1; 4]);
        for at in [step::WEIGHTS, step::SECOND_WEIGHTS, step::PARAMS, step::PADDING, step::TABLE, step::BLOCK, step::THIRD] {
            record[at] = NONE;
        }
        record[step::BLOCK_ROWS] = self.options.block_rows;
        self.uses.push([Some(input), second, Some(output)].into_iter().flatten().collect());
        record
    }

    fn output(&mut self, name: &str, window: &Window, input: usize, channels: u32, kind: DataType) -> usize {
        let x = self.views[input];
        let [h, w] = window.output(x.h, x.w).expect("a window that fits");
        self.tensor(name, View::packed(h, w, channels, kind, 0))
    }

    /// Packed random weights, and their sums.
    fn weights(&mut self, window: &Window, channels: [usize; 2], outputs: u32, largest: i8) -> (Vec<u8>, Vec<i32>) {
        let depth = Depth::new(window, channels[1]);
        let mut rows = vec![0i8; outputs as usize * depth.len()];
        for row in rows.chunks_exact_mut(depth.len()) {
            for ky in 0..window.kernel[0] as usize {
                for kx in 0..window.kernel[1] as usize {
                    for c in 0..channels[0] {
                        let w = i64::from(largest) - i64::try_from(self.random(2 * u64::from(largest.unsigned_abs()) + 1)).expect("small");
                        row[depth.index(ky, kx, c)] = i8::try_from(w).expect("in range");
                    }
                }
            }
        }
        let mut packed = vec![0; depth.bytes(outputs as usize)];
        pack(&rows, depth.len(), &mut packed);
        assert_eq!(packed[position(depth.len(), 0, 0)].cast_signed(), rows[0]);
        (packed, rows.chunks_exact(depth.len()).map(|r| r.iter().map(|&w| i32::from(w)).sum()).collect())
    }

    /// Packed random weights of narrow groups, and the sums of their lanes.
    fn narrow(&mut self, narrow: Narrow, window: &Window, channels: usize, largest: i8) -> (Vec<u8>, Vec<i32>) {
        let taps = (window.kernel[0] * window.kernel[1]) as usize;
        let (lines, mut packed, mut sums) = (narrow.lines() * 64, Vec::new(), Vec::new());
        for _ in 0..channels / LANES {
            let (mut panel, mut own) = (vec![0; taps * lines], vec![0; LANES]);
            for o in 0..LANES {
                let (weights, sum) = self.weights(window, [narrow.channels(); 2], 1, largest);
                for i in 0..taps * narrow.channels() {
                    let (tap, c) = (i / narrow.channels(), i % narrow.channels());
                    panel[tap * lines + narrow.position(o, c)] = weights[position(taps * narrow.channels(), 0, i)];
                }
                own[narrow.lane(o)] = sum[0];
            }
            packed.extend(panel);
            sums.extend(own);
        }
        let rest = channels % LANES;
        if rest > 0 {
            let (weights, own) = self.weights(window, [rest; 2], word(rest), largest);
            packed.extend(weights);
            sums.extend(own);
        }
        (packed, sums)
    }

    fn conv(&mut self, name: &str, conv: Conv<'_>) -> usize {
        let x = self.views[conv.input];
        let output = self.output(name, &conv.window, conv.input, conv.channels, conv.kind);
        let second = match conv.second {
            Second::None => None,
            Second::Skip(i) | Second::Projection(i, _) => Some(i),
        };
        let mut record = self.record(name, op::CONV, conv.input, second, output, &conv.window);
        record[step::GROUPS] = word(conv.groups);
        record[step::NARROW] = conv.narrow.map_or(0, |n| word(n.channels()));
        let (mut packed, mut sums) = (Vec::new(), Vec::new());
        if let Some(narrow) = conv.narrow {
            (packed, sums) = self.narrow(narrow, &conv.window, conv.channels as usize, conv.largest);
        }
        for _ in 0..if conv.narrow.is_some() { 0 } else { conv.groups } {
            let channels = [x.c as usize, x.stored_channels()].map(|c| c / conv.groups);
            let (weights, mut own) = self.weights(&conv.window, channels, conv.channels / word(conv.groups), conv.largest);
            packed.extend(weights);
            // The lanes of a panel that have no channel.
            own.resize(if conv.groups > 1 { own.len().next_multiple_of(LANES) } else { own.len() }, 0);
            sums.extend(own);
        }
        record[step::WEIGHTS] = self.writer.weights(&packed);
        let depth = f64::from(conv.window.kernel[0] * conv.window.kernel[1] * x.c / word(conv.groups));
        let mut spread = depth.sqrt() * f64::from(conv.largest) * 60.0;
        let mut sums2 = Vec::new();
        match conv.second {
            Second::None => {}
            Second::Skip(_) => {
                record[step::SECOND_KIND] = 1;
                spread *= 2.0;
            }
            Second::Projection(i, window) => {
                record[step::SECOND_KIND] = 2;
                record[step::SECOND_WINDOW..][..4].copy_from_slice(&[window.kernel[0], window.kernel[1], window.stride[0], window.stride[1]]);
                let view = self.views[i];
                let (packed, sums) = self.weights(&window, [view.c as usize, view.stored_channels()], conv.channels, conv.largest);
                record[step::SECOND_WEIGHTS] = self.writer.weights(&packed);
                sums2 = sums;
                spread *= 4.0;
            }
        }
        let (skip, projection) = (record[step::SECOND_KIND] == 1, record[step::SECOND_KIND] == 2);
        let rows = params::rows(skip, projection);
        let each = panels(round_up(conv.channels as usize / conv.groups, 4));
        let lanes = if conv.narrow.is_some() { panels(conv.channels as usize) } else { conv.groups * each } * LANES;
        let mut table = vec![0u8; lanes / LANES * rows * 64];
        #[expect(clippy::cast_possible_truncation, reason = "a factor below a half")]
        let multiplier = ((2f64.powi(31) * 100.0 / spread) as i64).min((1 << 30) - 1) as i32;
        for lane in 0..sums.len() {
            let bias = i32::try_from(self.random(20_000)).expect("small") - 10_000;
            let mut row = vec![bias, sums[lane], multiplier - i32::try_from(self.random(1000)).expect("small")];
            if skip {
                row.push(i32::try_from(50 + self.random(200)).expect("small"));
            }
            if projection {
                row.extend([i32::try_from(1 + self.random(6)).expect("small"), i32::try_from(1 + self.random(6)).expect("small"), sums2[lane]]);
            }
            for (i, value) in row.into_iter().enumerate() {
                table[((lane / LANES * rows + i) * LANES + lane % LANES) * 4..][..4].copy_from_slice(&value.to_le_bytes());
            }
        }
        record[step::PARAMS] = self.writer.weights(&table);
        if !conv.padding.is_empty() {
            record[step::PADDING] = self.writer.weights(conv.padding);
        }
        record[step::FLAGS] = flag::WINOGRAD4 | if conv.largest <= 64 { flag::PAIR_SAFE } else { 0 };
        record[step::BLOCK] = conv.block.unwrap_or(NONE);
        let y = self.views[output];
        let padded = Padded::new(&x, &conv.window, y.w, self.options.block_rows.min(y.h) as usize);
        self.scratch = self.scratch.max(round_up(padded.bytes(), 64));
        let macs = y.pixels() as u64 * u64::from(conv.channels) * u64::from(conv.window.kernel[0] * conv.window.kernel[1] * x.c / word(conv.groups));
        self.step(record, macs);
        self.layers += 1;
        output
    }

    fn step(&mut self, mut record: [u32; step::BYTES / 4], macs: u64) {
        record[step::MACS] = u32::try_from(macs).expect("a tiny network");
        self.macs += macs;
        self.writer.steps.push(record);
        self.writer.checks.push(0);
    }

    fn pool(&mut self, name: &str, op: u32, input: usize, window: Window, include_pad: bool) -> usize {
        let x = self.views[input];
        let output = self.output(name, &window, input, x.c, x.kind);
        let mut record = self.record(name, op, input, None, output, &window);
        if op == op::AVERAGE_POOL {
            record[step::P] = 2;
            let multipliers: Vec<u8> = (1..=window.kernel[0] * window.kernel[1]).flat_map(|n| ((1u32 << 29) / n).to_le_bytes()).collect();
            record[step::PARAMS] = self.writer.weights(&multipliers);
            record[step::FLAGS] = if include_pad { flag::INCLUDE_PAD } else { 0 };
        }
        self.step(record, 0);
        output
    }

    /// An addition or a gate; the addition of a tensor to itself is one of a single operand.
    fn sum(&mut self, name: &str, op: u32, [x, y]: [usize; 2], third: Option<usize>) -> usize {
        let view = self.views[x];
        let output = self.tensor(name, View::packed(view.h, view.w, view.c, DataType::U8, 0));
        let mut record = self.record(name, op, x, (x != y).then_some(y), output, &Window::point([1, 1]));
        self.uses.last_mut().expect("a step").extend(third);
        record[step::THIRD] = third.map_or(NONE, word);
        let mut table = vec![0u8; panels(view.stored_channels()) * params::ADD_ROWS * 64];
        for panel in table.as_chunks_mut::<{ params::ADD_ROWS * 64 }>().0 {
            let k2 = if x == y { 0 } else { 41 };
            for (row, value) in [(params::BIAS, 4000i32), (params::MULTIPLIER, 1 << if op == op::GATE { 23 } else { 25 }), (params::K2, k2), (params::K1, 37)] {
                panel[row * 64..][..64].as_chunks_mut::<4>().0.fill(value.to_le_bytes());
            }
        }
        record[step::PARAMS] = self.writer.weights(&table);
        record[step::P] = 1;
        if op == op::GATE {
            self.scratch = self.scratch.max(table.len());
        }
        self.step(record, 0);
        output
    }

    /// A function that rises from one end of the bytes to the other.
    fn table(&mut self, name: &str, x: usize) -> usize {
        let output = self.tensor(name, View { kind: DataType::U8, ..self.views[x] });
        let mut record = self.record(name, op::TABLE, x, None, output, &Window::point([1, 1]));
        let table: Vec<u8> = (0..=255u8).map(|b| b ^ 0x80).map(|v| (u16::from(v) * u16::from(v) / 255).to_le_bytes()[0]).collect();
        record[step::TABLE] = self.writer.weights(&table);
        self.step(record, 0);
        output
    }

    /// Gives every tensor its place; with `reuse` the memory of those that are no longer needed. Gives the bytes of the arena.
    fn place(&mut self, first: usize, reuse: bool) -> usize {
        let part = |t: usize| self.parts.iter().find(|p| p.0 == t);
        let life = |t: usize| {
            let same = |u: &usize| *u == t || part(*u).is_some_and(|p| p.1 == t);
            let uses = self.uses.iter().enumerate().filter(|(_, u)| u.iter().any(same)).map(|(i, _)| i);
            (if t == 0 { 0 } else { uses.clone().min().unwrap_or(0) }, if t + 1 == self.views.len() { usize::MAX } else { uses.max().unwrap_or(0) })
        };
        let lives: Vec<_> = (0..self.views.len()).map(life).collect();
        let mut placed: Vec<View> = Vec::new();
        for (t, view) in self.views.iter().enumerate() {
            if part(t).is_some() {
                // It takes no room of its own.
                placed.push(View { offset: usize::MAX / 2, ..*view });
                continue;
            }
            let meets = |u: usize| !reuse || lives[t].0 <= lives[u].1 && lives[u].0 <= lives[t].1;
            let mut offset = 0;
            while let Some(other) = (0..t).find(|&u| meets(u) && placed[u].offset < offset + view.bytes() && offset < placed[u].range().end) {
                offset = round_up(placed[other].range().end, 64);
            }
            placed.push(View { offset, ..*view });
            self.writer.tensors[first + t][tensor::OFFSET] = word(offset);
        }
        for &(t, whole, channel) in &self.parts {
            let record = &mut self.writer.tensors[first + t];
            record[tensor::OFFSET] = word(placed[whole].offset);
            record[tensor::CHANNEL] = word(channel);
            record[tensor::PIXEL] = word(placed[whole].pixel);
            record[tensor::ROW] = word(placed[whole].row);
        }
        round_up(placed.iter().filter(|v| v.offset < usize::MAX / 2).map(|v| v.range().end).max().unwrap_or(0), 64)
    }

    fn plan(&mut self, kind: PlanKind) {
        let (tensors, steps) = (self.views.len(), self.uses.len());
        let index = self.writer.plans.len();
        if index > 0 {
            self.writer.tensors.extend_from_within(..tensors);
            self.writer.steps.extend_from_within(..steps);
            self.writer.checks.extend_from_within(..steps);
        }
        let bytes = self.place(index * tensors, kind == PlanKind::Small);
        let mut record = [0; layout::BYTES / 4];
        record[layout::KIND] = kind.code();
        record[layout::TENSORS..][..2].copy_from_slice(&[word(index * tensors), word(tensors)]);
        record[layout::STEPS..][..2].copy_from_slice(&[word(index * steps), word(steps)]);
        record[layout::TENSOR_BYTES] = word(bytes);
        record[layout::SCRATCH_BYTES] = word(self.scratch);
        record[layout::OUTPUT] = word(tensors - 1);
        self.writer.plans.push(record);
    }

    fn finish(mut self) -> Vec<u8> {
        self.plan(PlanKind::Fast);
        if self.options.small {
            self.plan(PlanKind::Small);
        }
        let name = self.writer.name("tiny");
        let [h, w] = self.options.size;
        let record = &mut self.writer.network;
        record[network::NAME..][..2].copy_from_slice(&name);
        record[network::RANK] = 3;
        record[network::DIMENSIONS..][..3].copy_from_slice(&[h, w, 3]);
        record[network::CLASSES] = 10;
        record[network::MACS] = u32::try_from(self.macs).expect("a tiny network");
        record[network::PARAMETERS] = 12_345;
        record[network::LAYERS] = self.layers;
        record[network::SEED] = 7;
        record[network::SCALE] = 255f32.to_bits();
        for c in 0..3 {
            record[network::MEAN + c] = 0.45f32.to_bits();
            record[network::DEVIATION + c] = 0.25f32.to_bits();
        }
        let (method, converter) = (self.writer.name("minmax"), self.writer.name("by hand"));
        for (at, value) in [(origin::PICTURES, 3), (origin::METHOD, method[0]), (origin::METHOD + 1, method[1])] {
            self.writer.origin[at * 4..][..4].copy_from_slice(&u32::to_le_bytes(value));
        }
        for (i, value) in converter.into_iter().enumerate() {
            self.writer.origin[(origin::CONVERTER + i) * 4..][..4].copy_from_slice(&value.to_le_bytes());
        }
        self.writer.labels = (0..10).map(|i| format!("class {i}")).collect();
        self.writer.checks = checks(&self.writer.finish());
        self.writer.finish()
    }
}

/// What every step of every plan makes of the check input, computed with the portable kernels.
pub fn checks(file: &[u8]) -> Vec<u32> {
    let model = Model::parse(file).expect("a tiny file is valid");
    let mut checks = Vec::new();
    for plan in model.plans() {
        let mut arena = vec![0; plan.arena_bytes(1)];
        let mut session = Session::new(&model, Kernels::scalar(), plan.kind(), &mut arena).expect("it fits");
        check::check_input(model.seed(), model.input_shape(), session.input());
        session.run_with(|step, session| checks.push(session.tensor(&plan.tensor(step.output())).crc32()));
    }
    checks
}
