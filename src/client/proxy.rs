//! Proxies: those that the environment names, as people are told of them.

use std::ffi::OsString;

use reqwest::Url;

/// The variables that name proxies, and where none is to be used. Of two the first that is there counts, as in
/// hyper-util's `Matcher::from_env`, which is what obeys them.
const VARIABLES: [[&str; 2]; 4] = [
    ["HTTPS_PROXY", "https_proxy"],
    ["HTTP_PROXY", "http_proxy"],
    ["ALL_PROXY", "all_proxy"],
    ["NO_PROXY", "no_proxy"],
];

/// The proxy variables in force as `NAME=value`, without names and passwords. Empty where no proxy is named.
pub fn proxies(vars: impl IntoIterator<Item = (OsString, OsString)>) -> Vec<String> {
    let vars: Vec<(String, String)> = vars
        .into_iter()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let mut told = Vec::new();
    for names in VARIABLES {
        let set = names
            .iter()
            .find_map(|name| vars.iter().find(|(own, _)| own == name))
            .filter(|(_, value)| !value.trim().is_empty());
        let Some((name, value)) = set else { continue };
        if names[0] == "NO_PROXY" {
            if !told.is_empty() {
                told.push(format!("{name}={}", value.escape_debug()));
            }
        } else {
            told.push(format!("{name}={}", without_user(value)));
        }
    }
    told
}

/// Scheme, host and port of a proxy; one without a scheme speaks HTTP.
pub fn without_user(proxy: &str) -> String {
    let proxy = proxy.trim();
    let whole = if proxy.contains("://") { proxy.to_owned() } else { format!("http://{proxy}") };
    match Url::parse(&whole).ok().as_ref().and_then(|url| Some((url, url.host_str()?))) {
        Some((url, host)) => {
            let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
            format!("{}://{host}{port}", url.scheme())
        }
        // It may be a password as well as anything else.
        None => "(no URL)".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(vars: &[(&str, &str)], expected: &[&str]) {
        let vars = vars.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
        assert_eq!(proxies(vars), expected);
    }

    #[test]
    fn proxies_are_told_without_their_passwords() {
        check(&[("PATH", "/bin"), ("NO_PROXY", "*"), ("HTTP_PROXY", " ")], &[]);
        check(
            &[("http_proxy", "me:secret@proxy.test:3128"), ("NO_PROXY", "a,b")],
            &["http_proxy=http://proxy.test:3128", "NO_PROXY=a,b"],
        );
        check(
            &[("https_proxy", "http://lower"), ("HTTPS_PROXY", "https://me:secret@upper:443/")],
            &["HTTPS_PROXY=https://upper"],
        );
        check(
            &[("ALL_PROXY", "socks5://me:secret@[::1]:1080")],
            &["ALL_PROXY=socks5://[::1]:1080"],
        );
        check(&[("ALL_PROXY", "http://:secret@")], &["ALL_PROXY=(no URL)"]);
    }
}
