//! The one check of a file: after it every offset, size and alias of every plan is known to be in bounds.

use super::plan::{Operation, Plan, PlanKind};
use super::view::{Fault, Model, ParseError, TensorInput, word};
use super::{HEADER, MAGIC, NONE, SECTION, VERSION, header, layout, network, op, origin, section, step, tensor};
use crate::crc::crc32;
use crate::ops::conv::{Conv, Second};
use crate::ops::table::{POINT_LIMIT, Table, table_bytes};
use crate::ops::{add::Add, gate::Gate, mirror::Mirror, pool};
use crate::pack::{Depth, LANES, Narrow, panels, params};
use crate::quant::DataType;
use crate::shape::{LINE, View, Window};

/// Heights, widths, channels, strides and the like are at most this.
const SIZE_LIMIT: u32 = 1 << 16;
/// Bytes of an arena, of a depth and of a scratch are at most this.
const BYTE_LIMIT: u64 = 1 << 31;
const SECTION_LIMIT: usize = 64;

type Result<T> = core::result::Result<T, ParseError>;

const fn fail<T>(byte: usize, part: &'static str, what: &'static str) -> Result<T> {
    Err(ParseError { byte, fault: Fault::Part(part, what) })
}

pub fn parse(bytes: &[u8]) -> Result<Model<'_>> {
    if bytes.get(..MAGIC.len()) != Some(&MAGIC) {
        return Err(ParseError { byte: 0, fault: Fault::NotStone });
    }
    if bytes.len() < HEADER + 4 {
        return Err(ParseError { byte: bytes.len(), fault: Fault::Length });
    }
    let version = word(bytes, header::VERSION / 4);
    if version != VERSION {
        return Err(ParseError { byte: header::VERSION, fault: Fault::Version(version) });
    }
    if word(bytes, header::BYTES / 4) as usize != bytes.len() {
        return Err(ParseError { byte: header::BYTES, fault: Fault::Length });
    }
    let (content, sum) = bytes.split_at(bytes.len() - 4);
    if crc32(content).to_le_bytes() != sum {
        return Err(ParseError { byte: content.len(), fault: Fault::Checksum });
    }
    let model = sections(bytes, content)?;
    check_network(&model)?;
    for plan in model.plans() {
        check_plan(&plan)?;
    }
    Ok(model)
}

/// Finds the sections; unknown ones are skipped.
fn sections<'a>(bytes: &'a [u8], content: &'a [u8]) -> Result<Model<'a>> {
    let count = word(bytes, header::SECTIONS / 4) as usize;
    if count > SECTION_LIMIT || content.len() < HEADER + count * SECTION {
        return fail(header::SECTIONS, "header", "the table of sections does not fit into the file");
    }
    let mut model =
        Model { bytes, network: &[], names: "", plans: &[], tensors: &[], steps: &[], weights: &[], checks: &[], labels: &[], origin: &[], picture: &[] };
    for i in 0..count {
        let at = HEADER + i * SECTION;
        let entry = &bytes[at..at + SECTION];
        let (first, len) = (word(entry, 4) as usize, word(entry, 5) as usize);
        let Some(data) = first.checked_add(len).and_then(|end| content.get(first..end)) else {
            return fail(at, "section", "it does not lie inside the file");
        };
        if first % 64 != 0 {
            return fail(at, "section", "it does not begin at a multiple of 64");
        }
        if entry[8..16] != [0; 8] {
            continue;
        }
        let mut name = [0; 8];
        name.copy_from_slice(&entry[..8]);
        if (0..i).any(|j| bytes[HEADER + j * SECTION..][..16] == entry[..16]) {
            return fail(at, "section", "there is another one of its name");
        }
        match name {
            section::NETWORK => model.network = data,
            section::NAMES => match core::str::from_utf8(data) {
                Ok(names) => model.names = names,
                Err(_) => return fail(first, "names", "they are no UTF-8 text"),
            },
            section::PLANS => model.plans = data.as_chunks().0,
            section::TENSORS => model.tensors = data.as_chunks().0,
            section::STEPS => model.steps = data.as_chunks().0,
            section::WEIGHTS => model.weights = data,
            section::CHECKS => model.checks = data.as_chunks().0,
            section::LABELS => model.labels = data,
            section::ORIGIN => model.origin = data,
            section::PICTURE => model.picture = data,
            _ => {}
        }
    }
    Ok(model)
}

