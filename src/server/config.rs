//! What a server is told when it starts.

use std::path::PathBuf;

/// The configuration of a server.
#[derive(Clone, Debug)]
pub struct Config {
    /// The folder that holds the data. Made when it is missing.
    pub data: PathBuf,
}
