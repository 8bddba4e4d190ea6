//! Whether CAA records let an authority issue for a name, by HTTP-01 (RFC 8659, RFC 8657).
//!
//! Pure: the records that count are those of the closest name up the tree that has any; finding them is
//! [`crate::view::check`]'s part. Wildcard names are none of ours, so `issuewild` never counts.

use std::fmt;

/// One CAA record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Whether a CA that does not know the tag must not issue.
    pub is_critical: bool,
    /// Which property it is, in lower case.
    pub tag: String,
    /// Its value.
    pub value: String,
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flags = if self.is_critical { 128 } else { 0 };
        let Self { tag, value, .. } = self;
        write!(f, "{flags} {} \"{}\"", tag.escape_debug(), value.escape_debug())
    }
}

/// Who wants to issue.
#[derive(Debug, Clone, Copy)]
pub struct Asker<'a> {
    /// Names by which records call the authority; none if they are not known.
    pub identities: Option<&'a [String]>,
    /// URL of our account there, once there is one.
    pub account: Option<&'a str>,
}

/// What the records say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ruling {
    /// No record limits who issues.
    Open,
    /// This identity may issue.
    Allowed(String),
    /// The records name authorities, and which name is ours is not known.
    Unknown,
    /// Only the account with this URL may issue, and we have none yet.
    OneAccount(String),
    /// A property that every authority must know, and ours may not.
    Critical(String),
    /// Only an account with this URL may issue, and ours is another.
    OtherAccount(String),
    /// Only these validation methods may be used, and HTTP-01 is not among them.
    OtherMethods(String),
    /// Other authorities may issue, or none at all.
    OtherAuthorities,
}

impl Ruling {
    /// How close it is to a permission: of several records the best one counts.
    fn rank(&self) -> u8 {
        match self {
            Self::Open | Self::Allowed(_) => 0,
            Self::Unknown => 1,
            Self::OneAccount(_) => 2,
            Self::OtherAccount(_) => 3,
            Self::OtherMethods(_) => 4,
            Self::OtherAuthorities => 5,
            Self::Critical(_) => 6,
        }
    }
}

/// Properties that authorities know, besides `issue`.
const KNOWN: [&str; 5] = ["issuewild", "iodef", "issuemail", "contactemail", "contactphone"];

/// Our only validation method (RFC 8657, section 4).
const METHOD: &str = "http-01";

/// Judges the records of the closest name that has any.
pub fn judge(records: &[Record], asker: Asker<'_>) -> Ruling {
    let is_known = |record: &&Record| record.tag == "issue" || KNOWN.contains(&record.tag.as_str());
    let unknown = records.iter().find(|record| record.is_critical && !is_known(record));
    if let Some(unknown) = unknown {
        return Ruling::Critical(unknown.tag.clone());
    }
    let issue = records.iter().filter(|record| record.tag == "issue");
    let rulings = issue.map(|record| judge_one(&record.value, asker));
    rulings.min_by_key(Ruling::rank).unwrap_or(Ruling::Open)
}

fn judge_one(value: &str, asker: Asker<'_>) -> Ruling {
    // What is malformed lets nobody issue (RFC 8659, section 4.2).
    let Some((issuer, parameters)) = parse(value) else {
        return Ruling::OtherAuthorities;
    };
    if issuer.is_empty() {
        return Ruling::OtherAuthorities;
    }
    let identity = match asker.identities {
        None => None,
        Some(own) => match own.iter().find(|own| own.eq_ignore_ascii_case(issuer)) {
            None => return Ruling::OtherAuthorities,
            own => own,
        },
    };
    let of = |tag: &str| {
        let found = parameters.iter().filter(|(own, _)| own.eq_ignore_ascii_case(tag));
        found.map(|(_, value)| *value).collect::<Vec<_>>()
    };
    let is_allowed = |methods: &&str| methods.split(',').any(|method| method == METHOD);
    if let Some(methods) = of("validationmethods").iter().find(|methods| !is_allowed(methods)) {
        return Ruling::OtherMethods((*methods).to_owned());
    }
    let Some(identity) = identity else {
        return Ruling::Unknown;
    };
    match (of("accounturi").as_slice(), asker.account) {
        ([], _) => Ruling::Allowed(identity.clone()),
        ([only], Some(own)) if *only == own => Ruling::Allowed(identity.clone()),
        ([only], None) => Ruling::OneAccount((*only).to_owned()),
        // Nobody has two URLs (RFC 8657, section 3).
        (all, _) => Ruling::OtherAccount(all.join(" and ")),
    }
}

