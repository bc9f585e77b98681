//! From an ONNX file of the repository to labels, by the program alone.
#![cfg(all(feature = "cli", feature = "convert"))]

#[path = "support/program.rs"]
mod program;

use program::Folder;
use serde_json::Value;
use std::path::{Path, PathBuf};

fn model(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("models").join(name).display().to_string()
}

fn convert(more: &str) -> String {
    format!("convert {} --calib {} --limit 20 --preprocess cifar10 {more}", model("resnet8.onnx"), model("calibration.bin"))
}

fn number(value: &Value, field: &str) -> f64 {
    value[field].as_f64().unwrap_or_else(|| panic!("{field} is no number in {value}"))
}

/// Names of the files in a folder.
fn files(folder: &Folder) -> Vec<PathBuf> {
    std::fs::read_dir(folder.as_path()).expect("ours").map(|e| e.expect("readable").path()).collect()
}

#[test]
fn convert_eval_and_compare() {
    let folder = Folder::new("convert");
    let (onnx, test, labels) = (model("resnet8.onnx"), model("test.bin"), model("cifar10-labels.txt"));
    let json = folder.run(&convert(&format!("-o net.stone --labels {labels} --eval {test} --json"))).json(0, "convert");
    for field in "file bytes arena_bytes layers macs parameters method seconds pictures agreement sqnr_db float_top1 top1".split(' ') {
        assert!(json.get(field).is_some_and(|v| !v.is_null()), "no field {field} in {json}");
    }
    assert_eq!((&json["file"], &json["pictures"], &json["measured_on"]), (&"net.stone".into(), &20.into(), &50.into()));
    assert_eq!(json["bytes"], std::fs::metadata(folder.path("net.stone")).expect("written").len());
    assert!(number(&json, "agreement") > 85.0 && number(&json, "sqnr_db") > 20.0, "{json}");

    let eval = folder.run(&format!("eval net.stone --data {test} --against {onnx} --threads 2 --predictions table.csv --json")).json(0, "eval");
    for field in ["float_top1", "top1", "agreement"] {
        assert!((number(&eval, field) - number(&json, field)).abs() < 1e-9, "{field}");
    }
    assert!(number(&eval, "float_top5") >= number(&eval, "float_top1") && (number(&eval, "sqnr_db") - number(&json, "sqnr_db")).abs() < 0.01);
    let table = std::fs::read_to_string(folder.path("table.csv")).expect("written");
    let same = table.lines().skip(1).filter(|l| l.split(',').nth(3) == l.split(',').nth(4)).count();
    assert!((100.0 * same as f64 / 50.0 - number(&eval, "agreement")).abs() < 1e-9, "{table}");

    let compared = folder.run(&format!("compare {onnx} net.stone --data {test} --limit 10 --json")).json(0, "compare");
    let layers = compared["layers"].as_array().expect("an array");
    assert!(layers.len() == 9 && number(&compared, "output_sqnr_db") > 20.0 && number(&compared, "agreement") >= 80.0, "{compared}");
    for layer in layers {
        assert!(number(layer, "cosine") > 0.98 && number(layer, "max_abs") >= 0.0, "{layer}");
        assert!(number(layer, "sqnr_db") > 15.0 && number(layer, "isolated_sqnr_db") > 20.0, "{layer}");
    }
    let inspected = folder.run("inspect net.stone --json").json(0, "inspect");
    assert_eq!(inspected["preprocess"]["mean"][0].as_f64().map(|m| (m * 1e4).round()), Some(4914.0));
    assert_eq!(inspected["arena_bytes"]["fast"]["scalar"], json["arena_bytes"]);
    folder.run("verify net.stone --isa all").expect(0);
    let text = folder.run(&convert("-o text.stone")).expect(0).out;
    assert!(text.contains("SQNR dB") && text.contains("agreement") && text.contains("on 20 calibration pictures"), "{text}");
}

