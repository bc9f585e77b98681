//! Times the float network in tract: `float NET.onnx SECONDS` prints the milliseconds of each run as JSON. `benches/peers.py` calls it.

use core::time::Duration;
use std::time::Instant;
use tract_onnx::onnx;
use tract_onnx::prelude::*;
use tract_onnx::tract_hir::infer::Factoid;

fn main() -> TractResult<()> {
    let args: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    let [path, seconds] = args.as_slice() else {
        println!("usage: float NET.onnx SECONDS");
        return Ok(());
    };
    let mut network = onnx().model_for_path(path)?;
    let fact = network.input_fact(0)?.clone();
    let shape: Vec<usize> =
        fact.shape.dims().map(|d| d.concretize().and_then(|d| d.to_i64().ok().and_then(|d| usize::try_from(d).ok())).unwrap_or(1)).collect();
    network.set_input_fact(0, f32::fact(&shape).into())?;
    let runnable = network.into_optimized()?.into_runnable()?;
    let values: Vec<f32> = (0..shape.iter().product()).map(|i: usize| (i * 7 % 13) as f32 - 6.0).collect();
    let input: TValue = Tensor::from_shape(&shape, &values)?.into();
    let time = Duration::from_secs_f64(seconds.parse()?);
    let mut samples = Vec::new();
    let start = Instant::now();
    while start.elapsed() < time.mul_f64(1.25) || samples.len() < 3 {
        let run = Instant::now();
        runnable.run(tvec!(input.clone()))?;
        if start.elapsed() > time.mul_f64(0.25) {
            samples.push(run.elapsed().as_secs_f64() * 1e3);
        }
    }
    println!("{samples:?}");
    Ok(())
}
