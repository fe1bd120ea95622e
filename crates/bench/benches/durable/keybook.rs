//! Keybook: the real server over its real sockets.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use futures_util::future::try_join_all;
use keybook_bench::server::Server;
use tokio::runtime::Runtime;

use crate::{
    connection::{Connection, Outcome},
    rows::{FileRows, Transaction},
    workload::{Case, Workload},
};

const DICTIONARY: &str = "main";
/// The file in a server's folder.
const FILE: &str = "keybook.redb";

/// What one subject needed for one case.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    /// By the clock on the wall.
    pub(crate) wall: Duration,
    /// On a processor.
    pub(crate) processor: Duration,
}

/// A data folder, and the server that serves it during each case.
pub(crate) struct Keybook {
    folder: PathBuf,
    runtime: Runtime,
    workload: Workload,
    /// Those of the file.
    pub(crate) rows: FileRows,
}

impl Keybook {
    /// A folder in which a server has made an empty file.
    pub(crate) fn new(folder: &Path) -> Outcome<Self> {
        Server::start(folder)?.stop()?;
        // One thread: what the loader needs, the server lacks.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        let rows = FileRows::read(&folder.join(FILE))?;
        Ok(Self { folder: folder.to_owned(), runtime, workload: Workload::new(), rows })
    }

    /// Writes a case, and says what the server's transactions were.
    pub(crate) fn run(&mut self, case: Case) -> Outcome<(Cost, Vec<Transaction>)> {
        let pushes = self.workload.pushes(case);
        let server = Server::start(&self.folder)?;
        let (cost, commits) = self.runtime.block_on(async {
            let follow = |_| Connection::follow(&server.url, DICTIONARY);
            let mut connections = try_join_all((0..case.connections).map(follow)).await?;
            let (processor, start) = (server.processor_time()?, Instant::now());
            let writes = connections.iter_mut().zip(&pushes);
            let written = try_join_all(writes.map(|(one, pushes)| one.write(pushes, case.in_flight))).await?;
            let processor = server.processor_time()? - processor;
            let end = written.iter().map(|written| written.end).max().ok_or("no connection")?;
            let last = written.iter().map(|written| written.seq).max().ok_or("no connection")?;
            Outcome::Ok((Cost { wall: end - start, processor }, connections[0].commits(last).await?))
        })?;
        server.stop()?;
        let rows = FileRows::read(&self.folder.join(FILE))?;
        let transactions = rows.since(&self.rows, &commits);
        self.rows = rows;
        Ok((cost, transactions))
    }
}
