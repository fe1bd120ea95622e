//! Bits of the data file flip while no server runs. What is served afterwards is what was written, or said to be damaged.

mod process;
#[path = "../crates/server/tests/support/mod.rs"]
mod support;

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader, Read},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Output, Stdio},
};

use fastrand::Rng;
use keybook_core::{
    Seq, paths,
    wire::{AckCode, ByeCode, ClientFrame, ServerFrame, snapshot::Snapshot},
};
use support::{Raw, Server, http, http_bytes};

const DAMAGES: usize = 60;
const NAMES: [&str; 2] = ["main", "other"];
const ENTRIES: usize = 200;
/// What of the file is used is looked for in pieces of this.
const SECTOR: usize = 512;

type Contents = BTreeMap<String, String>;

fn keybook(command: &str, folder: &Path) -> Command {
    let mut keybook = Command::new(env!("CARGO_BIN_EXE_keybook"));
    keybook.args([command, "--data"]).arg(folder).env("RUST_LOG", "info");
    keybook
}

/// A server over a file that may be damaged.
struct Damaged {
    child: Child,
    log: BufReader<std::process::ChildStderr>,
    said: String,
}

impl Damaged {
    /// Starts it; an error is what it said before it ended.
    fn start(folder: &Path) -> Result<(Self, SocketAddr), String> {
        let mut command = keybook("serve", folder);
        let mut child = command.args(["--listen", "127.0.0.1:0"]).stderr(Stdio::piped()).spawn().unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        let mut server = Self { child, log, said: String::new() };
        loop {
            let begun = server.said.len();
            if server.log.read_line(&mut server.said).unwrap() == 0 {
                let code = server.child.wait().unwrap();
                return Err(format!("{code}: {}", server.said));
            }
            if let Some((_, address)) = server.said[begun..].trim_end().split_once(" at http://") {
                let address = address.parse().unwrap();
                return Ok((server, address));
            }
        }
    }

    /// Ends it, and returns all that it said.
    fn end(mut self) -> String {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.log.read_to_string(&mut self.said).unwrap();
        std::mem::take(&mut self.said)
    }
}

