//! Quantized inference for residual networks on small machines: one `.stone` file, the same bits on every device, no allocation after init.
//!
//! ```
//! use skipstone::{Arena, Kernels, Model, PlanKind, Session, Set, arena_bytes, classify, include_model};
//!
//! static FILE: &[u8] = include_model!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/files/tiny.stone"));
//! const BYTES: usize = arena_bytes(FILE, Set::Scalar, 1, PlanKind::Fast);     // RAM is a number in the file
//!
//! let model = Model::parse(FILE)?;                                          // everything is checked once
//! let mut arena = Arena::<BYTES>::new();
//! let mut session = Session::new(&model, Kernels::detect(), PlanKind::Fast, &mut arena.0)?;
//! session.input().fill(128);                                                // bytes of a picture, [h][w][c]
//! let scores = session.run();                                               // cannot fail, does not allocate; may overwrite the input
//! let best = classify::top::<3>(scores);
//! assert!(best[0].unwrap().score >= best[1].unwrap().score);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # How it is built
//!
//! A converter on the host turns an ONNX network and some pictures into a file; the runtime replays the file's plan on the device:
//!
//! ```text
//! ONNX --import, fold--> Network --calibrate--> Statistics --quantize--> Quantized --plan--> Plan --emit--> .stone
//! .stone --Model::parse--> Model --Session::new(arena)--> Session --run--> Scores --top--> classes
//! ```
//!
//! The modules are floors; each imports only from those below it.
//!
//! | floor | modules | |
//! |---|---|---|
//! | 8 | [`cli`] | the program (feature `cli`) |
//! | 7 | [`convert`] | ONNX to `.stone` (feature `convert`) |
//! | 6 | [`threads`], [`os`], [`count`] | worker pool, mapped files, the machine, counted allocations (feature `std`) |
//! | 5 | [`session`], [`picture`], [`tensor`], [`classify`] | run a plan, fill its input, read its scores |
//! | 4 | [`mod@format`] | the file |
//! | 3 | [`ops`] | operators: safe and portable |
//! | 2 | [`kernels`] | one file per instruction set, all with the same bits |
//! | 1 | [`pack`], [`shape`] | the layout of weights; sizes |
//! | 0 | [`quant`], [`crc`] | rounding, checksum |
//!
//! Without features the crate has no dependency, needs no std and no allocator.
//!
//! # Words
//!
//! `h w c` height, width, channels of a tensor; `oh ow oc` those of an output; `kh kw` of a kernel. A *row* is one line of output pixels, a *lane* one output
//! channel of a *panel* of 16, a *group* four bytes of depth, a *step* a record of the plan, the *arena* the caller's buffer.
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
pub mod tensor;

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