/// Where a part of the file begins.
fn byte_of(model: &Model<'_>, part: &[u8]) -> usize {
    (part.as_ptr() as usize).saturating_sub(model.bytes.as_ptr() as usize)
}

fn check_network(model: &Model<'_>) -> Result<()> {
    if model.network.len() != network::BYTES || model.origin.len() != origin::BYTES {
        return fail(HEADER, "network", "the section is missing or of another size");
    }
    let at = byte_of(model, model.network);
    let preprocess = model.preprocess();
    let origins = [origin::METHOD, origin::CONVERTER, origin::SKIPPED];
    if !model.named(model.network, network::NAME) || !origins.iter().all(|&at| model.named(model.origin, at)) {
        return fail(at, "network", "its name or origin does not lie in the names");
    }
    if !labels_fit(model) {
        return fail(byte_of(model, model.labels), "labels", "they are no list of UTF-8 texts");
    }
    if word(model.network, network::INPUT_KIND) > 1 || word(model.network, network::RANK) != 3 {
        return fail(at, "network", "this kind of input is not known");
    }
    let [h, w, c] = model.input_shape();
    if [h, w, c].iter().any(|&v| v == 0 || v > SIZE_LIMIT) {
        return fail(at, "network", "the input has no pixels or too many");
    }
    let product = |sizes: &[u32]| sizes.iter().map(|&v| u64::from(v)).product::<u64>();
    let bytes = product(&[h, w, c]);
    let fits = |t: &TensorInput| {
        t.scale.is_normal()
            && t.scale > 0.0
            && t.sizes.iter().all(|&n| n <= SIZE_LIMIT)
            && t.sizes.iter().skip_while(|n| **n > 0).all(|&n| n == 0)
            && product(t.dimensions()) == bytes
    };
    if model.tensor().is_some_and(|t| !fits(&t)) {
        return fail(at, "network", "the layout of the input does not fit its size, or its scale is not above 0");
    }
    if !model.picture.is_empty() && model.picture.len() as u64 != bytes {
        return fail(byte_of(model, model.picture), "picture", "it has not the size of the input");
    }
    let pictures = model.tensor().is_none();
    if pictures
        && (preprocess.crop.is_some_and(|crop| crop != [h, w])
            || word(model.network, network::RESIZE) > 2
            || word(model.network, network::RESIZE_TO) > SIZE_LIMIT)
    {
        return fail(at, "network", "the preprocessing does not fit the input");
    }
    if model.plans.is_empty() || model.plans.len() > PlanKind::ALL.len() || model.checks.len() != model.steps.len() {
        return fail(at, "network", "a plan needs steps and their check values");
    }
    Ok(())
}

/// True if there are no labels or all of them can be read.
fn labels_fit(model: &Model<'_>) -> bool {
    let Some(count) = model.labels.get(..4).map(|l| word(l, 0) as usize) else { return model.labels.is_empty() };
    count < model.labels.len() / 4 && (0..count).all(|class| model.label(class).is_some())
}

