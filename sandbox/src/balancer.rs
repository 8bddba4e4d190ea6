//! A TLS server that does what Rancher's lb-controller does with certificates.
//!
//! It reads the certificates of its balancer when metadata has a new version, and at no other time:
//! a certificate that is changed in Rancher is not served before something else changes. A pair that
//! HAProxy would refuse makes it keep everything it had.

use std::io;
use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::sync::Arc;

use ring::digest::SHA256;
use ring::digest::digest;
use rustls::ClientConfig;
use rustls::DigitallySignedStruct;
use rustls::InconsistentKeys;
use rustls::RootCertStore;
use rustls::ServerConfig;
use rustls::SignatureScheme;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::client::danger::ServerCertVerified;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::ServerName;
use rustls::pki_types::UnixTime;
use rustls::pki_types::pem::PemObject;
use rustls::server::Acceptor;
use rustls::server::ClientHello;
use rustls::server::ResolvesServerCert;
use rustls::sign::CertifiedKey;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::TlsConnector;
use x509_parser::extensions::GeneralName;
use x509_parser::parse_x509_certificate;

use crate::rancher::Rancher;
use crate::rancher::model::Model;
use crate::rancher::model::Shared;
use crate::rancher::origin::hex;

/// A fatal alert of TLS, `unrecognized_name`, as a record.
const UNRECOGNIZED_NAME: [u8; 7] = [21, 3, 3, 0, 2, 2, 112];

/// A running balancer. Dropping it closes the port.
pub struct Balancer {
    address: SocketAddr,
    state: Arc<watch::Sender<Serving>>,
    _tasks: JoinSet<()>,
}

/// What a balancer serves, and what it has refused.
#[derive(Debug, Default)]
pub struct Serving {
    default: Option<Pair>,
    pairs: Vec<Pair>,
    errors: Vec<String>,
    reads: u64,
}

impl Balancer {
    /// Starts as the balancer with this id and loads its certificates.
    pub async fn start(rancher: &Rancher, service: &str) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let shared = rancher.shared();
        let mut serving = Serving::default();
        let version = serving.read(&shared.borrow(), service);
        let state = Arc::new(watch::Sender::new(serving));
        let mut tasks = JoinSet::new();
        tasks.spawn(follow(shared, Arc::clone(&state), service.to_owned(), version));
        tasks.spawn(accept(listener, Arc::clone(&state)));
        Ok(Self { address, state, _tasks: tasks })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// SHA-256 in hex of the leaf that is served for a name.
    pub fn serving(&self, name: &str) -> Option<String> {
        self.state.borrow().serving(name).map(str::to_owned)
    }

    /// Why configurations were refused, oldest first.
    pub fn errors(&self) -> Vec<String> {
        self.state.borrow().errors().to_vec()
    }

    /// Resolves when `done` says so of what it serves.
    pub async fn until(&self, done: impl Fn(&Serving) -> bool) {
        let mut changes = self.state.subscribe();
        let found = changes.wait_for(|serving| done(serving)).await;
        drop(found.expect("the sender lives as long as self"));
    }
}

impl Serving {
    /// SHA-256 in hex of the leaf that is served for a name.
    pub fn serving(&self, name: &str) -> Option<&str> {
        self.pair(Some(name)).map(|pair| pair.leaf.as_str())
    }

    /// Why configurations were refused, oldest first.
    pub fn errors(&self) -> &[String] {
        &self.errors
    }

    /// How often certificates were read from Rancher.
    pub fn reads(&self) -> u64 {
        self.reads
    }

    /// Reads the certificates of the balancer, all or none; gives the version that was read.
    fn read(&mut self, model: &Model, service: &str) -> String {
        self.reads += 1;
        match load(model, service) {
            Ok((default, pairs)) => (self.default, self.pairs) = (default, pairs),
            Err(error) => self.errors.push(error),
        }
        model.version()
    }

    /// The pair for a name: an exact name, else a wildcard, else the default.
    fn pair(&self, name: Option<&str>) -> Option<&Pair> {
        let all = || self.default.iter().chain(&self.pairs);
        let by_name = name.map(str::to_lowercase).and_then(|name| {
            all()
                .find(|pair| pair.names.contains(&name))
                .or_else(|| all().find(|pair| pair.covers_by_wildcard(&name)))
        });
        by_name.or(self.default.as_ref())
    }
}

type Loaded = (Option<Pair>, Vec<Pair>);

/// From ids to names, from names to the first row of that name, as the controller goes about it.
fn load(model: &Model, service: &str) -> Result<Loaded, String> {
    let Some(config) = model.lb_config(service) else {
        return Err(format!("{service} is no balancer"));
    };
    let pair = |id: &String| -> Option<Result<Pair, String>> {
        let name = model.certificate_name(id)?;
        let held = model.certificate(name)?;
        let pair = Pair::load(&held.cert, held.chain.as_deref(), &held.key);
        Some(pair.map_err(|error| format!("{name}: {error}")))
    };
    let default = config.default_certificate.as_ref().and_then(pair);
    let others = config.certificates.iter().filter_map(pair);
    Ok((default.transpose()?, others.collect::<Result<_, _>>()?))
}

async fn follow(
    shared: Shared,
    state: Arc<watch::Sender<Serving>>,
    service: String,
    mut version: String,
) {
    let mut changes = shared.subscribe();
    loop {
        {
            let change = changes.wait_for(|model| model.version() != version).await;
            let Ok(model) = change else { return };
            state.send_modify(|serving| version = serving.read(&model, &service));
        }
    }
}

