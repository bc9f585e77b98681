//! Transcripts of the program: what it prints, which fields its JSON has, how it fails.
#![cfg(feature = "cli")]

#[path = "support/program.rs"]
mod program;
#[path = "support/sealed.rs"]
mod sealed;
#[path = "support/tiny.rs"]
mod tiny;

use program::Folder;
use sealed::{seal, section};
use serde_json::Value;
use skipstone::crc::crc32;
use skipstone::format::{MAGIC, flag, section as name, step};
use skipstone::{Kernels, Model};
use std::io::Write;
use std::process::Stdio;

/// A folder with the file `net.stone`, two plans.
fn folder(name: &str) -> Folder {
    let folder = Folder::new(name);
    folder.write("net.stone", &tiny::file(tiny::Options { small: true, ..Default::default() }));
    folder
}

/// `n` CIFAR records with classes 0 to 9 in turn.
fn cifar(n: u32) -> Vec<u8> {
    (0..n).flat_map(|i| core::iter::once(i % 10).chain((0..3072).map(move |p| i * 31 + p * (i + 3) / 7))).map(|v| v.to_le_bytes()[0]).collect()
}

#[track_caller]
fn has(value: &Value, fields: &str) {
    for field in fields.split_whitespace() {
        assert!(value.get(field).is_some(), "no field {field} in {value}");
    }
}

fn number(value: &Value, field: &str) -> f64 {
    value[field].as_f64().unwrap_or_else(|| panic!("{field} is no number in {value}"))
}

