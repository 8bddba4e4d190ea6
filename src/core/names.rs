//! Domain names, the names of one certificate, and lists of them as people write them.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::Deserialize;
use serde::Serialize;
use thiserror::Error;

/// One DNS name in lower-case A-label form, fit for a certificate and safe as a path component.
///
/// Parsing checks it as Let's Encrypt's CA does before it looks at anything else (boulder `policy/pa.go`).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DomainName(Box<str>);

/// The rule that a refused name breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[expect(missing_docs, reason = "each message says it")]
pub enum Rule {
    #[error(
        "a wildcard name needs DNS-01, and this daemon proves control by HTTP-01: list each host name"
    )]
    Wildcard,
    #[error("an IP address cannot be validated here: use a host name")]
    IpAddress,
    #[error("the last label of a host name is not a number")]
    Number,
    #[error("a host name has no underscore")]
    Underscore,
    #[error("a label between two dots is empty")]
    EmptyLabel,
    #[error("a label is longer than 63 characters")]
    LongLabel,
    #[error("a name is at most 253 characters long")]
    Long,
    #[error("a public CA wants at least one dot in a name")]
    SingleLabel,
    #[error("the CA accepts at most 10 labels")]
    ManyLabels,
    #[error("a label neither begins nor ends with a hyphen")]
    Hyphen,
    #[error("only letters, digits, hyphens and dots are allowed")]
    Characters,
    #[error("not a valid internationalized name")]
    Idna,
    #[error("a public suffix, under which others register names, gets no certificate")]
    PublicSuffix,
}

/// A name that was left out, and why.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{}`: {rule}", shown(text))]
pub struct BadName {
    /// The name as it was written.
    pub text: String,
    /// The rule that it breaks.
    pub rule: Rule,
}

/// Foreign text made fit for one log line.
fn shown(text: &str) -> String {
    const LONGEST: usize = 80;
    let mut shown: String = text.chars().take(LONGEST).flat_map(char::escape_debug).collect();
    if text.chars().nth(LONGEST).is_some() {
        shown.push('…');
    }
    shown
}

impl DomainName {
    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn check(text: &str) -> Result<Box<str>, Rule> {
        if text.contains('*') {
            return Err(Rule::Wildcard);
        }
        let bare = text.trim_start_matches('[').trim_end_matches(']');
        if bare.parse::<IpAddr>().is_ok() {
            return Err(Rule::IpAddress);
        }
        if text.contains('_') {
            return Err(Rule::Underscore);
        }
        // One final dot is how DNS writes an absolute name.
        let text = text.strip_suffix('.').unwrap_or(text);
        // Before IDNA, which would be slow on very long text; A-labels never get shorter than this.
        if text.len() > 4 * 253 {
            return Err(Rule::Long);
        }
        let ascii = if text.is_ascii() && !text.to_ascii_lowercase().contains("xn--") {
            text.to_ascii_lowercase()
        } else {
            idna::domain_to_ascii(text).map_err(|_| Rule::Idna)?
        };
        Self::check_labels(&ascii)?;
        // Once more in its final form: IDNA makes plain digits and dots of others.
        if ascii.parse::<IpAddr>().is_ok() {
            return Err(Rule::IpAddress);
        }
        // Addresses have shorter forms as well, and every URL with such a host is taken for one.
        let last = ascii.rsplit('.').next().unwrap_or_default();
        if last.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(Rule::Number);
        }
        // Suffixes of private registries may be certified by their owners; the CA allows it as well.
        if psl::suffix(ascii.as_bytes()).is_some_and(|suffix| {
            suffix.typ() == Some(psl::Type::Icann) && suffix.as_bytes() == ascii.as_bytes()
        }) {
            return Err(Rule::PublicSuffix);
        }
        Ok(ascii.into_boxed_str())
    }

    fn check_labels(ascii: &str) -> Result<(), Rule> {
        let labels: Vec<&str> = ascii.split('.').collect();
        if labels.iter().any(|label| label.is_empty()) {
            return Err(Rule::EmptyLabel);
        }
        if !ascii.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.') {
            return Err(Rule::Characters);
        }
        if labels.iter().any(|label| label.len() > 63) {
            return Err(Rule::LongLabel);
        }
        if ascii.len() > 253 {
            return Err(Rule::Long);
        }
        if labels.iter().any(|label| label.starts_with('-') || label.ends_with('-')) {
            return Err(Rule::Hyphen);
        }
        // Boulder's rule: `??--` is reserved but for A-labels, and those were checked by IDNA.
        let reserved = |label: &&str| label.get(2..4) == Some("--") && !label.starts_with("xn");
        if labels.iter().any(reserved) {
            return Err(Rule::Idna);
        }
        match labels.len() {
            1 => Err(Rule::SingleLabel),
            2..=10 => Ok(()),
            _ => Err(Rule::ManyLabels),
        }
    }
}

