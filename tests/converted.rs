//! Small ONNX files of every kind that is supported, through the whole converter: close to the float network on other pictures, also from ranges alone, proven, and the same bits on every kernel set.
#![cfg(feature = "convert")]

#[path = "support/float.rs"]
mod float;

use float::Noise;
use skipstone::convert::choices::{Options as Quantize, Stream};
use skipstone::convert::{Calib, Calibrated, Options, Pictures, Source, convert, gather};
use skipstone::format::view::{Preprocess, Resize};
use skipstone::{Kernels, Model, PlanKind, Session};
use std::path::Path;

/// Signal over error of the scores that every file must reach, in dB. The files are tiny and their weights random: some have a few channels only.
const LEAST_DB: f64 = 14.0;
/// What 16 bits may lose by chance, in dB: of finer values others are rounded up.
const MOST_LOST_DB: f64 = 3.0;

fn scores(file: &[u8], kernels: Kernels, picture: &[u8]) -> (Vec<u8>, Vec<f64>) {
    let model = Model::parse(file).unwrap();
    let mut arena = vec![0; model.plan(PlanKind::Fast).unwrap().arena_bytes(1)];
    let mut session = Session::new(&model, kernels, PlanKind::Fast, &mut arena).unwrap();
    session.input().copy_from_slice(picture);
    let scores = session.run();
    (scores.bytes().to_vec(), scores.iter().map(|s| f64::from(s) * f64::from(scores.scale())).collect())
}

/// What the file beside the ONNX says of its input: `byte · scale + shift` of each channel.
#[expect(clippy::cast_possible_truncation, reason = "the preprocessing of a file is f32")]
fn preprocess(path: &Path) -> Preprocess {
    let text = std::fs::read_to_string(path.with_extension("txt")).unwrap();
    let row = |i: usize| -> Vec<f64> { text.lines().nth(i).unwrap().split_whitespace().map(|v| v.parse().unwrap()).collect() };
    let (scale, shift) = (row(0), row(1));
    let mut preprocess = Preprocess { resize: Resize::ToInput, crop: None, bgr: false, scale: 1.0, mean: [0.0; 4], deviation: [1.0; 4], tensor: None };
    for c in 0..scale.len().min(4) {
        (preprocess.mean[c], preprocess.deviation[c]) = ((-shift[c] / scale[c]) as f32, (1.0 / scale[c]) as f32);
    }
    preprocess
}

/// Signal over error in dB on pictures that the converter has not seen: as it is made, with what can have 16 bits in 16, and of ranges alone.
fn sqnr(path: &Path) -> [f64; 3] {
    let preprocess = preprocess(path);
    let options = Options { preprocess, quantize: Quantize::default(), labels: Vec::new() };
    let source = Source::open(path, &preprocess).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let (seen, unseen) = (Noise::new(&source.network, 48, 3), Noise::new(&source.network, 16, 4));
    let made = [Stream::Auto, Stream::Wide].map(|stream| {
        let options = Options { quantize: Quantize { stream, ..options.quantize }, ..options.clone() };
        convert(path, &options, &seen, None, &|_, _, _| {}).unwrap_or_else(|e| panic!("{}, {stream}: {e}", path.display())).file
    });
    let numbers: Vec<usize> = (0..seen.len()).collect();
    let counts = gather(&source, &seen, 1, &|_, _, _| {}).unwrap();
    let ranges = Calib::new(source.sha256, preprocess, false, seen.len(), [&numbers, &[]], counts).unwrap();
    let ranges = Calib::parse(&ranges.to_bytes()).unwrap();
    let blind = Calibrated::with(path, &preprocess, ranges, 1, &Noise(Vec::new()), &|_, _, _| {}).unwrap();
    let blind = blind.convert(&options, &Noise(Vec::new()), None, &|_, _, _| {}).unwrap_or_else(|e| panic!("{}: {e}", path.display())).file;
    let [auto, wide] = made;
    let files = [auto, wide, blind];
    let last = source.network.steps.last().unwrap().value.clone();
    let net = source.float(&[last]).unwrap();
    let (mut signal, mut noise) = (0.0, [0.0; 3]);
    for picture in &unseen.0 {
        let real = net.run(&source.feed(picture)).unwrap().pop().unwrap();
        signal += real.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>();
        for (file, noise) in files.iter().zip(&mut noise) {
            let (bits, found) = scores(file, Kernels::scalar(), picture);
            for kernels in Kernels::all() {
                assert!(scores(file, kernels, picture).0 == bits, "{}: {} differs", path.display(), kernels.set());
            }
            assert_eq!(real.len(), found.len());
            *noise += real.iter().zip(found).map(|(&real, found)| (f64::from(real) - found).powi(2)).sum::<f64>();
        }
    }
    noise.map(|noise| 10.0 * (signal / noise).log10())
}

#[test]
fn every_kind_of_file_keeps_its_scores() {
    let mut files: Vec<_> =
        std::fs::read_dir("tests/onnx").unwrap().map(|e| e.unwrap().path()).filter(|p| p.extension().is_some_and(|e| e == "onnx")).collect();
    files.sort();
    assert!(files.len() > 60, "{} files", files.len());
    let found: Vec<_> = files.iter().map(|path| (sqnr(path), path)).collect();
    found.iter().for_each(|([db, wide, blind], path)| eprintln!("{db:6.1} dB, in 16 bits {wide:6.1} dB, from ranges alone {blind:6.1} dB  {}", path.display()));
    let low: Vec<_> = found.iter().filter(|(all, _)| !all.iter().all(|db| *db >= LEAST_DB)).collect();
    assert!(low.is_empty(), "below {LEAST_DB} dB: {low:?}");
    let worse: Vec<_> = found.iter().filter(|([db, wide, _], _)| *wide < db - MOST_LOST_DB).collect();
    assert!(worse.is_empty(), "worse in 16 bits: {worse:?}");
}
