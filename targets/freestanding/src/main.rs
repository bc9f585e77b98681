//! Runs the check input of a `.stone` file and compares every step: exit code 0 if all are equal, 1 if one differs, 2 on a panic.
//!
//! There is no std and no allocator in this program. Build it with the file's path in `STONE`:
//! `STONE=$PWD/net.stone cargo run --release --manifest-path targets/freestanding/Cargo.toml`
#![no_std]
#![no_main]

use core::cell::UnsafeCell;
use core::panic::PanicInfo;
use skipstone::{Arena, Kernels, Model, PlanKind, Session, Set, arena_bytes, include_model};

static FILE: &[u8] = include_model!(env!("STONE"));
const BYTES: usize = arena_bytes(FILE, Set::Scalar, 1, PlanKind::Fast);

struct Once(UnsafeCell<Arena<BYTES>>);
// SAFETY: the program has one thread.
unsafe impl Sync for Once {}
static ARENA: Once = Once(UnsafeCell::new(Arena::new()));

unsafe extern "C" {
    fn _exit(code: i32) -> !;
}

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    // SAFETY: `_exit` of the C library may be called at any time.
    unsafe { _exit(2) }
}

#[unsafe(no_mangle)]
extern "C" fn main() -> i32 {
    // SAFETY: `main` runs once, so this is the only reference.
    let arena = unsafe { &mut *ARENA.0.get() };
    i32::from(!verify(&mut arena.0))
}

fn verify(arena: &mut [u8]) -> bool {
    let Ok(model) = Model::parse(FILE) else { return false };
    let Ok(mut session) = Session::new(&model, Kernels::baseline(), PlanKind::Fast, arena) else { return false };
    model.check_input(session.input());
    let mut same = true;
    session.run_with(|step, session| {
        let output = session.plan().tensor(step.output());
        same &= session.tensor(&output).crc32() == step.check();
    });
    same
}
