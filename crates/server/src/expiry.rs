//! Closes the conflict rows that nobody has decided for long, whether their dictionaries are written or not.
//!
//! It only asks: which rows are too old is the hub's to say, and closing them is a write like any other.

use keybook_core::{
    Author, AuthorId, AuthorName, DictionaryName,
    server::{Actor, Command},
    wire::Role,
};
use keybook_store::StoreError;
use tokio::{
    sync::mpsc,
    time::{MissedTickBehavior, interval},
};
use tracing::warn;

use crate::{
    Dictionary,
    limits::EXPIRY,
    shared::Shared,
    writer::{Reply, Write},
};

/// Looks through all dictionaries at once and then every [`EXPIRY`], for ever.
pub(crate) async fn run(shared: &Shared) {
    let mut ticks = interval(EXPIRY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if let Err(error) = expire(shared).await {
            warn!("conflicts that are too old stay open for now: {error}");
        }
    }
}

async fn expire(shared: &Shared) -> Result<(), StoreError> {
    for name in shared.reader.names().await? {
        // A dictionary that cannot be read has told so.
        while let Ok(summary) = shared.reader.read(&name, Dictionary::summary).await
            && summary.counters.conflicts > 0
            && closes_some(shared, &name).await
        {}
    }
    Ok(())
}

/// Closes what a commit has room for, beside what else it writes. Returns whether that was any: then there may be more.
async fn closes_some(shared: &Shared, name: &DictionaryName) -> bool {
    let (to, mut answers) = mpsc::channel(1);
    let nobody = AuthorId(0);
    let author = Author { id: nobody, name: AuthorName::generated(nobody) };
    let actor = Actor { role: Role::Writer, author, replicas: Vec::new() };
    shared.writer.write(Write::new(name.clone(), actor, Command::Expire, Reply { batch: None, to }));
    answers.recv().await.is_some_and(|answer| answer.receipt.bytes > 0)
}
