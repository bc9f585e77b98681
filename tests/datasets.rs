//! Decoding against Pillow's (tests/pictures/decode, made by make.py beside it), and the data sets of the command line.
#![cfg(feature = "cli")]

use std::fs;
use std::path::{Path, PathBuf};

use skipstone::cli::dataset::{DataError, DataSet, Shard};
use skipstone::cli::decode::{DecodeError, Decoded, decode};
use skipstone::cli::npy::NpyError;
use skipstone::cli::truth::TruthError;
use skipstone::crc::crc32;

/// CRC-32 of what our JPEG decoder makes of each file, on every CPU.
const OWN: [(&str, u32); 18] = [
    ("cmyk-no-adobe.jpg", 0x2d64_e609),
    ("cmyk.jpg", 0x2d64_e609),
    ("exif1.jpg", 0x77a2_047f),
    ("exif2.jpg", 0x77a2_047f),
    ("exif3.jpg", 0x77a2_047f),
    ("exif4.jpg", 0x77a2_047f),
    ("exif5.jpg", 0x77a2_047f),
    ("exif6.jpg", 0x77a2_047f),
    ("exif7.jpg", 0x77a2_047f),
    ("exif8.jpg", 0x77a2_047f),
    ("grey.jpg", 0x57ac_27f6),
    ("plain-rgb.jpg", 0x92e0_3538),
    ("progressive.jpg", 0xffd4_1606),
    ("restarts.jpg", 0xffd4_1606),
    ("rgb420.jpg", 0xffd4_1606),
    ("rgb422.jpg", 0x0d58_4bae),
    ("rgb444.jpg", 0x3890_9135),
    ("ycck.jpg", 0x91ae_b3e0),
];

/// Largest difference of a byte that two correct inverse transforms and chroma filters may give.
const JPEG_DIFFERENCE: u8 = 4;

fn file(name: &str) -> Vec<u8> {
    fs::read(Path::new("tests/pictures/decode").join(name)).unwrap()
}

/// A folder of its own that is removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("skipstone-datasets-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn decoding_equals_pillow() {
    let mut own = Vec::new();
    for line in fs::read_to_string("tests/pictures/decode.txt").unwrap().lines() {
        let [name, turn, width, height, hex] = line.split(' ').collect::<Vec<_>>().try_into().unwrap();
        let got = decode(&file(name), turn == "turned").unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!([got.width.to_string(), got.height.to_string()], [width, height], "{name} {turn}");
        let known: Vec<u8> = (0..hex.len()).step_by(2).map(|k| u8::from_str_radix(&hex[k..k + 2], 16).unwrap()).collect();
        assert_eq!(got.rgb.len(), known.len(), "{name}");
        let worst = got.rgb.iter().zip(&known).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
        let allowed = if name.ends_with(".png") { 0 } else { JPEG_DIFFERENCE };
        assert!(worst <= allowed, "{name} {turn}: {worst}");
        if name.ends_with(".jpg") && turn == "plain" {
            own.push((name.to_owned(), crc32(&got.rgb)));
        }
    }
    let known: Vec<_> = OWN.iter().map(|&(name, crc)| (name.to_owned(), crc)).collect();
    assert_eq!(own, known);
}