#[test]
fn useless_scores_are_called_so() {
    let folder = Folder::new("useless");
    let bad = "--method percentile:51 --scales tensor --rounding nearest --bias float";
    for more in ["--json", ""] {
        let good = folder.run(&convert(&format!("-o net.stone {more}"))).expect(0);
        assert!(!good.err.contains("warning: far") && !good.out.contains("far from the float network"), "{good:?}");
        let ran = folder.run(&convert(&format!("-o net.stone {bad} {more}"))).expect(0);
        let warning = ran.err.lines().find_map(|l| l.strip_prefix("warning: far from the float network: ")).expect("a warning");
        for part in ["of 20 calibration pictures", " dB", "the step that loses most by itself is /", "--stream 16", "--max-drop", "skipstone compare"] {
            assert!(warning.contains(part), "no '{part}' in {warning}");
        }
        assert_eq!(ran.out.contains("far from the float network"), more == "--json", "the text has it on stderr only");
    }
    let few = folder.run(&convert(&format!("-o net.stone {bad} --stream 16 --eval {} --eval-limit 5 --json", model("test.bin")))).expect(0);
    assert!(few.err.contains("of 5 --eval pictures") && !few.err.contains("--stream 16"), "{}", few.err);
}

#[test]
fn what_each_part_brings() {
    let folder = Folder::new("brought");
    let more = |options: &str| convert(options).replace("--limit 20", "--limit 60");
    let json = folder.run(&more("-o net.stone --explain --json")).json(0, "convert");
    let (brought, ladder) = (&json["brought"], json["brought"]["ladder"].as_array().expect("an array"));
    assert_eq!((&brought["pictures"], ladder.len()), (&12.into(), 6));
    for (i, rung) in ladder.iter().enumerate() {
        assert!(number(rung, "median_db") > 15.0 && number(rung, "sqnr_db") > 15.0 && number(rung, "agreement") > 40.0, "{rung}");
        assert!((i == 0) == rung["gain_db"].is_null() && (i == 0) == rung["gain_error_db"].is_null(), "{rung}");
    }
    // With a budget the first way that holds is written, and explained.
    let ran = folder.run(&more(&format!("-o net.stone --explain --eval {} --max-drop 90", model("test.bin")))).expect(0);
    let quick = "cv, scales tensor, rounding nearest, bias means";
    assert!(ran.out.contains(&format!("method        {quick}, 60 pictures")), "{}", ran.out);
    let table = ran.out.split("brought       on 12 pictures").nth(1).expect("a table");
    let rows: Vec<_> = table.lines().filter_map(|l| l.strip_prefix("  ")?.split("  ").next()).filter(|l| l.contains("scales")).collect();
    assert!(rows.len() == 3 && rows[2] == quick, "{table}");
    assert!(table.contains('±') && table.contains("all pictures together"), "{table}");
    // Four pictures do not tell how far they differ.
    let few = folder.run(&convert("-o net.stone --explain --rounding nearest --json")).json(0, "convert");
    assert!(few["brought"]["pictures"] == 4 && few["brought"]["ladder"][1]["gain_error_db"].is_null(), "{}", few["brought"]);
}

#[test]
fn the_same_bytes_at_any_number_of_threads() {
    let folder = Folder::new("same");
    let bytes = |threads: usize| {
        folder.run(&convert(&format!("-o net{threads}.stone --threads {threads} --method minmax --json"))).json(0, "convert");
        std::fs::read(folder.path(&format!("net{threads}.stone"))).expect("written")
    };
    let one = bytes(1);
    assert!(one == bytes(2) && one == bytes(3));
}

