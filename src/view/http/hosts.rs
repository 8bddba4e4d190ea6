//! Under which names the status port answers.
//!
//! A page elsewhere can have its own name resolve to an address inside, and so read with a visitor's browser what stands
//! there. The name that the browser was given is in `Host`.

use std::net::IpAddr;

use axum::body::Body;
use axum::extract::Request;
use axum::http::header;
use axum::http::uri::Authority;

/// Whether a request is for one of our names, for an address, or for nobody by name, as a health check may ask. Without
/// `hosts` every name is ours.
pub(super) fn is_meant(request: &Request<Body>, hosts: &[String]) -> bool {
    if hosts.is_empty() {
        return true;
    }
    let is_ours = |authority: &Authority| {
        let host = authority.host().trim_end_matches('.');
        let address = host.trim_start_matches('[').trim_end_matches(']');
        address.parse::<IpAddr>().is_ok()
            || host.eq_ignore_ascii_case("localhost")
            || hosts.iter().any(|own| host.eq_ignore_ascii_case(own))
    };
    // A whole URL in the request line counts instead of the header (RFC 9112, section 3.2.2); here both must be ours.
    let named = request.headers().get_all(header::HOST).into_iter();
    request.uri().authority().is_none_or(is_ours)
        && named
            .map(|host| host.as_bytes())
            .filter(|host| !host.is_empty())
            .all(|host| Authority::try_from(host).is_ok_and(|authority| is_ours(&authority)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, host: Option<&str>, hosts: &[&str], is_ours: bool) {
        let mut request = Request::builder().uri(line);
        if let Some(host) = host {
            request = request.header(header::HOST, host);
        }
        let hosts: Vec<String> = hosts.iter().map(|&host| host.to_owned()).collect();
        let request = request.body(Body::empty()).unwrap();
        assert_eq!(is_meant(&request, &hosts), is_ours, "{line} {host:?}");
    }

    #[test]
    fn names_that_are_not_ours_are_told_from_those_that_are() {
        let ours = ["certs.example.com", "certs"];
        for host in [
            "certs.example.com",
            "Certs.Example.com:8080",
            "certs.example.com.",
            "certs",
            "localhost:8080",
            "10.42.0.7:8080",
            "[::1]:8080",
            "[fd00::7]",
            "",
        ] {
            check("/", Some(host), &ours, true);
        }
        check("/", None, &ours, true);
        for host in ["evil.example.net", "certs.example.com.evil.net", "a b", "10.42.0.7.evil.net"]
        {
            check("/", Some(host), &ours, false);
            check("/", Some(host), &[], true);
        }
        check("http://evil.example.net/", Some("certs"), &ours, false);
        check("http://certs/", Some("evil.example.net"), &ours, false);
        check("http://certs/", Some("certs"), &ours, true);
    }
}
