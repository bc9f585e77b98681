//! Moments of a window that moves by single pixels, at all of them.
//!
//! Taps that lie equally far apart meet the same pairs of pixels, but for those at the edges of the picture: their sums of products are made once, region by
//! region, and each pair of taps adds up the regions that it meets. A 3x3 window has 13 lags for its 45 pairs of taps.

use super::products::halves;
use super::{BAND, BYTES, Field, MIDDLE, Moments, Reads, SAMPLES, sums};
use crate::convert::parallel::chunks;
use crate::convert::sums::real;
use crate::kernels::Kernels;
use crate::pack::{Depth, LANES};
use crate::quant::DataType;
use crate::shape::LINE;
use core::ops::Range;
use std::collections::BTreeMap;
use std::vec::Vec;

/// What the sum over a region costs beside its products, as so many of them.
const OVERHEAD: u64 = 64;

/// One axis of the padded picture.
struct Axis {
    /// Where each tap begins to meet pixels.
    taps: Vec<usize>,
    /// How many it meets: the output's.
    size: usize,
    /// The padded length.
    length: usize,
    /// What lies between the places where taps begin and end to meet pixels.
    segments: Vec<Range<usize>>,
}

impl Axis {
    fn new(kernel: u32, dilation: u32, size: u32) -> Self {
        let (dilation, size) = (dilation as usize, size as usize);
        let taps: Vec<usize> = (0..kernel as usize).map(|k| k * dilation).collect();
        let mut borders: Vec<usize> = taps.iter().flat_map(|&t| [t, t + size]).collect();
        borders.sort_unstable();
        borders.dedup();
        let segments = borders.windows(2).map(|b| b[0]..b[1]).collect();
        Self { length: (taps.len() - 1) * dilation + size, taps, size, segments }
    }

    /// True if a tap meets all of a segment. It meets none of it else.
    fn meets(&self, tap: usize, segment: &Range<usize>) -> bool {
        self.taps[tap] <= segment.start && segment.end <= self.taps[tap] + self.size
    }
}

/// A rectangle of the padded picture.
struct Region {
    rows: Range<usize>,
    columns: Range<usize>,
}

impl Region {
    fn pixels(&self) -> usize {
        self.rows.len() * self.columns.len()
    }
}

/// A range in pieces of at most `most`.
fn pieces(range: &Range<usize>, most: usize) -> impl Iterator<Item = Range<usize>> {
    let end = range.end;
    range.clone().step_by(most).map(move |from| from..end.min(from + most))
}

/// Row and column of a tap.
type Tap = [usize; 2];

/// Pairs of taps that lie equally far apart.
struct Lag {
    /// Rows and columns of pixels from the first tap to the second.
    by: [isize; 2],
    pairs: Vec<[Tap; 2]>,
    /// The regions that the first taps meet.
    regions: Vec<usize>,
}

/// Some positions in depth of a window that moves by single pixels.
pub struct Shifted<'a> {
    read: &'a Reads<'a>,
    depth: Depth,
    positions: Range<usize>,
    axes: [Axis; 2],
    /// Those that have a position among the wanted ones.
    taps: Vec<Tap>,
    regions: Vec<Region>,
    lags: Vec<Lag>,
}

impl<'a> Shifted<'a> {
    /// `None` if the window moves by more, if it has more taps than the output has pixels on an axis, so that edges are the most of it, or if the pictures are
    /// none, too many or too large.
    pub fn new(read: &'a Reads<'a>, positions: Range<usize>, size: [u32; 2]) -> Option<Self> {
        let window = &read.window;
        let axes = [0, 1].map(|a| Axis::new(window.kernel[a], window.dilation[a], size[a]));
        let pictures = read.pictures.len();
        let bytes = axes.iter().map(|a| a.length as u64).product::<u64>() * pictures as u64 * u64::from(read.view.c);
        let edges = axes.iter().any(|a| a.taps.len() > a.size);
        // The pictures stand in memory twice: channel by channel, and region by region.
        if window.stride != [1, 1] || edges || !(1..=SAMPLES).contains(&pictures) || 2 * bytes > BYTES as u64 {
            return None;
        }
        let mut shifted = Self { read, depth: read.depth(), positions, axes, taps: Vec::new(), regions: Vec::new(), lags: Vec::new() };
        let [rows, columns] = shifted.axes.each_ref().map(|a| 0..a.taps.len());
        shifted.taps = rows.flat_map(|ky| columns.clone().map(move |kx| [ky, kx])).filter(|t| shifted.is_wanted(*t)).collect();
        shifted.regions = shifted.regions();
        shifted.lags = shifted.lags();
        Some(shifted)
    }

