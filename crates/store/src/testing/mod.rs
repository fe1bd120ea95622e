//! Disks for tests: one that breaks when a test wants it to, and one that loses power.

pub mod faulty;
pub mod power;
