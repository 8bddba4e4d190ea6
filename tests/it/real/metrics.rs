//! What Prometheus reads, held against its own parser, and the alert rules that build on it.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Stdio;

use sandbox::authority::problem::Problem;
use sandbox::faults::What;
use sandbox::parts::port::Port;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::support::World;
use crate::support::guarded;
use crate::support::look::look;

const A: &str = "a.example.com";
const B: &str = "b.example.com";
const PREFIX: &str = "rancher_lets_encrypt_";
const RULES: &str = include_str!("../../../docs/alerts.yml");
const DOCUMENT: &str = include_str!("../../../docs/metrics.md");

/// The values of one scrape by series, as `name{label="..."}` without our prefix.
struct Scrape {
    text: String,
    values: BTreeMap<String, f64>,
}

impl Scrape {
    /// Scrapes, and shows the answer to Prometheus' own parser and lint.
    async fn of(port: &Port) -> Self {
        let page = look(port, "/metrics").await;
        let head = page.head.to_lowercase();
        assert!(head.starts_with("http/1.0 200 "), "{head}");
        let kind = "\r\ncontent-type: text/plain; version=0.0.4; charset=utf-8\r\n";
        assert!(format!("{head}\r\n").contains(kind), "{head}");
        let complaints = promtool(&["check", "metrics"], &page.body).await;
        assert_eq!(complaints, "", "{}", page.body);
        let samples = page.body.lines().filter(|line| !line.starts_with('#'));
        let values = samples.map(|line| {
            let (series, value) = line.rsplit_once(' ').unwrap();
            let series = series.strip_prefix(PREFIX).unwrap_or(series);
            (series.to_owned(), value.parse().unwrap())
        });
        Self { values: values.collect(), text: page.body }
    }

    #[track_caller]
    fn value(&self, series: &str) -> f64 {
        let value = self.values.get(series).copied();
        value.unwrap_or_else(|| panic!("no {series} in\n{}", self.text))
    }

    #[track_caller]
    fn check(&self, expected: &[(&str, f64)]) {
        for (series, value) in expected {
            assert_eq!(self.value(series), *value, "{series} in\n{}", self.text);
        }
    }

    fn has(&self, name: &str) -> bool {
        let is_it = |series: &str| series.split('{').next() == Some(name);
        self.values.keys().any(|series| is_it(series))
    }

    /// The names of all families, also of those without a sample.
    fn families(&self) -> BTreeSet<&str> {
        let types = self.text.lines().filter_map(|line| {
            let name = line.strip_prefix("# TYPE ")?.split(' ').next()?;
            Some(name.strip_prefix(PREFIX).unwrap_or(name))
        });
        types.collect()
    }
}

/// What it complains about; nothing if all is well.
async fn promtool(arguments: &[&str], input: &str) -> String {
    let mut child = Command::new("promtool")
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let writing = async {
        stdin.write_all(input.as_bytes()).await.unwrap();
        drop(stdin);
    };
    let running = async { tokio::join!(writing, child.wait_with_output()).1.unwrap() };
    let output = guarded("promtool", running).await;
    if output.status.success() && output.stderr.is_empty() {
        return String::new();
    }
    let texts = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
    format!("{}: {}", output.status, texts.concat())
}

