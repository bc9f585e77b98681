//! x86 kernels.

use super::{Set, Table, scalar};

pub(super) static TABLE: Table = Table { set: Set::AvxVnni, ..scalar::TABLE };
