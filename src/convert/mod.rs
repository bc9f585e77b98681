//! ONNX to `.stone`: import, fold, calibrate, quantize, plan, emit.

pub mod graph;