fn check_plan(plan: &Plan<'_>) -> Result<()> {
    let (model, at) = (plan.model(), byte_of(&plan.model(), plan.record));
    let ranges = [(layout::TENSORS, model.tensors.len()), (layout::STEPS, model.steps.len())];
    for (index, len) in ranges {
        let (first, count) = (word(plan.record, index) as usize, word(plan.record, index + 1) as usize);
        if count == 0 || first.checked_add(count).is_none_or(|end| end > len) {
            return fail(at, "plan", "its tensors or steps are not in the file");
        }
    }
    if word(plan.record, layout::KIND) > 1 || plan.tensor_bytes() as u64 > BYTE_LIMIT || plan.scratch_bytes() as u64 > BYTE_LIMIT {
        return fail(at, "plan", "its kind or size is not known");
    }
    if !plan.tensor_bytes().is_multiple_of(64) || !plan.scratch_bytes().is_multiple_of(64) {
        return fail(at, "plan", "its sizes are no multiples of 64");
    }
    if model.plans().filter(|p| p.kind() == plan.kind()).count() > 1 {
        return fail(at, "plan", "there is another one of its kind");
    }
    let (input, output) = (word(plan.record, layout::INPUT) as usize, word(plan.record, layout::OUTPUT) as usize);
    if input >= plan.tensor_count() || output >= plan.tensor_count() {
        return fail(at, "plan", "it has no input or no scores");
    }
    for i in 0..plan.tensor_count() {
        check_tensor(plan, i, i == input)?;
    }
    let scores = plan.output().view();
    if scores.kind != DataType::I32 || scores.pixels() != 1 || scores.c != model.classes() {
        return fail(at, "plan", "the scores are not one 32-bit number a class");
    }
    let picture = plan.input().view();
    let kind = if model.tensor().is_some() { DataType::S8 } else { DataType::U8 };
    if [picture.h, picture.w, picture.c] != model.input_shape() || picture.kind != kind || !picture.is_dense() {
        return fail(at, "plan", "its input is not that of the network");
    }
    if picture.pixel != picture.c as usize {
        return fail(at, "plan", "the pixels of the input do not follow each other");
    }
    for record in plan.steps() {
        let at = byte_of(&model, record.record());
        if record.operands().chain([record.output()]).any(|i| i >= plan.tensor_count()) {
            return fail(at, "step", "it names a tensor that is not in the plan");
        }
        check_step(plan, &record, at)?;
    }
    for (i, record) in plan.steps().enumerate() {
        if !record.operands().all(|tensor| alive(plan, &plan.tensor(tensor).view(), i)) {
            return fail(byte_of(&model, record.record()), "step", "it reads a tensor that was not made or was overwritten");
        }
    }
    if output == input || !alive(plan, &scores, plan.len()) {
        return fail(at, "plan", "the scores are not made or are overwritten");
    }
    Ok(())
}

/// True if a tensor holds what was made of it when step `before` begins: each of its channels is the input's or a step's, and no later step has written over it.
fn alive(plan: &Plan<'_>, view: &View, before: usize) -> bool {
    let stored = view.stored_channels().cast_signed();
    let mut channel = 0;
    while channel < stored {
        // The last step that wrote this channel; what later ones wrote of those above is looked for next.
        let (mut end, mut found) = (stored, false);
        let made = plan.steps().take(before).rev().map(|record| plan.tensor(record.output()).view());
        for output in made.chain([plan.input().view()]) {
            let Some(at) = channel_of(&output, view) else {
                if overlap(&output, view) {
                    return false;
                }
                continue;
            };
            let behind = at + output.stored_channels().cast_signed();
            if at <= channel && channel < behind {
                (end, found) = (end.min(behind), true);
                break;
            }
            if at > channel {
                end = end.min(at);
            }
        }
        if !found {
            return false;
        }
        channel = end;
    }
    true
}

/// The channel of `view` at which `output` begins, where both are channels of one buffer: the same pixels, at the same distances. A tensor of another type than
/// bytes counts only as a whole.
fn channel_of(output: &View, view: &View) -> Option<isize> {
    if output == view {
        return Some(0);
    }
    let lattice = |v: &View| (v.h, v.w, v.pixel, v.row);
    if lattice(output) != lattice(view) || !bytes_type(output) || output.kind != view.kind || view.is_picture() || output.is_picture() {
        return None;
    }
    let (a, b) = (output.offset.cast_signed(), view.offset.cast_signed());
    let room = view.pixel.cast_signed();
    // Views of one pixel each are apart by any distance; with more pixels they interleave only within one.
    (view.pixels() == 1
        || (a - b).abs() < room && (a + output.stored_channels().cast_signed()).max(b + view.stored_channels().cast_signed()) - a.min(b) <= room)
        .then_some(a - b)
}

