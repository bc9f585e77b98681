//! Statistics of pictures in shards: they add up to the bytes of the whole set, in any order and number, and quantize without a picture.
#![cfg(feature = "convert")]

#[path = "support/emitted.rs"]
mod emitted;
#[path = "support/float.rs"]
mod float;

use emitted::{PREPROCESS, emitted};
use float::{Builder, Noise, Random, evaluate, point, run, three};
use skipstone::convert::calib::{Calib, CalibError};
use skipstone::convert::calibrate::count;
use skipstone::convert::choices::{Bias, Options, Rounding};
use skipstone::convert::graph::{Input, Network, Second};
use skipstone::convert::quantize::quantize;
use skipstone::convert::{ConvertError, Pictures};
use skipstone::crc::crc32;
use skipstone::{Kernels, Model, PlanKind, Session};

/// Some pictures of a set, by their numbers there.
struct Part<'a> {
    all: &'a Noise,
    numbers: Vec<usize>,
}

impl Pictures for Part<'_> {
    fn len(&self) -> usize {
        self.numbers.len()
    }

    fn number(&self, i: usize) -> usize {
        self.numbers[i]
    }

    fn load(&self, i: usize, input: &Input) -> Result<Vec<u8>, ConvertError> {
        self.all.load(self.numbers[i], input)
    }
}

/// The statistics of the pictures of a set whose numbers `choose`; every eleventh cannot be read.
fn calib(network: &Network, all: &Noise, threads: usize, choose: impl Fn(usize) -> bool) -> Calib {
    let (bad, seen): (Vec<usize>, Vec<usize>) = (0..all.0.len()).filter(|&n| choose(n)).partition(|n| n % 11 == 7);
    let part = Part { all, numbers: seen };
    let counts = count(network, &run(network), &part, threads, &|_| {}).unwrap();
    Calib::new([7; 32], PREPROCESS, false, all.0.len(), [&part.numbers, &bad], counts).unwrap()
}

/// Convolutions with and without ReLU, skips, projections, pools, parts.
fn mixed(seed: u64) -> Network {
    let mut b = Builder::new(seed, 9, 8);
    let x = b.conv(0, three(1), 6, true, Second::None);
    let y = b.conv(x, three(1), 6, false, Second::None);
    let sum = b.add(x, y, true);
    let projection = b.projection(sum, 2, 12);
    let wide = b.conv(sum, three(2), 12, true, projection);
    let pooled = b.max_pool(wide, three(1));
    let skipped = b.conv(pooled, three(1), 12, true, Builder::skip(pooled));
    let both = b.concat(&[skipped, wide]);
    let last = b.conv(both, point(1), 8, false, Second::None);
    b.finish(last, 5)
}

#[test]
fn shards_add_up_in_any_order_and_number() {
    for seed in 1..9 {
        let (mut random, network) = (Random::new(seed), mixed(seed));
        let all = Noise::new(&network, 9 + random.below(14) as usize, seed);
        let whole = calib(&network, &all, 1, |_| true);
        let bytes = whole.to_bytes();
        assert_eq!(Calib::parse(&bytes).as_ref(), Ok(&whole));
        let n = 1 + random.below(7) as usize;
        let mut parts: Vec<Calib> = (0..n).map(|i| calib(&network, &all, 1 + i % 3, |k| k % n == i)).collect();
        while parts.len() > 1 {
            // Any two, each way round, by way of a file.
            let mut a = parts.remove(random.below(u32::try_from(parts.len()).unwrap()) as usize);
            let b = parts.remove(random.below(u32::try_from(parts.len()).unwrap()) as usize);
            assert!(a.missing() > 0 && a.missing() == whole.of - usize::try_from(a.counts.pictures).unwrap() - a.bad());
            a.merge(&Calib::parse(&b.to_bytes()).unwrap()).unwrap();
            parts.push(a);
        }
        assert!(parts[0].to_bytes() == bytes, "seed {seed}, {n} shards");
        assert_eq!((parts[0].missing(), parts[0].bad()), (0, (0..whole.of).filter(|k| k % 11 == 7).count()));
    }
}

#[test]
fn what_does_not_belong_together_is_refused() {
    let network = mixed(3);
    let all = Noise::new(&network, 8, 3);
    let half = |i: usize| calib(&network, &all, 1, |k| k % 2 == i);
    let refused = |change: &dyn Fn(&mut Calib)| {
        let (mut a, mut b) = (half(0), half(1));
        change(&mut b);
        let before = a.clone();
        let error = a.merge(&b).unwrap_err();
        assert!(a == before && error.to_string().len() > 10 && error.help().len() > 10);
        error
    };
    assert_eq!(refused(&|b| *b = half(0)), CalibError::Twice(0));
    assert_eq!(refused(&|b| b.sha256[31] ^= 1), CalibError::Network);
    assert_eq!(refused(&|b| b.preprocess.mean[1] = 0.25), CalibError::Preprocess);
    assert_eq!(refused(&|b| b.exif = true), CalibError::Preprocess);
    assert_eq!(refused(&|b| b.counts.steps[2].name.push('x')), CalibError::Steps);
    assert_eq!(refused(&|b| *b = calib(&network, &Noise::new(&network, 9, 3), 1, |k| k % 2 == 1)), CalibError::Set([8, 9]));
}

