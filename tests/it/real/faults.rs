//! Every kind of fault at every step of a certificate's life, by proxies between the daemon and the real parts.
//!
//! Whatever goes wrong once, in the end there is one certificate, Rancher holds it, and the balancers were woken.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream;
use sandbox::certs::ServerTls;
use sandbox::certs::server_config;
use sandbox::faults::RetryAfter;
use sandbox::faults::Seen;
use sandbox::faults::What;
use sandbox::proxy::Kind;
use sandbox::proxy::Proxy;
use sandbox::proxy::Upstream;
use serde_json::Value;

use crate::real::scene::Scene;
use crate::support::Daemon;
use crate::support::Settings;
use crate::support::records::earlier;
use crate::support::records::moment;

mod authority;
mod orchestrator;

/// Daemons of one test at the same time.
const AT_ONCE: usize = 4;

/// Longer than what is waited in place (`SHORT` in the product's code), and than a clock's whole seconds.
const LATER: Duration = Duration::from_secs(3);

/// Proxies on the three ways of one daemon.
pub(crate) struct Between {
    pub(crate) authority: Proxy,
    pub(crate) api: Proxy,
    pub(crate) metadata: Proxy,
}

impl Between {
    pub(crate) async fn start(scene: &Scene, tls: &ServerTls) -> Self {
        let directory = scene.production.directory_url();
        let authority = Upstream {
            origin: directory.trim_end_matches("/dir").to_owned(),
            roots_pem: Some(std::fs::read_to_string(scene.path("acme-roots.pem")).unwrap()),
            kind: Kind::Pebble,
        };
        let plain = |origin, kind| Upstream { origin, roots_pem: None, kind };
        let api = plain(scene.rancher.origin(), Kind::Rancher);
        let metadata = plain(scene.rancher.metadata_url(), Kind::Metadata);
        Self {
            authority: Proxy::start(authority, Some(tls)).await.unwrap(),
            api: Proxy::start(api, Some(tls)).await.unwrap(),
            metadata: Proxy::start(metadata, None).await.unwrap(),
        }
    }

    /// The settings of a daemon that goes these ways and trusts nobody else.
    pub(crate) fn settings(&self, scene: &Scene) -> Settings {
        let roots = scene.path("proxy-roots.pem");
        let roots = roots.to_str().unwrap();
        scene
            .settings()
            .with("ACME_DIRECTORY", format!("{}/dir", self.authority.origin()))
            .with("ACME_CA_FILE", roots)
            .with("CATTLE_URL", format!("{}/v2-beta", self.api.origin()))
            .with("RANCHER_CA_FILE", roots)
            .with("RANCHER_METADATA_URL", self.metadata.origin())
    }
}

/// TLS for the proxies of a scene; what clients have to trust lies where their settings say.
pub(crate) fn proxy_tls(scene: &Scene) -> ServerTls {
    let tls = server_config(&[]);
    std::fs::write(scene.path("proxy-roots.pem"), &tls.root_pem).unwrap();
    tls
}

/// Everything that can go wrong with one request.
fn faults() -> Vec<What> {
    let later = |status, form| What::Later { status, after: LATER, form };
    vec![
        What::Close,
        What::DoThenClose,
        What::Stall,
        What::DoThenStall,
        What::Delay(Duration::from_millis(300)),
        What::Truncate,
        What::Endless(Bytes::from(vec![b' '; 1 << 16])),
        What::status(500),
        What::status(503),
        What::status(429),
        later(500, RetryAfter::Seconds),
        later(500, RetryAfter::Date),
        later(503, RetryAfter::Seconds),
        later(503, RetryAfter::Date),
        later(429, RetryAfter::Seconds),
        later(429, RetryAfter::Date),
    ]
}

/// What the log says of a fault.
fn said(way: Way, endpoint: &str, what: &What) -> &'static str {
    match what {
        // The names last known hold, and nothing else is the matter.
        _ if way == Way::Metadata => "",
        // A nonce is a header.
        What::Truncate | What::Endless(_) if endpoint == "new-nonce" => "",
        What::Later { status: 429, .. } => "429",
        What::Later { status: 500, .. } => "500",
        What::Later { .. } => "503",
        What::Answer(answer) if answer.status() == 429 => "429",
        What::Answer(answer) if answer.status() == 500 => "500",
        What::Answer(_) => "503",
        What::Close | What::DoThenClose => "connection",
        What::Truncate | What::Shorten => "error",
        What::Stall | What::DoThenStall => "timed out",
        // What is read in the time that there is may be less than the limit.
        What::Endless(_) if way == Way::Api => "",
        What::Endless(_) => "is larger than",
        What::Delay(_) | What::Hold(_) | What::DoThenHold(_) | What::Mangle(_) => "",
    }
}

/// One of the three ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Authority,
    Api,
    Metadata,
}

/// One fault at one step, for a daemon with a store of its own.
struct Case<'a> {
    scene: &'a Scene,
    tls: &'a ServerTls,
    number: usize,
    way: Way,
    endpoint: &'static str,
    what: What,
}

