//! Quantized inference for residual networks on small machines.
#![cfg_attr(not(feature = "std"), no_std)]
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod crc;
pub mod format;
pub mod kernels;
pub mod ops;
pub mod pack;
pub mod quant;
pub mod shape;

pub mod picture;

#[cfg(feature = "convert")]
pub mod convert;

#[cfg(feature = "cli")]
pub mod cli;
