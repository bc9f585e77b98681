//! Values to network input: the same bits on every device. The numbers pinned here come from NumPy, by the formulas beside them.

use skipstone::crc::{Crc32, crc32};
use skipstone::format::view::TensorInput;
use skipstone::tensor::{TensorError, fill, fill_integers, nearest};
use skipstone::{Kernels, Model, PlanKind, Session};

const FILE: &[u8] = include_bytes!("files/signal.stone");

/// Value `i` of a signal: a number from -8 to 8 in steps of 1/4096.
#[expect(clippy::cast_precision_loss, reason = "16 bits fit")]
fn value(i: u32) -> f32 {
    let state = i.wrapping_mul(0x9E37_79B1) ^ (i >> 3).wrapping_mul(0x85EB_CA6B);
    ((state >> 16) as f32 - 32768.0) / 4096.0
}

#[test]
fn roundings() {
    let cases = [
        (0.0, 1.0, 0),
        (-0.0, 1.0, 0),
        (0.5, 1.0, 1),
        (-0.5, 1.0, 0),
        (-0.500_001, 1.0, -1),
        (1.5, 1.0, 2),
        (-1.5, 1.0, -1),
        (0.499_999_97, 1.0, 1),
        (126.5, 1.0, 127),
        (1e30, 1.0, 127),
        (-127.6, 1.0, -128),
        (-1e30, 1.0, -128),
        (f32::INFINITY, 0.1, 127),
        (f32::NEG_INFINITY, 0.1, -128),
        (1e-45, 1.0, 0),
        (-1e-45, 1.0, 0),
        (0.3, 0.1, 3),
        (0.35, 0.1, 4),
        (f32::MAX, f32::MIN_POSITIVE, 127),
    ];
    for (x, scale, expected) in cases {
        assert_eq!(nearest(x, scale), Some(expected), "{x} in steps of {scale}");
    }
    assert_eq!(nearest(f32::NAN, 1.0), None);
    // 0.49999997 + 0.5 rounds to 1 in f32: that is the definition.
    assert_eq!(0.499_999_97f32 + 0.5, 1.0);
}

#[test]
fn the_same_bits_everywhere() {
    for (scale, expected) in [(0.0625, 0x3b0a_cf1e), (0.05, 0x4777_ae2b), (0.028_510_056, 0xebe3_fdd1), (1.0 / 3.0, 0xcfde_a378)] {
        let bytes: Vec<u8> = (0..65_536).map(|i| nearest(value(i), scale).unwrap().cast_unsigned()).collect();
        assert_eq!(crc32(&bytes), expected, "in steps of {scale}");
    }
}