#[test]
fn bad_arguments_and_inputs() {
    let folder = folder("errors");
    folder.write("notes.jpg", b"this is no picture");
    folder.write("empty/nothing.txt", b"");
    folder.write("wrong.csv", b"elsewhere.png,3\n");
    folder.write("beyond.csv", b"a.png,10\n");
    folder.write("names.csv", b"file,class\na.png,cat\n");
    folder.write("net.onnx", b"\x08\x07\x12\x07pytorch");
    folder.png("one/a.png", 12, 10, 0);
    folder.png("grey.png", 32, 32, 5);
    folder.write("fast.stone", &tiny::file(tiny::Options::default()));
    let table: &[(i32, &str, &[&str])] = &[
        (2, "", &["command"]),
        (2, "sing net.stone", &["sing"]),
        (2, "bench net.stone --loud", &["--loud"]),
        (2, "bench", &["<NET>"]),
        (2, "bench net.stone --threads 0", &["--threads", "'0'"]),
        (2, "bench net.stone --threads 1,none", &["--threads", "none"]),
        (2, "bench net.stone --isa mmx", &["mmx", "--isa"]),
        (4, "bench net.stone --isa neon", &["neon", "--isa"]),
        (4, "bench net.stone --isa i8mm", &["i8mm"]),
        (2, "bench net.stone --plan middle", &["middle", "--plan"]),
        (3, "bench fast.stone --plan small", &["small", "--plan", "fast.stone"]),
        (2, "bench net.stone --runs 0", &["--runs"]),
        (2, "bench net.stone --runs 5 --time 5", &["--runs", "--time"]),
        (2, "bench net.stone --fail-over 5", &["--baseline"]),
        (3, "bench net.stone --baseline notes.jpg", &["notes.jpg", "--baseline"]),
        (3, "bench net.stone --baseline nowhere.json", &["nowhere.json"]),
        (4, "bench net.stone --pin 4095", &["--pin"]),
        (2, "bench net.stone --pin 3-1", &["--pin"]),
        (2, "bench net.stone --soak 5x", &["--soak", "5x"]),
        (2, "bench net.stone --soak 5s --runs 5", &["--soak", "--runs"]),
        (3, "run net.stone nowhere.png", &["nowhere.png"]),
        (3, "run net.stone one", &["one is a folder"]),
        (3, "run net.stone notes.jpg", &["notes.jpg"]),
        (3, "run net.onnx grey.png", &["net.onnx: this is an ONNX file"]),
        (3, "run grey.png net.stone", &["grey.png: this is a picture"]),
        (3, "bench one", &["one: this is a folder"]),
        (3, "run nowhere.stone grey.png", &["nowhere.stone"]),
        (3, "run net.stone -", &["stdin"]),
        (2, "run net.stone", &["<PICTURES>"]),
        (2, "run net.stone grey.png --raw 4x4:rgb24", &["--raw"]),
        (2, "run net.stone --raw 4x4:jpeg", &["--raw", "4x4:jpeg"]),
        (2, "run net.stone --raw 65536x4:rgb24", &["--raw", "65536x4", "65535"]),
        (2, "run net.stone --raw 4x99999999999:rgb24", &["--raw", "65535"]),
        (2, "run net.stone --raw 0x4:rgb24", &["--raw", "1 to 65535"]),
        (3, "run net.stone --raw 4x4:rgb24", &["no frame", "--raw"]),
        (3, "run net.stone notes.jpg nowhere.png", &["2 of 2", "notes.jpg", "nowhere.png"]),
        (2, "run net.stone grey.png --top 0", &["--top"]),
        (3, "run net.stone grey.png --resize none --crop 11", &["grey.png"]),
        (2, "run net.stone grey.png --resize big", &["--resize", "big"]),
        (2, "run net.stone grey.png --crop 0", &["--crop"]),
        (2, "run net.stone grey.png --crop none", &["--crop", "none", "pixels"]),
        (2, "eval net.stone", &["--data"]),
        (3, "eval net.stone --data notes.jpg", &["notes.jpg"]),
        (3, "eval net.stone --data notes.jpg --skip-bad", &["notes.jpg"]),
        (3, "eval net.stone --data empty", &["empty"]),
        (3, "eval net.stone --data nowhere", &["nowhere"]),
        (3, "eval net.stone --data one --truth wrong.csv", &["a.png", "wrong.csv"]),
        (3, "eval net.stone --data one --truth beyond.csv", &["a.png", "10"]),
        (3, "eval net.stone --data one --truth nowhere.csv", &["nowhere.csv"]),
        (3, "eval net.stone --data one --truth names.csv", &["names.csv: line 2", "`cat`"]),
        (2, "eval net.stone --data one --limit 0", &["--limit"]),
        (2, "eval net.stone --data one --shard 2/2", &["--shard"]),
        (3, "eval net.stone --data one --predictions no/such/folder.csv", &["no/such/folder.csv"]),
        (3, "eval net.stone --data one --predictions net.stone", &["net.stone: it is one of the inputs"]),
        (3, "eval net.stone --data one --truth names.csv --predictions names.csv", &["names.csv"]),
        (3, "bench net.stone --baseline grey.png", &["grey.png"]),
        (3, "inspect empty", &["empty"]),
        (3, "verify notes.jpg", &["notes.jpg"]),
        (2, "verify net.stone --isa every", &["every"]),
        (3, "profile nowhere.stone", &["nowhere.stone"]),
        (2, "profile net.stone --energy", &["--data"]),
        (2, "profile net.stone --data one", &["--energy"]),
        (2, "profile net.stone --limit 3", &["--limit"]),
        (2, "profile net.stone --crop 3", &["--crop"]),
        (3, "profile net.stone --energy --data empty", &["empty"]),
        (2, "report net.onnx net.stone --data one", &["--output"]),
    ];
    // Without the converter profile measures no energy, on no pictures, and nothing is reported.
    for (code, args, names) in
        table.iter().filter(|(_, args, _)| cfg!(feature = "convert") || !["profile net.stone", "report"].iter().any(|a| args.starts_with(a)))
    {
        let ran = folder.run(args);
        println!("{args}\n{}", ran.err);
        assert!(!args.contains("--skip-bad") || ran.err.contains("warning: skipped notes.jpg"));
        ran.error(*code, names);
    }
    folder.run_with("bench net.stone", &[], &[("SKIPSTONE_ISA", "mmx")]).error(2, &["mmx", "SKIPSTONE_ISA"]);
    folder.run_with("bench net.stone", &[], &[("SKIPSTONE_ISA", "mve")]).error(4, &["mve", "SKIPSTONE_ISA"]);
}

#[test]
fn damaged_files_are_refused() {
    let folder = folder("damaged");
    let good = tiny::file(tiny::Options::default());
    for at in (0..good.len()).step_by(1999) {
        folder.write("bad.stone", &good[..at]);
        folder.run("inspect bad.stone").error(3, &["bad.stone"]);
        let mut changed = good.clone();
        changed[at] ^= 0x10;
        folder.write("bad.stone", &changed);
        folder.run("verify bad.stone").error(3, &["bad.stone", "byte"]);
    }
    assert_eq!(good[..8], MAGIC);
}

