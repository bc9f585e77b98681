//! The file: every truncation is refused, no change of its bytes makes the library panic, and what its plan says of memory holds.

#[path = "support/rounds.rs"]
mod rounds;
#[path = "support/sealed.rs"]
mod sealed;
#[path = "support/tiny.rs"]
mod tiny;

use rounds::rounds;
use sealed::{seal, section};
use skipstone::format::view::{Fault, ParseError};
use skipstone::format::{Plan, op, proof, section as name, step};
use skipstone::{Kernels, Model, PlanKind, Session};
use std::collections::HashSet;

/// A changed plan may ask for more memory than a test should take.
const ARENA_LIMIT: usize = 8 << 20;

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, n: usize) -> usize {
        usize::try_from((self.next() >> 11) % n as u64).unwrap()
    }
}

fn small_file() -> Vec<u8> {
    tiny::file(tiny::Options { size: [8, 8], small: true, ..tiny::Options::default() })
}

/// Runs every plan of a model; false if it needs too much memory. The scores do not depend on what the arena held before, nor, where the proofs of all steps
/// hold, on the kernel set.
fn run(model: &Model<'_>, kernels: Kernels) -> bool {
    let fits = |p: &Plan<'_>| p.arena_bytes(1) <= ARENA_LIMIT;
    for plan in model.plans().filter(fits) {
        let scores = |kernels: Kernels, before: u8| {
            let mut arena = vec![before; plan.arena_bytes(1)];
            let mut session = Session::new(model, kernels, plan.kind(), &mut arena).unwrap();
            model.check_input(session.input());
            session.run().iter().collect::<Vec<_>>()
        };
        let first = scores(kernels, 0);
        assert_eq!(first, scores(kernels, 0xFF), "the scores depend on what the arena held");
        if plan.steps().all(|step| proof::check(&step).is_ok()) {
            assert_eq!(first, scores(Kernels::scalar(), 0x5A), "{} and scalar differ", kernels.set());
        }
        core::hint::black_box(model.label(3));
    }
    model.plans().all(|p| fits(&p))
}

#[test]
fn a_file_comes_back() {
    let file = small_file();
    let model = Model::parse(&file).unwrap();
    assert_eq!(model.plans().count(), 2);
    for plan in model.plans() {
        let mut arena = vec![0; plan.arena_bytes(1)];
        let mut session = Session::new(&model, Kernels::scalar(), plan.kind(), &mut arena).unwrap();
        model.check_input(session.input());
        session.run_with(|step, session| {
            let output = session.plan().tensor(step.output());
            assert_eq!(session.tensor(&output).crc32(), step.check(), "{}", step.name());
            proof::check(&step).unwrap();
        });
    }
}

#[test]
fn every_truncation_is_refused() {
    let file = small_file();
    for len in 0..file.len() {
        assert!(Model::parse(&file[..len]).is_err(), "{len} bytes");
        // With the length and the checksum made right the sections no longer fit.
        if len >= 68 {
            let mut cut = file[..len].to_vec();
            cut[12..16].copy_from_slice(&u32::try_from(len).unwrap().to_le_bytes());
            seal(&mut cut);
            assert!(Model::parse(&cut).is_err(), "{len} bytes, sealed");
        }
    }
}

#[test]
fn damage_is_named() {
    let mut file = small_file();
    let fault = |file: &[u8]| Model::parse(file).unwrap_err().fault;
    assert_eq!(fault(b"GIF89a"), Fault::NotStone);
    let at = file.len() / 2;
    file[at] ^= 1;
    assert_eq!(fault(&file), Fault::Checksum);
    file[at] ^= 1;
    file.push(0);
    assert_eq!(fault(&file), Fault::Length);
    file.pop();
    file[8] = 7;
    assert_eq!(fault(&file), Fault::Version(7));
}

#[test]
fn no_mutation_makes_it_panic() {
    let good = small_file();
    let weights = good.len() * 2 / 3;
    let (mut random, mut accepted, mut refused, mut large) = (Random(0x5EED_0001), 0, 0, 0);
    let sets: Vec<_> = Kernels::all().collect();
    let mutations = rounds(100_000, 2_000);
    for i in 0..mutations {
        let mut file = good.clone();
        for _ in 0..=random.below(3) {
            // Three of four changes hit the records in front of the weights.
            let span = if random.below(4) == 0 { file.len() } else { weights };
            let at = random.below(span);
            match random.below(4) {
                0 => file[at] ^= 1 << random.below(8),
                1 => file[at] = random.next().to_le_bytes()[0],
                2 => {
                    let at = (at & !3).min(file.len() - 8);
                    let value = [0, 1, 0x7FFF_FFFF, 0x8000_0000, u32::MAX, 0x0001_0000, 64, 3][random.below(8)];
                    file[at..at + 4].copy_from_slice(&value.to_le_bytes());
                }
                _ => {
                    let at = (at & !3).min(file.len() - 8);
                    let word = u32::from_le_bytes(file[at..at + 4].try_into().unwrap());
                    let change = [1, u32::MAX, 4, 64, word][random.below(5)];
                    file[at..at + 4].copy_from_slice(&word.wrapping_add(change).to_le_bytes());
                }
            }
        }
        if i % 2 == 0 {
            seal(&mut file);
        }
        match Model::parse(&file) {
            Ok(model) => {
                accepted += 1;
                large += u32::from(!run(&model, sets[random.below(sets.len())]));
            }
            Err(error) => {
                refused += 1;
                core::hint::black_box(error.to_string());
            }
        }
    }
    eprintln!("{accepted} accepted and run ({large} of them asked for more than {ARENA_LIMIT} bytes and were not), {refused} refused");
    assert!(accepted > mutations / 20 && refused > mutations / 2);
}