#[test]
fn layouts() {
    let first = TensorInput { scale: 1.0, shape: [2, 2, 3], sizes: [3, 2, 2], channels_last: false };
    let values: Vec<f32> = (0u8..12).map(f32::from).collect();
    let integers: Vec<i8> = (0..12).collect();
    let mut input = [0; 12];
    let turned = [0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11];
    fill(&mut input, &values, &first).unwrap();
    assert_eq!(input, turned);
    fill_integers(&mut input, &integers, &first).unwrap();
    assert_eq!(input, turned);
    let last = TensorInput { sizes: [2, 2, 3], channels_last: true, ..first };
    fill(&mut input, &values, &last).unwrap();
    assert_eq!(input, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
    assert_eq!(last.dimensions(), [2, 2, 3]);
    assert_eq!(TensorInput { sizes: [12, 0, 0], ..first }.dimensions(), [12]);
}

#[test]
fn what_does_not_fit() {
    let layout = TensorInput { scale: 1.0, shape: [1, 2, 2], sizes: [2, 2, 0], channels_last: false };
    let mut input = [0; 4];
    assert_eq!(fill(&mut input, &[0.0; 3], &layout), Err(TensorError::Count { needed: 4, values: 3, input: 4 }));
    assert_eq!(fill_integers(&mut input[..3], &[0; 4], &layout), Err(TensorError::Count { needed: 4, values: 4, input: 3 }));
    assert_eq!(fill(&mut input, &[0.0, 0.0, f32::NAN, 0.0], &layout), Err(TensorError::NotANumber(2)));
    assert_eq!(TensorError::NotANumber(2).to_string(), "value 2 is not a number");
}

/// CRC-32 of the scores of eight signals.
const SCORES: u32 = 0x6758_88c8;

#[test]
fn every_kernel_set_gives_the_pinned_scores() {
    let model = Model::parse(FILE).unwrap();
    let layout = model.tensor().unwrap();
    assert_eq!((layout.dimensions(), layout.shape, layout.channels_last), (&[3, 40][..], [1, 40, 3], false));
    for kernels in Kernels::all() {
        let mut arena = vec![0; model.plan(PlanKind::Fast).unwrap().arena_bytes(1)];
        let mut session = Session::new(&model, kernels, PlanKind::Fast, &mut arena).unwrap();
        let mut scores = Crc32::new();
        for signal in 0..8 {
            let values: Vec<f32> = (0..120).map(|i| value(signal * 120 + i)).collect();
            fill(session.input(), &values, &layout).unwrap();
            scores = scores.update(session.run().bytes());
        }
        assert_eq!(scores.value(), SCORES, "{}", kernels.set());
        model.check_input(session.input());
        session.run_with(|step, session| {
            let output = session.plan().tensor(step.output());
            assert_eq!(session.tensor(&output).crc32(), step.check(), "{} on {}", step.name(), kernels.set());
        });
    }
}

/// The values of an `.npy` are these bits, and make these bytes.
#[cfg(feature = "cli")]
#[test]
fn arrays() {
    use skipstone::cli::dataset::{DataError, DataSet};
    let layout = TensorInput { scale: 0.05, shape: [1, 8, 4], sizes: [4, 8, 0], channels_last: false };
    let path = std::env::temp_dir().join(format!("skipstone-tensor-{}.npy", std::process::id()));
    let open = |kind: &str, shape: &str, data: &[u8]| {
        let header = format!("{:<117}\n", format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}"));
        std::fs::write(&path, [b"\x93NUMPY\x01\0v\0", header.as_bytes(), data].concat()).unwrap();
        DataSet::open(&path, None, None, None)
    };
    let values: Vec<f32> = (0..96).map(value).collect();
    let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    let set = open("<f4", "(3, 4, 8)", &bytes).unwrap();
    assert_eq!((set.len(), set.dimensions()), (3, Some(&[4, 8][..])));
    assert_eq!(set.values(2).unwrap(), Some((values[64..].to_vec(), true)));
    assert!(matches!(set.load(0), Err(DataError::Tensor(name)) if name.ends_with(".npy[0]")));
    let (mut input, mut expected) = ([0; 32], [0; 32]);
    set.fill(1, &mut input, &layout).unwrap();
    fill(&mut expected, &values[32..64], &layout).unwrap();
    assert_eq!(input, expected);
    let integers: Vec<u8> = values.iter().map(|&v| nearest(v, 0.05).unwrap().cast_unsigned()).collect();
    let set = open("|i1", "(3, 4, 8)", &integers).unwrap();
    set.fill(1, &mut input, &layout).unwrap();
    assert_eq!(input, expected, "integers are in steps of the scale already");
    assert!(matches!(open("<f4", "(3, 8, 4)", &bytes).unwrap().fill(0, &mut input, &layout), Err(DataError::Layout(..))));
    let nan: Vec<u8> = bytes[..124].iter().copied().chain(f32::NAN.to_le_bytes()).collect();
    let error = open("<f4", "(1, 4, 8)", &nan).unwrap().fill(0, &mut input, &layout).unwrap_err();
    assert_eq!(error, DataError::Values(format!("{}[0]", path.display()), TensorError::NotANumber(31)));
    assert_eq!(open("<f4", "(3, 4, 8)", &bytes[..383]).unwrap_err(), DataError::NpyBytes(path.clone()));
    for (kind, shape) in [("<f8", "(1, 4, 8)"), (">f4", "(3, 4, 8)"), ("<f2", "(6, 4, 8)"), ("<i4", "(3, 4, 8)"), ("<f4", "()"), ("<f4", "(0, 96)")] {
        assert!(matches!(open(kind, shape, &bytes), Err(DataError::NpyShape(..))), "{kind} {shape}");
    }
    std::fs::remove_file(&path).unwrap();
    let set = DataSet::open(std::path::Path::new("tests/files/signal.npy"), None, None, None).unwrap();
    let read: Vec<f32> = (0..set.len()).flat_map(|i| set.values(i).unwrap().unwrap().0).collect();
    assert_eq!(read, (0..960).map(value).collect::<Vec<_>>(), "the file that the devices' programs read");
}