#[test]
fn what_is_no_picture_is_refused() {
    assert_eq!(decode(b"", false), Err(DecodeError::Foreign));
    assert_eq!(decode(b"this is no picture", false), Err(DecodeError::Foreign));
    assert_eq!(decode(b"GIF89a", false), Err(DecodeError::Foreign));
    let huge = [b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\xff\xff\0\0\xff\xff\x08\x02\0\0\0".as_slice(), &0xD74D_3D65u32.to_be_bytes()].concat();
    assert!(decode(&huge, false).is_err());
    let mut jpeg = file("rgb420.jpg");
    let frame = jpeg.windows(2).position(|pair| pair == [0xFF, 0xC0]).unwrap();
    jpeg[frame + 5..frame + 9].copy_from_slice(&[0xFF; 4]);
    assert_eq!(decode(&jpeg, false), Err(DecodeError::TooLarge { width: 65_535, height: 65_535 }));
}

/// Every shorter version of a file is an error, never a half picture. (A PNG may lack its end chunk: its pixels are all there.)
#[test]
fn truncated_files_are_refused() {
    for name in ["rgb420.jpg", "progressive.jpg", "cmyk.jpg", "exif6.jpg", "rgb.png", "grey16.png", "palette.png"] {
        let bytes = file(name);
        let whole = decode(&bytes, false).unwrap();
        let spare = if name.ends_with(".png") { 40 } else { 0 };
        for n in 0..bytes.len() {
            match decode(&bytes[..n], false) {
                Ok(picture) => assert!(picture == whole && n + spare >= bytes.len(), "{name}: {n} of {} bytes", bytes.len()),
                Err(error) => assert!(!error.to_string().contains('\n') && !error.help().is_empty()),
            }
        }
    }
}

/// Damaged files give a picture or an error, never a panic.
#[test]
fn damaged_files_do_not_panic() {
    let mut state = 2_463_534_242u32;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        (state >> 8) as usize
    };
    for name in
        ["rgb420.jpg", "rgb422.jpg", "progressive.jpg", "ycck.jpg", "restarts.jpg", "exif6.jpg", "rgb.png", "grey16.png", "palette-alpha.png", "exif6.png"]
    {
        let bytes = file(name);
        for _ in 0..1500 {
            let mut damaged = bytes.clone();
            for _ in 0..=next() % 4 {
                let (at, value) = (next() % bytes.len(), next().to_le_bytes()[0]);
                damaged[at] = value;
            }
            let sized = damaged
                .windows(2)
                .position(|pair| pair == [0xFF, 0xC0] || pair == [0xFF, 0xC2])
                .is_some_and(|at| damaged[at + 5..at + 9] != bytes[at + 5..at + 9]);
            if !sized || name.ends_with(".png") {
                let _ = decode(&damaged, true);
            }
        }
    }
}

fn classes(set: &DataSet) -> Vec<Option<u32>> {
    (0..set.len()).map(|i| set.label(i)).collect()
}

fn names(set: &DataSet, folder: &Folder) -> Vec<String> {
    (0..set.len()).map(|i| Path::new(&set.name(i)).strip_prefix(&folder.0).unwrap().to_string_lossy().replace('\\', "/")).collect()
}

fn open(path: &Path) -> Result<DataSet, DataError> {
    DataSet::open(path, None, None, None)
}

#[test]
fn a_folder_is_searched_in_order() {
    let folder = Folder::new("folder");
    let picture = file("grey.png");
    for name in ["b/2.png", "b/10.PNG", "a.png", "c.jpeg", "b/.hidden.png", "b/notes.txt", "b.png"] {
        folder.write(name, if name == "c.jpeg" { b"none" } else { &picture });
    }
    let set = open(&folder.0).unwrap();
    assert_eq!(names(&set, &folder), ["a.png", "b/10.PNG", "b/2.png", "b.png", "c.jpeg"]);
    assert!(!set.has_labels());
    assert_eq!(set.load(3).unwrap(), decode(&picture, false).unwrap());
    let bad = set.load(4).unwrap_err();
    assert_eq!(bad, DataError::Picture(set.name(4), DecodeError::Foreign));
    assert!(bad.to_string().contains("c.jpeg") && !bad.help().is_empty());
    assert_eq!(DataSet::unless_bad(set.load(4), true), Ok(None));
    assert_eq!(DataSet::unless_bad(set.load(4), false), Err(bad));

    let part = |limit, shard: Option<&str>| DataSet::open(&folder.0, None, limit, shard.map(|s| s.parse().unwrap())).map(|set| names(&set, &folder));
    assert_eq!(part(Some(2), None).unwrap(), ["a.png", "b/10.PNG"]);
    assert_eq!(part(None, Some("1/3")).unwrap(), ["b/10.PNG", "c.jpeg"]);
    assert_eq!(part(Some(4), Some("1/3")).unwrap(), ["b/10.PNG"]);
    assert_eq!(part(Some(0), None), Err(DataError::Empty(folder.0.clone())));
    assert_eq!(part(None, Some("7/8")), Err(DataError::Empty(folder.0.clone())));
    for wrong in ["3/3", "1", "a/b", "0/0", "-1/2"] {
        assert!(wrong.parse::<Shard>().is_err(), "{wrong}");
    }
}

