//! Where the elements of a tensor lie that others are made of.

use std::vec::Vec;

/// Elements from one element of a tensor of `dims` to the next along each of `rank` axes, the last ones being its own; 0 along axes of size 1.
pub(super) fn strides(dims: &[usize], rank: usize) -> Vec<usize> {
    let mut strides = std::vec![0; rank];
    let mut step = 1;
    for (a, &d) in dims.iter().enumerate().rev() {
        if let Some(s) = (a + rank).checked_sub(dims.len()).and_then(|a| strides.get_mut(a))
            && d > 1
        {
            *s = step;
        }
        step *= d;
    }
    strides
}

/// `first` plus the sum of index times stride, for every index of `dims` in order.
pub(super) fn offsets(dims: &[usize], strides: &[usize], first: usize) -> Vec<usize> {
    let mut all = std::vec![first];
    for (&d, &s) in dims.iter().zip(strides) {
        all = all.iter().flat_map(|&at| (0..d).map(move |i| at + i * s)).collect();
    }
    all
}
