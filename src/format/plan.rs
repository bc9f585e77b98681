//! The plans of a file: tensors in an arena, and the steps that fill them.

use super::view::{Model, float, long, word, words};
use super::{NONE, flag, layout, op, step, tensor};
use crate::kernels::{Average, Kernels};
use crate::ops::table::{self, Table};
use crate::ops::{Units, add::Add, conv, gate::Gate, mirror::Mirror, pool};
use crate::pack::{Depth, Narrow, panels, params};
use crate::quant::DataType;
use crate::shape::{LINE, View, Window};
use core::ops::Range;

/// Which plan of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PlanKind {
    /// Least time.
    Fast,
    /// Least memory.
    Small,
}

impl PlanKind {
    /// Every kind.
    pub const ALL: [Self; 2] = [Self::Fast, Self::Small];

    /// The name as on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fast => "fast",
            Self::Small => "small",
        }
    }

    /// The number in the file.
    #[must_use]
    pub const fn code(self) -> u32 {
        match self {
            Self::Fast => 0,
            Self::Small => 1,
        }
    }
}

/// One plan of a file: tensors in an arena, and the steps that fill them.
#[derive(Clone, Copy, Debug)]
pub struct Plan<'a> {
    pub(super) model: Model<'a>,
    pub(super) record: &'a [u8; layout::BYTES],
}

impl<'a> Plan<'a> {
    /// Which plan it is.
    #[must_use]
    pub const fn kind(&self) -> PlanKind {
        if word(self.record, layout::KIND) == 1 { PlanKind::Small } else { PlanKind::Fast }
    }

    /// The file.
    #[must_use]
    pub const fn model(&self) -> Model<'a> {
        self.model
    }

    /// Bytes of the arena that hold tensors.
    #[must_use]
    pub const fn tensor_bytes(&self) -> usize {
        word(self.record, layout::TENSOR_BYTES) as usize
    }

    /// Bytes of scratch for each thread.
    #[must_use]
    pub const fn scratch_bytes(&self) -> usize {
        word(self.record, layout::SCRATCH_BYTES) as usize
    }

    /// Bytes of the arena for a number of threads.
    #[must_use]
    pub const fn arena_bytes(&self, threads: usize) -> usize {
        self.tensor_bytes().saturating_add(self.scratch_bytes().saturating_mul(threads))
    }

    /// Number of steps.
    #[must_use]
    pub const fn len(&self) -> usize {
        word(self.record, layout::STEPS + 1) as usize
    }

    /// False: a plan has at least one step.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The steps in order.
    #[must_use]
    pub fn steps(&self) -> impl DoubleEndedIterator<Item = StepRecord<'a>> + ExactSizeIterator + use<'a> {
        let (plan, first) = (*self, word(self.record, layout::STEPS) as usize);
        plan.model.steps[first..first + plan.len()].iter().enumerate().map(move |(i, record)| StepRecord { plan, record, check: first + i })
    }

    /// Number of tensors.
    #[must_use]
    pub const fn tensor_count(&self) -> usize {
        word(self.record, layout::TENSORS + 1) as usize
    }

    /// The tensor of that index.
    ///
    /// # Panics
    /// If the plan has no such tensor; the indices that a plan's steps name are always there.
    #[must_use]
    pub fn tensor(&self, index: usize) -> TensorRecord<'a> {
        let first = word(self.record, layout::TENSORS) as usize;
        TensorRecord { model: self.model, record: &self.model.tensors[first..first + self.tensor_count()][index] }
    }

    /// What is filled before a run.
    #[must_use]
    pub fn input(&self) -> TensorRecord<'a> {
        self.tensor(word(self.record, layout::INPUT) as usize)
    }

    /// The scores, `[1][1][classes]` of I32.
    #[must_use]
    pub fn output(&self) -> TensorRecord<'a> {
        self.tensor(word(self.record, layout::OUTPUT) as usize)
    }
}

/// A tensor of a plan.
#[derive(Clone, Copy, Debug)]
pub struct TensorRecord<'a> {
    model: Model<'a>,
    record: &'a [u8; tensor::BYTES],
}

impl<'a> TensorRecord<'a> {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &'a str {
        self.model.text(self.record, tensor::NAME)
    }

    /// Real value of one step of channel `c`.
    #[must_use]
    pub fn scale(&self, c: usize) -> f32 {
        let scales = self.model.weights(word(self.record, tensor::CHANNEL_SCALES), self.view().c as usize * 4);
        scales.as_chunks::<4>().0.get(c).map_or_else(|| float(self.record, tensor::SCALE), |s| f32::from_le_bytes(*s))
    }

    /// The stored value that stands for zero.
    #[must_use]
    pub const fn zero(&self) -> i32 {
        word(self.record, tensor::ZERO).cast_signed()
    }

    pub(super) const fn word(&self, index: usize) -> u32 {
        word(self.record, index)
    }

    pub(super) const fn record(&self) -> &'a [u8] {
        self.record
    }

    /// Where it lies in the arena.
    #[must_use]
    pub fn view(&self) -> View {
        let [h, w, c, offset, pixel, row, channel] = words(self.record, tensor::SHAPE);
        let kind = match word(self.record, tensor::TYPE) {
            0 => DataType::U8,
            1 => DataType::S8,
            2 => DataType::S16,
            _ => DataType::I32,
        };
        View { h, w, c, kind, offset: (offset as usize).saturating_add(channel as usize), pixel: pixel as usize, row: row as usize }
    }
}