#[test]
fn sub_folders_are_classes() {
    let folder = Folder::new("classes");
    for name in ["cat/1.png", "cat/deep/2.png", "ant/1.png", "dog/1.png"] {
        folder.write(name, &file("grey.png"));
    }
    fs::create_dir(folder.0.join("bee")).unwrap();
    let set = open(&folder.0).unwrap();
    assert_eq!(names(&set, &folder), ["ant/1.png", "cat/1.png", "cat/deep/2.png", "dog/1.png"]);
    assert_eq!(classes(&set), [Some(0), Some(2), Some(2), Some(3)]);
    assert_eq!(classes(&DataSet::open(&folder.0, None, Some(1), None).unwrap()), [Some(0)]);
    let labelled = |labels: &[&str]| classes(&open(&folder.0).unwrap().with_labels(labels, labels.len()));
    assert_eq!(labelled(&["dog", "cat", "fox", "bee", "ant"]), [Some(4), Some(1), Some(1), Some(0)], "each folder is the label of its name");
    assert_eq!(labelled(&["dog", "cat", "ant", "fox"]), [Some(0), Some(2), Some(2), Some(3)], "one folder is none of them");
    assert_eq!(labelled(&[]), [Some(0), Some(2), Some(2), Some(3)]);
    let numbered = Folder::new("numbered");
    for name in ["10/1.png", "2/1.png", "7/1.png"] {
        numbered.write(name, &file("grey.png"));
    }
    let counted = |classes_: usize| classes(&open(&numbered.0).unwrap().with_labels(&["a"], classes_));
    assert_eq!((counted(11), counted(10)), (vec![Some(10), Some(2), Some(7)], vec![Some(0), Some(1), Some(2)]), "numbers of classes, or else the order");
    let inner = open(&folder.0.join("cat")).unwrap();
    assert_eq!(classes(&inner), [None, None]);
    folder.write("top.png", &file("grey.png"));
    assert!(!open(&folder.0).unwrap().has_labels());
}

#[test]
fn truth_gives_classes() {
    let folder = Folder::new("truth");
    for name in ["p/a.png", "q/a.png", "q/b.png"] {
        folder.write(name, &file("grey.png"));
    }
    let truth = |text: &str| {
        let csv = folder.write("truth.csv", text.as_bytes());
        DataSet::open(&folder.0, Some(&csv), None, None).map(|set| classes(&set))
    };
    assert_eq!(truth("\u{feff}p/a.png,1\nq/a.png,2\nb.png,3\nmore.png,9\n"), Ok(vec![Some(1), Some(2), Some(3)]));
    assert_eq!(truth("\u{feff}file,class\r\n./p/a.png, 1\r\n\r\nq\\a.png,2,x\r\nelsewhere/b.png,3"), Ok(vec![Some(1), Some(2), Some(3)]));
    assert_eq!(truth("a.png,7\nb.png,8\n"), Ok(vec![Some(7), Some(7), Some(8)]));
    let csv = folder.0.join("truth.csv");
    let missing = |name: &str| DataError::NoTruth(folder.0.join(name).display().to_string(), csv.clone());
    assert_eq!(truth("elsewhere.png,3\n"), Err(missing("p/a.png")));
    assert_eq!(truth("a.png,3\n"), Err(missing("q/b.png")));
    assert_eq!(truth("x/a.png,3\ny/a.png,4\nb.png,1\n"), Err(missing("p/a.png")));
    assert_eq!(truth("a.png,3\nb.png,x\n"), Err(DataError::Truth(csv.clone(), TruthError::Class(2, "x".into()))));
    assert_eq!(truth("a.png,3\nb.png\n"), Err(DataError::Truth(csv.clone(), TruthError::Line(2))));
    assert_eq!(truth("a.png,3\na.png,4\n"), Err(DataError::Truth(csv.clone(), TruthError::Twice("a.png".to_owned()))));
    let absent = DataSet::open(&folder.0, Some(Path::new("no.csv")), None, None).unwrap_err();
    assert!(absent.to_string().contains("no.csv"));

    let one = DataSet::open(&folder.0.join("q/b.png"), Some(&folder.write("t.csv", b"b.png,5")), None, None).unwrap();
    assert_eq!((one.len(), classes(&one)), (1, vec![Some(5)]));
    assert_eq!(classes(&open(&folder.0.join("q/b.png")).unwrap()), [None]);
}

