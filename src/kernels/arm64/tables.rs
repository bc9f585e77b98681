//! Tables and lines on 64-bit ARM.

#![expect(unsafe_code, reason = "vector loads and stores inside slices, a line's number being a byte")]

use crate::kernels::{LineRow, scalar};
use crate::pack::LANES;
use crate::quant::DataType;
use core::arch::aarch64::*;

/// A table is four quarters of four registers: of each, TBX takes the bytes whose index lies in it and leaves the others.
pub fn lookup(table: &[u8; 256], x: &[u8], out: &mut [u8]) {
    let (vectors, rest) = out.as_chunks_mut::<LANES>();
    let (whole, part) = x.split_at(vectors.len() * LANES);
    scalar::lookup(table, part, rest);
    // SAFETY: NEON is part of the architecture; each quarter is 64 bytes of the table, each vector 16 bytes of its slice.
    unsafe {
        let quarters: [uint8x16x4_t; 4] = core::array::from_fn(|i| vld1q_u8_x4(table[64 * i..][..64].as_ptr()));
        for (y, x) in vectors.iter_mut().zip(whole.as_chunks::<LANES>().0) {
            let x = vld1q_u8(x.as_ptr());
            let mut found = vqtbl4q_u8(quarters[0], x);
            for (i, first) in [(1, 64), (2, 128), (3, 192)] {
                found = vqtbx4q_u8(found, quarters[i], vsubq_u8(x, vdupq_n_u8(first)));
            }
            vst1q_u8(y.as_mut_ptr(), found);
        }
    }
}

/// Looks eight values at a time up on lines. Each value loads its line's begin and slope, which lie side by side.
pub fn lines(row: &mut LineRow<'_>) {
    let (bytes, table) = (row.kind.bytes(), row.lines.as_ptr().cast::<i32>());
    let eights = (row.x.len() / 2).min(row.out.len() / bytes) / 8;
    let shift = i32::try_from(row.shift).unwrap_or_default();
    for i in 0..eights {
        // SAFETY: NEON is part of the architecture; eight values and eight results, which are not I32, lie there; a line's number is at most 255.
        unsafe {
            let place = veorq_u16(vreinterpretq_u16_u8(vld1q_u8(row.x.as_ptr().add(16 * i))), vdupq_n_u16(0x8000));
            let (line, along) = (vshrq_n_u16::<8>(place), vandq_u16(place, vdupq_n_u16(255)));
            let four = |[a, b, c, d]: [u16; 4], along: uint16x4_t| {
                let [a, b, c, d] = [a, b, c, d].map(|line| vld1_s32(table.add(2 * usize::from(line))));
                let (low, high) = (vcombine_s32(a, b), vcombine_s32(c, d));
                let (begin, slope) = (vuzp1q_s32(low, high), vuzp2q_s32(low, high));
                let y = vmlaq_s32(begin, slope, vreinterpretq_s32_u32(vmovl_u16(along)));
                vqmovn_s32(vshlq_s32(y, vdupq_n_s32(-shift)))
            };
            let low = [vgetq_lane_u16::<0>(line), vgetq_lane_u16::<1>(line), vgetq_lane_u16::<2>(line), vgetq_lane_u16::<3>(line)];
            let high = [vgetq_lane_u16::<4>(line), vgetq_lane_u16::<5>(line), vgetq_lane_u16::<6>(line), vgetq_lane_u16::<7>(line)];
            let words = vcombine_s16(four(low, vget_low_u16(along)), four(high, vget_high_u16(along)));
            let out = row.out.as_mut_ptr().add(8 * bytes * i);
            let narrow = match row.kind {
                DataType::U8 => vqmovun_s16(words),
                DataType::S8 => vreinterpret_u8_s8(vqmovn_s16(words)),
                DataType::S16 | DataType::I32 => {
                    vst1q_u8(out, vreinterpretq_u8_s16(words));
                    continue;
                }
            };
            vst1_u8(out, veor_u8(narrow, vdup_n_u8(row.flip)));
        }
    }
    scalar::lines(&mut LineRow { x: &row.x[16 * eights..], out: &mut row.out[8 * bytes * eights..], ..*row });
}