fn check_tensor(plan: &Plan<'_>, index: usize, is_input: bool) -> Result<()> {
    let record = plan.tensor(index);
    let at = byte_of(&plan.model(), record.record());
    let view = record.view();
    let sizes = [view.h, view.w, view.c];
    if sizes.iter().any(|&v| v == 0 || v > SIZE_LIMIT) || record.word(tensor::TYPE) > 3 {
        return fail(at, "tensor", "its shape or type is not known");
    }
    if view.kind.clamp(record.zero()) != record.zero() {
        return fail(at, "tensor", "what stands for zero is no value of its type");
    }
    let scales = record.word(tensor::CHANNEL_SCALES);
    if !plan.model.named(record.record(), tensor::NAME) || scales != NONE && plan.model.weights(scales, view.c as usize * 4).is_empty() {
        return fail(at, "tensor", "its name or scales do not lie in the file");
    }
    if !(0..if scales == NONE { 1 } else { view.c as usize }).all(|c| record.scale(c).is_finite() && record.scale(c) > 0.0) {
        return fail(at, "tensor", "a scale is not above 0");
    }
    let element = view.kind.bytes() as u64;
    let padded = u64::from(view.c).next_multiple_of(4) * element;
    let (pixel, row) = (view.pixel as u64, view.row as u64);
    let stored = if pixel < padded { u64::from(view.c) * element } else { padded };
    if pixel < stored || (pixel < padded && !(is_input && bytes_type(&view))) || row < (u64::from(view.w) - 1) * pixel + stored {
        return fail(at, "tensor", "its pixels overlap");
    }
    let span = |n: u32, pitch: u64| (u64::from(n) - 1).checked_mul(pitch);
    let end = span(view.h, row).zip(span(view.w, pixel)).and_then(|(a, b)| a.checked_add(b)?.checked_add(stored)?.checked_add(view.offset as u64));
    if end.is_none_or(|end| end > plan.tensor_bytes() as u64) {
        return fail(at, "tensor", "it does not lie inside the arena");
    }
    Ok(())
}

/// True if every field of the window is in range; the output then has the given size.
fn fits(window: &Window, input: &View, output: &View) -> bool {
    window.output(input.h, input.w) == Some([output.h, output.w])
}

fn overlap(a: &View, b: &View) -> bool {
    a.range().start < b.range().end && b.range().start < a.range().end
}

const fn bytes_type(view: &View) -> bool {
    matches!(view.kind, DataType::U8 | DataType::S8)
}

fn check_step(plan: &Plan<'_>, record: &super::StepRecord<'_>, at: usize) -> Result<()> {
    let code = record.word(step::OP);
    if code > op::MIRROR || record.word(step::P) > 15 || (code != op::CONV && record.word(step::GROUPS) != 1) || record.word(step::GROUPS) > SIZE_LIMIT {
        return fail(at, "step", "this version does not know the operation");
    }
    if !plan.model.named(record.record(), step::NAME) {
        return fail(at, "step", "its name does not lie in the names");
    }
    let view = |i: usize| plan.tensor(i).view();
    let (input, output, second) = (view(record.input()), view(record.output()), record.second().map(view));
    if record.operands().map(view).any(|operand| overlap(&operand, &output)) {
        return fail(at, "step", "its output lies on one of its inputs");
    }
    // What is added, gated or looked up may have 16 bits; all else that is read has 8.
    let wide = |i: usize| match code {
        op::ADD => true,
        op::TABLE => record.second().is_none(),
        op::GATE => record.second() != Some(i),
        _ => code == op::CONV && record.word(step::SECOND_KIND) == 1 && record.second() == Some(i) && record.input() != i,
    };
    let readable = |i: usize| bytes_type(&view(i)) || view(i).kind == DataType::S16 && wide(i);
    if !record.operands().all(readable) || output.is_picture() {
        return fail(at, "step", "it cannot read or write tensors of this type");
    }
    if code == op::GATE && second.is_none() {
        return fail(at, "step", "a gate is missing");
    }
    if record.third().is_some() && code != op::GATE {
        return fail(at, "step", "only a gate has three operands");
    }
    let windowed = matches!(code, op::CONV | op::MAX_POOL | op::AVERAGE_POOL | op::MIRROR);
    if windowed && !fits(&record.window(), &input, &output) {
        return fail(at, "step", "its window does not give its output");
    }
    // Sizes are in range from here on, so that the operation can be built without overflow, where `usize` has 32 bits too.
    let groups = record.word(step::GROUPS);
    if groups == 0 || groups > 1 && [&input, &output].iter().any(|v| v.is_picture() || !v.stored_channels().is_multiple_of(groups as usize * 4) || v.c % 4 != 0)
    {
        return fail(at, "step", "its channels do not fall into groups of a multiple of 4");
    }
    let narrow = record.word(step::NARROW);
    let whole = |v: &View| v.stored_channels() >= LANES && u64::from(narrow) * u64::from(groups) == v.stored_channels() as u64;
    if narrow != 0 && (Narrow::of(narrow as usize).is_none() || code != op::CONV || record.word(step::SECOND_KIND) != 0 || !whole(&input) || !whole(&output)) {
        return fail(at, "step", "its groups do not lie side by side");
    }
    let outputs = if code == op::CONV { (output.c.div_ceil(groups)).next_multiple_of(16).saturating_mul(groups) } else { 1 };
    let depth = |w: &Window, v: &View| [w.kernel[0], w.kernel[1], v.c, outputs].iter().try_fold(1u64, |n, &f| n.checked_mul(u64::from(f.next_multiple_of(4))));
    if windowed && depth(&record.window(), &input).is_none_or(|d| d > BYTE_LIMIT) {
        return fail(at, "step", "its window is too large");
    }
    if let Some(second) = second.as_ref().filter(|_| code == op::CONV) {
        let window = record.second_window();
        if window.output(second.h, second.w).is_none() || depth(&window, second).is_none_or(|d| d > BYTE_LIMIT) {
            return fail(at, "step", "the window of its second operand does not fit");
        }
    }
    match record.operation() {
        Operation::Conv(conv) => check_conv(plan, record, &conv, at),
        Operation::Pool(pool) => check_pool(&pool, at),
        Operation::Add(add) => check_add(&add, at),
        Operation::Gate(gate) => check_gate(plan, &gate, at),
        Operation::Table(table) => check_table(&table, at),
        Operation::Mirror(mirror) => check_mirror(&mirror, &record.window(), at),
    }
}

