//! Which names the authority takes, as Boulder's policy has it
//! ([policy/pa.go](https://github.com/letsencrypt/boulder/blob/main/policy/pa.go)).

use super::problem::Problem;
use super::settings::AuthoritySettings;
use super::settings::Subproblems;

/// Refuses an order when one of its names is not to be had.
pub(super) fn check(names: &[String], settings: &AuthoritySettings) -> Result<(), Problem> {
    let refused: Vec<(String, Problem)> =
        names.iter().filter_map(|name| Some((name.clone(), refusal(name, settings)?))).collect();
    let [(name, first), rest @ ..] = refused.as_slice() else {
        return Ok(());
    };
    let mut problem = first.clone();
    problem.detail = match rest.len() {
        0 => format!("Cannot issue for {name:?}: {}", first.detail),
        more => format!(
            "Cannot issue for {name:?}: {} (and {more} more problems. Refer to sub-problems for \
             more information.)",
            first.detail
        ),
    };
    Err(match settings.subproblems {
        Subproblems::WhenSeveral if rest.is_empty() => problem,
        Subproblems::Always | Subproblems::WhenSeveral => problem.because(refused),
    })
}

fn refusal(name: &str, settings: &AuthoritySettings) -> Option<Problem> {
    let bare = name.strip_prefix("*.").unwrap_or(name);
    let labels: Vec<&str> = bare.split('.').collect();
    let is_plain = |label: &&str| {
        label.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
    };
    let (kind, detail) = if !labels.iter().all(is_plain) {
        ("malformed", "Domain name contains an invalid character")
    } else if bare.len() > 253 {
        ("malformed", "Domain name is longer than 253 bytes")
    } else if labels.len() > 10 {
        ("malformed", "Domain name has more than 10 labels (parts)")
    } else if labels.len() < 2 {
        ("malformed", "Domain name needs at least one dot")
    } else if labels.iter().any(|label| label.is_empty()) {
        ("malformed", "Domain name can not have two dots in a row")
    } else if labels.iter().any(|label| label.len() > 63) {
        ("malformed", "Domain has a label (component between dots) longer than 63 bytes")
    } else if labels.iter().any(|label| label.starts_with('-') || label.ends_with('-')) {
        ("malformed", "Domain name contains an invalid character")
    } else if bare.parse::<std::net::Ipv4Addr>().is_ok() {
        ("malformed", "Domain name is an IP address")
    } else if settings.blocked.contains(bare) {
        (
            "rejectedIdentifier",
            "The ACME server refuses to issue a certificate for this domain name, because it is \
             forbidden by policy",
        )
    } else {
        return None;
    };
    Some(Problem::new(400, kind, detail))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_judged_as_boulder_does() {
        let mut settings = AuthoritySettings::production();
        settings.blocked.insert("bank.example".to_owned());
        let long_label = format!("{}.example", "a".repeat(64));
        for (name, kind) in [
            ("a.example", None),
            ("xn--bcher-kva.example", None),
            ("*.a.example", None),
            ("a", Some("malformed")),
            ("a..example", Some("malformed")),
            ("a_b.example", Some("malformed")),
            ("-a.example", Some("malformed")),
            ("1.2.3.4", Some("malformed")),
            ("a.b.c.d.e.f.g.h.i.example", None),
            ("a.b.c.d.e.f.g.h.i.j.example", Some("malformed")),
            (&long_label, Some("malformed")),
            ("bank.example", Some("rejectedIdentifier")),
            ("*.bank.example", Some("rejectedIdentifier")),
        ] {
            let problem = refusal(name, &settings);
            assert_eq!(problem.map(|problem| problem.kind), kind, "{name}");
        }
    }

    #[test]
    fn boulder_tells_a_single_name_in_the_detail_only() {
        let names = ["a.example".to_owned(), "bank.example".to_owned()];
        let mut settings = AuthoritySettings::production();
        settings.blocked.insert("bank.example".to_owned());
        let refused = |settings: &AuthoritySettings| {
            check(&names, settings).expect_err("one of the names is blocked")
        };
        assert_eq!(refused(&settings).subproblems.len(), 1);
        settings.subproblems = Subproblems::WhenSeveral;
        assert_eq!(refused(&settings).subproblems.len(), 0);
        assert!(refused(&settings).detail.contains("\"bank.example\""));
        settings.blocked.insert("a.example".to_owned());
        assert_eq!(refused(&settings).subproblems.len(), 2);
    }
}
