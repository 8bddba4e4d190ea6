//! The adapters that make up the real world, and its clock.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use rancher_lets_encrypt::acme::AcmeAuthority;
use rancher_lets_encrypt::backends::host::Host;
use rancher_lets_encrypt::backends::rancher::Rancher;
use rancher_lets_encrypt::backends::rancher::api::Api;
use rancher_lets_encrypt::backends::rancher::base::Base;
use rancher_lets_encrypt::backends::rancher::metadata::Metadata;
use rancher_lets_encrypt::client;
use rancher_lets_encrypt::client::Roots;
use rancher_lets_encrypt::config::Config;
use rancher_lets_encrypt::config::Delivery;
use rancher_lets_encrypt::config::Fault;
use rancher_lets_encrypt::config::Faults;
use rancher_lets_encrypt::core::bundle::KeyType;
use rancher_lets_encrypt::core::bundle::Secret;
use rancher_lets_encrypt::core::held::Abilities;
use rancher_lets_encrypt::core::held::Activated;
use rancher_lets_encrypt::core::held::Announcement;
use rancher_lets_encrypt::core::held::CertificateId;
use rancher_lets_encrypt::core::held::Held;
use rancher_lets_encrypt::core::held::Ownership;
use rancher_lets_encrypt::core::held::Retrieved;
use rancher_lets_encrypt::core::held::Upload;
use rancher_lets_encrypt::core::held::User;
use rancher_lets_encrypt::core::held::UserId;
use rancher_lets_encrypt::core::held::Which;
use rancher_lets_encrypt::core::held::Words;
use rancher_lets_encrypt::core::names::DomainName;
use rancher_lets_encrypt::core::problem::DestinationError;
use rancher_lets_encrypt::core::problem::NoData;
use rancher_lets_encrypt::disk::RealDisk;
use rancher_lets_encrypt::ports::Clock;
use rancher_lets_encrypt::ports::Destination;
use rancher_lets_encrypt::ports::Source;
use rancher_lets_encrypt::ports::World;
use rancher_lets_encrypt::ports::counted::CountedAuthority;
use rancher_lets_encrypt::ports::counted::CountedDestination;
use rancher_lets_encrypt::ports::counted::CountedSource;
use rancher_lets_encrypt::ports::counted::Counts;
use rancher_lets_encrypt::ports::counted::Directories;
use rancher_lets_encrypt::ports::new_key::new_key;
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

/// The source that the settings name.
pub(crate) enum Announcements {
    Metadata(Arc<Metadata>),
    /// Names come from `DOMAINS` only.
    Nobody,
}

impl Source for Announcements {
    async fn announcements(&self) -> Result<Vec<Announcement>, NoData> {
        match self {
            Self::Metadata(metadata) => metadata.announcements().await,
            Self::Nobody => Ok(Vec::new()),
        }
    }

    async fn changed(&self) -> Result<(), NoData> {
        match self {
            Self::Metadata(metadata) => metadata.changed().await,
            Self::Nobody => std::future::pending().await,
        }
    }
}

/// The destination that the settings name.
pub(crate) enum Place {
    Rancher(Box<Rancher>),
    Host(Host),
}

/// Hands a call to the one that is meant.
macro_rules! hand {
    ($place:expr, $call:ident ( $($argument:expr),* ) $($wait:tt)*) => {
        match $place {
            Place::Rancher(rancher) => rancher.$call($($argument),*)$($wait)*,
            Place::Host(host) => host.$call($($argument),*)$($wait)*,
        }
    };
}

impl Destination for Place {
    fn describe(&self) -> Words {
        hand!(self, describe())
    }

    fn can(&self) -> Abilities {
        hand!(self, can())
    }

    async fn list(&self) -> Result<Vec<Held>, DestinationError> {
        hand!(self, list().await)
    }

    async fn look(&self, which: Which<'_>) -> Result<Option<Held>, DestinationError> {
        hand!(self, look(which).await)
    }

    async fn put(
        &self,
        name: &str,
        replaces: Option<&Held>,
        upload: &Upload,
        ownership: Option<&Ownership>,
    ) -> Result<Held, DestinationError> {
        hand!(self, put(name, replaces, upload, ownership).await)
    }

