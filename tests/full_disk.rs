//! The disk fills up: a real one, small and in memory, in a mount namespace of its own. Where the system gives none there is nothing to
//! be tried; `crates/server/src/tests.rs` has the same story with a store that says that there is no room.

#[path = "../crates/server/tests/support/mod.rs"]
mod support;

use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Read, Write},
    net::SocketAddr,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::{Child, ChildStderr, Command, Stdio},
};

use keybook_core::{
    Seq,
    wire::{AckCode, ServerFrame},
};
use support::{Raw, http};

const MIB: u64 = 1 << 20;
const DISK_BYTES: u64 = 96 * MIB;

/// A file system of [`DISK_BYTES`] that lasts as long as the process which holds it.
struct Disk {
    holder: Child,
    mount: PathBuf,
}

impl Disk {
    /// None where the system does not let a user mount one.
    fn mount(at: &Path) -> Option<Self> {
        let script = format!(
            "mount -t tmpfs -o size={DISK_BYTES} tmpfs '{}' && echo mounted && exec cat >/dev/null",
            at.display()
        );
        let mut command = Command::new("unshare");
        command.args(["--map-root-user", "--mount", "sh", "-c", &script]);
        let mut holder = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().ok()?;
        let mut line = String::new();
        BufReader::new(holder.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let disk = Self { holder, mount: at.to_owned() };
        (line == "mounted\n").then_some(disk)
    }

    /// The folder as this process sees it, which is not in the namespace.
    fn path(&self) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.holder.id()));
        root.join(self.mount.strip_prefix("/").unwrap())
    }

    /// Takes all room but `left` bytes.
    fn fill(&self, left: u64) {
        let path = self.path().join("filler");
        fs::remove_file(&path).ok();
        let data = fs::read_dir(self.path().join("data")).unwrap();
        // A block is 512 bytes here, whatever the file system has.
        let used: u64 = data.map(|file| file.unwrap().metadata().unwrap().blocks() * 512).sum();
        let bytes = if left == 0 { DISK_BYTES } else { DISK_BYTES - used - left };
        // What does not fit is no error.
        let _ = File::create(&path).unwrap().write_all(&vec![1; bytes as usize]);
    }

    fn serve(&self) -> Server {
        let mut command = Command::new("nsenter");
        command.args(["--preserve-credentials", "--user", "--mount", "--target", &self.holder.id().to_string()]);
        command.arg(env!("CARGO_BIN_EXE_keybook")).args(["--listen", "127.0.0.1:0", "--data"]);
        command.arg(self.mount.join("data")).env("RUST_LOG", "info");
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut said = String::new();
        let address = loop {
            let begun = said.len();
            assert!(log.read_line(&mut said).unwrap() > 0, "{said}");
            if let Some((_, address)) = said[begun..].trim_end().split_once(" at http://") {
                break address.parse().unwrap();
            }
        };
        Server { child, log, said, address }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Both fail only for a process that has ended already.
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

struct Server {
    child: Child,
    log: BufReader<ChildStderr>,
    said: String,
    address: SocketAddr,
}

impl Server {
    /// Kills it, and returns all that it said.
    fn kill(mut self) -> String {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.log.read_to_string(&mut self.said).unwrap();
        std::mem::take(&mut self.said)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A client, and the head that it was told.
async fn join(address: SocketAddr) -> (Raw, Seq) {
    let mut raw = Raw::connect(address, "main").await;
    let head = raw.hello(None, None, Seq(0)).await.head;
    (raw, head)
}

/// Whether a put of `a` and a remove of `b` are taken.
async fn taken(address: SocketAddr) -> [bool; 2] {
    let mut raw = join(address).await.0;
    let ops = vec![raw.op("a", Some("1")), raw.op("b", None)];
    let exceptions = raw.write(ops).await.1;
    [0, 1].map(|index| {
        let refused = exceptions.iter().find(|exception| exception.index == index);
        refused.is_none_or(|exception| exception.code != AckCode::Busy)
    })
}

/// Removes were refused as puts were, nobody was told, and a server that was started on a full disk did not start.
#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_fills_up_can_be_cleared_and_read() {
    let folder = tempfile::tempdir().unwrap();
    let Some(disk) = Disk::mount(folder.path()) else {
        return eprintln!("the system mounts nothing for a user: not tried");
    };
    let server = disk.serve();
    let mut raw = join(server.address).await.0;
    let ops = vec![raw.op("a", Some("0")), raw.op("b", Some("0"))];
    assert_eq!(raw.write(ops).await.1, []);
    assert_eq!(taken(server.address).await, [true, true]);
    assert!(http(server.address, "GET /healthz HTTP/1.0").await.starts_with("HTTP/1.0 200"));

    disk.fill(40 * MIB);
    assert_eq!(taken(server.address).await, [false, true]);
    let health = http(server.address, "GET /healthz HTTP/1.0").await;
    assert!(health.starts_with("HTTP/1.0 503") && health.contains("only removed"), "{health}");

    disk.fill(8 * MIB);
    assert_eq!(taken(server.address).await, [false, false]);

    disk.fill(0);
    let said = server.kill();
    assert!(said.contains("nothing can be added, only removed") && said.contains("nothing can be edited"), "{said}");
    let server = disk.serve();
    // Where the file has a page that is free, its new epoch fits all the same.
    let is_only_read = server.said.contains("the dictionaries are only read until there is room");
    eprintln!("{}", server.said);
    let (mut raw, head) = join(server.address).await;
    let deltas = raw.resume(Seq(0)).await;
    assert_eq!((deltas.iter().map(|delta| delta.entries().count()).sum::<usize>(), raw.cursor), (2, head));
    assert_eq!(taken(server.address).await, [false, false]);
    assert!(http(server.address, "GET /d/main HTTP/1.0").await.starts_with("HTTP/1.0 200"));
    let ready = http(server.address, "GET /readyz HTTP/1.0").await;
    assert!(ready.starts_with("HTTP/1.0 200") && ready.contains("degraded"), "{ready}");

    fs::remove_file(disk.path().join("filler")).unwrap();
    if is_only_read {
        // It looks now and then, and then ends its connections.
        while let Some(frame) = raw.receive().await {
            assert!(matches!(frame, ServerFrame::Bye { .. } | ServerFrame::Pong { .. }), "{frame:?}");
        }
    }
    assert_eq!(taken(server.address).await, [true, true]);
}
