//! Certificates of servers as people make them with `openssl`: which are taken, and what is said of the others.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use rancher_lets_encrypt::client;
use rancher_lets_encrypt::client::Roots;
use rustls::ServerConfig;
use rustls::SupportedProtocolVersion;
use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use rustls::server::NoServerSessionStorage;
use rustls::sign::CertifiedKey;
use rustls::sign::SingleCertAndKey;
use rustls::version::TLS12;
use rustls::version::TLS13;
use sandbox::faults::What;

use crate::support::World;

/// A folder with `key.pem` and `cert.pem`, made by commands of the shell.
struct Made(tempfile::TempDir);

impl Made {
    #[track_caller]
    fn by(commands: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut shell = Command::new("sh");
        let output = shell.args(["-ec", commands]).current_dir(&dir).output().unwrap();
        assert!(output.status.success(), "{commands}: {output:?}");
        Self(dir)
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }

    fn certificate(&self) -> Vec<CertificateDer<'static>> {
        CertificateDer::pem_file_iter(self.path("cert.pem")).unwrap().map(Result::unwrap).collect()
    }

    /// A server with this certificate, and the key of another one if there is one.
    fn config(
        &self,
        versions: &[&'static SupportedProtocolVersion],
        other: Option<&Self>,
    ) -> Arc<ServerConfig> {
        let key = PrivateKeyDer::from_pem_file(other.unwrap_or(self).path("key.pem")).unwrap();
        let key = ring::sign::any_supported_type(&key).unwrap();
        // Whatever a server checks is left out: it is the client that must not be led.
        let resolver = SingleCertAndKey::from(CertifiedKey::new(self.certificate(), key));
        let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let builder = builder.with_protocol_versions(versions).unwrap().with_no_client_auth();
        let mut config = builder.with_cert_resolver(Arc::new(resolver));
        // Each handshake is a whole one, so that the certificate is looked at each time.
        config.send_tls13_tickets = 0;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        Arc::new(config)
    }
}

const EC: &str = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1";
const RSA: &str = "-newkey rsa:2048";
const LEAF: &str = "-addext basicConstraints=critical,CA:FALSE";
const SAN: &str = "-addext subjectAltName=IP:127.0.0.1";

/// Signs itself, with these options.
fn itself(options: &str) -> Made {
    Made::by(&format!(
        "openssl req -x509 {EC} -nodes -days 825 -subj /CN=127.0.0.1 {options} -keyout key.pem -out cert.pem"
    ))
}

/// X.509 version 1, as many recipes make it.
fn version_1(key: &str) -> Made {
    Made::by(&format!(
        "openssl req -new {key} -nodes -subj /CN=127.0.0.1 -keyout key.pem -out csr.pem
         openssl x509 -req -days 825 -in csr.pem -signkey key.pem -out cert.pem
         openssl x509 -in cert.pem -noout -text | grep -q 'Version: 1'"
    ))
}

/// Right but for its dates.
fn dated(from: &str, until: &str) -> Made {
    Made::by(&format!(
        "printf '[ca]\ndefault_ca=d\n[d]\ndatabase=index\nserial=serial\nnew_certs_dir=.\ndefault_md=sha256\npolicy=p\nx509_extensions=e\n[p]\ncommonName=supplied\n[e]\nsubjectAltName=IP:127.0.0.1\nbasicConstraints=critical,CA:FALSE\n' > ca.cnf
         : > index; echo 01 > serial
         openssl req -new {EC} -nodes -subj /CN=127.0.0.1 -keyout key.pem -out csr.pem
         openssl ca -batch -selfsign -config ca.cnf -keyfile key.pem -in csr.pem -startdate {from} -enddate {until} -notext -out cert.pem"
    ))
}

/// Right, by a CA that nobody knows.
fn of_a_ca() -> Made {
    Made::by(&format!(
        "openssl req -x509 {EC} -nodes -days 825 -subj '/CN=Our own CA' -keyout ca-key.pem -out ca.pem
         openssl req -new {EC} -nodes -subj /CN=127.0.0.1 -keyout key.pem -out csr.pem
         printf 'subjectAltName=IP:127.0.0.1\nbasicConstraints=critical,CA:FALSE\n' > ext
         openssl x509 -req -days 825 -in csr.pem -CA ca.pem -CAkey ca-key.pem -CAcreateserial -extfile ext -out cert.pem"
    ))
}

