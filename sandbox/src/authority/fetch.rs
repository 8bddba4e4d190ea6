//! One GET request to a given address, whatever the URL says.

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::LazyLock;

use bytes::Bytes;
use http::HeaderMap;
use http::Request;
use http::StatusCode;
use http::header;
use http_body_util::BodyExt;
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use reqwest::Url;
use rustls::ClientConfig;
use rustls::DigitallySignedStruct;
use rustls::SignatureScheme;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::client::danger::ServerCertVerified;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::default_provider;
use rustls::crypto::verify_tls12_signature;
use rustls::crypto::verify_tls13_signature;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::ServerName;
use rustls::pki_types::UnixTime;
use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio::time::timeout_at;
use tokio_rustls::TlsConnector;

/// What came back.
pub(super) struct Page {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    /// The body, or its beginning. Only read when the status is 200.
    pub(super) body: Vec<u8>,
}

/// Why nothing came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    /// The body broke off.
    Body,
    /// Nobody answered the call.
    ConnectTimeout,
    /// Something else.
    Other,
    /// Nobody listens.
    Refused,
    /// The connection was cut.
    Reset,
    /// No answer in time.
    Timeout,
}

impl Failure {
    fn of_io(error: &io::Error) -> Self {
        let failures = [
            (io::ErrorKind::ConnectionRefused, Self::Refused),
            (io::ErrorKind::ConnectionReset, Self::Reset),
            (io::ErrorKind::TimedOut, Self::ConnectTimeout),
        ];
        failures
            .into_iter()
            .find_map(|(kind, failure)| (error.kind() == kind).then_some(failure))
            .unwrap_or(Self::Other)
    }

    fn of_http(error: &hyper::Error) -> Self {
        let source = error.source();
        source.and_then(|source| source.downcast_ref()).map_or(Self::Other, Self::of_io)
    }
}

/// Fetches a URL at an address and reads until the body has `most` bytes or ends.
pub(super) async fn page(
    url: &Url,
    address: SocketAddr,
    most: usize,
    deadline: Instant,
) -> Result<Page, Failure> {
    let socket = timeout_at(deadline, TcpStream::connect(address))
        .await
        .map_err(|_| Failure::ConnectTimeout)?
        .map_err(|error| Failure::of_io(&error))?;
    let answer = async {
        if url.scheme() == "https" {
            let host = url.host_str().unwrap_or_default().to_owned();
            let name = ServerName::try_from(host).map_err(|_| Failure::Other)?;
            let stream = TlsConnector::from(Arc::clone(&TRUSTS_ANYONE))
                .connect(name, socket)
                .await
                .map_err(|error| Failure::of_io(&error))?;
            exchange(stream, url, most).await
        } else {
            exchange(socket, url, most).await
        }
    };
    timeout_at(deadline, answer).await.map_err(|_| Failure::Timeout)?
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    url: &Url,
    most: usize,
) -> Result<Page, Failure> {
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| Failure::of_http(&error))?;
    let answer = async {
        let response =
            sender.send_request(request(url)).await.map_err(|error| Failure::of_http(&error))?;
        let (parts, mut body) = response.into_parts();
        let mut page = Page { status: parts.status, headers: parts.headers, body: Vec::new() };
        while page.status == StatusCode::OK && page.body.len() < most {
            let Some(frame) = body.frame().await else {
                break;
            };
            let frame = frame.map_err(|_| Failure::Body)?;
            let data = frame.into_data().unwrap_or_default();
            let room = most - page.body.len();
            page.body.extend_from_slice(&data[..room.min(data.len())]);
        }
        Ok(page)
    };
    // The connection has to be driven, and ends only after the answer was taken from it.
    let (mut answer, mut connection) = (pin!(answer), pin!(connection));
    tokio::select! {
        biased;
        page = &mut answer => page,
        _ = &mut connection => answer.await,
    }
}

fn request(url: &Url) -> Request<Empty<Bytes>> {
    let host = url.host_str().unwrap_or_default();
    let authority = match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    };
    let target = match url.query() {
        Some(query) => format!("{}?{query}", url.path()),
        None => url.path().to_owned(),
    };
    Request::get(target)
        .header(header::HOST, authority)
        .header(header::USER_AGENT, "Mozilla/5.0 (compatible; sandbox validation server)")
        .header(header::ACCEPT, "*/*")
        .header(header::CONNECTION, "close")
        .body(Empty::new())
        .expect("a parsed URL makes a request")
}

/// Redirects may lead to a name that has no certificate yet, or an old one.
static TRUSTS_ANYONE: LazyLock<Arc<ClientConfig>> = LazyLock::new(|| {
    let provider = Arc::new(default_provider());
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .expect("ring serves the default versions")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anyone(provider)))
        .with_no_client_auth();
    Arc::new(config)
});

#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
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
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
