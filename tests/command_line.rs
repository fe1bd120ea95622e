//! The program as whoever starts it sees it: what it prints, and how it ends.

use std::{
    env,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
};

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};

fn keybook(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_keybook"));
    for (variable, _) in env::vars().filter(|(variable, _)| variable.starts_with("KEYBOOK_") || variable == "RUST_LOG")
    {
        command.env_remove(variable);
    }
    command.args(arguments).stderr(Stdio::piped());
    command
}

/// A data folder of the test's own, below cargo's target folder.
fn data(test: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(test)
}

/// A server that runs until it is dropped, and the address from its log.
struct Server {
    process: Child,
    address: String,
    log: BufReader<std::process::ChildStderr>,
}

impl Server {
    fn start(mut command: Command) -> Self {
        let mut process = command.spawn().unwrap();
        let mut log = BufReader::new(process.stderr.take().unwrap());
        let mut line = String::new();
        log.read_line(&mut line).unwrap();
        let address = line.trim_end().split_once(" at http://").unwrap_or_else(|| panic!("no address in {line:?}")).1;
        Self { process, address: address.to_owned(), log }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only for a process that has ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn check(output: &Output, code: i32, message: &str) {
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{error}");
    assert!(error.contains(message), "no {message:?} in {error:?}");
}

#[test]
fn wrong_usage_ends_with_2() {
    for (arguments, message) in [
        (&["--listen", "0.0.0.0:0"][..], "0.0.0.0:0 is not a loopback address"),
        (&["serve", "--listen", "[::]:0"], "Add --open"),
        (&["serve", "--listen", "here"], "invalid value 'here' for '--listen <ADDRESS>'"),
        (
            &["--host", "https://x"],
            r#"invalid value 'https://x' for '--host <NAME>': "https://x" is not the name of a host"#,
        ),
        (&["--host", "good.example,x:443"], r#"write "x" alone"#),
        (&["--host", "*"], r#"write each name in full, such as "keybook.example""#),
        (&["fly"], "'fly'"),
        (&["load", "--connections", "2", "--writers", "3"], "3 writers, but only 2 connections"),
        (&["load", "--writers", "3", "--keys", "2"], "2 keys are not enough for 3 writers"),
        (&["load", "--value-bytes", "23"], "23 is not in 24..=65536"),
    ] {
        check(&keybook(arguments).output().unwrap(), 2, message);
    }
}

#[test]
fn variables_stand_in_for_options() {
    let refused = keybook(&["serve"]).env("KEYBOOK_LISTEN", "0.0.0.0:0").output().unwrap();
    check(&refused, 2, "0.0.0.0:0 is not a loopback address");

    let mut command = keybook(&["serve"]);
    command.env("KEYBOOK_LISTEN", "0.0.0.0:0").env("KEYBOOK_OPEN", "1").env("KEYBOOK_DATA", data("variables"));
    let server = Server::start(command);
    assert!(server.address.starts_with("0.0.0.0:"), "{}", server.address);
    assert!(data("variables").is_dir());
}

#[test]
fn a_taken_port_ends_with_1_and_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = keybook(&["--listen", &address]).env("KEYBOOK_DATA", data("taken")).output().unwrap();
    check(&output, 1, &format!("cannot listen on {address}"));
}

#[test]
fn a_data_folder_that_cannot_be_made_ends_with_1_and_is_named() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml/data");
    let output = keybook(&["--listen", "127.0.0.1:0", "--data", folder]).output().unwrap();
    check(&output, 1, folder);
}

/// What `keybook load` measured of a server of its own.
fn load(test: &str, options: &[&str]) -> serde_json::Value {
    let folder = data(test);
    std::fs::remove_dir_all(&folder).ok();
    let mut command = keybook(&["--listen", "127.0.0.1:0"]);
    command.env("KEYBOOK_DATA", folder);
    let server = Server::start(command);
    let url = format!("http://{}/d/load", server.address);
    let arguments = [&["load", &url, "--seconds", "1", "--json"], options].concat();
    let output = keybook(&arguments).stdout(Stdio::piped()).output().unwrap();
    check(&output, 0, "");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn a_bounded_load_is_delivered_to_all() {
    let figures = load("bounded", &["--connections", "5", "--writers", "2", "--rate", "20"]);
    assert_eq!((&figures["writes"], &figures["deliveries"], &figures["skipped"]), (&20.into(), &100.into(), &0.into()));
    for times in ["to_ack", "to_receive"] {
        let [p50, longest] = ["p50_ms", "max_ms"].map(|quantile| figures[times][quantile].as_f64().unwrap());
        assert!(0.0 < p50 && p50 <= longest, "{figures}");
    }
}

#[test]
fn a_flood_counts_what_is_skipped() {
    let figures = load("flood", &["--connections", "3", "--writers", "3", "--window", "64", "--keys", "3"]);
    let [writes, deliveries, skipped] = ["writes", "deliveries", "skipped"].map(|name| figures[name].as_u64().unwrap());
    // A key that is written twice in a commit is delivered once.
    assert!(skipped > 0, "{figures}");
    assert_eq!(deliveries + skipped, 3 * writes, "{figures}");
}

#[test]
fn a_load_of_nobody_ends_with_1_and_names_the_address() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let output = keybook(&["load", &format!("http://{free}/d/load")]).output().unwrap();
    check(&output, 1, &format!("cannot connect to http://{free}/d/load"));
}

/// A data folder with a file that cannot be served ends with 1 and a reason, and the file stays as it is.
fn check_data(test: &str, file: &[u8], message: &str) {
    let folder = data(test);
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("keybook.redb");
    std::fs::write(&path, file).unwrap();
    let output = keybook(&["--listen", "127.0.0.1:0"]).env("KEYBOOK_DATA", &folder).output().unwrap();
    check(&output, 1, message);
    assert!(std::fs::read(&path).unwrap() == file, "the file has changed");
}

#[test]
fn a_data_file_that_cannot_be_served_ends_with_1_and_stays_as_it_is() {
    check_data("garbage", &[b'x'; 100_000], "is damaged or no data file of keybook");

    let folder = data("served");
    std::fs::remove_dir_all(&folder).ok();
    let serve = || {
        let mut command = keybook(&["--listen", "127.0.0.1:0"]);
        command.env("KEYBOOK_DATA", &folder);
        command
    };
    let server = Server::start(serve());
    check(&serve().output().unwrap(), 1, "keybook.redb is locked: another keybook is serving it");
    drop(server);
    let whole = std::fs::read(folder.join("keybook.redb")).unwrap();
    check_data("truncated", &whole[..whole.len() / 2], "is damaged or no data file of keybook");
}

#[test]
fn a_folder_that_no_server_has_is_verified_and_compacted() {
    let folder = data("offline");
    std::fs::remove_dir_all(&folder).ok();
    let run = |command: &str| keybook(&[command]).env("KEYBOOK_DATA", &folder).stdout(Stdio::piped()).output().unwrap();
    for command in ["verify", "compact"] {
        check(&run(command), 1, "keybook.lock: No such file or directory");
    }
    assert!(!folder.exists(), "nothing was made");
    let mut command = keybook(&["--listen", "127.0.0.1:0"]);
    command.env("KEYBOOK_DATA", &folder);
    let server = Server::start(command);
    for command in ["verify", "compact"] {
        check(&run(command), 1, "keybook.redb is locked: another keybook is serving it");
    }
    drop(server);
    for (command, said) in [("verify", "pages: whole\n"), ("compact", " bytes before, "), ("verify", "pages: whole\n")]
    {
        let output = run(command);
        check(&output, 0, "");
        assert!(String::from_utf8_lossy(&output.stdout).contains(said), "{command}: {output:?}");
    }
}

#[cfg(unix)]
#[test]
fn a_signal_to_stop_ends_with_0() {
    for signal in ["TERM", "INT"] {
        let mut command = keybook(&["--listen", "127.0.0.1:0"]);
        command.env("KEYBOOK_DATA", data("signals"));
        let mut server = Server::start(command);
        let sent = Command::new("kill").args(["-s", signal, &server.process.id().to_string()]).status().unwrap();
        assert!(sent.success());
        let mut log = String::new();
        server.log.read_to_string(&mut log).unwrap();
        assert_eq!(server.process.wait().unwrap().code(), Some(0), "{signal}: {log}");
        assert!(log.contains("stopping"), "{log}");
    }
}

/// Newcomers were locked out, and the log said nothing.
#[cfg(unix)]
#[test]
fn connections_that_are_refused_or_cannot_be_accepted_are_logged() {
    let mut command = keybook(&["--listen", "127.0.0.1:0", "--max-connections", "1"]);
    command.env("KEYBOOK_DATA", data("refused"));
    let mut server = Server::start(command);
    let connect = || TcpStream::connect(&server.address).unwrap();
    let mut line = || {
        let mut line = String::new();
        server.log.read_line(&mut line).unwrap();
        line
    };
    let first = connect();
    let mut refused = connect();
    let said = line();
    assert!(said.contains("is refused: 1 are open, which is the limit (--max-connections)"), "{said}");
    assert_eq!(refused.read(&mut [0]).unwrap(), 0, "it is closed");

    // The numbers below 3 are in use, so no file can be opened.
    let pid = Pid::from_child(&server.process);
    let limit =
        |current| prlimit(Some(pid), Resource::Nofile, Rlimit { current, ..getrlimit(Resource::Nofile) }).unwrap();
    let before = limit(Some(3));
    let mut waiting = connect();
    let said = line();
    assert!(said.contains("no connection can be accepted: Too many open files"), "{said}");
    drop(first);
    limit(before.current);
    waiting.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    waiting.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "who waited is served: {answer}");
}
