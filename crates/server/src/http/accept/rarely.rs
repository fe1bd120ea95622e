//! Log lines that a peer can cause as often as it likes.

use std::fmt;

use tokio::time::Instant;

use crate::limits::LOG_EVERY;

/// Lets a line through once in [`LOG_EVERY`], and counts those that it holds back.
#[derive(Debug, Default)]
pub(super) struct Rarely {
    last: Option<Instant>,
    held_back: u64,
}

/// What was held back since the last line; written behind the line.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct HeldBack(u64);

impl Rarely {
    /// Whether a line may be written now.
    pub(super) fn line(&mut self, now: Instant) -> Option<HeldBack> {
        if self.last.is_some_and(|last| now < last + LOG_EVERY) {
            self.held_back += 1;
            return None;
        }
        self.last = Some(now);
        Some(HeldBack(std::mem::take(&mut self.held_back)))
    }
}

impl fmt::Display for HeldBack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => Ok(()),
            count => write!(f, " (and {count} more since the last such line)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_a_line_now_and_then_that_counts_the_rest() {
        let (mut rarely, start) = (Rarely::default(), Instant::now());
        assert_eq!(rarely.line(start), Some(HeldBack(0)));
        assert_eq!(rarely.line(start), None);
        assert_eq!(rarely.line(start + LOG_EVERY / 2), None);
        let next = rarely.line(start + LOG_EVERY).unwrap();
        assert_eq!((next.0, next.to_string().as_str()), (2, " (and 2 more since the last such line)"));
        assert_eq!(rarely.line(start + 3 * LOG_EVERY).unwrap().to_string(), "");
    }
}
