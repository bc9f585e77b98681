//! Writing: collects records and weights, and gives the bytes of the file.

use super::{HEADER, MAGIC, SECTION, VERSION, header, layout, network, origin, section, step, tensor};
use crate::crc::crc32;
use crate::shape::{LINE, round_up};
use std::string::String;
use std::vec::Vec;

/// A file in the making. Records are arrays of words, at the offsets of the modules of [`super`].
#[derive(Clone, Debug)]
pub struct Writer {
    /// The network record.
    pub network: [u32; network::BYTES / 4],
    /// The origin record.
    pub origin: [u8; origin::BYTES],
    /// Plan records.
    pub plans: Vec<[u32; layout::BYTES / 4]>,
    /// Tensor records of all plans.
    pub tensors: Vec<[u32; tensor::BYTES / 4]>,
    /// Step records of all plans.
    pub steps: Vec<[u32; step::BYTES / 4]>,
    /// Check values, one a step.
    pub checks: Vec<u32>,
    /// Class labels; none are written if empty.
    pub labels: Vec<String>,
    /// The check input, or nothing where the seed makes it.
    pub picture: Vec<u8>,
    names: String,
    weights: Vec<u8>,
}

impl Default for Writer {
    fn default() -> Self {
        Self {
            network: [0; network::BYTES / 4],
            origin: [0; origin::BYTES],
            plans: Vec::new(),
            tensors: Vec::new(),
            steps: Vec::new(),
            checks: Vec::new(),
            labels: Vec::new(),
            picture: Vec::new(),
            names: String::new(),
            weights: Vec::new(),
        }
    }
}

/// A length or offset as a word.
///
/// # Panics
/// If it does not fit: a file is smaller than 4 GiB.
#[must_use]
pub fn word(value: usize) -> u32 {
    u32::try_from(value).expect("a .stone file is smaller than 4 GiB")
}

impl Writer {
    /// Adds a name; gives its offset and length.
    pub fn name(&mut self, name: &str) -> [u32; 2] {
        let at = self.names.find(name).unwrap_or_else(|| {
            self.names.push_str(name);
            self.names.len() - name.len()
        });
        [word(at), word(name.len())]
    }

    /// Adds bytes to the weights, at the start of a cache line; gives their offset.
    pub fn weights(&mut self, bytes: &[u8]) -> u32 {
        let at = round_up(self.weights.len(), LINE);
        self.weights.resize(at, 0);
        self.weights.extend_from_slice(bytes);
        word(at)
    }

    /// The file.
    #[must_use]
    pub fn finish(&self) -> Vec<u8> {
        let parts = [
            (section::NETWORK, bytes(&self.network)),
            (section::ORIGIN, self.origin.to_vec()),
            (section::PLANS, bytes(self.plans.as_flattened())),
            (section::TENSORS, bytes(self.tensors.as_flattened())),
            (section::STEPS, bytes(self.steps.as_flattened())),
            (section::CHECKS, bytes(&self.checks)),
            (section::NAMES, self.names.clone().into_bytes()),
            (section::LABELS, self.labels()),
            (section::PICTURE, self.picture.clone()),
            (section::WEIGHTS, self.weights.clone()),
        ];
        let parts: Vec<_> = parts.iter().filter(|(name, data)| !data.is_empty() || ![section::LABELS, section::PICTURE].contains(name)).collect();
        let mut file = std::vec![0; round_up(HEADER + parts.len() * SECTION, LINE)];
        for (i, (name, data)) in parts.iter().enumerate() {
            let entry = &mut file[HEADER + i * SECTION..][..SECTION];
            entry[..8].copy_from_slice(name);
            let at = round_up(file.len(), LINE);
            put(&mut file, (HEADER + i * SECTION) / 4 + 4, word(at));
            put(&mut file, (HEADER + i * SECTION) / 4 + 5, word(data.len()));
            file.resize(at, 0);
            file.extend_from_slice(data);
        }
        file.resize(round_up(file.len(), 4), 0);
        file[..MAGIC.len()].copy_from_slice(&MAGIC);
        put(&mut file, header::VERSION / 4, VERSION);
        let len = word(file.len() + 4);
        put(&mut file, header::BYTES / 4, len);
        put(&mut file, header::SECTIONS / 4, word(parts.len()));
        let sum = crc32(&file);
        file.extend_from_slice(&sum.to_le_bytes());
        file
    }

    fn labels(&self) -> Vec<u8> {
        if self.labels.is_empty() {
            return Vec::new();
        }
        let mut words = std::vec![word(self.labels.len()), 0];
        for label in &self.labels {
            words.push(words[words.len() - 1] + word(label.len()));
        }
        let mut data = bytes(&words);
        data.extend(self.labels.iter().flat_map(|l| l.bytes()));
        data
    }
}

fn bytes(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|w| w.to_le_bytes()).collect()
}

fn put(file: &mut [u8], index: usize, value: u32) {
    file[index * 4..][..4].copy_from_slice(&value.to_le_bytes());
}
