//! The adapters that make up the real world, and its clock.

use std::future::Future;
use std::sync::Arc;

use rancher_lets_encrypt::acme::AcmeAuthority;
use rancher_lets_encrypt::backends::rancher::Rancher;
use rancher_lets_encrypt::backends::rancher::api::Api;
use rancher_lets_encrypt::backends::rancher::base::Base;
use rancher_lets_encrypt::backends::rancher::metadata::Metadata;
use rancher_lets_encrypt::client;
use rancher_lets_encrypt::client::Roots;
use rancher_lets_encrypt::config::Config;
use rancher_lets_encrypt::config::Fault;
use rancher_lets_encrypt::config::Faults;
use rancher_lets_encrypt::disk::RealDisk;
use rancher_lets_encrypt::ports::Clock;
use rancher_lets_encrypt::ports::World;
use rancher_lets_encrypt::ports::counted::CountedAuthority;
use rancher_lets_encrypt::ports::counted::CountedDestination;
use rancher_lets_encrypt::ports::counted::CountedSource;
use rancher_lets_encrypt::ports::counted::Counts;
use rancher_lets_encrypt::ports::counted::Directories;
use rancher_lets_encrypt::solvers::webroot::Webroot;
use time::Duration;
use time::OffsetDateTime;

/// The one place where the machine's clock is read.
#[expect(clippy::disallowed_methods, reason = "the clock port begins here")]
pub(crate) fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}

pub(crate) struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> OffsetDateTime {
        now()
    }

    fn sleep(&self, time: Duration) -> impl Future<Output = ()> + Send {
        tokio::time::sleep(time.try_into().unwrap_or_default())
    }
}

/// The adapters that make up the real world.
pub(crate) struct Adapters {
    pub(crate) source: CountedSource<Arc<Metadata>>,
    pub(crate) destination: CountedDestination<Rancher>,
    pub(crate) authority: CountedAuthority<AcmeAuthority>,
    pub(crate) counts: Arc<Counts>,
    pub(crate) webroot: Webroot,
    pub(crate) disk: Arc<RealDisk>,
}

impl Adapters {
    pub(crate) fn new(config: &Config) -> Result<Self, Faults> {
        let mut faults = Vec::new();
        let rancher_roots = Roots { extra: config.rancher_ca.clone(), is_extra_only: false };
        let acme_roots =
            Roots { is_extra_only: config.acme_ca.is_some(), extra: config.acme_ca.clone() };
        let mut build = |name, builder: Result<reqwest::ClientBuilder, String>| {
            let built = builder
                .and_then(|builder| builder.build().map_err(|error| client::explain(&error)));
            built.map_err(|accepted| faults.push(Fault { name, value: None, accepted })).ok()
        };
        let timeout = config.connect_timeout;
        let rancher =
            build("RANCHER_CA_FILE", client::with_roots(client::builder(timeout), &rancher_roots));
        let acme = build("ACME_CA_FILE", client::with_roots(client::builder(timeout), &acme_roots));
        // Plain HTTP on the host's own network: no roots, no proxy.
        let metadata = build(
            "RANCHER_METADATA_URL",
            client::with_roots(client::builder(timeout).no_proxy(), &Roots::default()),
        );
        let webroot = Webroot::new(
            &config.webroot,
            config.self_check_port,
            config.self_check_address.as_deref(),
            timeout,
        );
        let webroot = webroot
            .map_err(|accepted| faults.push(Fault { name: "SELF_CHECK", value: None, accepted }))
            .ok();
        let (Some(rancher), Some(acme), Some(metadata), Some(webroot)) =
            (rancher, acme, metadata, webroot)
        else {
            return Err(Faults(faults));
        };
        let base = Base::parse(&config.rancher_url);
        let api = Api::new(
            rancher,
            base,
            config.rancher_access_key.clone(),
            config.rancher_secret_key.clone(),
        );
        let directories = Directories {
            production: config.production_directory.to_string(),
            staging: config.staging_directory.to_string(),
        };
        let counts = Arc::new(Counts::new(directories, now));
        let metadata = Arc::new(Metadata::new(metadata, &config.metadata_url));
        let rancher = Rancher::new(api, Arc::clone(&metadata));
        Ok(Self {
            source: CountedSource::new(metadata, Arc::clone(&counts)),
            destination: CountedDestination::new(rancher, Arc::clone(&counts)),
            authority: CountedAuthority::new(
                AcmeAuthority::new(acme, Arc::new(now)),
                Arc::clone(&counts),
            ),
            counts,
            webroot,
            disk: Arc::new(RealDisk::default()),
        })
    }
}

impl World for Adapters {
    type Source = CountedSource<Arc<Metadata>>;
    type Destination = CountedDestination<Rancher>;
    type Authority = CountedAuthority<AcmeAuthority>;
    type Solver = Webroot;
    type Disk = RealDisk;
    type Clock = SystemClock;

    fn source(&self) -> &Self::Source {
        &self.source
    }

    fn destination(&self) -> &Self::Destination {
        &self.destination
    }

    fn authority(&self) -> &Self::Authority {
        &self.authority
    }

    fn solver(&self) -> &Webroot {
        &self.webroot
    }

    fn disk(&self) -> &Arc<RealDisk> {
        &self.disk
    }

    fn clock(&self) -> &SystemClock {
        &SystemClock
    }
}
