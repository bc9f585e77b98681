//! Quantized inference for residual networks on small machines.
#![no_std]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "std")]
extern crate std;

pub mod crc;
pub mod pack;
pub mod quant;
pub mod shape;

pub mod picture;

#[cfg(feature = "convert")]
pub mod convert;

#[cfg(feature = "cli")]
pub mod cli;