    /// What lies between the places where taps begin and end to meet pixels, as far as any tap meets it, in pieces of at most [`SAMPLES`].
    fn regions(&self) -> Vec<Region> {
        let most = SAMPLES / self.read.pictures.len();
        let [rows, columns] = self.axes.each_ref().map(|a| &a.segments);
        let regions = columns.iter().flat_map(|columns| pieces(columns, most)).flat_map(|columns| {
            let most = most / columns.len();
            let rows = rows.iter().flat_map(move |rows| pieces(rows, most));
            rows.map(move |rows| Region { rows, columns: columns.clone() })
        });
        regions.filter(|r| self.taps.iter().any(|t| self.meets(*t, r))).collect()
    }

    fn lags(&self) -> Vec<Lag> {
        let [rows, columns] = self.axes.each_ref().map(|a| &a.taps);
        let mut pairs: BTreeMap<[isize; 2], Vec<[Tap; 2]>> = BTreeMap::new();
        for (i, first) in self.taps.iter().enumerate() {
            for second in &self.taps[i..] {
                let by = [rows[second[0]].cast_signed() - rows[first[0]].cast_signed(), columns[second[1]].cast_signed() - columns[first[1]].cast_signed()];
                pairs.entry(by).or_default().push([*first, *second]);
            }
        }
        let all = pairs.into_iter().map(|(by, pairs)| {
            let met = |r: &usize| pairs.iter().any(|[first, _]| self.meets(*first, &self.regions[*r]));
            let regions = (0..self.regions.len()).filter(met).collect();
            Lag { by, pairs, regions }
        });
        all.collect()
    }

    fn channels(&self) -> usize {
        self.read.view.c as usize
    }

    /// The position of a tap and a channel among those that are wanted.
    fn position(&self, [ky, kx]: Tap, channel: usize) -> Option<usize> {
        self.depth.index(ky, kx, channel).checked_sub(self.positions.start).filter(|&p| p < self.positions.len())
    }

    fn is_wanted(&self, tap: Tap) -> bool {
        (0..self.channels()).any(|c| self.position(tap, c).is_some())
    }

    fn meets(&self, [ky, kx]: Tap, region: &Region) -> bool {
        self.axes[0].meets(ky, &region.rows) && self.axes[1].meets(kx, &region.columns)
    }

    /// About how many products the moments take.
    pub fn products(&self) -> u64 {
        let c = self.channels();
        let pairs = (c * c.next_multiple_of(LANES)) as u64;
        let sums = |lag: &Lag| lag.regions.iter().map(|&r| self.samples(r) as u64 + OVERHEAD).sum::<u64>();
        self.lags.iter().map(|lag| if lag.by == [0, 0] { pairs / 2 * sums(lag) } else { pairs * sums(lag) }).sum()
    }

    /// The moments.
    pub fn moments(self, kernels: Kernels, threads: usize) -> Moments {
        let channels = self.channels();
        let planes = self.planes(threads);
        let mut blocks: Vec<Vec<u8>> = self.regions.iter().map(|_| Vec::new()).collect();
        chunks(&mut blocks, 1, threads, |r, block| block[0] = self.block(&planes, 0..channels, r, [0, 0]));
        let field = Field::new(self.totals(&blocks), self.read.pictures.len() * self.axes[0].size * self.axes[1].size);
        blocks.iter_mut().for_each(|block| kernels.flip_tensor(DataType::U8, block));
        let mut work: Vec<(&Lag, usize)> = self.lags.iter().flat_map(|lag| (0..channels).step_by(BAND).rev().map(move |from| (lag, from))).collect();
        chunks(&mut work, 1, threads, |_, work| {
            let (lag, from) = work[0];
            self.fill(lag, from..channels.min(from + BAND), &planes, &blocks, &field, kernels);
        });
        field.moments(self.positions.start)
    }