async fn accept(listener: TcpListener, state: Arc<watch::Sender<Serving>>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((socket, _)) = accepted else { continue };
                let state = Arc::clone(&state);
                // A connection that was cut is the client's to notice.
                connections.spawn(async move { drop(connection(socket, &state).await) });
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connection(socket: TcpStream, state: &watch::Sender<Serving>) -> io::Result<()> {
    let start = LazyConfigAcceptor::new(Acceptor::default(), socket).await?;
    let key = {
        let hello = start.client_hello();
        let serving = state.borrow();
        serving.pair(hello.server_name()).map(|pair| Arc::clone(&pair.key))
    };
    let Some(key) = key else {
        let mut socket = start.io;
        socket.write_all(&UNRECOGNIZED_NAME).await?;
        return socket.shutdown().await;
    };
    let mut stream = start.into_stream(config(key)).await?;
    // Whoever speaks HTTP gets a word, so that a browser or curl shows something.
    let mut request = [0; 4096];
    if stream.read(&mut request).await? > 0 {
        let answer = "HTTP/1.1 200 OK\r\nContent-Length: 7\r\nConnection: close\r\n\r\nserved\n";
        stream.write_all(answer.as_bytes()).await?;
    }
    stream.shutdown().await
}

/// A configuration with one pair and no sessions to resume.
fn config(key: Arc<CertifiedKey>) -> Arc<ServerConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring supports the default versions")
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Chosen(key)));
    Arc::new(config)
}

/// The pair that was chosen when the hello was read.
#[derive(Debug)]
struct Chosen(Arc<CertifiedKey>);

impl ResolvesServerCert for Chosen {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

/// A certificate that can be served.
#[derive(Debug, Clone)]
struct Pair {
    key: Arc<CertifiedKey>,
    /// The DNS names and the common name of the leaf in lower case.
    names: Vec<String>,
    /// SHA-256 of the leaf in hex.
    leaf: String,
}

impl Pair {
    /// Loads it, or says why HAProxy would not.
    fn load(cert: &str, chain: Option<&str>, key: &str) -> Result<Self, String> {
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes())
            .map_err(|error| format!("no private key: {error}"))?;
        let key = any_supported_type(&key).map_err(|error| error.to_string())?;
        let file = format!("{cert}\n{}", chain.unwrap_or_default());
        // What cannot be read ends the chain without a word, unless it is the leaf.
        let certificates: Vec<CertificateDer<'static>> =
            CertificateDer::pem_slice_iter(file.as_bytes()).map_while(Result::ok).collect();
        let leaf = certificates.first().ok_or("no certificate")?.clone();
        let pair = CertifiedKey::new(certificates, key);
        match pair.keys_match() {
            Ok(()) => {}
            Err(rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => {
                return Err("inconsistencies between private key and certificate".to_owned());
            }
            Err(error) => return Err(error.to_string()),
        }
        Ok(Self {
            key: Arc::new(pair),
            names: names(&leaf)?,
            leaf: hex(digest(&SHA256, &leaf).as_ref()),
        })
    }

    /// Whether a wildcard name covers the name, with one label in its place.
    fn covers_by_wildcard(&self, name: &str) -> bool {
        name.split_once('.').is_some_and(|(_, parent)| self.names.contains(&format!("*.{parent}")))
    }
}

fn names(leaf: &CertificateDer<'_>) -> Result<Vec<String>, String> {
    let (_, leaf) = parse_x509_certificate(leaf).map_err(|error| error.to_string())?;
    let subject = leaf.subject().iter_common_name();
    let mut names: Vec<String> =
        subject.filter_map(|name| name.as_str().ok()).map(str::to_lowercase).collect();
    if let Ok(Some(extension)) = leaf.subject_alternative_name() {
        for name in &extension.value.general_names {
            if let GeneralName::DNSName(name) = name {
                names.push(name.to_lowercase());
            }
        }
    }
    Ok(names)
}

/// Shakes hands for a name and gives the chain as DER, leaf first. With roots, it is verified
/// against them at the present time; without, anything is taken. An IP address sends no name.
pub async fn handshake(
    address: SocketAddr,
    name: &str,
    roots_pem: Option<&str>,
) -> io::Result<Vec<Vec<u8>>> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?;
    let config = match roots_pem {
        Some(pem) => builder.with_root_certificates(roots(pem)?),
        None => {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(TakesAnything(provider)))
        }
    };
    let config = config.with_no_client_auth();
    let name = ServerName::try_from(name.to_owned()).map_err(io::Error::other)?;
    let socket = TcpStream::connect(address).await?;
    let mut stream = TlsConnector::from(Arc::new(config)).connect(name, socket).await?;
    let (_, connection) = stream.get_ref();
    let chain = connection.peer_certificates().unwrap_or_default();
    let chain = chain.iter().map(|certificate| certificate.to_vec()).collect();
    // What was wanted is there; how the other side takes the end does not matter.
    drop(stream.shutdown().await);
    Ok(chain)
}

fn roots(pem: &str) -> io::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let certificate = certificate.map_err(io::Error::other)?;
        roots.add(certificate).map_err(io::Error::other)?;
    }
    Ok(roots)
}

/// Looks at signatures of the handshake only.
#[derive(Debug)]
struct TakesAnything(Arc<CryptoProvider>);

impl ServerCertVerifier for TakesAnything {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
