//! The program itself, in a process of its own.

// Each test program uses a part of it.
#![allow(dead_code, unreachable_pub)]

use std::{
    io::{BufRead, BufReader, Read},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    thread::{self, JoinHandle},
};

/// The program, until it is killed.
pub struct Process {
    pub child: Child,
    pub address: SocketAddr,
    /// Reads what it says after the first line, so that it never waits for a reader.
    log: Option<JoinHandle<String>>,
}

impl Process {
    /// Starts it on a port that the system picks, and waits until it serves.
    pub fn start(folder: &Path) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_keybook"));
        command.args(["--listen", "127.0.0.1:0", "--data"]).arg(folder).env("RUST_LOG", "info");
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        log.read_line(&mut line).unwrap();
        let address = line.trim_end().rsplit_once("http://").unwrap_or_else(|| panic!("no address in {line:?}")).1;
        let address = address.parse().unwrap();
        let log = thread::spawn(move || {
            let mut rest = Vec::new();
            log.read_to_end(&mut rest).unwrap();
            String::from_utf8_lossy(&rest).into_owned()
        });
        Self { child, address, log: Some(log) }
    }

    /// What it has in memory, in bytes.
    pub fn resident_bytes(&self) -> u64 {
        self.status_bytes("VmRSS:")
    }

    /// The most that it has had in memory, since that was forgotten.
    pub fn peak_bytes(&self) -> u64 {
        self.status_bytes("VmHWM:")
    }

    /// See proc(5), `clear_refs`.
    pub fn forget_peak(&self) {
        std::fs::write(format!("/proc/{}/clear_refs", self.child.id()), "5").unwrap();
    }

    fn status_bytes(&self, name: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("a process that lives has one");
        let kib: u64 = line.trim().trim_end_matches(" kB").parse().unwrap();
        kib * 1024
    }

    /// Kills it, and returns what it said after its first line.
    pub fn kill(mut self) -> String {
        self.end();
        self.log.take().expect("it is taken once").join().unwrap()
    }

    /// Without a chance to write anything.
    fn end(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}
