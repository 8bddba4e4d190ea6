//! How much of this program those who look may take: so many connections, and each for so long.
//!
//! Whoever connects and says nothing, or asks and reads nothing, would hold descriptors of files that the store and the
//! clients need.

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::task::Context;
use std::task::Poll;
use std::time::Duration;

use axum::serve::Listener;
use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;
use tokio::io::ReadBuf;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::Semaphore;
use tokio::sync::oneshot;

/// How much those who look may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections at once. One more ends the oldest, so that nobody who holds them keeps others out.
    pub connections: usize,
    /// How long a connection may last, with all that is asked and answered.
    pub lifetime: Duration,
    /// Bytes of a request's line and headers.
    pub head: usize,
    /// How long these may take to come.
    pub head_time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 64,
            lifetime: Duration::from_secs(60),
            head: 16 << 10,
            head_time: Duration::from_secs(10),
        }
    }
}

/// A listener whose connections keep to limits.
pub(super) struct Limited<L> {
    listener: L,
    limits: Limits,
    places: Arc<Semaphore>,
    open: Arc<Open>,
}

/// The connections that are open, oldest first; each ends when what stands here for it is dropped.
#[derive(Default)]
struct Open(Mutex<(u64, BTreeMap<u64, oneshot::Sender<()>>)>);

impl Open {
    fn all(&self) -> MutexGuard<'_, (u64, BTreeMap<u64, oneshot::Sender<()>>)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self) -> (u64, oneshot::Receiver<()>) {
        let (ends, ended) = oneshot::channel();
        let (last, open) = &mut *self.all();
        *last += 1;
        open.insert(*last, ends);
        (*last, ended)
    }

    fn end_oldest(&self) {
        drop(self.all().1.pop_first());
    }

    fn remove(&self, number: u64) {
        drop(self.all().1.remove(&number));
    }
}

impl<L> Limited<L> {
    pub(super) fn new(listener: L, limits: Limits) -> Self {
        Self {
            listener,
            limits,
            places: Arc::new(Semaphore::new(limits.connections)),
            open: Arc::default(),
        }
    }

    /// A place for one more connection; the oldest one gives it up if there is none.
    async fn place(&mut self) -> Option<OwnedSemaphorePermit> {
        if let Ok(place) = Arc::clone(&self.places).try_acquire_owned() {
            return Some(place);
        }
        self.open.end_oldest();
        Arc::clone(&self.places).acquire_owned().await.ok()
    }
}

impl<L: Listener> Listener for Limited<L> {
    type Io = Connection<L::Io>;
    type Addr = L::Addr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        let (stream, address) = self.listener.accept().await;
        let place = self.place().await;
        let (number, ended) = self.open.add();
        let lifetime = self.limits.lifetime;
        let end = Box::pin(async move {
            // Dropped or sent, both end it.
            drop(tokio::time::timeout(lifetime, ended).await);
        });
        let connection =
            Connection { stream, end, number, open: Arc::clone(&self.open), _place: place };
        (connection, address)
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

/// A connection that has an end, wherever it stands then.
pub(super) struct Connection<S> {
    stream: S,
    end: Pin<Box<dyn Future<Output = ()> + Send>>,
    number: u64,
    open: Arc<Open>,
    _place: Option<OwnedSemaphorePermit>,
}

impl<S> Drop for Connection<S> {
    fn drop(&mut self) {
        self.open.remove(self.number);
    }
}

impl<S> Connection<S> {
    /// Refuses what comes after the end, and has whoever waits woken by it.
    fn lasts(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        if self.end.as_mut().poll(context).is_pending() {
            return Ok(());
        }
        // A future that has come to its end is not asked again.
        self.end = Box::pin(std::future::ready(()));
        Err(io::ErrorKind::TimedOut.into())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Connection<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.lasts(context)?;
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Connection<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        content: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.lasts(context)?;
        Pin::new(&mut self.stream).poll_write(context, content)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        contents: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.lasts(context)?;
        Pin::new(&mut self.stream).poll_write_vectored(context, contents)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.lasts(context)?;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.lasts(context)?;
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;
    use tokio::io::AsyncWriteExt;
    use tokio::io::DuplexStream;
    use tokio::sync::mpsc;

    use super::*;

    /// Gives out what a test connects.
    struct Handed(mpsc::UnboundedReceiver<DuplexStream>);

    impl Listener for Handed {
        type Io = DuplexStream;
        type Addr = ();

        async fn accept(&mut self) -> (DuplexStream, ()) {
            (self.0.recv().await.unwrap(), ())
        }

        fn local_addr(&self) -> io::Result<()> {
            Ok(())
        }
    }

    fn listening(
        connections: usize,
        lifetime: Duration,
    ) -> (mpsc::UnboundedSender<DuplexStream>, Limited<Handed>) {
        let (connects, connected) = mpsc::unbounded_channel();
        let limits = Limits { connections, lifetime, ..Limits::default() };
        (connects, Limited::new(Handed(connected), limits))
    }

    fn is_ended<T>(result: &io::Result<T>) -> bool {
        matches!(result, Err(error) if error.kind() == io::ErrorKind::TimedOut)
    }

    #[tokio::test(start_paused = true)]
    async fn who_says_nothing_and_who_reads_nothing_is_left_after_a_while() {
        let (connects, mut listener) = listening(2, Duration::from_secs(60));
        let (silent, deaf) = (tokio::io::duplex(4), tokio::io::duplex(4));
        connects.send(silent.1).unwrap();
        connects.send(deaf.1).unwrap();
        let (mut first, ()) = listener.accept().await;
        let (mut second, ()) = listener.accept().await;
        assert!(is_ended(&first.read_u8().await));
        assert!(is_ended(&second.write_all(b"a long answer").await));
        assert!(is_ended(&second.write_all(b"more").await), "for good");
    }

    #[tokio::test(start_paused = true)]
    async fn who_goes_on_talking_has_an_end_too() {
        let (connects, mut listener) = listening(1, Duration::from_secs(60));
        let (mut endless, server) = tokio::io::duplex(4);
        connects.send(server).unwrap();
        let (mut connection, ()) = listener.accept().await;
        let talks = async {
            loop {
                if endless.write_all(b"x").await.is_err() {
                    std::future::pending::<()>().await;
                }
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        };
        let hears = async { while connection.read_u8().await.is_ok() {} };
        tokio::select! {
            () = talks => {}
            () = hears => {}
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_more_than_there_are_places_ends_the_oldest() {
        let (connects, mut listener) = listening(2, Duration::from_secs(60));
        let mut clients = Vec::new();
        let mut served = Vec::new();
        for _ in 0..2 {
            let (client, server) = tokio::io::duplex(4);
            connects.send(server).unwrap();
            clients.push(client);
            served.push(listener.accept().await.0);
        }
        let (client, server) = tokio::io::duplex(4);
        connects.send(server).unwrap();
        clients.push(client);
        let mut oldest = served.remove(0);
        let leaves = async move {
            let read = oldest.read_u8().await;
            assert!(is_ended(&read), "{read:?}");
        };
        let ((), (mut newest, ())) = tokio::join!(leaves, listener.accept());
        newest.write_all(b"ok").await.unwrap();
        served[0].write_all(b"ok").await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn who_leaves_gives_its_place_back() {
        let (connects, mut listener) = listening(1, Duration::from_secs(60));
        for _ in 0..3 {
            let (_client, server) = tokio::io::duplex(4);
            connects.send(server).unwrap();
            let (mut connection, ()) = listener.accept().await;
            connection.write_all(b"ok").await.unwrap();
        }
        assert!(listener.open.all().1.is_empty());
    }
}