#[test]
fn cifar_records() {
    let folder = Folder::new("cifar");
    let record = |class: u8| [vec![class], (0..3072u32).map(|k| (k * 7 + u32::from(class)).to_le_bytes()[0]).collect()].concat();
    let path = folder.write("data.bin", &[record(3), record(9), record(0)].concat());
    let set = open(&path).unwrap();
    assert_eq!(classes(&set), [Some(3), Some(9), Some(0)]);
    assert_eq!(set.name(1), format!("{}[1]", path.display()));
    let picture = set.load(1).unwrap();
    assert_eq!((picture.width, picture.height), (32, 32));
    for (p, rgb) in picture.rgb.chunks_exact(3).enumerate() {
        assert_eq!(rgb, [0, 1, 2].map(|plane| record(9)[1 + plane * 1024 + p]));
    }
    let part = DataSet::open(&path, None, None, Some(Shard { index: 1, count: 2 })).unwrap();
    assert_eq!((part.len(), classes(&part), part.load(0).unwrap()), (1, vec![Some(9)], picture));
    let given = DataSet::open(&path, Some(&folder.write("t.csv", b"index,class\n2,70\n0,50\n1,60\n")), None, None).unwrap();
    assert_eq!(classes(&given), [Some(50), Some(60), Some(70)]);

    let short = folder.write("short.bin", &record(1)[1..]);
    assert_eq!(open(&short).unwrap_err(), DataError::CifarSize(short, 3072));
    let empty = folder.write("empty.bin", b"");
    assert_eq!(open(&empty).unwrap_err(), DataError::CifarSize(empty, 0));
    let wrong = folder.write("wrong.bin", &[record(1), record(10)].concat());
    assert_eq!(open(&wrong).unwrap_err(), DataError::CifarClass(format!("{}[1]", wrong.display()), 10));
}

fn npy(version: u8, header: &str, data: &[u8]) -> Vec<u8> {
    let header = format!("{header:<69}\n");
    let length = u32::try_from(header.len()).unwrap().to_le_bytes();
    [b"\x93NUMPY".as_slice(), &[version, 0], if version == 1 { &length[..2] } else { &length }, header.as_bytes(), data].concat()
}