fn not_after(pem: &Path) -> f64 {
    let pem = std::fs::read_to_string(pem).unwrap();
    let shown = rancher_lets_encrypt::core::certificate::CertificateChain::parse(&pem, "").unwrap();
    (shown.leaf.not_after - time::OffsetDateTime::UNIX_EPOCH).as_seconds_f64()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_well_is_told_with_its_dates() {
    let world = World::start().await;
    world.announce("web", "shop", A);
    let (mut daemon, port) = world.settings().start_seen().await;
    world.pushed(A).await;
    daemon.settles().await;
    let scrape = Scrape::of(&port).await;
    let ends = not_after(&world.live(A, "cert.pem"));
    let dates = |metric: &str, place: &str| {
        scrape.value(&format!("certificate_{metric}_timestamp_seconds{{name=\"{A}\"{place}}}"))
    };
    assert_eq!(dates("not_after", ",place=\"store\""), ends);
    assert_eq!(dates("not_after", ",place=\"destination\""), ends);
    let begins = dates("not_before", ",place=\"store\"");
    let due = dates("renewal_due", "");
    assert!(begins < due && due < ends, "{begins} {due} {ends}");
    let start = scrape.value("process_start_time_seconds");
    for metric in [
        "certificate_last_success_timestamp_seconds{name=\"a.example.com\"}",
        "authority_last_success_timestamp_seconds{directory=\"production\"}",
        "destination_last_success_timestamp_seconds",
        "source_last_success_timestamp_seconds",
        "last_pass_timestamp_seconds",
        "next_pass_timestamp_seconds",
        "loop_turned_timestamp_seconds",
    ] {
        assert!(start <= scrape.value(metric), "{metric}");
    }
    scrape.check(&[
        ("certificate_state{name=\"a.example.com\",health=\"ok\",action=\"keep\"}", 1.0),
        ("certificates{health=\"ok\"}", 1.0),
        ("certificates{health=\"working\"}", 0.0),
        ("certificates{health=\"waiting\"}", 0.0),
        ("certificates{health=\"attention\"}", 0.0),
        ("certificates{health=\"at-risk\"}", 0.0),
        ("certificates_by_action{action=\"keep\"}", 1.0),
        ("certificates_by_action{action=\"issue\"}", 0.0),
        ("certificates_needing_attention", 0.0),
        ("names_left_out", 0.0),
        ("tries_total{job=\"obtain\",result=\"ok\"}", 1.0),
        ("tries_total{job=\"obtain\",result=\"failed\"}", 0.0),
        ("authority_answers_total{directory=\"production\",answer=\"unavailable\"}", 0.0),
        ("authority_answers_total{directory=\"staging\",answer=\"ok\"}", 0.0),
        ("destination_answers_total{answer=\"unavailable\"}", 0.0),
        ("source_answers_total{answer=\"unavailable\"}", 0.0),
        ("waits{directory=\"production\",kind=\"name\"}", 0.0),
        ("part_needs_attention{part=\"destination\"}", 0.0),
        ("wake_owed", 0.0),
        ("phase{phase=\"running\"}", 1.0),
        ("phase{phase=\"standing-by\"}", 0.0),
        (concat!("build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"}"), 1.0),
    ]);
    let once = "authority_answers_total{directory=\"production\",answer=\"ok\"}";
    // Account, order, authorization, told, looked at, finalized, downloaded.
    assert!(scrape.value(once) >= 7.0, "{}", scrape.text);
    assert!(scrape.value("source_answers_total{answer=\"ok\"}") >= 1.0);
    let passes = scrape.value("passes_total");
    daemon.passes(1).await;
    let later = Scrape::of(&port).await;
    assert!(passes < later.value("passes_total"));
    // Nothing is asked of the CA in a pass with nothing to do, and Rancher is read.
    assert_eq!(scrape.value(once), later.value(once));
    let reads = "destination_answers_total{answer=\"ok\"}";
    assert!(scrape.value(reads) < later.value(reads));
    // Every metric is in the document, and the other way round.
    let rows = DOCUMENT.lines();
    let documented = rows.filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    assert_eq!(later.families(), documented.collect());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_fails_is_told_by_kind_and_every_alert_has_its_metrics() {
    let world = World::start().await;
    world.production.set(|settings| {
        settings.unresolved.insert(B.to_owned());
    });
    let hosts = "\"} 1 \\\" \\n \n# TYPE x gauge, xn--bcher-kva.example.com";
    world.announce("a\"} 2\n", "{x=\"\\", hosts);
    let settings =
        world.settings().with("CA_LIMITS", "letsencrypt").with("DOMAINS", format!("{A}, {B}"));
    let (mut daemon, port) = settings.start_seen().await;
    world.pushed(A).await;
    world.pushed("xn--bcher-kva.example.com").await;
    daemon.settles().await;
    let scrape = Scrape::of(&port).await;
    scrape.check(&[
        ("certificate_state{name=\"b.example.com\",health=\"attention\",action=\"wait\"}", 1.0),
        ("certificates{health=\"attention\"}", 1.0),
        ("certificates{health=\"ok\"}", 2.0),
        ("certificates_needing_attention", 1.0),
        ("tries_total{job=\"obtain\",result=\"failed\"}", 1.0),
        ("tries_total{job=\"obtain\",result=\"ok\"}", 2.0),
        ("waits{directory=\"production\",kind=\"name\"}", 1.0),
        ("budget_used{directory=\"production\",kind=\"failed-validations\"}", 1.0),
        ("budget_limit{directory=\"production\",kind=\"failed-validations\"}", 5.0),
        ("budget_limit{directory=\"production\",kind=\"certificates-per-domain\"}", 50.0),
    ]);
    assert!(scrape.value("names_left_out") >= 1.0);
    let failures = scrape.values.iter();
    let failures: f64 = failures
        .filter(|(series, _)| series.starts_with("certificates_by_failure{"))
        .map(|(_, value)| value)
        .sum();
    assert_eq!(failures, 1.0, "{}", scrape.text);
    let names = scrape.values.keys();
    let names = names.filter(|series| series.starts_with("certificate_state{"));
    assert_eq!(names.count(), 3);
    // Every metric that an alert is about is there.
    let named: BTreeSet<&str> = RULES
        .split(PREFIX)
        .skip(1)
        .map(|rest| {
            let end = rest.find(|char: char| !char.is_ascii_lowercase() && char != '_');
            &rest[..end.unwrap_or(rest.len())]
        })
        .collect();
    assert!(named.len() > 10, "{named:?}");
    for name in named {
        assert!(scrape.has(name), "docs/alerts.yml names {name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_are_none_are_counted_by_kind() {
    let world = World::start().await;
    let limited = Problem::new(429, "rateLimited", "too many \"orders\"\n# x");
    let faults = world.production.faults();
    faults.add("new-order", 1, What::Answer(limited.response()));
    let settings = world.settings().with("DOMAINS", A).with("DYNAMIC_CONFIG", "False");
    let (mut daemon, port) = settings.start_seen().await;
    daemon.settles().await;
    let scrape = Scrape::of(&port).await;
    scrape.check(&[
        ("authority_answers_total{directory=\"production\",answer=\"rate-limited\"}", 1.0),
        ("authority_answers_total{directory=\"production\",answer=\"ok\"}", 1.0),
        ("tries_total{job=\"obtain\",result=\"failed\"}", 1.0),
        ("certificates{health=\"attention\"}", 1.0),
        // Not asked, though Rancher is.
        ("source_answers_total{answer=\"ok\"}", 0.0),
        ("source_answers_total{answer=\"unavailable\"}", 0.0),
    ]);
    assert!(!scrape.has("source_last_success_timestamp_seconds"));
    assert!(!scrape.has("certificate_last_success_timestamp_seconds"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rancher_that_cannot_be_read_is_told() {
    let world = World::start().await;
    let nobody = Port::claim();
    let url = format!("http://127.0.0.1:{}/v2-beta", nobody.number());
    let settings = world.settings().with("DOMAINS", A).with("CATTLE_URL", url);
    let (mut daemon, port) = settings.start_seen().await;
    daemon.settles().await;
    let scrape = Scrape::of(&port).await;
    scrape.check(&[
        ("part_needs_attention{part=\"destination\"}", 1.0),
        ("destination_answers_total{answer=\"ok\"}", 0.0),
        ("certificates{health=\"waiting\"}", 1.0),
    ]);
    assert!(scrape.value("destination_answers_total{answer=\"unavailable\"}") >= 1.0);
    assert!(scrape.value("source_answers_total{answer=\"ok\"}") >= 1.0);
    assert!(!scrape.has("destination_last_success_timestamp_seconds"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_that_stands_by_says_so() {
    let world = World::start().await;
    let settings = world.settings().with("DOMAINS", A);
    let mut first = settings.clone().start();
    first.passes(0).await;
    let (mut second, port) = settings.start_seen().await;
    second.says("not started yet").await;
    let scrape = Scrape::of(&port).await;
    scrape.check(&[
        ("phase{phase=\"standing-by\"}", 1.0),
        ("phase{phase=\"running\"}", 0.0),
        ("passes_total", 0.0),
        ("certificates{health=\"ok\"}", 0.0),
    ]);
    assert!(!scrape.has("certificate_state"));
    assert!(!scrape.has("loop_turned_timestamp_seconds"));
    assert!(look(&port, "/healthz").await.head.contains(" 200 "));
    assert!(look(&port, "/readyz").await.head.contains(" 503 "));
}

#[test]
fn each_alert_is_tested_where_it_fires_and_where_it_stays_quiet() {
    let mut tested: BTreeMap<&str, BTreeSet<bool>> = BTreeMap::new();
    for case in include_str!("../../alerts.yml").split("- eval_time: ").skip(1) {
        let (_, rest) = case.split_once("alertname: ").unwrap();
        let (name, rest) = rest.split_once('\n').unwrap_or((rest, ""));
        tested.entry(name).or_default().insert(rest.trim_start().starts_with("exp_alerts:"));
    }
    let both = BTreeSet::from([false, true]);
    let rules = RULES.lines().filter_map(|line| line.trim().strip_prefix("- alert: "));
    let expected: BTreeMap<&str, BTreeSet<bool>> = rules.map(|name| (name, both.clone())).collect();
    assert!(expected.len() > 10);
    assert_eq!(tested, expected);
}

#[tokio::test]
async fn the_alert_rules_say_what_they_should() {
    for arguments in [["check", "rules", "docs/alerts.yml"], ["test", "rules", "tests/alerts.yml"]]
    {
        assert_eq!(promtool(&arguments, "").await, "");
    }
}