#[test]
fn help_and_version() {
    let folder = Folder::new("help");
    let all = folder.run("--help").expect(0).out;
    for command in ["convert", "calibrate", "run", "eval", "bench", "profile", "inspect", "verify", "compare", "report", "devices", "demo"] {
        assert!(all.contains(&format!("\n  {command} ")), "{all}");
        let help = folder.run(&format!("{command} --help")).expect(0).out;
        if !cfg!(feature = "convert") && ["convert", "calibrate", "compare", "report", "demo"].contains(&command) {
            continue;
        }
        assert!(help.contains("Example") && help.contains(&format!("skipstone {command}")) && help.contains("--json"), "{help}");
    }
    let verify = folder.run("verify --help").expect(0).out;
    let isa = verify.lines().find(|l| l.contains("--isa <NAME>")).expect("an option");
    assert!(Kernels::all().all(|k| isa.contains(k.set().name())) && isa.contains("all takes every set"), "{isa}");
    assert!(!all.contains("small") && !folder.run("bench --help").expect(0).out.contains("small"), "no file that the converter makes has that plan");
    let needing = |text: &str| text.lines().filter(|l| l.contains("(needs the program with the converter)")).count();
    let (commands, options) = if cfg!(feature = "convert") { (0, 0) } else { (5, 1) };
    assert_eq!((needing(&all), needing(&folder.run("eval --help").expect(0).out)), (commands, options), "{all}");
    assert_eq!(folder.run("--version").expect(0).out, format!("skipstone {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn labels_of_pictures() {
    let folder = folder("run");
    folder.png("a.png", 10, 12, 1);
    let b = folder.png("b.png", 40, 30, 2);
    let json = folder.run("run net.stone a.png b.png --top 3 --json").json(0, "run");
    let pictures = json["pictures"].as_array().expect("an array");
    assert_eq!(pictures.len(), 2);
    for (picture, path) in pictures.iter().zip(["a.png", "b.png"]) {
        assert_eq!(picture["path"], path);
        has(picture, "top scores_crc32");
        let top = picture["top"].as_array().expect("an array");
        assert_eq!(top.len(), 3);
        let class = top[0]["class"].as_u64().expect("an integer");
        assert_eq!(top[0]["label"], format!("class {class}"));
        let [first, second] = [0, 1].map(|i| (number(&top[i], "score"), number(&top[i], "probability")));
        assert!(((first.0 - second.0).exp() - first.1 / second.1).abs() < 1e-6 * first.1 / second.1, "{top:?}");
        let p: Vec<_> = top.iter().map(|t| number(t, "probability")).collect();
        assert!(p[0] >= p[1] && p[1] >= p[2] && p[2] >= 0.0 && p.iter().sum::<f64>() <= 1.0 + 1e-9);
    }
    assert_ne!(pictures[0]["scores_crc32"], pictures[1]["scores_crc32"]);
    let all = folder.run("run net.stone a.png --top 99 --json").json(0, "run");
    let sum: f64 = all["pictures"][0]["top"].as_array().expect("an array").iter().map(|t| number(t, "probability")).sum();
    assert!((sum - 1.0).abs() < 1e-9, "{sum}");
    let text = folder.run("run net.stone a.png").expect(0).out;
    assert!(text.starts_with("a.png\n") && text.lines().count() == 6 && text.contains(" %  class "), "{text}");
    let piped = folder.run_with("run net.stone - --json", &std::fs::read(b).expect("ours"), &[]).json(0, "run");
    assert_eq!(piped["pictures"][0]["scores_crc32"], pictures[1]["scores_crc32"]);
}

#[test]
fn bad_pictures_do_not_cost_the_good_ones() {
    let folder = folder("some");
    folder.png("a.png", 10, 12, 1);
    folder.png("b.png", 40, 30, 2);
    folder.write("notes.jpg", b"this is no picture");
    let good = folder.run("run net.stone a.png b.png --json").json(0, "run");
    assert_eq!(good.get("bad"), None);
    let one = folder.run("run net.stone a.png notes.jpg b.png --json");
    assert_eq!(one.errors().collect::<Vec<_>>()[0], "error: notes.jpg: neither a JPEG nor a PNG");
    let one = one.json(3, "run");
    assert_eq!((&one["pictures"], one["bad"].as_array().map(Vec::len)), (&good["pictures"], Some(1)));
    assert_eq!((&one["bad"][0]["path"], &one["bad"][0]["error"]), (&"notes.jpg".into(), &"notes.jpg: neither a JPEG nor a PNG".into()));
    let two = folder.run("run net.stone nowhere.png a.png notes.jpg").expect(3);
    assert!(two.out.starts_with("a.png\n") && two.out.lines().count() == 6, "{}", two.out);
    assert_eq!(two.err.lines().filter(|l| l.starts_with("warning: skipped ")).count(), 2, "{}", two.err);
    assert!(two.err.contains("error: 2 of 3 pictures are bad: nowhere.png, notes.jpg\nhelp: "), "{}", two.err);
}

#[test]
fn frames_from_a_pipe() {
    let folder = folder("raw");
    let path = folder.png("a.png", 20, 14, 3);
    let rgb = image::open(path).expect("ours").into_rgb8().into_raw();
    let known = folder.run("run net.stone a.png --json").json(0, "run");
    let lines = |format: &str, bytes: &[u8]| {
        let out = folder.run_with(&format!("run net.stone --raw 20x14:{format}"), bytes, &[]).expect(0).out;
        out.lines().map(|l| serde_json::from_str(l).expect("JSON")).collect::<Vec<Value>>()
    };
    let frames = lines("rgb24", &[rgb.clone(), rgb.clone(), vec![7; rgb.len()]].concat());
    assert_eq!(frames.len(), 3);
    for (i, frame) in frames.iter().enumerate() {
        assert_eq!((&frame["schema"], &frame["pictures"][0]["frame"]), (&"skipstone.run/1".into(), &i.into()));
        assert_eq!(frame["pictures"][0]["scores_crc32"] == known["pictures"][0]["scores_crc32"], i < 2);
    }
    assert_eq!(lines("gray8", &[9; 20 * 14 * 2]).len(), 2);
    assert_eq!(lines("yuv420", &[9; 20 * 14 * 3 / 2]).len(), 1);
    folder.run("run net.stone --raw 20x14:rgb24").error(3, &["stdin: no frame came"]);
    let cut = folder.run_with("run net.stone --raw 20x14:rgb24", &rgb[1..], &[]).expect(3);
    assert!(cut.err.contains("frame 0 ends after 839 of 840 bytes"), "{}", cut.err);
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let folder = folder("pipe");
    let mut child =
        folder.command("run net.stone --raw 4x4:gray8").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    drop(child.stdout.take());
    let _ = child.stdin.take().expect("piped").write_all(&[5; 16 * 100]);
    let output = child.wait_with_output().expect("it ends");
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]));
}

