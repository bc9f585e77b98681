//! What this CPU has.

use super::Set;

/// True if this CPU has the instructions of `set` and the operating system keeps its registers.
pub fn has(set: Set) -> bool {
    guaranteed(set) || asked(set)
}

/// True if every CPU of the target has the instructions of `set`.
pub const fn guaranteed(set: Set) -> bool {
    match set {
        Set::Scalar => true,
        Set::Avx2 => cfg!(target_feature = "avx2"),
        Set::AvxVnni => cfg!(all(target_feature = "avxvnni", target_feature = "avx2")),
        Set::Avx512Vnni => cfg!(all(target_feature = "avx512vnni", target_feature = "avx512bw", target_feature = "avx512vl")),
        Set::Neon32 => false,
        Set::Neon => cfg!(arm64),
        Set::Dotprod => cfg!(all(arm64, target_feature = "dotprod")),
        Set::I8mm => cfg!(all(arm64, target_feature = "i8mm", target_feature = "dotprod")),
    }
}

/// Without an operating system that says more, only what the target guarantees.
#[cfg(not(any(target_arch = "x86_64", all(any(arm64, neon32), feature = "std"))))]
fn asked(_: Set) -> bool {
    false
}

/// What the operating system says: it names only what every core has, so that a thread may move to any of them.
#[cfg(all(arm64, feature = "std"))]
fn asked(set: Set) -> bool {
    match set {
        Set::Dotprod => std::arch::is_aarch64_feature_detected!("dotprod"),
        Set::I8mm => asked(Set::Dotprod) && std::arch::is_aarch64_feature_detected!("i8mm"),
        _ => false,
    }
}

/// What the kernel hands to every program of the CPU: HWCAP_NEON.
#[cfg(all(neon32, feature = "std", any(target_os = "linux", target_os = "android")))]
#[expect(unsafe_code, reason = "a call of the C library")]
fn asked(set: Set) -> bool {
    const NEON: libc::c_ulong = 1 << 12;
    // SAFETY: it only reads what the kernel left in this process.
    let capabilities = unsafe { libc::getauxval(libc::AT_HWCAP) };
    matches!(set, Set::Neon32) && capabilities & NEON != 0
}

/// CPUID leaf 7 and XGETBV, as the processor manuals describe them; `core` has no detection of its own.
#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "XGETBV needs a feature that is asked for just before")]
fn asked(set: Set) -> bool {
    use core::arch::x86_64::{__cpuid, __cpuid_count, _xgetbv};

    #[target_feature(enable = "xsave")]
    fn saved_registers() -> u64 {
        // SAFETY: register 0 always exists where OSXSAVE is set, which the caller has asked for.
        unsafe { _xgetbv(0) }
    }

    const OSXSAVE: u32 = 1 << 27;
    const YMM: u64 = 0b110;
    const ZMM: u64 = 0b1110_0110;
    if __cpuid(0).eax < 7 || __cpuid(1).ecx & OSXSAVE == 0 {
        return false;
    }
    // SAFETY: OSXSAVE says that the operating system has switched XSAVE on.
    let saved = unsafe { saved_registers() };
    let seven = __cpuid_count(7, 0);
    let avx2 = saved & YMM == YMM && seven.ebx & 1 << 5 != 0;
    // AVX512 F, BW, VL
    let avx512 = saved & ZMM == ZMM && [16, 30, 31].into_iter().all(|bit| seven.ebx & 1 << bit != 0);
    match set {
        Set::Scalar => true,
        Set::Avx2 => avx2,
        Set::AvxVnni => avx2 && seven.eax >= 1 && __cpuid_count(7, 1).eax & 1 << 4 != 0,
        Set::Avx512Vnni => avx2 && avx512 && seven.ecx & 1 << 11 != 0,
        _ => false,
    }
}