    /// Fills in the pairs of taps of one lag, for some channels of the second taps.
    fn fill(&self, lag: &Lag, band: Range<usize>, planes: &[u8], blocks: &[Vec<u8>], field: &Field, kernels: Kernels) {
        // Of a tap and itself one half says all.
        let firsts = if lag.by == [0, 0] { band.end } else { self.channels() };
        let made = lag.regions.iter().map(|&r| {
            let samples = self.samples(r);
            (&self.regions[r], halves(&blocks[r][..firsts * samples], &self.block(planes, band.clone(), r, lag.by), samples, kernels))
        });
        let made: Vec<(&Region, Vec<i32>)> = made.collect();
        let mut sums: Vec<i64> = std::vec![0; firsts * band.len()];
        for &[first, second] in &lag.pairs {
            sums.fill(0);
            for (_, halves) in made.iter().filter(|(region, _)| self.meets(first, region)) {
                sums.iter_mut().zip(halves).for_each(|(sum, half)| *sum += i64::from(*half));
            }
            let pairs = (0..firsts).flat_map(|a| band.clone().map(move |b| (a, b))).zip(&sums);
            field.fill(pairs.filter_map(|((a, b), sum)| {
                let (i, j) = (self.position(first, a)?, self.position(second, b)?);
                (i <= j).then(|| (i, j, real(*sum)))
            }));
        }
    }

    /// The padded pictures, channel by channel, with each pixel's bytes in all pictures side by side.
    fn planes(&self, threads: usize) -> Vec<u8> {
        let (read, view) = (self.read, &self.read.view);
        let [top, left] = [0, 1].map(|a| read.window.pads[a] as usize);
        let [height, width] = self.axes.each_ref().map(|a| a.length);
        let (h, w) = ((view.h as usize).min(height.saturating_sub(top)), (view.w as usize).min(width.saturating_sub(left)));
        let pictures = read.pictures.len();
        let plane = height * width * pictures;
        let mut planes = std::vec![0; self.channels() * plane];
        // As many channels as lie in a line of the pictures.
        chunks(&mut planes, LINE * plane, threads, |chunk, planes| {
            let first = chunk * LINE;
            for (c, plane) in planes.chunks_exact_mut(plane).enumerate() {
                plane.fill(read.turned(read.padding.get(first + c).copied().unwrap_or(0)));
            }
            let channels = planes.len() / plane;
            for (y, x) in (0..h).flat_map(|y| (0..w).map(move |x| (y, x))) {
                let (from, to) = (view.offset + y * view.row + x * view.pixel + first, ((top + y) * width + left + x) * pictures);
                for (p, picture) in read.pictures.iter().enumerate() {
                    let places = planes[to + p..].iter_mut().step_by(plane);
                    places.zip(&picture[from..][..channels]).for_each(|(to, &from)| *to = read.turned(from));
                }
            }
        });
        planes
    }

    /// Bytes of a row of samples of a region.
    fn samples(&self, region: usize) -> usize {
        (self.regions[region].pixels() * self.read.pictures.len()).next_multiple_of(4)
    }

    /// What lies `by` from the pixels of a region, a row for each of some channels.
    fn block(&self, planes: &[u8], channels: Range<usize>, region: usize, by: [isize; 2]) -> Vec<u8> {
        let [height, width] = self.axes.each_ref().map(|a| a.length);
        let (pictures, samples, region) = (self.read.pictures.len(), self.samples(region), &self.regions[region]);
        let run = region.columns.len() * pictures;
        let mut block = std::vec![MIDDLE; channels.len() * samples];
        for (row, plane) in block.chunks_exact_mut(samples).zip(planes.chunks_exact(height * width * pictures).skip(channels.start)) {
            for (y, to) in region.rows.clone().zip(row.chunks_exact_mut(run)) {
                let (y, x) = (y.wrapping_add_signed(by[0]), region.columns.start.wrapping_add_signed(by[1]));
                to.copy_from_slice(&plane[(y * width + x) * pictures..][..run]);
            }
        }
        block
    }

    /// Sum and sum of squares of each position.
    fn totals(&self, blocks: &[Vec<u8>]) -> Vec<[f64; 2]> {
        let mut totals = std::vec![[0.0; 2]; self.positions.len()];
        for (r, (region, block)) in self.regions.iter().zip(blocks).enumerate() {
            let rows = block.chunks_exact(self.samples(r)).map(|row| sums(&row[..region.pixels() * self.read.pictures.len()]));
            for (c, [sum, squares]) in rows.enumerate() {
                for tap in self.taps.iter().filter(|t| self.meets(**t, region)) {
                    if let Some(p) = self.position(*tap, c) {
                        totals[p][0] += sum;
                        totals[p][1] += squares;
                    }
                }
            }
        }
        totals
    }
}