    async fn retrieve(&self, id: &CertificateId) -> Result<Retrieved, DestinationError> {
        hand!(self, retrieve(id).await)
    }

    async fn users(&self) -> Result<Vec<User>, DestinationError> {
        hand!(self, users().await)
    }

    async fn activate(&self, changed: &[CertificateId]) -> Result<Activated, DestinationError> {
        hand!(self, activate(changed).await)
    }

    async fn served(
        &self,
        user: &UserId,
        name: &DomainName,
    ) -> Result<Vec<SocketAddr>, DestinationError> {
        hand!(self, served(user, name).await)
    }
}

/// The adapters that make up the real world.
pub(crate) struct Adapters {
    pub(crate) source: CountedSource<Announcements>,
    pub(crate) destination: CountedDestination<Place>,
    pub(crate) authority: CountedAuthority<AcmeAuthority>,
    pub(crate) counts: Arc<Counts>,
    pub(crate) webroot: Webroot,
    pub(crate) disk: Arc<RealDisk>,
}

impl Adapters {
    pub(crate) fn new(config: &Config) -> Result<Self, Faults> {
        let mut faults = Vec::new();
        let rancher_roots = Roots {
            extra: config.rancher_ca.clone(),
            is_extra_only: false,
            setting: Some("RANCHER_CA_FILE"),
        };
        let acme_roots = Roots {
            is_extra_only: config.acme_ca.is_some(),
            extra: config.acme_ca.clone(),
            setting: Some("ACME_CA_FILE"),
        };
        let mut build = |name, builder: Result<reqwest::ClientBuilder, String>| {
            let built = builder
                .and_then(|builder| builder.build().map_err(|error| client::explain(&error)));
            built.map_err(|accepted| faults.push(Fault { name, value: None, accepted })).ok()
        };
        let timeout = config.connect_timeout;
        let rancher = match &config.rancher_proxy {
            Some(proxy) => client::through(client::builder(timeout), proxy),
            None => Ok(client::builder(timeout)),
        };
        let rancher = rancher.and_then(|builder| client::with_roots(builder, &rancher_roots));
        let rancher = build("RANCHER_CA_FILE", rancher);
        let acme = client::with_roots(client::builder_by_variables(timeout), &acme_roots);
        let acme = build("ACME_CA_FILE", acme);
        // Plain HTTP on the host's own network: no roots.
        let metadata = client::with_roots(client::builder(timeout), &Roots::default());
        let metadata = build("RANCHER_METADATA_URL", metadata);
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
        let mut api = Api::new(
            rancher,
            base,
            config.rancher_access_key.clone(),
            config.rancher_secret_key.clone(),
        );
        if let Some(proxy) = &config.rancher_proxy {
            api = api.through(client::without_user(proxy.reveal()));
        }
        let api = Arc::new(api);
        let directories = Directories {
            production: config.production_directory.to_string(),
            staging: config.staging_directory.to_string(),
        };
        let counts = Arc::new(Counts::new(directories, now));
        let (source, destination) = match &config.delivery {
            Delivery::Rancher => {
                let metadata = Metadata::new(metadata, &config.metadata_url, Arc::clone(&api));
                let metadata = Arc::new(metadata);
                let rancher = Rancher::new(api, Arc::clone(&metadata));
                (Announcements::Metadata(metadata), Place::Rancher(Box::new(rancher)))
            }
            Delivery::Host(folder) => {
                (Announcements::Nobody, Place::Host(Host::new(folder.clone())))
            }
        };
        Ok(Self {
            source: CountedSource::new(source, Arc::clone(&counts)),
            destination: CountedDestination::new(destination, Arc::clone(&counts)),
            authority: CountedAuthority::new(
                AcmeAuthority::new(acme, Arc::new(now)),
                Arc::clone(&counts),
            ),
            counts,
            webroot,
            disk: Arc::new(RealDisk::new(&config.store)),
        })
    }
}

impl World for Adapters {
    type Source = CountedSource<Announcements>;
    type Destination = CountedDestination<Place>;
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

    /// Whatever else this thread has to do goes on elsewhere meanwhile.
    fn new_key(&self, kind: KeyType) -> Result<Secret, String> {
        tokio::task::block_in_place(|| new_key(kind))
    }
}
