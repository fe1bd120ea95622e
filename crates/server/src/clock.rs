//! The clocks, read at the edge alone: everything below takes what they show as an argument.

use std::{
    sync::LazyLock,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use keybook_core::server::Now;

/// A wall clock before 1970 counts as there.
pub(crate) fn now() -> Now {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Now { steady_ms: START.elapsed().as_millis() as u64, wall_ms: wall.as_millis() as u64 }
}
