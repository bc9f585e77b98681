//! Files that are changed and made whole again.

use skipstone::crc::crc32;
use skipstone::format::{HEADER, SECTION};

/// Makes the checksum of a changed file right again.
pub fn seal(file: &mut [u8]) {
    let end = file.len() - 4;
    let sum = crc32(&file[..end]);
    file[end..].copy_from_slice(&sum.to_le_bytes());
}

/// The byte at which the bytes of a section begin.
pub fn section(file: &[u8], name: &[u8; 8]) -> usize {
    let entry = file[HEADER..].chunks(SECTION).find(|e| e[..8] == *name).expect("the section");
    u32::from_le_bytes(entry[16..20].try_into().expect("4 bytes")) as usize
}