#[test]
fn accuracy() {
    let folder = folder("eval");
    let records = cifar(30);
    folder.write("set.bin", &records);
    let json = folder.run("eval net.stone --data set.bin --predictions table.csv --json").json(0, "eval");
    has(&json, "pictures top1 top5 float_top1 float_top5 agreement sqnr_db input_crc32 scores_crc32 seconds isa threads plan");
    assert_eq!((&json["pictures"], &json["threads"], &json["plan"], &json["agreement"]), (&30.into(), &1.into(), &"fast".into(), &Value::Null));
    let table = std::fs::read_to_string(folder.path("table.csv")).expect("written");
    let rows: Vec<Vec<&str>> = table.lines().map(|l| l.split(',').collect()).collect();
    assert_eq!((rows.len(), rows[0].join(" ").as_str()), (31, "index file truth class float_class"));
    assert!(rows[1..].iter().enumerate().all(|(i, r)| r[0] == i.to_string() && r[2] == (i % 10).to_string() && r[4].is_empty()), "{table}");
    let hits = rows[1..].iter().filter(|r| r[2] == r[3]).count();
    assert!((number(&json, "top1") - 100.0 * hits as f64 / 30.0).abs() < 1e-9);
    assert!(number(&json, "top5") >= number(&json, "top1"));
    for kernels in Kernels::all() {
        for (threads, plan) in [(1, "small"), (2, "fast"), (3, "small")] {
            let other = folder.run(&format!("eval net.stone --data set.bin --json --isa {} --threads {threads} --plan {plan}", kernels.set())).json(0, "eval");
            assert_eq!((&other["isa"], &other["threads"], &other["plan"]), (&kernels.set().name().into(), &threads.into(), &plan.into()));
            assert_eq!((&other["scores_crc32"], &other["input_crc32"]), (&json["scores_crc32"], &json["input_crc32"]));
        }
    }
    let part = folder.run("eval net.stone --data set.bin --limit 9 --shard 1/3 --json").json(0, "eval");
    assert_eq!(part["pictures"], 3);
    let forced = folder.run_with("eval net.stone --data set.bin --json", &[], &[("SKIPSTONE_ISA", "scalar")]).json(0, "eval");
    assert_eq!((&forced["isa"], &forced["scores_crc32"]), (&"scalar".into(), &json["scores_crc32"]));
    let text = folder.run("eval net.stone --data set.bin").expect(0).out;
    assert!(text.contains("top-1") && text.contains("30, ") && !text.contains("agreement"), "{text}");
}

