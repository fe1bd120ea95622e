//! Parts of the page that change together.

use std::ops::{BitOr, BitOrAssign};

/// A set of areas. Whoever reads the model names those that it reads, and reads again when one of them has changed. A signal for
/// each value would be finer, and each type in a signal is a few kilobytes of WebAssembly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Areas(u8);

impl Areas {
    /// The grid: which rows there are, what they show, the cursor, the place, the search.
    pub const ROWS: Self = Self(1);
    /// The [`super::Status`], and what the person has to know.
    pub const STATUS: Self = Self(2);
    /// The form, and what is edited in place.
    pub const EDITOR: Self = Self(4);
    /// The dialog, the panel of this device, the name field, what was removed a moment ago.
    pub const SIDE: Self = Self(8);
    /// Each area, alone.
    pub const EACH: [Self; 4] = [Self::ROWS, Self::STATUS, Self::EDITOR, Self::SIDE];

    /// Whether the two sets have an area in common.
    pub fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

impl BitOr for Areas {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOrAssign for Areas {
    fn bitor_assign(&mut self, other: Self) {
        *self = *self | other;
    }
}