/// Bytes of packed weights, or none where they would not fit into a file.
fn packed(window: &Window, inputs: usize, outputs: usize) -> Option<usize> {
    let depth = Depth::new(window, inputs).len() as u64;
    let bytes = depth.checked_mul(panels(outputs) as u64 * 16)?;
    usize::try_from(bytes).ok().filter(|&b| b as u64 <= BYTE_LIMIT)
}

fn check_conv(plan: &Plan<'_>, record: &super::StepRecord<'_>, conv: &Conv<'_>, at: usize) -> Result<()> {
    let kind = record.word(step::SECOND_KIND);
    if kind > 2 || (kind > 0) != record.second().is_some() {
        return fail(at, "convolution", "its second operand is missing or not known");
    }
    let [panels, lines] = conv.size();
    if conv.weights.len() != lines * LINE {
        return fail(at, "convolution", "its weights are not in the file");
    }
    if kind == 2 && conv.groups > 1 {
        return fail(at, "convolution", "a projection has no groups");
    }
    if conv.params.len() != panels * params::rows(kind == 1, kind == 2) * 64 {
        return fail(at, "convolution", "its parameters are not in the file");
    }
    if record.word(step::PADDING) != NONE && conv.padding.len() != conv.input.c as usize {
        return fail(at, "convolution", "its padding bytes are not in the file");
    }
    if record.word(step::BLOCK_ROWS) == 0 || record.word(step::BLOCK_ROWS) > SIZE_LIMIT {
        return fail(at, "convolution", "it has no block of rows");
    }
    match &conv.second {
        Second::None => {}
        Second::Skip { view, stride, front } => {
            let reach = |out: u32, stride: u32, size: u32| u64::from(out - 1) * u64::from(stride) < u64::from(size);
            if !reach(conv.output.h, stride[0], view.h) || !reach(conv.output.w, stride[1], view.w) || *front > SIZE_LIMIT {
                return fail(at, "convolution", "the skip is smaller than the output");
            }
        }
        Second::Projection { view, window, weights } => {
            let size = window.output(view.h, view.w).unwrap_or_default();
            if size[0] < conv.output.h || size[1] < conv.output.w || view.kind != DataType::U8 || view.is_picture() {
                return fail(at, "convolution", "the projection does not give the output");
            }
            if packed(window, view.stored_channels(), conv.output.stored_channels()) != Some(weights.len()) {
                return fail(at, "convolution", "the projection's weights are not in the file");
            }
        }
    }
    let width = u64::from(conv.output.w) * u64::from(conv.window.stride[1]) + u64::from(conv.window.extent()[1]);
    let rows = u64::from(conv.output.h) * u64::from(conv.window.stride[0]) + u64::from(conv.window.extent()[0]);
    let limit = (width * conv.input.stored_channels() as u64 + 64).checked_mul(rows);
    if conv.copies() && (limit.is_none_or(|l| l > BYTE_LIMIT) || conv.scratch() > plan.scratch_bytes()) {
        return fail(at, "convolution", "its scratch does not fit into the plan's");
    }
    Ok(())
}