#[test]
fn damaged_files_are_refused() {
    let network = mixed(5);
    let all = Noise::new(&network, 5, 5);
    let bytes = calib(&network, &all, 1, |_| true).to_bytes();
    assert_eq!(Calib::parse(b"\x89STONE\r\n").unwrap_err(), CalibError::Kind);
    assert_eq!(Calib::parse(&[&bytes[..8], &[9, 0, 0, 0], &bytes[12..]].concat()).unwrap_err(), CalibError::Version(9));
    for n in (0..bytes.len()).step_by(97).chain(0..64) {
        assert!(Calib::parse(&bytes[..n]).is_err(), "{n} bytes");
    }
    let mut random = Random::new(6);
    let (mut accepted, body) = (0, bytes.len() - 4);
    for round in 0..600 {
        let mut damaged = bytes.clone();
        // The structure stands in front, and behind the counts of each tensor.
        let at = 12 + random.below(u32::try_from(if round % 2 == 0 { 400 } else { body - 12 }).unwrap()) as usize;
        damaged[at] = if round % 3 == 0 { 0xFF } else { damaged[at] ^ (1 << random.below(8)) };
        if damaged == bytes {
            continue;
        }
        assert_eq!(Calib::parse(&damaged).unwrap_err(), CalibError::Checksum, "byte {at}");
        // With a checksum that fits, it may be read, and then it can be used; it may not panic.
        let crc = crc32(&damaged[..body]).to_le_bytes();
        damaged[body..].copy_from_slice(&crc);
        if let Ok(mut read) = Calib::parse(&damaged) {
            accepted += 1;
            assert!(read.merge(&read.clone()).is_err());
            if read.counts.alike(&calib(&network, &all, 1, |_| false).counts) {
                let _ = quantize(&network, &read.counts.statistics(&network), Vec::new(), Options::default(), &|_| {});
            }
        }
    }
    assert!(accepted > 50, "{accepted} changes were accepted");
}

/// Signal over error of the scores in decibels.
fn sqnr(network: &Network, file: &[u8], pictures: &Noise) -> f64 {
    let model = Model::parse(file).unwrap();
    let mut arena = vec![0; model.plan(PlanKind::Fast).unwrap().arena_bytes(1)];
    let mut session = Session::new(&model, Kernels::detect(), PlanKind::Fast, &mut arena).unwrap();
    let (mut signal, mut noise) = (0.0, 0.0);
    for picture in &pictures.0 {
        session.input().copy_from_slice(picture);
        let scores = session.run();
        for (float, int) in evaluate(network, picture).last().unwrap().iter().zip(scores.iter()) {
            signal += float.powi(2);
            noise += (float - f64::from(int) * f64::from(scores.scale())).powi(2);
        }
    }
    10.0 * (signal / noise).log10()
}

/// The file that statistics alone give.
fn blind(network: &Network, calib: &Calib, options: Options) -> (Vec<u8>, Vec<String>) {
    let made = quantize(network, &calib.counts.clone().statistics(network), Vec::new(), options, &|_| {}).unwrap();
    (emitted(&made, None).unwrap(), made.notes)
}

/// A convolution whose sum with a skip must be split, and a shortcut from values with a sign.
fn split(seed: u64) -> Network {
    let mut b = Builder::new(seed, 10, 12);
    let x = b.conv(0, three(1), 12, false, Second::None);
    let on = b.affine(x, true);
    let projection = b.projection(x, 1, 16);
    let y = b.conv(on, three(1), 16, false, projection);
    let on = b.affine(y, true);
    let z = b.conv(on, three(1), 16, false, Builder::skip(y));
    let on = b.affine(z, true);
    b.finish(on, 7)
}

#[test]
fn ranges_alone_make_a_network() {
    for seed in 1..5 {
        for (network, floor) in [(mixed(seed), 30.0), (split(seed), 30.0)] {
            let ranges = calib(&network, &Noise::new(&network, 48, 5), 1, |_| true);
            let test = Noise::new(&network, 16, 77);
            let (file, _) = blind(&network, &ranges, Options::default());
            let found = sqnr(&network, &file, &test);
            let plain = sqnr(&network, &blind(&network, &ranges, Options { bias: Bias::Float, ..Options::default() }).0, &test);
            assert!(found > floor && found > plain - 1.0, "seed {seed}: {found:.1} dB, {plain:.1} dB with the float network's biases");
        }
    }
    let ranges = calib(&split(1), &Noise::new(&split(1), 16, 5), 1, |_| true);
    let (_, notes) = blind(&split(1), &ranges, Options::default());
    assert!(notes.iter().any(|n| n.contains("measuring 1 tensors")), "{notes:?}");
    let named = |options: Options| options.left_out().join(";");
    let all = named(Options::default());
    assert!(["hessian", "means", "agreement"].iter().all(|word| all.contains(word)), "{all}");
    let none = named(Options { rounding: Rounding::Nearest, bias: Bias::Float, ..Options::default() });
    assert!(!none.contains("hessian") && !none.contains("means"), "{none}");
}