#[test]
fn pictures_without_labels() {
    let folder = folder("plain");
    let path = folder.png("set/b.png", 10, 12, 4);
    folder.write("set/a.png", b"no picture");
    folder.run("eval net.stone --data set --json").error(3, &["a.png"]);
    let ran = folder.run("eval net.stone --data set --skip-bad --json");
    assert!(ran.err.contains("a.png"));
    assert!(folder.run("eval net.stone --data set --skip-bad").expect(0).out.contains("no classes are known"));
    let json = ran.json(0, "eval");
    assert_eq!((&json["pictures"], &json["top1"], &json["top5"]), (&1.into(), &Value::Null, &Value::Null));
    let bytes = image::open(path).expect("ours").into_rgb8().into_raw();
    assert_eq!(json["input_crc32"], format!("{:08x}", crc32(&bytes)), "a picture of the input's size is read as it is");
    let run = folder.run("run net.stone set/b.png --json").json(0, "run");
    assert_eq!(run["pictures"][0]["scores_crc32"], json["scores_crc32"]);
    folder.png("wide/a.png", 30, 12, 4);
    folder.run("eval net.stone --data wide --resize none --json").error(3, &["a.png"]);
    let resized = folder.run("eval net.stone --data wide --json").json(0, "eval");
    assert_ne!(resized["input_crc32"], json["input_crc32"]);
}

#[test]
fn latency() {
    let folder = folder("bench");
    let ran = folder.run("bench net.stone --runs 50 --warmup 3 --json");
    folder.write("before.json", ran.out.as_bytes());
    let json = ran.json(0, "bench");
    has(&json, "min_ms p50_ms p90_ms p95_ms p99_ms p999_ms max_ms mean_ms fill_ms runs threads isa plan macs gmac_per_s peak_gmac_per_s percent_of_peak");
    has(&json, "arena_bytes weight_bytes rss_peak_bytes allocations host");
    has(&json["host"], "cpu features governor clock temperature throttled os version");
    let order: Vec<_> = ["min_ms", "p50_ms", "p90_ms", "p95_ms", "p99_ms", "p999_ms", "max_ms"].iter().map(|f| number(&json, f)).collect();
    assert!(order[0] > 0.0 && order.is_sorted(), "{order:?}");
    assert_eq!((&json["runs"], &json["threads"], &json["allocations"], &json["warmup"]), (&50.into(), &1.into(), &0.into(), &3.into()));
    let inspected = folder.run("inspect net.stone --json").json(0, "inspect");
    assert_eq!(json["arena_bytes"], inspected["arena_bytes"]["fast"][json["isa"].as_str().expect("a name")]);
    let several = folder.run("bench net.stone --threads 1,3 --time 0.05 --plan small --isa scalar --json").json(0, "bench");
    let results = several["results"].as_array().expect("an array");
    assert_eq!(results.iter().map(|r| r["threads"].clone()).collect::<Vec<_>>(), [1, 3]);
    assert!(results.iter().all(|r| r["isa"] == "scalar" && r["plan"] == "small" && r["allocations"] == 0 && number(r, "runs") >= 5.0));
    let text = folder.run("bench net.stone --time 0.05 --threads 1,2").expect(0).out;
    assert!(text.contains("p99.9") && text.lines().filter(|l| l.trim_start().starts_with(['1', '2'])).count() == 2, "{text}");
}

