//! Copies of rows: where a target's library copies word by word, in vectors.

#![cfg_attr(arm64, expect(unsafe_code, reason = "a loop in assembly inside the slices"))]

use core::ops::Range;

/// Bytes that are copied at once.
#[cfg(arm64)]
const STEP: usize = 64;

/// Copies `from` to `to`, which is as long.
///
/// # Panics
/// If it is not.
pub fn copy(to: &mut [u8], from: &[u8]) {
    #[cfg(arm64)]
    let (to, from) = {
        assert!(to.len() == from.len());
        let whole = from.len() / STEP * STEP;
        // SAFETY: both have so many bytes.
        unsafe { steps(to.as_mut_ptr(), from.as_ptr(), whole) };
        (&mut to[whole..], &from[whole..])
    };
    to.copy_from_slice(from);
}

/// Moves a range to the front.
///
/// # Panics
/// If it ends outside the bytes.
pub fn to_front(bytes: &mut [u8], range: Range<usize>) {
    #[cfg(arm64)]
    let whole = {
        let whole = bytes[range.clone()].len() / STEP * STEP;
        let at = bytes.as_mut_ptr();
        // SAFETY: the range lies inside the bytes.
        unsafe { steps(at, at.wrapping_add(range.start), whole) };
        whole
    };
    #[cfg(not(arm64))]
    let whole = 0;
    bytes.copy_within(range.start + whole..range.end, whole);
}

/// Copies `bytes` bytes, a multiple of [`STEP`], from the front to the back.
///
/// # Safety
/// Both must be there; if they overlap, `to` begins before `from`.
#[cfg(arm64)]
unsafe fn steps(to: *mut u8, from: *const u8, bytes: usize) {
    // SAFETY: as the caller's; what a step overwrites of `from` has been read.
    unsafe {
        core::arch::asm!(
            "cbz {bytes}, 3f",
            "2:",
            "ld1 {{v0.16b, v1.16b, v2.16b, v3.16b}}, [{from}], #64",
            "subs {bytes}, {bytes}, #64",
            "st1 {{v0.16b, v1.16b, v2.16b, v3.16b}}, [{to}], #64",
            "b.ne 2b",
            "3:",
            to = inout(reg) to => _,
            from = inout(reg) from => _,
            bytes = inout(reg) bytes => _,
            out("v0") _, out("v1") _, out("v2") _, out("v3") _,
            options(nostack),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_out_as_they_were() {
        let bytes: Vec<u8> = (0..=255).collect();
        for (length, start) in (0..=200).flat_map(|length| (0..=55).map(move |start| (length, start))) {
            let mut copied = [7; 256];
            copy(&mut copied[start..][..length], &bytes[55 - start..][..length]);
            assert!(copied[start..][..length] == bytes[55 - start..][..length]);
            assert!(copied[..start].iter().chain(&copied[start + length..]).all(|&b| b == 7));
            let mut moved = bytes.clone();
            to_front(&mut moved, start..start + length);
            assert!(moved[..length] == bytes[start..][..length] && moved[length..] == bytes[length..]);
        }
    }
}
