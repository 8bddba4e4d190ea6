//! The forms in which people and Rancher write the address of the API.

use reqwest::Url;

/// Where the API is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Base {
    /// Up to and including the version, without a final slash.
    pub url: String,
    /// The environment, if the address names one.
    pub project: Option<String>,
}

const VERSIONS: [&str; 3] = ["v1", "v2-beta", "v2"];
const DEFAULT_VERSION: &str = "v2-beta";

impl Base {
    /// Reads `CATTLE_URL`: with or without version, environment, `/schemas`, doubled or final slashes.
    pub fn parse(url: &Url) -> Self {
        let segments: Vec<&str> =
            url.path().split('/').filter(|segment| !segment.is_empty()).collect();
        let version = segments.iter().position(|segment| VERSIONS.contains(segment));
        let (before, after) = match version {
            Some(at) => (&segments[..=at], &segments[at + 1..]),
            None => (&segments[..], &segments[..0]),
        };
        let mut base = url.clone();
        base.set_query(None);
        base.set_fragment(None);
        let mut path = before.join("/");
        if version.is_none() {
            path = if path.is_empty() {
                DEFAULT_VERSION.to_owned()
            } else {
                format!("{path}/{DEFAULT_VERSION}")
            };
        }
        base.set_path(&path);
        let project = match after {
            [kind, id, ..] if matches!(*kind, "projects" | "project") => Some((*id).to_owned()),
            _ => None,
        };
        Self { url: base.as_str().trim_end_matches('/').to_owned(), project }
    }
}

/// Percent-encodes text for a query.
pub fn encode(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_the_address_is_read() {
        for (text, url, project) in [
            ("http://r.test:8080", "http://r.test:8080/v2-beta", None),
            ("http://r.test:8080/", "http://r.test:8080/v2-beta", None),
            ("http://r.test:8080/v1", "http://r.test:8080/v1", None),
            ("http://r.test:8080//v1/", "http://r.test:8080/v1", None),
            ("https://r.test/v1/schemas", "https://r.test/v1", None),
            ("https://r.test/v2-beta/schemas/", "https://r.test/v2-beta", None),
            ("http://r.test/v1/projects/1a5", "http://r.test/v1", Some("1a5")),
            ("http://r.test/v2-beta/projects/1a5/schemas", "http://r.test/v2-beta", Some("1a5")),
            ("http://r.test/rancher/v1", "http://r.test/rancher/v1", None),
            ("http://r.test/rancher", "http://r.test/rancher/v2-beta", None),
        ] {
            let base = Base::parse(&Url::parse(text).unwrap());
            assert_eq!((base.url.as_str(), base.project.as_deref()), (url, project), "{text}");
        }
    }

    #[test]
    fn names_are_encoded_for_a_query() {
        assert_eq!(encode("a-b.example.com"), "a-b.example.com");
        assert_eq!(encode("*&=ä "), "%2A%26%3D%C3%A4%20");
    }
}