impl FromStr for DomainName {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        Self::check(text).map(Self).map_err(|rule| BadName { text: text.to_owned(), rule })
    }
}

/// Reads a name from a record: its syntax is checked and nothing else, because lists of public suffixes and rules of
/// IDNA change with every release, and what was written down before is to stay readable.
impl TryFrom<String> for DomainName {
    type Error = BadName;

    fn try_from(text: String) -> Result<Self, BadName> {
        let rule = match Self::check_labels(&text) {
            Ok(()) if text.bytes().any(|byte| byte.is_ascii_uppercase()) => Rule::Characters,
            Ok(()) => return Ok(Self(text.into_boxed_str())),
            Err(rule) => rule,
        };
        Err(BadName { text, rule })
    }
}

impl From<DomainName> for String {
    fn from(name: DomainName) -> Self {
        name.0.into()
    }
}

impl fmt::Display for DomainName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for DomainName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A set of domain names, as budgets and comparisons see a certificate.
pub type NameSet = BTreeSet<DomainName>;

/// What one certificate covers: the primary name, which names the folder and the certificate at the destination,
/// and its alternatives in the order they were written.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<DomainName>", into = "Vec<DomainName>")]
pub struct Names(Vec<DomainName>);

impl Names {
    /// Makes the names of one certificate; repeated ones count once. None of an empty list.
    pub fn new(names: impl IntoIterator<Item = DomainName>) -> Option<Self> {
        let names: Vec<DomainName> = names.into_iter().collect();
        let mut seen: BTreeSet<&DomainName> = BTreeSet::new();
        let unique: Vec<DomainName> =
            names.iter().filter(|name| seen.insert(name)).cloned().collect();
        (!unique.is_empty()).then_some(Self(unique))
    }

    /// The first name.
    pub fn primary(&self) -> &DomainName {
        &self.0[0]
    }

    /// All names, the primary one first.
    pub fn iter(&self) -> impl Iterator<Item = &DomainName> {
        self.0.iter()
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// All names without order.
    pub fn set(&self) -> NameSet {
        self.0.iter().cloned().collect()
    }

    /// Adds the names of another list behind these.
    pub fn extend(&mut self, more: impl IntoIterator<Item = DomainName>) {
        for name in more {
            if !self.0.contains(&name) {
                self.0.push(name);
            }
        }
    }
}

impl TryFrom<Vec<DomainName>> for Names {
    type Error = &'static str;

    fn try_from(names: Vec<DomainName>) -> Result<Self, Self::Error> {
        Self::new(names).ok_or("a certificate has at least one name")
    }
}

impl From<Names> for Vec<DomainName> {
    fn from(names: Names) -> Self {
        names.0
    }
}

impl fmt::Display for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, name) in self.0.iter().enumerate() {
            let space = if index == 0 { "" } else { " " };
            write!(f, "{space}{name}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Reads a list: commas part certificates, white space inside an entry joins names in one.
///
/// A bad name is left out of its entry and the rest goes on; entries of nothing but white space are ignored.
pub fn parse_list(text: &str) -> (Vec<Names>, Vec<BadName>) {
    let mut bad = Vec::new();
    let mut entries = Vec::new();
    for entry in text.split(',') {
        let good = entry
            .split_whitespace()
            .filter_map(|name| name.parse().map_err(|error| bad.push(error)).ok());
        entries.extend(Names::new(good.collect::<Vec<_>>()));
    }
    (entries, bad)
}

#[cfg(test)]
mod tests;
