//! `keybook serve`.

use std::{future::Future, io, net::SocketAddr, path::PathBuf};

use anyhow::Context;
use clap::{Args, builder::BoolishValueParser};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};

use keybook_core::limits::Limits;
use keybook_server::{Config, HostName};

use super::log;
use crate::pages::PAGES;

/// The options of `keybook serve`.
#[derive(Args)]
pub(super) struct Serve {
    /// Address to listen on; port 0 picks a free one
    #[arg(long, value_name = "ADDRESS", env = "KEYBOOK_LISTEN", default_value = "127.0.0.1:3000")]
    pub(super) listen: SocketAddr,

    /// Folder that holds the data, made when it is missing
    #[arg(long, value_name = "FOLDER", env = "KEYBOOK_DATA", default_value = "./data")]
    data: PathBuf,

    /// A name under which people reach the server, besides localhost and addresses; may be given several times
    #[arg(long = "host", value_name = "NAME", env = "KEYBOOK_HOST", value_delimiter = ',')]
    hosts: Vec<HostName>,

    /// Connections at a time, of sockets and requests
    #[arg(long, value_name = "NUMBER", env = "KEYBOOK_MAX_CONNECTIONS", default_value_t = Config::new("").connections_max)]
    max_connections: usize,

    /// Likewise, of one address; a proxy on this machine does not count, one elsewhere does
    #[arg(
        long,
        value_name = "NUMBER",
        env = "KEYBOOK_MAX_CONNECTIONS_PER_ADDRESS",
        default_value_t = Config::new("").connections_of_address_max
    )]
    max_connections_per_address: usize,

    /// Bytes of a dictionary: what its entries, removed keys and conflicts take
    #[arg(
        long,
        value_name = "BYTES",
        env = "KEYBOOK_MAX_BYTES_PER_DICTIONARY",
        default_value_t = Config::new("").limits.bytes
    )]
    max_bytes_per_dictionary: u64,

    /// Listen beyond this machine too: whoever reaches the address reads and writes every dictionary
    #[arg(long, env = "KEYBOOK_OPEN", value_parser = BoolishValueParser::new())]
    open: bool,
}

impl Serve {
    /// Refuses to open the dictionaries to a network by accident.
    pub(super) fn check(&self) -> Result<(), String> {
        if self.open || self.listen.ip().is_loopback() {
            return Ok(());
        }
        Err(format!(
            "{} is not a loopback address: whoever reaches it could read and write every dictionary. \
             Add --open if that is meant.",
            self.listen
        ))
    }

    /// Serves until the process is asked to stop.
    pub(super) fn run(self) -> anyhow::Result<()> {
        log::start();
        tokio::runtime::Runtime::new().context("cannot start the runtime")?.block_on(async {
            let listener =
                TcpListener::bind(self.listen).await.with_context(|| format!("cannot listen on {}", self.listen))?;
            let shutdown = stop_signal().context("cannot wait for signals")?;
            let defaults = Config::new(self.data);
            let config = Config {
                hosts: self.hosts,
                connections_max: self.max_connections,
                connections_of_address_max: self.max_connections_per_address,
                limits: Limits { bytes: self.max_bytes_per_dictionary, ..defaults.limits },
                ..defaults
            };
            keybook_server::run(listener, config, PAGES, shutdown).await?;
            Ok(())
        })
    }
}

/// Ends with the first SIGTERM or SIGINT. Listening begins with the call, not with the first poll.
fn stop_signal() -> io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