#[test]
fn an_accuracy_budget() {
    let folder = Folder::new("budget");
    let eval = format!("--eval {} --eval-limit 30", model("test.bin"));
    folder.run(&convert(&format!("-o kept.stone {eval} --max-drop 20 --json"))).json(0, "convert");
    // The labels are wrong on purpose: the drop is what matters, and minus a hundred points cannot be had.
    let ran = folder.run(&convert(&format!("-o lost.stone {eval} --max-drop 0 --method percentile:60")));
    assert!(matches!(ran.code, Some(0 | 1)), "{ran:?}");
    assert_eq!(ran.code == Some(0), folder.path("lost.stone").exists());
    if ran.code == Some(1) {
        assert!(ran.err.contains("--max-drop") && ran.err.contains("\nhelp: "), "{}", ran.err);
    }
    assert!(
        ran.err.contains("method percentile:60, scales tensor, rounding nearest, bias means: top-1 drops by"),
        "the weakest method loses accuracy: {}",
        ran.err
    );
    folder.png("plain/a.png", 32, 32, 1);
    folder.run(&convert("-o none.stone --eval plain --max-drop 1")).error(3, &["plain", "--max-drop"]);
    assert!(!folder.path("none.stone").exists());
}

#[test]
fn bad_conversions_leave_nothing() {
    let folder = Folder::new("refused");
    folder.write("notes.jpg", b"this is no picture");
    folder.write("two.txt", b"cat\ndog\n");
    folder.write("made.stone", b"\x89STONE\r\n and so on");
    std::fs::create_dir(folder.path("empty")).expect("writable");
    let before = files(&folder);
    let (onnx, calib) = (model("resnet8.onnx"), model("calibration.bin"));
    let table: &[(i32, String, &[&str])] = &[
        (3, format!("convert nowhere.onnx -o y.stone --calib {calib} --preprocess cifar10"), &["nowhere.onnx"]),
        (3, format!("convert notes.jpg -o y.stone --calib {calib} --preprocess cifar10"), &["notes.jpg"]),
        (3, format!("convert empty -o y.stone --calib {calib} --preprocess cifar10"), &["empty"]),
        (3, format!("convert {onnx} -o y.stone --calib empty --preprocess cifar10"), &["empty"]),
        (3, format!("convert {onnx} -o y.stone --calib notes.jpg --preprocess cifar10"), &["notes.jpg"]),
        (3, format!("convert {onnx} -o y.stone --calib notes.jpg --skip-bad --preprocess cifar10 --quiet"), &["notes.jpg"]),
        (3, format!("convert {onnx} -o no/such/folder/y.stone --calib {calib} --preprocess cifar10"), &["no/such/folder"]),
        (3, format!("convert {onnx} -o empty --calib {calib} --preprocess cifar10"), &["empty"]),
        (3, format!("convert {onnx} -o y.stone --calib {calib} --preprocess imagenet --limit 2"), &["224"]),
        (3, format!("convert {onnx} -o y.stone --calib {calib} --preprocess cifar10 --labels two.txt"), &["two.txt: 2 labels for 10 classes"]),
        (3, format!("convert {onnx} -o y.stone --calib {calib} --preprocess cifar10 --labels nowhere.txt"), &["nowhere.txt"]),
        (2, format!("convert {onnx} -o y.stone --calib {calib} --preprocess martian"), &["martian"]),
        (2, format!("convert {onnx} -o y.stone --calib {calib} --limit 4"), &["--preprocess"]),
        (2, format!("convert {onnx} -o y.stone --calib {calib} --preprocess cifar10 --mean 1"), &["--preprocess"]),
        (2, format!("convert {onnx} -o y.stone --calib {calib} --preprocess cifar10 --method guess"), &["guess", "--method"]),
        (2, format!("convert {onnx} -o y.stone --calib {calib} --preprocess cifar10 --max-drop 1"), &["--eval"]),
        (2, format!("convert {onnx} -o y.stone --calib {calib} --preprocess cifar10 --eval {calib} --max-drop -1"), &["--max-drop", "0 points or more"]),
        (3, format!("convert {onnx} -o y.stone --calib {calib} --preprocess cifar10 --explain --limit 9"), &["9 pictures", "--explain"]),
        (2, format!("convert {onnx} --calib {calib} --preprocess cifar10"), &["--output"]),
        (3, format!("compare made.stone {onnx} --data {calib}"), &["made.stone: this is a .stone file, no ONNX file"]),
        (3, format!("report made.stone {onnx} --data {calib} -o y.html"), &["made.stone: this is a .stone file"]),
        (3, format!("convert made.stone -o y.stone --calib {calib} --preprocess cifar10"), &["made.stone: this is a .stone file"]),
    ];
    for (code, args, names) in table {
        let ran = folder.run(args);
        println!("{args}\n{}", ran.err);
        let err = ran.err.lines().filter(|l| !l.starts_with("warning: ")).collect::<Vec<_>>().join("\n");
        program::Ran { err, ..ran }.error(*code, names);
    }
    assert_eq!(files(&folder), before);
}

