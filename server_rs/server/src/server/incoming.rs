//! Connections as they come in. Their clients have to begin soon: once HTTP/2 has begun, its keepalive finds out who is
//! gone; before, a client that says nothing would keep a connection, and a file descriptor of this process, for ever.

use std::{
    future::Future as _,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use futures_util::{Stream, StreamExt as _};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    time::Sleep,
};
use tonic::transport::server::{Connected, TcpIncoming};

/// How long a client may take to begin.
const WITHIN: Duration = Duration::from_secs(10);
/// The bytes of the preface of HTTP/2, which is how clients begin.
const PREFACE: usize = 24;

/// How long nothing is accepted once there are no file descriptors left. Without a pause it would be tried all the time.
const PAUSE: Duration = Duration::from_secs(1);

/// What a listener accepts.
pub(super) fn accept(listener: TcpListener) -> impl Stream<Item = io::Result<Beginning<TcpStream>>> + Send {
    TcpIncoming::from(listener).with_nodelay(Some(true)).then(async |accepted| {
        if let Err(error) = &accepted
            && !is_of_one_connection(error)
        {
            tracing::warn!(%error, "cannot accept connections");
            tokio::time::sleep(PAUSE).await;
        }
        accepted.map(Beginning::new)
    })
}

/// Whether an error says nothing of the next connection.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted)
}

/// A connection that reads as timed out if its client does not begin.
#[derive(Debug)]
pub(super) struct Beginning<IO> {
    io: IO,
    /// How many bytes of the preface have not come yet, and until when they may.
    awaited: Option<(usize, Pin<Box<Sleep>>)>,
}

impl<IO> Beginning<IO> {
    /// From now on. Needs a tokio runtime.
    pub(super) fn new(io: IO) -> Self {
        Self { io, awaited: Some((PREFACE, Box::pin(tokio::time::sleep(WITHIN)))) }
    }
}

impl<IO: Connected> Connected for Beginning<IO> {
    type ConnectInfo = IO::ConnectInfo;

    fn connect_info(&self) -> Self::ConnectInfo {
        self.io.connect_info()
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Beginning<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.io).poll_read(context, buffer);
        if let Some((missing, end)) = &mut self.awaited {
            *missing = missing.saturating_sub(buffer.filled().len() - before);
            if *missing == 0 {
                self.awaited = None;
            } else if read.is_pending() {
                ready!(end.as_mut().poll(context));
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
        }
        read
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Beginning<IO> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        time::sleep,
    };

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_says_nothing_or_half_of_the_preface_is_cut_off() {
        for said in [0, 1, PREFACE - 1] {
            let (mut client, server) = tokio::io::duplex(64);
            client.write_all(&vec![b'P'; said]).await.unwrap();
            let mut server = Beginning::new(server);
            let read = server.read_exact(&mut [0; PREFACE]).await;
            assert_eq!(read.unwrap_err().kind(), io::ErrorKind::TimedOut);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_begun_may_take_its_time() {
        let (mut client, server) = tokio::io::duplex(64);
        let mut server = Beginning::new(server);
        client.write_all(&[b'P'; PREFACE]).await.unwrap();
        server.read_exact(&mut [0; PREFACE]).await.unwrap();
        tokio::spawn(async move {
            sleep(WITHIN * 10).await;
            client.write_all(b"?").await.unwrap();
        });
        assert_eq!(server.read_u8().await.unwrap(), b'?');
    }
}