/// Where the record of the first step begins in which this word has this value.
fn step_with(file: &[u8], index: usize, value: u32) -> usize {
    let word = |at: usize| u32::from_le_bytes(file[at..at + 4].try_into().unwrap());
    (section(file, &name::STEPS)..).step_by(step::BYTES).find(|&at| word(at + index * 4) == value).unwrap()
}

/// What becomes of a file in which these words of a record have other values.
fn with_words(file: &[u8], record: usize, changes: &[(usize, u32)]) -> Result<(), ParseError> {
    let mut file = file.to_vec();
    for &(index, value) in changes {
        file[record + index * 4..][..4].copy_from_slice(&value.to_le_bytes());
    }
    seal(&mut file);
    Model::parse(&file).map(|_| ())
}

/// Words of a step that has narrow groups: its channels must be 16 at least, in groups of 4 or 8, and nothing may be added.
#[test]
fn narrow_groups_are_checked() {
    let file = small_file();
    let record = step_with(&file, step::NARROW, 8);
    let changed = |changes: &[(usize, u32)]| with_words(&file, record, changes);
    assert_eq!(changed(&[]), Ok(()));
    let others = [&[(step::NARROW, 4)][..], &[(step::NARROW, 16)], &[(step::GROUPS, 1)], &[(step::GROUPS, 6)], &[(step::SECOND_KIND, 1)], &[(step::OP, 1)]];
    for changes in others {
        assert!(changed(changes).is_err(), "{changes:?}");
    }
    // Groups of 4 take less memory, so that the file has it.
    assert_eq!(changed(&[(step::NARROW, 4), (step::GROUPS, 6)]), Ok(()));
}

/// Words of a step that mirrors: the border must be smaller than the side, and the window one pixel.
#[test]
fn mirrored_borders_are_checked() {
    let file = small_file();
    let record = step_with(&file, step::OP, op::MIRROR);
    let word = |at: usize| u32::from_le_bytes(file[at..at + 4].try_into().unwrap());
    let changed = |changes: &[(usize, u32)]| with_words(&file, record, changes);
    assert_eq!(changed(&[]), Ok(()));
    let [kernel, stride, dilation, top, bottom] = [0, 2, 4, 6, 8].map(|i| step::WINDOW + i);
    let others = [
        &[(top, 2), (bottom, 0)][..],
        &[(top, 0), (bottom, 2)],
        &[(top + 1, 2), (bottom + 1, 0)],
        &[(top, 0)],
        &[(top, u32::MAX)],
        &[(kernel, 2), (bottom, 2)],
        &[(stride, 2)],
        &[(dilation, 2)],
        &[(step::OP, op::MIRROR + 1)],
        &[(step::OP, op::MAX_POOL)],
        &[(step::OUTPUT, word(record + step::INPUT * 4))],
    ];
    for changes in others {
        assert!(changed(changes).is_err(), "{changes:?}");
    }
}

#[test]
fn live_tensors_do_not_overlap() {
    let file = small_file();
    let model = Model::parse(&file).unwrap();
    for plan in model.plans() {
        live_ranges(&plan);
    }
}

