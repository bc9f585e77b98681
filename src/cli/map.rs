//! The arena over the steps of a plan: who lies where, and what could not be smaller.

use crate::format::Plan;
use core::fmt::Write as _;
use core::ops::RangeInclusive;

const COLUMNS: usize = 64;

/// The steps during which each tensor is needed; the input from the first step on, the scores to the end.
fn lives(plan: &Plan<'_>) -> Vec<RangeInclusive<usize>> {
    let mut lives: Vec<Option<RangeInclusive<usize>>> = vec![None; plan.tensor_count()];
    for (i, step) in plan.steps().enumerate() {
        for tensor in [Some(step.input()), step.second(), Some(step.output())].into_iter().flatten() {
            let first = lives[tensor].as_ref().map_or(i, |l| *l.start());
            lives[tensor] = Some(first..=i);
        }
    }
    #[expect(clippy::reversed_empty_ranges, reason = "a tensor that no step names is never needed")]
    lives.into_iter().map(|l| l.unwrap_or(1..=0)).collect()
}

/// Bytes that the tensors of the most demanding step need together: no order of the memory can do with less.
#[must_use]
pub fn lower_bound(plan: &Plan<'_>) -> usize {
    let lives = lives(plan);
    let live = |step: usize| (0..lives.len()).filter(|&t| lives[t].contains(&step)).map(|t| plan.tensor(t).view().bytes()).sum();
    (0..plan.len()).map(live).max().unwrap_or(0)
}

/// A line a step: `o` what it writes, `i` what it reads, `s` its second operand, `-` what later steps still need, `.` free; and the scratch of a thread as `w`.
#[must_use]
pub fn draw(plan: &Plan<'_>) -> String {
    let bytes = plan.arena_bytes(1).max(1);
    let lives = lives(plan);
    let mut text = format!("\narena of {bytes} bytes, {} a column: o written, i read, s second operand, - kept, w scratch, . free\n", bytes.div_ceil(COLUMNS));
    for (i, step) in plan.steps().enumerate() {
        let mut line = ['.'; COLUMNS];
        let mut mark = |range: core::ops::Range<usize>, sign: char| {
            if !range.is_empty() {
                line[range.start * COLUMNS / bytes..((range.end - 1) * COLUMNS / bytes + 1).min(COLUMNS)].fill(sign);
            }
        };
        mark(plan.tensor_bytes()..bytes, 'w');
        for tensor in (0..lives.len()).filter(|&t| lives[t].contains(&i)) {
            let sign = match tensor {
                t if t == step.output() => 'o',
                t if t == step.input() => 'i',
                t if Some(t) == step.second() => 's',
                _ => '-',
            };
            mark(plan.tensor(tensor).view().range(), sign);
        }
        let _ = writeln!(text, "  {}  {}", line.iter().collect::<String>(), step.name());
    }
    text
}
