//! The arena over the steps of a plan: who lies where, and what could not be smaller.

use crate::format::Plan;
use crate::shape::View;
use core::fmt::Write as _;
use core::ops::RangeInclusive;

const COLUMNS: usize = 64;

/// The steps during which each tensor is needed: the input from the first step on, what a step makes until it is overwritten or read for the last time, whole or
/// in part. A tensor that only shows what others have made is never needed itself.
#[must_use]
pub fn lives(plan: &Plan<'_>) -> Vec<Option<RangeInclusive<usize>>> {
    let view = |t: usize| plan.tensor(t).view();
    let mut lives: Vec<Option<RangeInclusive<usize>>> = vec![None; plan.tensor_count()];
    let input = (0..plan.tensor_count()).find(|&t| plan.tensor(t).name() == plan.input().name());
    let mut present: Vec<usize> = input.into_iter().collect();
    present.iter().for_each(|&t| lives[t] = Some(0..=0));
    for (i, step) in plan.steps().enumerate() {
        for read in step.operands().map(view) {
            for &t in present.iter().filter(|&&t| meet(&view(t), &read)) {
                lives[t] = lives[t].as_ref().map(|l| *l.start()..=i);
            }
        }
        let made = view(step.output());
        present.retain(|&t| !meet(&view(t), &made));
        present.push(step.output());
        lives[step.output()] = Some(i..=i);
    }
    lives
}

/// True if two tensors have bytes in common: beside each other in the pixels of one buffer they have none.
fn meet(a: &View, b: &View) -> bool {
    let (first, second) = (a.range(), b.range());
    if first.start >= second.end || second.start >= first.end {
        return false;
    }
    let [own, other] = [a, b].map(|v| v.stored_channels() * v.kind.bytes());
    if (a.pixel, a.row) != (b.pixel, b.row) {
        return true;
    }
    let behind = (first.start + a.pixel - second.start % a.pixel) % a.pixel;
    behind < other || behind + own > a.pixel
}

/// Bytes of the tensors that each step needs or that are kept for later ones.
#[must_use]
pub fn live_bytes(plan: &Plan<'_>) -> Vec<usize> {
    let lives = lives(plan);
    let bytes = |view: View| view.pixels() * view.stored_channels() * view.kind.bytes();
    let live = |step: usize| (0..lives.len()).filter(|&t| lives[t].as_ref().is_some_and(|l| l.contains(&step))).map(|t| bytes(plan.tensor(t).view())).sum();
    (0..plan.len()).map(live).collect()
}

/// Bytes that the tensors of the most demanding step need together: no order of the memory can do with less.
#[must_use]
pub fn lower_bound(plan: &Plan<'_>) -> usize {
    live_bytes(plan).into_iter().max().unwrap_or(0)
}

/// A line a step: `o` what it writes, `i` what it reads, `s` its other operands, `-` what later steps still need, `.` free; and the scratch of a thread as `w`.
#[must_use]
pub fn draw(plan: &Plan<'_>) -> String {
    let bytes = plan.arena_bytes(1).max(1);
    let lives = lives(plan);
    let mut text = format!("\narena of {bytes} bytes, {} a column: o written, i read, s other operands, - kept, w scratch, . free\n", bytes.div_ceil(COLUMNS));
    for (i, step) in plan.steps().enumerate() {
        let mut line = ['.'; COLUMNS];
        let mut mark = |range: core::ops::Range<usize>, sign: char| {
            if !range.is_empty() {
                line[range.start * COLUMNS / bytes..((range.end - 1) * COLUMNS / bytes + 1).min(COLUMNS)].fill(sign);
            }
        };
        mark(plan.tensor_bytes()..bytes, 'w');
        let kept = (0..lives.len()).filter(|&t| lives[t].as_ref().is_some_and(|l| l.contains(&i)));
        let others = [step.second(), step.third()].into_iter().flatten();
        let marks = kept.map(|t| (t, '-')).chain(others.map(|t| (t, 's'))).chain([(step.input(), 'i'), (step.output(), 'o')]);
        marks.for_each(|(t, sign)| mark(plan.tensor(t).view().range(), sign));
        let _ = writeln!(text, "  {}  {}", line.iter().collect::<String>(), step.name());
    }
    text
}
