//! `keybook verify`: whether a data folder holds what was written.

use std::{fmt::Write, path::PathBuf};

use anyhow::ensure;
use clap::Args;
use keybook_core::server::Counters;
use keybook_store::{Summary, Verified, verify};

use super::print;

/// The options of `keybook verify`.
#[derive(Args)]
pub(super) struct Verify {
    /// Folder that holds the data; no server may have it open
    #[arg(long, value_name = "FOLDER", env = "KEYBOOK_DATA", default_value = "./data")]
    data: PathBuf,
}

impl Verify {
    /// Reads everything, and prints what there is. Damage is an error.
    pub(super) fn run(&self) -> anyhow::Result<()> {
        let Verified { pages, dictionaries } = verify(&self.data)?;
        let mut text = String::new();
        let say = pages.as_ref().map_or_else(ToString::to_string, |()| "whole".to_owned());
        writeln!(text, "pages: {say}")?;
        for (name, found) in &dictionaries {
            match found {
                Ok(Summary { counters, .. }) => {
                    let Counters { live, tombstones, conflicts, digest, .. } = counters;
                    let digest = u128::from_be_bytes(digest.to_bytes());
                    writeln!(
                        text,
                        "{name}: whole, {live} entries, {tombstones} tombstones, {conflicts} open conflicts, digest {digest:032x}"
                    )?;
                }
                Err(error) => writeln!(text, "{name}: {error}")?,
            }
        }
        print(text.trim_end());
        let damaged = dictionaries.iter().filter(|(_, found)| found.is_err()).count();
        ensure!(damaged == 0, "{damaged} of {} dictionaries are damaged", dictionaries.len());
        ensure!(pages.is_ok(), "the data file is damaged, where no dictionary has anything");
        Ok(())
    }
}