/// Serves Rancher's API with a certificate, and gives what is told of it without a file, then with it in the file.
async fn told_and_taken(world: &World, made: &Made) -> (String, Vec<serde_json::Value>) {
    let tls = made.config(&[&TLS12, &TLS13], None);
    let (front, settings) = world.rancher_over_tls(tls).await;
    let mut stranger = settings.clone().start();
    let line = stranger.says("Rancher cannot be read").await;
    stranger.stop().await;
    let mut daemon = settings.with("RANCHER_CA_FILE", made.path("cert.pem")).start();
    daemon.settles().await;
    world.pushed("a.example.com").await;
    assert_eq!(daemon.count("Rancher cannot be read"), 0, "{}", daemon.text());
    // One more handshake.
    world.rancher.faults().add_when(|_| true, 0, 1, What::Close);
    daemon.says("Rancher can be read again").await;
    let warned = daemon.with("out of its dates");
    daemon.stop().await;
    let told = line["error"].as_str().unwrap().to_owned();
    let begins = format!(
        "https://{}/v2-beta: the certificate of 127.0.0.1 is not trusted: ",
        front.address()
    );
    assert!(told.starts_with(&begins), "{told}");
    (told, warned)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_is_told_with_one_command_and_is_taken_from_the_file_as_it_is() {
    let world = World::start().await;
    let itself_too = "it has signed itself";
    for (made, faults) in [
        (itself(SAN), ["it is that of a CA (CA:TRUE)", itself_too]),
        (itself(LEAF), ["it has no subjectAltName", itself_too]),
        (
            itself(&format!("{LEAF} -addext subjectAltName=DNS:other.example.com")),
            ["it is for other.example.com, not for 127.0.0.1", itself_too],
        ),
        (version_1(EC), ["it is X.509 version 1", itself_too]),
        (of_a_ca(), ["its issuer is not trusted (CN=Our own CA)", "the certificate of its CA"]),
    ] {
        let (told, warned) = told_and_taken(&world, &made).await;
        for part in faults {
            assert!(told.contains(part), "{part}: {told}");
        }
        for part in ["`openssl req -x509", "subjectAltName=IP:127.0.0.1", "RANCHER_CA_FILE"] {
            assert!(told.contains(part), "{part}: {told}");
        }
        assert_eq!(warned.len(), 0, "{warned:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pinned_certificate_out_of_its_dates_is_told_once_and_taken() {
    let world = World::start().await;
    for (made, fault) in [
        (dated("20200101000000Z", "20210101000000Z"), "it has expired at 2021-01-01T00:00:00Z"),
        (
            dated("20900101000000Z", "20910101000000Z"),
            "it is not valid before 2090-01-01T00:00:00Z",
        ),
    ] {
        let (told, warned) = told_and_taken(&world, &made).await;
        assert!(told.contains(fault), "{told}");
        assert_eq!(warned.len(), 1, "{warned:?}");
        let warning = warned[0].to_string();
        assert!(warning.contains(fault) && warning.contains("RANCHER_CA_FILE"), "{warning}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_that_is_told_makes_a_right_one() {
    let world = World::start().await;
    let (told, _) = told_and_taken(&world, &itself(LEAF)).await;
    let command = told.split('`').find(|part| part.starts_with("openssl ")).unwrap();
    let (told, warned) = told_and_taken(&world, &Made::by(command)).await;
    assert!(told.contains("not trusted: it has signed itself, and is not in a file"), "{told}");
    assert_eq!(warned.len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_has_a_pinned_certificate_without_its_key_is_not_taken() {
    let world = World::start().await;
    // Any test may be the first.
    drop(ring::default_provider().install_default());
    for key in [EC, RSA] {
        let (made, other) = (version_1(key), version_1(key));
        let roots = Roots {
            extra: Some(std::fs::read(Path::new(&made.path("cert.pem"))).unwrap()),
            is_extra_only: true,
            setting: Some("ACME_CA_FILE"),
        };
        for version in [&TLS12, &TLS13] {
            for (foreign, is_taken) in [(None, true), (Some(&other), false)] {
                let tls = made.config(&[version], foreign);
                let front = world.rancher.api_over_tls(tls).await.unwrap();
                let builder = client::builder(std::time::Duration::from_secs(20));
                let client = client::with_roots(builder, &roots).unwrap().build().unwrap();
                let answer = client.get(format!("https://{}/", front.address())).send().await;
                let what = format!("{key} {version:?} {answer:?}");
                assert_eq!(answer.is_ok(), is_taken, "{what}");
                assert!(is_taken || what.contains("BadSignature"), "{what}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_is_told_of_an_authority() {
    let world = World::start().await;
    let made = itself(SAN);
    let front = world.rancher.api_over_tls(made.config(&[&TLS13], None)).await.unwrap();
    let mut daemon = world
        .settings()
        .with("ACME_DIRECTORY", format!("https://{}/directory", front.address()))
        .with("DOMAINS", "a.example.com")
        .start();
    let line = daemon.mentions("it is that of a CA (CA:TRUE)").await.to_string();
    assert!(line.contains("`openssl req -x509") && line.contains("ACME_CA_FILE"), "{line}");
}
