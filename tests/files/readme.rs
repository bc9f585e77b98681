use skipstone::picture::{Format, Geometry, Picture, fill};
use skipstone::{Arena, Kernels, Model, PlanKind, Session, Set, arena_bytes, classify, include_model};

static FILE: &[u8] = include_model!("tiny.stone"); // part of the program, used where it lies
const BYTES: usize = arena_bytes(FILE, Set::Scalar, 1, PlanKind::Fast); // RAM for one thread; every set of this version needs the same

fn main() -> Result<(), Box<dyn core::error::Error>> {
    let model = Model::parse(FILE)?; // everything is checked once
    let mut arena = Arena::<BYTES>::new();
    let mut session = Session::new(&model, Kernels::detect(), PlanKind::Fast, &mut arena.0)?;
    let rgb = [128; 320 * 240 * 3]; // put a frame of your camera here
    let frame = Picture { bytes: &rgb, width: 320, height: 240, format: Format::Rgb24 };
    let mut scratch = [0; 64 << 10]; // for resizing; picture::scratch_bytes says how much
    fill(session.input(), &frame, &Geometry::from(model.preprocess()), model.input_shape(), &mut scratch)?;
    for best in classify::top::<3>(session.run()).into_iter().flatten() {
        println!("{} {}", best.score, model.label(best.class).unwrap_or("without a name")); // run() cannot fail and does not allocate
    }
    Ok(())
}
