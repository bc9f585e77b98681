//! The program in the README is the one that is compiled and run here, with another network.

include!("files/readme.rs");

#[test]
fn the_library_example_of_the_readme() {
    let program = include_str!("files/readme.rs").replace("tiny.stone", "resnet20.stone");
    assert!(include_str!("../README.md").contains(&format!("```rust\n{program}```")), "the README has another program than tests/files/readme.rs");
    main().expect("it runs");
}

/// A row of `models/zoo.toml`.
struct Row(&'static str);

impl Row {
    fn of(name: &str) -> Self {
        let name = format!("name = \"{name}\"\n");
        Self(include_str!("../models/zoo.toml").split("[[network]]").find(|row| row.contains(&name)).unwrap_or_else(|| panic!("no {name}")))
    }

    fn value(&self, field: &str) -> f64 {
        let found = self.0.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(" = "));
        found.and_then(|v| v.replace('_', "").parse().ok()).unwrap_or_else(|| panic!("{field} in {}", self.0))
    }

    fn pictures(&self) -> &'static str {
        if self.value("n") == 1000.0 { "1,000" } else { "650" }
    }

    fn bytes(&self, field: &str) -> String {
        match self.value(field) {
            n if n < 1e6 => format!("{:.0} KB", n / 1e3),
            n if n < 1e7 => format!("{:.2} MB", n / 1e6),
            n => format!("{:.1} MB", n / 1e6),
        }
    }
}

#[test]
fn the_figures_are_those_of_the_zoo() {
    let (readme, performance) = (include_str!("../README.md"), include_str!("../docs/PERFORMANCE.md"));
    let line = |text: &'static str, start: &str| text.lines().find(|l| l.starts_with(start)).unwrap_or_else(|| panic!("no line {start}"));
    for (network, name) in [
        ("ResNet-8 (CIFAR-10)", "mlperf-tiny-resnet8"),
        ("ResNet-20 (CIFAR-10)", "akamaster-resnet20"),
        ("ResNet-18 (224 x 224)", "resnet18-imagenet"),
        ("ResNet-50 (224 x 224)", "resnet50-imagenet"),
    ] {
        let row = Row::of(name);
        let (float, top1, agreement) = (row.value("float_top1"), row.value("top1"), row.value("agreement"));
        let (n, file, arena) = (row.pictures(), row.bytes("file_bytes"), row.bytes("arena_bytes"));
        let expected = format!("| {float:.1} → {top1:.1} % | {agreement:.1} % | {n} | {file} | {arena} |");
        let found = line(readme, &format!("| {network} |"));
        assert!(found.ends_with(&expected), "README: {found}\nexpected {expected}");
    }
    for (network, name) in [
        ("ResNet-8 (MLPerf Tiny)", "mlperf-tiny-resnet8"),
        ("ResNet-20 (option A)", "akamaster-resnet20"),
        ("ResNet-20 (PyTorch export, option B)", "onnc-resnet20"),
        ("ResNet-56 (option A)", "akamaster-resnet56"),
        ("ResNet-18", "resnet18-imagenet"),
        ("ResNet-50", "resnet50-imagenet"),
    ] {
        let row = Row::of(name);
        let (float, top1, agreement, sqnr) = (row.value("float_top1"), row.value("top1"), row.value("agreement"), row.value("sqnr_db"));
        let expected = format!("| {network} | {} | {float:.1} | {top1:.1} | {agreement:.1} % | {sqnr:.1} dB |", row.pictures());
        assert_eq!(line(performance, &format!("| {network} | {} |", row.pictures())), expected);
    }
}
