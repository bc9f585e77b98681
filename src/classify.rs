//! The best classes of a run.

use crate::session::Scores;

/// A class and its score.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Class {
    /// Index of the class.
    pub class: usize,
    /// Its score in the integers of the run.
    pub score: i32,
}

/// The `N` best classes, best first; equal scores go to the lower index. Where there are fewer classes the rest is `None`.
#[must_use]
pub fn top<const N: usize>(scores: Scores<'_>) -> [Option<Class>; N] {
    let mut best: [Option<Class>; N] = [None; N];
    for (class, score) in scores.iter().enumerate() {
        let rank = best.iter().position(|b| b.is_none_or(|b| score > b.score)).unwrap_or(N);
        if rank < N {
            best[rank..].rotate_right(1);
            best[rank] = Some(Class { class, score });
        }
    }
    best
}
