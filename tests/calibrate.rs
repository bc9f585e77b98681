//! `calibrate` and `convert --ranges` by the program: equal bytes, what is named, what is refused.
#![cfg(all(feature = "cli", feature = "convert"))]

#[path = "support/program.rs"]
mod program;

use program::Folder;
use std::path::Path;

fn model(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("models").join(name).display().to_string()
}

/// Calibrates ResNet-8.
fn calibrate(more: &str) -> String {
    format!("calibrate {} --calib {} --preprocess cifar10 {more}", model("resnet8.onnx"), model("calibration.bin"))
}

/// Converts ResNet-8 with ranges.
fn convert(more: &str) -> String {
    format!("convert {} --preprocess cifar10 {more}", model("resnet8.onnx"))
}

fn bytes(folder: &Folder, name: &str) -> Vec<u8> {
    std::fs::read(folder.path(name)).expect("written")
}

#[test]
fn shards_give_the_bytes_of_the_whole() {
    let folder = Folder::new("shards");
    let whole = folder.run(&calibrate("--limit 22 -o whole.calib --threads 2 --json")).json(0, "calibrate");
    let files = bytes(&folder, "whole.calib");
    assert_eq!((&whole["pictures"], &whole["of"], &whole["bytes"]), (&22.into(), &22.into(), &files.len().into()));
    assert!(whole["tensors"].as_u64().is_some_and(|n| n > 8) && whole["file"] == "whole.calib" && whole["notes"] == serde_json::json!([]), "{whole}");
    for i in 0..3 {
        let part = folder.run(&calibrate(&format!("--limit 22 --shard {i}/3 -o {i}.calib --json"))).json(0, "calibrate");
        assert_eq!((&part["pictures"], &part["of"]), (&[8, 7, 7][i].into(), &22.into()));
    }
    let some = folder.run("calibrate --merge 2.calib 0.calib -o some.calib --json").json(0, "calibrate");
    assert!(some["pictures"] == 15 && some["notes"].to_string().contains("7 of the 22"), "{some}");
    folder.run("calibrate --merge 1.calib some.calib -o all.calib").expect(0);
    assert!(bytes(&folder, "all.calib") == files);

    let ranges = folder.run(&convert("--ranges all.calib -o all.stone --json")).json(0, "convert");
    // The file says how pictures were prepared.
    folder.run(&format!("convert {} --ranges whole.calib -o whole.stone", model("resnet8.onnx"))).expect(0);
    assert!(bytes(&folder, "all.stone") == bytes(&folder, "whole.stone"));
    assert_eq!((&ranges["pictures"], &ranges["rounding"], &ranges["agreement"]), (&22.into(), &"nearest".into(), &serde_json::Value::Null));
    let notes = ranges["notes"].to_string();
    assert!(["--rounding hessian", "--bias means", "agreement"].iter().all(|word| notes.contains(word)), "{notes}");
    let test = model("test.bin");
    let eval = folder.run(&format!("eval all.stone --data {test} --against {} --json", model("resnet8.onnx"))).json(0, "eval");
    assert!(eval["sqnr_db"].as_f64().is_some_and(|db| db > 25.0), "{eval}");

    // With the pictures beside the ranges, everything is as without ranges.
    let data = model("calibration.bin");
    folder.run(&convert(&format!("--ranges all.calib --calib {data} --limit 22 -o both.stone"))).expect(0);
    folder.run(&convert(&format!("--calib {data} --limit 22 -o plain.stone"))).expect(0);
    assert!(bytes(&folder, "both.stone") == bytes(&folder, "plain.stone"));

    let ran = folder.run(&convert("--ranges some.calib -o some.stone --json"));
    assert!(ran.err.contains("note: left out") && ran.err.contains("7 pictures of the set"), "{}", ran.err);
}

#[test]
fn pictures_that_cannot_be_read_keep_their_numbers() {
    let folder = Folder::new("badshards");
    for i in 0..7u8 {
        folder.png(&format!("set/{i}.png"), 40, 36, i);
    }
    folder.write("set/3.png", b"no picture");
    let run = |more: &str| format!("calibrate {} --calib set --preprocess cifar10 {more}", model("resnet8.onnx"));
    folder.run(&run("-o bad.calib")).error(3, &["3.png"]);
    folder.run(&run("--skip-bad -o whole.calib")).expect(0);
    // The second of seven shards has nothing but the bad picture.
    let parts: Vec<String> = (0..7).rev().map(|i| format!("{i}.calib")).collect();
    parts.iter().enumerate().for_each(|(i, part)| drop(folder.run(&run(&format!("--skip-bad --shard {}/7 -o {part}", 6 - i))).expect(0)));
    let all = folder.run(&format!("calibrate --merge {} -o all.calib --json", parts.join(" "))).json(0, "calibrate");
    assert_eq!((&all["pictures"], &all["of"], &all["bad"]), (&6.into(), &7.into(), &1.into()));
    assert!(bytes(&folder, "all.calib") == bytes(&folder, "whole.calib"));
}

