//! Narrow groups, side by side in panels: every set against the scalar one.

use super::{Case, KINDS, Noise, Second, rounds, sets};
use skipstone::pack::{LANES, Narrow, Taps, params};

const BOTH: [Narrow; 2] = [Narrow::Four, Narrow::Eight];

/// A block of `panels` panels of narrow groups, with a window of `rows` by `cols` taps.
fn case(noise: &mut Noise, narrow: Narrow, [rows, cols]: [usize; 2], [height, pixels, panels]: [usize; 3]) -> Case {
    let size = [height, pixels, panels * LANES];
    let mut case = Case::new(noise, Taps { rows, cols, groups: narrow.lines() }, size);
    // Pixels that share taps with their neighbours, or not.
    if let step @ 1.. = noise.below(4) {
        (case.main.tap_col, case.main.out_pixel) = (panels * LANES, step * panels * LANES);
    }
    let reach = case.main.source(&[]).reach(&Taps { rows, cols, groups: 4 * panels }, height, pixels);
    case.main.bytes = noise.bytes(reach);
    (case.narrow, case.second) = (Some(narrow), Second::None);
    let wild = noise.below(4) == 0;
    case.make_params(noise, wild);
    case
}

/// Any such block.
pub fn any(noise: &mut Noise) -> Case {
    let narrow = BOTH[noise.below(2)];
    let (taps, size) = ([noise.between(1, 3), noise.between(1, 3)], [noise.between(1, 4), noise.between(1, 30), noise.between(1, 5)]);
    case(noise, narrow, taps, size)
}

#[test]
fn widths_and_windows() {
    let (sets, mut noise) = (sets(), Noise(12));
    for narrow in BOTH {
        for pixels in 1..=30 {
            for rows in 1..=4 {
                for cols in 1..=5 {
                    let size = [noise.between(1, 4), pixels, noise.between(1, 4)];
                    case(&mut noise, narrow, [rows, cols], size).check(&sets);
                }
            }
        }
    }
}

#[test]
fn random_groups() {
    let (sets, mut noise) = (sets(), Noise(13));
    for _ in 0..rounds(4000, 400) {
        any(&mut noise).check(&sets);
    }
}

/// Rows that are cut into pieces.
#[test]
fn wide_rows() {
    let (sets, mut noise) = (sets(), Noise(14));
    for narrow in BOTH {
        for (size, pixel) in [([1, 900, 4], 64), ([20, 33, 3], 48), ([5, 14, 40], 640)] {
            let mut case = case(&mut noise, narrow, [3, 3], size);
            (case.main.out_pixel, case.main.tap_col) = (pixel, pixel);
            let reach = case.main.source(&[]).reach(&Taps { groups: 4 * size[2], ..case.main.taps }, size[0], size[1]);
            case.main.bytes = noise.bytes(reach);
            case.check(&sets);
        }
    }
}

/// Bytes, weights and multipliers at the ends of their ranges.
#[test]
fn extremes() {
    let (sets, mut noise) = (sets(), Noise(15));
    for (narrow, kind) in BOTH.into_iter().flat_map(|narrow| KINDS.map(|kind| (narrow, kind))) {
        for (x, w) in [(0, -127i8), (255, -127), (255, 127), (255, 1), (0, 1), (128, -127)] {
            for m in [0, (1 << 30) - 1, i32::MAX, i32::MIN] {
                for signed in [false, true] {
                    let mut case = case(&mut noise, narrow, [7, 5], [1, 7, 2]);
                    case.kind = kind;
                    (case.out_pixel, case.out_row, case.main.signed) = (32 * kind.bytes(), 0, signed);
                    case.main.bytes.fill(x);
                    case.main.weights.as_flattened_mut().fill(w.cast_unsigned());
                    case.pair_safe = w == 1;
                    case.make_params(&mut noise, false);
                    for rows in case.params.chunks_exact_mut(3) {
                        rows[params::MULTIPLIER].as_chunks_mut::<4>().0.fill(m.to_le_bytes());
                    }
                    case.check(&sets);
                }
            }
        }
    }
}
