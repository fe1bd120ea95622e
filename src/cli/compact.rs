//! `keybook compact`: gives back what a data file does not use.

use std::path::PathBuf;

use clap::Args;
use keybook_store::{Compacted, Folder};

use super::print;

/// The options of `keybook compact`.
#[derive(Args)]
pub(super) struct Compact {
    /// Folder that holds the data; no server may have it open
    #[arg(long, value_name = "FOLDER", env = "KEYBOOK_DATA", default_value = "./data")]
    data: PathBuf,
}

impl Compact {
    /// Makes the file shorter, and prints by how much.
    pub(super) fn run(&self) -> anyhow::Result<()> {
        let Compacted { before, after } = Folder::take_existing(&self.data)?.compact()?;
        print(&format!("{before} bytes before, {after} after"));
        Ok(())
    }
}
