//! The house keeps its floors: imports go strictly downwards, `unsafe` and tract stand only where they may, no file grows past 600 lines.

use std::fs;
use std::path::{Path, PathBuf};

/// Files and folders of `src`, floor by floor. A folder stands for all its files.
const FLOORS: [&[&str]; 13] = [
    &["quant", "crc"],
    &["shape"],
    &["pack"],
    &["kernels"],
    &["ops"],
    &["format"],
    &["session", "picture", "tensor"],
    &["classify"],
    &["os", "count"],
    &["threads"],
    &["convert"],
    &["cli"],
    &["main"],
];
/// Floors below this one know neither std nor an allocator.
const STD: usize = 8;
const UNSAFE: [&str; 20] = [
    "kernels/mod",
    "kernels/detect",
    "kernels/copy",
    "kernels/raw",
    "kernels/x86",
    "kernels/avx2",
    "kernels/avxvnni",
    "kernels/avx512vnni",
    "kernels/avx512vnni/narrow",
    "kernels/arm64",
    "kernels/arm64/narrow",
    "kernels/arm64/tables",
    "kernels/neon",
    "kernels/neon32",
    "kernels/neon32/rows",
    "kernels/neon32/narrow",
    "kernels/dotprod",
    "kernels/i8mm",
    "kernels/peak",
    "threads",
];
const UNSAFE_STD: [&str; 2] = ["os", "count"];
/// Files below that floor in which std stands behind the feature of that name: a build without std proves it.
const GATED: [&str; 3] = ["lib", "format/write", "kernels/detect"];
const TRACT: [&str; 3] = ["convert/onnx", "convert/float", "convert/split"];
const LINES: usize = 600;

struct Source {
    /// Path below its root, without extension.
    name: String,
    text: String,
}

fn sources(root: &str) -> Vec<Source> {
    fn walk(dir: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
            let path = entry.path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|e| e == "rs") {
                found.push(path);
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(root);
    let mut found = Vec::new();
    walk(&root, &mut found);
    found.sort();
    let name = |p: &PathBuf| p.strip_prefix(&root).unwrap().with_extension("").to_string_lossy().replace('\\', "/");
    found.iter().map(|p| Source { name: name(p), text: fs::read_to_string(p).unwrap() }).collect()
}

fn floor(module: &str) -> Option<usize> {
    FLOORS.iter().position(|f| f.contains(&module))
}

/// The code of a file: without comments, line by line.
fn code(source: &Source) -> impl Iterator<Item = (usize, &str)> {
    source.text.lines().enumerate().map(|(i, l)| (i + 1, l.split("//").next().unwrap_or_default()))
}

/// The modules of this crate that a line names: `crate::x`, `skipstone::x` and the members of `crate::{a::…, b::…}`.
fn named(line: &str) -> Vec<&str> {
    let mut found = Vec::new();
    for prefix in ["crate::", "skipstone::"] {
        for (at, _) in line.match_indices(prefix) {
            let rest = &line[at + prefix.len()..];
            if let Some(list) = rest.strip_prefix('{') {
                let mut depth = 0;
                let mut start = 0;
                for (i, c) in list.char_indices() {
                    match c {
                        '{' => depth += 1,
                        ',' | '}' if depth == 0 => {
                            found.push(list[start..i].trim());
                            start = i + 1;
                            if c == '}' {
                                break;
                            }
                        }
                        '}' => depth -= 1,
                        _ => {}
                    }
                }
            } else {
                found.push(rest);
            }
        }
    }
    found.into_iter().map(|m| m.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default()).collect()
}

#[test]
fn imports_go_downwards() {
    let mut wrong = Vec::new();
    for source in sources("src") {
        let module = source.name.split('/').next().unwrap();
        if module == "lib" {
            continue;
        }
        let Some(own) = floor(module) else {
            wrong.push(format!("src/{}.rs stands on no floor", source.name));
            continue;
        };
        for (line, text) in code(&source) {
            for other in named(text).into_iter().filter(|&m| m != module) {
                match floor(other) {
                    Some(f) if f < own => {}
                    Some(_) => wrong.push(format!("src/{}.rs:{line} (floor {own}) imports {other}", source.name)),
                    None if other.starts_with(char::is_uppercase) => wrong.push(format!("src/{}.rs:{line} takes {other} from the crate's root", source.name)),
                    None => {}
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn unsafe_stands_where_it_may() {
    let mut wrong = Vec::new();
    for source in sources("src") {
        let allowed = UNSAFE.contains(&source.name.as_str()) || UNSAFE_STD.contains(&source.name.as_str());
        for (line, text) in code(&source) {
            let word = text.split(|c: char| !c.is_alphanumeric() && c != '_').any(|w| w == "unsafe");
            if word && !allowed {
                wrong.push(format!("src/{}.rs:{line} has unsafe code", source.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn tract_and_std_stand_where_they_may() {
    let mut wrong = Vec::new();
    for source in sources("src") {
        let module = source.name.split('/').next().unwrap();
        let own = floor(module).unwrap_or(0);
        let mut gated = false;
        for (line, text) in code(&source) {
            if text.contains("tract_") && !TRACT.iter().any(|t| source.name == *t || source.name.starts_with(&format!("{t}/"))) {
                wrong.push(format!("src/{}.rs:{line} uses tract", source.name));
            }
            let std = text.contains("std::") || text.contains("alloc::");
            if std && own < STD && !gated && !GATED.contains(&source.name.as_str()) {
                wrong.push(format!("src/{}.rs:{line} uses std below floor {STD}", source.name));
            }
            gated = text.contains("cfg(feature = \"std\")");
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn files_are_short() {
    let long: Vec<_> = ["src", "tests", "benches"]
        .iter()
        .flat_map(|root| sources(root).into_iter().map(move |s| (format!("{root}/{}.rs", s.name), s.text.lines().count())))
        .filter(|(_, lines)| *lines > LINES)
        .map(|(name, lines)| format!("{name} has {lines} lines"))
        .collect();
    assert!(long.is_empty(), "{}", long.join("\n"));
}

#[test]
fn names_in_an_import_are_found() {
    assert_eq!(named("use crate::{crc::Crc32, format::{Model, view::X}, ops};"), ["crc", "format", "ops"]);
    assert_eq!(named("let x = crate::pack::LANES + skipstone::shape::LINE;"), ["pack", "shape"]);
}