impl Drop for Damaged {
    fn drop(&mut self) {
        // Both fail only for a process that has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A folder with two dictionaries, whose server was stopped.
async fn written() -> (tempfile::TempDir, [Contents; 2]) {
    let server = Server::start().await;
    let mut contents = [Contents::new(), Contents::new()];
    for (name, contents) in NAMES.iter().zip(&mut contents) {
        let mut raw = server.join(name).await;
        for batch in 0..4 {
            let rows =
                (0..ENTRIES / 4).map(|row| (format!("{name}-{batch}-{row}"), format!("[\"{}\"]", name.repeat(row))));
            let rows: Contents = rows.collect();
            let ops = rows.iter().map(|(key, value)| raw.op(key, Some(value))).collect();
            assert_eq!(raw.write(ops).await.1, []);
            contents.extend(rows);
        }
    }
    (server.stop().await, contents)
}

/// What a snapshot holds; none if the dictionary is said to be damaged.
async fn snapshot(address: SocketAddr, name: &str) -> Option<Contents> {
    let (head, body) = http_bytes(address, &format!("GET {} HTTP/1.0", paths::snapshot(name))).await;
    if head.starts_with("HTTP/1.0 503") {
        assert!(String::from_utf8(body).unwrap().contains("Damaged"));
        return None;
    }
    assert!(head.starts_with("HTTP/1.0 200"), "{head}");
    let Snapshot { base, .. } = Snapshot::decode(&body).unwrap();
    let row = |(key, entry): (&keybook_core::Key, &keybook_core::Entry)| {
        (key.to_string(), entry.value.as_ref().expect("nothing was removed").as_str().to_owned())
    };
    Some(base.entries().map(row).collect())
}

/// What Deltas bring; none if Bye says that the dictionary is damaged.
async fn followed(address: SocketAddr, name: &str) -> Option<Contents> {
    let mut raw = Raw::connect(address, name).await;
    raw.send(&raw.hello_frame(None, None, Seq(0))).await;
    let mut contents = Contents::new();
    loop {
        match raw.receive().await.expect("Bye comes before the end") {
            ServerFrame::Welcome { epoch, .. } => {
                raw.send(&ClientFrame::Resume { epoch, cursor: Seq(0) }).await;
            }
            ServerFrame::Delta(delta) => {
                let value = |value: &Option<keybook_core::Value>| value.as_ref().unwrap().as_str().to_owned();
                contents.extend(delta.entries().map(|row| (row.key.to_string(), value(&row.value))));
                if !delta.has_more() {
                    return Some(contents);
                }
            }
            ServerFrame::Bye { code: ByeCode::Damaged, message, retry_after_ms } => {
                assert!(message.contains("damaged on the server's disk") && retry_after_ms > 0, "{message}");
                return None;
            }
            _ => {}
        }
    }
}

/// Writes a new key. Returns whether it was taken; it may also end the server, which is never an answer.
async fn write(address: SocketAddr, name: &str) -> Option<bool> {
    let mut raw = Raw::connect(address, name).await;
    raw.send(&raw.hello_frame(None, None, Seq(0))).await;
    loop {
        match raw.receive().await? {
            ServerFrame::Welcome { .. } => {
                raw.push(vec![raw.op("new", Some("1"))]).await;
            }
            ServerFrame::Ack { exceptions, .. } => {
                assert!(exceptions.iter().all(|exception| exception.code == AckCode::Busy), "{exceptions:?}");
                return Some(exceptions.is_empty());
            }
            ServerFrame::Bye { code: ByeCode::Damaged, .. } => return Some(false),
            ServerFrame::Bye { code: ByeCode::Failed, .. } => return None,
            _ => {}
        }
    }
}

/// The dictionaries that `keybook verify` calls whole; all of them and the pages if it ends with 0.
fn verified(output: &Output) -> Vec<&'static str> {
    let said = String::from_utf8_lossy(&output.stdout);
    let whole = NAMES.into_iter().filter(|name| said.contains(&format!("{name}: whole, ")));
    let whole: Vec<_> = whole.collect();
    let is_clean = output.status.success();
    assert!(is_clean || output.status.code() == Some(1), "{output:?}");
    assert!(!is_clean || (whole == NAMES && said.contains("pages: whole")), "{output:?}");
    whole
}

/// A bit of the file flipped and was served. Of 45 damages 15 started and could not read, and panicked, and no word in the log said
/// which dictionary it was. `KEYBOOK_SEED=n` makes other damages.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_served_is_what_was_written_or_is_said_to_be_damaged() {
    let (folder, contents) = written().await;
    let path = folder.path().join("keybook.redb");
    assert!(keybook("verify", folder.path()).output().unwrap().status.success());
    let whole = fs::read(&path).unwrap();
    let used: Vec<_> =
        (0..whole.len() / SECTOR).filter(|at| whole[at * SECTOR..][..SECTOR].iter().any(|&byte| byte != 0)).collect();
    let seed = std::env::var("KEYBOOK_SEED").map_or(9, |seed| seed.parse().expect("KEYBOOK_SEED is a number"));
    let mut rng = Rng::with_seed(seed);
    let (mut refused, mut clean, mut damaged, mut half, mut ended) = (0, 0, 0, 0, 0);
    for round in 0..DAMAGES {
        let at = used[rng.usize(..used.len())] * SECTOR + rng.usize(..SECTOR);
        let mut file = whole.clone();
        file[at] ^= 1 << rng.u8(..8);
        fs::write(&path, &file).unwrap();
        let output = keybook("verify", folder.path()).output().unwrap();
        assert!(fs::read(&path).unwrap() == file, "round {round}: verify has changed the file");
        let found_whole = verified(&output);
        clean += usize::from(output.status.success());

        let (server, address) = match Damaged::start(folder.path()) {
            Ok(started) => started,
            Err(said) => {
                assert!(!output.status.success() && said.contains("keybook: "), "round {round} at {at}: {said}");
                refused += 1;
                continue;
            }
        };
        let (mut served, mut has_ended) = (Vec::new(), false);
        for (name, contents) in NAMES.into_iter().zip(&contents) {
            let (followed, snapshot) = (followed(address, name).await, snapshot(address, name).await);
            if let Some(followed) = followed {
                let is_right = followed.iter().all(|(key, value)| contents.get(key) == Some(value));
                assert!(is_right, "round {round} at {at}: {name} tells what was not written");
            }
            let is_served = snapshot.is_some();
            if let Some(snapshot) = snapshot {
                assert!(snapshot == *contents, "round {round} at {at}: the snapshot of {name} is another");
                served.push(name);
            }
            let page = http(address, &format!("GET {} HTTP/1.0", paths::page(name))).await;
            assert!(page.starts_with(if is_served { "HTTP/1.0 200" } else { "HTTP/1.0 503" }), "{page}");
            assert!(is_served || page.contains("This dictionary is damaged"), "{page}");
        }
        // To the log it is all the same who met the damage.
        for name in NAMES {
            match write(address, name).await {
                Some(taken) => assert!(served.contains(&name) || !taken, "round {round} at {at}"),
                None => {
                    has_ended = true;
                    break;
                }
            }
        }
        let ready = if has_ended { String::new() } else { http(address, "GET /readyz HTTP/1.0").await };
        let said = server.end();
        for name in NAMES.iter().filter(|name| !served.contains(name)) {
            assert!(!found_whole.contains(name), "round {round} at {at}: {name} is whole, and not served: {said}");
            assert!(said.contains(&format!("the dictionary {name} is damaged, found in the table ")), "{said}");
            assert!(ready.is_empty() || ready.contains(&format!("dictionary {name}: ")), "{ready}");
            damaged += 1;
        }
        if has_ended {
            assert!(said.contains("writing ends: the data file is damaged"), "round {round} at {at}: {said}");
            ended += 1;
        }
        half += usize::from(served.len() == 1);
    }
    eprintln!(
        "{refused} starts refused, {clean} files clean, {damaged} dictionaries damaged, {half} times the other one served, \
         {ended} servers ended by a write"
    );
    assert!(clean > 0 && damaged > 0 && half > 0, "some kind of damage was never made");
}