/// A step of a plan.
#[derive(Clone, Copy, Debug)]
pub struct StepRecord<'a> {
    plan: Plan<'a>,
    record: &'a [u8; step::BYTES],
    check: usize,
}

/// What a step does, ready to run.
#[derive(Clone, Copy)]
pub enum Operation<'a> {
    /// Convolution or dense layer.
    Conv(conv::Conv<'a>),
    /// Max or average pool.
    Pool(pool::Pool<'a>),
    /// Addition.
    Add(Add<'a>),
    /// Gate.
    Gate(Gate<'a>),
    /// Table.
    Table(Table<'a>),
    /// Mirrored border.
    Mirror(Mirror),
}

impl Operation<'_> {
    /// How the output is divided.
    #[must_use]
    pub const fn units(&self) -> Units {
        match self {
            Self::Conv(conv) => conv.units(),
            Self::Pool(pool) => pool.units(),
            Self::Add(add) => add.units(),
            Self::Gate(gate) => gate.units(),
            Self::Table(table) => table.units(),
            Self::Mirror(mirror) => mirror.units(),
        }
    }

    /// Bytes of scratch that a thread needs.
    #[must_use]
    pub const fn scratch(&self) -> usize {
        match self {
            Self::Conv(conv) => conv.scratch(),
            Self::Gate(gate) => gate.scratch(),
            Self::Pool(_) | Self::Add(_) | Self::Table(_) | Self::Mirror(_) => 0,
        }
    }

    /// What it makes.
    #[must_use]
    pub const fn output(&self) -> View {
        match self {
            Self::Conv(conv) => conv.output,
            Self::Pool(pool) => pool.output,
            Self::Add(add) => add.output,
            Self::Gate(gate) => gate.output,
            Self::Table(table) => table.output,
            Self::Mirror(mirror) => mirror.output,
        }
    }

    /// Computes `units` of the output. `x`, `y` and `z` are the bytes of the operands' views, `out` those of the units.
    ///
    /// # Panics
    /// If a slice is shorter than its view says; a plan that was validated never does that.
    pub fn run(&self, kernels: Kernels, [x, y, z]: [&[u8]; 3], out: &mut [u8], units: Range<usize>, scratch: &mut [u8]) {
        match self {
            Self::Conv(conv) => conv.run(kernels, x, y, out, units, scratch),
            Self::Pool(pool) => pool.run(kernels, x, out, units),
            Self::Add(add) => add.run(kernels, x, y, out, units),
            Self::Gate(gate) => gate.run(kernels, [x, y, z], out, units, scratch),
            Self::Table(table) => table.run(kernels, x, out, units),
            Self::Mirror(mirror) => mirror.run(x, out, units),
        }
    }
}

impl<'a> StepRecord<'a> {
    /// Its name: that of the ONNX node from which it was made.
    #[must_use]
    pub fn name(&self) -> &'a str {
        self.plan.model.text(self.record, step::NAME)
    }

    /// The residual block to which it belongs.
    #[must_use]
    pub fn block(&self) -> Option<u32> {
        Some(word(self.record, step::BLOCK)).filter(|&b| b != NONE)
    }

    /// Multiply-accumulates.
    #[must_use]
    pub fn macs(&self) -> u64 {
        long(self.record, step::MACS)
    }

    /// CRC-32 of its output for the check input: `[h][w][c]`, without padding channels.
    #[must_use]
    pub fn check(&self) -> u32 {
        u32::from_le_bytes(self.plan.model.checks[self.check])
    }

    /// Index of its input tensor.
    #[must_use]
    pub const fn input(&self) -> usize {
        word(self.record, step::INPUT) as usize
    }

    /// Index of its second operand.
    #[must_use]
    pub const fn second(&self) -> Option<usize> {
        let second = word(self.record, step::SECOND);
        if second == NONE { None } else { Some(second as usize) }
    }

    /// Index of its third operand.
    #[must_use]
    pub const fn third(&self) -> Option<usize> {
        let third = word(self.record, step::THIRD);
        if third == NONE { None } else { Some(third as usize) }
    }

    /// Indices of all tensors that it reads.
    pub fn operands(&self) -> impl Iterator<Item = usize> + use<> {
        [Some(self.input()), self.second(), self.third()].into_iter().flatten()
    }

    /// Index of its output tensor.
    #[must_use]
    pub const fn output(&self) -> usize {
        word(self.record, step::OUTPUT) as usize
    }

    /// True if the flags promise that the convolution's own sum stays below 2^25.
    #[must_use]
    pub const fn winograd4(&self) -> bool {
        word(self.record, step::FLAGS) & flag::WINOGRAD4 != 0
    }

    pub(super) const fn word(&self, index: usize) -> u32 {
        word(self.record, index)
    }

    pub(super) const fn record(&self) -> &'a [u8] {
        self.record
    }

    pub(super) fn window(&self) -> Window {
        let [kh, kw, sh, sw, dh, dw, top, left, bottom, right] = words(self.record, step::WINDOW);
        Window { kernel: [kh, kw], stride: [sh, sw], dilation: [dh, dw], pads: [top, left, bottom, right] }
    }

    pub(super) fn second_window(&self) -> Window {
        let [kh, kw, sh, sw] = words(self.record, step::SECOND_WINDOW);
        Window { kernel: [kh, kw], stride: [sh, sw], dilation: [1, 1], pads: [0; 4] }
    }

    /// What it does. In a file that was not validated slices may be empty; the validator finds that.
    #[must_use]
    pub fn operation(&self) -> Operation<'a> {
        let (input, output) = (self.plan.tensor(self.input()).view(), self.plan.tensor(self.output()).view());
        let second = self.second().map(|i| self.plan.tensor(i).view());
        let window = self.window();
        match (self.word(step::OP), second) {
            (op::ADD, y) => {
                let params = self.params(panels(output.stored_channels()), params::ADD_ROWS);
                Operation::Add(Add { x: input, y, output, params, p: self.word(step::P) })
            }
            (op::GATE, Some(gate)) => {
                let params = self.params(panels(output.stored_channels()), params::ADD_ROWS);
                let skip = self.third().map(|i| self.plan.tensor(i).view());
                Operation::Gate(Gate { x: input, gate, skip, output, params, p: self.word(step::P) })
            }
            (op::TABLE, _) => {
                let table = self.plan.model.weights(self.word(step::TABLE), table::table_bytes(input.kind));
                Operation::Table(Table { input, output, table })
            }
            (op::MIRROR, _) => Operation::Mirror(Mirror { before: [window.pads[0] as usize, window.pads[1] as usize], input, output }),
            (op::CONV, _) => Operation::Conv(self.conv(window, input, output, second)),
            (op::MAX_POOL, _) => Operation::Pool(pool::Pool { window, input, output, kind: pool::Kind::Max }),
            _ => {
                let taps = window.kernel[0] as usize * window.kernel[1] as usize;
                let count = (self.word(step::FLAGS) & flag::INCLUDE_PAD != 0).then_some(taps);
                let multipliers = self.plan.model.weights(self.word(step::PARAMS), taps * 4).as_chunks().0;
                Operation::Pool(pool::Pool { window, input, output, kind: pool::Kind::Average(Average { multipliers, p: self.word(step::P), count }) })
            }
        }
    }

    fn params(&self, panels: usize, rows: usize) -> &'a [u8] {
        self.plan.model.weights(self.word(step::PARAMS), panels * rows * 64)
    }

    fn conv(&self, window: Window, input: View, output: View, second: Option<View>) -> conv::Conv<'a> {
        let weights = |at, lines: usize| self.plan.model.weights(self.word(at), lines * LINE);
        let other = self.second_window();
        let operand = match (self.word(step::SECOND_KIND), second) {
            (1, Some(view)) => conv::Second::Skip { view, stride: other.stride, front: self.word(step::FRONT) },
            (2, Some(view)) => {
                let depth = Depth::new(&other, view.stored_channels()).len();
                conv::Second::Projection { view, window: other, weights: weights(step::SECOND_WEIGHTS, panels(output.stored_channels()) * depth / 4) }
            }
            _ => conv::Second::None,
        };
        let rows = params::rows(matches!(operand, conv::Second::Skip { .. }), matches!(operand, conv::Second::Projection { .. }));
        let conv = conv::Conv {
            window,
            groups: (self.word(step::GROUPS) as usize).max(1),
            narrow: Narrow::of(self.word(step::NARROW) as usize),
            input,
            output,
            weights: &[],
            params: &[],
            padding: self.plan.model.weights(self.word(step::PADDING), input.c as usize),
            second: operand,
            pair_safe: self.word(step::FLAGS) & flag::PAIR_SAFE != 0,
            block_rows: self.word(step::BLOCK_ROWS) as usize,
        };
        let [panels, lines] = conv.size();
        conv::Conv { weights: weights(step::WEIGHTS, lines), params: self.params(panels, rows), ..conv }
    }
}