#[test]
fn arrays() {
    let folder = Folder::new("npy");
    let data: Vec<u8> = (0..2 * 3 * 5 * 3).collect();
    for version in [1, 2, 3] {
        let path = folder.write("a.npy", &npy(version, "{'descr': '|u1', 'fortran_order': False, 'shape': (2, 3, 5, 3), }", &data));
        let set = open(&path).unwrap();
        assert_eq!((set.len(), set.has_labels(), set.name(1)), (2, false, format!("{}[1]", path.display())));
        assert_eq!(set.load(1).unwrap(), Decoded { width: 5, height: 3, rgb: data[45..].to_vec() });
        let labels = [4i64, 2].map(i64::to_le_bytes).concat();
        let truth = folder.write("t.npy", &npy(1, "{'descr': '<i8', 'fortran_order': False, 'shape': (2,), }", &labels));
        assert_eq!(classes(&DataSet::open(&path, Some(&truth), None, None).unwrap()), [Some(4), Some(2)]);
        let truth = folder.write("t.npy", &npy(1, "{'descr': '<i2', 'fortran_order': False, 'shape': (2,), }", &[4, 0, 254, 255]));
        assert_eq!(DataSet::open(&path, Some(&truth), None, None).unwrap_err(), DataError::Truth(truth, TruthError::Element(1)));
    }
    let refused = |bytes: &[u8]| open(&folder.write("bad.npy", bytes)).unwrap_err();
    let path = folder.0.join("bad.npy");
    assert_eq!(refused(b"PK"), DataError::Npy(path.clone(), NpyError::Foreign));
    assert_eq!(refused(&npy(4, "", &[])), DataError::Npy(path.clone(), NpyError::Version(4)));
    assert_eq!(refused(&npy(1, "{'descr': '|u1', 'fortran_order': True, 'shape': (2, 3, 5, 3), }", &data)), DataError::Npy(path.clone(), NpyError::Order));
    assert_eq!(refused(&npy(1, "{'descr': '|u1', 'shape': (2, 3, 5, 3), }", &data)), DataError::Npy(path.clone(), NpyError::Header));
    assert_eq!(refused(b"\x93NUMPY\x02\0\xff\xff\xff\xff{"), DataError::Npy(path, NpyError::Header));
    for (kind, shape, bytes) in [
        ("<f8", "2, 3, 5, 3", 720),
        ("|u1", "2, 3, 5, 4", 120),
        ("|u1", "90,", 90),
        ("|u1", "0, 3, 5, 3", 0),
        ("|u1", "4294967296, 4294967296, 4294967296, 3", 9),
        ("<f4", "4294967296, 4294967296, 4294967296", 9),
        ("<f4", "18446744073709551615, 0", 0),
        ("<f4", "1, 4294967295, 4294967295, 4294967295, 0", 0),
    ] {
        let error = refused(&npy(1, &format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': ({shape}), }}"), &vec![0; bytes]));
        assert!(matches!(error, DataError::NpyShape(..)), "{kind} {shape}: {error}");
    }
    for (kind, shape, bytes) in [("|u1", "2, 3, 5, 3", 89), ("<f4", "2, 3, 5, 3", 359), ("|i1", "7", 8), ("<f4", "4294967295, 4294967295, 4294967295", 9)] {
        let error = refused(&npy(1, &format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': ({shape},), }}"), &vec![0; bytes]));
        assert!(matches!(error, DataError::NpyBytes(..)), "{kind} {shape}: {error}");
    }
}

#[test]
fn what_is_no_data_set_is_named() {
    let folder = Folder::new("none");
    assert_eq!(open(&folder.0).unwrap_err(), DataError::Empty(folder.0.clone()));
    for path in ["nowhere.png", "nowhere", "nowhere.bin", "nowhere.npy"] {
        let error = open(&folder.0.join(path)).unwrap_err();
        assert!(matches!(error, DataError::Read(..)) && error.to_string().contains(path), "{error}");
    }
    let text = folder.write("notes.jpg", b"this is no picture");
    let error = open(&text).unwrap().load(0).unwrap_err();
    assert!(error.to_string().contains("notes.jpg") && !error.to_string().contains('\n'), "{error}");
}

#[cfg(unix)]
#[test]
fn links_in_circles_end() {
    let folder = Folder::new("links");
    folder.write("a/1.png", &file("grey.png"));
    std::os::unix::fs::symlink(&folder.0, folder.0.join("a/again")).unwrap();
    std::os::unix::fs::symlink(folder.0.join("a/1.png"), folder.0.join("2.png")).unwrap();
    assert_eq!(names(&open(&folder.0).unwrap(), &folder), ["2.png", "a/1.png"]);
}

#[test]
fn exif_turns_only_when_asked() {
    let path = Path::new("tests/pictures/decode/exif6.jpg");
    let size = |exif| open(path).unwrap().with_exif(exif).load(0).map(|picture| (picture.width, picture.height)).unwrap();
    assert_eq!((size(false), size(true)), ((9, 7), (7, 9)));
}

#[test]
fn several_threads_read_one_data_set() {
    let folder = Folder::new("threads");
    let path = folder.write("data.bin", &(0..64u8).flat_map(|k| [vec![k % 10], vec![k; 3072]].concat()).collect::<Vec<_>>());
    let set = open(&path).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..64u8).for_each(|k| assert!(set.load(usize::from(k)).unwrap().rgb.iter().all(|&b| b == k))));
        }
    });
}

/// Photographs decode, whole, wherever they are at hand.
#[test]
fn photographs() {
    let folder = Path::new("../shared/data/imagenet/calibration");
    let Ok(set) = open(folder) else { return eprintln!("{} is absent: nothing tested", folder.display()) };
    for i in 0..set.len() {
        set.load(i).unwrap();
    }
}