#[test]
fn what_is_refused() {
    let folder = Folder::new("refused");
    folder.run(&calibrate("--limit 4 --shard 0/2 -o a.calib")).expect(0);
    folder.run(&calibrate("--limit 4 --shard 1/2 -o b.calib")).expect(0);
    folder.run(&calibrate("--limit 5 --shard 1/2 -o longer.calib")).expect(0);
    folder.run(&calibrate("--limit 4 --shard 1/2 -o bgr.calib --bgr")).expect(0);
    let other = format!("calibrate {} --calib {} --preprocess cifar10 --limit 4 --shard 1/2 -o other.calib", model("plain20.onnx"), model("calibration.bin"));
    folder.run(&other).expect(0);
    let whole = bytes(&folder, "a.calib");
    folder.write("cut.calib", &whole[..whole.len() / 2]);
    folder.write("text.calib", b"nothing");
    let data = model("calibration.bin");
    let cases: &[(i32, String, &[&str])] = &[
        (3, "calibrate --merge b.calib a.calib b.calib -o x".into(), &["b.calib and b.calib", "picture 1"]),
        (3, "calibrate --merge b.calib a.calib a.calib -o x".into(), &["a.calib and a.calib", "picture 0"]),
        (3, "calibrate --merge a.calib longer.calib -o x".into(), &["a.calib", "longer.calib", "4 and 5"]),
        (3, "calibrate --merge a.calib bgr.calib -o x".into(), &["a.calib", "bgr.calib", "prepared"]),
        (3, "calibrate --merge a.calib other.calib -o x".into(), &["a.calib", "other.calib", "ONNX"]),
        (3, "calibrate --merge a.calib cut.calib -o x".into(), &["cut.calib", "damaged"]),
        (3, "calibrate --merge a.calib text.calib -o x".into(), &["text.calib", "no .calib"]),
        (3, "calibrate --merge a.calib missing.calib -o x".into(), &["missing.calib"]),
        (3, "calibrate --merge a.calib b.calib -o a.calib".into(), &["a.calib", "inputs"]),
        (2, "calibrate --merge a.calib --shard 0/2 -o x".into(), &["--shard", "--merge"]),
        (2, "calibrate --merge a.calib --calib set -o x".into(), &["--calib", "--merge"]),
        (2, "calibrate --merge a.calib --preprocess unit -o x".into(), &["preprocessing", "--merge"]),
        (2, "calibrate --merge a.calib --exif -o x".into(), &["--exif", "--merge"]),
        (2, format!("convert {} --ranges a.calib --preprocess tensor -o x", model("resnet8.onnx")), &["--ranges", "--preprocess tensor"]),
        (2, "calibrate -o x".into(), &["--calib"]),
        (2, calibrate("--shard 2/2 -o x"), &["--shard"]),
        (3, calibrate("--limit 2 --shard 2/3 -o x"), &["no pictures"]),
        (2, convert("-o x"), &["--calib"]),
        (2, convert("--ranges a.calib --limit 3 -o x"), &["--limit"]),
        (2, convert(&format!("--ranges a.calib --calib {data} --explain -o x")), &["--ranges", "--explain"]),
        (2, convert(&format!("--ranges a.calib --calib {data} --skip-blocks 1 -o x")), &["--ranges", "--skip-blocks"]),
        (3, convert("--ranges other.calib -o x"), &["other.calib", "another ONNX"]),
        (3, convert("--ranges bgr.calib -o x"), &["bgr.calib", "preprocessing"]),
        (3, format!("convert {} --ranges a.calib --mean 0.5 -o x", model("resnet8.onnx")), &["a.calib", "preprocessing"]),
        (3, convert("--ranges cut.calib -o x"), &["cut.calib", "damaged"]),
        (3, convert("--ranges a.calib -o a.calib"), &["a.calib", "inputs"]),
        (3, convert(&format!("--ranges a.calib --calib {data} --exif -o x")), &["a.calib", "--exif"]),
    ];
    for (code, command, names) in cases {
        folder.run(command).error(*code, names);
        assert!(!folder.path("x").exists(), "{command}");
    }
}
