//! Random frames and requests, ten thousand of them, against one running program: it answers, it does not panic, its memory
//! does not grow without bound, and two clients that share the dictionary with it notice nothing.
//!
//! What is sent follows from a seed; `KEYBOOK_SEED=n` sends that of another.

mod process;
#[path = "../crates/server/tests/support/mod.rs"]
mod support;

use std::net::SocketAddr;

use fastrand::Rng;
use keybook_core::{
    AuthorName, Branch, ConflictId, Epoch, Key, PastEpoch, Person, ReplicaId, Resolution, Secret, Seq, Stamp,
    wire::{ClientFrame, Mode, Op, VERSIONS},
};
use process::Process;
use support::{Raw, now_ms, op, past, soon};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::watch,
};
use tokio_tungstenite::tungstenite::Message;

/// Frames and requests.
const SENT: u64 = 10_000;
/// Who send them, each its share.
const ATTACKERS: u64 = 4;
/// Half of what is sent is warm-up, after which memory is measured: caches have filled by then. The other half may add no
/// more than this, which is some 3 KiB for each thing sent. redb's cache alone may take 64 MiB in time.
const GROWTH_BYTES_MAX: u64 = 16 * 1024 * 1024;

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_random_frames_and_requests() {
    let seed = std::env::var("KEYBOOK_SEED").map_or(1, |seed| seed.parse().expect("KEYBOOK_SEED is a number"));
    eprintln!("if it fails: KEYBOOK_SEED={seed}");
    let folder = tempfile::tempdir().unwrap();
    let process = Process::start(folder.path());
    let address = process.address;

    let (flooding, flood_ends) = watch::channel(true);
    let [writer, follower] = [Raw::connect(address, "main").await, Raw::connect(address, "main").await];
    let (written, follow_to) = watch::channel(None);
    let writer = tokio::spawn(edit(writer, flood_ends, written));
    let follower = tokio::spawn(follow(follower, follow_to));

    flood(address, seed).await;
    let warm = process.resident_bytes();
    flood(address, seed + 1_000_000).await;
    let end = process.resident_bytes();

    flooding.send_replace(false);
    let edits = soon("the writer's end", writer).await.unwrap();
    assert_eq!(soon("the follower's end", follower).await.unwrap(), edits, "each edit, in order");
    let ready = request(address, b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await;
    assert!(ready.starts_with("HTTP/1.1 200"), "{ready}");
    eprintln!("{edits} edits meanwhile; memory: {} KiB when warm, {} KiB at the end", warm / 1024, end / 1024);
    assert!(end < warm + GROWTH_BYTES_MAX, "memory grew from {warm} to {end} bytes");

    let log = process.kill();
    assert!(!log.contains("panicked"), "{log}");
}

/// A client that behaves: each of its writes is acknowledged, and nothing comes that it does not understand. Returns how
/// many there were, and tells the follower.
async fn edit(mut raw: Raw, flooding: watch::Receiver<bool>, written: watch::Sender<Option<u64>>) -> u64 {
    raw.hello(None, None, Seq(0)).await;
    for number in 1.. {
        let is_last = !*flooding.borrow();
        if is_last {
            // Before it is written: the follower must not wait for one after it.
            written.send_replace(Some(number));
        }
        let op = raw.op("well-behaved", Some(&number.to_string()));
        let (_, exceptions) = raw.write(vec![op]).await;
        assert_eq!(exceptions, [], "the writer writes as ever");
        if is_last {
            return number;
        }
    }
    unreachable!("the flood ends")
}

/// A client that sees each value, or a later one, in order, until the last; [`Raw::delta`] checks that each Delta
/// continues the one before. Returns the last.
async fn follow(mut raw: Raw, written: watch::Receiver<Option<u64>>) -> u64 {
    // Into an empty dictionary Hello alone leads: a Resume would bring again what came meanwhile.
    if raw.hello(None, None, Seq(0)).await.mode == Mode::Snapshot {
        raw.resume(Seq(0)).await;
    }
    let mut last = 0;
    while *written.borrow() != Some(last) {
        // Who says nothing for too long is taken for dead.
        raw.send(&ClientFrame::Ping { client_ms: last }).await;
        for row in raw.delta().await.entries().filter(|row| row.key.as_str() == "well-behaved") {
            let number =
                row.value.as_ref().expect("nobody removes it").as_str().parse().expect("nobody else writes it");
            assert!(number > last, "{number} after {last}");
            last = number;
        }
    }
    last
}

/// Half of what is sent, by all attackers at once.
async fn flood(address: SocketAddr, seed: u64) {
    let attackers: Vec<_> = (0..ATTACKERS).map(|part| tokio::spawn(attack(address, seed * ATTACKERS + part))).collect();
    for attacker in attackers {
        attacker.await.unwrap();
    }
}

/// One attacker: connections one after another, of either kind.
async fn attack(address: SocketAddr, seed: u64) {
    let mut rng = Rng::with_seed(seed);
    let mut sent = 0;
    while sent < SENT / 2 / ATTACKERS {
        if rng.bool() {
            sent += 1;
            let answer = request(address, &random_request(&mut rng, address)).await;
            // 500 is what becomes of a panic.
            assert!(!answer.starts_with("HTTP/1.1 500"), "{answer}");
        } else {
            sent += frames(address, &mut rng).await;
        }
    }
}

/// Sends bytes, and returns what is answered until the connection ends.
async fn request(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let mut answer = Vec::new();
    // Each fails when the server has had enough of it.
    let _ = soon("sending", stream.write_all(bytes)).await;
    // The server does not answer who has gone: only a request that is not whole ends before the answer begins.
    if bytes.windows(4).any(|window| window == b"\r\n\r\n") {
        let _ = soon("an answer", stream.read_buf(&mut answer)).await;
    }
    let _ = soon("the end of sending", stream.shutdown()).await;
    let _ = soon("the answer's end", stream.read_to_end(&mut answer)).await;
    String::from_utf8_lossy(&answer).into_owned()
}

/// One socket: some frames, until the server has had enough. Returns how many were sent.
async fn frames(address: SocketAddr, rng: &mut Rng) -> u64 {
    let mut raw = Raw::connect(address, if rng.u8(..4) > 0 { "main" } else { "other" }).await;
    let mut sent = 0;
    if rng.u8(..8) > 0 {
        let hello = raw.hello_frame(None, None, Seq(rng.u64(..4)));
        if !raw.try_send(&hello).await {
            return 1;
        }
        sent += 1;
    }
    for _ in 0..rng.u8(1..12) {
        sent += 1;
        let message = match rng.u8(..16) {
            0 => Message::Text(random_text(rng).into()),
            1 => Message::Ping(random_bytes(rng, 125).into()),
            2 => Message::Pong(random_bytes(rng, 125).into()),
            3 => {
                let garbage = random_bytes(rng, 300);
                raw.try_send_garbage(&garbage).await;
                break;
            }
            4 => Message::Binary(random_bytes(rng, 2000).into()),
            _ => {
                let mut bytes = random_frame(rng).encode();
                mutate(rng, &mut bytes);
                Message::Binary(bytes.into())
            }
        };
        if !raw.try_send_message(message).await {
            break;
        }
    }
    raw.leave().await;
    sent
}

/// One of few.
fn secret(rng: &mut Rng) -> Secret {
    Secret([rng.u8(..4); 16])
}

/// A frame that decodes, and need not make sense.
fn random_frame(rng: &mut Rng) -> ClientFrame {
    match rng.u8(..8) {
        0 => ClientFrame::Hello {
            versions: VERSIONS,
            token: rng.bool().then(|| random_text(rng)),
            replicas: (0..rng.usize(1..4)).map(|_| secret(rng)).collect(),
            dictionary: None,
            epoch: rng.bool().then(|| Epoch(rng.u64(..))),
            lineage: (0..rng.u64(..4)).map(|epoch| past(epoch, rng.u64(..9))).collect(),
            cursor: Seq(rng.u64(..)),
            client_ms: rng.u64(..),
            author: Person { secret: secret(rng), name: AuthorName::new(&random_text(rng)) },
            capabilities: rng.u32(..),
            prefix: None,
        },
        1 => ClientFrame::Ping { client_ms: rng.u64(..) },
        2 => ClientFrame::Presence { blob: random_bytes(rng, 300).into() },
        3 => ClientFrame::Resume { epoch: Epoch(rng.u64(..4)), cursor: Seq(rng.u64(..)) },
        4 => {
            let Op { key, stamp, .. } = random_op(rng);
            let key = Key::parse(&key).unwrap_or_else(|_| Key::parse("k1").expect("a valid key"));
            let id = ConflictId { key, loser: stamp };
            let resolution = [Resolution::Dismissed, Resolution::Restored][rng.usize(..2)];
            ClientFrame::Resolve { batch: rng.u64(..), id, resolution }
        }
        5 => ClientFrame::Check,
        _ => ClientFrame::Push { batch: rng.u64(..3), ops: (0..rng.u8(..6)).map(|_| random_op(rng)).collect() },
    }
}

/// One that may well be taken: keys are few, so that there are conflicts.
fn random_op(rng: &mut Rng) -> Op {
    let key = if rng.u8(..8) > 0 { format!("k{}", rng.u8(..50)) } else { random_text(rng) };
    let value = match rng.u8(..8) {
        0 => None,
        1 => Some(random_text(rng)),
        _ => Some(format!("[{}]", rng.u32(..))),
    };
    let millis = if rng.u8(..8) > 0 { now_ms() } else { rng.u64(..1 << 48) };
    // Behind the first one of each replica, or it does not decode.
    let began = if rng.bool() { Stamp::ZERO } else { Stamp::MAX };
    let replaced = (0..rng.usize(..9)).map(|_| op(ReplicaId(rng.u64(..)), millis, "", None).stamp);
    let seen = std::iter::once(began).chain(replaced).collect();
    let recovered = (rng.u8(..16) == 0).then(|| {
        Branch::new(vec![PastEpoch { epoch: Epoch(rng.u64(..)), end: Seq(rng.u64(..)) }]).expect("it has an epoch")
    });
    Op { seen, recovered, ..op(ReplicaId(rng.u64(..)), millis, &key, value.as_deref()) }
}

/// Leaves a third as they are; cuts, extends or changes the others.
fn mutate(rng: &mut Rng, bytes: &mut Vec<u8>) {
    match rng.u8(..9) {
        0 => bytes.truncate(rng.usize(..=bytes.len())),
        1 => bytes.extend(random_bytes(rng, 20)),
        2 => {
            let (from, to) = (rng.usize(..=bytes.len()), rng.usize(..=bytes.len()));
            let part = bytes[from.min(to)..from.max(to)].to_vec();
            bytes.extend(part);
        }
        3..6 => {
            for _ in 0..rng.u8(1..4) {
                let at = rng.usize(..bytes.len());
                bytes[at] = rng.u8(..);
            }
        }
        _ => {}
    }
}

fn random_bytes(rng: &mut Rng, length_max: usize) -> Vec<u8> {
    let length = rng.usize(..=length_max);
    (0..length).map(|_| rng.u8(..)).collect()
}

fn random_text(rng: &mut Rng) -> String {
    let length = rng.usize(..100);
    let alphabet = ['a', '{', '"', '\\', '/', '.', ' ', '%', '0', '\u{0}', 'é', '\u{202e}', '🦀'];
    (0..length).map(|_| alphabet[rng.usize(..alphabet.len())]).collect()
}

/// Bytes that begin like a request, mostly.
fn random_request(rng: &mut Rng, address: SocketAddr) -> Vec<u8> {
    if rng.u8(..16) == 0 {
        return random_bytes(rng, 1000);
    }
    let any = |rng: &mut Rng, texts: &[&str]| texts[rng.usize(..texts.len())].to_owned();
    let method =
        any(rng, &["GET", "GET", "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "CONNECT", "get", "X-1", ""]);
    let path = any(
        rng,
        &[
            "/",
            "/d/main",
            "/d/",
            "/livez",
            "/healthz",
            "/pkg/keybook.css",
            "/pkg/../../etc/passwd",
            "/d/%00%FF",
            "/api/v1/dictionaries/main/snapshot",
            "/api/v1/dictionaries/main/socket",
            "/api/v1/dictionaries//snapshot",
            "/api/v1/dictionaries/%2e%2e/snapshot",
            "*",
            "http://evil.example/",
            "",
        ],
    );
    let tail = if rng.bool() { String::new() } else { random_text(rng).replace(['\u{0}', ' '], "?") };
    let version = any(rng, &["HTTP/1.1", "HTTP/1.1", "HTTP/1.1", "HTTP/1.0", "HTTP/2.0", "HTTP/9", ""]);
    let mut request = format!("{method} {path}{tail} {version}\r\n");
    if rng.u8(..8) > 0 {
        request.push_str(&format!("Host: {address}\r\n"));
    }
    for _ in 0..rng.u8(..6) {
        let header = any(
            rng,
            &[
                "Accept-Encoding: gzip",
                "Accept-Encoding: br;q=x, zstd;q=0.5",
                "Range: bytes=5-1",
                "If-None-Match: \"x\"",
                "Origin: null",
                "Host: evil.example",
                "Upgrade: websocket",
                "Connection: upgrade",
                "Sec-WebSocket-Version: 13",
                "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
                "Sec-WebSocket-Protocol: keybook.v1",
                "Content-Length: 99999999999999999999",
                "Content-Length: 5",
                "Transfer-Encoding: chunked",
                "Expect: 100-continue",
                "Cookie: a=\u{e9}",
                ": nothing",
            ],
        );
        request.push_str(&header);
        request.push_str("\r\n");
    }
    if rng.u8(..8) == 0 {
        request.push_str(&format!("{}: {}\r\n", random_text(rng), random_text(rng)));
    }
    let mut bytes = request.into_bytes();
    bytes.extend(b"Connection: close\r\n\r\n");
    if rng.u8(..4) == 0 {
        bytes.extend(random_bytes(rng, 2000));
    }
    if rng.u8(..8) == 0 {
        bytes.truncate(rng.usize(..bytes.len()));
    }
    bytes
}
