//! Planted faults, to test the tests. Only a build with `--cfg keybook_mutants` has any, and there at most one is on in a
//! thread; `tests/mutants.rs` says which ones the simulator catches.

/// Whether a fault is on.
macro_rules! mutant {
    ($name:literal) => {{
        #[cfg(keybook_mutants)]
        let on = $crate::mutants::is_on($name);
        #[cfg(not(keybook_mutants))]
        let on = false;
        on
    }};
}
pub(crate) use mutant;

#[cfg(keybook_mutants)]
mod planted {
    use std::cell::Cell;

    thread_local! {
        static ON: Cell<Option<&'static str>> = const { Cell::new(None) };
    }

    /// Turns one fault on in this thread, and all others off.
    pub fn turn_on(name: Option<&'static str>) {
        ON.set(name);
    }

    pub(crate) fn is_on(name: &str) -> bool {
        ON.get() == Some(name)
    }
}
#[cfg(keybook_mutants)]
pub use planted::*;