/// Panics if two tensors that are needed at the same time share a byte. A tensor that no step makes is channels of others, and keeps them alive.
fn live_ranges(plan: &Plan<'_>) {
    let bytes = |tensor: usize| -> HashSet<usize> {
        let v = plan.tensor(tensor).view();
        let pixel = |i: usize| v.offset + i / v.w as usize * v.row + i % v.w as usize * v.pixel;
        (0..v.pixels()).flat_map(|i| (0..v.stored_channels() * v.kind.bytes()).map(move |c| pixel(i) + c)).collect()
    };
    let made: HashSet<usize> = plan.steps().map(|s| s.output()).collect();
    let pitch = |tensor: usize| (plan.tensor(tensor).view().pixel, plan.tensor(tensor).view().row);
    let shows =
        |read: usize, tensor: usize| read == tensor || !made.contains(&read) && pitch(read) == pitch(tensor) && !bytes(read).is_disjoint(&bytes(tensor));
    let last = |tensor: usize| plan.steps().enumerate().filter(|(_, s)| s.operands().any(|t| shows(t, tensor))).map(|(i, _)| i).next_back();
    let mut live: Vec<(usize, usize)> = Vec::new();
    let input = (0..plan.tensor_count()).find(|&t| plan.tensor(t).view() == plan.input().view() && plan.tensor(t).name() == plan.input().name()).unwrap();
    live.push((input, plan.steps().enumerate().filter(|(_, s)| s.input() == input).map(|(i, _)| i).next_back().unwrap()));
    for (i, step) in plan.steps().enumerate() {
        live.retain(|(_, end)| *end >= i);
        let output = bytes(step.output());
        for &(tensor, _) in &live {
            assert!(bytes(tensor).is_disjoint(&output), "{} overwrites {}", step.name(), plan.tensor(tensor).name());
        }
        live.push((step.output(), last(step.output()).unwrap_or(usize::MAX)));
    }
}

#[test]
fn the_arena_is_a_constant() {
    let file = small_file();
    let model = Model::parse(&file).unwrap();
    for kind in PlanKind::ALL {
        for threads in 1..4 {
            let bytes = skipstone::arena_bytes(&file, skipstone::Set::Scalar, threads, kind);
            assert_eq!(bytes, model.plan(kind).unwrap().arena_bytes(threads));
            let mut arena = vec![0; bytes];
            assert!(Session::new(&model, Kernels::scalar(), kind, &mut arena[..model.plan(kind).unwrap().arena_bytes(1) - 1]).is_err());
        }
    }
}

#[test]
fn promises_of_a_sealed_file_are_checked() {
    use skipstone::format::{layout, tensor};
    let refused = |change: &dyn Fn(&mut Vec<u8>), part: &str, words: &str| {
        let mut file = small_file();
        change(&mut file);
        seal(&mut file);
        match Model::parse(&file).unwrap_err().fault {
            Fault::Part(p, what) => assert!(p == part && what.contains(words), "{p}: {what}"),
            other => panic!("{other:?}"),
        }
    };
    let put = |file: &mut Vec<u8>, at: usize, value: u32| file[at..at + 4].copy_from_slice(&value.to_le_bytes());
    refused(&|f| f.copy_within(64..72, 96), "section", "another one of its name");
    // The concatenation is read before its right part is made, or its channels lie elsewhere.
    let file = small_file();
    let (right, middle) = {
        let model = Model::parse(&file).unwrap();
        let plan = model.plans().next().unwrap();
        let right = plan.steps().position(|s| s.name() == "block5.right").unwrap();
        (right, (0..plan.tensor_count()).find(|&t| plan.tensor(t).name() == "middle").unwrap())
    };
    refused(
        &|f| {
            let at = section(f, &name::STEPS) + right * step::BYTES + 4 * step::OUTPUT;
            let left = f[at + step::BYTES..][..4].to_vec();
            f[at..at + 4].copy_from_slice(&left);
        },
        "step",
        "",
    );
    refused(
        &|f| {
            let at = section(f, &name::TENSORS) + middle * tensor::BYTES + 4 * tensor::CHANNEL;
            put(f, at, 16)
        },
        "step",
        "not made",
    );
    refused(
        &|f| {
            let at = section(f, &name::PLANS) + 4 * layout::TENSOR_BYTES;
            let old = u32::from_le_bytes(f[at..at + 4].try_into().unwrap());
            put(f, at, old + 4)
        },
        "plan",
        "multiples of 64",
    );
    // The second step reads what only the third one makes: a tensor of the same shape.
    refused(
        &|f| {
            let at = section(f, &name::STEPS) + 2 * step::BYTES + 4 * step::INPUT;
            let later = f[at + step::BYTES..][..4].to_vec();
            f[at..at + 4].copy_from_slice(&later)
        },
        "step",
        "",
    );
    refused(
        &|f| {
            let at = section(f, &name::TENSORS) + tensor::BYTES + 4 * tensor::SCALE;
            put(f, at, f32::NAN.to_bits())
        },
        "tensor",
        "scale",
    );
    refused(
        &|f| {
            let at = section(f, &name::TENSORS) + 4 * tensor::NAME;
            put(f, at, 1 << 20)
        },
        "tensor",
        "name",
    );
    // A sum of weights that is not theirs computes, but is no longer proven.
    let mut file = small_file();
    let at = section(&file, &name::STEPS) + 4 * step::PARAMS;
    let params = u32::from_le_bytes(file[at..at + 4].try_into().unwrap()) as usize + section(&file, &name::WEIGHTS);
    file[params + 64] ^= 1;
    seal(&mut file);
    let model = Model::parse(&file).unwrap();
    let first = model.plans().next().unwrap().steps().next().unwrap();
    assert_eq!(proof::check(&first).unwrap_err(), "a sum of weights is not true");
}