#[test]
fn a_sustained_run() {
    let folder = folder("soak");
    let json = folder.run("bench net.stone --soak 2s --json").json(0, "bench");
    has(&json, "min_ms p50_ms p99_ms max_ms runs threads soak_s last_to_first host");
    assert_eq!((&json["allocations"], &json["soak_s"], &json["binding"]), (&0.into(), &2.0.into(), &Value::Null));
    let samples = json["samples"].as_array().expect("an array");
    assert_eq!(samples.len(), 2);
    for (i, sample) in samples.iter().enumerate() {
        has(sample, "seconds runs clock clock_measured temperature throttled throttle_reason");
        let order: Vec<_> = ["min_ms", "p50_ms", "p99_ms", "max_ms"].iter().map(|f| number(sample, f)).collect();
        assert!(order[0] > 0.0 && order.is_sorted(), "{order:?}");
        assert!(number(sample, "seconds") >= (i + 1) as f64 && number(sample, "clock_measured") > 0.0);
    }
    assert_eq!(samples.iter().map(|s| number(s, "runs")).sum::<f64>(), number(&json, "runs"));
    let extreme = |field, pick: fn(f64, f64) -> f64| samples.iter().map(|s| number(s, field)).reduce(pick).expect("some");
    assert_eq!((extreme("min_ms", f64::min), extreme("max_ms", f64::max)), (number(&json, "min_ms"), number(&json, "max_ms")));
    let text = folder.run("bench net.stone --soak 1").expect(0).out;
    assert!(text.contains("median latency in ms") && text.contains("the last tenth takes 1.000 times") && text.is_ascii(), "{text}");
}

#[cfg(target_os = "linux")]
#[test]
fn bound_threads() {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux says it");
    let allowed = status.lines().find_map(|l| l.strip_prefix("Cpus_allowed_list:")).expect("so does it").trim();
    let core = allowed.split(['-', ',']).next().expect("a core");
    let folder = folder("bound");
    for command in ["bench net.stone --runs 5 --threads 2", "profile net.stone --runs 5 --threads 2"] {
        let args = format!("{command} --json --pin {core}");
        let json = folder.run(&args).json(0, command.split(' ').next().expect("a name"));
        let cores: Vec<_> = json["binding"].as_array().expect("an array").iter().map(|b| (b["thread"].clone(), b["core"].to_string())).collect();
        assert_eq!(cores, [(0.into(), core.to_owned()), (1.into(), core.to_owned())]);
        assert_eq!(json["host"]["core"].to_string(), core, "the calling thread is the first");
        has(&json["host"], "clusters zones throttle_reason throttle_since_boot power_mode warnings clock_measured");
        assert_eq!(json["host"]["cores"], std::thread::available_parallelism().expect("Linux says it").get());
    }
}