fn check_pool(pool: &pool::Pool<'_>, at: usize) -> Result<()> {
    let (input, output) = (&pool.input, &pool.output);
    if input.kind != output.kind || input.c != output.c || input.stored_channels() != output.stored_channels() {
        return fail(at, "pool", "its output has other channels than its input");
    }
    let extent = pool.window.extent();
    if (0..4).any(|i| pool.window.pads[i] >= extent[i % 2]) {
        return fail(at, "pool", "its border is wider than its window");
    }
    if let pool::Kind::Average(average) = &pool.kind
        && average.multipliers.len() as u64 != u64::from(pool.window.kernel[0]) * u64::from(pool.window.kernel[1])
    {
        return fail(at, "pool", "its multipliers are not in the file");
    }
    Ok(())
}

fn check_add(add: &Add<'_>, at: usize) -> Result<()> {
    let shape = |v: &View| (v.h, v.w, v.c, v.stored_channels());
    if shape(&add.x) != shape(&add.output) || add.y.is_some_and(|y| shape(&y) != shape(&add.output)) {
        return fail(at, "addition", "its operands have other shapes than its output");
    }
    if add.params.len() != panels(add.output.stored_channels()) * params::ADD_ROWS * 64 {
        return fail(at, "addition", "its parameters are not in the file");
    }
    Ok(())
}

fn check_gate(plan: &Plan<'_>, gate: &Gate<'_>, at: usize) -> Result<()> {
    check_add(&Add { x: gate.x, y: gate.skip, output: gate.output, params: gate.params, p: gate.p }, at)?;
    if gate.gate.kind != DataType::U8 || gate.gate.pixels() != 1 || gate.gate.c != gate.x.c || gate.gate.stored_channels() != gate.x.stored_channels() {
        return fail(at, "gate", "it has not one byte for every channel");
    }
    if gate.scratch() > plan.scratch_bytes() {
        return fail(at, "gate", "its scratch does not fit into the plan's");
    }
    Ok(())
}

fn check_table(table: &Table<'_>, at: usize) -> Result<()> {
    let shape = |v: &View| (v.h, v.w, v.c, v.stored_channels());
    if shape(&table.input) != shape(&table.output) {
        return fail(at, "table", "its output has another shape than its input");
    }
    if !bytes_type(&table.output) && [&table.input, &table.output].iter().any(|v| v.kind != DataType::S16) {
        return fail(at, "table", "its output has another type than it can make");
    }
    if table.table.len() != table_bytes(table.input.kind) {
        return fail(at, "table", "it is not in the file");
    }
    let beyond = |point: &[u8; 4]| i32::from_le_bytes(*point).unsigned_abs() > POINT_LIMIT.unsigned_abs();
    if table.input.kind == DataType::S16 && table.table.as_chunks().0.iter().any(beyond) {
        return fail(at, "table", "a point of it is out of range");
    }
    Ok(())
}

fn check_mirror(mirror: &Mirror, window: &Window, at: usize) -> Result<()> {
    let (input, output) = (&mirror.input, &mirror.output);
    if input.kind != output.kind || input.c != output.c || input.stored_channels() != output.stored_channels() {
        return fail(at, "border", "its output has other channels than its input");
    }
    let sides = [input.h, input.w];
    if *window != (Window { pads: window.pads, ..Window::point([1, 1]) }) || (0..4).any(|i| window.pads[i] >= sides[i % 2]) {
        return fail(at, "border", "it is wider than what it mirrors");
    }
    Ok(())
}
