//! Text to a type, for each kind of setting.

use std::mem::discriminant;
use std::net::SocketAddr;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use reqwest::Url;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tracing_subscriber::EnvFilter;

use crate::config::ReadFile;
use crate::config::table::Kind;
use crate::config::typing::Refusal;
use crate::config::typing::SET;
use crate::config::typing::Typing;
use crate::config::typing::stand_in;
use crate::config::words::Words;
use crate::config::words::all;
use crate::core::bundle::Secret;
use crate::core::names::BadName;
use crate::core::names::Names;
use crate::core::names::parse_list;

impl Typing<'_> {
    pub(super) fn url(&mut self, name: &'static str) -> Url {
        let read = |text: &str, kind: Kind| {
            let Kind::Url(schemes) = kind else { unlike(name) };
            if !is_url(text, schemes) {
                // A URL may carry a password.
                return Err(Refusal { is_hidden: text.contains('@'), ..Refusal::of(kind) });
            }
            match Url::parse(text) {
                // These URLs are shown everywhere, and Rancher's has its own key.
                Ok(url) if url.username().is_empty() && url.password().is_none() => Ok(url),
                _ => Err(Refusal {
                    accepted: "a URL without user name and password".to_owned(),
                    is_hidden: true,
                }),
            }
        };
        self.value(name, read, Url::to_string).unwrap_or_else(stand_in)
    }

    /// An address that may hold a token: checked, never shown.
    pub(super) fn secret_url(&mut self, name: &'static str) -> Option<Secret> {
        let read =
            |text: &str| is_url(text, &["http", "https"]).then(|| Secret::new(text.to_owned()));
        self.plain(name, Kind::SecretUrl, read, |_| SET.to_owned())
    }

    /// The good ones, and those that are refused by themselves.
    pub(super) fn names(&mut self, name: &'static str) -> (Vec<Names>, Vec<BadName>) {
        let show = |(good, _): &(Vec<Names>, Vec<BadName>)| {
            good.iter().map(Names::to_string).collect::<Vec<_>>().join(", ")
        };
        let names = self.plain(name, Kind::Names, |text| Some(parse_list(text)), show);
        names.unwrap_or_default()
    }

    pub(super) fn boolean(&mut self, name: &'static str) -> bool {
        let show = |is_on: &bool| if *is_on { "True" } else { "False" }.to_owned();
        self.plain(name, Kind::Boolean, bool::read, show).unwrap_or_default()
    }

    pub(super) fn word<T: Words>(&mut self, name: &'static str) -> T {
        let word = self.plain(name, Kind::Word(all::<T>), T::read, |value| value.word().to_owned());
        word.unwrap_or(T::WORDS[0].1)
    }

    pub(super) fn number(&mut self, name: &'static str) -> Option<u16> {
        let read = |text: &str, kind: Kind| {
            let Kind::Number(least, most) = kind else { unlike(name) };
            let number = text.parse().ok().filter(|number| (least..=most).contains(number));
            number.ok_or_else(|| Refusal::of(kind))
        };
        self.value(name, read, u16::to_string)
    }

    pub(super) fn seconds(&mut self, name: &'static str) -> Duration {
        let read = |text: &str, kind: Kind| {
            let Kind::Seconds(most) = kind else { unlike(name) };
            let seconds = text.parse().ok().filter(|seconds| (1..=most).contains(seconds));
            seconds.map(Duration::from_secs).ok_or_else(|| Refusal::of(kind))
        };
        self.value(name, read, |time| time.as_secs().to_string()).unwrap_or_default()
    }

    pub(super) fn path(&mut self, name: &'static str) -> PathBuf {
        let read = |text: &str| Some(PathBuf::from(text)).filter(|path| path.is_absolute());
        self.plain(name, Kind::Path, read, |path| path.display().to_string()).unwrap_or_default()
    }

    /// The roots in a file that a variable names.
    pub(super) fn roots(&mut self, name: &'static str) -> Option<Vec<u8>> {
        let read_file = self.read;
        let read = |text: &str, _: Kind| {
            let path = Path::new(text);
            let read = if path.is_absolute() {
                roots(read_file, path)
            } else {
                Err(Kind::Path.accepted())
            };
            read.map_err(|accepted| Refusal { accepted, is_hidden: false })
        };
        self.value(name, read, |_| SET.to_owned())
    }

    pub(super) fn mail(&mut self, name: &'static str) -> Option<String> {
        // What Let's Encrypt takes as a contact: one plain ASCII address without header fields.
        let is_plausible = |text: &str| {
            text.is_ascii()
                && !text.contains([' ', ',', '?', '<', '>'])
                && text
                    .split_once('@')
                    .is_some_and(|(user, host)| !user.is_empty() && host.contains('.'))
        };
        let read = |text: &str| is_plausible(text).then(|| text.to_owned());
        self.plain(name, Kind::Mail, read, String::clone)
    }

    pub(super) fn host(&mut self, name: &'static str) -> Option<String> {
        let is_host = |text: &str| {
            text.parse::<std::net::IpAddr>().is_ok()
                || text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
        };
        let read = |text: &str| is_host(text).then(|| text.to_owned());
        self.plain(name, Kind::Host, read, String::clone)
    }

    /// Names in small letters, as a `Host` header can have them.
    pub(super) fn hosts(&mut self, name: &'static str) -> Vec<String> {
        let is_name = |text: &str| {
            (1..254).contains(&text.len())
                && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
        };
        let read = |text: &str| {
            let names: Vec<String> = text
                .split([',', ' '])
                .filter(|name| !name.is_empty())
                .map(|name| name.trim_end_matches('.').to_ascii_lowercase())
                .collect();
            Some(names).filter(|names| !names.is_empty() && names.iter().all(|name| is_name(name)))
        };
        self.plain(name, Kind::Hosts, read, |names| names.join(", ")).unwrap_or_default()
    }

    /// An address of a proxy: shown without what may be secret in it.
    pub(super) fn proxy(&mut self, name: &'static str) -> Option<Secret> {
        let read = |text: &str, kind: Kind| {
            if !matches!(kind, Kind::Proxy) {
                unlike(name);
            }
            let is_proxy = is_url(text, &["http", "https"])
                && Url::parse(text).is_ok_and(|url| matches!(url.path(), "" | "/"));
            is_proxy
                .then(|| Secret::new(text.to_owned()))
                .ok_or_else(|| Refusal { is_hidden: text.contains('@'), ..Refusal::of(kind) })
        };
        self.value(name, read, |url| without_user(url.reveal()))
    }

    pub(super) fn listen(&mut self, name: &'static str) -> Option<SocketAddr> {
        let read = |text: &str| match text.eq_ignore_ascii_case("off") {
            true => Some(None),
            false => text.parse().ok().map(Some),
        };
        let show = |listen: &Option<SocketAddr>| {
            listen.map_or_else(|| "off".to_owned(), |address| address.to_string())
        };
        self.plain(name, Kind::Listen, read, show).flatten()
    }

    pub(super) fn filter(&mut self, name: &'static str) -> String {
        let read = |text: &str| EnvFilter::try_new(text).ok().map(|_| text.to_owned());
        self.plain(name, Kind::Filter, read, String::clone).unwrap_or_default()
    }

    /// A setting of a kind that needs to know no more.
    fn plain<T>(
        &mut self,
        name: &'static str,
        like: Kind,
        read: impl FnOnce(&str) -> Option<T>,
        show: impl FnOnce(&T) -> String,
    ) -> Option<T> {
        let read = |text: &str, kind: Kind| {
            if discriminant(&kind) != discriminant(&like) {
                unlike(name);
            }
            read(text).ok_or_else(|| Refusal::of(kind))
        };
        self.value(name, read, show)
    }
}

