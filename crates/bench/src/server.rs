//! The real server, in a process of its own: what a benchmark writes to is what people run.

use std::{
    env, fs,
    io::{self, BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread::{self, JoinHandle},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};

/// A server that serves a folder, until it is stopped or dropped.
#[derive(Debug)]
pub struct Server {
    /// Its number in the system.
    pub pid: u32,
    /// Where it listens: `http://127.0.0.1:` and a port that the system picked.
    pub url: String,
    child: Child,
    /// Reads what it says after that, so that it never waits for a reader.
    log: Option<JoinHandle<String>>,
}

impl Server {
    /// Starts the release build that stands beside the benchmark's own, over `data`, and waits until it serves.
    ///
    /// # Errors
    /// When it has not been built, or does not serve.
    pub fn start(data: &Path) -> io::Result<Self> {
        let mut command = Command::new(program()?);
        Self::spawn(command.args(["serve", "--listen", "127.0.0.1:0", "--data"]).arg(data).env("RUST_LOG", "info"))
    }

    /// Starts any server that says where it listens at the end of a line of its log.
    ///
    /// # Errors
    /// When it cannot be started, or does not serve.
    pub fn spawn(command: &mut Command) -> io::Result<Self> {
        let mut child = command.stderr(Stdio::piped()).spawn()?;
        let mut log = BufReader::new(child.stderr.take().expect("it is piped"));
        // What comes before may tell of a data file that was made shorter.
        let (mut said, mut url) = (String::new(), String::new());
        while url.is_empty() && log.read_line(&mut said)? > 0 {
            url = said.find("http://").map_or(url, |at| said[at..].trim_end().to_owned());
        }
        let log = thread::spawn(move || {
            let mut rest = Vec::new();
            // What cannot be read is not shown.
            let _ = log.read_to_end(&mut rest);
            String::from_utf8_lossy(&rest).into_owned()
        });
        let server = Self { pid: child.id(), url, child, log: Some(log) };
        let serves = !server.url.is_empty();
        serves.then_some(server).ok_or_else(|| io::Error::other(format!("the server does not serve: {said}")))
    }

    /// How long its threads have been on a processor.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn processor_time(&self) -> io::Result<Duration> {
        let mut nanos = 0;
        for task in fs::read_dir(format!("/proc/{}/task", self.pid))? {
            // A thread that has ended meanwhile has no file.
            let Ok(text) = fs::read_to_string(task?.path().join("schedstat")) else { continue };
            let first = text.split(' ').next().and_then(|field| field.parse::<u64>().ok());
            nanos += first.ok_or_else(|| io::Error::other(format!("schedstat is {text:?}")))?;
        }
        Ok(Duration::from_nanos(nanos))
    }

    /// What it has in memory, in bytes.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn resident_bytes(&self) -> io::Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        Ok(kib.ok_or_else(|| io::Error::other(format!("no VmRSS in {status:?}")))? * 1024)
    }

    /// Asks it to stop, and waits for its end.
    ///
    /// # Errors
    /// When it does not end well; with what it said.
    ///
    /// # Panics
    /// When its number is none of a process.
    pub fn stop(mut self) -> io::Result<()> {
        kill_process(Pid::from_raw(self.pid as i32).expect("a process has a number"), Signal::TERM)?;
        let status = self.child.wait()?;
        let log = self.log.take().and_then(|log| log.join().ok()).unwrap_or_default();
        if status.success() { Ok(()) } else { Err(io::Error::other(format!("the server ended with {status}: {log}"))) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It fails when the server has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Keybook's release build: a benchmark is `target/release/deps/name-hash`.
///
/// # Errors
/// When it has not been built.
pub fn program() -> io::Result<PathBuf> {
    let bench = env::current_exe()?;
    let program = bench.ancestors().nth(2).map(|folder| folder.join("keybook"));
    program.filter(|program| program.is_file()).ok_or_else(|| {
        let hint = "run `cargo build --release --package keybook --bin keybook`";
        io::Error::new(io::ErrorKind::NotFound, format!("no server beside {}: {hint}", bench.display()))
    })
}