#[test]
fn a_slower_program_fails_the_baseline() {
    let folder = folder("baseline");
    folder.write("slow.json", br#"{"schema":"skipstone.bench/1","p50_ms":1e9,"threads":1}"#);
    folder.write("quick.json", br#"{"schema":"skipstone.bench/1","results":[{"p50_ms":1e-9,"threads":2},{"p50_ms":1e-9,"threads":1}]}"#);
    let good = folder.run("bench net.stone --runs 20 --baseline slow.json --json").expect(0);
    assert!(!good.err.contains("of other size"), "{}", good.err);
    folder.write("size.json", br#"{"schema":"skipstone.bench/1","p50_ms":1e9,"threads":1,"macs":1}"#);
    assert!(folder.run("bench net.stone --runs 20 --baseline size.json").expect(0).err.contains("size.json measures a network of other size"));
    folder.write("other.json", br#"{"schema":"skipstone.bench/1","p50_ms":1e9,"threads":1,"network":"other","macs":1}"#);
    folder.run("bench net.stone --runs 20 --baseline other.json").error(3, &["other.json measures another network", "--baseline"]);
    let good = good.json(0, "bench");
    assert!(number(&good["baseline"], "change_percent") < -99.0);
    let bad = folder.run("bench net.stone --runs 20 --baseline quick.json --fail-over 5% --json").expect(1);
    let error: Vec<_> = bad.errors().collect();
    assert!(error[0].starts_with("error: ") && error[0].contains("quick.json") && error[1].starts_with("help: "), "{}", bad.err);
    assert!(serde_json::from_str::<Value>(&bad.out).is_ok(), "the result stands on stdout all the same");
    assert!(folder.run("bench net.stone --runs 5 --threads 999").expect(0).err.contains("warning: 999 threads on "));
    folder.run("bench net.stone --runs 20 --baseline slow.json --threads 3").error(3, &["slow.json", "3 threads"]);
}

#[test]
fn the_time_of_every_step() {
    let folder = folder("profile");
    let json = folder.run("profile net.stone --runs 20 --isa scalar --json").json(0, "profile");
    assert_eq!(json["isa"], "scalar");
    let steps = json["steps"].as_array().expect("an array");
    assert_eq!(steps.len(), 23);
    for step in steps {
        has(step, "name op kernel kh kw sh sw ic oc oh ow groups macs ms percent_of_peak bytes why");
        assert!(number(step, "ms") >= 0.0 && number(step, "bytes") > 0.0);
    }
    let stem = &steps[0];
    assert_eq!(
        (&stem["kernel"], &stem["kh"], &stem["ic"], &stem["oc"], &stem["oh"], &stem["ow"]),
        (&"scalar::conv".into(), &3.into(), &3.into(), &16.into(), &12.into(), &10.into())
    );
    assert_eq!((&steps[1]["op"], &steps[1]["kh"]), (&"max_pool".into(), &Value::Null));
    assert_eq!((&steps[4]["sh"], &steps[4]["sw"]), (&2.into(), &2.into()));
    assert_eq!((&steps[7]["op"], &steps[7]["kernel"], &steps[7]["kh"]), (&"mirror".into(), &"scalar::mirror".into(), &Value::Null));
    assert_eq!((&steps[22]["op"], &steps[21]["kw"]), (&"dense".into(), &Value::Null));
    let sum: f64 = steps.iter().map(|s| number(s, "ms")).sum();
    assert!((sum - number(&json, "ms")).abs() < 1e-9);
    let text = folder.run("profile net.stone --runs 5 --threads 2").expect(0).out;
    assert!(text.contains("block2.conv2") && text.contains("% of peak"), "{text}");
}

#[test]
fn what_is_in_a_file() {
    let folder = folder("inspect");
    let json = folder.run("inspect net.stone --json").json(0, "inspect");
    has(&json, "network input outputs macs parameters file_bytes arena_bytes lower_bound_bytes steps preprocess source_sha256 version");
    assert_eq!((&json["network"], &json["steps"], &json["input"]["shape"]), (&"tiny".into(), &23.into(), &Value::from(vec![12, 10, 3])));
    for plan in ["fast", "small"] {
        let arena = number(&json["arena_bytes"][plan], "scalar");
        assert!(arena >= number(&json["lower_bound_bytes"], plan) && arena > 0.0);
    }
    let text = folder.run("inspect net.stone --map --plan small").expect(0).out;
    assert!(text.contains("plan small") && text.contains("iiii") && text.contains("block1.conv2"), "{text}");
}

#[test]
fn steps_by_residual_block() {
    let folder = folder("blocks");
    let json = folder.run("inspect net.stone --blocks --json").json(0, "inspect");
    assert!(json["skipped"].as_array().is_some_and(Vec::is_empty) && folder.run("inspect net.stone --json").json(0, "inspect").get("blocks").is_none());
    let blocks = json["blocks"].as_array().expect("an array");
    assert_eq!(blocks.iter().map(|b| b["block"].clone()).collect::<Vec<_>>(), [Value::Null, 0.into(), Value::Null, 1.into(), Value::Null]);
    for block in blocks {
        has(block, "kind traits first last steps in_channels channels stride shortcut convolutions weights biases parameters macs arena_bytes arena_percent");
    }
    let [first, second] = [&blocks[1], &blocks[3]];
    assert_eq!((&first["kind"], &first["shortcut"], number(first, "weights")), (&"basic".into(), &"identity".into(), 9.0 * 256.0));
    assert_eq!((&second["shortcut"], &second["stride"], &second["convolutions"]), (&"projection".into(), &1.into(), &vec!["3x3"].into()));
    assert_eq!(number(second, "weights"), f64::from(9 * 22 * 22 + 16 * 22));
    assert_eq!(blocks.iter().map(|b| number(b, "steps")).sum::<f64>(), 23.0);
    let text = folder.run("profile net.stone --runs 5 --blocks").expect(0).out;
    assert!(text.contains("basic") && !text.contains("|F|/|x|") && text.contains("block1.conv2"), "{text}");
}

#[cfg(feature = "convert")]
#[test]
fn energy_by_residual_block() {
    let folder = folder("energy");
    folder.write("set.bin", &cifar(3));
    let profile = folder.run("profile net.stone --runs 5 --energy --data set.bin --limit 2 --json").json(0, "profile");
    assert_eq!(profile["pictures"], 2);
    for (i, block) in profile["blocks"].as_array().expect("an array").iter().enumerate() {
        assert!(number(block, "ms") >= 0.0 && block.get("energy").is_some() == (i == 1), "{block}");
    }
    for kernels in Kernels::all() {
        let other = folder.run(&format!("profile net.stone --runs 5 --energy --data set.bin --limit 2 --isa {} --json", kernels.set())).json(0, "profile");
        assert_eq!(other["blocks"][1]["energy"], profile["blocks"][1]["energy"], "the same on every kernel set");
    }
}

/// Changes a file and makes its checksum right again.
fn changed(file: &[u8], change: impl FnOnce(&mut [u8])) -> Vec<u8> {
    let mut file = file.to_vec();
    change(&mut file);
    seal(&mut file);
    file
}

#[test]
fn the_promises_of_a_file_are_checked() {
    let folder = folder("verify");
    let json = folder.run("verify net.stone --isa all --json").json(0, "verify");
    has(&json, "ok steps isa first_difference");
    let sets: Vec<_> = Kernels::all().map(|k| k.set().name()).collect();
    assert_eq!((&json["ok"], &json["steps"], &json["isa"], &json["threads"]), (&true.into(), &46.into(), &sets.into(), &vec![1, 2, 4].into()));
    let good = tiny::file(tiny::Options::default());
    let wrong = changed(&good, |f| {
        let at = section(f, &name::CHECKS);
        f[at + 3 * 4] ^= 1;
    });
    folder.write("wrong.stone", &wrong);
    let ran = folder.run("verify wrong.stone --threads 2 --json").expect(1);
    let json: Value = serde_json::from_str(&ran.out).expect("JSON");
    assert_eq!((&json["ok"], &json["first_difference"]["index"], &json["first_difference"]["step"]), (&false.into(), &3.into(), &"block1.conv2".into()));
    assert!(ran.err.contains("step 3 (block1.conv2)"), "{}", ran.err);
    let lying = changed(&good, |f| {
        let at = section(f, &name::STEPS);
        f[at + step::FLAGS * 4] |= flag::PAIR_SAFE.to_le_bytes()[0];
    });
    assert!(Model::parse(&lying).is_ok());
    folder.write("lying.stone", &lying);
    for command in ["inspect", "verify"] {
        let ran = folder.run(&format!("{command} lying.stone --json")).expect(1);
        assert!(ran.err.contains("stem") && ran.err.contains("pair_safe"), "{}", ran.err);
    }
}

#[test]
fn what_the_machine_offers() {
    let folder = Folder::new("devices");
    let json = folder.run("devices --json").json(0, "devices");
    has(&json, "isa chosen features peaks gpu host");
    assert_eq!(json["isa"][0], "scalar");
    for set in json["isa"].as_array().expect("an array") {
        let peak = &json["peaks"][set.as_str().expect("a name")];
        assert!(number(peak, "mac_per_cycle") > 0.0 && number(peak, "gmac_per_s") > 0.0);
    }
    assert!(folder.run("devices").expect(0).out.contains("chosen: the fastest"));
    let forced = folder.run_with("devices --json", &[], &[("SKIPSTONE_ISA", "scalar")]).json(0, "devices");
    assert_eq!(forced["chosen"], "scalar");
}

#[cfg(not(feature = "convert"))]
#[test]
fn a_build_without_the_converter_says_so() {
    let folder = folder("small");
    folder.png("one/a.png", 12, 10, 0);
    folder.write("net.onnx", b"");
    folder.run("profile net.stone --energy --data one").error(4, &["--energy"]);
    for args in [
        "convert net.onnx -o y.stone --calib one --preprocess unit",
        "calibrate net.onnx --calib one --preprocess unit -o y.calib",
        "compare net.onnx net.stone --data one",
        "report net.onnx net.stone --data one -o y.html",
        "eval net.stone --data one --against net.onnx",
    ] {
        let ran = folder.run(args);
        assert!(ran.err.contains("cargo build"), "{}", ran.err);
        ran.error(4, &["net.onnx", "not built into"]);
    }
}
