//! The long poll of metadata, which old servers do not end by themselves or answer at once.

use std::io;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use rancher_lets_encrypt::backends::rancher::api::Api;
use rancher_lets_encrypt::backends::rancher::base::Base;
use rancher_lets_encrypt::backends::rancher::metadata::Metadata;
use rancher_lets_encrypt::client;
use rancher_lets_encrypt::client::Roots;
use rancher_lets_encrypt::core::bundle::Secret;
use rancher_lets_encrypt::ports::Source as _;
use sandbox::rancher::age::Age;
use sandbox::rancher::age::Cattle;
use sandbox::rancher::age::Server;
use sandbox::rancher::settings::Availability;
use sandbox::rancher::settings::Role;
use tracing_subscriber::fmt::MakeWriter;

use crate::support::World;
use crate::support::guarded;
use crate::support::platform::http_client;

/// What the log says of this thread.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

/// The source as the daemon has it, but for the times that it waits.
pub(super) fn source(world: &World, poll: Duration) -> Metadata {
    let (access, secret) = world.rancher.key(Role::Environment);
    let base = Base::parse(&world.rancher.api_url().parse().unwrap());
    let api = Api::new(http_client(), base, Secret::new(access), Secret::new(secret));
    let builder = client::builder(Duration::from_secs(1)).no_proxy();
    let client = client::with_roots(builder, &Roots::default()).unwrap().build().unwrap();
    let url = world.rancher.metadata_url().parse().unwrap();
    Metadata::new(client, &url, Arc::new(api)).polling(poll)
}

async fn polls(world: &World, more: usize) {
    let faults = world.rancher.metadata_faults();
    let until = faults.count("wait") + more;
    let is_polled = |seen: &[sandbox::faults::Seen]| {
        until <= seen.iter().filter(|seen| seen.endpoint == "wait").count()
    };
    guarded("polls", faults.until(is_polled)).await;
}

/// A server that is healthy and idle for years.
#[tokio::test]
async fn a_poll_that_only_timed_out_is_no_failure_and_says_nothing() {
    for server in [Server::V0_6_8, Server::V0_7_0] {
        let world = World::of_age(Age { server, cattle: Cattle::V0_174_3 }).await;
        let metadata = source(&world, Duration::from_millis(30));
        let log = Log::default();
        let subscriber = tracing_subscriber::fmt().with_writer(log.clone()).finish();
        let _guard = tracing::subscriber::set_default(subscriber);
        // The first look is always a change.
        guarded("the first look", metadata.changed()).await.unwrap();
        let changed = metadata.changed();
        tokio::pin!(changed);
        tokio::select! {
            answer = &mut changed => panic!("nothing has changed: {answer:?}"),
            () = polls(&world, 4) => {}
        }
        assert_eq!(log.text(), "");

        // A change between two polls, or while one lasts.
        world.rancher.reload_metadata();
        guarded("the change", changed).await.unwrap();
        assert_eq!(log.text(), "");
    }
}

/// Silence alone does not tell the two from each other.
#[tokio::test]
async fn a_server_that_died_while_it_was_polled_is_told() {
    let world = World::of_age(Age { server: Server::V0_6_8, cattle: Cattle::V0_174_3 }).await;
    let metadata = source(&world, Duration::from_millis(30));
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt().with_writer(log.clone()).finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    guarded("the first look", metadata.changed()).await.unwrap();
    world.rancher.metadata_is(Availability::Stalls).await.unwrap();
    guarded("the end of the poll", metadata.changed()).await.unwrap_err();
    assert_eq!(log.text().matches("metadata does not answer").count(), 1, "{}", log.text());
}