/// Parts a value into issuer and parameters; none if it is malformed.
fn parse(value: &str) -> Option<(&str, Vec<(&str, &str)>)> {
    let mut parts = value.split(';').map(trim);
    let issuer = parts.next()?;
    let rest: Vec<&str> = parts.collect();
    if matches!(rest.as_slice(), [] | [""]) {
        return Some((issuer, Vec::new()));
    }
    let parameters = rest.into_iter().map(|part| {
        let (tag, value) = part.split_once('=')?;
        let (tag, value) = (trim(tag), trim(value));
        let is_tag = !tag.is_empty() && tag.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let is_value = value.bytes().all(|byte| byte.is_ascii_graphic());
        (is_tag && is_value).then_some((tag, value))
    });
    Some((issuer, parameters.collect::<Option<_>>()?))
}

fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::any;
    use proptest::proptest;

    use super::*;

    const OWN: &str = "https://ca.test/acct/1";

    /// `tag value`, with `!` before a critical one.
    fn record(text: &str) -> Record {
        let (tag, value) = text.split_once(' ').unwrap();
        Record {
            is_critical: tag.starts_with('!'),
            tag: tag.trim_start_matches('!').to_owned(),
            value: value.to_owned(),
        }
    }

    #[track_caller]
    fn check(records: &[&str], expected: &Ruling) {
        let identities = ["ca.test".to_owned(), "ca2.test".to_owned()];
        let asker = Asker { identities: Some(&identities), account: Some(OWN) };
        let records: Vec<Record> = records.iter().map(|text| record(text)).collect();
        assert_eq!(judge(&records, asker), *expected, "{records:?}");
    }

    fn allowed() -> Ruling {
        Ruling::Allowed("ca.test".to_owned())
    }

    #[test]
    fn every_kind_of_record_is_judged_as_the_rfcs_say() {
        use Ruling::OtherAuthorities;
        let methods = |methods: &str| Ruling::OtherMethods(methods.to_owned());
        let account = |account: &str| Ruling::OtherAccount(account.to_owned());
        let own = format!("issue ca.test; accounturi={OWN}");
        let both = format!("issue ca.test;validationmethods=http-01;accounturi={OWN}");
        let twice = format!("issue ca.test; accounturi={OWN}; accounturi={OWN}");
        let rows: Vec<(Vec<&str>, Ruling)> = vec![
            (vec![], Ruling::Open),
            (vec!["issue ca.test"], allowed()),
            (vec!["issue \t CA.Test \t"], allowed()),
            (vec!["issue ca.test;"], allowed()),
            (vec!["issue ca.test ; "], allowed()),
            (vec!["issue ca2.test"], Ruling::Allowed("ca2.test".to_owned())),
            (vec!["issue other.test"], OtherAuthorities),
            (vec!["issue sub.ca.test"], OtherAuthorities),
            (vec!["issue other.test", "issue ca.test"], allowed()),
            (vec!["issue ;", "issue ca.test"], allowed()),
            (vec!["issue ;"], OtherAuthorities),
            (vec!["issue "], OtherAuthorities),
            // Only wildcards, mail and reports are limited.
            (vec!["issuewild ;"], Ruling::Open),
            (vec!["issuewild ;", "issue ca.test"], allowed()),
            (vec!["issuewild ca.test", "issue ;"], OtherAuthorities),
            (vec!["iodef mailto:a@b.test", "issuemail ;"], Ruling::Open),
            (vec!["!iodef mailto:a@b.test"], Ruling::Open),
            (vec!["!issue ca.test"], allowed()),
            // Properties that nobody knows.
            (vec!["future x", "issue ca.test"], allowed()),
            (vec!["!future x", "issue ca.test"], Ruling::Critical("future".to_owned())),
            // Methods.
            (vec!["issue ca.test; validationmethods=http-01"], allowed()),
            (vec!["issue ca.test; validationmethods=dns-01,http-01"], allowed()),
            (vec!["issue ca.test; validationmethods=dns-01"], methods("dns-01")),
            (vec!["issue ca.test; ValidationMethods=dns-01"], methods("dns-01")),
            (vec!["issue ca.test; validationmethods="], methods("")),
            (vec!["issue ca.test; validationmethods=HTTP-01"], methods("HTTP-01")),
            (vec!["issue other.test; validationmethods=http-01"], OtherAuthorities),
            // Accounts.
            (vec![&own], allowed()),
            (vec![&both], allowed()),
            (vec![&twice], account(&format!("{OWN} and {OWN}"))),
            (
                vec!["issue ca.test; accounturi=https://ca.test/acct/2"],
                account("https://ca.test/acct/2"),
            ),
            (vec!["issue ca.test; accounturi=https://ca.test/acct/2", "issue ca.test"], allowed()),
            // The nearest miss is told.
            (
                vec!["issue other.test", "issue ca.test; validationmethods=dns-01"],
                methods("dns-01"),
            ),
            (
                vec!["issue ca.test; validationmethods=dns-01", "issue ca.test; accounturi=x"],
                account("x"),
            ),
            // Unknown parameters are nobody's business, malformed ones are.
            (vec!["issue ca.test; policy=ev"], allowed()),
            (vec!["issue ca.test; x=a=b"], allowed()),
            (vec!["issue ca.test; policy"], OtherAuthorities),
            (vec!["issue ca.test; a-b=c"], OtherAuthorities),
            (vec!["issue ca.test; a=b c"], OtherAuthorities),
            (vec!["issue ca.test;;"], OtherAuthorities),
            (vec!["issue ca.test accounturi=x"], OtherAuthorities),
        ];
        for (records, ruling) in rows {
            check(&records, &ruling);
        }
    }

    #[test]
    fn without_an_account_the_one_that_is_asked_for_is_named() {
        let identities = ["ca.test".to_owned()];
        let asker = Asker { identities: Some(&identities), account: None };
        let judged = |text: &str| judge(&[record(text)], asker);
        let one = Ruling::OneAccount(OWN.to_owned());
        assert_eq!(judged(&format!("issue ca.test; accounturi={OWN}")), one);
        assert_eq!(judged("issue ca.test"), allowed());
    }

    #[test]
    fn without_identities_only_what_holds_for_everybody_is_judged() {
        let asker = Asker { identities: None, account: None };
        for (text, ruling) in [
            ("issue ca.test", Ruling::Unknown),
            ("issue ca.test; accounturi=x", Ruling::Unknown),
            ("issue ca.test; validationmethods=dns-01", Ruling::OtherMethods("dns-01".to_owned())),
            ("issue ;", Ruling::OtherAuthorities),
            ("issuewild ;", Ruling::Open),
            ("!future x", Ruling::Critical("future".to_owned())),
        ] {
            assert_eq!(judge(&[record(text)], asker), ruling, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_records_are_judged_and_shown_on_one_line(tag in ".{0,20}", value in "(?s:.){0,80}", is_critical in any::<bool>()) {
            let record = Record { is_critical, tag: "issue".to_owned(), value };
            assert!(!record.to_string().contains(char::is_control));
            let other = Record { tag, ..record.clone() };
            let identities = ["ca.test".to_owned()];
            let asker = Asker { identities: Some(&identities), account: None };
            let ruling = judge(&[record, other], asker);
            assert!(ruling != Ruling::Open);
        }
    }
}
