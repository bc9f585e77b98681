//! The program in the README is the one that is compiled and run here, with another network.

include!("files/readme.rs");

#[test]
fn the_library_example_of_the_readme() {
    let program = include_str!("files/readme.rs").replace("tiny.stone", "resnet20.stone");
    assert!(include_str!("../README.md").contains(&format!("```rust\n{program}```")), "the README has another program than tests/files/readme.rs");
    main().expect("it runs");
}
