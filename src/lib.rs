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

pub use format::{Model, PlanKind, arena_bytes};
pub use kernels::{Kernels, Set};
pub use session::{Arena, Session};

#[cfg(feature = "convert")]
pub mod convert;

#[cfg(feature = "cli")]
pub mod cli;
