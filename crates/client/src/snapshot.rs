//! Fetching a snapshot over HTTP.

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::{Request, StatusCode, body::Incoming, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::address::Address;

/// Why there is no snapshot.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    #[error("cannot connect: {0}")]
    Connect(#[from] std::io::Error),
    #[error("the transfer fails: {0}")]
    Transfer(#[from] hyper::Error),
    #[error("the server refuses: {0}")]
    Refused(StatusCode),
}

/// The bytes of the dictionary's snapshot.
pub(crate) async fn fetch(address: Address) -> Result<Bytes, FetchError> {
    let stream = TcpStream::connect(address.authority()).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::get(address.path("snapshot"))
        .header(header::HOST, address.authority())
        .body(Empty::<Bytes>::new())
        .expect("a dictionary's name is good in a path");
    let answer = async {
        let answer: hyper::Response<Incoming> = sender.send_request(request).await?;
        if answer.status() != StatusCode::OK {
            return Err(FetchError::Refused(answer.status()));
        }
        Ok(answer.into_body().collect().await?.to_bytes())
    };
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        // It ends first only when it fails; then the answer says so better.
        biased;
        answer = answer => answer,
        ended = &mut connection => Err(ended.err().map_or(FetchError::Connect(std::io::ErrorKind::UnexpectedEof.into()), FetchError::Transfer)),
    }
}
