//! Connections that are idle, slow or too many: they end, and others are served.

mod support;

use std::time::Duration;

use support::{Server, soon};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// A request whose connection stays open after it.
const REQUEST: &str = "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n";

async fn connect(server: &Server, bytes: &str) -> TcpStream {
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(bytes.as_bytes()).await.unwrap();
    stream
}

/// Opens a connection that is served and stays open.
async fn served(server: &Server) -> TcpStream {
    let mut stream = connect(server, REQUEST).await;
    let mut answer = [0; 12];
    soon("an answer", stream.read_exact(&mut answer)).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
    stream
}

/// All that comes until the server closes.
async fn rest(stream: &mut TcpStream) -> String {
    let mut rest = Vec::new();
    // The server closes while something that it has not read is under way: that is a reset.
    let _ = soon("the end of a connection", stream.read_to_end(&mut rest)).await;
    String::from_utf8_lossy(&rest).into_owned()
}

/// 1500 connections that sent nothing, half a header, or nothing more after an answer stayed for five minutes. They used up the
/// file descriptors, and newcomers were locked out.
#[tokio::test]
async fn a_connection_without_a_request_ends() {
    let server = Server::start_with(|config| config.timeouts.request = Duration::from_millis(50)).await;
    for begun in ["", "GET /livez HTTP/1.1\r\nHost: local"] {
        rest(&mut connect(&server, begun).await).await;
    }
    assert!(rest(&mut connect(&server, REQUEST).await).await.starts_with("HTTP/1.1 200"));
    server.stop().await;
}

/// 500 headers of 390 kB that did not end held 198 MiB.
#[tokio::test]
async fn a_header_that_is_too_long_is_refused() {
    let server = Server::start().await;
    let begun = format!("GET /livez HTTP/1.1\r\nHost: localhost\r\nX-Long: {}", "x".repeat(40_000));
    let answer = rest(&mut connect(&server, &begun).await).await;
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
    server.stop().await;
}

/// Nothing bounded the number of connections but the file descriptors, of which the data file then had none left.
#[tokio::test]
async fn connections_are_bounded_and_a_place_is_free_again() {
    let server = Server::start_with(|config| config.connections_max = 2).await;
    let socket = server.join("main").await;
    let mut first = served(&server).await;
    assert_eq!(rest(&mut connect(&server, "").await).await, "", "no room for a third");
    first.write_all(REQUEST.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n").as_bytes()).await.unwrap();
    rest(&mut first).await;
    let second = served(&server).await;
    assert_eq!(rest(&mut connect(&server, "").await).await, "", "the socket has kept its place");
    drop((socket, second));
    server.stop().await;
}
