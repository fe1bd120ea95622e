//! What the benchmarks share: samples of times, the page that reports them, the disk, and the
//! server in a process of its own.
//!
//! A benchmark runs its subjects in turns, round after round, in one process, and compares medians. A timing never fails
//! anything: what a benchmark asserts is that each subject did the work.

pub mod samples;

pub mod report;
pub mod script;

pub mod disk;
pub mod server;