impl Case<'_> {
    fn name(&self) -> String {
        format!("n{}.example.com", self.number)
    }

    /// Runs a daemon until its certificate is where it belongs. Answers what the proxies saw of it.
    async fn run(self, prepare: impl Fn(&Scene, &str)) {
        let between = Between::start(self.scene, self.tls).await;
        let what = self.what.name();
        let (name, shown) = (self.name(), format!("{what} at {}", self.endpoint));
        let store = self.scene.path(&format!("store-{}", self.number));
        std::fs::create_dir(&store).unwrap();
        prepare(self.scene, &name);
        let faulty = match self.way {
            Way::Authority => &between.authority,
            Way::Api => &between.api,
            Way::Metadata => &between.metadata,
        };
        faulty.faults().add(self.endpoint, 1, self.what.clone());
        let settings = between
            .settings(self.scene)
            .with("LETSENCRYPT_ROOTDIR", store.to_str().unwrap())
            .with("CONNECT_TIMEOUT", "1")
            .with("DOMAINS", &name);
        let mut daemon = settings.clone().start();
        let mut before = String::new();
        if self.endpoint == "finalize" {
            let ends = |line: &Value| {
                let message = line["message"].as_str().unwrap_or_default();
                message == "more to do later" || message == "chain kept"
            };
            let line = daemon.next("the end of a try", ends).await;
            if line["message"] == "more to do later" {
                // Sent again it may bring another certificate: a minute passes before, on record.
                (_, before) = daemon.stop().await;
                self.let_an_hour_pass(&store, faulty, &shown);
                daemon = settings.start();
            }
        }
        self.ends_well(&mut daemon, &name, &shown, &before).await;
        if before.is_empty() {
            self.check_account(faulty, &shown, &daemon);
        }
        assert!(!store.join("rancher-lets-encrypt/wake-owed").exists());
        if self.way == Way::Authority {
            let leads_back = format!("{}/dir", faulty.origin());
            assert!(daemon.text().contains(&leads_back), "{}", daemon.text());
        }
    }

    /// Moves what is on record of the order an hour back, when it is left alone as long as the authority says.
    fn let_an_hour_pass(&self, store: &Path, faulty: &Proxy, shown: &str) {
        let path = store.join(format!("rancher-lets-encrypt/pending/{}.json", self.name()));
        let text = std::fs::read_to_string(&path).unwrap();
        let mut order: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
        if let What::Later { after, .. } = &self.what {
            let seen = faulty.faults().seen();
            let wrong = seen.iter().find(|seen| seen.fault.is_some()).unwrap();
            let rests = moment(&order["look_after"]);
            assert!(wrong.at + *after <= rests, "{shown}: {order:#}");
        }
        order["look_after"] = Value::Null;
        for time in order["finalized_at"].as_array_mut().unwrap() {
            *time = earlier(time, time::Duration::HOUR);
        }
        std::fs::write(path, order.to_string()).unwrap();
    }

    async fn ends_well(&self, daemon: &mut Daemon, name: &str, shown: &str, before: &str) {
        let rancher = &self.scene.rancher;
        let is_there = rancher.until(|model| {
            let held = model.certificate(name);
            held.is_some_and(|held| {
                held.description.as_deref().is_some_and(|text| text.contains("leaf="))
            })
        });
        daemon.brings(shown, is_there).await;
        daemon.says("balancers woken").await;
        daemon.settles().await;
        let certificates = rancher.certificates();
        let held = certificates.iter().filter(|held| held.name.as_deref() == Some(name));
        assert_eq!(held.count(), 1, "{shown}: {}", daemon.text());
        let text = format!("{before}{}", daemon.text());
        let said = said(self.way, self.endpoint, &self.what);
        assert!(text.contains(said), "{shown}: no word of `{said}`:\n{text}");
    }

    /// It went wrong, once, and what said when to come again was not asked before.
    fn check_account(&self, faulty: &Proxy, shown: &str, daemon: &Daemon) {
        let seen = faulty.faults().seen();
        let wrong: Vec<&Seen> = seen.iter().filter(|seen| seen.fault.is_some()).collect();
        let [wrong] = wrong[..] else { panic!("{shown}: {seen:?}\n{}", daemon.text()) };
        if let (Way::Authority, What::Later { after, .. }) = (self.way, &self.what) {
            let again = seen.iter().find(|seen| seen.at > wrong.at);
            let again = again.unwrap_or_else(|| panic!("{shown}: never asked again"));
            assert!(
                again.at >= wrong.at + *after,
                "{shown}: asked {} already at {}:\n{}",
                again.path,
                again.at,
                daemon.text()
            );
        }
    }
}

/// Each fault, for a certificate of its own, at each of these steps.
async fn check(way: Way, endpoints: &[&'static str], prepare: impl Fn(&Scene, &str)) {
    let scene = Scene::start().await;
    let steps =
        endpoints.iter().flat_map(|endpoint| faults().into_iter().map(|what| (*endpoint, what)));
    let steps: Vec<(&'static str, What)> = steps.collect();
    let count = steps.len();
    let (scene, tls, prepare) = (&scene, &proxy_tls(&scene), &prepare);
    let runs = steps.into_iter().enumerate().map(|(number, (endpoint, what))| {
        let case = Case { scene, tls, number, way, endpoint, what };
        case.run(prepare)
    });
    let runs = stream::iter(runs).buffer_unordered(AT_ONCE);
    runs.collect::<Vec<()>>().await;
    assert_eq!(scene.production.issued(), count);
}
