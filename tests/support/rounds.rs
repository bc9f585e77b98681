//! How many rounds of random cases a test takes.

/// `full` rounds, or `emulated` where the variable SKIPSTONE_EMULATED says that the CPU is an emulator; says so.
pub fn rounds(full: u32, emulated: u32) -> u32 {
    if std::env::var_os("SKIPSTONE_EMULATED").is_none() {
        return full;
    }
    eprintln!("{emulated} rounds on an emulated CPU ({full} on a real one)");
    emulated
}