/// Reads a file of roots; the error says what would have been accepted.
pub(super) fn roots(read: ReadFile<'_>, path: &Path) -> Result<Vec<u8>, String> {
    let wanted = Kind::Roots.accepted();
    let pem = read(path).map_err(|error| format!("{wanted}: {error}"))?;
    let mut store = RootCertStore::empty();
    for (number, certificate) in (1..).zip(CertificateDer::pem_slice_iter(&pem)) {
        certificate
            .map_err(|error| error.to_string())
            .and_then(|root| store.add(root).map_err(|error| error.to_string()))
            .map_err(|error| format!("{wanted}: certificate {number} in it: {error}"))?;
    }
    if store.is_empty() {
        return Err(format!("{wanted}: there is no certificate in it"));
    }
    Ok(pem)
}

/// Scheme, host and port of a URL.
fn without_user(url: &str) -> String {
    Url::parse(url).map_or_else(|_| SET.to_owned(), |url| url.origin().ascii_serialization())
}

fn is_url(value: &str, schemes: &[&str]) -> bool {
    Url::parse(value).is_ok_and(|url| schemes.contains(&url.scheme()) && url.has_host())
}

/// A setting is read as another kind than the table says: no start comes past it.
fn unlike(name: &str) -> ! {
    unreachable!("the table has another kind for {name}")
}
