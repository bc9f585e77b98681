//! Quantized inference for residual networks on small machines.
#![cfg_attr(not(feature = "std"), no_std)]
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod classify;
pub mod crc;
pub mod format;
pub mod kernels;
pub mod ops;
pub mod pack;
pub mod quant;
pub mod session;
pub mod shape;

pub mod picture;

#[cfg(feature = "std")]
pub mod count;
#[cfg(feature = "std")]
pub mod os;
#[cfg(feature = "std")]
pub mod threads;

pub use format::{Model, PlanKind, arena_bytes};
pub use kernels::{Kernels, Set};
pub use session::{Arena, Session};
#[cfg(feature = "std")]
pub use threads::Pool;

#[cfg(feature = "convert")]
pub mod convert;

#[cfg(feature = "cli")]
pub mod cli;

/// The bytes of a `.stone` file, part of the program and aligned to a cache line: `static FILE: &[u8] = include_model!("net.stone");`
///
/// The path is taken as by [`include_bytes!`].
#[macro_export]
macro_rules! include_model {
    ($path:expr) => {{
        #[repr(C, align(64))]
        struct Aligned<T: ?Sized>(T);
        const FILE: &Aligned<[u8]> = &Aligned(*include_bytes!($path));
        &FILE.0
    }};
}
