//! The least that a fan-out can do, in a process of its own: it accepts the same connections, packs all entries that wait
//! into one Delta without looking into them, sends that to everyone, and acknowledges. It persists nothing, merges nothing,
//! checks nothing, and knows one dictionary.
//!
//! Nothing is dropped: a receiver that does not keep up holds up the next frame.

use std::{error::Error, ops::Range, time::SystemTime};

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use keybook_core::{
    DictionaryId, Epoch, Seq,
    limits::Limits,
    wire::{Horizon, Mode, Role, SUBPROTOCOL, ServerFrame, VERSION},
};
use minicbor::{Decoder, Encoder};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc,
};
use tokio_tungstenite::{
    accept_hdr_async_with_config,
    tungstenite::{
        Message,
        handshake::server::{Request, Response},
        http::HeaderValue,
        protocol::WebSocketConfig,
    },
};

/// Frames that a receiver may be behind.
const QUEUE: usize = 64;
/// What waits is packed up to this: the largest frame that Keybook sends.
const FRAME_BYTES: usize = 192 * 1024;

/// Serves for ever.
#[tokio::main]
pub(crate) async fn run() -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    eprintln!("serving nothing at http://{}", listener.local_addr()?);
    let (to_hub, waiting) = mpsc::channel(256);
    tokio::spawn(hub(waiting));
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let to_hub = to_hub.clone();
        // A connection ends when either side has enough.
        tokio::spawn(async move { drop(serve(stream, to_hub).await) });
    }
}

/// What a connection tells the hub.
enum News {
    Hello(mpsc::Sender<Bytes>),
    Resume(mpsc::Sender<Bytes>),
    Push { batch: u64, entries: Vec<Vec<u8>>, from: mpsc::Sender<Bytes> },
}

async fn hub(mut waiting: mpsc::Receiver<News>) {
    let (mut receivers, mut seq) = (Vec::<mpsc::Sender<Bytes>>::new(), 0);
    let mut news = Vec::new();
    while waiting.recv_many(&mut news, 256).await > 0 {
        let (mut pushed, mut acks) = (Vec::new(), Vec::new());
        for one in news.drain(..) {
            match one {
                News::Hello(receiver) => {
                    answer(&receiver, welcome(seq)).await;
                    receivers.push(receiver);
                }
                News::Resume(receiver) => answer(&receiver, delta(seq, seq, &[]).into()).await,
                News::Push { batch, entries, from } => {
                    pushed.extend(entries);
                    acks.push((batch, from));
                }
            }
        }
        let mut rest = &pushed[..];
        while !rest.is_empty() {
            let mut bytes = 0;
            let fits = |entry: &&Vec<u8>| {
                bytes += entry.len();
                bytes <= FRAME_BYTES
            };
            let count = rest.iter().take_while(fits).count().max(1);
            let frame = Bytes::from(delta(seq, seq + 1, &rest[..count]));
            seq += 1;
            rest = &rest[count..];
            let mut gone = Vec::new();
            for (index, receiver) in receivers.iter().enumerate() {
                if receiver.send(frame.clone()).await.is_err() {
                    gone.push(index);
                }
            }
            gone.into_iter().rev().for_each(|index| drop(receivers.swap_remove(index)));
        }
        for (batch, from) in acks {
            answer(&from, ServerFrame::Ack { batch, seq: Seq(seq), exceptions: Vec::new() }.encode().into()).await;
        }
    }
}

async fn answer(receiver: &mpsc::Sender<Bytes>, frame: Bytes) {
    // It fails when the connection has ended.
    let _ = receiver.send(frame).await;
}

fn welcome(seq: u64) -> Bytes {
    let frame = ServerFrame::Welcome {
        version: VERSION,
        role: Role::Writer,
        dictionary: DictionaryId(1),
        epoch: Epoch(1),
        lineage: Vec::new(),
        head: Seq(seq),
        horizon: Horizon::default(),
        server_ms: SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_millis() as u64),
        mode: Mode::Tail,
        limits: Limits::default(),
    };
    frame.encode().into()
}

/// A Delta around entries as they came.
fn delta(prev: u64, to: u64, entries: &[Vec<u8>]) -> Vec<u8> {
    let mut encoder =
        Encoder::new(Vec::with_capacity(64 + entries.iter().map(|entry| entry.len() + 12).sum::<usize>()));
    let written = (|| {
        encoder.array(4)?.u8(17)?.u64(to)?.u64(to - prev)?.array(entries.len() as u64)?;
        for entry in entries {
            encoder.array(4)?;
            encoder.writer_mut().extend_from_slice(entry);
            // By somebody.
            encoder.u8(0)?;
        }
        Ok::<_, minicbor::encode::Error<std::convert::Infallible>>(())
    })();
    written.expect("writing to memory does not fail");
    encoder.into_writer()
}

/// A Push as far as it is read.
struct Push {
    batch: u64,
    /// Where key, value and stamp of each operation are.
    ops: Vec<Range<usize>>,
}

/// None for any other frame.
fn push(frame: &[u8]) -> Result<Option<Push>, minicbor::decode::Error> {
    let mut decoder = Decoder::new(frame);
    decoder.array()?;
    if decoder.u8()? != 1 {
        return Ok(None);
    }
    let batch = decoder.u64()?;
    let mut ops = Vec::new();
    for _ in 0..decoder.array()?.unwrap_or(0) {
        let fields = decoder.array()?.unwrap_or(0);
        let start = decoder.position();
        for field in 0..fields {
            decoder.skip()?;
            if field == 2 {
                ops.push(start..decoder.position());
            }
        }
    }
    Ok(Some(Push { batch, ops }))
}

async fn serve(stream: TcpStream, to_hub: mpsc::Sender<News>) -> Result<(), Box<dyn Error + Send + Sync>> {
    // As Keybook has them.
    let config = WebSocketConfig::default().read_buffer_size(4 * 1024).write_buffer_size(16 * 1024);
    #[allow(clippy::result_large_err, reason = "the library's own type")]
    let accept = |_: &Request, mut response: Response| {
        response.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static(SUBPROTOCOL));
        Ok(response)
    };
    let (mut sink, mut stream) = accept_hdr_async_with_config(stream, accept, Some(config)).await?.split();
    let (to_client, mut frames) = mpsc::channel::<Bytes>(QUEUE);
    let sending = async {
        let mut waiting = Vec::new();
        while frames.recv_many(&mut waiting, QUEUE).await > 0 {
            for frame in waiting.drain(..) {
                sink.feed(Message::Binary(frame)).await?;
            }
            sink.flush().await?;
        }
        Ok::<_, Box<dyn Error + Send + Sync>>(())
    };
    let receiving = async {
        while let Some(Message::Binary(frame)) = stream.next().await.transpose()? {
            let from = to_client.clone();
            let news = match frame.get(1) {
                Some(0) => News::Hello(from),
                Some(4) => News::Resume(from),
                _ => match push(&frame)? {
                    Some(Push { batch, ops }) => {
                        let entries = ops.into_iter().map(|op| frame[op].to_vec()).collect();
                        News::Push { batch, entries, from }
                    }
                    None => continue,
                },
            };
            to_hub.send(news).await?;
        }
        Ok::<_, Box<dyn Error + Send + Sync>>(())
    };
    tokio::select! {
        sent = sending => sent,
        received = receiving => received,
    }
}
