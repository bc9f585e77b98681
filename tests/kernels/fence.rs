//! No set reads past the ends of what it is given: operands lie against pages that cannot be read.

use super::elementwise::{Addition, Pool};
use super::{Case, Noise, Operand, Second, narrow, rounds, sets};
use skipstone::kernels::Kernels;
use skipstone::pack::Taps;

/// Memory between two pages that no one may touch.
struct Fence {
    start: *mut u8,
    length: usize,
}

/// At which end of its memory an operand lies.
#[derive(Clone, Copy, Debug)]
enum Side {
    Front,
    Back,
}

#[expect(unsafe_code, reason = "pages that cannot be read come from the operating system")]
impl Fence {
    fn new(bytes: usize) -> Self {
        // SAFETY: it only asks.
        let page = usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).expect("a page has a size");
        let length = bytes.next_multiple_of(page);
        // SAFETY: new memory at an address that the system chooses.
        let all = unsafe { libc::mmap(core::ptr::null_mut(), length + 2 * page, libc::PROT_NONE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0) };
        assert_ne!(all, libc::MAP_FAILED, "no memory");
        let start = all.cast::<u8>().wrapping_add(page);
        // SAFETY: the pages in the middle of what was just mapped.
        assert_eq!(unsafe { libc::mprotect(start.cast(), length, libc::PROT_READ | libc::PROT_WRITE) }, 0);
        Self { start, length }
    }

    /// The same bytes at one end of the memory.
    fn hold(&mut self, bytes: &[u8], side: Side) -> &mut [u8] {
        assert!(bytes.len() <= self.length, "{} bytes are too many", bytes.len());
        let from = match side {
            Side::Front => 0,
            Side::Back => self.length - bytes.len(),
        };
        // SAFETY: the pages can be read and written, hold nothing but bytes, and `self` is borrowed as long as the slice lives.
        let held = unsafe { core::slice::from_raw_parts_mut(self.start.wrapping_add(from), bytes.len()) };
        held.copy_from_slice(bytes);
        held
    }
}

#[test]
fn reads_and_writes_stay_inside() {
    let (mut sets, mut noise) = (sets(), Noise(11));
    sets.push(("scalar".into(), Kernels::scalar()));
    let mut fences: [Fence; 6] = core::array::from_fn(|_| Fence::new(1 << 20));
    for round in 0..rounds(1500, 300) {
        let taps = Taps { rows: noise.between(1, 3), cols: noise.between(1, 3), groups: noise.between(1, 9) };
        let size = [noise.between(1, 3), noise.between(1, 30), noise.between(1, 20) * 4];
        let case = if round % 3 > 0 { Case::new(&mut noise, taps, size) } else { narrow::any(&mut noise) };
        for (name, kernels) in &sets {
            let whole = case.run(*kernels);
            let expected = &whole[super::GUARD..][..case.length()];
            for side in [Side::Front, Side::Back] {
                let mut before = expected.to_vec();
                kernels.flip_tensor(case.kind, &mut before);
                let found = run_fenced(&case, *kernels, &mut fences, side, &before);
                assert!(found == expected, "{name}, round {round}, {side:?}: {}", case.describe());
            }
        }
    }
}

#[test]
fn pools_stay_inside() {
    let (mut sets, mut noise) = (sets(), Noise(13));
    sets.push(("scalar".into(), Kernels::scalar()));
    let [mut a, mut b]: [Fence; 2] = core::array::from_fn(|_| Fence::new(1 << 16));
    for round in 0..rounds(1500, 300) {
        let Some(pool) = Pool::new(&mut noise, round % 10 == 0) else { continue };
        for mean in [false, true] {
            let expected = pool.expected(mean);
            for (name, kernels) in &sets {
                for side in [Side::Front, Side::Back] {
                    let source = a.hold(&pool.stored(*kernels), side);
                    let found = pool.run(*kernels, source, b.hold(&expected, side), mean);
                    assert!(found == expected, "{name}, round {round}, mean {mean}, {side:?}");
                }
            }
        }
    }
}

#[test]
fn additions_stay_inside() {
    let (mut sets, mut noise) = (sets(), Noise(14));
    sets.push(("scalar".into(), Kernels::scalar()));
    let mut fences: [Fence; 4] = core::array::from_fn(|_| Fence::new(1 << 16));
    for _ in 0..rounds(1500, 300) {
        let (pixels, channels) = (noise.between(1, 12), noise.between(1, 40) * 4);
        let addition = Addition::new(&mut noise, pixels, channels);
        let expected = addition.expected();
        for (name, kernels) in &sets {
            for side in [Side::Front, Side::Back] {
                let [a, b, c, d] = &mut fences;
                let [x, y] = addition.stored(*kernels);
                let params = c.hold(&addition.params(), side).as_chunks().0;
                let found = addition.run(*kernels, [a.hold(&x, side), b.hold(&y, side)], params, d.hold(&expected, side));
                assert!(found == expected, "{name}, {side:?}: {}", addition.describe());
            }
        }
    }
}

/// The output over `before`, which holds what stands between the pixels, with every operand at that side of its memory.
fn run_fenced(case: &Case, kernels: Kernels, fences: &mut [Fence; 6], side: Side, before: &[u8]) -> Vec<u8> {
    let [bytes, second] = case.stored(kernels);
    let none = Operand { weights: Vec::new(), ..case.main.clone() };
    let other = if let Second::Projection(operand) = &case.second { operand } else { &none };
    let [a, b, c, d, e, f] = fences;
    let [bytes, second] = [&*a.hold(&bytes, side), &*b.hold(&second, side)];
    let weights = [&*c.hold(case.main.weights.as_flattened(), side), &*d.hold(other.weights.as_flattened(), side)].map(|w| w.as_chunks().0);
    let params = e.hold(case.params.as_flattened(), side).as_chunks().0;
    let mut out = before.to_vec();
    let held = f.hold(&out, side);
    clear(case, held);
    case.run_in(kernels, [bytes, second], weights, params, held);
    out.copy_from_slice(held);
    kernels.flip_tensor(case.kind, &mut out);
    out
}

/// Empties the pixels of an output.
fn clear(case: &Case, out: &mut [u8]) {
    for row in 0..case.rows {
        for pixel in 0..case.pixels {
            out[row * case.out_row + pixel * case.out_pixel..][..case.channels * case.kind.bytes()].fill(0);
        }
    }
}
