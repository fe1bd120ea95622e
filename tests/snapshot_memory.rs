//! What a snapshot takes in the memory of a server: nothing that grows with the dictionary, whoever asks and however slowly they
//! read.

mod process;
#[path = "../crates/server/tests/support/mod.rs"]
mod support;

use std::net::SocketAddr;

use keybook_core::{Seq, paths, wire::Op};
use process::Process;
use support::{Raw, soon};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

const VALUE_BYTES: usize = 60_000;
/// 48 MB.
const VALUES: usize = 800;
/// More than the pages that a snapshot may be behind.
const CHANGED: usize = 60;
const READERS: usize = 16;
/// What the readers and one making may take; a copy of the dictionary is three times that.
const GROWTH_BYTES_MAX: u64 = 16 * 1024 * 1024;

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_takes_no_memory_that_grows_with_the_dictionary() {
    let folder = tempfile::tempdir().unwrap();
    let process = Process::start(folder.path());
    let mut raw = Raw::connect(process.address, "main").await;
    raw.hello(None, None, Seq(0)).await;
    write(&mut raw, VALUES, "a").await;
    // The store's cache and the allocator's rooms fill.
    let first = ask(process.address).await;
    let bytes = read(first).await;
    assert!(bytes > VALUES * VALUE_BYTES, "{bytes}");

    write(&mut raw, CHANGED, "b").await;
    process.forget_peak();
    let before = process.resident_bytes();
    // All at once, for one that has to be made. Half of them read no more than the beginning.
    let asking: Vec<_> = (0..READERS).map(|_| tokio::spawn(ask(process.address))).collect();
    let mut stalled = Vec::new();
    for (number, asked) in asking.into_iter().enumerate() {
        let stream = asked.await.unwrap();
        if number % 2 == 0 { stalled.push(stream) } else { assert!(read(stream).await > VALUES * VALUE_BYTES) }
    }
    let peak = process.peak_bytes();
    eprintln!("{} kB before, {} kB at most", before / 1000, peak / 1000);
    assert!(peak < before + GROWTH_BYTES_MAX, "memory grew from {before} to {peak} bytes");
    drop(stalled);
}

/// Values of which no two are alike.
async fn write(raw: &mut Raw, values: usize, text: &str) {
    for number in 0..values {
        let value = format!("\"{number}{}\"", text.repeat(VALUE_BYTES));
        let ops: Vec<Op> = vec![raw.op(&format!("k{number}"), Some(&value))];
        let (_, exceptions) = raw.write(ops).await;
        assert_eq!(exceptions, []);
    }
}

/// Asks for the snapshot, and reads the first byte of the answer.
async fn ask(address: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", paths::snapshot("main"));
    stream.write_all(request.as_bytes()).await.unwrap();
    soon("an answer", stream.read_exact(&mut [0])).await.unwrap();
    stream
}

/// Reads the rest. Returns how much that is.
async fn read(mut stream: TcpStream) -> usize {
    let mut rest = Vec::new();
    soon("the end of the answer", stream.read_to_end(&mut rest)).await.unwrap();
    rest.len()
}
