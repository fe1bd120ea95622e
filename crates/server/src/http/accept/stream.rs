//! A connection's bytes: its place is free before it is closed, and a write that the other end takes nothing of ends in time.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_io_timeout::TimeoutStream;

use super::room::Place;

/// A stream that holds a place. Whoever is told that it ends finds the place free: fields are dropped in their order.
#[derive(Debug)]
pub(super) struct Stream<S> {
    _place: Place,
    stream: Pin<Box<TimeoutStream<S>>>,
}

impl<S: AsyncRead + AsyncWrite> Stream<S> {
    /// `stall` is how long a write waits for the other end to take some of it.
    pub(super) fn new(stream: S, place: Place, stall: Duration) -> Self {
        let mut stream = Box::pin(TimeoutStream::new(stream));
        stream.as_mut().set_write_timeout_pinned(Some(stall));
        Self { _place: place, stream }
    }
}

impl<S: AsyncRead + AsyncWrite> AsyncRead for Stream<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.stream.as_mut().poll_read(cx, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite> AsyncWrite for Stream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.stream.as_mut().poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.as_mut().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.as_mut().poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.stream.as_mut().poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use std::{net::Ipv4Addr, sync::Arc};

    use tokio::{
        io::{AsyncWriteExt, duplex},
        time::Instant,
    };

    use super::*;
    use crate::{http::accept::room::Room, limits::STALL};

    /// Whoever asked for a large response and did not read it held it, and its connection, for ever.
    #[tokio::test(start_paused = true)]
    async fn a_reader_that_stops_is_given_up() {
        let place = Arc::new(Room::new(1, 1)).enter(Ipv4Addr::LOCALHOST.into()).unwrap();
        let (ours, _theirs) = duplex(16);
        let (mut stream, start) = (Stream::new(ours, place, STALL), Instant::now());
        let error = stream.write_all(&[0; 32]).await.unwrap_err();
        assert_eq!((error.kind(), start.elapsed().as_secs()), (io::ErrorKind::TimedOut, STALL.as_secs()));
    }
}