#[test]
fn the_demo() {
    let folder = Folder::new("demo");
    let ran = folder.run("demo --json");
    let json = ran.json(0, "demo");
    let commands = json["commands"].as_array().expect("an array");
    let names: Vec<_> = commands.iter().map(|c| c["command"].as_str().and_then(|c| c.split(' ').nth(1)).expect("a command")).collect();
    assert_eq!(names, ["convert", "run", "eval", "bench", "profile", "verify", "inspect"]);
    assert!(number(&commands[2]["result"], "top1") > 70.0 && commands[5]["result"]["ok"] == true, "{json}");
    assert_eq!(commands[1]["result"]["pictures"].as_array().map(Vec::len), Some(3));
    assert_eq!(json["folder"], "target/demo", "also where there is no target");
    assert!(folder.path("target/demo/resnet20.stone").is_file() && files(&folder) == [folder.path("target")]);
}

#[test]
fn what_the_user_would_regret_is_refused_or_said() {
    let folder = Folder::new("regret");
    let (onnx, calib) = (model("resnet8.onnx"), model("calibration.bin"));
    std::fs::copy(&onnx, folder.path("own.onnx")).expect("copied");
    let own = |output: &str, more: &str| format!("convert own.onnx -o {output} --calib {calib} --limit 8 {more}");
    folder.run(&own("./own.onnx", "--preprocess cifar10")).error(3, &["own.onnx", "one of the inputs"]);
    assert_eq!(std::fs::read(folder.path("own.onnx")).expect("still there"), std::fs::read(&onnx).expect("ours"));
    folder.run(&own("/dev/null", "--preprocess cifar10")).error(3, &["/dev/null", "no ordinary file"]);
    folder.run(&own("-", "--preprocess cifar10")).error(3, &["names no file"]);
    folder.run(&own("net.stone", "--mean 125,123,114 --std 63,62,67")).error(2, &["--mean", "divided by 255"]);
    let few = folder.run(&own("net.stone", "--preprocess cifar10 --json")).json(0, "convert");
    assert!(few["notes"].to_string().contains("8 pictures only"), "{few}");
    folder.run(&format!("compare {} net.stone --data {calib} --limit 2", model("resnet20.onnx"))).error(3, &["resnet20.onnx", "checksums differ"]);
    // Another float network may be meant: it is measured, and called another.
    let eval = |onnx: &str| folder.run(&format!("eval net.stone --data {calib} --limit 2 --against {onnx} --json"));
    let [same, other] = [onnx.clone(), model("resnet20.onnx")].map(|onnx| eval(&onnx));
    assert!(!same.err.contains("was not made from") && other.err.contains("warning: net.stone was not made from"), "{}{}", same.err, other.err);
    assert!(same.json(0, "eval")["sqnr_db"].as_f64() > other.json(0, "eval")["sqnr_db"].as_f64());
    let half = folder.run(&own("net.stone", "--mean 0.5")).expect(0);
    assert!(half.err.contains("warning: --mean without --std") && half.err.contains("--std 1"), "{}", half.err);
    assert!(!folder.run(&own("net.stone", "--mean 0.5 --std 1")).expect(0).err.contains("--std"));
    // A real picture as check input is kept, and what it gives is verified.
    folder.png("check.png", 40, 30, 7);
    let plain = std::fs::metadata(folder.path("net.stone")).expect("written").len();
    folder.run(&own("net.stone", "--preprocess cifar10 --check-picture check.png --json")).json(0, "convert");
    assert!(std::fs::metadata(folder.path("net.stone")).expect("written").len() >= plain + 32 * 32 * 3);
    folder.run("verify net.stone").expect(0);
}
