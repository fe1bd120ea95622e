//! The times, or other figures, of one measure of one subject, a round each.

use std::{fmt, time::Duration};

use rustix::time::{ClockId, clock_gettime};

/// Times of the same work, one a round; never empty when it is read.
#[derive(Clone, Debug, Default)]
pub struct Samples(Vec<Duration>);

impl Samples {
    /// Adds a round.
    pub fn push(&mut self, time: Duration) {
        let place = self.0.partition_point(|other| *other < time);
        self.0.insert(place, time);
    }

    /// The middle one, or the lower of the two.
    ///
    /// # Panics
    /// When there is none.
    pub fn median(&self) -> Duration {
        self.0[(self.0.len() - 1) / 2]
    }

    /// The shortest and the longest.
    ///
    /// # Panics
    /// When there is none.
    pub fn spread(&self) -> (Duration, Duration) {
        (self.0[0], self.0[self.0.len() - 1])
    }
}

/// The middle of some figures, the least and the most.
#[derive(Clone, Copy, Debug)]
pub struct Spread([f64; 3]);

impl Spread {
    /// Of figures in any order.
    ///
    /// # Panics
    /// When there is none.
    pub fn of(figures: impl Iterator<Item = f64>) -> Self {
        let mut figures: Vec<f64> = figures.collect();
        figures.sort_by(f64::total_cmp);
        let last = figures.len() - 1;
        Self([figures[last / 2], figures[0], figures[last]])
    }
}

/// `2.4 [2.1, 3.0]`, with as many digits as say something.
impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = match self.0[0].abs() {
            0.0..1.0 => 3,
            1.0..10.0 => 2,
            10.0..100.0 => 1,
            _ => 0,
        };
        let [middle, least, most] = self.0;
        write!(f, "{middle:.digits$} [{least:.digits$}, {most:.digits$}]")
    }
}

/// How long the thread that calls is on a processor for `work`, so that what else the machine does counts little; and what
/// `work` makes, so that dropping that is not part of it. Work in other threads is not seen.
pub fn processor_time<T>(work: impl FnOnce() -> T) -> (Duration, T) {
    let start = thread_time();
    let made = std::hint::black_box(work());
    (thread_time() - start, made)
}

fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
