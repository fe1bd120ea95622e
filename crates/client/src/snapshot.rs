//! Fetching a snapshot over HTTP.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Empty};
use hyper::{Request, StatusCode, body::Incoming, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use keybook_core::paths;
use tokio::{
    net::TcpStream,
    time::{error::Elapsed, timeout},
};

use crate::address::Address;

/// A transfer that brings nothing for this long has failed: its connection may be dead without either end knowing it. The
/// server's first byte comes far sooner.
const STALL_MAX: Duration = Duration::from_secs(30);

/// Why there is no snapshot.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    #[error("cannot connect: {0}")]
    Connect(#[from] std::io::Error),
    #[error("the transfer fails: {0}")]
    Transfer(#[from] hyper::Error),
    #[error("the server refuses: {0}")]
    Refused(StatusCode),
    #[error("nothing came for {} s", STALL_MAX.as_secs())]
    Stalled(#[from] Elapsed),
}

/// The bytes of the dictionary's snapshot.
pub(crate) async fn fetch(address: Address) -> Result<Bytes, FetchError> {
    let stream = timeout(STALL_MAX, TcpStream::connect(address.authority())).await??;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::get(paths::snapshot(address.name()))
        .header(header::HOST, address.authority())
        .body(Empty::<Bytes>::new())
        .expect("a dictionary's name is good in a path");
    let answer = async {
        let answer: hyper::Response<Incoming> = timeout(STALL_MAX, sender.send_request(request)).await??;
        if answer.status() != StatusCode::OK {
            return Err(FetchError::Refused(answer.status()));
        }
        let (mut body, mut bytes) = (answer.into_body(), BytesMut::new());
        while let Some(frame) = timeout(STALL_MAX, body.frame()).await? {
            // A body ends with trailers, or none.
            if let Ok(data) = frame?.into_data() {
                bytes.extend_from_slice(&data);
            }
        }
        Ok(bytes.freeze())
    };
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        // It ends first only when it fails; then the answer says so better.
        biased;
        answer = answer => answer,
        ended = &mut connection => Err(ended.err().map_or(FetchError::Connect(std::io::ErrorKind::UnexpectedEof.into()), FetchError::Transfer)),
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;

    /// A connection that is held half open, before the answer or in its middle, kept a client fetching for ever: its socket
    /// was alive, so nothing else ended the attempt.
    #[tokio::test(start_paused = true)]
    async fn an_answer_that_does_not_go_on_has_failed() {
        for begun in ["", "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf"] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = Address::parse(&format!("http://{}/", listener.local_addr().unwrap())).unwrap();
            let server = tokio::spawn(async move {
                let (mut socket, _) = listener.accept().await.unwrap();
                socket.write_all(begun.as_bytes()).await.unwrap();
                // Until the client has enough.
                let _ = socket.read_to_end(&mut Vec::new()).await;
            });
            let failed = fetch(address).await.unwrap_err();
            assert!(matches!(failed, FetchError::Stalled(_)), "{begun:?}: {failed}");
            server.await.unwrap();
        }
    }
}
